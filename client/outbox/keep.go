package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/internal/durable"
	"golang.org/x/sync/errgroup"
)

const (
	receiptsDir = "receipts"
	refusedDir  = "refused"
	evidenceDir = "evidence"

	// writers is how many files are synced at once, so that the file system
	// does many with one write of its own log.
	writers = 16
)

// keepReceipts writes INDEX.leaf and INDEX.tlog-proof, durably.
func (o *Outbox) keepReceipts(receipts []receipt) error {
	if len(receipts) == 0 {
		return nil
	}
	dir := filepath.Join(o.config.Dir, receiptsDir)
	var g errgroup.Group
	g.SetLimit(writers)
	for _, r := range receipts {
		g.Go(func() error {
			base := filepath.Join(dir, strconv.FormatInt(r.Index, 10))
			// The proof last: where there is a proof, there is its leaf.
			if err := durable.Replace(base+".leaf", r.Leaf); err != nil {
				return err
			}
			return durable.Replace(base+".tlog-proof", r.Proof.Marshal())
		})
	}
	if err := errors.Join(g.Wait(), durable.SyncDir(dir)); err != nil {
		return fmt.Errorf("outbox: keeping receipts: %w", err)
	}
	return nil
}

// Refused is the content of refused/SEQUENCE.json.
type Refused struct {
	Sequence int64           `json:"sequence"`
	ID       string          `json:"id"`
	Type     string          `json:"type"`
	Problem  client.Problem  `json:"problem"`
	Envelope json.RawMessage `json:"envelope"` // DSSE, as it was sent
}

func (o *Outbox) keepRefused(refusals []refusal) error {
	if len(refusals) == 0 {
		return nil
	}
	dir := filepath.Join(o.config.Dir, refusedDir)
	for _, r := range refusals {
		o.config.Logger.Error("the log refused an event, which is set aside", "source", o.config.Source, "sequence", r.sequence,
			"id", r.id, "type", r.typ, "problem", r.problem.String())
		err := writeJSON(filepath.Join(dir, sequence(r.sequence)+".json"),
			Refused{Sequence: r.sequence, ID: r.id, Type: r.typ, Problem: r.problem, Envelope: r.envelope.Marshal()})
		if err != nil {
			return fmt.Errorf("outbox: setting a refused event aside: %w", err)
		}
	}
	return durable.SyncDir(dir)
}

// falseReceipt is the content of evidence/SEQUENCE.json: what the log was given
// and what it answered.
type falseReceipt struct {
	Sequence int64           `json:"sequence"`
	Claim    int64           `json:"claim"` // the index the log claims; -1: none
	Wrong    string          `json:"wrong"`
	Envelope json.RawMessage `json:"envelope"`
	Answer   []byte          `json:"answer"` // as received
	Time     time.Time       `json:"time"`   // of this machine
}

// keepEvidence keeps a false receipt. It only tells when that fails: the event
// stays pending, and the log will say the same again.
func (o *Outbox) keepEvidence(e outgoing, why error) {
	var lied *client.ReceiptError
	if !errors.As(why, &lied) {
		return
	}
	name := filepath.Join(o.config.Dir, evidenceDir, sequence(e.sequence)+".json")
	o.config.Logger.Error("the log's receipt is false; the evidence is kept", "source", o.config.Source, "sequence", e.sequence, "file", name, "reason", why)
	err := writeJSON(name, falseReceipt{
		Sequence: e.sequence, Claim: lied.Index, Wrong: lied.Err.Error(), Envelope: e.envelope.Marshal(), Answer: lied.Evidence, Time: o.now().UTC(),
	})
	if err != nil {
		o.config.Logger.Error("keeping the evidence failed", "file", name, "reason", err)
	}
}

func writeJSON(name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return durable.Replace(name, append(text, '\n'))
}
