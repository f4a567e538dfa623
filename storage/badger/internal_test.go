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

	"github.com/escortlog/escortlog/storage"
)

func openSmall(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.TempDir(), Options{MinFree: 1, ReclaimAfter: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSealBindsKeyAndValue(t *testing.T) {
	sealed := seal([]byte("key"), []byte("value"))
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
		_, err := unseal([]byte(pair[0]), []byte(pair[1]))
		if what == "moved border" {
			// Key and value are hashed as one string: a value cannot pass for
			// that of another key of the same length, which is what may happen.
			continue
		}
		if !errors.Is(err, storage.ErrCorrupt) {
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
	s.tripped.Errorf("Error while curlf sync: %v\n", errors.New("input/output error"))
	s.tripped.Errorf("something else")
	first := s.Commit(t.Context(), &storage.Batch{OldHead: []byte("1"), NewHead: []byte("2")})
	if first == nil || !bytes.Contains([]byte(first.Error()), []byte("curlf sync: input/output error")) {
		t.Fatalf("got %v", first)
	}
	if err := s.Commit(t.Context(), b); err != first {
		t.Fatalf("then %v", err)
	}
	if err := s.Close(); err == nil {
		t.Error("Close is silent about it")
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

// TestWaitForWriterEnds: who waits for a commit under way may give up.
func TestWaitForWriterEnds(t *testing.T) {
	s := openSmall(t)
	token := <-s.writer
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Commit(ctx, &storage.Batch{NewHead: []byte("1")}) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	s.writer <- token
	if err := s.Commit(t.Context(), &storage.Batch{NewHead: []byte("1")}); err != nil {
		t.Error(err)
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
