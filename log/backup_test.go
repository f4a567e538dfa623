package log

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
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

// TestBackupIntoAnyName: however the directory is written, the copy is made in it.
func TestBackupIntoAnyName(t *testing.T) {
	l := newTestLog(t, nil)
	l.fill(300)
	p := l.waitPublished(300)
	for _, dir := range []string{".", "c", "./copy/", "../there/copy", "a/b/../c"} {
		work := filepath.Join(t.TempDir(), "here")
		if err := os.Mkdir(work, 0o700); err != nil {
			t.Fatal(err)
		}
		t.Chdir(work)
		if err := Backup(t.Context(), BackupConfig{Dir: dir, Note: p.Note, Target: p.Checkpoint, Bundle: bundlesOf(l)}); err != nil {
			t.Errorf("%q: %v", dir, err)
		}
		if note, err := os.ReadFile(filepath.Join(dir, "checkpoint")); err != nil || !bytes.Equal(note, p.Note) {
			t.Errorf("%q holds the checkpoint %q, %v", dir, note, err)
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

// TestBackupHeals damages every file of a copy in turn. A check finds and heals it, and
// leaves it as it was when the log that it asks lies.
func TestBackupHeals(t *testing.T) {
	l := newTestLog(t, nil)
	l.fill(700)
	p := l.waitPublished(700)
	dir := t.TempDir()
	var healed []string
	cfg := BackupConfig{Dir: dir, Note: p.Note, Target: p.Checkpoint, Bundle: bundlesOf(l), Healed: func(path string) { healed = append(healed, path) }}
	if err := Backup(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Check = true
	lying := cfg
	lying.Bundle = func(ctx context.Context, n int64, width int) ([][]byte, error) {
		entries, err := bundlesOf(l)(ctx, n, width)
		if err == nil {
			entries[3] = append([]byte(nil), entries[2]...)
		}
		return entries, err
	}
	whole := readTree(t, dir)
	if len(whole) != 8 { // checkpoint; 3 bundles; tiles 0/0, 0/1, 0/2.p/188, 1/0.p/2
		t.Fatalf("%d files", len(whole))
	}
	for path, data := range whole {
		for name, damaged := range map[string][]byte{"missing": nil, "cut": data[:len(data)/2], "a bit flipped": append(data[:len(data)-1:len(data)-1], data[len(data)-1]^1)} {
			var err error
			if name == "missing" {
				err = os.Remove(path)
			} else {
				err = os.WriteFile(path, damaged, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			isCheckpoint := filepath.Base(path) == "checkpoint" // without it nothing counts as held
			if !isCheckpoint {
				broken := readTree(t, dir)
				if err := Backup(t.Context(), lying); !errors.Is(err, ErrNotTheLog) || !maps.EqualFunc(readTree(t, dir), broken, bytes.Equal) {
					t.Errorf("%s, %s: a log that lies has changed the copy: %v", path, name, err)
				}
			}
			healed = nil
			if err := Backup(t.Context(), cfg); err != nil {
				t.Errorf("%s, %s: %v", path, name, err)
			}
			if !maps.EqualFunc(readTree(t, dir), whole, bytes.Equal) {
				t.Errorf("%s, %s: not healed", path, name)
			}
			if !isCheckpoint && !slices.Equal(healed, []string{path}) {
				t.Errorf("%s, %s: healed %q", path, name, healed)
			}
		}
	}
}

// readTree reads all files below dir.
func readTree(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestBackupCheckKeepsEvidence: a check does not make a copy follow a log that forked
// behind the last whole bundle that the copy holds.
func TestBackupCheckKeepsEvidence(t *testing.T) {
	l := newTestLog(t, nil)
	l.fill(300)
	image := l.disk.Snapshot()
	l.fill(310)
	p := l.waitPublished(310)
	dir := t.TempDir()
	cfg := BackupConfig{Dir: dir, Note: p.Note, Target: p.Checkpoint, Bundle: bundlesOf(l)}
	if err := Backup(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	note, first := p.Note, firstHead(t, l)

	l.end()
	l.disk.Restore(image)
	l.guard = NewMemoryGuard(first)
	l.open()
	for n := range 20 {
		l.mustAdd(submission(1000+n, 1, false))
	}
	p = l.waitPublished(l.Head().Size)
	for _, check := range []bool{false, true} {
		cfg := BackupConfig{Dir: dir, Note: p.Note, Target: p.Checkpoint, Bundle: bundlesOf(l), Check: check}
		if err := Backup(t.Context(), cfg); !errors.Is(err, ErrNotTheLog) {
			t.Errorf("check %v: %v", check, err)
		}
		if kept, err := os.ReadFile(filepath.Join(dir, "checkpoint")); err != nil || !bytes.Equal(kept, note) {
			t.Errorf("check %v: the checkpoint of before is gone: %v", check, err)
		}
	}
}
