package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/escortlog/escortlog/storage"
)

func testScanOrderAndBounds(t *testing.T, open Opener) {
	s := with(t, open)
	w := newWriter(t, s)
	keys := []string{
		"\x00", "\x00\x00", "\x00\x01", "\x00\xff", "\x01", "a", "a\x00", "a\x00\x00", "a\xff", "a\xff\xff",
		"aa", "b", "heac", "heae", "\x7f", "\x80", "\xfe\xff", "\xff", "\xff\x00", "\xff\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\xff",
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	shuffled := slices.Clone(keys)
	rnd.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	half := len(shuffled) / 2
	for _, part := range [][]string{shuffled[:half], shuffled[half:]} {
		var put []storage.KV
		for _, k := range part {
			put = append(put, kv(k, "value of "+k))
		}
		w.put(put...)
	}
	stored := append(slices.Clone(keys), string(storage.HeadKey))
	sort.Strings(stored)

	check := func(s storage.Store) {
		bounds := [][]byte{nil, {}}
		for _, k := range stored {
			bounds = append(bounds, []byte(k), []byte(k+"\x00"), []byte(k+"\xff"))
		}
		for _, start := range bounds {
			for _, end := range bounds {
				var want []string
				for _, k := range stored {
					if k >= string(start) && (end == nil || k < string(end)) {
						want = append(want, k)
					}
				}
				var got []string
				for _, p := range scan(t, s, start, end) {
					got = append(got, string(p.Key))
					if v := string(p.Value); v != "value of "+string(p.Key) && string(p.Key) != "head" {
						t.Fatalf("value of %q is %q", p.Key, v)
					}
				}
				if !slices.Equal(got, want) {
					t.Fatalf("Scan(%q, %q, nil end: %v):\n got %q\nwant %q", start, end, end == nil, got, want)
				}
			}
		}
	}
	check(s)
	mustClose(t, s)
	check(with(t, open))
}

// testScanReservedLookingKeys: no key is reserved but the head's, whatever the
// engine underneath uses for itself.
func testScanReservedLookingKeys(t *testing.T, open Opener) {
	s := with(t, open)
	w := newWriter(t, s)
	want := []storage.KV{kv("!badger!", "1"), kv("!badger!head", "2"), kv("!badger!txn", "3"), kv("k", "4"), kv("m", "5")}
	w.put(want...)
	wantPairs(t, all(t, s), want)
	wantGet(t, s, "!badger!txn", "3")
}

func testScanStops(t *testing.T, open Opener) {
	s := with(t, open)
	w := newWriter(t, s)
	var put []storage.KV
	for i := range 100 {
		put = append(put, kv(fmt.Sprintf("k%03d", i), "v"))
	}
	w.put(put...)

	stop, n := errors.New("stop"), 0
	err := s.Scan(t.Context(), []byte("k"), nil, func(_, _ []byte) error {
		if n++; n == 7 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 7 {
		t.Fatalf("fn's error at the 7th key: %v after %d calls", err, n)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n = 0
	err = s.Scan(ctx, []byte("k"), nil, func(_, _ []byte) error {
		if n++; n == 7 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || n != 7 {
		t.Fatalf("the context ended at the 7th key: %v after %d calls", err, n)
	}
}

func testScanSnapshot(t *testing.T, open Opener) {
	s := with(t, open)
	w := newWriter(t, s)
	w.put(kv("a", "1"), kv("b", "1"), kv("c", "1"))
	var got []storage.KV
	err := s.Scan(t.Context(), []byte("a"), []byte("d"), func(k, v []byte) error {
		if len(got) == 0 {
			w.commit([]storage.KV{kv("aa", "2"), kv("b", "2")}, "c")
		}
		got = append(got, storage.KV{Key: bytes.Clone(k), Value: bytes.Clone(v)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantPairs(t, got, []storage.KV{kv("a", "1"), kv("b", "1"), kv("c", "1")})
	wantPairs(t, all(t, s), []storage.KV{kv("a", "1"), kv("aa", "2"), kv("b", "2")})
}

// testScanMayReadAndCommit: fn may use the store; no lock is held around it.
func testScanMayReadAndCommit(t *testing.T, open Opener) {
	s := with(t, open)
	w := newWriter(t, s)
	big := string(bytes.Repeat([]byte("v"), 100_000))
	w.put(kv("a", big), kv("b", big), kv("c", big))
	n := 0
	err := s.Scan(t.Context(), []byte("a"), []byte("d"), func(k, _ []byte) error {
		wantGet(t, s, string(k), big)
		w.put(kv(fmt.Sprintf("more%d", n), big))
		wantGet(t, s, fmt.Sprintf("more%d", n), big)
		n += len(scan(t, s, []byte("a"), []byte("d")))
		return nil
	})
	if err != nil || n != 9 {
		t.Fatalf("%v after %d", err, n)
	}
}

func testReopen(t *testing.T, open Opener) {
	s := with(t, open)
	w := newWriter(t, s)
	w.put(kv("a", "1"), kv("gone", "x"))
	w.commit([]storage.KV{kv("b", "2")}, "gone")
	before := scan(t, s, nil, nil)
	mustClose(t, s)
	s = with(t, open)
	wantPairs(t, scan(t, s, nil, nil), before)
	if err := s.Commit(t.Context(), &storage.Batch{NewHead: []byte("x")}); !errors.Is(err, storage.ErrHeadMoved) {
		t.Fatalf("a reopened store forgot that it has a head: %v", err)
	}
	w = newWriter(t, s)
	w.put(kv("c", "3"))
	wantPairs(t, all(t, s), []storage.KV{kv("a", "1"), kv("b", "2"), kv("c", "3")})
}

func testReopenMany(t *testing.T, open Opener) {
	var want []storage.KV
	for i := range 12 {
		s := open(t)
		w := newWriter(t, s)
		wantPairs(t, all(t, s), want)
		p := kv(fmt.Sprintf("k%02d", i), fmt.Sprintf("%05000d", i))
		w.put(p)
		want = append(want, p)
		if i%3 == 2 {
			w.commit([]storage.KV{kv("k00", fmt.Sprint(i))}, string(want[1].Key))
			want[0].Value = fmt.Append(nil, i)
			want = slices.Delete(want, 1, 2)
		}
		mustClose(t, s)
	}
}

func testUseAfterClose(t *testing.T, open Opener) {
	s := open(t)
	w := newWriter(t, s)
	w.put(kv("a", "1"))
	mustClose(t, s)
	if err := w.try(nil); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("Commit after Close: %v, want ErrClosed", err)
	}
	if _, err := s.Get(t.Context(), []byte("a")); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("Get after Close: %v, want ErrClosed", err)
	}
	err := s.Scan(t.Context(), nil, nil, func(_, _ []byte) error { return nil })
	if !errors.Is(err, storage.ErrClosed) {
		t.Errorf("Scan after Close: %v, want ErrClosed", err)
	}
	if err := s.Close(); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("Close after Close: %v, want ErrClosed", err)
	}
}
