package main

import (
	"strings"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/event"
	"github.com/spf13/cobra"
)

type changeAdminsOptions struct {
	authorityOptions
	to        []string
	threshold int
}

func newChangeAdminsCommand() *cobra.Command {
	var o changeAdminsOptions
	cmd := &cobra.Command{
		Use:   "change-admins --log URL --admin FILE... --to [NAME=]PUB.pem... [--threshold K]",
		Short: "Replace the administrators of a log",
		Long: `Makes the authority event admins.changed. The --to flags name the complete new set:
who stays is named again, who is not named leaves. The threshold of the present
administrators must sign, and each new key too (--also-sign FILE, or cosign).` + authorityHelp,
		Example: `  escortlog change-admins --log https://log.example.org --admin alice.key --admin bob.key -o change.json \
      --to alice=alice.key.pub --to bob=bob.key.pub --to carol=carol.key.pub --threshold 2
  escortlog cosign change.json --admin carol.key
  escortlog submit --log https://log.example.org change.json`,
		Args: o.takeAdmins,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.addFlags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&o.to, "to", nil, "public key `file` of an administrator from now on, with a name before it if wanted; repeat for all")
	f.IntVar(&o.threshold, "threshold", 0, "`number` of them that must sign; 0 means a majority")
	config.CommandLineOnly(cmd, "to", "threshold")
	_ = cmd.MarkFlagRequired("to") // fails only for a flag that does not exist
	return cmd
}

func (o *changeAdminsOptions) run(cmd *cobra.Command) error {
	var admins []event.Administrator
	for _, spec := range o.to {
		name, file, named := strings.Cut(spec, "=")
		if !named {
			name, file = "", spec
		}
		key, err := readPublicKey(file)
		if err != nil {
			return err
		}
		admins = append(admins, event.Administrator{Name: name, Key: key})
	}
	if o.threshold < 0 || o.threshold > len(admins) {
		return usageErrorf("--threshold %d of %d administrators can never be met", o.threshold, len(admins))
	}
	return o.authorityOptions.run(cmd, func(h event.Header) ([]byte, error) {
		return event.NewAdminsChanged(h, admins, o.threshold)
	})
}
