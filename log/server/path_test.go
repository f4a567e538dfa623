package server

import (
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// TestProvenPath: whatever paths were proven or refused before, a right proof is
// accepted, and no other.
func TestProvenPath(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	stored := []tlog.Hash{}
	reader := tlog.HashReaderFunc(func(indexes []int64) (hashes []tlog.Hash, err error) {
		for _, i := range indexes {
			hashes = append(hashes, stored[i])
		}
		return hashes, nil
	})
	leaf := func(i int64) tlog.Hash { return tlog.RecordHash([]byte{byte(i), byte(i >> 8)}) }
	for size := int64(1); size <= 70; size++ {
		hashes, err := tlog.StoredHashesForRecordHash(size-1, leaf(size-1), reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		root, err := tlog.TreeHash(size, reader)
		if err != nil {
			t.Fatal(err)
		}
		path := provenPath{size: size, root: root}
		for range 200 {
			index := random.Int64N(size)
			proof, err := tlog.ProveRecord(size, index, reader)
			if err != nil {
				t.Fatal(err)
			}
			p, hash, at := slices.Clone([]tlog.Hash(proof)), leaf(index), index
			switch wrong := random.IntN(8); {
			case wrong == 0:
				hash[random.IntN(len(hash))] ^= 1
			case wrong == 1 && len(p) > 0:
				p[random.IntN(len(p))][random.IntN(len(hash))] ^= 1
			case wrong == 2 && len(p) > 0:
				p = p[1:]
			case wrong == 3:
				p = append(p, hash)
			case wrong == 4:
				at = random.Int64N(size)
			case wrong == 5 && len(p) > 1:
				p[0], p[1] = p[1], p[0]
			}
			want := tlog.CheckRecord(p, size, root, at, hash) == nil
			if got := path.proves(hash, at, p); got != want {
				t.Fatalf("leaf %d, shown as %d, in size %d: %t, want %t", index, at, size, got, want)
			}
		}
	}
}

// BenchmarkProvenPath verifies the proofs of neighbours in a large tree, and
// each by itself.
func BenchmarkProvenPath(b *testing.B) {
	const size = 1 << 17
	stored := []tlog.Hash{}
	reader := tlog.HashReaderFunc(func(indexes []int64) (hashes []tlog.Hash, err error) {
		for _, i := range indexes {
			hashes = append(hashes, stored[i])
		}
		return hashes, nil
	})
	for i := range int64(size) {
		hashes, err := tlog.StoredHashesForRecordHash(i, tlog.RecordHash([]byte{byte(i)}), reader)
		if err != nil {
			b.Fatal(err)
		}
		stored = append(stored, hashes...)
	}
	root, err := tlog.TreeHash(size, reader)
	if err != nil {
		b.Fatal(err)
	}
	var proofs [256]tlog.RecordProof
	for i := range proofs {
		if proofs[i], err = tlog.ProveRecord(size, int64(i), reader); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("together", func(b *testing.B) {
		path := provenPath{size: size, root: root}
		for i := 0; b.Loop(); i++ {
			n := i % len(proofs)
			if !path.proves(tlog.RecordHash([]byte{byte(n)}), int64(n), proofs[n]) {
				b.Fatal("a right proof is refused")
			}
		}
	})
	b.Run("each by itself", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			n := i % len(proofs)
			if err := tlog.CheckRecord(proofs[n], size, root, int64(n), tlog.RecordHash([]byte{byte(n)})); err != nil {
				b.Fatal(err)
			}
		}
	})
}
