package main

import (
	"time"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/event"
	"github.com/spf13/cobra"
)

type registerSourceOptions struct {
	authorityOptions
	source      string
	roles       []string
	expect      []string
	heartbeat   time.Duration
	description string
}

func newRegisterSourceCommand() *cobra.Command {
	var o registerSourceOptions
	cmd := &cobra.Command{
		Use:   "register-source --log URL --admin FILE... --source URI [--role R]... [--expect T]...",
		Short: "Declare what a source will send",
		Long: `Makes the authority event source.registered: what an auditor should see from the
source, and how often. A source registered with roles sends only the types of
those roles (see "escortlog schema list"). Registering again replaces what was
declared before.` + authorityHelp,
		Example: `  escortlog register-source --log https://log.example.org --admin admin.key --source urn:example:gateway \
      --role gateway --expect session.started --expect session.ended --heartbeat 5m`,
		Args: o.takeAdmins,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.source, "source", "", "absolute `URI` of the source")
	f.StringArrayVar(&o.roles, "role", nil, "`role` it acts in, such as gateway; repeat for several, none means any")
	f.StringArrayVar(&o.expect, "expect", nil, "event `type` to be expected from it; repeat for several")
	f.DurationVar(&o.heartbeat, "heartbeat", 0, "it sends source.heartbeat at least this often, in whole seconds; 0 means none is expected")
	f.StringVar(&o.description, "description", "", "`text` for people")
	config.CommandLineOnly(cmd, "source", "role", "expect", "heartbeat", "description")
	_ = cmd.MarkFlagRequired("source") // fails only for a flag that does not exist
	return cmd
}

func (o *registerSourceOptions) run(cmd *cobra.Command) error {
	if o.heartbeat < 0 || o.heartbeat%time.Second != 0 {
		return usageErrorf("--heartbeat %v: want whole seconds", o.heartbeat)
	}
	return o.authorityOptions.run(cmd, func(h event.Header) ([]byte, error) {
		return event.NewSourceRegistered(h, event.SourceRegistration{
			Source: o.source, Roles: o.roles, ExpectedTypes: fullTypes(o.expect),
			HeartbeatSeconds: int64(o.heartbeat / time.Second), Description: o.description,
		})
	})
}

type retireSourceOptions struct {
	authorityOptions
	source       string
	reason       string
	lastSequence int64
}

func newRetireSourceCommand() *cobra.Command {
	var o retireSourceOptions
	cmd := &cobra.Command{
		Use:   "retire-source --log URL --admin FILE... --source URI --reason TEXT",
		Short: "End a source: its events are refused from then on",
		Long:  `Makes the authority event source.retired. Registering the source again revives it.` + authorityHelp,
		Example: `  escortlog retire-source --log https://log.example.org --admin admin.key --source urn:example:old-gateway \
      --reason "replaced by urn:example:gateway" --last-sequence 81234`,
		Args: o.takeAdmins,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd, func(h event.Header) ([]byte, error) {
				return event.NewSourceRetired(h, event.SourceRetirement{Source: o.source, Reason: o.reason, LastSequence: o.lastSequence})
			})
		},
	}
	o.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.source, "source", "", "absolute `URI` of the source")
	f.StringVar(&o.reason, "reason", "", "`text` for people")
	f.Int64Var(&o.lastSequence, "last-sequence", 0, "last sequence `number` of the source; 0 means it did not number its events")
	config.CommandLineOnly(cmd, "source", "reason", "last-sequence")
	for _, name := range []string{"source", "reason"} {
		_ = cmd.MarkFlagRequired(name) // fails only for a flag that does not exist
	}
	return cmd
}
