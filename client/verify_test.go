package client

import (
	"errors"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// logged puts signed events into a fake log and returns the third one's
// envelope, leaf and proof.
func logged(t *testing.T, f *fakeLog) (*entry.Envelope, []byte, *checkpoint.Proof) {
	t.Helper()
	f.cosigned = true
	envelopes := signed(t, 5)
	s := f.submitter()
	s.Policy = f.policy()
	results, err := s.Submit(t.Context(), envelopes...)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := checkpoint.ParseProof(results[2].Receipt.Proof.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	return envelopes[2], results[2].Receipt.Leaf, proof
}

func TestVerify(t *testing.T) {
	f := newFakeLog(t)
	envelope, leaf, proof := logged(t, f)
	fromLeaf, err := Verify(proof, leaf, f.policy())
	if err != nil {
		t.Fatal(err)
	}
	again, err := entry.ParseEnvelope(envelope.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	fromEnvelope, err := VerifyEnvelope(proof, again, f.policy())
	if err != nil {
		t.Fatal(err)
	}
	if fromLeaf.LeafHash != fromEnvelope.LeafHash || string(fromEnvelope.Leaf) != string(leaf) || fromLeaf.Index != 2 || len(fromLeaf.Verified.Cosignatures) != 1 {
		t.Errorf("leaf and envelope do not verify as the same: %+v, %+v", fromLeaf, fromEnvelope)
	}
	key, err := event.NewPublicKey(testKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := fromLeaf.CheckSignatures(key); err != nil {
		t.Error(err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	f := newFakeLog(t)
	envelope, leaf, proof := logged(t, f)
	policy := f.policy()
	for name, c := range map[string]struct {
		change func(p *checkpoint.Proof, e *entry.Envelope, leaf []byte) []byte
		err    error // of Verify
		again  error // of VerifyEnvelope; nil: it verifies, as what changed is not its input
	}{
		"payload": {func(_ *checkpoint.Proof, e *entry.Envelope, l []byte) []byte {
			e.Payload[3] ^= 1
			l[len(l)-3] ^= 1
			return l
		}, checkpoint.ErrProof, checkpoint.ErrProof},
		"signature": {func(_ *checkpoint.Proof, e *entry.Envelope, l []byte) []byte {
			e.Signatures[0].Sig[5] ^= 1
			return l
		}, nil, checkpoint.ErrProof},
		"no signature":     {func(_ *checkpoint.Proof, e *entry.Envelope, l []byte) []byte { e.Signatures = nil; return l }, nil, checkpoint.ErrProof},
		"empty payload":    {func(_ *checkpoint.Proof, e *entry.Envelope, l []byte) []byte { e.Payload = nil; return l }, nil, entry.ErrMalformed},
		"cut leaf":         {func(_ *checkpoint.Proof, _ *entry.Envelope, l []byte) []byte { return l[:len(l)-1] }, entry.ErrMalformed, nil},
		"longer leaf":      {func(_ *checkpoint.Proof, _ *entry.Envelope, l []byte) []byte { return append(l, 0) }, entry.ErrMalformed, nil},
		"another time":     {func(p *checkpoint.Proof, _ *entry.Envelope, l []byte) []byte { p.Extra[7] ^= 1; return l }, ErrTime, checkpoint.ErrProof},
		"no time":          {func(p *checkpoint.Proof, _ *entry.Envelope, l []byte) []byte { p.Extra = nil; return l }, nil, checkpoint.ErrMalformed},
		"odd extra data":   {func(p *checkpoint.Proof, _ *entry.Envelope, l []byte) []byte { p.Extra = []byte("x"); return l }, ErrTime, checkpoint.ErrMalformed},
		"another index":    {func(p *checkpoint.Proof, _ *entry.Envelope, l []byte) []byte { p.Index = 3; return l }, checkpoint.ErrProof, checkpoint.ErrProof},
		"proof hash":       {func(p *checkpoint.Proof, _ *entry.Envelope, l []byte) []byte { p.Hashes[1][0] ^= 1; return l }, checkpoint.ErrProof, checkpoint.ErrProof},
		"checkpoint bytes": {func(p *checkpoint.Proof, _ *entry.Envelope, l []byte) []byte { p.Checkpoint[0] ^= 1; return l }, checkpoint.ErrBadSignature, checkpoint.ErrBadSignature},
	} {
		p := *proof
		p.Extra = append([]byte(nil), proof.Extra...)
		p.Hashes = append(p.Hashes[:0:0], proof.Hashes...)
		p.Checkpoint = append([]byte(nil), proof.Checkpoint...)
		e, err := entry.ParseEnvelope(envelope.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		l := c.change(&p, e, append([]byte(nil), leaf...))
		if v, err := Verify(&p, l, policy); !errors.Is(err, c.err) || (v == nil) != (c.err != nil) {
			t.Errorf("%s, by leaf: %v", name, err)
		}
		if v, err := VerifyEnvelope(&p, e, policy); !errors.Is(err, c.again) || (v == nil) != (c.again != nil) {
			t.Errorf("%s, by envelope: %v", name, err)
		}
	}
}

func TestVerifyQuorum(t *testing.T) {
	f := newFakeLog(t)
	_, leaf, proof := logged(t, f)
	text, sigs, err := checkpoint.ParseNote(proof.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	proof.Checkpoint = checkpoint.Join(text, sigs[0].Line())
	if v, err := Verify(proof, leaf, f.policy()); !errors.Is(err, checkpoint.ErrQuorum) || v == nil || v.Verified == nil {
		t.Errorf("%v, %v", v, err)
	}
}

func TestCheckSignatures(t *testing.T) {
	f := newFakeLog(t)
	_, leaf, proof := logged(t, f)
	v, err := Verify(proof, leaf, f.policy())
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := event.GenerateKey("ed25519")
	if err != nil {
		t.Fatal(err)
	}
	key, err := event.NewPublicKey(stranger.Public())
	if err != nil {
		t.Fatal(err)
	}
	if v.CheckSignatures(key) == nil {
		t.Error("a key that did not sign is taken for one that did")
	}
	own, err := event.NewPublicKey(testKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	v.Entry.Signatures[0].Sig[0] ^= 1
	if v.CheckSignatures(own) == nil {
		t.Error("a broken signature verifies")
	}
}
