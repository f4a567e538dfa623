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
	"golang.org/x/mod/sumdb/tlog"
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

	// Check has all that the copy holds read and hashed again, not only what is
	// built upon. Files that are missing or damaged are made anew.
	Check bool

	// Healed, when given, is called with the path of each file that was.
	Healed func(name string)

	// Progress, when given, is called now and then with the number of leaves
	// copied, or checked.
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
	cfg.Dir = filepath.Clean(cfg.Dir) // of this form the paths below it begin with it
	if err := MakeDir(cfg.Dir); err != nil {
		return fmt.Errorf("log: backup: %w", err)
	}
	b := &backup{cfg: cfg, ctx: ctx, dirs: make(map[string]bool)}
	defer b.dropHealings()
	held, err := b.held()
	if err != nil {
		return err
	}
	b.had, b.root = held.Size, held.Root
	size := cfg.Target.Size
	if b.had > size {
		return fmt.Errorf("%w: the copy in %s has %d leaves, and the log shows %d", ErrRollback, cfg.Dir, b.had, size)
	}
	if b.had > 0 && !cfg.Check {
		if err := b.load(held); err != nil {
			return err
		}
	}
	from := b.edge.size
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

// healing is a file that stands ready to replace one of the copy, once it is known that it
// is the right one.
type healing struct{ ready, path string }

// backup is one run of Backup.
type backup struct {
	cfg  BackupConfig
	ctx  context.Context
	had  int64     // leaves that the copy says it holds
	root tlog.Hash // of them, as it says
	edge edge
	heal []healing
	err  error           // of writing a tile
	dirs map[string]bool // directories in which names are new
}

// held returns what the copy's own checkpoint says, which nobody has signed for: size 0
// where there is none, or none that can be read and all is looked at anyway.
func (b *backup) held() (held checkpoint.Checkpoint, err error) {
	note, err := os.ReadFile(b.path("checkpoint"))
	if errors.Is(err, fs.ErrNotExist) {
		return held, nil
	}
	if err != nil {
		return held, fmt.Errorf("log: backup: %w", err)
	}
	text, _, err := checkpoint.ParseNote(note)
	if err == nil {
		held, err = checkpoint.Parse(text)
	}
	switch {
	case err != nil && b.cfg.Check:
		return checkpoint.Checkpoint{}, nil
	case err != nil:
		return held, fmt.Errorf("log: backup: the checkpoint in %s: %w", b.cfg.Dir, err)
	case held.Origin != b.cfg.Target.Origin:
		return held, fmt.Errorf("log: backup: %s holds the log %q, not %q", b.cfg.Dir, held.Origin, b.cfg.Target.Origin)
	}
	return held, nil
}

// load rebuilds the edge of the copy from its own tiles and compares the root
// with its own checkpoint: what is built upon must not be damaged.
func (b *backup) load(held checkpoint.Checkpoint) (err error) {
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
		return fmt.Errorf("log: backup: the tiles in %s do not have the root of the checkpoint beside them: the copy is damaged; heal it with --check", b.cfg.Dir)
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
	entries := b.copied(n, width)
	if entries == nil {
		var err error
		if entries, err = b.cfg.Bundle(b.ctx, n, width); err != nil {
			return err
		}
	}
	if len(entries) != width || width < held {
		return fmt.Errorf("%w: %d entries, want %d", ErrNotTheLog, len(entries), width)
	}
	for _, leaf := range entries[held:] {
		b.edge.appendLeaf(leaf, entry.LeafHash(leaf), b.tile)
		if b.edge.size == b.had && b.edge.root() != b.root {
			return b.contradiction()
		}
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

// contradiction is the error of a copy whose checkpoint says something else than what is
// read. It may be the only witness of a fork, so it is not overwritten.
func (b *backup) contradiction() error {
	return fmt.Errorf("%w: its root at size %d is %v, and %s says %v. If that file is damaged, which its signature tells, remove it; otherwise it shows a fork, keep it",
		ErrNotTheLog, b.had, b.edge.root(), b.path("checkpoint"), b.root)
}

// copied returns the entries of a bundle that the copy holds whole, or nil. They are what
// the hash tile beside them says. If both are wrong in the same way, the root is.
func (b *backup) copied(n int64, width int) [][]byte {
	if width < tile.Width || (n+1)*tile.Width > b.had {
		return nil
	}
	bundle, err := os.ReadFile(b.path(tile.Tile{Level: tile.Entries, N: n, W: width}.Path()))
	if err != nil {
		return nil
	}
	hashes, err := os.ReadFile(b.path(tile.Tile{N: n, W: width}.Path()))
	if err != nil || len(hashes) != tile.Width*hashSize {
		return nil
	}
	entries, err := tile.SplitBundle(bundle, width)
	if err != nil {
		return nil
	}
	for i, leaf := range entries {
		if entry.LeafHash(leaf) != tlog.Hash(hashes[i*hashSize:][:hashSize]) {
			return nil
		}
	}
	return entries
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
	for _, h := range b.heal {
		if err := os.Rename(h.ready, h.path); err != nil {
			return fmt.Errorf("log: backup: %w", err)
		}
		if b.cfg.Healed != nil {
			b.cfg.Healed(h.path)
		}
	}
	b.heal = nil
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

// dropHealings removes what was not needed.
func (b *backup) dropHealings() {
	for _, h := range b.heal {
		_ = os.Remove(h.ready) // an error has been returned already
	}
}

// write makes a file appear whole, with its content on the disk. Its name is
// durable once its directory has been synced. What the copy should hold
// already waits until all has been read.
func (b *backup) write(name string, data []byte) error {
	path := b.path(name)
	dir := filepath.Dir(path)
	for d := dir; ; d = filepath.Dir(d) {
		b.dirs[d] = true // also when the file is there, of a try that broke off
		if d == b.cfg.Dir {
			break
		}
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("log: backup: %w", err)
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return fmt.Errorf("log: backup: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil && b.edge.size <= b.had && name != "checkpoint" {
		b.heal = append(b.heal, healing{f.Name(), path})
		return nil
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("log: backup: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
