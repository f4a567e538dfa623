package main

import "github.com/spf13/cobra"

func newSystemCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "system",
		Short: "Show systems: what a verified log holds about them",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return usageErrorf("name what to do: show") },
	}
	cmd.AddCommand(newSystemShowCommand())
	return cmd
}
