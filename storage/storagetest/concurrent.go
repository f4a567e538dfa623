package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/escortlog/escortlog/storage"
)

// testConcurrentReaders: every commit writes one number under all keys; a
// reader never sees two numbers in one Scan, nor a number go back.
func testConcurrentReaders(t *testing.T, open Opener) {
	s := with(t, open)
	w := newWriter(t, s)
	const keys, commits = 20, 60
	write := func(n int) error {
		var put []storage.KV
		for k := range keys {
			// Some values are long: drivers may keep those elsewhere.
			v := fmt.Appendf(nil, "%08d", n)
			put = append(put, storage.KV{Key: fmt.Appendf(nil, "k%02d", k), Value: bytes.Repeat(v, 1+k*k)})
		}
		return w.try(put)
	}
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	ctx, done := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			last := ""
			for ctx.Err() == nil {
				if err := readWhole(t.Context(), s, keys, &last); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := 1; n <= commits; n++ {
		if err := write(n); err != nil {
			t.Error(err)
			break
		}
	}
	done()
	wg.Wait()
}

func readWhole(ctx context.Context, s storage.Store, keys int, last *string) error {
	seen, n := "", 0
	err := s.Scan(ctx, []byte("k"), []byte("l"), func(k, v []byte) error {
		if n++; n == 1 {
			seen = string(v[:8])
		}
		if !bytes.Equal(v, bytes.Repeat([]byte(seen), len(v)/8)) {
			return fmt.Errorf("a scan sees %.8q under %q and %q before", v, k, seen)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case n != keys:
		return fmt.Errorf("a scan sees %d keys of %d", n, keys)
	case seen < *last:
		return fmt.Errorf("a scan sees %s after %s", seen, *last)
	}
	got, err := s.Get(ctx, []byte("k00"))
	if err != nil {
		return err
	}
	if string(got) < seen {
		return fmt.Errorf("a get sees %s after a scan saw %s", got, seen)
	}
	*last = string(got)
	return nil
}

// testConcurrentWriters: of two commits on one head exactly one applies.
func testConcurrentWriters(t *testing.T, open Opener) {
	s := with(t, open)
	newWriter(t, s).put(kv("count", "0"))
	const writers, each = 4, 10
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				head, err := s.Get(t.Context(), storage.HeadKey)
				if err != nil {
					t.Error(err)
					return
				}
				b := &storage.Batch{
					OldHead: head,
					NewHead: fmt.Appendf(nil, "%x-%d-%d", head[max(0, len(head)-8):], i, done),
					Put:     []storage.KV{kv(fmt.Sprintf("w%d-%d", i, done), "x")},
				}
				switch err := s.Commit(t.Context(), b); {
				case err == nil:
					done++
				case !errors.Is(err, storage.ErrHeadMoved):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := len(scan(t, s, []byte("w"), []byte("x"))); n != writers*each {
		t.Fatalf("%d commits applied, want %d", n, writers*each)
	}
}

// testCloseDuringUse: Close waits for what is under way and lets go of those who
// wait for it; what comes after gets ErrClosed; what was acknowledged before is
// there afterwards.
func testCloseDuringUse(t *testing.T, open Opener) {
	s := open(t)
	newWriter(t, s).put(kv("a", "1"))
	started := make(chan struct{}, 1)
	var acknowledged atomic.Int64
	var wg sync.WaitGroup
	// until calls f until it returns ErrClosed.
	until := func(f func(i int) error) {
		wg.Go(func() {
			for i := 0; ; i++ {
				if err := f(i); errors.Is(err, storage.ErrClosed) {
					return
				} else if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for c := range 6 {
		until(func(i int) error {
			head, err := s.Get(t.Context(), storage.HeadKey)
			if err != nil {
				return err
			}
			err = s.Commit(t.Context(), &storage.Batch{
				OldHead: head,
				NewHead: fmt.Appendf(nil, "%d-%d", c, i),
				Put:     []storage.KV{kv(fmt.Sprintf("k%d-%06d", c, i), "x")},
			})
			if errors.Is(err, storage.ErrHeadMoved) {
				return nil
			}
			if err == nil && acknowledged.Add(1) == 10 {
				started <- struct{}{}
			}
			return err
		})
	}
	until(func(int) error {
		return s.Scan(t.Context(), nil, nil, func(_, _ []byte) error {
			_, err := s.Get(t.Context(), []byte("a"))
			return err
		})
	})
	<-started
	mustClose(t, s)
	wg.Wait()
	s = with(t, open)
	if n := len(scan(t, s, []byte("k"), []byte("l"))); int64(n) != acknowledged.Load() {
		t.Fatalf("%d keys after reopening, %d were acknowledged", n, acknowledged.Load())
	}
}

// testRandom plays random commits, right and wrong ones, and reopenings,
// against a map.
func testRandom(t *testing.T, open Opener) {
	rnd := rand.New(rand.NewPCG(5, 6))
	model := map[string]string{}
	s := with(t, open)
	w := newWriter(t, s)
	for range 150 {
		if rnd.IntN(25) == 0 {
			mustClose(t, s)
			s = with(t, open)
			w = newWriter(t, s)
		}
		var put []storage.KV
		var del []string
		used := map[string]bool{}
		for range rnd.IntN(8) {
			k := fmt.Sprintf("k%02d", rnd.IntN(40))
			if used[k] {
				continue
			}
			used[k] = true
			if rnd.IntN(3) == 0 {
				del = append(del, k)
			} else {
				put = append(put, kv(k, string(bytes.Repeat([]byte{byte(rnd.Uint32())}, rnd.IntN(3000)))))
			}
		}
		if rnd.IntN(5) == 0 {
			b := &storage.Batch{OldHead: []byte("wrong"), NewHead: []byte("x"), Put: put}
			if err := s.Commit(t.Context(), b); !errors.Is(err, storage.ErrHeadMoved) {
				t.Fatalf("got %v, want ErrHeadMoved", err)
			}
			continue
		}
		w.commit(put, del...)
		for _, p := range put {
			model[string(p.Key)] = string(p.Value)
		}
		for _, k := range del {
			delete(model, k)
		}
		if got := all(t, s); len(got) != len(model) {
			t.Fatalf("%d keys, want %d", len(got), len(model))
		} else {
			for _, p := range got {
				if model[string(p.Key)] != string(p.Value) {
					t.Fatalf("%q has another value than was committed", p.Key)
				}
			}
		}
	}
}
