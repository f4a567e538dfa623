package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/event"
	"github.com/spf13/cobra"
)

type keygenOptions struct {
	output  string
	keyType string
}

func newKeygenCommand() *cobra.Command {
	var o keygenOptions
	cmd := &cobra.Command{
		Use:   "keygen -o FILE",
		Short: "Make a key that signs events",
		Long: `Makes a key pair. FILE holds the private key (PKCS #8 PEM, readable by its owner
only), FILE.pub the public one (SPKI PEM), which an administrator registers with
"escortlog register-key". Prints the keyid. Existing files are never overwritten.

A key that must not leave an HSM or a smart card is made there: export its public
key as SPKI PEM, and sign what "escortlog pae" prints.`,
		Example: `  escortlog keygen -o gateway.key
  escortlog keygen -o escort.key --type ecdsa-p256`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "`file` for the private key; the public key goes to FILE.pub")
	f.StringVar(&o.keyType, "type", event.Ed25519, "`type` of key: ed25519, ecdsa-p256 or ecdsa-p384")
	config.CommandLineOnly(cmd, "output", "type")
	_ = cmd.MarkFlagRequired("output") // fails only for a flag that does not exist
	return cmd
}

func (o *keygenOptions) run(cmd *cobra.Command) error {
	private, err := event.GenerateKey(o.keyType)
	if err != nil {
		return usageErrorf("--type: %w", err)
	}
	public, err := event.NewPublicKey(private.Public())
	if err != nil {
		return err
	}
	text, err := event.MarshalPrivateKeyPEM(private)
	if err != nil {
		return err
	}
	if err := createFile(o.output, text, 0o600); err != nil {
		return err
	}
	if err := createFile(o.output+".pub", public.PEM(), 0o644); err != nil {
		return errors.Join(err, os.Remove(o.output)) // half a pair helps nobody
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), public.KeyID())
	return err
}
