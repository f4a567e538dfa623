package log

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// testMirrors are witnesses that cosign only after they have read all entries.
type testMirrors struct {
	*testWitnesses
	read tile.Reader
}

func (m *testMirrors) ReadFrom(read tile.Reader) { m.read = read }

func (m *testMirrors) Ask(ctx context.Context, cp checkpoint.Checkpoint, note []byte, prove func(context.Context, int64) ([]tlog.Hash, error), got func(checkpoint.Cosignature), remembers func(string, []byte)) {
	if err := m.copy(ctx, cp); err != nil {
		if ctx.Err() == nil {
			m.t.Error(err)
		}
		return
	}
	m.testWitnesses.Ask(ctx, cp, note, prove, got, remembers)
}

// copy reads everything that a checkpoint covers, which nobody else may see yet.
func (m *testMirrors) copy(ctx context.Context, cp checkpoint.Checkpoint) error {
	var hashes []tlog.Hash
	for n := int64(0); n*tile.Width < cp.Size; n++ {
		t := tile.Tile{Level: tile.Entries, N: n, W: tile.WidthAt(tile.Entries, n, cp.Size)}
		bundle, err := m.read(ctx, t)
		if err != nil {
			return fmt.Errorf("%s: %w", t.Path(), err)
		}
		entries, err := tile.SplitBundle(bundle, t.W)
		if err != nil {
			return fmt.Errorf("%s: %w", t.Path(), err)
		}
		for _, e := range entries {
			hashes = append(hashes, entry.LeafHash(e))
		}
	}
	if root := slowRoot(hashes); root != cp.Root {
		return fmt.Errorf("the entries of size %d have root %v, the checkpoint has %v", cp.Size, root, cp.Root)
	}
	root, err := tile.Root(ctx, m.read, cp.Size)
	if err != nil || root != cp.Root {
		return fmt.Errorf("the tiles of size %d have root %v, %w", cp.Size, root, err)
	}
	return nil
}

// A mirror reads the entries of a checkpoint before anybody else may; without it nothing is published.
func TestMirrorReadsFirst(t *testing.T) {
	m := &testMirrors{testWitnesses: newTestWitnesses(t, "all")}
	l := newTestLog(t, func(c *Config) {
		m.config(c)
		c.Cosigner = m
	})
	for _, size := range []int64{3, 256, 257, 700} {
		l.fill(size)
		l.waitPublished(size)
	}
	beyond := tile.Tile{Level: tile.Entries, N: 2, W: 200}
	if _, err := m.read(t.Context(), beyond); !errors.Is(err, ErrNotFound) {
		t.Errorf("beyond the head: %v", err)
	}
	if _, err := m.read(t.Context(), tile.Tile{Level: 0, N: 2, W: 0}); !errors.Is(err, ErrNotFound) {
		t.Errorf("of no width: %v", err)
	}
}
