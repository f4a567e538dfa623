package log

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

func guardHead(size int64) Head {
	return Head{Size: size, Root: tlog.Hash{byte(size)}, Time: size, Covered: 1}
}

func newGuardFile(t *testing.T) (path, dir string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "guard")
	g, err := CreateGuard(path, dir, "origin", guardHead(1))
	if err != nil {
		t.Fatal(err)
	}
	for size := int64(2); size <= 5; size++ {
		if err := g.Advance(guardHead(size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	return path, dir
}

func TestGuardRemembers(t *testing.T) {
	path, dir := newGuardFile(t)
	g, err := OpenGuard(path, dir, "origin")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if g.Head() != guardHead(5) {
		t.Errorf("head = %+v", g.Head())
	}
	if err := g.Advance(guardHead(4)); err == nil {
		t.Error("the guard went back")
	}
	if _, err := OpenGuard(path, dir, "origin"); !errors.Is(err, ErrLocked) {
		t.Errorf("opening a second time = %v, want ErrLocked", err)
	}
	if _, err := CreateGuard(path, dir, "origin", guardHead(1)); !errors.Is(err, os.ErrExist) {
		t.Errorf("creating over an existing guard = %v, want ErrExist", err)
	}
}

// TestGuardTornWrite damages each byte range of the slot written last, as a
// torn write would: the other slot must win. Damage to both is an error.
func TestGuardTornWrite(t *testing.T) {
	path, dir := newGuardFile(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 3, 5, 11, 20, 60, 200, 1000, slotSize - 33, slotSize - 1} {
		damaged := append([]byte(nil), good...)
		newest := 0
		for slotIndex := range 2 {
			s, err := parseSlot(good[slotIndex*slotSize : (slotIndex+1)*slotSize])
			if err != nil {
				t.Fatal(err)
			}
			if s.head == guardHead(5) {
				newest = slotIndex
			}
		}
		damaged[newest*slotSize+at] ^= 0x40
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		g, err := OpenGuard(path, dir, "origin")
		if err != nil {
			t.Fatalf("byte %d of the newest slot damaged: %v", at, err)
		}
		if g.Head() != guardHead(4) {
			t.Errorf("byte %d damaged: head = %+v, want the one before", at, g.Head())
		}
		g.Close()
		damaged[(1-newest)*slotSize+at] ^= 0x40
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenGuard(path, dir, "origin"); !errors.Is(err, ErrGuardCorrupt) {
			t.Errorf("both slots damaged: %v, want ErrGuardCorrupt", err)
		}
	}
	for _, size := range []int{0, 1, slotSize, guardSize - 1} {
		if err := os.WriteFile(path, good[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenGuard(path, dir, "origin"); !errors.Is(err, ErrGuardCorrupt) {
			t.Errorf("cut to %d bytes: %v, want ErrGuardCorrupt", size, err)
		}
	}
}

func TestGuardKnowsItsPlace(t *testing.T) {
	path, dir := newGuardFile(t)
	if _, err := OpenGuard(path, dir, "another origin"); !errors.Is(err, ErrGuardElsewhere) {
		t.Errorf("under another origin: %v", err)
	}
	if _, err := OpenGuard(path, t.TempDir(), "origin"); !errors.Is(err, ErrGuardElsewhere) {
		t.Errorf("with another data directory: %v", err)
	}
	if _, err := OpenGuard(filepath.Join(dir, "missing"), dir, "origin"); !errors.Is(err, ErrNoGuard) {
		t.Errorf("missing: %v", err)
	}

	// A copy in the same place has another inode.
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".copy", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".copy", path); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenGuard(path, dir, "origin"); !errors.Is(err, ErrGuardElsewhere) {
		t.Errorf("a copy of the file: %v", err)
	}

	// Adopted on purpose, it opens, and remembers what it did: adopting must
	// not be a way to hide a rollback.
	if err := AdoptGuard(path, dir, "another origin", guardHead(2)); !errors.Is(err, ErrGuardElsewhere) {
		t.Errorf("adopting the guard of another log: %v", err)
	}
	if err := AdoptGuard(path, dir, "origin", guardHead(2)); err != nil {
		t.Fatal(err)
	}
	g, err := OpenGuard(path, dir, "origin")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if g.Head() != guardHead(5) {
		t.Errorf("after adoption: %+v, want the head remembered before", g.Head())
	}

	// A missing guard is made anew.
	fresh := filepath.Join(dir, "fresh")
	if err := AdoptGuard(fresh, dir, "origin", guardHead(2)); err != nil {
		t.Fatal(err)
	}
	g2, err := OpenGuard(fresh, dir, "origin")
	if err != nil {
		t.Fatal(err)
	}
	defer g2.Close()
	if g2.Head() != guardHead(2) {
		t.Errorf("made anew: %+v", g2.Head())
	}
}

// TestGuardStopsAfterAFailure: what a failed write left behind is unknown, so
// nothing may be built on it.
func TestGuardStopsAfterAFailure(t *testing.T) {
	path, dir := newGuardFile(t)
	g, err := OpenGuard(path, dir, "origin")
	if err != nil {
		t.Fatal(err)
	}
	g.file.Close()
	if err := g.Advance(guardHead(6)); err == nil {
		t.Fatal("advanced a closed file")
	}
	if g.Head() != guardHead(5) {
		t.Errorf("head after a failed write = %+v", g.Head())
	}
	if err := g.Advance(guardHead(7)); err == nil {
		t.Error("advanced after a failure")
	}
}

// TestGuardWrittenAtStart: before a log that starts signs its head the guard is written, also
// when it says what it should: a sync that failed leaves that in the page cache alone.
func TestGuardWrittenAtStart(t *testing.T) {
	l := newTestLog(t, nil)
	l.waitPublished(1)
	written := make(chan Head, 1)
	l.guard.Before(func(h Head) error { written <- h; return nil })
	l.crash()
	select {
	case h := <-written:
		if h != l.Head() {
			t.Errorf("the guard is told %+v, the head is %+v", h, l.Head())
		}
	default:
		t.Error("the guard is not written")
	}
	l.guard.Before(nil)
}

// TestGuardMoves: at no time does a log start in the old place and in the new one.
func TestGuardMoves(t *testing.T) {
	path, dir := newGuardFile(t)
	newDir := t.TempDir()
	newPath := filepath.Join(newDir, "guard")
	g, err := OpenGuard(path, dir, "origin")
	if err != nil {
		t.Fatal(err)
	}
	g.file.Close() // it cannot be told that it has moved
	if err := g.MoveGuard(newPath, newDir); err == nil {
		t.Fatal("moved a guard that could not be written")
	}
	if _, err := OpenGuard(newPath, newDir, "origin"); !errors.Is(err, ErrGuardElsewhere) {
		t.Errorf("the new guard, while the old one starts the log: %v", err)
	}
	if err := os.Remove(newPath); err != nil {
		t.Fatal(err)
	}
	if g, err = OpenGuard(path, dir, "origin"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.MoveGuard(newPath, newDir), g.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenGuard(path, dir, "origin"); !errors.Is(err, ErrGuardElsewhere) {
		t.Errorf("the old guard, after the move: %v", err)
	}
	moved, err := OpenGuard(newPath, newDir, "origin")
	if err != nil {
		t.Fatal(err)
	}
	if moved.Head() != guardHead(5) {
		t.Errorf("the new guard remembers %+v", moved.Head())
	}
	if err := moved.Close(); err != nil {
		t.Fatal(err)
	}
}
