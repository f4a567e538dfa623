package log

import (
	"fmt"
	"math/bits"

	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	hashSize  = tlog.HashSize
	tileBytes = tile.Width * hashSize
)

// edge is the right edge of the tree: all that is needed to append to it and to
// serve its partial tiles, in memory.
//
// It is a value: the sequencer copies it, appends to the copy, and keeps the
// copy once the commit is done, so that a commit that was not applied leaves
// nothing behind. Copies share the arrays behind their slices. That is safe
// because an edge writes only behind its own lengths, and a reader sees only
// what lies before the lengths of its own copy.
type edge struct {
	size int64

	// perfect[l] is the root of the perfect subtree of 2^l leaves that ends
	// where bit l of size says; meaningless where the bit is clear. Together
	// they are the compact range of the tree.
	perfect [64]tlog.Hash

	// tiles[L] holds the hashes of the partial tile of level L, 32 bytes each.
	tiles [8][]byte

	// bundle holds the entries of the partial bundle as they are served, and
	// ends the offset behind each of them.
	bundle []byte
	ends   []int32
}

// appendLeaf adds one leaf and calls full for each hash tile that it completes.
//
// Every node of the tree is hashed exactly once, here: a perfect subtree of
// 256^L leaves is a node in the tile of level L.
func (e *edge) appendLeaf(leaf []byte, leafHash tlog.Hash, full func(level int, n int64, data []byte)) {
	if e.size%tile.Width == 0 {
		// New arrays, since a reader may still hold the complete bundle; as
		// large as the last one, since the next is likely to be.
		e.bundle = make([]byte, 0, len(e.bundle)+len(e.bundle)/8)
		e.ends = make([]int32, 0, tile.Width)
	}
	e.bundle = tile.AppendEntry(e.bundle, leaf)
	e.ends = append(e.ends, int32(len(e.bundle)))
	e.appendHash(leafHash, full)
}

// appendHash is appendLeaf for the tree alone.
func (e *edge) appendHash(leafHash tlog.Hash, full func(level int, n int64, data []byte)) {
	h := leafHash
	e.addToTile(0, h, full)
	level := 0
	for ; e.size>>level&1 == 1; level++ {
		h = tlog.NodeHash(e.perfect[level], h)
		if (level+1)%tile.Height == 0 {
			e.addToTile((level+1)/tile.Height, h, full)
		}
	}
	e.perfect[level] = h
	e.size++
}

// appendTile appends the leaves of a whole tile, of which root is the root, to
// the tree alone. The size must be a multiple of the width of a tile; the tile
// itself is not handed to full.
func (e *edge) appendTile(root tlog.Hash, full func(level int, n int64, data []byte)) {
	h := root
	e.addToTile(1, h, full)
	level := tile.Height
	for ; e.size>>level&1 == 1; level++ {
		h = tlog.NodeHash(e.perfect[level], h)
		if (level+1)%tile.Height == 0 {
			e.addToTile((level+1)/tile.Height, h, full)
		}
	}
	e.perfect[level] = h
	e.size += tile.Width
}

func (e *edge) addToTile(level int, h tlog.Hash, full func(level int, n int64, data []byte)) {
	data := e.tiles[level]
	if data == nil {
		data = make([]byte, 0, tileBytes)
	}
	data = append(data, h[:]...)
	if len(data) == tileBytes {
		// e.size does not count the leaf being added yet.
		full(level, e.size>>(tile.Height*(level+1)), data)
		data = nil
	}
	e.tiles[level] = data
}

// root returns the RFC 6962 root of the tree.
func (e *edge) root() tlog.Hash {
	if e.size == 0 {
		return emptyRoot
	}
	level := bits.TrailingZeros64(uint64(e.size))
	h := e.perfect[level]
	for level++; e.size>>level != 0; level++ {
		if e.size>>level&1 == 1 {
			h = tlog.NodeHash(e.perfect[level], h)
		}
	}
	return h
}

// entries returns the entries [from, to) of the partial bundle as they are
// served; from and to count from the bundle's first entry.
func (e *edge) entries(from, to int) []byte {
	start := int32(0)
	if from > 0 {
		start = e.ends[from-1]
	}
	return e.bundle[start:e.ends[to-1]:e.ends[to-1]]
}

// newEdge rebuilds the edge of a tree of the given size from its partial tiles
// and its partial bundle. tiles[L] must have the width that size demands.
func newEdge(size int64, tiles [8][]byte, bundle []byte) (*edge, error) {
	e := &edge{size: size}
	for level := range tiles {
		width := tile.WidthAt(level, size>>(tile.Height*(level+1)), size)
		if len(tiles[level]) != width*hashSize {
			return nil, fmt.Errorf("log: partial tile of level %d has %d bytes, want %d: %w", level, len(tiles[level]), width*hashSize, storage.ErrCorrupt)
		}
		if width == 0 {
			continue
		}
		e.tiles[level] = append(make([]byte, 0, tileBytes), tiles[level]...)
		hashes, err := tile.Hashes(tiles[level])
		if err != nil {
			return nil, err
		}
		// The perfect subtrees of a partial tile, left to right, are the
		// powers of two in its width.
		for bit := tile.Height - 1; bit >= 0; bit-- {
			if n := 1 << bit; width&n != 0 {
				e.perfect[level*tile.Height+bit] = tile.TileRoot(hashes[:n])
				hashes = hashes[n:]
			}
		}
	}
	width := int(size % tile.Width)
	if width == 0 {
		return e, nil
	}
	entries, err := tile.SplitBundle(bundle, width)
	if err != nil {
		return nil, fmt.Errorf("log: partial bundle %d: %w: %w", size/tile.Width, storage.ErrCorrupt, err)
	}
	for _, leaf := range entries {
		e.bundle = tile.AppendEntry(e.bundle, leaf)
		e.ends = append(e.ends, int32(len(e.bundle)))
	}
	return e, nil
}
