package vectors

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

func TestLeaves(t *testing.T) {
	each(t, "vectors/leaf/good", 10, func(t *testing.T, content []byte) {
		v := decode[leafVector](t, content)
		e := &entry.Entry{Time: int64(v.Time), PayloadType: entry.PayloadType, Payload: v.Payload}
		for _, s := range v.Signatures {
			e.Signatures = append(e.Signatures, entry.Signature{KeyID: s.KeyID, Sig: s.Sig})
		}
		encoded, err := e.Marshal()
		if err != nil || !bytes.Equal(encoded, v.Leaf) {
			t.Errorf("Marshal = %x, %v\nwant      %x", encoded, err, v.Leaf)
		}
		parsed, err := entry.Parse(v.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parsed.Marshal(); err != nil || !bytes.Equal(again, v.Leaf) {
			t.Errorf("parsed and encoded again it is %x, %v", again, err)
		}
		if got := entry.LeafHash(v.Leaf); got != tlog.Hash(v.LeafHash) {
			t.Errorf("LeafHash = %v, want %v", got, v.LeafHash)
		}
		if got := entry.TimeOf(v.Leaf); got != int64(v.Time) {
			t.Errorf("TimeOf = %d, want %d", got, v.Time)
		}
	})
	each(t, "vectors/leaf/malformed", 24, func(t *testing.T, content []byte) {
		if e, err := entry.Parse(decode[malformedLeaf](t, content).Leaf); !errors.Is(err, entry.ErrMalformed) {
			t.Errorf("Parse = %+v, %v; want ErrMalformed", e, err)
		}
	})
}

func TestEnvelopes(t *testing.T) {
	keys := publicKeys(t)
	verify := func(t *testing.T, content []byte) (signatures, bad int) {
		v, err := entry.ParseEnvelope(bytes.TrimSuffix(content, []byte("\n")))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(append(v.Marshal(), '\n'), content) {
			t.Error("marshalled again, the envelope differs")
		}
		for _, s := range v.Signatures {
			key := keys[s.KeyID]
			if key == nil {
				t.Fatalf("no key of testdata is %s", s.KeyID)
			}
			if !key.Verify(entry.PAE(v.PayloadType, v.Payload), s.Sig) {
				bad++
			}
		}
		return len(v.Signatures), bad
	}
	each(t, "vectors/envelope/good", 5, func(t *testing.T, content []byte) {
		if n, bad := verify(t, content); n == 0 || bad != 0 {
			t.Errorf("%d of %d signatures do not verify", bad, n)
		}
	})
	each(t, "vectors/envelope/bad-signature", 10, func(t *testing.T, content []byte) {
		if n, bad := verify(t, content); bad != 1 {
			t.Errorf("%d of %d signatures do not verify, want 1", bad, n)
		}
	})
}

func TestRoots(t *testing.T) {
	roots := decode[[]rootVector](t, read(t, "vectors/tree/roots.json"))
	if len(roots) < 60 {
		t.Fatalf("%d roots", len(roots))
	}
	ctx := context.Background()
	leaves := numberLeaves(largestTree)
	for _, r := range roots {
		got, err := tile.Root(ctx, hashTiles(leaves[:r.Size]), int64(r.Size))
		if err != nil || got != tlog.Hash(r.Root) {
			t.Errorf("size %d: Root = %v, %v; want %v", r.Size, got, err, r.Root)
		}
		if r.Size <= tile.Width && r.Size > 0 {
			if got := tile.TileRoot(tlogHashes(leaves[:r.Size])); got != tlog.Hash(r.Root) {
				t.Errorf("size %d: TileRoot = %v, want %v", r.Size, got, r.Root)
			}
		}
	}
}

// hashTiles cuts leaf hashes into tiles, level by level, with the reference's
// own root, and returns what reads them.
func hashTiles(leaves []hash) tile.Reader {
	var levels [][]hash
	for level := leaves; len(level) > 0; {
		levels = append(levels, level)
		var next []hash
		for i := 0; i+tile.Width <= len(level); i += tile.Width {
			next = append(next, root(level[i:i+tile.Width]))
		}
		level = next
	}
	return func(_ context.Context, want tile.Tile) ([]byte, error) {
		var data []byte
		for _, h := range levels[want.Level][want.N*tile.Width:][:want.W] {
			data = append(data, h[:]...)
		}
		return data, nil
	}
}

func TestInclusionProofs(t *testing.T) {
	leaves := numberLeaves(largestTree)
	each(t, "vectors/inclusion/good", 20, func(t *testing.T, content []byte) {
		v := decode[inclusionVector](t, content)
		if err := checkpoint.VerifyInclusion(tlog.Hash(v.LeafHash), v.Index, v.Size, tlogHashes(v.Proof), tlog.Hash(v.Root)); err != nil {
			t.Error(err)
		}
		proof, err := tile.Inclusion(context.Background(), hashTiles(leaves[:v.Size]), v.Index, v.Size)
		if err != nil || !equal(proof, v.Proof) {
			t.Errorf("Inclusion = %v, %v; want %v", proof, err, v.Proof)
		}
	})
	each(t, "vectors/inclusion/wrong", 24, func(t *testing.T, content []byte) {
		v := decode[inclusionVector](t, content)
		if err := checkpoint.VerifyInclusion(tlog.Hash(v.LeafHash), v.Index, v.Size, tlogHashes(v.Proof), tlog.Hash(v.Root)); !errors.Is(err, checkpoint.ErrProof) {
			t.Errorf("VerifyInclusion = %v, want ErrProof", err)
		}
	})
}

func TestConsistencyProofs(t *testing.T) {
	leaves := numberLeaves(largestTree)
	each(t, "vectors/consistency/good", 23, func(t *testing.T, content []byte) {
		v := decode[consistencyVector](t, content)
		if err := checkpoint.VerifyConsistency(v.From, v.To, tlog.Hash(v.FromRoot), tlog.Hash(v.ToRoot), tlogHashes(v.Proof)); err != nil {
			t.Error(err)
		}
		proof, err := tile.Consistency(context.Background(), hashTiles(leaves[:v.To]), v.From, v.To)
		if err != nil || !equal(proof, v.Proof) {
			t.Errorf("Consistency = %v, %v; want %v", proof, err, v.Proof)
		}
	})
	each(t, "vectors/consistency/wrong", 20, func(t *testing.T, content []byte) {
		v := decode[consistencyVector](t, content)
		if err := checkpoint.VerifyConsistency(v.From, v.To, tlog.Hash(v.FromRoot), tlog.Hash(v.ToRoot), tlogHashes(v.Proof)); !errors.Is(err, checkpoint.ErrProof) {
			t.Errorf("VerifyConsistency = %v, want ErrProof", err)
		}
	})
}

func equal(a []tlog.Hash, b []hash) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != tlog.Hash(b[i]) {
			return false
		}
	}
	return true
}

func TestPolicies(t *testing.T) {
	each(t, "policies/good", 6, func(t *testing.T, content []byte) {
		p, err := checkpoint.ParsePolicy(content)
		if err != nil {
			t.Fatal(err)
		}
		if w := p.Warnings(); len(w) != 0 {
			t.Errorf("a good policy is warned of: %q", w)
		}
	})
	each(t, "policies/wrong", 45, func(t *testing.T, content []byte) {
		if _, err := checkpoint.ParsePolicy(content); !errors.Is(err, checkpoint.ErrMalformed) {
			t.Errorf("ParsePolicy = %v, want ErrMalformed", err)
		}
	})
}

// refusals are the folders of notes and proofs, and the error each stands for.
var refusals = map[string]error{
	"malformed":     checkpoint.ErrMalformed,
	"unsigned":      checkpoint.ErrUnsigned,
	"bad-signature": checkpoint.ErrBadSignature,
	"wrong-origin":  checkpoint.ErrOrigin,
	"quorum-unmet":  checkpoint.ErrQuorum,
	"not-included":  checkpoint.ErrProof,
	"wrong-time":    client.ErrTime,
}

func TestCheckpoints(t *testing.T) {
	policy := twoOfThree(t)
	each(t, "vectors/checkpoint/good", 7, func(t *testing.T, content []byte) {
		v, err := policy.Verify(content)
		if err != nil {
			t.Fatal(err)
		}
		if text, sigs, err := checkpoint.ParseNote(content); err != nil || len(sigs) < 3 || text != v.Text() {
			t.Errorf("ParseNote = %q, %d signatures, %v", text, len(sigs), err)
		}
	})
	for folder, atLeast := range map[string]int{"malformed": 35, "unsigned": 5, "bad-signature": 14, "wrong-origin": 1, "quorum-unmet": 6} {
		want := refusals[folder]
		each(t, "vectors/checkpoint/"+folder, atLeast, func(t *testing.T, content []byte) {
			if v, err := policy.Verify(content); !errors.Is(err, want) || (v != nil) != (want == checkpoint.ErrQuorum) {
				t.Errorf("Verify = %v, %v; want %v", v, err, want)
			}
		})
	}
}

// TestCheckpointsUnderOtherPolicies demands keys of the checkpoint with every
// signature that two-of-three does not ask for.
func TestCheckpointsUnderOtherPolicies(t *testing.T) {
	for name, want := range map[string]struct{ all, ed25519 error }{
		"post-quantum": {nil, checkpoint.ErrQuorum},
		"one-witness":  {nil, nil},
		"no-witnesses": {nil, nil},
		"two-logs":     {nil, nil},
	} {
		p, err := checkpoint.ParsePolicy(read(t, "policies/good/"+name+".policy"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Verify(read(t, "vectors/checkpoint/good/every-signature.note")); !errors.Is(err, want.all) {
			t.Errorf("%s: every signature: %v, want %v", name, err, want.all)
		}
		if _, err := p.Verify(read(t, "vectors/checkpoint/good/ed25519.note")); !errors.Is(err, want.ed25519) {
			t.Errorf("%s: Ed25519 alone: %v, want %v", name, err, want.ed25519)
		}
	}
}

func TestProofs(t *testing.T) {
	policy := twoOfThree(t)
	leaf := read(t, "vectors/tlog-proof/leaf")
	envelope, err := entry.ParseEnvelope(bytes.TrimSuffix(read(t, "vectors/tlog-proof/envelope.json"), []byte("\n")))
	if err != nil {
		t.Fatal(err)
	}
	each(t, "vectors/tlog-proof/good", 3, func(t *testing.T, content []byte) {
		p, err := checkpoint.ParseProof(content)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p.Marshal(), content) {
			t.Error("marshalled again, the proof differs")
		}
		v, err := client.Verify(p, leaf, policy)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Extra) > 0 {
			if again, err := client.VerifyEnvelope(p, envelope, policy); err != nil || again.LeafHash != v.LeafHash {
				t.Errorf("VerifyEnvelope = %v, %v", again, err)
			}
		}
	})
	for folder, atLeast := range map[string]int{
		"malformed": 23, "not-included": 10, "wrong-time": 4, "quorum-unmet": 1, "unsigned": 1, "bad-signature": 2,
	} {
		want := refusals[folder]
		each(t, "vectors/tlog-proof/"+folder, atLeast, func(t *testing.T, content []byte) {
			p, err := checkpoint.ParseProof(content)
			if folder == "malformed" {
				if !errors.Is(err, want) {
					t.Errorf("ParseProof = %v, %v; want %v", p, err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if v, err := client.Verify(p, leaf, policy); !errors.Is(err, want) || (v != nil) != (want == checkpoint.ErrQuorum) {
				t.Errorf("Verify = %v, %v; want %v", v, err, want)
			}
		})
	}
}

// TestSessions holds the files against every rule for a payload and opens every
// commitment in them.
func TestSessions(t *testing.T) {
	var commitments int
	for _, name := range []string{"sessions/good.jsonl", "sessions/unattested.jsonl"} {
		lines := bytes.Split(bytes.TrimSuffix(read(t, name), []byte("\n")), []byte("\n"))
		if len(lines) < 30 {
			t.Errorf("%s holds %d events", name, len(lines))
		}
		for i, line := range lines {
			ev, err := event.Parse(line)
			if err == nil {
				err = event.Validate(ev, false)
			}
			if err != nil {
				t.Errorf("%s: line %d: %v", name, i+1, err)
			}
			commitments += bytes.Count(line, []byte(`"$commit"`))
		}
	}
	for line := range bytes.Lines(read(t, "sessions/disclosures.jsonl")) {
		var d struct {
			Commitment    event.Commitment
			Salt, Content []byte
		}
		if err := json.Unmarshal(line, &d); err != nil || !d.Commitment.Opens(d.Salt, d.Content) {
			t.Errorf("%s does not open its commitment (%v)", line, err)
		}
		commitments--
	}
	if commitments != 0 {
		t.Errorf("commitments without a disclosure: %d", commitments)
	}
}

// TestKeys reads every private key with this module's code and compares it with
// the public one beside it.
func TestKeys(t *testing.T) {
	for id, public := range publicKeys(t) {
		if id != entry.KeyID(public.SPKI()) {
			t.Errorf("keyid %s is not that of its key", id)
		}
	}
	for _, name := range []string{"admin-agency", "registry", "gateway", "escort-p-41aa"} {
		private, err := event.ParsePrivateKeyPEM(read(t, "keys/"+name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		public, err := event.NewPublicKey(private.Public())
		if err != nil || !bytes.Equal(public.PEM(), read(t, "keys/"+name+".key.pub")) {
			t.Errorf("%s: the public key is not that of the private one (%v)", name, err)
		}
	}
	for _, name := range []string{"log", "witness-agency", "witness-assessor", "witness-university"} {
		vkeys := bytes.Fields(read(t, "keys/"+name+".vkeys"))
		for i, kind := range []string{"ed25519", "mldsa44"} {
			signer, err := checkpoint.ParseSKey(string(bytes.TrimSpace(read(t, "keys/"+name+"."+kind+".skey"))))
			if err != nil {
				t.Fatal(err)
			}
			if signer.VKey() != string(vkeys[i]) {
				t.Errorf("%s: vkey %s is not that of the private key, %s", name, vkeys[i], signer.VKey())
			}
		}
	}
}
