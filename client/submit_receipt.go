package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// waiting is how long a batch waits for what its answer lacks. A log that does not
// answer about one event is not asked about the next two hundred.
type waiting struct {
	deadline time.Time
	away     error // why the log is not asked any more; nil: it is
}

// ask sends a request about one event of a batch.
func (s *Submitter) ask(ctx context.Context, w *waiting, path, accept string) (int, http.Header, []byte, error) {
	if w.away != nil {
		return 0, nil, nil, w.away
	}
	status, header, answer, err := s.do(ctx, s.patience(), http.MethodGet, path, nil, http.Header{"Accept": {accept}})
	w.away = err
	return status, header, answer, err
}

// receipt verifies what the log answered for one event, and asks for a proof
// where the answer came before one.
func (s *Submitter) receipt(ctx context.Context, wait *waiting, v *entry.Envelope, raw []byte, note string) (*Receipt, error) {
	var a entryAnswer
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, &ReceiptError{Index: -1, Evidence: raw, Err: err}
	}
	leaf, err := s.leaf(ctx, wait, v, &a)
	if err != nil {
		if errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
			return nil, err
		}
		return nil, &ReceiptError{Index: a.Index, Evidence: raw, Err: err}
	}
	r := &Receipt{Index: a.Index, Time: a.Time, Leaf: leaf, LeafHash: a.LeafHash, Existing: a.Status == http.StatusOK}
	if note != "" && a.Status != http.StatusAccepted {
		proof := &checkpoint.Proof{Extra: checkpoint.LeafTimeExtra(a.Time), Index: a.Index, Hashes: a.Proof, Checkpoint: []byte(note)}
		err := s.prove(r, proof)
		switch {
		case err == nil:
			return r, nil
		case !errors.Is(err, checkpoint.ErrQuorum):
			return nil, &ReceiptError{Index: a.Index, Evidence: proof.Marshal(), Err: err}
		}
	}
	return s.awaitProof(ctx, wait, r)
}

// leaf returns the leaf that the answer is about. It is rebuilt from the bytes
// that were submitted; the server contributes nothing but the time, which the
// leaf hash covers.
func (s *Submitter) leaf(ctx context.Context, wait *waiting, v *entry.Envelope, a *entryAnswer) ([]byte, error) {
	if a.Index < 0 {
		return nil, errors.New("the index is negative")
	}
	e := v.Entry(a.Time)
	leaf, err := e.Marshal()
	if err != nil {
		return nil, err
	}
	if entry.LeafHash(leaf) == a.LeafHash {
		return leaf, nil
	}
	if a.Status == http.StatusCreated {
		return nil, fmt.Errorf("the leaf of the submitted bytes hashes to %v, the log says %v", entry.LeafHash(leaf), a.LeafHash)
	}
	// The log held the event already. The leaf then bears the signatures that
	// came first, and those may differ from today's in their bytes or order.
	return s.earlierLeaf(ctx, wait, e, a)
}

// earlierLeaf fetches the leaf of an event that was logged before, and accepts
// it only when it holds the same payload under valid signatures of the same keys.
func (s *Submitter) earlierLeaf(ctx context.Context, wait *waiting, e *entry.Entry, a *entryAnswer) ([]byte, error) {
	status, _, leaf, err := s.ask(ctx, wait, fmt.Sprintf("/v1/entries/%d", a.Index), "application/octet-stream")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("%w: the log answered %d when asked for the leaf it holds", ErrUnavailable, status)
	}
	if entry.LeafHash(leaf) != a.LeafHash {
		return nil, fmt.Errorf("the leaf it serves hashes to %v, its answer says %v", entry.LeafHash(leaf), a.LeafHash)
	}
	held, err := entry.Parse(leaf)
	if err != nil {
		return nil, err
	}
	if held.Time != a.Time || held.Content() != e.Content() {
		return nil, errors.New("the leaf it serves is not the event that was submitted")
	}
	return leaf, s.checkSignatures(held, e)
}

// checkSignatures verifies those signatures of held that are not, byte for
// byte, among the submitted ones.
func (s *Submitter) checkSignatures(held, submitted *entry.Entry) error {
	pae := entry.PAE(held.PayloadType, held.Payload)
	for _, sig := range held.Signatures {
		if slices.ContainsFunc(submitted.Signatures, func(own entry.Signature) bool {
			return own.KeyID == sig.KeyID && bytes.Equal(own.Sig, sig.Sig)
		}) {
			continue
		}
		i := slices.IndexFunc(s.Keys, func(k *event.PublicKey) bool { return k.KeyID() == sig.KeyID })
		if i < 0 {
			return fmt.Errorf("the event was logged before under another signature of %s, and that key was not given to check it", sig.KeyID)
		}
		if !s.Keys[i].Verify(pae, sig.Sig) {
			return fmt.Errorf("the leaf it serves bears a signature of %s that does not verify", sig.KeyID)
		}
	}
	return nil
}

// prove checks that proof leads from the receipt's leaf to a checkpoint which
// satisfies the policy, and keeps it. With a missing quorum it keeps it too.
func (s *Submitter) prove(r *Receipt, proof *checkpoint.Proof) error {
	if proof.Index != r.Index {
		return fmt.Errorf("the proof is for index %d", proof.Index)
	}
	if t, err := proof.LeafTime(); err != nil || t != r.Time {
		return fmt.Errorf("the proof states another leaf time than %d ms", r.Time)
	}
	c, verified, err := s.checkpoint(proof.Checkpoint)
	if err != nil && !errors.Is(err, checkpoint.ErrQuorum) {
		return err
	}
	if err := checkpoint.VerifyInclusion(r.LeafHash, r.Index, c.Size, proof.Hashes, c.Root); err != nil {
		return err
	}
	r.Proof, r.Verified = proof, verified
	return err
}

// judged is a note and what the policy said of it.
type judged struct {
	note     []byte
	verified *checkpoint.Verified
	err      error
}

// checkpoint reads a note, and judges it by the policy where there is one. A
// missing quorum is an error beside the result.
func (s *Submitter) checkpoint(note []byte) (checkpoint.Checkpoint, *checkpoint.Verified, error) {
	if s.Policy == nil {
		text, _, err := checkpoint.ParseNote(note)
		if err != nil {
			return checkpoint.Checkpoint{}, nil, err
		}
		c, err := checkpoint.Parse(text)
		return c, nil, err
	}
	// A batch has one note for all of its events.
	j := s.judged.Load()
	if j == nil || !bytes.Equal(j.note, note) {
		j = &judged{note: bytes.Clone(note)}
		j.verified, j.err = s.Policy.Verify(note)
		s.judged.Store(j)
	}
	if j.verified == nil {
		return checkpoint.Checkpoint{}, nil, j.err
	}
	return j.verified.Checkpoint, j.verified, j.err
}

// awaitProof asks for the proof of a logged event until one satisfies the
// policy or the deadline has come.
func (s *Submitter) awaitProof(ctx context.Context, wait *waiting, r *Receipt) (*Receipt, error) {
	next := firstPause
	for {
		status, header, answer, err := s.ask(ctx, wait, fmt.Sprintf("/v1/entries/%d/proof", r.Index), "text/plain")
		if err != nil {
			return r.orNil(), err
		}
		if status == http.StatusOK {
			proof, err := checkpoint.ParseProof(answer)
			if err == nil {
				err = s.prove(r, proof)
			}
			if err == nil {
				return r, nil
			}
			if !errors.Is(err, checkpoint.ErrQuorum) {
				return nil, &ReceiptError{Index: r.Index, Evidence: answer, Err: err}
			}
		} else if status != http.StatusNotFound {
			return r.orNil(), fmt.Errorf("%w: the log answered %d when asked for the proof of index %d", ErrUnavailable, status, r.Index)
		}
		d := retryAfter(header, s.clock())
		if d == 0 {
			d, next = next, min(2*next, maxPause)
		}
		if s.clock().Add(d).After(wait.deadline) {
			return r.orNil(), s.noProof(r)
		}
		if err := s.pause(ctx, d); err != nil {
			return r.orNil(), err
		}
	}
}

func (s *Submitter) wait() time.Duration {
	if s.Wait == 0 {
		return time.Minute
	}
	return s.Wait
}

// noProof says what is missing when the wait is over.
func (s *Submitter) noProof(r *Receipt) error {
	if r.Proof != nil {
		return fmt.Errorf("%w: index %d is in the log, and after %v its checkpoint still lacks cosignatures; keep the bytes and submit them again later",
			checkpoint.ErrQuorum, r.Index, s.wait())
	}
	return fmt.Errorf("%w: it says that it took the event at index %d, and has published no proof in %v; keep the bytes and submit them again later",
		ErrUnavailable, r.Index, s.wait())
}

// orNil is r where a proof has been verified, if without its quorum.
func (r *Receipt) orNil() *Receipt {
	if r.Proof == nil {
		return nil
	}
	return r
}
