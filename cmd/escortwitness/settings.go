package main

import (
	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/spf13/cobra"
)

// settings is the configuration file. Each key sets the flag of the same name in
// the commands that have it; a variable or a flag on the command line wins. Unknown
// keys are errors.
type settings struct {
	// Directory of the witness: keys, memory, log list, evidence.
	Data string `yaml:"data"`

	// Address to listen on, as "127.0.0.1:8081". Port 0 takes a free one.
	Listen string `yaml:"listen"`
	// File into which the address listened on is written once it is open.
	ListenFile string `yaml:"listen-file"`
	// host:port of an HTTPS bastion through which the witness is reached too, and the
	// authorities (PEM) that vouch for it, if not the system's.
	Bastion   string `yaml:"bastion"`
	BastionCA string `yaml:"bastion-ca"`
	// "true": open no port; the bastion is the only way in.
	NoListen string `yaml:"no-listen"`
	// TLS certificate chain and key (PEM), read again on SIGHUP.
	TLSCert string `yaml:"tls-cert"`
	TLSKey  string `yaml:"tls-key"`

	// Cosignatures a second that one log gets at most, with bursts of ten
	// seconds' worth. A negative number is no limit.
	Rate string `yaml:"rate"`
	// Refused requests a second of one client address, with bursts of twenty seconds' worth, before it
	// is turned away. A negative number is no limit. Requests from this host that do not say for
	// whom they are made are never turned away.
	ClientRate string `yaml:"client-rate"`
	// Addresses or CIDR prefixes, separated by commas, of proxies whose X-Forwarded-For is believed
	// beside this host's.
	TrustedProxy string `yaml:"trusted-proxy"`
	// How often the mirror looks for new entries of logs with a URL, as "10s".
	PullEvery string `yaml:"pull-every"`
	// File whose first line is the passphrase of the private keys.
	PassphraseFile string `yaml:"passphrase-file"`

	// What is written to standard error: debug, info, warn or error, as text or json.
	LogLevel  string `yaml:"log-level"`
	LogFormat string `yaml:"log-format"`
}

func loadSettings(cmd *cobra.Command) error { return config.Load(cmd, new(settings)) }
