package main

import (
	"github.com/escortlog/escortlog/client/view"
	"github.com/spf13/cobra"
)

func newChangeTraceCommand() *cobra.Command {
	var o viewOptions
	cmd := &cobra.Command{
		Use:   "trace ID --policy FILE [--log URL]",
		Short: "The way of one change: from whom, through which session, approved by whom",
		Long: `Shows every leaf about a change in the order of the log and, in brackets, what
kind of session it went through: its request, approval, escort, start, end and
attestation. Where no leaf is about it, the exit code is 1.` + viewHelp,
		Example: `  escortlog change trace chg-77 --policy policy.txt --log https://log.example.org --format json`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.showTimeline(cmd, view.Change, args[0]) },
	}
	o.addFlags(cmd)
	return cmd
}
