package mirror

import (
	"bytes"
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
)

// What is served has been compared with something else on the disk, down to the root of the mirror
// checkpoint, so that no single damage goes out as the log's.

// bundle returns an entry bundle after checking it against its hash tile.
func (s store) bundle(t tile.Tile) ([]byte, error) {
	data, err := s.read(t)
	if err != nil {
		return nil, err
	}
	entries, err := tile.SplitBundle(data, t.W)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errCorrupt, t.Path(), err)
	}
	hashes, err := s.read(tile.Tile{Level: 0, N: t.N, W: t.W})
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(leafHashes(entries), hashes) {
		return nil, fmt.Errorf("%w: the entries of %s do not hash to their tile", errCorrupt, t.Path())
	}
	return data, nil
}

// hashes returns a hash tile of the checkpoint's tree after checking it: a full one against its
// hash in the tile above, one at the right edge with all others there against the root.
func (s store) hashes(ctx context.Context, t tile.Tile, cp checkpoint.Checkpoint) ([]byte, error) {
	whole := t
	whole.W = tile.WidthAt(t.Level, t.N, cp.Size)
	if !whole.Full() {
		return s.edge(ctx, t, whole, cp)
	}
	data, err := s.read(whole)
	if err != nil {
		return nil, err
	}
	hashes, err := tile.Hashes(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errCorrupt, t.Path(), err)
	}
	at := int(t.N % tile.Width)
	above := tile.Tile{Level: t.Level + 1, N: t.N / tile.Width, W: at + 1}
	parent, err := s.read(above)
	if err != nil {
		return nil, err
	}
	if root := tile.TileRoot(hashes); !bytes.Equal(root[:], parent[at*tlog.HashSize:]) {
		return nil, fmt.Errorf("%w: %s does not hash to what the tile above it says", errCorrupt, t.Path())
	}
	return narrow(t, data)
}

// edge returns a tile at the right edge, of which the tree has as much as whole says.
func (s store) edge(ctx context.Context, t, whole tile.Tile, cp checkpoint.Checkpoint) ([]byte, error) {
	var found []byte
	root, err := tile.Root(ctx, func(_ context.Context, at tile.Tile) ([]byte, error) {
		data, err := s.read(at)
		if at == whole {
			found = data
		}
		return data, err
	}, cp.Size)
	if err != nil {
		return nil, err
	}
	if root != cp.Root {
		return nil, fmt.Errorf("%w: the tiles of size %d have root %v, the mirror checkpoint says %v", errCorrupt, cp.Size, root, cp.Root)
	}
	return narrow(t, found)
}
