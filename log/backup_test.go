package log

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage/memory"
)

// TestBackup copies a growing log again and again, each time only what is new,
// and rebuilds a log from the copy.
func TestBackup(t *testing.T) {
	l := newTestLog(t, nil)
	dir := filepath.Join(t.TempDir(), "copy")
	read := make(map[int64]bool)
	run := func() {
		t.Helper()
		clear(read)
		p := l.waitPublished(l.Head().Size)
		err := Backup(t.Context(), BackupConfig{Dir: dir, Note: p.Note, Target: p.Checkpoint,
			Bundle: func(ctx context.Context, n int64, width int) ([][]byte, error) {
				read[n] = true
				return bundlesOf(l)(ctx, n, width)
			}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []int64{1, 2, 200, 256, 257, 513, 513, 900} {
		l.fill(size)
		run()
		store, err := memory.NewDisk().Open()
		if err != nil {
			t.Fatal(err)
		}
		head, err := Rebuild(t.Context(), RebuildConfig{Store: store, Target: l.Published().Checkpoint, Identify: identify,
			Bundle: func(_ context.Context, n int64, width int) ([][]byte, error) {
				data, err := os.ReadFile(filepath.Join(dir, tileOf(tile.Entries, n, width).Path()))
				if err != nil {
					return nil, err
				}
				return tile.SplitBundle(data, width)
			}})
		store.Close()
		if err != nil || head != l.Head() {
			t.Fatalf("rebuilding from the copy of size %d: %+v, %v", size, head, err)
		}
	}
	if read[0] || read[1] || !read[2] || !read[3] {
		t.Errorf("the last run, from size 513 to 900, read the bundles %v", read)
	}
	for n := range int64(3) {
		want, err := l.Tile(t.Context(), tileOf(0, n, 256))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, tileOf(0, n, 256).Path())); err != nil || string(got) != string(want) {
			t.Errorf("tile 0/%d of the copy: %v", n, err)
		}
	}
}

func TestBackupRefuses(t *testing.T) {
	l := newTestLog(t, nil)
	l.fill(300)
	p := l.waitPublished(300)
	cfg := BackupConfig{Dir: t.TempDir(), Note: p.Note, Target: p.Checkpoint, Bundle: bundlesOf(l)}
	if err := Backup(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	smaller := cfg
	smaller.Target = checkpoint.Checkpoint{Origin: testOrigin, Size: 299}
	if err := Backup(t.Context(), smaller); !errors.Is(err, ErrRollback) {
		t.Errorf("a log that shows less than the copy holds: %v", err)
	}
	other := cfg
	other.Target.Root[0] ^= 1
	if err := Backup(t.Context(), other); !errors.Is(err, ErrNotTheLog) {
		t.Errorf("the same size with another root: %v", err)
	}
	l.fill(310)
	p = l.waitPublished(310)
	lying := cfg
	lying.Note, lying.Target = p.Note, p.Checkpoint
	lying.Bundle = func(ctx context.Context, n int64, width int) ([][]byte, error) {
		entries, err := bundlesOf(l)(ctx, n, width)
		if err == nil {
			entries[width-1] = append([]byte(nil), entries[width-2]...)
		}
		return entries, err
	}
	if err := Backup(t.Context(), lying); !errors.Is(err, ErrNotTheLog) {
		t.Errorf("a server that sends another entry: %v", err)
	}
	// What broke off left the copy of before, and it goes on.
	cfg.Note, cfg.Target = p.Note, p.Checkpoint
	if err := Backup(t.Context(), cfg); err != nil {
		t.Errorf("after a lie: %v", err)
	}
	name := filepath.Join(cfg.Dir, tileOf(0, 1, 54).Path())
	damaged, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	damaged[40] ^= 1
	if err := os.WriteFile(name, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Backup(t.Context(), cfg); err == nil {
		t.Error("went on from a damaged copy")
	}
}
