package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/witness"
)

func newListLogsCommand() *cobra.Command {
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list-logs --data DIR",
		Short: "Print the logs and what was cosigned last",
		Long:  `Prints the logs in the log list, and those removed from it that were cosigned before. It may be called while the witness runs.`,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needData(dir); err != nil {
				return err
			}
			logs, err := witness.ReadLogs(dir)
			if err != nil {
				return err
			}
			if !asJSON {
				return printLogs(cmd.OutOrStdout(), logs)
			}
			out := json.NewEncoder(cmd.OutOrStdout())
			for _, l := range logs {
				if err := out.Encode(l); err != nil {
					return err
				}
			}
			return nil
		},
	}
	dataFlag(cmd, &dir)
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	config.CommandLineOnly(cmd, "json")
	return cmd
}

func printLogs(w io.Writer, logs []witness.LogStatus) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ORIGIN\tSIZE\tCOSIGNED\tKEYS")
	for _, l := range logs {
		size, when := "-", "never"
		if l.Known {
			size, when = fmt.Sprint(l.Size), l.Time.Format("2006-01-02T15:04:05Z")
		}
		keys := fmt.Sprint(len(l.Keys))
		if len(l.Keys) == 0 {
			keys = "removed"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", l.Origin, size, when, keys)
	}
	return t.Flush()
}
