package main

import (
	"time"

	"github.com/escortlog/escortlog/client/view"
	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/spf13/cobra"
)

type sessionListOptions struct {
	viewOptions
	system string
	person string
	from   string
	to     string
}

func newSessionListCommand() *cobra.Command {
	var o sessionListOptions
	cmd := &cobra.Command{
		Use:   "list --policy FILE [--log URL] [--system ID] [--person REF] [--from TIME] [--to TIME]",
		Short: "All sessions, or those of a system, a person, a time",
		Long: `Lists the sessions of a log: who asked, escorted and approved, on which systems,
when, how many commands. The filters are joined by "and"; --from is included, --to
is not. A session counts to every system and person that one of its events names.` + viewHelp,
		Example: `  escortlog session list --policy policy.txt --system sys-storage-7 --from 2025-04-01 --to 2025-07-01 --format csv`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.system, "system", "", "only sessions that touched the system of this `id`")
	f.StringVar(&o.person, "person", "", "only sessions that name the person of this `pseudonym`")
	f.StringVar(&o.from, "from", "", "only sessions not over before this `time` (RFC 3339, or a day in UTC)")
	f.StringVar(&o.to, "to", "", "only sessions begun before this `time`")
	config.CommandLineOnly(cmd, "system", "person", "from", "to")
	return cmd
}

func (o *sessionListOptions) run(cmd *cobra.Command) (err error) {
	filter := view.Filter{System: o.system, Person: o.person}
	if filter.From, err = parseMoment("from", o.from); err != nil {
		return err
	}
	if filter.To, err = parseMoment("to", o.to); err != nil {
		return err
	}
	if !filter.To.IsZero() && !filter.From.Before(filter.To) {
		return usageErrorf("--from %s is not before --to %s", o.from, o.to)
	}
	lister := view.NewLister(filter)
	from, code, err := o.read(cmd, lister)
	if err != nil {
		return err
	}
	if err := view.WriteSessions(cmd.OutOrStdout(), view.Format(o.format), from, lister.Sessions()); err != nil {
		return err
	}
	if code != 0 {
		return &exitError{code: code} // the output says why
	}
	return nil
}

// parseMoment reads a time or a day of a flag; nothing is the zero time.
func parseMoment(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageErrorf("--%s %q: want a time such as 2025-06-10T13:30:00Z or a day such as 2025-06-10", flag, s)
}
