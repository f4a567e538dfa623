package client

import (
	"errors"
	"fmt"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"golang.org/x/mod/sumdb/tlog"
)

// Verification is what an offline verification has proven: the leaf is in the
// tree of a checkpoint that satisfies the policy.
//
// Not proven is what needs more of the log than one leaf: that the event's
// signers were registered for its source and type at that index, and that the
// log holds no second event of the same source and id. An audit checks those.
type Verification struct {
	// Index is the position of the leaf, from 0.
	Index int64
	// Leaf is the leaf that was hashed (see log/entry).
	Leaf []byte
	// LeafHash is its RFC 6962 hash.
	LeafHash tlog.Hash
	// Entry is the decoded leaf.
	Entry *entry.Entry
	// Verified is the checkpoint and who signed it.
	Verified *checkpoint.Verified
}

// ErrTime: the leaf time in a proof's extra data is not the time of the leaf.
var ErrTime = errors.New("client: the leaf time in the proof is not that of the leaf")

// Verify verifies offline that a leaf is in the log, by a tlog-proof and a
// policy. The leaf's bytes are hashed here; nothing else is taken for them.
//
// Errors wrap entry.ErrMalformed, ErrTime, or are those of
// checkpoint.Proof.Verify. With checkpoint.ErrQuorum, and only with it, the
// Verification is returned beside the error.
func Verify(proof *checkpoint.Proof, leaf []byte, policy *checkpoint.Policy) (*Verification, error) {
	e, err := entry.Parse(leaf)
	if err != nil {
		return nil, err
	}
	// Who has the leaf needs no time from the proof; but one that differs was
	// changed, and would mislead whoever has only the envelope.
	if len(proof.Extra) > 0 {
		if t, err := proof.LeafTime(); err != nil || t != e.Time {
			return nil, fmt.Errorf("%w: %x is not %d ms", ErrTime, proof.Extra, e.Time)
		}
	}
	v := &Verification{Index: proof.Index, Leaf: leaf, LeafHash: entry.LeafHash(leaf), Entry: e}
	v.Verified, err = proof.Verify(v.LeafHash, policy)
	if v.Verified == nil {
		return nil, err
	}
	return v, err
}

// VerifyEnvelope is Verify for who holds the signed envelope and not the leaf:
// the leaf is rebuilt from the envelope and the leaf time in the proof's extra
// data, which the leaf hash then authenticates.
func VerifyEnvelope(proof *checkpoint.Proof, envelope *entry.Envelope, policy *checkpoint.Policy) (*Verification, error) {
	ms, err := proof.LeafTime()
	if err != nil {
		return nil, fmt.Errorf("the leaf cannot be rebuilt from the envelope: %w", err)
	}
	leaf, err := envelope.Entry(ms).Marshal()
	if err != nil {
		return nil, err
	}
	return Verify(proof, leaf, policy)
}

// CheckSignatures verifies the leaf's signatures by the keys given, and demands
// that each of the keys has signed. It says nothing about other signatures,
// nor whether the keys were registered.
func (v *Verification) CheckSignatures(keys ...*event.PublicKey) error {
	pae := entry.PAE(v.Entry.PayloadType, v.Entry.Payload)
	for _, k := range keys {
		signed := false
		for _, s := range v.Entry.Signatures {
			if s.KeyID != k.KeyID() {
				continue
			}
			if !k.Verify(pae, s.Sig) {
				return fmt.Errorf("the event's signature by %s does not verify", k.KeyID())
			}
			signed = true
		}
		if !signed {
			return fmt.Errorf("the event bears no signature by %s", k.KeyID())
		}
	}
	return nil
}
