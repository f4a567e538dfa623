package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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

// onlyFlag marks flags that are taken from the command line alone: what they
// say is decided once, on purpose.
const onlyFlag = "escortlogd_only_flag"

func fromCommandLineOnly(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		// SetAnnotation fails only for a flag that does not exist.
		if err := cmd.Flags().SetAnnotation(name, onlyFlag, []string{"true"}); err != nil {
			panic(err)
		}
	}
}

// loadSettings gives every flag of cmd that is not on the command line its value
// from the environment, or else from the configuration file.
func loadSettings(cmd *cobra.Command, _ []string) error {
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return err
	}
	if path == "" {
		path = os.Getenv("ESCORTLOG_CONFIG")
	}
	values, err := readSettings(path)
	if err != nil {
		return err
	}
	var errs []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "config" || f.Name == "help" || f.Annotations[onlyFlag] != nil {
			return
		}
		from, given := "key "+f.Name+" of "+path, values[f.Name]
		variable := "ESCORTLOG_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v, ok := os.LookupEnv(variable); ok && v != "" {
			from, given = "variable "+variable, []string{v}
			if _, list := f.Value.(pflag.SliceValue); list {
				given = strings.Split(v, ",")
			}
		}
		for _, v := range given {
			if err := cmd.Flags().Set(f.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", from, err))
			}
		}
	})
	return errors.Join(errs...)
}

// readSettings reads the configuration file into values by flag name.
func readSettings(path string) (map[string][]string, error) {
	values := make(map[string][]string)
	if path == "" {
		return values, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	var s settings
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&s); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the configuration %s: %w", path, err)
	}
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("yaml")
		switch field := v.Field(i).Interface().(type) {
		case string:
			if field != "" {
				values[name] = []string{field}
			}
		case []string:
			values[name] = field
		case *int:
			if field != nil {
				values[name] = []string{strconv.Itoa(*field)}
			}
		}
	}
	return values, nil
}
