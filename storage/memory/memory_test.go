package memory_test

import (
	"context"
	"errors"
	"testing"

	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/memory"
	"github.com/escortlog/escortlog/storage/storagetest"
)

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storagetest.Opener {
		disk := memory.NewDisk()
		return func(t *testing.T) storage.Store { return mustOpen(t, disk) }
	})
}

func mustOpen(t *testing.T, d *memory.Disk) *memory.Store {
	t.Helper()
	s, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s storage.Store, old, new string) error {
	b := &storage.Batch{NewHead: []byte(new), Put: []storage.KV{{Key: []byte("k"), Value: []byte(new)}}}
	if old != "" {
		b.OldHead = []byte(old)
	}
	return s.Commit(t.Context(), b)
}

func get(t *testing.T, s storage.Store) string {
	t.Helper()
	v, err := s.Get(t.Context(), []byte("k"))
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		t.Fatal(err)
	}
	return string(v)
}

func TestCommitFaults(t *testing.T) {
	for _, test := range []struct {
		name    string
		outcome memory.Outcome
		after   string // what a reopened store holds
		fatal   bool   // the store refuses further commits
	}{
		{"Succeed", memory.Succeed, "two", false},
		{"Fail", memory.Fail, "one", true},
		{"FailApplied", memory.FailApplied, "two", true},
		{"Full", memory.Full, "one", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := memory.NewDisk()
			s := mustOpen(t, d)
			d.OnCommit(memory.Succeed, test.outcome)
			if err := put(t, s, "", "one"); err != nil {
				t.Fatal(err)
			}
			if err := put(t, s, "wrong", "x"); !errors.Is(err, storage.ErrHeadMoved) {
				t.Fatalf("a refused commit used up a fault: %v", err)
			}
			first := put(t, s, "one", "two")
			if (first == nil) != (test.outcome == memory.Succeed) ||
				errors.Is(first, memory.ErrInjected) != test.fatal ||
				errors.Is(first, storage.ErrFull) != (test.outcome == memory.Full) {
				t.Fatalf("commit: %v", first)
			}
			if want := map[bool]string{true: "two", false: "one"}[first == nil]; get(t, s) != want {
				t.Fatalf("a view shows %q, want %q", get(t, s), want)
			}
			if test.fatal {
				if err := put(t, s, "one", "three"); err != first {
					t.Fatalf("after a failed commit: %v, want the same error again", err)
				}
			}
			d.Crash()
			s = mustOpen(t, d)
			if got := get(t, s); got != test.after {
				t.Fatalf("after reopening: %q, want %q", got, test.after)
			}
			if err := put(t, s, test.after, "four"); err != nil {
				t.Fatalf("after reopening: %v", err)
			}
		})
	}
}

func TestReadFaults(t *testing.T) {
	d := memory.NewDisk()
	s := mustOpen(t, d)
	if err := put(t, s, "", "one"); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken disk")
	d.OnRead(nil, broken, storage.ErrCorrupt)
	if _, err := s.Get(t.Context(), []byte("k")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), []byte("k")); !errors.Is(err, broken) || !errors.Is(err, memory.ErrInjected) {
		t.Fatalf("got %v", err)
	}
	err := s.Scan(t.Context(), nil, nil, func(_, _ []byte) error { t.Error("fn called"); return nil })
	if !errors.Is(err, storage.ErrCorrupt) {
		t.Fatalf("got %v", err)
	}
	if get(t, s) != "one" {
		t.Fatal("the queue is not empty")
	}
}

func TestCrashAndOneAtATime(t *testing.T) {
	d := memory.NewDisk()
	s := mustOpen(t, d)
	if _, err := d.Open(); !errors.Is(err, memory.ErrInUse) {
		t.Fatalf("a second open: %v, want ErrInUse", err)
	}
	if err := put(t, s, "", "one"); err != nil {
		t.Fatal(err)
	}
	d.Crash()
	if err := put(t, s, "one", "two"); !errors.Is(err, storage.ErrClosed) {
		t.Fatalf("a commit from the dead: %v, want ErrClosed", err)
	}
	if got := get(t, mustOpen(t, d)); got != "one" {
		t.Fatalf("after a crash: %q", got)
	}
}

func TestSnapshotRestoreTamper(t *testing.T) {
	d := memory.NewDisk()
	s := mustOpen(t, d)
	for _, step := range [][2]string{{"", "one"}, {"one", "two"}} {
		if err := put(t, s, step[0], step[1]); err != nil {
			t.Fatal(err)
		}
	}
	image := d.Snapshot()
	if err := put(t, s, "two", "three"); err != nil {
		t.Fatal(err)
	}
	d.Restore(image)
	if _, err := s.Get(context.Background(), []byte("k")); !errors.Is(err, storage.ErrClosed) {
		t.Fatalf("the store of before a restore still answers: %v", err)
	}
	s = mustOpen(t, d)
	if got := get(t, s); got != "two" {
		t.Fatalf("after a restore: %q", got)
	}
	if err := put(t, s, "two", "another three"); err != nil {
		t.Fatal(err)
	}
	d.Restore(image) // an image is not used up
	if got := get(t, mustOpen(t, d)); got != "two" {
		t.Fatalf("after a second restore: %q", got)
	}

	d.Tamper([]byte("k"), func(v []byte) []byte { v[0] ^= 1; return v })
	s = mustOpen(t, d)
	if got := get(t, s); got != "uwo" {
		t.Fatalf("after tampering: %q", got)
	}
	d.Tamper([]byte("k"), func([]byte) []byte { return nil })
	if got := get(t, mustOpen(t, d)); got != "" {
		t.Fatalf("after tampering: %q", got)
	}
}

func TestSetLimits(t *testing.T) {
	d := memory.NewDisk()
	d.SetLimits(storage.Limits{Bytes: 10, Keys: 2})
	s := mustOpen(t, d)
	if err := put(t, s, "", "a head of many bytes"); !errors.Is(err, storage.ErrTooLarge) {
		t.Fatalf("got %v, want ErrTooLarge", err)
	}
}
