package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// passphraseFrom returns a function that gets the passphrase of the private
// keys: from the first line of a file, or from a person at a terminal.
func passphraseFrom(file string) func() (string, error) {
	return func() (string, error) {
		if file != "" {
			data, err := os.ReadFile(file)
			if err != nil {
				return "", usageErrorf("reading the passphrase: %w", err)
			}
			line, _, _ := strings.Cut(string(data), "\n")
			if line = strings.TrimSuffix(line, "\r"); line == "" {
				return "", usageErrorf("the first line of %s is empty: it should be the passphrase", file)
			}
			return line, nil
		}
		return ask("Passphrase of the witness's private keys: ")
	}
}

// ask reads a line that is not shown from the terminal.
func ask(prompt string) (string, error) {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return "", errors.New("no --passphrase-file, and no terminal to ask at")
	}
	fmt.Fprint(os.Stderr, prompt)
	line, err := term.ReadPassword(fd)
	fmt.Fprintln(os.Stderr)
	return string(line), err
}
