package log

import (
	"context"
	"errors"
	"fmt"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
	"golang.org/x/mod/sumdb/tlog"
)

// RebuildConfig says from what and into what Rebuild makes a log.
type RebuildConfig struct {
	// Store takes the log. It must hold none.
	Store storage.Store

	// Target is the checkpoint to be reached. The caller has verified its
	// signatures.
	Target checkpoint.Checkpoint

	// Through are heads of which the log must be a continuation: what a guard
	// remembers, what an older store holds. Only size and root are compared.
	Through []Head

	// Bundle returns the first width entries of bundle n. Nothing it returns
	// is believed.
	Bundle func(ctx context.Context, n int64, width int) ([][]byte, error)

	// Identify returns source and id out of the payload of a leaf, of which its
	// identity is made (entry.Identity), and whether it is an authority leaf.
	Identify func(payload []byte) (source, id []byte, authority bool, err error)

	// Progress, when given, is called now and then with the number of leaves
	// stored.
	Progress func(leaves, of int64)
}

// ErrNotTheLog says that what Rebuild was given is not the log of the target.
var ErrNotTheLog = errors.New("log: the entries are not those of the checkpoint")

// Rebuild stores, leaf by leaf and byte by byte, the log that a checkpoint
// commits to, from a copy that somebody else kept: a backup, a mirror, a tiled
// log served anywhere. It makes no leaf and signs nothing, so it cannot fork.
//
// Every leaf is hashed and the root compared at the end. Until Rebuild returns
// nil the store holds nothing that may be opened: after an error throw it away.
// The error wraps ErrNotTheLog when the root is another one.
func Rebuild(ctx context.Context, cfg RebuildConfig) (Head, error) {
	target := cfg.Target
	if target.Size < 1 {
		return Head{}, errors.New("log: rebuilding: an empty log has nothing to rebuild")
	}
	if _, err := ReadHead(ctx, cfg.Store); !errors.Is(err, ErrNoLog) {
		return Head{}, errors.Join(ErrExists, err)
	}
	r := &rebuild{cfg: cfg, ctx: ctx, budget: cfg.Store.Limits(), through: make(map[int64]tlog.Hash)}
	for _, h := range cfg.Through {
		if h.Size > target.Size {
			return Head{}, fmt.Errorf("%w: %d leaves are remembered here, and the copy has %d. A newer copy is needed", ErrRollback, h.Size, target.Size)
		}
		r.through[h.Size] = h.Root
	}
	r.begin()
	defer func() { r.group.packing.Wait() }()
	for n := int64(0); n*tile.Width < target.Size; n++ {
		if err := r.bundle(n, tile.WidthAt(tile.Entries, n, target.Size)); err != nil {
			return Head{}, fmt.Errorf("log: rebuilding bundle %d: %w", n, err)
		}
	}
	if root := r.group.edge.root(); root != target.Root {
		return Head{}, fmt.Errorf("%w: they give root %v at size %d, and it says %v", ErrNotTheLog, root, target.Size, target.Root)
	}
	if err := r.commit(); err != nil {
		return Head{}, err
	}
	return r.group.head, nil
}

// rebuild gathers leaves into commits as large as the store takes. Only the
// last commit makes the root of the target the head; those before it have heads
// that nobody signed, which is why the store is worthless until then.
type rebuild struct {
	cfg    RebuildConfig
	ctx    context.Context
	budget storage.Limits

	through map[int64]tlog.Hash // roots to be met, by size

	group   *group
	old     []byte // the head in the store
	bytes   int64  // gathered in the group
	entries int
}

func (r *rebuild) begin() {
	var committed view
	if g := r.group; g != nil {
		committed = view{head: g.head, edge: g.edge, partial: g.partial}
	}
	r.group, r.bytes, r.entries = newGroup(&committed, r.budget), 0, 0
}

func (r *rebuild) bundle(n int64, width int) error {
	leaves, err := r.cfg.Bundle(r.ctx, n, width)
	if err != nil {
		return err
	}
	if len(leaves) != width {
		return fmt.Errorf("%w: %d entries, want %d", ErrNotTheLog, len(leaves), width)
	}
	for i, leaf := range leaves {
		if err := r.leaf(n*tile.Width+int64(i), leaf); err != nil {
			return err
		}
	}
	if r.cfg.Progress != nil {
		r.cfg.Progress(r.group.head.Size, r.cfg.Target.Size)
	}
	return nil
}

func (r *rebuild) leaf(index int64, leaf []byte) error {
	e, err := entry.Parse(leaf)
	if err != nil {
		return fmt.Errorf("%w: leaf %d: %w", ErrNotTheLog, index, err)
	}
	if e.Time < r.group.head.Time {
		return fmt.Errorf("%w: leaf %d: its time %d is before %d", ErrNotTheLog, index, e.Time, r.group.head.Time)
	}
	source, id, authority, err := r.cfg.Identify(e.Payload)
	if err != nil {
		return fmt.Errorf("%w: leaf %d: %w", ErrNotTheLog, index, err)
	}
	if index == 0 && !authority {
		return fmt.Errorf("%w: leaf 0 does not create a log", ErrNotTheLog)
	}
	size := int64(len(leaf) + entryOverhead)
	if authority {
		size += int64(len(leaf)) // it is stored as one, too
	}
	if r.entries > 0 && (r.bytes+size > r.budget.Bytes/2 || r.entries >= r.budget.Keys/4) {
		if err := r.commit(); err != nil {
			return err
		}
		r.begin()
	}
	r.group.head.Time = e.Time
	r.group.appendLeaf(leaf, entry.Identity(source, id), authority)
	r.bytes += size
	r.entries++
	if want, ok := r.through[index+1]; ok && r.group.edge.root() != want {
		return fmt.Errorf("%w: its root at size %d is %v, and here %v is remembered: they were damaged, or are those of a fork", ErrNotTheLog, index+1, r.group.edge.root(), want)
	}
	return nil
}

func (r *rebuild) commit() error {
	r.group.finish()
	head := r.group.head.marshal()
	if err := r.cfg.Store.Commit(r.ctx, &storage.Batch{OldHead: r.old, NewHead: head, Put: r.group.put, Delete: r.group.remove}); err != nil {
		return fmt.Errorf("log: storing up to leaf %d: %w", r.group.head.Size, err)
	}
	r.old = head
	return nil
}
