package main

import (
	"github.com/escortlog/escortlog/client/view"
	"github.com/spf13/cobra"
)

func newSessionShowCommand() *cobra.Command {
	var o viewOptions
	cmd := &cobra.Command{
		Use:   "show ID --policy FILE [--log URL]",
		Short: "The timeline of one session",
		Long: `Shows every leaf about a session in the order of the log, with its index, when it
happened, when its source recorded it, and when the log took it. Where no leaf is
about it, the exit code is 1.` + viewHelp,
		Example: `  escortlog session show s-2025-0610-01 --policy policy.txt --log https://log.example.org`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.showTimeline(cmd, view.Session, args[0]) },
	}
	o.addFlags(cmd)
	return cmd
}
