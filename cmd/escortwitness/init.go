package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness"
)

func newInitCommand() *cobra.Command {
	var dir, name, mirrorName, passphraseFile string
	var encrypt bool
	cmd := &cobra.Command{
		Use:   "init --data DIR --name NAME [--mirror-name NAME]",
		Short: "Make a new witness, once, on purpose",
		Long: `Makes the directory of a new witness with an Ed25519 and an ML-DSA-44 key, and
prints their vkeys, Ed25519 first, and nothing else on standard output.

The name should be a URL without its scheme that nobody else uses. It is part of
both keys and cannot be changed.

With --mirror-name there is a mirror (c2sp.org/tlog-mirror) beside the witness, a cosigner
of its own with two more keys, whose vkeys come after the witness's. It keeps full copies of
the logs added with --mirror.

With --encrypt or --passphrase-file the private keys are encrypted (age, scrypt); serve
then needs the passphrase too.

Never run a copy of the directory, and never restore it from a backup: a witness
that has forgotten what it cosigned can be made to contradict itself. When it is
lost, make a new one.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needData(dir); err != nil {
				return err
			}
			if name == "" {
				return usageErrorf("no name: give --name, as in --name witness.example.org/1")
			}
			passphrase, err := newPassphrase(encrypt, passphraseFile)
			if err != nil {
				return err
			}
			for _, n := range []string{name, mirrorName} {
				if _, err := checkpoint.GenerateSigner(n, checkpoint.AlgCosignEd25519, rand.Reader); n != "" && err != nil {
					return usageErrorf("%w", err)
				}
			}
			if name == mirrorName {
				return usageErrorf("--mirror-name: the mirror needs another name than the witness")
			}
			vkeys, err := witness.Init(witness.InitConfig{Dir: dir, Name: name, MirrorName: mirrorName, Rand: rand.Reader, Passphrase: passphrase})
			switch {
			case errors.Is(err, syscall.ENOTDIR):
				return usageErrorf("--data %s is no directory: %w", dir, err)
			case err != nil:
				return err
			}
			if err := printVKeys(cmd.OutOrStdout(), vkeys); err != nil {
				return fmt.Errorf("the witness is made, and its keys could not be printed: %w. Print them with escortwitness vkeys", err)
			}
			return nil
		},
	}
	dataFlag(cmd, &dir)
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "`name` of the witness, as witness.example.org/1")
	f.StringVar(&mirrorName, "mirror-name", "", "`name` of a mirror beside the witness, as mirror.example.org/1")
	f.BoolVar(&encrypt, "encrypt", false, "encrypt the private keys with a passphrase asked for at the terminal")
	f.StringVar(&passphraseFile, "passphrase-file", "", "encrypt the private keys with the first line of this `file`")
	config.CommandLineOnly(cmd, "name", "mirror-name", "encrypt")
	return cmd
}

func newPassphrase(encrypt bool, file string) (string, error) {
	switch {
	case file != "":
		return passphraseFrom(file)()
	case !encrypt:
		return "", nil
	}
	first, err := ask("New passphrase: ")
	if err != nil {
		return "", err
	}
	second, err := ask("The same again: ")
	if err != nil {
		return "", err
	}
	if first == "" || first != second {
		return "", usageErrorf("the two passphrases differ, or are empty")
	}
	return first, nil
}
