package main

import (
	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/spf13/cobra"
)

// settings is the configuration file. Every key sets the flag of the same name
// in each command that has it; a variable or a flag on the command line wins.
// Unknown keys are errors. Durations are written as "30s" or "2m".
type settings struct {
	// Data directory: the store, the log's keys and, unless moved, the guard.
	Data string `yaml:"data"`
	// Path of the guard file, best on another disk than the data directory.
	// Give the same one to init and to every other command. Default: guard in
	// the data directory.
	Guard string `yaml:"guard"`

	// Address to listen on, as "127.0.0.1:8080". Port 0 takes a free one.
	Listen string `yaml:"listen"`
	// File into which the address listened on is written once it is open.
	ListenFile string `yaml:"listen-file"`
	// TLS certificate chain and key (PEM). A changed file is taken up without a
	// restart.
	TLSCert string `yaml:"tls-cert"`
	TLSKey  string `yaml:"tls-key"`
	// Certificate authorities (PEM) of clients' certificates.
	ClientCA string `yaml:"client-ca"`
	// Peers whose X-Forwarded-For is believed, as addresses or CIDR prefixes.
	TrustedProxy []string `yaml:"trusted-proxy"`

	// Path of the tlog-policy that every published checkpoint meets: this log's
	// key, the witnesses with their URLs, the quorum. Without it, checkpoints
	// are published with the log's own signatures only.
	Policy string `yaml:"policy"`
	// Least time between two rounds of asking the witnesses.
	PublishEvery string `yaml:"publish-every"`
	// When an unchanged checkpoint is cosigned again.
	RecosignEvery string `yaml:"recosign-every"`

	// Who reads bundles and entries: none (anybody), token or mtls.
	ReadAuth string `yaml:"read-auth"`
	// File with the bearer tokens that may read, one a line.
	ReadTokenFile string `yaml:"read-token-file"`

	// Submissions that wait for a commit at most; beyond them, 503.
	Pool *int `yaml:"pool"`
	// Submissions under way at most, those included that wait for a proof.
	MaxInFlight *int `yaml:"max-in-flight"`
	// Connections open at most.
	MaxConnections *int `yaml:"max-connections"`
	// Refused events a second that one client address may send for long.
	MaxFailures *int `yaml:"max-failures"`
	// How long a submission waits for its proof unless the client says.
	Wait string `yaml:"wait"`

	// What is written to standard error: debug, info, warn or error, as text or
	// json.
	LogLevel  string `yaml:"log-level"`
	LogFormat string `yaml:"log-format"`
}

func loadSettings(cmd *cobra.Command, _ []string) error { return config.Load(cmd, new(settings)) }
