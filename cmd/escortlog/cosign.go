package main

import (
	"crypto"
	"fmt"
	"os"
	"slices"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/spf13/cobra"
)

type cosignOptions struct {
	admins   []string
	alsoSign []string
	output   string
}

func newCosignCommand() *cobra.Command {
	var o cosignOptions
	cmd := &cobra.Command{
		Use:   "cosign ENVELOPE --admin FILE...",
		Short: "Add signatures to an envelope that others made",
		Long: `Shows the event that an envelope holds, on standard error, and adds a signature by
each key to it. The envelope is changed in place, or written to -o FILE. Read the
event before you pass the envelope on: what it says is done in your name.`,
		Example: `  escortlog cosign change.json --admin carol.key
  escortlog cosign change.json --admin carol.key -o change-signed.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.admins, "admin", nil, "administrator's private key `file`; repeat for several")
	f.StringArrayVar(&o.alsoSign, "also-sign", nil, "private key `file` of a key that the event brings; repeat for several")
	f.StringVarP(&o.output, "output", "o", "", "write a new `file` instead of changing the envelope in place")
	config.CommandLineOnly(cmd, "also-sign", "output")
	return cmd
}

func (o *cosignOptions) run(cmd *cobra.Command, name string) error {
	signers, err := (&authorityOptions{admins: o.admins, alsoSign: o.alsoSign}).signers()
	if err != nil {
		return err
	}
	if len(signers) == 0 {
		return usageErrorf("nobody signs: give --admin FILE")
	}
	v, err := readEnvelope(cmd, name)
	if err != nil {
		return err
	}
	if err := describe(cmd.ErrOrStderr(), v); err != nil {
		return err
	}
	for _, signer := range signers {
		if err := addSignature(v, signer); err != nil {
			return err
		}
	}
	return writeEnvelope(cmd, v, name, o.output)
}

// addSignature signs the envelope with one key more.
func addSignature(v *entry.Envelope, signer crypto.Signer) error {
	sig, err := event.Sign(signer, v.PayloadType, v.Payload)
	if err != nil {
		return err
	}
	return appendSignature(v, sig)
}

func appendSignature(v *entry.Envelope, sig entry.Signature) error {
	if slices.ContainsFunc(v.Signatures, func(s entry.Signature) bool { return s.KeyID == sig.KeyID }) {
		return usageErrorf("%s has signed the envelope already", sig.KeyID)
	}
	if len(v.Signatures) == entry.MaxSignatures {
		return usageErrorf("the envelope bears %d signatures, the most there can be", entry.MaxSignatures)
	}
	v.Signatures = append(v.Signatures, sig)
	return nil
}

// writeEnvelope writes the envelope to a new file, or over the one it came from.
func writeEnvelope(cmd *cobra.Command, v *entry.Envelope, from, to string) error {
	text := append(v.Marshal(), '\n')
	switch {
	case to != "":
		return createFile(to, text, 0o644)
	case from == "-":
		_, err := cmd.OutOrStdout().Write(text)
		return err
	}
	info, err := os.Stat(from)
	if err == nil {
		err = replaceFile(from, text, info.Mode().Perm())
	}
	if err != nil {
		return fmt.Errorf("writing the envelope: %w", err)
	}
	return nil
}
