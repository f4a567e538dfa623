package badger

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/storage"
)

// TestSyncsOfACommit: each commit syncs the WAL, and the value log if any value is for it.
func TestSyncsOfACommit(t *testing.T) {
	s := openSmall(t)
	var head []byte
	for i, length := range []int{1, valueThreshold - 5, valueThreshold - 4, valueThreshold} {
		values, wal := s.syncs.valuesSynced.Load(), s.syncs.walSynced.Load()
		next := fmt.Appendf(nil, "%d", i)
		b := &storage.Batch{OldHead: head, NewHead: next, Put: []storage.KV{
			{Key: []byte("a"), Value: bytes.Repeat([]byte("x"), length)}, {Key: []byte("b"), Value: []byte("short")}}}
		if err := s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		head = next
		// What stands before each value makes it 4 bytes longer.
		want := uint64(0)
		if length+4 >= valueThreshold {
			want = 1
		}
		if got := s.syncs.valuesSynced.Load() - values; got != want {
			t.Errorf("value of %d bytes: the value log was synced %d times, want %d", length, got, want)
		}
		if got := s.syncs.walSynced.Load() - wal; got != 1 {
			t.Errorf("value of %d bytes: the WAL was synced %d times", length, got)
		}
	}
}

// TestSilentEngine: when Badger does not say the words between which it is synced, nothing is taken for durable.
func TestSilentEngine(t *testing.T) {
	s := openSmall(t)
	s.tripped.syncs.Store(nil)
	b := &storage.Batch{NewHead: []byte("1"), Put: []storage.KV{{Key: []byte("a"), Value: []byte("x")}}}
	err := s.Commit(t.Context(), b)
	if err == nil || !strings.Contains(err.Error(), "has not let its write be synced") {
		t.Fatalf("Commit = %v", err)
	}
	s.tripped.syncs.Store(s.syncs)
	if again := s.Commit(t.Context(), b); again != err {
		t.Fatalf("then %v", again)
	}
	for _, words := range []string{saysValuesWritten, saysWALWritten} {
		s := openSmall(t)
		err := s.syncs.during(true, func() error {
			s.tripped.Debugf(words)
			return nil
		})
		if err == nil {
			t.Errorf("only %q was said, and that was enough", words)
		}
	}
}

// TestSyncsOfReclaim: what is moved to another value log is synced there before the WAL says so, also where the last
// commit had nothing for a value log.
func TestSyncsOfReclaim(t *testing.T) {
	dir, o := FastDir(t), Options{MinFree: 1, ReclaimAfter: -1}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	long := bytes.Repeat([]byte("x"), 1<<20)
	b := &storage.Batch{NewHead: []byte("1"), Put: []storage.KV{{Key: []byte("dead"), Value: long}, {Key: []byte("alive"), Value: long[:2000]}}}
	if err := s.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, o); err != nil { // what is written next goes to another value log
		t.Fatal(err)
	}
	defer s.Close()
	if s.syncs.values.file == nil || s.syncs.wal.file == nil {
		t.Error("an opened store does not know what it writes to next")
	}
	b = &storage.Batch{OldHead: []byte("1"), NewHead: []byte("2"), Delete: [][]byte{[]byte("dead")}}
	if err := s.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	values := s.syncs.valuesSynced.Load()
	if err := s.Reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.syncs.valuesSynced.Load() - values; got != 1 {
		t.Errorf("the value log was synced %d times while a value was moved, want once", got)
	}
}

// TestLogTail: files that have come since the last sync are synced with it, and their names, whatever has become of those
// between.
func TestLogTail(t *testing.T) {
	dir := t.TempDir()
	create := func(id int) string {
		path := filepath.Join(dir, fmt.Sprintf("%05d.mem", id))
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tail := &newSyncer(dir).wal
	defer tail.close()
	named := uint64(0) // the tail when the names were synced
	tail.names = func(string) error { named = tail.id; return nil }
	want := func(id uint64) {
		t.Helper()
		if err := tail.sync(); err != nil {
			t.Fatal(err)
		}
		if named != id {
			t.Errorf("the tail is %d, and names are durable up to %d", id, named)
		}
		if tail.id != id || tail.file == nil || filepath.Base(tail.file.Name()) != fmt.Sprintf("%05d.mem", id) {
			t.Fatalf("the tail is %d, want %d", tail.id, id)
		}
	}
	create(1)
	create(2)
	want(2)
	between := create(3)
	create(10)
	if err := os.Remove(between); err != nil {
		t.Fatal(err)
	}
	want(10)
	want(10)
	create(11)
	want(11)
	named = 0
	if err := tail.sync(); err != nil || named != 0 {
		t.Errorf("nothing is new, and names were synced: %v", err)
	}
	// One that cannot be synced, and one behind it.
	if err := os.Symlink(os.DevNull, filepath.Join(dir, "00012.mem")); err != nil {
		t.Fatal(err)
	}
	create(13)
	if err := tail.sync(); err == nil || tail.id != 11 {
		t.Errorf("one of the files was not synced: %v, the tail is %d", err, tail.id)
	}
	if err := tail.goOn(fileInfo{path: between, id: 12}); err != nil || tail.id != 11 {
		t.Errorf("a WAL that is gone: %v, the tail is %d", err, tail.id)
	}
}
