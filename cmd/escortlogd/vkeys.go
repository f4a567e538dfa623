package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newVKeysCommand() *cobra.Command {
	var data dataDir
	cmd := &cobra.Command{
		Use:   "vkeys --data DIR",
		Short: "Print the log's verifier keys, Ed25519 first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			signers, err := data.signers()
			if err != nil {
				return err
			}
			for _, k := range vkeys(signers) {
				fmt.Fprintln(cmd.OutOrStdout(), k)
			}
			return nil
		},
	}
	data.addFlags(cmd)
	return cmd
}
