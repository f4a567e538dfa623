package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/witness"
)

func newEvidenceCommand() *cobra.Command {
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "evidence --data DIR",
		Short: "Print how logs contradicted themselves",
		Long: `Prints the checkpoints that known logs signed and that contradict what they had
signed before, oldest first. The log's own signatures on both prove these:

  fork          two roots for one size
  rollback      a smaller largest tree at a later time (timestamped signatures)
  empty-root    size zero with a root that is not the empty tree's

This one is a reason to ask the log, which can show a proof that holds if it is honest:

  inconsistent  a checkpoint came with a consistency proof that does not hold

It may be called while the witness runs. The files are in DIR/evidence.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needData(dir); err != nil {
				return err
			}
			all, err := witness.ReadEvidence(dir)
			if err != nil {
				return err
			}
			out := json.NewEncoder(cmd.OutOrStdout())
			for _, e := range all {
				if asJSON {
					if err := out.Encode(e); err != nil {
						return err
					}
					continue
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s of %s: %s\n", e.Time.Format("2006-01-02T15:04:05Z"), e.Kind, e.Origin, e.Explain); err != nil {
					return err
				}
			}
			if len(all) == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "no log has contradicted itself here")
			}
			return nil
		},
	}
	dataFlag(cmd, &dir)
	cmd.Flags().BoolVar(&asJSON, "json", false, "everything, one JSON object a line")
	config.CommandLineOnly(cmd, "json")
	return cmd
}
