package main

import "github.com/spf13/cobra"

func newChangeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "change",
		Short: "Show changes: what a verified log holds about them",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return usageErrorf("name what to do: trace") },
	}
	cmd.AddCommand(newChangeTraceCommand())
	return cmd
}
