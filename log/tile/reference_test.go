package tile_test

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// The functions of this file are RFC 6962 section 2.1 written out with nothing
// in mind but the text: slow, and the judge of the fast code.

// split returns the largest power of two smaller than n.
func split(n int) int {
	k := 1
	for k*2 < n {
		k *= 2
	}
	return k
}

type referenceTree struct {
	entries [][]byte
	memo    map[[2]int]tlog.Hash
}

func newReferenceTree(n int) *referenceTree {
	t := &referenceTree{memo: make(map[[2]int]tlog.Hash)}
	for i := range n {
		t.entries = append(t.entries, fmt.Appendf(nil, "entry %d", i))
	}
	return t
}

// mth is MTH(D[from:to]) of section 2.1.
func (t *referenceTree) mth(from, to int) tlog.Hash {
	if h, ok := t.memo[[2]int{from, to}]; ok {
		return h
	}
	var h tlog.Hash
	switch n := to - from; n {
	case 0:
		h = sha256.Sum256(nil)
	case 1:
		h = sha256.Sum256(append([]byte{0}, t.entries[from]...))
	default:
		k := split(n)
		left, right := t.mth(from, from+k), t.mth(from+k, to)
		h = sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
	}
	t.memo[[2]int{from, to}] = h
	return h
}

// path is PATH(m, D[from:to]) of section 2.1.1, m counted from from.
func (t *referenceTree) path(m, from, to int) []tlog.Hash {
	n := to - from
	if n == 1 {
		return nil
	}
	if k := split(n); m < k {
		return append(t.path(m, from, from+k), t.mth(from+k, to))
	} else {
		return append(t.path(m-k, from+k, to), t.mth(from, from+k))
	}
}

// proof is PROOF(m, D[n]) of section 2.1.2.
func (t *referenceTree) proof(m, n int) []tlog.Hash {
	if m == 0 || m == n {
		return nil
	}
	return t.subproof(m, 0, n, true)
}

func (t *referenceTree) subproof(m, from, to int, b bool) []tlog.Hash {
	n := to - from
	if m == n {
		if b {
			return nil
		}
		return []tlog.Hash{t.mth(from, to)}
	}
	if k := split(n); m <= k {
		return append(t.subproof(m, from, from+k, b), t.mth(from+k, to))
	} else {
		return append(t.subproof(m-k, from+k, to, false), t.mth(from, from+k))
	}
}

// reader serves tiles by the sentence of tlog-tiles: the n-th tile at level l
// is MTH(D[(n*256+i) * 256**l : (n*256+i+1) * 256**l]). It counts the reads.
func (t *referenceTree) reader(reads map[tile.Tile]int) tile.Reader {
	return func(_ context.Context, q tile.Tile) ([]byte, error) {
		reads[q]++
		var out []byte
		pow := 1
		for range q.Level {
			pow *= 256
		}
		for i := range q.W {
			from := (int(q.N)*256 + i) * pow
			if from+pow > len(t.entries) {
				return nil, fmt.Errorf("%s reaches beyond the tree", q.Path())
			}
			h := t.mth(from, from+pow)
			out = append(out, h[:]...)
		}
		return out, nil
	}
}
