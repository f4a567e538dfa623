package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
)

// BackupConfig says what Backup copies, and where to.
type BackupConfig struct {
	// Dir takes the copy: the files of a tiled log (c2sp.org/tlog-tiles), so
	// that whoever serves the directory serves the log. Made if missing.
	Dir string

	// Note is the signed checkpoint to be reached, Target what it says. The
	// caller has verified its signatures.
	Note   []byte
	Target checkpoint.Checkpoint

	// Bundle returns the first width entries of bundle n. Nothing it returns
	// is believed.
	Bundle func(ctx context.Context, n int64, width int) ([][]byte, error)

	// Progress, when given, is called now and then with the number of leaves
	// copied.
	Progress func(leaves, of int64)
}

// Backup brings a copy of the log in a directory up to a checkpoint. Only what
// is new since the last time is read; every new leaf is hashed on top of the
// tree that the copy holds, and the root compared, so that a copy is always one
// that a signed checkpoint commits to. The checkpoint is written last: a backup
// that broke off leaves the copy that was there, and goes on later.
//
// The error wraps ErrNotTheLog when what is read is not the log of the target,
// ErrRollback when the copy holds more than the target commits to.
func Backup(ctx context.Context, cfg BackupConfig) error {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("log: backup: %w", err)
	}
	b := &backup{cfg: cfg, ctx: ctx, dirs: make(map[string]bool)}
	if err := b.load(); err != nil {
		return err
	}
	from, size := b.edge.size, cfg.Target.Size
	if from > size {
		return fmt.Errorf("%w: the copy in %s has %d leaves, and the log shows %d", ErrRollback, cfg.Dir, from, size)
	}
	for n := from / tile.Width; n*tile.Width < size; n++ {
		if err := b.bundle(n, tile.WidthAt(tile.Entries, n, size)); err != nil {
			return fmt.Errorf("log: backup of bundle %d: %w", n, err)
		}
	}
	if root := b.edge.root(); root != cfg.Target.Root {
		return fmt.Errorf("%w: on top of the copy of size %d they give root %v at size %d, and it says %v", ErrNotTheLog, from, root, size, cfg.Target.Root)
	}
	return b.finish()
}

// backup is one run of Backup.
type backup struct {
	cfg  BackupConfig
	ctx  context.Context
	edge edge
	err  error           // of writing a tile
	dirs map[string]bool // directories in which names are new
}

// load rebuilds the edge of the copy from its own tiles and compares the root
// with its own checkpoint: what is built upon must not be damaged.
func (b *backup) load() error {
	note, err := os.ReadFile(b.path("checkpoint"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("log: backup: %w", err)
	}
	text, _, err := checkpoint.ParseNote(note)
	if err != nil {
		return fmt.Errorf("log: backup: the checkpoint in %s: %w", b.cfg.Dir, err)
	}
	held, err := checkpoint.Parse(text)
	if err != nil {
		return fmt.Errorf("log: backup: the checkpoint in %s: %w", b.cfg.Dir, err)
	}
	if held.Origin != b.cfg.Target.Origin {
		return fmt.Errorf("log: backup: %s holds the log %q, not %q", b.cfg.Dir, held.Origin, b.cfg.Target.Origin)
	}
	var tiles [8][]byte
	for level := range tiles {
		t := tile.Tile{Level: level, N: held.Size >> (tile.Height * (level + 1))}
		if t.W = tile.WidthAt(level, t.N, held.Size); t.W == 0 {
			continue
		}
		if tiles[level], err = os.ReadFile(b.path(t.Path())); err != nil {
			return fmt.Errorf("log: backup: %w", err)
		}
	}
	var bundle []byte
	t := tile.Tile{Level: tile.Entries, N: held.Size / tile.Width}
	if t.W = tile.WidthAt(tile.Entries, t.N, held.Size); t.W > 0 {
		if bundle, err = os.ReadFile(b.path(t.Path())); err != nil {
			return fmt.Errorf("log: backup: %w", err)
		}
	}
	e, err := newEdge(held.Size, tiles, bundle)
	if err != nil {
		return fmt.Errorf("log: backup: %w", err)
	}
	if e.root() != held.Root {
		return fmt.Errorf("log: backup: the tiles in %s do not have the root of the checkpoint beside them: the copy is damaged; begin a new one", b.cfg.Dir)
	}
	b.edge = *e
	return nil
}

func (b *backup) path(name string) string { return filepath.Join(b.cfg.Dir, filepath.FromSlash(name)) }

func (b *backup) bundle(n int64, width int) error {
	held := int(b.edge.size % tile.Width)
	if b.edge.size == n*tile.Width {
		held = 0
	}
	entries, err := b.cfg.Bundle(b.ctx, n, width)
	if err != nil {
		return err
	}
	if len(entries) != width || width < held {
		return fmt.Errorf("%w: %d entries, want %d", ErrNotTheLog, len(entries), width)
	}
	for _, leaf := range entries[held:] {
		b.edge.appendLeaf(leaf, entry.LeafHash(leaf), b.tile)
	}
	if b.err != nil {
		return b.err
	}
	t := tile.Tile{Level: tile.Entries, N: n, W: width}
	if b.cfg.Progress != nil {
		b.cfg.Progress(b.edge.size, b.cfg.Target.Size)
	}
	return b.write(t.Path(), b.edge.bundle)
}

// tile takes a hash tile that has become complete.
func (b *backup) tile(level int, n int64, data []byte) {
	if b.err == nil {
		b.err = b.write(tile.Tile{Level: level, N: n, W: tile.Width}.Path(), data)
	}
}

// finish writes the partial tiles, makes all names durable, and then lets the
// checkpoint say that all of it is there.
func (b *backup) finish() error {
	for level, data := range b.edge.tiles {
		t := tile.Tile{Level: level, N: b.edge.size >> (tile.Height * (level + 1)), W: len(data) / hashSize}
		if t.W == 0 {
			continue
		}
		if err := b.write(t.Path(), data); err != nil {
			return err
		}
	}
	for dir := range b.dirs {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	clear(b.dirs)
	if err := b.write("checkpoint", b.cfg.Note); err != nil {
		return err
	}
	return syncDir(b.cfg.Dir)
}

// write makes a file appear whole, with its content on the disk. Its name is
// durable once its directory has been synced.
func (b *backup) write(name string, data []byte) error {
	path := b.path(name)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("log: backup: %w", err)
	}
	for d := dir; len(d) >= len(b.cfg.Dir); d = filepath.Dir(d) {
		b.dirs[d] = true
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return fmt.Errorf("log: backup: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("log: backup: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
