package main

import (
	"errors"
	"fmt"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// settings is the configuration file. Every key sets the flag of the same name
// in each command that has it; a variable or a flag on the command line wins.
// Unknown keys are errors.
type settings struct {
	// URL of the log, as "https://log.example.org".
	Log string `yaml:"log"`
	// Path of a tlog-policy file: the log's keys, the witnesses, the quorum.
	Policy string `yaml:"policy"`
	// Path of the private key (PKCS #8 PEM) with which submit and agent sign events.
	Key string `yaml:"key"`
	// Paths of administrators' private keys (PKCS #8 PEM).
	Admin []string `yaml:"admin"`
	// Source of imported events and of the agent's, an absolute URI.
	Source string `yaml:"source"`
	// Directory in which agent keeps events until they are proven.
	Outbox string `yaml:"outbox"`
	// Loopback address on which agent takes events, as "127.0.0.1:7070".
	Listen string `yaml:"listen"`
	// How often agent sends source.heartbeat, as "1m"; whole seconds.
	Heartbeat string `yaml:"heartbeat"`
	// How long the periods are that agent closes, as "24h"; whole minutes.
	Period string `yaml:"period"`
	// Directory in which submit keeps receipts.
	Receipts string `yaml:"receipts"`
	// Directory in which audit keeps what it has verified, and monitor what it has
	// seen and found.
	State string `yaml:"state"`
	// How long monitor waits between two looks at a log, as "10s".
	Interval string `yaml:"interval"`
	// How old the newest cosignature may be that monitor accepts, as "15m".
	MaxAge string `yaml:"max-age"`
	// URL to which monitor sends every finding.
	Webhook string `yaml:"webhook"`
	// Leaf hash of leaf 0 that audit demands, in standard base64 or hex.
	Genesis string `yaml:"genesis"`
	// Path of the rules file by which audit and monitor judge.
	Rules string `yaml:"rules"`
	// How long to wait for a proof, as "30s" or "2m".
	Timeout string `yaml:"timeout"`
	// Print JSON instead of text.
	JSON *bool `yaml:"json"`
	// Path of a PEM file with the certificate authorities of the log's TLS
	// certificate, in place of those of the system.
	CAFile string `yaml:"ca-file"`
	// Paths of this client's TLS certificate and key (PEM).
	TLSCert string `yaml:"tls-cert"`
	TLSKey  string `yaml:"tls-key"`
	// Path of a file with the bearer token for reading.
	TokenFile string `yaml:"token-file"`
}

func loadSettings(cmd *cobra.Command, _ []string) error {
	if err := config.Load(cmd, new(settings)); err != nil {
		return err
	}
	var errs []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if d, err := cmd.Flags().GetDuration(f.Name); err == nil && d < 0 {
			errs = append(errs, fmt.Errorf("--%s %v is below zero", f.Name, d))
		}
	})
	return errors.Join(errs...)
}
