package tile

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"golang.org/x/mod/sumdb/tlog"
)

// Reader gives the bytes of a hash tile: exactly t.W hashes of 32 bytes.
// Level is never -1. A Reader is called once for each tile that is needed, by
// one goroutine at a time.
type Reader func(ctx context.Context, t Tile) ([]byte, error)

// Inclusion returns the inclusion proof (RFC 6962 section 2.1.1) of the leaf
// at index in the tree of the given size, from the leaf's sibling up to the
// root's child. It requires 0 <= index < size.
func Inclusion(ctx context.Context, r Reader, index, size int64) ([]tlog.Hash, error) {
	if index < 0 || index >= size {
		return nil, fmt.Errorf("inclusion proof of leaf %d: a tree of size %d has no such leaf", index, size)
	}
	nodes, err := proof.Inclusion(uint64(index), uint64(size))
	if err != nil {
		return nil, fmt.Errorf("inclusion proof of leaf %d in size %d: %w", index, size, err)
	}
	p, err := prove(ctx, r, nodes, size)
	if err != nil {
		return nil, fmt.Errorf("inclusion proof of leaf %d in size %d: %w", index, size, err)
	}
	return p, nil
}

// Consistency returns the consistency proof (RFC 6962 section 2.1.2) from the
// tree of size from to the tree of size to. It requires 0 <= from <= to; the
// proof is empty where from is 0 or equal to to.
func Consistency(ctx context.Context, r Reader, from, to int64) ([]tlog.Hash, error) {
	if from < 0 || from > to {
		return nil, fmt.Errorf("consistency proof from size %d to %d: sizes must not decrease", from, to)
	}
	nodes, err := proof.Consistency(uint64(from), uint64(to))
	if err != nil {
		return nil, fmt.Errorf("consistency proof from size %d to %d: %w", from, to, err)
	}
	p, err := prove(ctx, r, nodes, to)
	if err != nil {
		return nil, fmt.Errorf("consistency proof from size %d to %d: %w", from, to, err)
	}
	return p, nil
}

// Root returns the root hash of the tree of the given size. It reads only the
// tiles that hold the tree's right edge, at most one a level.
func Root(ctx context.Context, r Reader, size int64) (tlog.Hash, error) {
	if size < 0 {
		return tlog.Hash{}, fmt.Errorf("root: negative tree size %d", size)
	}
	if size == 0 {
		return sha256.Sum256(nil), nil
	}
	hashes, err := readNodes(ctx, r, compact.RangeNodes(0, uint64(size), nil), size)
	if err != nil {
		return tlog.Hash{}, fmt.Errorf("root of size %d: %w", size, err)
	}
	root := hashes[len(hashes)-1]
	for i := len(hashes) - 2; i >= 0; i-- {
		root = tlog.NodeHash(hashes[i], root)
	}
	return root, nil
}

// prove reads the nodes of a proof and folds those of its ephemeral node.
func prove(ctx context.Context, r Reader, nodes proof.Nodes, size int64) ([]tlog.Hash, error) {
	hashes, err := readNodes(ctx, r, nodes.IDs, size)
	if err != nil {
		return nil, err
	}
	_, begin, end := nodes.Ephem()
	p := make([]tlog.Hash, 0, len(hashes))
	for i := 0; i < len(hashes); i++ {
		h := hashes[i]
		if i >= begin && i < end {
			// These are ordered from low to high levels, that is from right to left.
			for i++; i < end; i++ {
				h = tlog.NodeHash(hashes[i], h)
			}
			i--
		}
		p = append(p, h)
	}
	return p, nil
}

// readNodes returns the hashes of complete subtrees of the tree of the given
// size, reading each tile that holds one or more of them once.
func readNodes(ctx context.Context, r Reader, ids []compact.NodeID, size int64) ([]tlog.Hash, error) {
	tiles := make(map[Tile][]tlog.Hash)
	hashes := make([]tlog.Hash, len(ids))
	for i, id := range ids {
		// A node lies within the tile whose level is the highest below or at
		// the node's; there it covers 1 << up neighbouring hashes.
		level, up := int(id.Level)/Height, id.Level%Height
		first := int64(id.Index << up)
		t := Tile{Level: level, N: first >> Height}
		t.W = WidthAt(level, t.N, size)
		data, ok := tiles[t]
		if !ok {
			var err error
			if data, err = readTile(ctx, r, t); err != nil {
				return nil, err
			}
			tiles[t] = data
		}
		begin := int(first % Width)
		hashes[i] = TileRoot(data[begin : begin+1<<up])
	}
	return hashes, nil
}

func readTile(ctx context.Context, r Reader, t Tile) ([]tlog.Hash, error) {
	b, err := r(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", t.Path(), err)
	}
	hashes, err := Hashes(b)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", t.Path(), err)
	}
	if len(hashes) != t.W {
		return nil, fmt.Errorf("reading %s: %w: %d hashes where there should be %d", t.Path(), ErrBundle, len(hashes), t.W)
	}
	return hashes, nil
}
