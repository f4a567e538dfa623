package badger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage"
)

func openSmall(t *testing.T) *Store {
	t.Helper()
	s, err := Open(FastDir(t), Options{MinFree: 1, ReclaimAfter: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSealBindsKeyAndValue(t *testing.T) {
	sealed := seal(nil, []byte("key"), []byte("value"))
	if v, err := unseal([]byte("key"), sealed); err != nil || string(v) != "value" {
		t.Fatalf("%q, %v", v, err)
	}
	for i := range 8 * len(sealed) {
		bad := bytes.Clone(sealed)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := unseal([]byte("key"), bad); !errors.Is(err, storage.ErrCorrupt) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
	for what, pair := range map[string][2]string{
		"another key":              {"kez", string(sealed)},
		"nothing, as Badger reads": {"key", ""},
		"cut":                      {"key", string(sealed[:3])},
		"moved border":             {"keyv", string(sealed[:4]) + "alue"},
	} {
		if _, err := unseal([]byte(pair[0]), []byte(pair[1])); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestCompactionThatLosesAKey: sameKeys tells a lost, a new and a changed key.
func TestCompactionThatLosesAKey(t *testing.T) {
	s := openSmall(t)
	var head []byte
	commit := func(put, del string) {
		t.Helper()
		b := &storage.Batch{OldHead: head, NewHead: append(bytes.Clone(head), 'x')}
		if put != "" {
			b.Put = []storage.KV{{Key: []byte(put), Value: []byte("v")}}
		}
		if del != "" {
			b.Delete = [][]byte{[]byte(del)}
		}
		if err := s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		head = b.NewHead
	}
	at := func() *snapshot {
		r, err := s.snapshot()
		if err != nil {
			t.Fatal(err)
		}
		r.iterator()
		t.Cleanup(r.close)
		return r
	}
	commit("a", "")
	commit("z", "")
	one, same := at(), at()
	if err := sameKeys(one, same); err != nil {
		t.Fatal(err)
	}
	// The head differs in each of these.
	commit("b", "")
	if err := sameKeys(one, at()); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("a new key: %v", err)
	}
	commit("", "b")
	commit("", "z")
	if err := sameKeys(one, at()); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("a key lost at the end: %v", err)
	}
	if err := sameKeys(at(), one); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("a key come at the end: %v", err)
	}
}

func TestTripwireStopsCommits(t *testing.T) {
	s := openSmall(t)
	b := &storage.Batch{NewHead: []byte("1")}
	// What Badger 4.9.6 says when a read fails concerns that read only.
	s.tripped.Errorf("Unable to read: Key: %v, Version : %v, meta: %v, userMeta: %v Error: %v", 1, 2, 3, 4, "x")
	if err := s.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	s.tripped.Errorf("the first thing: %v", errors.New("input/output error"))
	s.tripped.Errorf("something else")
	if pin := s.pin; s.renewPin() == nil || s.pin != pin {
		t.Error("what is dead is removed although what replaces it may not be durable")
	}
	first := s.Commit(t.Context(), &storage.Batch{OldHead: []byte("1"), NewHead: []byte("2")})
	if first == nil || !bytes.Contains([]byte(first.Error()), []byte("the first thing: input/output error")) {
		t.Fatalf("got %v", first)
	}
	if err := s.Commit(t.Context(), b); err != first {
		t.Fatalf("then %v", err)
	}
	if err := s.Close(); err == nil {
		t.Error("Close is silent about it")
	}
}

// TestUnsettledNames: where time stamps are coarse, a file created right after a
// sync leaves the directory with the time it had before.
func TestUnsettledNames(t *testing.T) {
	s := openSmall(t)
	token := <-s.writer
	defer func() { s.writer <- token }()
	now := time.Now()
	if err := os.Chtimes(s.dir, now, now); err != nil {
		t.Fatal(err)
	}
	for round, wantSync := range []bool{true, true, false} {
		old := s.pin
		if err := s.syncNames(); err != nil {
			t.Fatal(err)
		}
		if got := s.pin != old; got != wantSync {
			t.Errorf("round %d: synced: %v, want %v", round, got, wantSync)
		}
		if round == 0 {
			now = now.Add(-2 * tick) // as if time had passed
			if err := os.Chtimes(s.dir, now, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	now = time.Now()
	if err := os.Chtimes(s.dir, now, now); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		old := s.pin
		if err := s.syncNames(); err != nil {
			t.Fatal(err)
		}
		if s.pin == old {
			t.Error("not synced, and yet a file may have come within the same tick")
		}
	}
}

// TestSnapshotSurvivesReclaim: what is being read is not discarded.
func TestSnapshotSurvivesReclaim(t *testing.T) {
	s := openSmall(t)
	put := func(old, value string) {
		t.Helper()
		b := &storage.Batch{NewHead: []byte(value), Put: []storage.KV{{Key: []byte("k"), Value: []byte(value)}}}
		if old != "" {
			b.OldHead = []byte(old)
		}
		if err := s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	put("", "one")
	r, err := s.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	put("one", "two")
	for range 2 {
		if err := s.Reclaim(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	item, err := r.txn.Get(userKey([]byte("k")))
	if err != nil {
		t.Fatal(err)
	}
	if sealed, err := item.ValueCopy(nil); err != nil || string(sealed[4:]) != "one" {
		t.Errorf("an old snapshot reads %q, %v", sealed, err)
	}
	r.close()
}

// TestIndexIsCheckedAgain: damage to the index of a table, which holds the
// filter of its keys, is noticed also when it comes later.
func TestIndexIsCheckedAgain(t *testing.T) {
	s := openSmall(t)
	b := &storage.Batch{NewHead: []byte("h"), Put: []storage.KV{{Key: []byte("a")}, {Key: []byte("z")}}}
	if err := s.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if err := s.Reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	get := func() error { _, err := s.Get(t.Context(), []byte("k")); return err }
	if err := get(); !errors.Is(err, storage.ErrNotFound) {
		t.Fatal(err)
	}
	for _, table := range s.tables.open {
		f, err := os.OpenFile(table.path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("damage"), info.Size()-60); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		table.indexRead = time.Now().Add(-2 * recheckIndex)
	}
	if err := get(); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
}

// TestNamesAreSyncedAfterChanges: any file created after a sync makes the next
// one happen, however soon it is created.
func TestNamesAreSyncedAfterChanges(t *testing.T) {
	s := openSmall(t)
	token := <-s.writer
	defer func() { s.writer <- token }()
	for i := range 50 {
		if err := s.syncNames(); err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			time.Sleep(2 * tick)
			if err := s.syncNames(); err != nil {
				t.Fatal(err)
			}
			old := s.pin
			if err := s.syncNames(); err != nil {
				t.Fatal(err)
			}
			if s.pin != old {
				t.Fatal("an unchanged directory was synced again")
			}
		}
		old := s.pin
		if err := os.WriteFile(filepath.Join(s.dir, "x"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(s.dir, "x")); err != nil {
			t.Fatal(err)
		}
		if err := s.syncNames(); err != nil {
			t.Fatal(err)
		}
		if s.pin == old {
			t.Fatalf("round %d: a change was not noticed", i)
		}
		if i == 5 {
			break
		}
	}
}

// TestWaitForWriterEnds: who waits for a commit under way may give up, and is
// let go by Close.
func TestWaitForWriterEnds(t *testing.T) {
	s := openSmall(t)
	token := <-s.writer
	wait := func(ctx context.Context) chan error {
		done := make(chan error, 1)
		go func() { done <- s.Commit(ctx, &storage.Batch{NewHead: []byte("1")}) }()
		return done
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := wait(ctx)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	done = wait(context.Background())
	time.Sleep(10 * time.Millisecond) // it should be waiting by now; if not the test proves less
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	if err := <-done; !errors.Is(err, storage.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	s.writer <- token
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// TestWrittenAhead: small commits, but for one in dozens, have no new block of the
// WAL allocated, in this WAL and in the next.
func TestWrittenAhead(t *testing.T) {
	s := openSmall(t)
	var head []byte
	commit := func() {
		t.Helper()
		next := append(bytes.Clone(head), 'x')
		put := []storage.KV{{Key: next, Value: make([]byte, 700)}}
		if err := s.Commit(t.Context(), &storage.Batch{OldHead: head, NewHead: next, Put: put}); err != nil {
			t.Fatal(err)
		}
		head = next
	}
	allocated := func() int64 {
		t.Helper()
		files, err := listFiles(s.dir)
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(files.wals[len(files.wals)-1].path, &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks
	}
	for range 2 {
		commit()
		before := allocated()
		for range 40 {
			commit()
		}
		if after := allocated(); after != before {
			t.Errorf("%d blocks of 512 bytes before 40 small commits, %d after", before, after)
		}
		if err := s.Reclaim(t.Context()); err != nil { // begins a new one
			t.Fatal(err)
		}
	}
}

func makeRecord(meta byte, key, value string) []byte {
	b := []byte{meta, 0}
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = binary.AppendUvarint(b, uint64(len(value)))
	b = binary.AppendUvarint(b, 0)
	b = append(append(b, key...), value...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func TestEndsIn(t *testing.T) {
	end := func(v string) []byte { return makeRecord(metaEndTxn, "!badger!txn12345678", v) }
	data := bytes.Join([][]byte{[]byte("torn"), end("41"), makeRecord(metaInTxn, "key", "!badger!txn"), end("42"), end("x")}, nil)
	ends := endsIn(data)
	if len(ends) != 2 || ends[0] != 41 || ends[1] != 42 {
		t.Errorf("got %v", ends)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(makeRecord(0, "key", "value"))
	f.Add(makeRecord(metaEndTxn, "!badger!txn12345678", "17"))
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0})
	f.Add([]byte{0, 0, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := parseRecord(data)
		if r.size > len(data) || r.size > 0 && len(r.key) == 0 {
			t.Fatalf("%d bytes hold a record of %d with a key of %d", len(data), r.size, len(r.key))
		}
		endsIn(data)
	})
}
