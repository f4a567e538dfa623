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

// TestLogTail: files that have come since the last sync are synced with it, whatever has become of those between.
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
	want := func(id uint64) {
		t.Helper()
		if err := tail.sync(); err != nil {
			t.Fatal(err)
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
	if err := tail.goOn(fileInfo{path: between, id: 12}); err != nil || tail.id != 11 {
		t.Errorf("a WAL that is gone: %v, the tail is %d", err, tail.id)
	}
}
