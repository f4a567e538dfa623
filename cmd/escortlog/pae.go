package main

import (
	"bytes"
	"encoding/base64"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/spf13/cobra"
)

type paeOptions struct {
	signature string
	key       string
	output    string
}

func newPAECommand() *cobra.Command {
	var o paeOptions
	cmd := &cobra.Command{
		Use:   "pae ENVELOPE [--signature FILE --key PUB.pem]",
		Short: "Print the bytes that an HSM must sign, and add its signature",
		Long: `Prints the DSSE pre-authentication encoding of an envelope, the very bytes that a
signature signs: with Ed25519 as they are, with ECDSA P-256 by their SHA-256 and
with P-384 by their SHA-384. The event is shown on standard error.

With --signature, a signature made elsewhere (raw Ed25519 or ECDSA in DER, or
either in base64) is verified with --key and added to the envelope.`,
		Example: `  escortlog pae change.json > change.pae
  openssl dgst -sha256 -sign handle.pem -out change.sig change.pae
  escortlog pae change.json --signature change.sig --key hsm.pub`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&o.signature, "signature", "", "`file` with a signature to add")
	f.StringVar(&o.key, "key", "", "public key `file` (SPKI PEM) of --signature")
	f.StringVarP(&o.output, "output", "o", "", "write a new `file` instead of changing the envelope in place")
	config.CommandLineOnly(cmd, "signature", "key", "output")
	cmd.MarkFlagsRequiredTogether("signature", "key")
	return cmd
}

func (o *paeOptions) run(cmd *cobra.Command, name string) error {
	v, err := readEnvelope(cmd, name)
	if err != nil {
		return err
	}
	pae := entry.PAE(v.PayloadType, v.Payload)
	if o.signature == "" {
		if err := describe(cmd.ErrOrStderr(), v); err != nil {
			return err
		}
		_, err := cmd.OutOrStdout().Write(pae)
		return err
	}
	key, err := readPublicKey(o.key)
	if err != nil {
		return err
	}
	sig, err := readFile(nil, o.signature, maxKeyFile)
	if err != nil {
		return err
	}
	if !key.Verify(pae, sig) {
		decoded, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(sig)))
		if err != nil || !key.Verify(pae, decoded) {
			return usageErrorf("%s is no signature by %s of this envelope", o.signature, key.KeyID())
		}
		sig = decoded
	}
	if err := appendSignature(v, entry.Signature{KeyID: key.KeyID(), Sig: sig}); err != nil {
		return err
	}
	return writeEnvelope(cmd, v, name, o.output)
}
