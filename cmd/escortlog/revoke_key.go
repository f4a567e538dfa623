package main

import (
	"time"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/event"
	"github.com/spf13/cobra"
)

type revokeKeyOptions struct {
	authorityOptions
	key    string
	keyID  string
	reason string
	since  string
	note   string
}

func newRevokeKeyCommand() *cobra.Command {
	var o revokeKeyOptions
	cmd := &cobra.Command{
		Use:   "revoke-key --log URL --admin FILE (--key PUB.pem | --keyid ID) --reason R",
		Short: "End the use of a key, for ever",
		Long: `Makes the authority event key.revoked: from the next leaf on, the key signs nothing
any more, and it never returns. One administrator's signature is enough (for an
administrator's key, its own, or the threshold). With reason "compromised", --since
says from when on its signatures prove nothing; auditors report them.` + authorityHelp,
		Example: `  escortlog revoke-key --log https://log.example.org --admin admin.key --key gateway.key.pub --reason superseded
  escortlog revoke-key --log https://log.example.org --admin admin.key --keyid spki-sha256:7a9f… \
      --reason compromised --since 2026-03-01T08:00:00Z --note "laptop stolen"`,
		Args: o.takeAdmins,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.key, "key", "", "public key `file` (SPKI PEM) of the key to revoke")
	f.StringVar(&o.keyID, "keyid", "", "`keyid` of the key to revoke: spki-sha256: and 64 hex digits")
	f.StringVar(&o.reason, "reason", "", "`reason`: compromised, superseded, ceased or lost")
	f.StringVar(&o.since, "since", "", "RFC 3339 `time` since when a compromised key proves nothing")
	f.StringVar(&o.note, "note", "", "`text` for people")
	config.CommandLineOnly(cmd, "key", "keyid", "reason", "since", "note")
	_ = cmd.MarkFlagRequired("reason") // fails only for a flag that does not exist
	cmd.MarkFlagsOneRequired("key", "keyid")
	cmd.MarkFlagsMutuallyExclusive("key", "keyid")
	return cmd
}

func (o *revokeKeyOptions) run(cmd *cobra.Command) error {
	r := event.Revocation{KeyID: o.keyID, Reason: o.reason, Note: o.note}
	if o.key != "" {
		key, err := readPublicKey(o.key)
		if err != nil {
			return err
		}
		r.KeyID = key.KeyID()
	}
	if o.since != "" {
		since, err := time.Parse(time.RFC3339, o.since)
		if err != nil {
			return usageErrorf("--since %q: want an RFC 3339 time such as 2026-03-01T08:00:00Z", o.since)
		}
		r.Since = since.UTC()
	}
	return o.authorityOptions.run(cmd, func(h event.Header) ([]byte, error) { return event.NewKeyRevoked(h, r) })
}
