package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"
)

type verifyOptions struct {
	policy   string
	leaf     string
	envelope string
	signers  []string
	// disclosure is a file with what some commitments in the event stand for.
	disclosure string
	sha256     string
	json       bool
}

func newVerifyCommand() *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify --policy FILE ((--leaf FILE | --envelope FILE) FILE.tlog-proof | PACK.zip)",
		Short: "Verify offline that an event is in a log, or an evidence pack",
		Long: `Verifies a receipt without asking anybody: the leaf is hashed, or rebuilt from the
signed envelope and the time in the proof; the proof leads from its hash to the
root of a checkpoint; a log of the policy signed that checkpoint, and witnesses
cosigned it as the policy demands.

This does not say that the event's signers were registered for its source and
type, which takes the whole log: see "escortlog audit". With --signer, the
event must bear a valid signature by each of those keys.

Of every commitment in the event it is said whether its content was disclosed or is
withheld. With --disclosure, what that file holds must open commitments of this
event (see "escortlog disclose"); where it does not, the pointer is named and the
exit code is 2.

Of an evidence pack (see "escortlog export") everything is verified: every byte
against its manifest, the checkpoint under --policy, every leaf and its signatures
by the keys registered before it, and what was made from the leaves is made again.
Whatever was changed, added or removed is named. --sha256 demands that it is the
very pack whose digest its maker printed.

With --json one object is printed also where it is not proven, with the error in it.

Exit code 0: proven. 2: it is not, or the quorum is not met.`,
		Example: `  escortlog verify --policy policy.txt --leaf receipts/7.leaf receipts/7.tlog-proof
  escortlog verify --policy policy.txt --envelope event.dsse.json event.tlog-proof
  escortlog verify --policy policy.txt q2.zip`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&o.policy, "policy", "", "tlog-policy `file`: the log's keys, the witnesses, the quorum")
	f.StringVar(&o.leaf, "leaf", "", "`file` with the leaf, as submit --receipts keeps it")
	f.StringVar(&o.envelope, "envelope", "", "`file` with the signed DSSE envelope, in place of --leaf")
	f.StringArrayVar(&o.signers, "signer", nil, "public key `file` (SPKI PEM) that must have signed the event; may be repeated")
	f.StringVar(&o.disclosure, "disclosure", "", "`file` of disclosures that must open commitments in the event")
	f.StringVar(&o.sha256, "sha256", "", "`digest` in hex that a pack must have")
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	config.CommandLineOnly(cmd, "leaf", "envelope", "signer", "disclosure", "sha256")
	return cmd
}

func (o *verifyOptions) run(cmd *cobra.Command, name string) error {
	if o.policy == "" {
		return usageErrorf("no policy: give --policy FILE or set ESCORTLOG_POLICY; without one anybody could have made the proof")
	}
	if cmd.Flags().Changed("sha256") && o.sha256 == "" {
		return usageErrorf("--sha256 is empty: leave it out, or give the digest")
	}
	if o.leaf == "" && o.envelope == "" && isPack(name) {
		return o.runPack(cmd, name)
	}
	if o.sha256 != "" {
		return usageErrorf("--sha256 is about a pack, and %s is none", name)
	}
	if (o.leaf == "") == (o.envelope == "") {
		return usageErrorf("give --leaf FILE or --envelope FILE: the bytes that are to be proven")
	}
	policy, err := readPolicy(o.policy)
	if err != nil {
		return err
	}
	keys, err := readPublicKeys(o.signers)
	if err != nil {
		return err
	}
	var disclosures []client.Disclosure
	if o.disclosure != "" {
		if disclosures, err = readDisclosures(cmd.InOrStdin(), o.disclosure); err != nil {
			return err
		}
	}
	v, err := o.verify(cmd.InOrStdin(), name, policy)
	if err != nil {
		return o.refute(cmd, nil, proofCode(err), err)
	}
	if err := v.CheckSignatures(keys...); err != nil {
		return o.refute(cmd, v, exitIntegrity, err)
	}
	r := describeVerification(v, o.signers)
	// What is no event has no commitments; r says that it is none.
	if r.Type != "" || len(disclosures) > 0 {
		if r.Committed, err = client.CheckDisclosures(v.Entry, v.LeafHash, disclosures); err != nil {
			return o.refute(cmd, v, exitIntegrity, err)
		}
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), verdict{Proven: true, verification: r})
	}
	return r.print(cmd.OutOrStdout())
}

// verdict is what verify prints about one leaf as JSON.
type verdict struct {
	Proven        bool   `json:"proven"`
	Error         string `json:"error,omitempty"` // why it is not proven
	*verification        // nil where the leaf is in no log
}

// refute ends a verification that failed. v is nil where the proof itself does not
// hold. With another code than that of a proof that fails, nothing was looked at.
func (o *verifyOptions) refute(cmd *cobra.Command, v *client.Verification, code int, err error) error {
	failed := fmt.Errorf("not proven: %w", err)
	if o.json && code == exitIntegrity {
		out := verdict{Error: err.Error()}
		if v != nil {
			out.verification = describeVerification(v, nil)
			out.NotChecked = []string{} // what it would be is of no account here
		}
		failed = errors.Join(failed, printJSON(cmd.OutOrStdout(), out))
	}
	return &exitError{code: code, err: failed}
}

func readPublicKeys(names []string) ([]*event.PublicKey, error) {
	var keys []*event.PublicKey
	for _, name := range names {
		k, err := readPublicKey(name)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// maxEnvelopeFile bounds an envelope, in bytes, as logs do.
const maxEnvelopeFile = 128 << 10

func (o *verifyOptions) verify(stdin io.Reader, name string, policy *checkpoint.Policy) (*client.Verification, error) {
	text, err := readFile(stdin, name, checkpoint.MaxProof)
	if err != nil {
		return nil, err
	}
	proof, err := checkpoint.ParseProof(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if o.leaf != "" {
		leaf, err := readFile(stdin, o.leaf, entry.MaxSize)
		if err != nil {
			return nil, err
		}
		return client.Verify(proof, leaf, policy)
	}
	text, err = readFile(stdin, o.envelope, maxEnvelopeFile)
	if err != nil {
		return nil, err
	}
	envelope, err := entry.ParseEnvelope(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.envelope, err)
	}
	return client.VerifyEnvelope(proof, envelope, policy)
}

// proofCode is the exit code of a proof that could not be had or does not hold.
func proofCode(err error) int {
	var coded *exitError
	var spoilt *client.IntegrityError
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.Is(err, client.ErrUnavailable):
		return exitUnavailable
	case errors.As(err, &spoilt):
		return exitIntegrity
	}
	for _, failure := range []error{
		checkpoint.ErrProof, checkpoint.ErrQuorum, checkpoint.ErrUnsigned, checkpoint.ErrBadSignature,
		checkpoint.ErrOrigin, checkpoint.ErrMalformed, entry.ErrMalformed, client.ErrTime,
	} {
		if errors.Is(err, failure) {
			return exitIntegrity
		}
	}
	return codeOf(err)
}

// verification is what verify prints of a leaf that is in the log.
type verification struct {
	Origin    string     `json:"origin"`
	Index     int64      `json:"index"`
	LeafHash  tlog.Hash  `json:"leafHash"`
	Time      int64      `json:"time"` // ms since the epoch, when the log took it
	Size      int64      `json:"size"`
	Root      tlog.Hash  `json:"root"`
	Cosigners []cosigner `json:"cosigners"`
	Type      string     `json:"type,omitempty"`
	Source    string     `json:"source,omitempty"`
	ID        string     `json:"id,omitempty"`
	Subject   string     `json:"subject,omitempty"`
	// Committed are the commitments in the event.
	Committed  []client.Committed `json:"committed,omitempty"`
	KeyIDs     []string           `json:"keyids"`  // of the event's signatures
	Checked    []string           `json:"signers"` // files of the keys whose signatures were checked
	NotChecked []string           `json:"notChecked"`
}

type cosigner struct {
	Witness string `json:"witness"`
	Time    int64  `json:"time"` // Unix seconds
}

func describeVerification(v *client.Verification, signers []string) *verification {
	r := &verification{
		Origin: v.Verified.Origin, Index: v.Index, LeafHash: v.LeafHash, Time: v.Entry.Time,
		Size: v.Verified.Size, Root: v.Verified.Root, Cosigners: []cosigner{}, KeyIDs: []string{}, Checked: append([]string{}, signers...),
	}
	for _, c := range v.Verified.Cosignatures {
		r.Cosigners = append(r.Cosigners, cosigner{Witness: c.Witness, Time: c.Time})
	}
	for _, s := range v.Entry.Signatures {
		r.KeyIDs = append(r.KeyIDs, s.KeyID)
	}
	if ev, err := event.Parse(v.Entry.Payload); err == nil {
		r.Type, r.Source, r.ID, r.Subject = ev.Type, ev.Source, ev.ID, ev.Subject
	} else {
		r.NotChecked = append(r.NotChecked, "what it says: the payload is no event ("+err.Error()+")")
	}
	if len(r.Checked) == 0 && len(r.KeyIDs) > 0 {
		r.NotChecked = append(r.NotChecked, "the event's own signatures (give --signer PUB.pem)")
	}
	if len(r.Cosigners) == 0 {
		r.NotChecked = append(r.NotChecked, "that others were shown the same log: no witness cosigned, and the policy demands none")
	}
	r.NotChecked = append(r.NotChecked, "that the signers were registered for this source and type (escortlog audit)")
	return r
}

func (r *verification) print(w io.Writer) error {
	p := &printer{w: w}
	p.line("proven", "leaf %d of %s", r.Index, r.Origin)
	p.line("leaf hash", "%v", r.LeafHash)
	p.line("logged", "%s", time.UnixMilli(r.Time).UTC().Format("2006-01-02T15:04:05.000Z"))
	p.line("checkpoint", "size %d, root %v", r.Size, r.Root)
	for _, c := range r.Cosigners {
		p.line("cosigned", "by %s at %s", c.Witness, time.Unix(c.Time, 0).UTC().Format(time.RFC3339))
	}
	if r.Type != "" {
		p.line("event", "%s", r.Type)
		p.line("source", "%s", r.Source)
		p.line("id", "%s", r.ID)
		p.line("subject", "%s", r.Subject)
	}
	printCommitted(p, r.Committed)
	for _, id := range r.KeyIDs {
		p.line("signature", "%s", id)
	}
	for _, name := range r.Checked {
		p.line("signed", "by the key in %s", name)
	}
	for _, n := range r.NotChecked {
		p.line("not checked", "%s", n)
	}
	return p.err
}

// printer prints lines of a name and a text, until one cannot be printed.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(name, format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, "%-12s %s\n", name, printable(fmt.Sprintf(format, args...)))
	}
}

// printable keeps the words of a log, or of a file, from commanding a terminal or
// turning the writing around on it. Lines may end, and columns stand out.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
