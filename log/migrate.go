package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
)

// MigrateConfig says from where and into what Migrate copies a log.
type MigrateConfig struct {
	// From holds the log and To none. Neither may be written meanwhile.
	From, To storage.Store

	// Guard is that of the log: what it remembers must be in From.
	Guard Guard

	// Identify and Progress are those of RebuildConfig.
	Identify func(payload []byte) (source, id []byte, authority bool, err error)
	Progress func(leaves, of int64)
}

// Migrate copies a log from one store to another: every leaf, hashed on the way,
// until the head is the same, and beside them the published checkpoint and the
// evidence. After an error throw To away. The error wraps storage.ErrCorrupt
// when From is damaged, ErrRollback when the guard remembers more than it holds.
func Migrate(ctx context.Context, cfg MigrateConfig) (Head, error) {
	head, err := ReadHead(ctx, cfg.From)
	if err != nil {
		return Head{}, err
	}
	made, err := Rebuild(ctx, RebuildConfig{
		Store: cfg.To, Target: checkpoint.Checkpoint{Size: head.Size, Root: head.Root}, Through: []Head{cfg.Guard.Head()},
		Bundle: func(ctx context.Context, n int64, width int) ([][]byte, error) {
			return storedEntries(ctx, cfg.From, n, width)
		},
		Identify: cfg.Identify, Progress: cfg.Progress,
	})
	if err != nil {
		return Head{}, err
	}
	if made != head {
		return Head{}, fmt.Errorf("log: the leaves make the head %+v, and the store says %+v: %w", made, head, storage.ErrCorrupt)
	}
	return head, copyRest(ctx, cfg.From, cfg.To, head)
}

// storedEntries returns the first width entries of a bundle as they are stored.
func storedEntries(ctx context.Context, store storage.Store, n int64, width int) ([][]byte, error) {
	bundle, err := store.Get(ctx, numberKey(prefixBundle, n))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		bundle, err = readRuns(ctx, store, n)
	case err == nil:
		bundle, err = decompressBundle(bundle)
	}
	if err != nil {
		return nil, fmt.Errorf("log: reading bundle %d: %w", n, err)
	}
	entries, err := tile.SplitBundle(bundle, width)
	if err != nil {
		return nil, fmt.Errorf("log: bundle %d: %w: %w", n, storage.ErrCorrupt, err)
	}
	return entries, nil
}

// copyRest copies what does not follow from the leaves.
func copyRest(ctx context.Context, from, to storage.Store, head Head) error {
	limit := to.Limits().Bytes / 4
	batch := storage.Batch{OldHead: head.marshal(), NewHead: head.marshal()}
	commit := func() error {
		if len(batch.Put) == 0 {
			return nil
		}
		err := to.Commit(ctx, &batch)
		batch.Put = nil
		return err
	}
	put := func(key, value []byte) error {
		batch.Put = append(batch.Put, storage.KV{Key: bytes.Clone(key), Value: bytes.Clone(value)})
		if batch.Size() > limit {
			return commit()
		}
		return nil
	}
	for _, r := range []keyRange{{keyPublished, append(bytes.Clone(keyPublished), 0)}, {[]byte{prefixEvidence}, []byte{prefixEvidence + 1}}} {
		if err := from.Scan(ctx, r.from, r.to, put); err != nil {
			return fmt.Errorf("log: copying the published checkpoint and the evidence: %w", err)
		}
	}
	if err := commit(); err != nil {
		return fmt.Errorf("log: storing the published checkpoint and the evidence: %w", err)
	}
	return nil
}

// MoveGuard makes at path the guard of the log that lives in dir from now on,
// remembering what g remembers, and binds g, the guard of where the log lived, to
// the new place: there the log does not start again, unless somebody adopts it
// back. The new guard says that the log lives in the old place until g says otherwise: at
// no time does it start in both, and after a crash in between in neither, unless adopted.
func (g *FileGuard) MoveGuard(path, dir string) error {
	moved, err := CreateGuard(path, g.last.place.dir, g.last.place.origin, g.Head())
	if err != nil {
		return err
	}
	return errors.Join(g.moveTo(moved, dir), moved.Close())
}

func (g *FileGuard) moveTo(moved *FileGuard, dir string) (err error) {
	if g.last.place, err = placeOf(moved.file, dir, g.last.place.origin); err != nil {
		return err
	}
	for range 2 { // both slots
		if err := g.write(g.last.head); err != nil {
			return err
		}
	}
	return moved.adopt(dir, g.last.place.origin)
}
