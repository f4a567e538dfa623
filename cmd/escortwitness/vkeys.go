package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/escortlog/escortlog/witness"
)

func newVKeysCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "vkeys --data DIR",
		Short: "Print the witness's vkeys, Ed25519 first, then its mirror's",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needData(dir); err != nil {
				return err
			}
			vkeys, err := witness.VKeys(dir)
			if err != nil {
				return err
			}
			return printVKeys(cmd.OutOrStdout(), vkeys)
		},
	}
	dataFlag(cmd, &dir)
	return cmd
}

// printVKeys fails where a key was not written: whoever is given half of the keys
// verifies half.
func printVKeys(w io.Writer, vkeys []string) error {
	for _, v := range vkeys {
		if _, err := fmt.Fprintln(w, v); err != nil {
			return err
		}
	}
	return nil
}
