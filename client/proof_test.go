package client

import (
	"bytes"
	"errors"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
)

// tiled serves what is in a fake log as a tiled log does: at most one tile.
func tiled(t *testing.T, f *fakeLog) map[string][]byte {
	t.Helper()
	var bundle, hashes []byte
	for _, leaf := range f.leaves {
		bundle = tile.AppendEntry(bundle, leaf)
		h := entry.LeafHash(leaf)
		hashes = append(hashes, h[:]...)
	}
	w := len(f.leaves)
	return map[string][]byte{
		"/checkpoint":                                     []byte(f.checkpoint()),
		"/" + tile.Tile{Level: 0, W: w}.Path():            hashes,
		"/" + tile.Tile{Level: tile.Entries, W: w}.Path(): bundle,
	}
}

func TestProof(t *testing.T) {
	f := newFakeLog(t)
	_, leaf, _ := logged(t, f)
	bodies := tiled(t, f)
	fetch, _ := fetcher(t, serve(bodies))
	for _, policy := range []*checkpoint.Policy{f.policy(), nil} {
		p, got, verified, err := fetch.Proof(t.Context(), 2, policy)
		if err != nil || !bytes.Equal(got, leaf) || (verified != nil) != (policy != nil) {
			t.Fatalf("%v, %v", verified, err)
		}
		if v, err := Verify(p, leaf, f.policy()); err != nil || v.Index != 2 {
			t.Error(err)
		}
	}
	for _, i := range []int64{-1, 5, 6} {
		if _, _, _, err := fetch.Proof(t.Context(), i, f.policy()); !errors.Is(err, ErrMissing) {
			t.Errorf("leaf %d of 5: %v", i, err)
		}
	}
	f.cosigned = false
	bodies["/checkpoint"] = []byte(f.checkpoint())
	if p, _, v, err := fetch.Proof(t.Context(), 2, f.policy()); !errors.Is(err, checkpoint.ErrQuorum) || p == nil || v == nil {
		t.Errorf("without quorum: %v", err)
	}
	f.cosigned = true
	for path, want := range map[string]error{
		"/checkpoint":           checkpoint.ErrBadSignature,
		"/tile/0/000.p/5":       checkpoint.ErrProof,
		"/tile/entries/000.p/5": checkpoint.ErrProof,
	} {
		spoilt := tiled(t, f)
		if b := spoilt[path]; path == "/checkpoint" {
			spoilt[path] = bytes.Replace(b, []byte("\n5\n"), []byte("\n6\n"), 1)
		} else if path == "/tile/0/000.p/5" {
			b[0] ^= 1
		} else {
			b[len(b)/2] ^= 1
		}
		fetch, _ := fetcher(t, serve(spoilt))
		if _, _, _, err := fetch.Proof(t.Context(), 2, f.policy()); !errors.Is(err, want) {
			t.Errorf("%s spoilt: %v", path, err)
		}
	}
	bodies["/checkpoint"] = []byte("nothing")
	if _, _, _, err := fetch.Proof(t.Context(), 2, nil); !errors.Is(err, checkpoint.ErrMalformed) {
		t.Errorf("not a checkpoint: %v", err)
	}
}

// A log whose leaves are of another kind has proofs as well, without a time.
func TestProofOfForeignLeaf(t *testing.T) {
	f := newFakeLog(t)
	f.mu.Lock()
	f.append([]byte("a foreign leaf"))
	f.mu.Unlock()
	fetch, _ := fetcher(t, serve(tiled(t, f)))
	p, leaf, _, err := fetch.Proof(t.Context(), 0, nil)
	if err != nil || len(p.Extra) != 0 || string(leaf) != "a foreign leaf" {
		t.Errorf("%q, %v", leaf, err)
	}
}
