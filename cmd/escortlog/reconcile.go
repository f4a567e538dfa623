package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/escortlog/escortlog/client/importer"
	"github.com/escortlog/escortlog/client/reconcile"
	"github.com/escortlog/escortlog/client/view"
	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/spf13/cobra"
)

type reconcileOptions struct {
	audit    auditOptions
	with     string
	sources  []string
	from, to string
}

func newReconcileCommand() *cobra.Command {
	var o reconcileOptions
	cmd := &cobra.Command{
		Use:   "reconcile --with SYSTEM FILE... --policy FILE [--log URL]",
		Short: "Hold a log against records that somebody else kept",
		Long: `Answers claim D, which no log answers about itself: was everything logged. Reads
records of an independent vantage point, audits the whole log, and reports coverage
in per cent, both ways, with every miss named. A record is matched with an event
imported from it (same record id, same content), with a session.started of the same
session, or with a command.executed of the same command. Imported events show that
nothing was lost on the way; how many records the log's own sources saw is counted
apart.

The other way, what was imported from that system must be in the files. With
--event-source, so must the sessions and commands of that source. --from and --to bound both
sides, by when it happened: give the time that the files cover.

Exit code 0: full coverage both ways. 1: there are misses. 2: the log itself is not
proven. 3: there is nothing to reconcile with.

Systems: ` + strings.Join(importer.Systems(), ", ") + `.`,
		Example: `  escortlog reconcile --with cloudtrail *.json.gz --from 2026-03-01 --to 2026-04-01 --policy policy.txt`,
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.audit.addQueryFlags(cmd)
	f := cmd.Flags()
	// Rules say nothing here.
	for _, name := range []string{"rules", "at"} {
		if err := f.MarkHidden(name); err != nil {
			panic(err) // there is no such flag
		}
	}
	f.StringVar(&o.with, "with", "", "`system` that kept the records: "+strings.Join(importer.Systems(), ", "))
	f.StringArrayVar(&o.sources, "event-source", nil, "`URI` of a source whose sessions and commands the records must show; may be repeated")
	f.StringVar(&o.from, "from", "", "only what happened at or after this `time` (RFC 3339, or a day in UTC)")
	f.StringVar(&o.to, "to", "", "only what happened before this `time`")
	f.BoolVar(&o.audit.json, "json", false, "print one JSON object")
	config.CommandLineOnly(cmd, "with", "event-source", "from", "to")
	_ = cmd.MarkFlagRequired("with") // fails only for a flag that does not exist
	return cmd
}

func (o *reconcileOptions) run(cmd *cobra.Command, names []string) (err error) {
	rc := reconcile.Config{System: o.with, Sources: o.sources}
	if rc.From, err = parseMoment("from", o.from); err != nil {
		return err
	}
	if rc.To, err = parseMoment("to", o.to); err != nil {
		return err
	}
	r, err := reconcile.New(rc)
	if err != nil {
		return withCode(exitUsage, err)
	}
	cfg, err := o.audit.config()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := readVantage(cmd.Context(), r, cmd.InOrStdin(), name); err != nil {
			return err
		}
	}
	audited, code, err := readWhole(cmd, cfg, r)
	if err != nil {
		return err
	}
	report := r.Report()
	if o.audit.json {
		from := origin(audited, r.Leaves())
		from.Claims[len(from.Claims)-1] = report.Claim
		err = printJSON(cmd.OutOrStdout(), struct {
			Audited *view.Origin `json:"audited"`
			*reconcile.Report
		}{from, report})
	} else {
		err = report.WriteText(cmd.OutOrStdout())
	}
	if err != nil {
		return err
	}
	switch report.Claim.Result {
	case view.Fail:
		code = exitFindings
	case view.NotEvaluable:
		code = exitIncomplete
	default:
		if code == exitFindings {
			code = 0 // what an audit finds beside is the audit's to say
		}
	}
	if code != 0 {
		return &exitError{code: code} // the report says why
	}
	return nil
}

// readVantage reads one file of records.
func readVantage(ctx context.Context, r *reconcile.Reconciler, stdin io.Reader, name string) error {
	in, label := stdin, "standard input"
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return withCode(exitUsage, err)
		}
		defer f.Close()
		in, label = f, name
	}
	err := r.Vantage(ctx, label, in)
	var malformed *importer.RecordError
	if errors.As(err, &malformed) {
		// A record passed over would be a miss in hiding.
		return withCode(exitUsage, err)
	}
	return err
}
