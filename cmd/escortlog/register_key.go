package main

import (
	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/event"
	"github.com/spf13/cobra"
)

type registerKeyOptions struct {
	authorityOptions
	key         string
	source      string
	types       []string
	person      string
	description string
}

func newRegisterKeyCommand() *cobra.Command {
	var o registerKeyOptions
	cmd := &cobra.Command{
		Use:   "register-key --log URL --admin FILE... --key PUB.pem --source URI [--type T]...",
		Short: "Let a key sign events of a source",
		Long: `Makes the authority event key.registered: from the next leaf on, the key may sign
events of the source. Without --type it may sign every type that needs no name;
types about the log, keys, sources, people and authorizations always do. Types can
be written short ("session.started"). Registering a key again for the same source
replaces what it may sign there.

The key's own signature, with --also-sign, proves that its holder has it; it is
not demanded.` + authorityHelp,
		Example: `  escortlog register-key --log https://log.example.org --admin admin.key \
      --key gateway.key.pub --source urn:example:gateway
  escortlog register-key --log https://log.example.org --admin alice.key -o register.json \
      --key registry.key.pub --source urn:example:hr --type person.enrolled --type person.separated`,
		Args: o.takeAdmins,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.key, "key", "", "public key `file` (SPKI PEM), as keygen writes FILE.pub")
	f.StringVar(&o.source, "source", "", "absolute `URI` of the source the key signs for")
	f.StringArrayVar(&o.types, "type", nil, "event `type` the key may sign; repeat for several")
	f.StringVar(&o.person, "person", "", "`reference` of the person whose own key this is")
	f.StringVar(&o.description, "description", "", "`text` for people: what holds the key")
	config.CommandLineOnly(cmd, "key", "source", "type", "person", "description")
	for _, name := range []string{"key", "source"} {
		_ = cmd.MarkFlagRequired(name) // fails only for a flag that does not exist
	}
	return cmd
}

func (o *registerKeyOptions) run(cmd *cobra.Command) error {
	key, err := readPublicKey(o.key)
	if err != nil {
		return err
	}
	return o.authorityOptions.run(cmd, func(h event.Header) ([]byte, error) {
		return event.NewKeyRegistered(h, event.KeyRegistration{
			Key: key, Source: o.source, Types: fullTypes(o.types), PersonRef: o.person, Description: o.description,
		})
	})
}
