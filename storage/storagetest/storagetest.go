package storagetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/escortlog/escortlog/storage"
)

// Opener opens the store of one test. Called again after a Close it opens the
// same store; it fails the test when it cannot.
type Opener func(t *testing.T) storage.Store

// Run runs the suite. fresh is called once a test and gives it an Opener for a
// store of its own, empty at first.
func Run(t *testing.T, fresh func(t *testing.T) Opener) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, open Opener)
	}{
		{"Empty", testEmpty},
		{"HeadSwap", testHeadSwap},
		{"HeadMovedAppliesNothing", testHeadMovedAppliesNothing},
		{"HeadMayStay", testHeadMayStay},
		{"PutDeleteOverwrite", testPutDeleteOverwrite},
		{"InvalidBatches", testInvalidBatches},
		{"Copies", testCopies},
		{"EmptyValue", testEmptyValue},
		{"LargeValues", testLargeValues},
		{"LimitsTellTheTruth", testLimitsTellTheTruth},
		{"TooLargeAppliesNothing", testTooLargeAppliesNothing},
		{"ScanOrderAndBounds", testScanOrderAndBounds},
		{"ScanReservedLookingKeys", testScanReservedLookingKeys},
		{"ScanStops", testScanStops},
		{"ScanSnapshot", testScanSnapshot},
		{"ScanMayReadAndCommit", testScanMayReadAndCommit},
		{"ContextEnded", testContextEnded},
		{"Reopen", testReopen},
		{"ReopenMany", testReopenMany},
		{"UseAfterClose", testUseAfterClose},
		{"ConcurrentReaders", testConcurrentReaders},
		{"ConcurrentWriters", testConcurrentWriters},
		{"CloseDuringUse", testCloseDuringUse},
		{"Random", testRandom},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, fresh(t)) })
	}
}

func kv(key, value string) storage.KV {
	return storage.KV{Key: []byte(key), Value: []byte(value)}
}

// writer commits to a store, numbering the heads.
type writer struct {
	t     *testing.T
	store storage.Store
	head  []byte // nil before the first commit
}

func newWriter(t *testing.T, s storage.Store) *writer {
	t.Helper()
	head, err := s.Get(t.Context(), storage.HeadKey)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		t.Fatal(err)
	}
	return &writer{t: t, store: s, head: head}
}

// try commits, and moves the head when that succeeded.
func (w *writer) try(put []storage.KV, del ...string) error {
	n, _ := strconv.Atoi(string(w.head))
	b := &storage.Batch{OldHead: w.head, NewHead: strconv.AppendInt(nil, int64(n)+1, 10), Put: put}
	for _, k := range del {
		b.Delete = append(b.Delete, []byte(k))
	}
	err := w.store.Commit(w.t.Context(), b)
	if err == nil {
		w.head = b.NewHead
	}
	return err
}

func (w *writer) commit(put []storage.KV, del ...string) {
	w.t.Helper()
	if err := w.try(put, del...); err != nil {
		w.t.Fatalf("Commit: %v", err)
	}
}

func (w *writer) put(kvs ...storage.KV) { w.t.Helper(); w.commit(kvs) }

// all returns every pair but the head.
func all(t *testing.T, s storage.Store) []storage.KV {
	t.Helper()
	return slices.DeleteFunc(scan(t, s, nil, nil), func(p storage.KV) bool {
		return bytes.Equal(p.Key, storage.HeadKey)
	})
}

func scan(t *testing.T, s storage.Store, start, end []byte) []storage.KV {
	t.Helper()
	var got []storage.KV
	err := s.Scan(t.Context(), start, end, func(k, v []byte) error {
		got = append(got, storage.KV{Key: bytes.Clone(k), Value: bytes.Clone(v)})
		return nil
	})
	if err != nil {
		t.Fatalf("Scan(%q, %q): %v", start, end, err)
	}
	return got
}

func wantGet(t *testing.T, s storage.Store, key, value string) {
	t.Helper()
	got, err := s.Get(t.Context(), []byte(key))
	if err != nil {
		t.Fatalf("Get(%q): %v", key, err)
	}
	if string(got) != value {
		t.Fatalf("Get(%q) = %d bytes %.40q, want %d bytes %.40q", key, len(got), got, len(value), value)
	}
}

func wantMissing(t *testing.T, s storage.Store, key string) {
	t.Helper()
	if got, err := s.Get(t.Context(), []byte(key)); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("Get(%q) = %.40q, %v; want ErrNotFound", key, got, err)
	}
}

func wantPairs(t *testing.T, got, want []storage.KV) {
	t.Helper()
	equal := func(a, b storage.KV) bool { return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) }
	if !slices.EqualFunc(got, want, equal) {
		t.Fatalf("got %d pairs %.300q\nwant %d pairs %.300q", len(got), got, len(want), want)
	}
}

func mustClose(t *testing.T, s storage.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// with opens the store for one test and closes it at the end.
func with(t *testing.T, open Opener) storage.Store {
	t.Helper()
	s := open(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, storage.ErrClosed) {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
