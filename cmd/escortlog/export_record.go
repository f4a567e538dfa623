package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/evidence"
	"github.com/escortlog/escortlog/client/view"
	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/spf13/cobra"
)

// recordOptions are the flags by which an export is recorded in the log.
type recordOptions struct {
	key, source, by, purpose string
}

func (o *recordOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.key, "record", "", "private key `file`: record the export in the log, as an audit.exported event that it signs")
	f.StringVar(&o.source, "source", "", "`URI` for which the key of --record is registered, of exports only")
	f.StringVar(&o.by, "exported-by", "", "`pseudonym` of who exports, for --record")
	f.StringVar(&o.purpose, "purpose", "", "`text` for --record: what the pack is for")
	config.CommandLineOnly(cmd, "record", "source", "exported-by", "purpose")
}

// recorder records an export. It is fed with every leaf, and so knows what the
// source has logged last.
type recorder struct {
	recordOptions
	signer crypto.Signer
	to     *client.Submitter

	leaves   int64
	sequence int64  // of the source's last event; 0: none, or it does not number them
	prevHash string // of that event's payload; empty where there is none
}

// newRecorder checks the flags. It returns nil where nothing is to be recorded.
func newRecorder(o recordOptions, to func() (*client.Submitter, error)) (*recorder, error) {
	if o.key == "" {
		if o.source != "" || o.by != "" || o.purpose != "" {
			return nil, usageErrorf("--source, --exported-by and --purpose are about the event that --record KEY signs; give that too")
		}
		return nil, nil
	}
	for _, f := range []struct{ name, given string }{{"source", o.source}, {"exported-by", o.by}, {"purpose", o.purpose}} {
		if f.given == "" {
			return nil, usageErrorf("--record also wants --%s", f.name)
		}
	}
	r := &recorder{recordOptions: o}
	var err error
	if r.signer, err = readPrivateKey(o.key); err != nil {
		return nil, err
	}
	// What is wrong with the words is found before a whole log is read.
	if _, err := r.event(&evidence.Built{Manifest: &evidence.Manifest{Origin: "-"}, SHA256: hex.EncodeToString(make([]byte, 32))}, evidence.Query{Kind: view.Session, ID: "-"}); err != nil {
		return nil, usageErrorf("--record cannot be made of what was given: %w", err)
	}
	r.to, err = to()
	return r, err
}

// Add takes the next leaf.
func (r *recorder) Add(_ int64, leaf []byte) error {
	r.leaves++
	e, err := entry.Parse(leaf)
	if err != nil {
		return err
	}
	ev, err := event.Parse(e.Payload)
	if err == nil && ev.Source == r.source {
		r.sequence, r.prevHash = ev.SequenceNumber(), event.PrevHash(e.Payload)
	}
	return err
}

// Leaves returns how many leaves were added.
func (r *recorder) Leaves() int64 { return r.leaves }

// event makes the audit.exported event of a pack.
func (r *recorder) event(b *evidence.Built, q evidence.Query) ([]byte, error) {
	now := time.Now()
	var random [10]byte
	_, _ = rand.Read(random[:]) // never fails
	id := event.NewUUIDv7(now.UnixMilli(), random)
	m := b.Manifest
	data := map[string]any{
		"export_id":     id,
		"exported_by":   map[string]any{"ref": r.by, "role": "auditor"},
		"query":         q.String(),
		"checkpoint":    map[string]any{"origin": m.Origin, "size": m.Head.Size, "root": hex.EncodeToString(m.Head.Root[:])},
		"row_count":     m.Counts.Leaves,
		"bundle_digest": "sha256:" + b.SHA256,
		"purpose":       r.purpose,
		"ext":           map[string]any{"counts": m.Counts, "policy_digest": m.Policy, "tool": toolVersion()},
	}
	switch q.Kind {
	case view.Session:
		data["session_id"] = q.ID
	case view.Change:
		data["change_id"] = q.ID
	}
	a := event.Attributes{ID: id, Source: r.source, Type: event.Prefix + "audit.exported.v1", Subject: "export/" + id, Time: now.UTC(), Sequence: r.sequence + 1, PrevHash: r.prevHash}
	payload, err := event.Build(a, data)
	if err != nil {
		return nil, err
	}
	ev, err := event.Parse(payload)
	if err == nil {
		err = event.Validate(ev, false)
	}
	return payload, err
}

// record submits the event and returns when its proof has verified.
func (r *recorder) record(ctx context.Context, b *evidence.Built) (*client.Receipt, error) {
	payload, err := r.event(b, b.Manifest.Query)
	if err != nil {
		return nil, err
	}
	sig, err := event.Sign(r.signer, entry.PayloadType, payload)
	if err != nil {
		return nil, err
	}
	results, err := r.to.Submit(ctx, &entry.Envelope{PayloadType: entry.PayloadType, Payload: payload, Signatures: []entry.Signature{sig}})
	if err == nil {
		err = results[0].Err
	}
	receipt := results[0].Receipt
	switch refused := (*client.RefusedError)(nil); {
	case err == nil:
		return receipt, nil
	case errors.As(err, &refused):
		return nil, withCode(exitFindings, fmt.Errorf("no pack was written, since it could not be recorded: %w", err))
	case receipt != nil && errors.Is(err, checkpoint.ErrQuorum):
		return nil, withCode(exitIntegrity, fmt.Errorf("no pack was written: its export was recorded as leaf %d, hash %s, which the log has signed, "+
			"but within %v no checkpoint with that leaf met the policy: %w. That event stays in the log without a pack; export again when the witnesses answer",
			receipt.Index, receipt.LeafHash, r.to.Wait, checkpoint.ErrQuorum))
	default:
		return nil, withCode(submitCode(err), fmt.Errorf("no pack was written, since it is not proven that it was recorded; the log may hold the event all the same: %w", err))
	}
}

// recordedOnly says where the pack is that was recorded and could not be put in its
// place. It cannot be made again, since the log has grown by its record.
func recordedOnly(receipt *client.Receipt, b *evidence.Built, pack *aside, err error) error {
	said := fmt.Sprintf("the export was recorded as leaf %d, hash %s, proven under the policy, but its pack could not be put in its place", receipt.Index, receipt.LeafHash)
	if _, gone := os.Stat(pack.Name()); gone != nil {
		return fmt.Errorf("%s and is lost: %w. That event stays in the log without a pack; export again", said, err)
	}
	return fmt.Errorf(`%s: %w. It is kept as %s: verify it with "escortlog verify --sha256 %s" and move it`, said, err, pack.Name(), b.SHA256)
}

// notRecorded says what an auditor has to know who gave no --record.
func notRecorded(w io.Writer) {
	fmt.Fprintln(w, "escortlog: nothing in the log says that this was exported; with --record KEY an audit.exported event does")
}

// folders fold every leaf several ways.
type folders []folder

func (f folders) Add(index int64, leaf []byte) error {
	for _, into := range f {
		if err := into.Add(index, leaf); err != nil {
			return err
		}
	}
	return nil
}

func (f folders) Leaves() int64 { return f[0].Leaves() }
