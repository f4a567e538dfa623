package main

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/spf13/cobra"
)

// authorityOptions is what the commands that make authority events share.
type authorityOptions struct {
	connection connection
	policy     string
	admins     []string
	alsoSign   []string
	output     string
	origin     string
	prev       string
	timeout    time.Duration
	json       bool
}

// authorityHelp ends the help of those commands.
const authorityHelp = `

With --log the event is signed by each --admin and submitted. Where the threshold
needs administrators who are elsewhere, -o ENVELOPE writes it instead; they add
their signatures with "escortlog cosign" (or "escortlog pae", for an HSM), and
"escortlog submit" sends it. It is built on the newest authority event, which
--log tells, or --origin and --prev where there is no connection; when another
one is logged meanwhile, the log refuses it as stale and it must be made anew.
Give --origin or --policy with --log, too: a server that lies about its name could
otherwise have you sign for another log of which you are an administrator.`

func (o *authorityOptions) addFlags(cmd *cobra.Command) {
	o.connection.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.policy, "policy", "", "tlog-policy `file`: the log must be one of its logs, and the receipt meet it")
	f.StringArrayVar(&o.admins, "admin", nil, "administrator's private key `file`; repeat for several")
	f.StringArrayVar(&o.alsoSign, "also-sign", nil, "private key `file` of a key that the event brings; repeat for several")
	f.StringVarP(&o.output, "output", "o", "", "write an `envelope` to be signed on by others instead of submitting")
	f.StringVar(&o.origin, "origin", "", "`origin` of the log, without a connection; with one, what it must be")
	f.StringVar(&o.prev, "prev", "", "leaf hash of the newest authority event (64 hex `digits`), without a connection")
	f.DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long to wait for a busy log, and for a proof")
	f.BoolVar(&o.json, "json", false, "print a JSON object")
	config.CommandLineOnly(cmd, "also-sign", "output", "origin", "prev")
}

// signers reads the private keys that sign.
func (o *authorityOptions) signers() ([]crypto.Signer, error) {
	var signers []crypto.Signer
	files := map[string]string{}
	for _, name := range append(append([]string(nil), o.admins...), o.alsoSign...) {
		key, err := readPrivateKey(name)
		if err != nil {
			return nil, err
		}
		public, err := event.NewPublicKey(key.Public())
		if err != nil {
			return nil, err
		}
		if twin, twice := files[public.KeyID()]; twice {
			return nil, usageErrorf("%s and %s hold the same key, and a key signs once", twin, name)
		}
		files[public.KeyID()] = name
		signers = append(signers, key)
	}
	return signers, nil
}

// takeAdmins takes what follows the flags as further files of --admin, so that
// "--admin a.key b.key" means what it seems to.
func (o *authorityOptions) takeAdmins(_ *cobra.Command, args []string) error {
	if len(args) > 0 && len(o.admins) == 0 {
		return fmt.Errorf("unexpected %q: keys of administrators follow --admin", args[0])
	}
	o.admins = append(o.admins, args...)
	return nil
}

// run makes the event that build builds, and submits or writes it.
func (o *authorityOptions) run(cmd *cobra.Command, build func(event.Header) ([]byte, error)) error {
	signers, err := o.signers()
	if err != nil {
		return err
	}
	built := func(h event.Header) ([]byte, error) {
		if o.origin != "" && h.Origin != o.origin {
			return nil, &exitError{code: exitIntegrity, err: fmt.Errorf("the log says it is %q and not %q; nothing was signed", h.Origin, o.origin)}
		}
		payload, err := build(h)
		var invalid *event.Error
		if errors.As(err, &invalid) {
			return nil, usageErrorf("the log would refuse this event: %w", err)
		}
		return payload, err
	}
	if o.output != "" {
		return o.write(cmd, built, signers)
	}
	if len(o.admins) == 0 {
		return usageErrorf("no administrator signs: give --admin FILE, or -o ENVELOPE to have it signed elsewhere")
	}
	if o.prev != "" {
		return usageErrorf("--prev goes with -o ENVELOPE and without --log")
	}
	to, err := newSubmitter(&o.connection, o.policy, o.timeout, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	var id string
	receipt, err := to.SubmitAuthority(cmd.Context(), func(h event.Header) ([]byte, error) {
		id = h.ID
		return built(h)
	}, signers...)
	if err != nil {
		return &exitError{code: submitCode(err), err: err}
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), submitLine{Status: "logged", Index: &receipt.Index, LeafHash: receipt.LeafHash.String(), Time: receipt.Time, ID: id})
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d %s %s\n", receipt.Index, receipt.LeafHash, id)
	return err
}

// write builds the event and writes its envelope to --output.
func (o *authorityOptions) write(cmd *cobra.Command, build func(event.Header) ([]byte, error), signers []crypto.Signer) error {
	header, err := o.header(cmd)
	if err != nil {
		return err
	}
	payload, err := build(header)
	if err != nil {
		return err
	}
	v, err := client.SignEvent(payload, signers...)
	if err != nil {
		return err
	}
	return createFile(o.output, append(v.Marshal(), '\n'), 0o644)
}

// header is what the event builds on: what the log says, or the flags.
func (o *authorityOptions) header(cmd *cobra.Command) (event.Header, error) {
	if o.connection.log == "" {
		prev, err := hex.DecodeString(o.prev)
		head := client.AuthorityHead{Origin: o.origin}
		if err != nil || len(prev) != len(head.Prev) || o.origin == "" {
			return event.Header{}, usageErrorf("without --log, give --origin NAME and --prev with the 64 hex digits of the newest authority event's leaf hash")
		}
		copy(head.Prev[:], prev)
		return (&client.Submitter{}).Header(head), nil
	}
	if o.prev != "" {
		return event.Header{}, usageErrorf("--prev goes without --log, which tells it")
	}
	to, err := newSubmitter(&o.connection, o.policy, o.timeout, cmd.ErrOrStderr())
	if err != nil {
		return event.Header{}, err
	}
	head, err := to.AuthorityHead(cmd.Context())
	if err != nil {
		return event.Header{}, err
	}
	return to.Header(head), nil
}

// fullType completes the short name of a type, such as "session.started".
func fullType(name string) string {
	for _, full := range []string{name, event.Prefix + name, event.Prefix + name + ".v1"} {
		if _, known := event.Lookup(full); known {
			return full
		}
	}
	return name
}

func fullTypes(names []string) []string {
	var full []string
	for _, name := range names {
		full = append(full, fullType(name))
	}
	return full
}

// describe tells an administrator what a signature would sign: the event as it
// is, laid out for reading.
func describe(w io.Writer, v *entry.Envelope) error {
	e, err := event.Parse(v.Payload)
	if err != nil {
		return usageErrorf("the envelope holds no event: %w", err)
	}
	var text bytes.Buffer
	if err := json.Indent(&text, v.Payload, "", "  "); err != nil {
		return err
	}
	names := make([]string, len(v.Signatures))
	for i, s := range v.Signatures {
		names[i] = s.KeyID
	}
	if len(names) == 0 {
		names = []string{"nobody"}
	}
	_, err = fmt.Fprintf(w, "%s\n%s\nsigned so far by %s\n", e.Type, &text, strings.Join(names, ", "))
	return err
}

// readEnvelope reads an envelope file.
func readEnvelope(cmd *cobra.Command, name string) (*entry.Envelope, error) {
	text, err := readFile(cmd.InOrStdin(), name, maxItem)
	if err != nil {
		return nil, err
	}
	v, err := entry.ParseEnvelope(text)
	if err != nil {
		return nil, usageErrorf("%s: %w", name, err)
	}
	return v, nil
}
