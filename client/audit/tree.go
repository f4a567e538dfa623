package audit

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// levels of tiles that a tree with an int64 size can have.
const levels = 8

// tree is the right edge of a Merkle tree: the hashes of the partial tile of
// each level. It is all that is needed to append leaves, to give the root, and
// to know every hash tile that the leaves demand.
type tree struct {
	size    int64
	partial [levels][]tlog.Hash
}

// append adds a leaf hash and calls full for every tile that it completes, from
// the lowest level up. The hashes given to full are not changed later.
func (t *tree) append(leaf tlog.Hash, full func(q tile.Tile, hashes []tlog.Hash)) {
	t.size++
	h := leaf
	for level := range levels {
		t.partial[level] = append(t.partial[level], h)
		if len(t.partial[level]) < tile.Width {
			return
		}
		hashes := t.partial[level]
		t.partial[level] = nil
		full(tile.Tile{Level: level, N: t.size>>(tile.Height*(level+1)) - 1, W: tile.Width}, hashes)
		h = tile.TileRoot(hashes)
	}
}

// clone returns a tree that grows by itself.
func (t *tree) clone() tree {
	c := tree{size: t.size}
	for level, hashes := range t.partial {
		c.partial[level] = slices.Clone(hashes)
	}
	return c
}

// rest calls partial for every partial tile of the tree, from the lowest level up.
func (t *tree) rest(partial func(q tile.Tile, hashes []tlog.Hash)) {
	for level, hashes := range t.partial {
		if len(hashes) > 0 {
			partial(tile.Tile{Level: level, N: t.size >> (tile.Height * (level + 1)), W: len(hashes)}, hashes)
		}
	}
}

// root returns the root hash (RFC 6962 section 2.1).
func (t *tree) root() tlog.Hash {
	root := checkpoint.EmptyRoot
	first := true
	// From the smallest perfect subtree, the rightmost, to the largest.
	for _, hashes := range t.partial {
		for n := len(hashes); n > 0; n = len(hashes) {
			k := 1 << bits.TrailingZeros(uint(n))
			h := tile.TileRoot(hashes[n-k:])
			hashes = hashes[:n-k]
			if first {
				root, first = h, false
				continue
			}
			root = tlog.NodeHash(h, root)
		}
	}
	return root
}

// check reports whether the partial tiles have the widths that size demands.
func (t *tree) check() error {
	for level, hashes := range t.partial {
		if want := tile.WidthAt(level, t.size>>(tile.Height*(level+1)), t.size); len(hashes) != want {
			return fmt.Errorf("partial tile of level %d has %d hashes, not %d", level, len(hashes), want)
		}
	}
	return nil
}
