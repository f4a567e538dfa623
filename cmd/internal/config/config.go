// Package config gives a command's flags their values: from the command line,
// else from a variable ESCORTLOG_…, else from a YAML file.
//
// The file's keys are the fields of a struct that the program defines; its
// comments are the manual. A field is a string, a []string, or a pointer to an
// int or a bool, where nil is a key that is not there.
package config

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

// commandLineOnly marks flags that are never taken from a variable or the file.
const commandLineOnly = "escortlog_command_line_only"

// CommandLineOnly keeps the named flags out of variables and file: those that
// say what is to be done this once. It panics for a flag that does not exist.
func CommandLineOnly(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		// SetAnnotation fails only for a flag that does not exist.
		if err := cmd.Flags().SetAnnotation(name, commandLineOnly, []string{"true"}); err != nil {
			panic(err)
		}
	}
}

// IsCommandLineOnly reports whether CommandLineOnly named the flag.
func IsCommandLineOnly(f *pflag.Flag) bool { return f.Annotations[commandLineOnly] != nil }

// Load gives every flag of cmd that is not on the command line its value from
// the environment, or else from the file that --config or ESCORTLOG_CONFIG
// names. file points to the struct of the file's keys; unknown keys are errors.
func Load(cmd *cobra.Command, file any) error {
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return err
	}
	if path == "" {
		path = os.Getenv("ESCORTLOG_CONFIG")
	}
	values, err := read(path, file)
	if err != nil {
		return err
	}
	var errs []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "config" || f.Name == "help" || IsCommandLineOnly(f) {
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
				return
			}
		}
	})
	return errors.Join(errs...)
}

// read reads the file into values by flag name.
func read(path string, file any) (map[string][]string, error) {
	values := make(map[string][]string)
	if path == "" {
		return values, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	in := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	if err := in.Decode(file); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the configuration %s: %w", path, err)
	}
	if err := in.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the configuration %s: more than one document in it", path)
	}
	v := reflect.ValueOf(file).Elem()
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
		case *bool:
			if field != nil {
				values[name] = []string{strconv.FormatBool(*field)}
			}
		}
	}
	return values, nil
}
