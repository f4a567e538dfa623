package main

import "github.com/spf13/cobra"

func newPersonCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "person",
		Short: "Show people: what a verified log holds about them",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return usageErrorf("name what to do: show") },
	}
	cmd.AddCommand(newPersonShowCommand())
	return cmd
}
