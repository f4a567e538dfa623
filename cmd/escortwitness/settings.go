package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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

// onlyFlag marks flags that neither a variable nor the file can set.
const onlyFlag = "escortwitness_only_flag"

func fromCommandLineOnly(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.Flags().SetAnnotation(name, onlyFlag, []string{"true"}); err != nil {
			panic(err) // the flag does not exist: a mistake in this package
		}
	}
}

// loadSettings gives each flag of cmd that is not on the command line its value
// from its variable or the configuration file.
func loadSettings(cmd *cobra.Command) error {
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return err
	}
	if path == "" {
		path = os.Getenv("ESCORTLOG_CONFIG")
	}
	file, err := readSettings(path)
	if err != nil {
		return err
	}
	var errs []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "config" || f.Name == "help" || f.Annotations[onlyFlag] != nil {
			return
		}
		source, value := "variable ESCORTLOG_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")), ""
		if value = os.Getenv(strings.TrimPrefix(source, "variable ")); value == "" {
			source, value = path+", "+f.Name, file[f.Name]
		}
		if value == "" {
			return
		}
		if err := cmd.Flags().Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", source, err))
		}
	})
	return errors.Join(errs...)
}

// readSettings returns the configuration file's values by flag name.
func readSettings(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	var s settings
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&s); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the configuration %s: %w", path, err)
	}
	values := map[string]string{}
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		values[v.Type().Field(i).Tag.Get("yaml")] = v.Field(i).String()
	}
	return values, nil
}
