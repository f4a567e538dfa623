package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
	"golang.org/x/mod/sumdb/tlog"
)

// errUnproven is wrapped when a proof this server made does not verify.
var errUnproven = errors.New("a proof of this log's own does not verify")

// prover makes tlog-proofs and verifies each before anybody sees it: "valid" is
// never said of what was not checked with the same code a verifier runs.
type prover struct {
	log    Log
	policy *checkpoint.Policy
	own    []*checkpoint.Verifier // the log's keys, those that the policy does not name, too

	// verified is the newest note whose signatures were verified. One note
	// proves many leaves, and its signatures are the same for all of them.
	verified atomic.Pointer[verifiedNote]
}

type verifiedNote struct {
	note []byte
	cp   checkpoint.Checkpoint
}

// note verifies the signatures of a published checkpoint under the policy. The
// error wraps checkpoint.ErrQuorum when the note is good but the policy asks for
// more, as after a change of policy.
func (p *prover) note(pub *log.Published) (checkpoint.Checkpoint, error) {
	if v := p.verified.Load(); v != nil && bytes.Equal(v.note, pub.Note) {
		return v.cp, nil
	}
	v, err := p.policy.Verify(pub.Note)
	switch {
	case errors.Is(err, checkpoint.ErrQuorum):
		return checkpoint.Checkpoint{}, fmt.Errorf("published checkpoint of size %d: %w", pub.Size, err)
	case err != nil:
		return checkpoint.Checkpoint{}, fmt.Errorf("%w: published checkpoint of size %d: %w", errUnproven, pub.Size, err)
	}
	text, sigs, err := checkpoint.ParseNote(pub.Note)
	if err == nil {
		_, err = checkpoint.Verify(text, sigs, p.own...)
	}
	if err != nil {
		return checkpoint.Checkpoint{}, fmt.Errorf("%w: published checkpoint of size %d: %w", errUnproven, pub.Size, err)
	}
	p.verified.Store(&verifiedNote{note: pub.Note, cp: v.Checkpoint})
	return v.Checkpoint, nil
}

// prove returns the proof of the leaf at pos to the checkpoint in pub, verified.
func (p *prover) prove(ctx context.Context, pos log.Position, pub *log.Published) (*checkpoint.Proof, error) {
	cp, err := p.note(pub)
	if err != nil {
		return nil, err
	}
	hashes, err := p.log.Inclusion(ctx, pos.Index, cp.Size)
	if err != nil {
		return nil, fmt.Errorf("proving leaf %d in the tree of size %d: %w", pos.Index, cp.Size, err)
	}
	if err := checkpoint.VerifyInclusion(pos.LeafHash, pos.Index, cp.Size, hashes, cp.Root); err != nil {
		return nil, fmt.Errorf("%w: leaf %d in the tree of size %d: %w", errUnproven, pos.Index, cp.Size, err)
	}
	return &checkpoint.Proof{
		Extra: checkpoint.LeafTimeExtra(pos.Time), Index: pos.Index, Hashes: hashes, Checkpoint: pub.Note,
	}, nil
}

// receipt is what a submitter gets, in JSON.
type receipt struct {
	Index      int64    `json:"index"`
	LeafHash   []byte   `json:"leafHash"`
	Time       int64    `json:"time"` // ms since the epoch, as in the leaf
	Checkpoint string   `json:"checkpoint,omitempty"`
	Proof      [][]byte `json:"proof,omitzero"` // from leaf to root; empty for a log of one leaf, absent when not yet proven
}

func newReceipt(pos log.Position, proof *checkpoint.Proof) receipt {
	r := receipt{Index: pos.Index, LeafHash: pos.LeafHash[:], Time: pos.Time}
	if proof != nil {
		r.Checkpoint = string(proof.Checkpoint)
		r.Proof = hashList(proof.Hashes)
	}
	return r
}

func hashList(hashes []tlog.Hash) [][]byte {
	list := make([][]byte, len(hashes))
	for i := range hashes {
		list[i] = hashes[i][:]
	}
	return list
}

// batchReceipt is the answer to a batch.
type batchReceipt struct {
	Checkpoint string       `json:"checkpoint,omitempty"`
	Entries    []batchEntry `json:"entries"`
}

// batchEntry is a receipt or a problem, with its own status.
type batchEntry struct {
	Status   int      `json:"status"`
	Index    *int64   `json:"index,omitempty"`
	LeafHash []byte   `json:"leafHash,omitempty"`
	Time     *int64   `json:"time,omitempty"`
	Proof    [][]byte `json:"proof,omitzero"`

	Type    string `json:"type,omitempty"`
	Title   string `json:"title,omitempty"`
	Detail  string `json:"detail,omitempty"`
	Pointer string `json:"pointer,omitempty"`
}
