package main

import "github.com/spf13/cobra"

func newSessionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "session",
		Short: "Show sessions: what a verified log holds about them",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return usageErrorf("name what to do: show or list") },
	}
	cmd.AddCommand(newSessionShowCommand(), newSessionListCommand())
	return cmd
}
