package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/escortlog/escortlog/log/event"
	"github.com/spf13/cobra"
)

func newSchemaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "List the event types and show their JSON Schemas",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return usageErrorf("name what to do: list or show") },
	}
	cmd.AddCommand(newSchemaListCommand(), newSchemaShowCommand())
	return cmd
}

func newSchemaListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List every event type: its name, who sends it, what it says",
		Example: `  escortlog schema list`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return listSchemas(cmd, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func listSchemas(cmd *cobra.Command, asJSON bool) error {
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(table, "TYPE\tSENT BY\tTITLE")
	}
	for _, s := range event.Schemas() {
		if asJSON {
			line := struct {
				Type     string   `json:"type"`
				SentBy   []string `json:"sentBy"`
				SchemaID string   `json:"schemaID"`
				Title    string   `json:"title"`
			}{s.Type.Name, s.Type.Emitters, s.ID, s.Title}
			if err := printJSON(cmd.OutOrStdout(), line); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.Type.Name, strings.Join(s.Type.Emitters, ", "), s.Title)
	}
	return table.Flush()
}

func newSchemaShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show TYPE",
		Short: "Print the JSON Schema of a type's data",
		Long: `Prints the JSON Schema (draft 2020-12) that the data of a type must satisfy. The
name can be short. "common" is the schema of the objects that many types share.`,
		Example: `  escortlog schema show session.started
  escortlog schema show common`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			schema := event.Schema(fullType(args[0]))
			if args[0] == "common" {
				_, schema = event.CommonSchema()
			}
			if schema == nil {
				return usageErrorf("there is no type %q; \"escortlog schema list\" shows all", args[0])
			}
			_, err := cmd.OutOrStdout().Write(schema)
			return err
		},
	}
}
