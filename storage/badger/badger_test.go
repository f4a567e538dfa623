package badger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/badger"
	"github.com/escortlog/escortlog/storage/storagetest"
)

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Opener {
		dir := filepath.Join(badger.FastDir(t), "made", "by Open")
		return func(t *testing.T) storage.Store { return mustOpen(t, dir, badger.Options{MinFree: 1}) }
	})
}

func commitSteps(t testing.TB, s storage.Store, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		if err := s.Commit(context.Background(), step(n)); err != nil {
			t.Fatalf("commit %d: %v", n, err)
		}
	}
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, small)
	if _, err := badger.Open(dir, small); !errors.Is(err, badger.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("a second store in this process: %v, want ErrInUse and the directory", err)
	}
	commitSteps(t, s, 1, 1)
	mustClose(t, s)

	// Another process.
	cmd, lines := child(t, "load", dir)
	nextNumber(t, lines)
	if _, err := badger.Open(dir, small); !errors.Is(err, badger.ErrInUse) {
		t.Fatalf("while another process has it: %v, want ErrInUse", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()

	// A foreign Badger takes Badger's lock only.
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := badger.Open(dir, small); !errors.Is(err, badger.ErrInUse) {
		t.Fatalf("while a foreign Badger has it: %v, want ErrInUse", err)
	}
	f.Close()
	mustOpen(t, dir, small)
}

func TestFull(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, small)
	commitSteps(t, s, 1, 3)
	mustClose(t, s)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	free := int64(st.Bavail) * int64(st.Bsize)

	if _, err := badger.Open(dir, badger.Options{MinFree: 4 * free}); !errors.Is(err, storage.ErrFull) {
		t.Fatalf("Open: %v, want ErrFull", err)
	}
	s = mustOpen(t, dir, badger.Options{MinFree: free + free/2})
	for range 2 { // it does not stop the store
		if err := s.Commit(t.Context(), step(4)); !errors.Is(err, storage.ErrFull) {
			t.Fatalf("Commit: %v, want ErrFull", err)
		}
	}
	if err := s.Space(); !errors.Is(err, storage.ErrFull) {
		t.Errorf("Space: %v, want ErrFull", err)
	}
	if got, err := content(s); err != nil || got != after(3) {
		t.Fatalf("reads with a full disk: %v", err)
	}
	mustClose(t, s)
}

// TestDamageWhileOpen damages files under a running store.
func TestDamageWhileOpen(t *testing.T) {
	prepare := func(t *testing.T) (*badger.Store, string) {
		dir := badger.FastDir(t)
		s := mustOpen(t, dir, small)
		commitSteps(t, s, 1, 5)
		mustClose(t, s) // makes a table
		s = mustOpen(t, dir, small)
		return s, dir
	}
	// The table's first block holds all keys, from byte 0.
	breakTable := func(t *testing.T, dir string) {
		writeAt(t, filepath.Join(dir, fileOf(t, dir, ".sst", 0)), 30, "damage")
	}
	corrupt := func(t *testing.T, what string, err error) {
		t.Helper()
		if !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", what, err)
		}
	}
	all := func(_, _ []byte) error { return nil }

	t.Run("table", func(t *testing.T) {
		s, dir := prepare(t)
		breakTable(t, dir)
		for _, key := range []string{"same/short", "same/long", "never there"} {
			_, err := s.Get(t.Context(), []byte(key))
			corrupt(t, "Get("+key+")", err)
		}
		corrupt(t, "Scan", s.Scan(t.Context(), nil, nil, all))
		corrupt(t, "Scan of a part", s.Scan(t.Context(), []byte("same"), []byte("same0"), all))
		if _, err := s.Get(t.Context(), []byte("zzz beyond the table")); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("a key that cannot be in the damaged table: %v, want ErrNotFound", err)
		}
		commitSteps(t, s, 6, 6) // what is new can be written, and read
		if v, err := s.Get(t.Context(), []byte("same/short")); err != nil || string(v) != "same/short=6;" {
			t.Errorf("a new value: %q, %v", v, err)
		}
		corrupt(t, "Reclaim", s.Reclaim(t.Context()))
		corrupt(t, "Commit after Reclaim found damage", s.Commit(t.Context(), step(7)))
		corrupt(t, "Close", s.Close())
	})
	t.Run("index", func(t *testing.T) {
		s, dir := prepare(t)
		path := filepath.Join(dir, fileOf(t, dir, ".sst", 0))
		writeAt(t, path, size(t, path)-100, "damage")
		_, err := s.Get(t.Context(), []byte("never there"))
		corrupt(t, "Get", err)
	})
	t.Run("value log", func(t *testing.T) {
		s, dir := prepare(t)
		path := filepath.Join(dir, fileOf(t, dir, ".vlog", 0))
		// The last two records, of 2.4 and 2.7 kB, in no certain order.
		writeAt(t, path, size(t, path)-1000, "damage")
		writeAt(t, path, size(t, path)-4000, "damage")
		_, err := s.Get(t.Context(), []byte("added/0005/long"))
		corrupt(t, "Get", err)
		corrupt(t, "Scan", s.Scan(t.Context(), nil, nil, all))
		if _, err := s.Get(t.Context(), []byte("same/short")); err != nil {
			t.Errorf("a value beside the damage: %v", err)
		}
		commitSteps(t, s, 6, 6)
	})
	t.Run("page that cannot be read", func(t *testing.T) {
		s, dir := prepare(t)
		// Beyond the end of the file a mapped page faults, as one does that the
		// disk does not give.
		if err := os.Truncate(filepath.Join(dir, fileOf(t, dir, ".vlog", 0)), 20); err != nil {
			t.Fatal(err)
		}
		_, err := s.Get(t.Context(), []byte("added/0005/long"))
		corrupt(t, "Get", err)
		corrupt(t, "Scan", s.Scan(t.Context(), nil, nil, all))
		if v, err := s.Get(t.Context(), []byte("same/short")); err != nil || string(v) != "same/short=5;" {
			t.Errorf("a value that is not there: %q, %v", v, err)
		}
		corrupt(t, "Commit after a fault", s.Commit(t.Context(), step(6)))
		if err := s.Close(); err == nil {
			t.Log("Badger closed after a fault")
		}
	})
}

func writeAt(t *testing.T, path string, offset int64, s string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(s), offset); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// onDisk returns the bytes that the files of dir occupy.
func onDisk(t *testing.T, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			total += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// sealer writes runs and replaces them by less, as the log does.
type sealer struct {
	t     *testing.T
	store *badger.Store
	head  []byte
	n     int // values sealed
}

var run = bytes.Repeat([]byte("0123456789abcdef"), 10_000) // 160 kB

func (s *sealer) key(prefix string, i int) []byte { return fmt.Appendf(nil, "%s%06d", prefix, i) }
func (s *sealer) value(i int) []byte              { return run[:20_000+i] }

func (s *sealer) commit(put []storage.KV, del [][]byte) {
	s.t.Helper()
	n, _ := strconv.Atoi(string(s.head))
	next := strconv.AppendInt(nil, int64(n)+1, 10)
	if err := s.store.Commit(s.t.Context(), &storage.Batch{OldHead: s.head, NewHead: next, Put: put, Delete: del}); err != nil {
		s.t.Fatal(err)
	}
	s.head = next
}

// seal writes 64 MB of runs, a value log, and what replaces them.
func (s *sealer) seal() {
	s.t.Helper()
	for range 10 {
		var runs, sealed []storage.KV
		var del [][]byte
		for range 40 {
			runs = append(runs, storage.KV{Key: s.key("run", s.n), Value: run})
			sealed = append(sealed, storage.KV{Key: s.key("sealed", s.n), Value: s.value(s.n)})
			del = append(del, s.key("run", s.n))
			s.n++
		}
		s.commit(runs, nil)
		s.commit(sealed, del)
	}
}

// check scans what is sealed, and calls first after the first value.
func (s *sealer) check(first func()) {
	s.t.Helper()
	n := 0
	err := s.store.Scan(s.t.Context(), []byte("i"), nil, func(k, v []byte) error {
		if n == 0 && first != nil {
			first()
		}
		if !bytes.Equal(k, s.key("sealed", n)) || !bytes.Equal(v, s.value(n)) {
			return fmt.Errorf("key %d is %q with %d bytes", n, k, len(v))
		}
		n++
		return nil
	})
	if err != nil || n != s.n {
		s.t.Fatalf("%d values of %d: %v", n, s.n, err)
	}
}

func (s *sealer) reclaim() {
	s.t.Helper()
	if err := s.store.Reclaim(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func TestReclaim(t *testing.T) {
	dir := badger.FastDir(t)
	s := &sealer{t: t, store: mustOpen(t, dir, small)}
	s.reclaim() // of nothing
	s.seal()
	s.check(nil)
	before := onDisk(t, dir)
	// A scan that is under way keeps what it sees, also what is deleted then,
	// and the values of files that are collected.
	s.check(func() {
		s.commit([]storage.KV{{Key: s.key("sealed", 1), Value: run}}, [][]byte{s.key("sealed", 2)})
		s.reclaim()
	})
	s.commit([]storage.KV{{Key: s.key("sealed", 1), Value: s.value(1)}, {Key: s.key("sealed", 2), Value: s.value(2)}}, nil)
	s.reclaim()
	s.check(nil)
	after := onDisk(t, dir)
	if after > before/4 {
		t.Errorf("%d bytes on the disk, %d before", after, before)
	}
	mustClose(t, s.store)
	s.store = mustOpen(t, dir, small)
	s.check(nil)
	s.reclaim()
	s.check(nil)
	t.Logf("%d bytes on the disk, %d before", after, before)
}

// TestReclaimKeepsDamagedValueLog: Badger takes a damaged record for the end of
// its file, and would remove the file with all that follows.
func TestReclaimKeepsDamagedValueLog(t *testing.T) {
	dir := badger.FastDir(t)
	s := &sealer{t: t, store: mustOpen(t, dir, small)}
	s.seal()
	// The first record is a dead one, of a run.
	writeAt(t, filepath.Join(dir, fileOf(t, dir, ".vlog", 0)), 1000, "damage")
	s.reclaim()
	s.check(nil)
	mustClose(t, s.store)
	s.store = mustOpen(t, dir, small)
	s.check(nil)
}

// TestReclaimByItself: a store that has been opened often compacts its tables.
func TestReclaimByItself(t *testing.T) {
	dir := badger.FastDir(t)
	for n := 1; n <= 20; n++ {
		s := mustOpen(t, dir, badger.Options{MinFree: 1})
		commitSteps(t, s, n, n)
		mustClose(t, s)
	}
	s := mustOpen(t, dir, badger.Options{MinFree: 1})
	deadline := time.Now().Add(time.Minute)
	for {
		tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
		if err != nil {
			t.Fatal(err)
		}
		if len(tables) <= 8 { // one of what is compacted, and what may stay beside it
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d tables", len(tables))
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got, err := content(s); err != nil || got != after(20) {
		t.Fatalf("%v:\n%.500s", err, got)
	}
}

// TestReclaimWhenIdle: a store to which nothing comes reclaims space that is far from
// Options.ReclaimAfter.
func TestReclaimWhenIdle(t *testing.T) {
	dir := badger.FastDir(t)
	s := &sealer{t: t, store: mustOpen(t, dir, badger.Options{MinFree: 1, ReclaimIdle: 50 * time.Millisecond})}
	s.seal()
	before := onDisk(t, dir)
	for deadline := time.Now().Add(time.Minute); onDisk(t, dir) > before/2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes on the disk, %d before", onDisk(t, dir), before)
		}
	}
	s.check(nil)
}

// TestEmptyValueLogs: every opening begins a value log. Those without a record do not
// pile up, whether the store is closed or killed.
func TestEmptyValueLogs(t *testing.T) {
	dir := badger.FastDir(t)
	s := mustOpen(t, dir, small)
	commitSteps(t, s, 1, 1)
	mustClose(t, s)
	for range 4 {
		mustClose(t, mustOpen(t, dir, small))
		s := mustOpen(t, dir, small)
		dir = copyDir(t, dir)
		mustClose(t, s)
		paths, err := filepath.Glob(filepath.Join(dir, "*.vlog"))
		if err != nil {
			t.Fatal(err)
		}
		// The one with a record, the one being written, and the one before that.
		if len(paths) > 3 {
			t.Errorf("%d value logs, of which one holds a record", len(paths))
		}
	}
	if got, err := content(mustOpen(t, dir, small)); err != nil || got != after(1) {
		t.Errorf("%v:\n%.500s", err, got)
	}
}

// TestBadgerIsQuiet: what Badger says stands at debug level, and nothing on
// standard error.
func TestBadgerIsQuiet(t *testing.T) {
	var info, debug bytes.Buffer
	for level, out := range map[slog.Level]*bytes.Buffer{slog.LevelInfo: &info, slog.LevelDebug: &debug} {
		logger := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}))
		s := mustOpen(t, badger.FastDir(t), badger.Options{MinFree: 1, Logger: logger})
		commitSteps(t, s, 1, 2)
		mustClose(t, s)
	}
	if info.Len() > 0 || !strings.Contains(debug.String(), "badger: ") {
		t.Errorf("at info level:\n%s\nat debug level:\n%.500s", &info, &debug)
	}
}

func TestNoGoroutineLeft(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := badger.FastDir(t)
	s := mustOpen(t, dir, badger.Options{MinFree: 1})
	commitSteps(t, s, 1, 3)
	if err := s.Reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if _, err := badger.Open(dir, badger.Options{MinFree: 1 << 62}); !errors.Is(err, storage.ErrFull) {
		t.Fatal(err)
	}
}
