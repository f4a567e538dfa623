package main

import (
	"crypto/rand"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness"
)

func newInitCommand() *cobra.Command {
	var dir, name, passphraseFile string
	var encrypt bool
	cmd := &cobra.Command{
		Use:   "init --data DIR --name NAME",
		Short: "Make a new witness, once, on purpose",
		Long: `Makes the directory of a new witness with an Ed25519 and an ML-DSA-44 key, and
prints their vkeys, Ed25519 first, and nothing else on standard output.

The name should be a URL without its scheme that nobody else uses. It is part of
both keys and cannot be changed.

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
			if _, err := checkpoint.GenerateSigner(name, checkpoint.AlgCosignEd25519, rand.Reader); err != nil {
				return usageErrorf("--name: %w", err)
			}
			vkeys, err := witness.Init(witness.InitConfig{Dir: dir, Name: name, Rand: rand.Reader, Passphrase: passphrase})
			if err != nil {
				return err
			}
			for _, v := range vkeys {
				fmt.Fprintln(cmd.OutOrStdout(), v)
			}
			return nil
		},
	}
	dataFlag(cmd, &dir)
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "`name` of the witness, as witness.example.org/1")
	f.BoolVar(&encrypt, "encrypt", false, "encrypt the private keys with a passphrase asked for at the terminal")
	f.StringVar(&passphraseFile, "passphrase-file", "", "encrypt the private keys with the first line of this `file`")
	fromCommandLineOnly(cmd, "name", "encrypt")
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
