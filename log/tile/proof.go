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

// NodeReader gives the nodes within a hash tile of exactly t.W hashes, for
// whoever proves many leaves and keeps them between proofs. Otherwise it is as
// Reader.
type NodeReader func(ctx context.Context, t Tile) (*Nodes, error)

// source is a Reader or a NodeReader.
type source interface {
	// subtrees returns a function that gives the root of the complete subtree
	// over the 1<<up hashes of t that begin with the one at begin.
	subtrees(ctx context.Context, t Tile) (func(begin, up int) tlog.Hash, error)
}

func (r Reader) subtrees(ctx context.Context, t Tile) (func(begin, up int) tlog.Hash, error) {
	hashes, err := readTile(ctx, r, t)
	if err != nil {
		return nil, err
	}
	return func(begin, up int) tlog.Hash { return TileRoot(hashes[begin : begin+1<<up]) }, nil
}

func (r NodeReader) subtrees(ctx context.Context, t Tile) (func(begin, up int) tlog.Hash, error) {
	nodes, err := r(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", t.Path(), err)
	}
	return func(begin, up int) tlog.Hash { return nodes.levels[up][begin>>up] }, nil
}

// Nodes are all complete subtrees within one tile: about twice its hashes.
type Nodes struct {
	levels [][]tlog.Hash // levels[up][i] covers the 1<<up hashes from i<<up on
}

// NewNodes hashes the nodes of a tile, 1 to 256 hashes of 32 bytes. The error
// is ErrBundle.
func NewNodes(data []byte) (*Nodes, error) {
	hashes, err := Hashes(data)
	if err != nil {
		return nil, err
	}
	n := &Nodes{levels: [][]tlog.Hash{hashes}}
	for below := hashes; len(below) > 1; below = n.levels[len(n.levels)-1] {
		level := make([]tlog.Hash, len(below)/2)
		for i := range level {
			level[i] = tlog.NodeHash(below[2*i], below[2*i+1])
		}
		n.levels = append(n.levels, level)
	}
	return n, nil
}

// Inclusion returns the inclusion proof (RFC 6962 section 2.1.1) of the leaf
// at index in the tree of the given size, from the leaf's sibling up to the
// root's child. It requires 0 <= index < size.
func Inclusion(ctx context.Context, r Reader, index, size int64) ([]tlog.Hash, error) {
	return inclusion(ctx, r, index, size)
}

// InclusionFromNodes is Inclusion for a NodeReader.
func InclusionFromNodes(ctx context.Context, r NodeReader, index, size int64) ([]tlog.Hash, error) {
	return inclusion(ctx, r, index, size)
}

func inclusion(ctx context.Context, r source, index, size int64) ([]tlog.Hash, error) {
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
func prove(ctx context.Context, r source, nodes proof.Nodes, size int64) ([]tlog.Hash, error) {
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
func readNodes(ctx context.Context, r source, ids []compact.NodeID, size int64) ([]tlog.Hash, error) {
	tiles := make(map[Tile]func(begin, up int) tlog.Hash)
	hashes := make([]tlog.Hash, len(ids))
	for i, id := range ids {
		// A node lies within the tile whose level is the highest below or at
		// the node's; there it covers 1 << up neighbouring hashes.
		level, up := int(id.Level)/Height, int(id.Level)%Height
		first := int64(id.Index << up)
		t := Tile{Level: level, N: first >> Height}
		t.W = WidthAt(level, t.N, size)
		subtree, ok := tiles[t]
		if !ok {
			var err error
			if subtree, err = r.subtrees(ctx, t); err != nil {
				return nil, err
			}
			tiles[t] = subtree
		}
		hashes[i] = subtree(int(first%Width), up)
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
