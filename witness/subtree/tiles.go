package subtree

import (
	"context"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/tile"
)

// FromTiles returns a function for Prove that takes the hashes of a tree of this size
// from its hash tiles (https://c2sp.org/tlog-tiles).
func FromTiles(ctx context.Context, read tile.Reader, size int64) func(lo, hi int64) (tlog.Hash, error) {
	t := tiles{ctx, read, size}
	return t.hash
}

type tiles struct {
	ctx  context.Context // of the one proof that is made
	read tile.Reader
	size int64
}

// hash returns the RFC 6962 hash of the leaves [lo, hi), which are a subtree.
func (t tiles) hash(lo, hi int64) (tlog.Hash, error) {
	n := uint64(hi - lo)
	if n&(n-1) == 0 {
		return t.node(lo, bits.Len64(n)-1)
	}
	k := split(hi - lo)
	left, err := t.hash(lo, lo+k)
	if err != nil {
		return left, err
	}
	right, err := t.hash(lo+k, hi)
	return tlog.NodeHash(left, right), err
}

// node returns the root of the complete subtree of this height that begins at leaf lo.
func (t tiles) node(lo int64, height int) (tlog.Hash, error) {
	level, up := height/tile.Height, height%tile.Height
	first := lo >> (level * tile.Height)
	at := tile.Tile{Level: level, N: first / tile.Width}
	at.W = tile.WidthAt(level, at.N, t.size)
	data, err := t.read(t.ctx, at)
	if err != nil {
		return tlog.Hash{}, err
	}
	hashes, err := tile.Hashes(data)
	if err != nil {
		return tlog.Hash{}, fmt.Errorf("%s: %w", at.Path(), err)
	}
	begin := int(first % tile.Width)
	if len(hashes) < begin+1<<up {
		return tlog.Hash{}, fmt.Errorf("%s has %d hashes, too few for a tree of size %d", at.Path(), len(hashes), t.size)
	}
	return tile.TileRoot(hashes[begin : begin+1<<up]), nil
}
