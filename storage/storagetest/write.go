package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/storage"
)

func testEmpty(t *testing.T, open Opener) {
	s := with(t, open)
	wantMissing(t, s, "head")
	wantMissing(t, s, "x")
	wantPairs(t, scan(t, s, nil, nil), nil)
}

func testHeadSwap(t *testing.T, open Opener) {
	s := with(t, open)
	commit := func(old, new string) error {
		b := &storage.Batch{NewHead: []byte(new)}
		if old != "" {
			b.OldHead = []byte(old)
		}
		return s.Commit(t.Context(), b)
	}
	if err := commit("zero", "one"); !errors.Is(err, storage.ErrHeadMoved) {
		t.Fatalf("a head expected in an empty store: %v, want ErrHeadMoved", err)
	}
	if err := commit("", "one"); err != nil {
		t.Fatal(err)
	}
	wantGet(t, s, "head", "one")
	if err := commit("", "two"); !errors.Is(err, storage.ErrHeadMoved) {
		t.Fatalf("no head expected in a store that has one: %v, want ErrHeadMoved", err)
	}
	if err := commit("one", "two"); err != nil {
		t.Fatal(err)
	}
	if err := commit("one", "three"); !errors.Is(err, storage.ErrHeadMoved) {
		t.Fatalf("an older head expected: %v, want ErrHeadMoved", err)
	}
	if err := commit("twoo", "three"); !errors.Is(err, storage.ErrHeadMoved) {
		t.Fatalf("a head expected that begins like the real one: %v, want ErrHeadMoved", err)
	}
	wantGet(t, s, "head", "two")
	if err := commit("two", "three"); err != nil {
		t.Fatalf("the right head after refusals: %v", err)
	}
	wantGet(t, s, "head", "three")
}

func testHeadMovedAppliesNothing(t *testing.T, open Opener) {
	s := with(t, open)
	w := newWriter(t, s)
	w.put(kv("a", "1"), kv("b", "1"))
	before := scan(t, s, nil, nil)
	err := s.Commit(t.Context(), &storage.Batch{
		OldHead: []byte("wrong"), NewHead: []byte("new"),
		Put: []storage.KV{kv("a", "2"), kv("c", "2")}, Delete: [][]byte{[]byte("b")},
	})
	if !errors.Is(err, storage.ErrHeadMoved) {
		t.Fatalf("got %v, want ErrHeadMoved", err)
	}
	wantPairs(t, scan(t, s, nil, nil), before)
	mustClose(t, s)
	wantPairs(t, scan(t, with(t, open), nil, nil), before)
}

func testHeadMayStay(t *testing.T, open Opener) {
	s := with(t, open)
	for i := range 3 {
		b := &storage.Batch{NewHead: []byte("same"), Put: []storage.KV{kv("k", fmt.Sprint(i))}}
		if i > 0 {
			b.OldHead = []byte("same")
		}
		if err := s.Commit(t.Context(), b); err != nil {
			t.Fatalf("commit %d: %v", i, err)
		}
		wantGet(t, s, "k", fmt.Sprint(i))
	}
}

func testPutDeleteOverwrite(t *testing.T, open Opener) {
	s := with(t, open)
	w := newWriter(t, s)
	w.put(kv("a", "1"), kv("b", "2"), kv("c", "3"))
	w.commit([]storage.KV{kv("a", "one"), kv("d", "4")}, "b", "never there")
	wantPairs(t, all(t, s), []storage.KV{kv("a", "one"), kv("c", "3"), kv("d", "4")})
	wantMissing(t, s, "b")
	w.put(kv("b", "again"))
	wantPairs(t, all(t, s), []storage.KV{kv("a", "one"), kv("b", "again"), kv("c", "3"), kv("d", "4")})
	w.commit(nil, "a", "b", "c", "d")
	wantPairs(t, all(t, s), nil)
	w.put()
	wantGet(t, s, "head", string(w.head))
}

// testInvalidBatches: mistakes of the caller are refused, apply nothing, and do
// not stop the store.
func testInvalidBatches(t *testing.T, open Opener) {
	s := with(t, open)
	w := newWriter(t, s)
	w.put(kv("a", "1"))
	long := strings.Repeat("k", 1<<16)
	for name, b := range map[string]*storage.Batch{
		"put and delete of one key": {Put: []storage.KV{kv("a", "2"), kv("x", "")}, Delete: [][]byte{[]byte("x")}},
		"two puts of one key":       {Put: []storage.KV{kv("x", "1"), kv("x", "1")}},
		"two deletes of one key":    {Delete: [][]byte{[]byte("a"), []byte("a")}},
		"put of the head":           {Put: []storage.KV{kv("head", "x")}},
		"delete of the head":        {Delete: [][]byte{storage.HeadKey}},
		"empty key":                 {Put: []storage.KV{kv("a", "2"), kv("", "x")}},
		"empty key deleted":         {Delete: [][]byte{{}, []byte("a")}},
		"key too long":              {Put: []storage.KV{kv("a", "2"), kv(long, "x")}},
	} {
		b.OldHead, b.NewHead = w.head, []byte("new")
		if err := s.Commit(t.Context(), b); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	for _, head := range [][]byte{nil, {}} {
		if err := s.Commit(t.Context(), &storage.Batch{OldHead: w.head, NewHead: head}); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("no new head: %v, want ErrInvalid", err)
		}
	}
	wantPairs(t, all(t, s), []storage.KV{kv("a", "1")})
	wantGet(t, s, "head", string(w.head))
	w.put(kv("a", "2"))
	wantGet(t, s, "a", "2")
}

// testCopies: the store keeps no slice of the caller and gives none of its own.
func testCopies(t *testing.T, open Opener) {
	s := with(t, open)
	head, key, value := []byte("head value"), []byte("key"), []byte("value")
	b := &storage.Batch{NewHead: head, Put: []storage.KV{{Key: key, Value: value}}}
	if err := s.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for _, p := range [][]byte{head, key, value} {
		clear(p)
	}
	wantGet(t, s, "head", "head value")
	wantGet(t, s, "key", "value")
	got, err := s.Get(t.Context(), []byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	wantGet(t, s, "key", "value")
	if err := s.Commit(t.Context(), &storage.Batch{OldHead: []byte("head value"), NewHead: []byte("2")}); err != nil {
		t.Fatalf("the head the store compares with changed under it: %v", err)
	}
}

func testEmptyValue(t *testing.T, open Opener) {
	s := with(t, open)
	w := newWriter(t, s)
	w.put(storage.KV{Key: []byte("nil")}, kv("empty", ""), kv("full", "x"))
	check := func(s storage.Store) {
		t.Helper()
		wantGet(t, s, "nil", "")
		wantGet(t, s, "empty", "")
		wantPairs(t, all(t, s), []storage.KV{kv("empty", ""), kv("full", "x"), kv("nil", "")})
	}
	check(s)
	mustClose(t, s)
	check(with(t, open))
}

func testLargeValues(t *testing.T, open Opener) {
	s := with(t, open)
	w := newWriter(t, s)
	rnd := rand.New(rand.NewPCG(1, 2))
	var want []storage.KV
	for i, size := range []int{1, 1019, 1020, 1023, 1024, 1025, 4096, 8192, 65_535, 150_000, 1 << 20, 3 << 20} {
		v := make([]byte, size)
		for j := range v {
			v[j] = byte(rnd.Uint32())
		}
		want = append(want, storage.KV{Key: fmt.Appendf(nil, "v%02d", i), Value: v})
	}
	w.put(want...)
	wantPairs(t, all(t, s), want)
	mustClose(t, s)
	s = with(t, open)
	wantPairs(t, all(t, s), want)
	for _, p := range want {
		wantGet(t, s, string(p.Key), string(p.Value))
	}
}

// atLimit returns a batch that reaches a limit exactly: with one value, with as
// many keys as may be and the rest of the bytes spread over them, with long
// keys, or with deletes.
func atLimit(l storage.Limits, kind string) *storage.Batch {
	b := &storage.Batch{NewHead: []byte(kind)}
	switch kind {
	case "one value":
		b.Put = []storage.KV{kv("k", "")}
		b.Put[0].Value = bytes.Repeat([]byte{'x'}, int(l.Bytes-b.Size()))
	case "many keys":
		for i := range l.Keys - 1 {
			b.Put = append(b.Put, kv(fmt.Sprintf("many%06d", i), ""))
		}
		rest := int(l.Bytes - b.Size())
		each := bytes.Repeat([]byte{'y'}, rest/len(b.Put))
		for i := range b.Put {
			b.Put[i].Value = each
		}
		b.Put[0].Value = bytes.Repeat([]byte{'y'}, len(each)+rest%len(b.Put))
	case "long keys":
		for n := int((l.Bytes - b.Size()) / 1000); len(b.Put) < min(n, l.Keys-1); {
			k := fmt.Sprintf("long%06d", len(b.Put))
			b.Put = append(b.Put, kv(k+strings.Repeat("k", 1000-len(k)), ""))
		}
	case "deletes":
		for i := range l.Keys - 1 {
			b.Delete = append(b.Delete, fmt.Appendf(nil, "many%06d", i))
		}
	}
	return b
}

func testLimitsTellTheTruth(t *testing.T, open Opener) {
	s := with(t, open)
	l := s.Limits()
	if l.Bytes < 1<<20 || l.Keys < 1000 {
		t.Fatalf("limits %+v are too small to be of use", l)
	}
	var head []byte
	for _, name := range []string{"one value", "many keys", "long keys", "deletes"} {
		b := atLimit(l, name)
		b.OldHead = head
		if b.Size() > l.Bytes || b.Keys() > l.Keys {
			t.Fatalf("%s: the test built a batch beyond the limits", name)
		}
		if err := s.Commit(t.Context(), b); err != nil {
			t.Fatalf("%s: %d bytes, %d keys within %+v: %v", name, b.Size(), b.Keys(), l, err)
		}
		head = b.NewHead
	}
	wantMissing(t, s, "many000000")
	if s.Limits() != l {
		t.Fatalf("limits changed from %+v to %+v", l, s.Limits())
	}
}

func testTooLargeAppliesNothing(t *testing.T, open Opener) {
	s := with(t, open)
	w := newWriter(t, s)
	w.put(kv("a", "1"))
	l := s.Limits()
	bytesOver := &storage.Batch{OldHead: w.head, NewHead: []byte("n"), Put: []storage.KV{kv("a", "2"), kv("b", "")}}
	bytesOver.Put[1].Value = make([]byte, l.Bytes-bytesOver.Size()+1)
	keysOver := &storage.Batch{OldHead: w.head, NewHead: []byte("n"), Put: []storage.KV{kv("a", "2")}}
	for i := range l.Keys - 1 {
		keysOver.Delete = append(keysOver.Delete, fmt.Appendf(nil, "d%06d", i))
	}
	for name, b := range map[string]*storage.Batch{"bytes": bytesOver, "keys": keysOver} {
		if err := s.Commit(t.Context(), b); !errors.Is(err, storage.ErrTooLarge) {
			t.Fatalf("one more than the limit in %s: %v, want ErrTooLarge", name, err)
		}
	}
	wantPairs(t, all(t, s), []storage.KV{kv("a", "1")})
	w.put(kv("a", "3"))
	mustClose(t, s)
	wantPairs(t, all(t, with(t, open)), []storage.KV{kv("a", "3")})
}

func testContextEnded(t *testing.T, open Opener) {
	s := with(t, open)
	w := newWriter(t, s)
	w.put(kv("a", "1"))
	ended := canceled()
	err := s.Commit(ended, &storage.Batch{OldHead: w.head, NewHead: []byte("n"), Put: []storage.KV{kv("a", "2")}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Commit: %v, want context.Canceled", err)
	}
	wantGet(t, s, "a", "1")
	wantGet(t, s, "head", string(w.head))
	w.put(kv("b", "2"))
	if _, err := s.Get(ended, []byte("a")); !errors.Is(err, context.Canceled) {
		t.Fatalf("Get: %v, want context.Canceled", err)
	}
	never := func([]byte, []byte) error { t.Error("fn called"); return nil }
	if err := s.Scan(ended, nil, nil, never); !errors.Is(err, context.Canceled) {
		t.Fatalf("Scan: %v, want context.Canceled", err)
	}
}
