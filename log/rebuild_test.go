package log

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/memory"
)

// TestRebuild makes the log again from what it serves: the same head, the same
// answers, and a checker that finds nothing.
func TestRebuild(t *testing.T) {
	for _, size := range []int64{1, 255, 256, 700} {
		l := newTestLog(t, nil)
		l.fill(size)
		if size > 300 {
			l.mustAdd(submission(int(size), 1, true))
			l.fill(size + 20)
		}
		p := l.waitPublished(l.Head().Size)

		disk := memory.NewDisk()
		disk.SetLimits(storage.Limits{Bytes: 128 << 10, Keys: 1400}) // several commits
		store, err := disk.Open()
		if err != nil {
			t.Fatal(err)
		}
		cfg := RebuildConfig{Store: store, Target: p.Checkpoint, Bundle: bundlesOf(l), Identify: identify, Through: []Head{l.guard.Head(), firstHead(t, l)}}
		head, err := Rebuild(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if head != l.Head() {
			t.Errorf("rebuilt head %+v, want %+v", head, l.Head())
		}
		if _, err := Check(t.Context(), CheckConfig{Store: store, Identify: identify}); err != nil {
			t.Error(err)
		}
		for _, run := range storedKeys(t, store, prefixRun) {
			if run < head.Size/tile.Width*tile.Width {
				t.Errorf("size %d: run %d is of a complete bundle", head.Size, run)
			}
		}
		if _, err := Rebuild(t.Context(), cfg); !errors.Is(err, ErrExists) {
			t.Errorf("rebuilding over a log: %v", err)
		}
		store.Close()

		// It opens where the old one stood, behind the same guard.
		l.end()
		l.disk = disk
		l.open()
		if err := l.Ready(); err != nil {
			t.Errorf("the rebuilt log is not ready: %v", err)
		}
		l.fill(size + 50)
		l.waitPublished(size + 50)
		l.check()
	}
}

func bundlesOf(l *testLog) func(context.Context, int64, int) ([][]byte, error) {
	return func(ctx context.Context, n int64, width int) ([][]byte, error) {
		data, gzipped, err := l.Bundle(ctx, tile.Tile{Level: tile.Entries, N: n, W: width})
		if err == nil && gzipped {
			data, err = decompressBundle(data)
		}
		if err != nil {
			return nil, err
		}
		return tile.SplitBundle(data, width)
	}
}

func TestRebuildRefusesAnotherLog(t *testing.T) {
	l := newTestLog(t, nil)
	l.fill(300)
	target := l.waitPublished(300).Checkpoint
	change := func(index int64, f func([]byte) []byte) func(context.Context, int64, int) ([][]byte, error) {
		return func(ctx context.Context, n int64, width int) ([][]byte, error) {
			leaves, err := bundlesOf(l)(ctx, n, width)
			if err == nil && n == index/tile.Width {
				leaves[index%tile.Width] = f(append([]byte(nil), leaves[index%tile.Width]...))
			}
			return leaves, err
		}
	}
	flip := func(b []byte) []byte { b[len(b)-1] ^= 1; return b }
	for name, test := range map[string]struct {
		target checkpoint.Checkpoint
		bundle func(context.Context, int64, int) ([][]byte, error)
	}{
		"a leaf changed":          {target, change(17, flip)},
		"the last leaf changed":   {target, change(299, flip)},
		"a leaf that is no entry": {target, change(3, func([]byte) []byte { return []byte("x") })},
		"a time that goes back":   {target, change(280, func(b []byte) []byte { b[8] = 0; return b })},
		"another root":            {checkpoint.Checkpoint{Size: 300}, bundlesOf(l)},
		"leaf 0 creates no log":   {target, change(0, func(b []byte) []byte { return submission(7, 0, false).Leaf })},
		"a bundle that is too small": {target, func(ctx context.Context, n int64, width int) ([][]byte, error) {
			return bundlesOf(l)(ctx, n, width-1)
		}},
	} {
		store, err := memory.NewDisk().Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Rebuild(t.Context(), RebuildConfig{Store: store, Target: test.target, Bundle: test.bundle, Identify: identify}); !errors.Is(err, ErrNotTheLog) {
			t.Errorf("%s: %v, want ErrNotTheLog", name, err)
		}
		store.Close()
	}
	for name, test := range map[string]struct {
		through Head
		want    error
	}{
		"more is remembered here":    {Head{Size: 301}, ErrRollback},
		"something else is, earlier": {Head{Size: 200, Root: target.Root}, ErrNotTheLog},
		"something else is":          {Head{Size: 300}, ErrNotTheLog},
	} {
		store, err := memory.NewDisk().Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Rebuild(t.Context(), RebuildConfig{Store: store, Target: target, Bundle: bundlesOf(l), Identify: identify, Through: []Head{test.through}}); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		store.Close()
	}
}

func firstHead(t *testing.T, l *testLog) Head {
	t.Helper()
	leaf, err := l.Entry(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return Head{Size: 1, Root: entry.LeafHash(leaf)}
}

// TestRebuildFits: a commit takes what its leaves are stored as, authority leaves twice,
// with a bundle that was begun before.
func TestRebuildFits(t *testing.T) {
	l := newTestLog(t, nil)
	random := rand.NewChaCha8([32]byte{})
	add := func(count, size int, kind string) {
		for range count {
			b := make([]byte, size) // nothing that compresses
			random.Read(b)
			payload := kind + strings.ReplaceAll(string(b), "\x00", "x")
			l.mustAdd(submissionOf(payload, fmt.Sprint(l.Head().Size), l.AuthorityCovered(), kind == "autho"))
		}
	}
	add(255, 1270, "") // of the first commit, with most of the next bundle
	add(256, 450, "")
	add(30, 48_000, "autho")
	p := l.waitPublished(l.Head().Size)
	disk := memory.NewDisk()
	disk.SetLimits(storage.Limits{Bytes: 1 << 20, Keys: 10000})
	store, err := disk.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := Rebuild(t.Context(), RebuildConfig{Store: store, Target: p.Checkpoint, Bundle: bundlesOf(l), Identify: identify}); err != nil {
		t.Error(err)
	}
}
