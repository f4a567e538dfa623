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

// onlyFlag marks flags which are never taken from a variable or from the
// configuration: those that say what is to be done this once.
const onlyFlag = "escortlog_only_flag"

// fromCommandLineOnly keeps the named flags out of variables and configuration.
func fromCommandLineOnly(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		// SetAnnotation fails only for a flag that does not exist.
		if err := cmd.Flags().SetAnnotation(name, onlyFlag, []string{"true"}); err != nil {
			panic(err)
		}
	}
}

// loadSettings gives every flag of cmd that is not on the command line its value
// from the environment or else from the configuration file.
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
		variable := "ESCORTLOG_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v, ok := os.LookupEnv(variable); ok && v != "" {
			errs = append(errs, setFlag(cmd, f, splitList(f, v), "variable "+variable))
			return
		}
		if vs := values[f.Name]; len(vs) > 0 {
			errs = append(errs, setFlag(cmd, f, vs, "key "+f.Name+" of "+path))
		}
	})
	return errors.Join(errs...)
}

func splitList(f *pflag.Flag, v string) []string {
	if _, list := f.Value.(pflag.SliceValue); list {
		return strings.Split(v, ",")
	}
	return []string{v}
}

func setFlag(cmd *cobra.Command, f *pflag.Flag, values []string, from string) error {
	for _, v := range values {
		if err := cmd.Flags().Set(f.Name, v); err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
	}
	return nil
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
	dec := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	if err := dec.Decode(&s); err != nil && !errors.Is(err, io.EOF) {
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
		case *bool:
			if field != nil {
				values[name] = []string{strconv.FormatBool(*field)}
			}
		}
	}
	return values, nil
}
