package main

import (
	"fmt"

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
			for _, v := range vkeys {
				fmt.Fprintln(cmd.OutOrStdout(), v)
			}
			return nil
		},
	}
	dataFlag(cmd, &dir)
	return cmd
}
