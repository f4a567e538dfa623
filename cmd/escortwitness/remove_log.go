package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/escortlog/escortlog/witness"
)

func newRemoveLogCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "remove-log --data DIR ORIGIN|VKEY",
		Short: "Stop cosigning a log, or trusting one of its keys",
		Long: `Takes a log, or one key of it, out of the witness's log list. What the witness
has cosigned of the log stays in its memory and at the monitoring endpoint, so adding the log
again does not make it forget.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needData(dir); err != nil {
				return err
			}
			n, err := witness.RemoveLog(dir, args[0])
			if errors.Is(err, witness.ErrUnknownLog) {
				return usageErrorf("%w; see list-logs", err)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%d keys removed\n", n)
			return nil
		},
	}
	dataFlag(cmd, &dir)
	return cmd
}
