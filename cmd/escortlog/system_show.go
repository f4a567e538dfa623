package main

import (
	"github.com/escortlog/escortlog/client/view"
	"github.com/spf13/cobra"
)

func newSystemShowCommand() *cobra.Command {
	var o viewOptions
	cmd := &cobra.Command{
		Use:   "show ID --policy FILE [--log URL]",
		Short: "Everything that names one system, and the sessions that touched it",
		Long: `Shows every leaf that names a system in the order of the log: how it was
registered and classified, plans, changes, drift, and the sessions that touched
it. Of such a session the request, approval, escort, start, end and attestation
are shown, in brackets where they do not name the system; "escortlog session show"
has the rest. Where no leaf names the system, the exit code is 1.` + viewHelp,
		Example: `  escortlog system show sys-storage-7 --policy policy.txt --log https://log.example.org`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.showTimeline(cmd, view.System, args[0]) },
	}
	o.addFlags(cmd)
	return cmd
}
