package main

import (
	"fmt"
	"io"

	"github.com/escortlog/escortlog/log/checkpoint"
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
			return printVKeys(cmd.OutOrStdout(), signers)
		},
	}
	data.addFlags(cmd)
	return cmd
}

// printVKeys fails where a key was not written: whoever is given half of the keys
// verifies half.
func printVKeys(w io.Writer, signers []*checkpoint.Signer) error {
	for _, k := range vkeys(signers) {
		if _, err := fmt.Fprintln(w, k); err != nil {
			return err
		}
	}
	return nil
}
