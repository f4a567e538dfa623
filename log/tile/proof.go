package tile

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"golang.org/x/mod/sumdb/tlog"
)

// Reader gives the bytes of a hash tile: exactly t.W hashes of 32 bytes.
// Level is never -1. A Reader is called once for each tile that is needed, by
// one goroutine at a time.
type Reader func(ctx context.Context, t Tile) ([]byte, error)

// NodeReader gives the nodes within a hash tile of t.W hashes or more, for
// whoever proves many leaves and keeps them between proofs. Otherwise it is as
// Reader.
type NodeReader func(ctx context.Context, t Tile) (*Nodes, error)

// source is a Reader or a NodeReader.
type source interface {
	subtrees(ctx context.Context, t Tile) (subtrees, error)
}

// subtrees are what a tile gives.
type subtrees interface {
	// root returns the root of the complete subtree over the 1<<up hashes of the
	// tile that begin with the one at begin.
	root(begin, up int) tlog.Hash
}

func (r Reader) subtrees(ctx context.Context, t Tile) (subtrees, error) {
	return readTile(ctx, r, t)
}

func (r NodeReader) subtrees(ctx context.Context, t Tile) (subtrees, error) {
	nodes, err := r(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", t.Path(), err)
	}
	return nodes, nil
}

// tileHashes are the hashes of a tile.
type tileHashes []tlog.Hash

func (h tileHashes) root(begin, up int) tlog.Hash { return TileRoot(h[begin : begin+1<<up]) }

// Nodes are all complete subtrees within one tile: about twice its hashes.
type Nodes struct {
	levels [][]tlog.Hash // levels[up][i] covers the 1<<up hashes from i<<up on
}

// NewNodes hashes the nodes of a tile, 1 to 256 hashes of 32 bytes. The error
// is ErrBundle.
func NewNodes(data []byte) (*Nodes, error) { return new(Nodes).Extend(data) }

// Extend returns the nodes of a tile of which n has the first ones, and hashes
// only those that n lacks. The error is ErrBundle.
func (n *Nodes) Extend(data []byte) (*Nodes, error) {
	hashes, err := Hashes(data)
	if err != nil {
		return nil, err
	}
	all := &Nodes{levels: [][]tlog.Hash{hashes}}
	for below := hashes; len(below) > 1; below = all.levels[len(all.levels)-1] {
		level, known := make([]tlog.Hash, len(below)/2), 0
		if up := len(all.levels); up < len(n.levels) {
			known = copy(level, n.levels[up])
		}
		for i := known; i < len(level); i++ {
			level[i] = tlog.NodeHash(below[2*i], below[2*i+1])
		}
		all.levels = append(all.levels, level)
	}
	return all, nil
}

// Width returns how many hashes the tile has.
func (n *Nodes) Width() int {
	if len(n.levels) == 0 {
		return 0
	}
	return len(n.levels[0])
}

func (n *Nodes) root(begin, up int) tlog.Hash { return n.levels[up][begin>>up] }

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
	p := hashes[:0] // never ahead of what is read
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
	type read struct {
		tile     Tile
		subtrees subtrees
	}
	var room [8]read // most trees have fewer levels of tiles
	tiles := room[:0]
	hashes := make([]tlog.Hash, len(ids))
	for i, id := range ids {
		// A node lies within the tile whose level is the highest below or at
		// the node's; there it covers 1 << up neighbouring hashes.
		level, up := int(id.Level)/Height, int(id.Level)%Height
		first := int64(id.Index << up)
		t := Tile{Level: level, N: first >> Height}
		t.W = WidthAt(level, t.N, size)
		known := slices.IndexFunc(tiles, func(r read) bool { return r.tile == t })
		if known < 0 {
			subtrees, err := r.subtrees(ctx, t)
			if err != nil {
				return nil, err
			}
			known, tiles = len(tiles), append(tiles, read{t, subtrees})
		}
		hashes[i] = tiles[known].subtrees.root(int(first%Width), up)
	}
	return hashes, nil
}

func readTile(ctx context.Context, r Reader, t Tile) (tileHashes, error) {
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
