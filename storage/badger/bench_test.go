package badger_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/badger"
)

// BenchmarkCommit commits what the log commits for so many entries of 600
// bytes: their bundles of 256, a block of identities, the hash tiles. After each
// commit the same bytes are written to a plain file and fsynced. Printed are the
// entries a second of both, and how many times as long a commit takes.
//
// "sealed" also replaces each bundle by a third of its size in a commit of its
// own, which counts, and "reclaimed" has Reclaim run beside.
func BenchmarkCommit(b *testing.B) {
	for _, entries := range []int{1, 256, 4096} {
		b.Run(fmt.Sprint(entries), func(b *testing.B) { benchmarkCommit(b, entries, false, badger.Options{ReclaimAfter: -1}) })
	}
	b.Run("4096-sealed", func(b *testing.B) { benchmarkCommit(b, 4096, true, badger.Options{ReclaimAfter: -1}) })
	b.Run("4096-sealed-reclaimed", func(b *testing.B) { benchmarkCommit(b, 4096, true, badger.Options{}) })
}

const entrySize, identitySize, bundleWidth, hashSize = 600, 72, 256, 32

func benchmarkCommit(b *testing.B, entries int, seal bool, o badger.Options) {
	dir := b.TempDir()
	s := mustOpen(b, dir, o)
	plain, err := os.Create(filepath.Join(b.TempDir(), "plain"))
	if err != nil {
		b.Fatal(err)
	}
	defer plain.Close()
	random := make([]byte, bundleWidth*entrySize+1<<16)
	chacha := rand.NewChaCha8([32]byte{})
	if _, err := chacha.Read(random); err != nil {
		b.Fatal(err)
	}
	// value returns n bytes that differ from the last ones.
	value := func(n int) []byte {
		at := rand.IntN(1 << 16)
		if at+n > len(random) {
			at = 0
		}
		return random[at:][:min(n, len(random))]
	}
	key := func(prefix byte, n int) []byte { return binary.BigEndian.AppendUint64([]byte{prefix}, uint64(n)) }

	var head []byte
	commit := func(n int, put []storage.KV, del [][]byte) *storage.Batch {
		batch := &storage.Batch{OldHead: head, NewHead: strconv.AppendInt(nil, int64(n), 10), Put: put, Delete: del}
		if err := s.Commit(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		head = batch.NewHead
		return batch
	}
	var committing, writing time.Duration
	size := 0
	for i := 0; b.Loop(); i++ {
		var put []storage.KV
		var bundles []int
		for left := entries; left > 0; left -= bundleWidth {
			w := min(left, bundleWidth)
			bundles = append(bundles, size)
			put = append(put,
				storage.KV{Key: key('r', size), Value: value(w * entrySize)},
				storage.KV{Key: key('t', size), Value: value(w * hashSize)},
				storage.KV{Key: key('i', size), Value: value(w * identitySize)})
			size += w
		}
		start := time.Now()
		batch := commit(2*i, put, nil)
		if seal {
			var sealed []storage.KV
			var del [][]byte
			for _, n := range bundles {
				sealed = append(sealed, storage.KV{Key: key('s', n), Value: value(bundleWidth * entrySize / 3)})
				del = append(del, key('r', n))
			}
			commit(2*i+1, sealed, del)
		}
		committing += time.Since(start)

		start = time.Now()
		for _, kv := range batch.Put {
			if _, err := plain.Write(kv.Value); err != nil {
				b.Fatal(err)
			}
		}
		if err := plain.Sync(); err != nil {
			b.Fatal(err)
		}
		writing += time.Since(start)
	}
	b.ReportMetric(float64(size)/committing.Seconds(), "entries/s")
	b.ReportMetric(float64(size)/writing.Seconds(), "plain-entries/s")
	b.ReportMetric(committing.Seconds()/writing.Seconds(), "times-plain")
}

// BenchmarkRead reads values of a sealed bundle's size, at random.
func BenchmarkRead(b *testing.B) {
	s := mustOpen(b, b.TempDir(), small)
	random := make([]byte, 50_000)
	chacha := rand.NewChaCha8([32]byte{})
	if _, err := chacha.Read(random); err != nil {
		b.Fatal(err)
	}
	const keys = 1000
	var head []byte
	for n := range keys / 100 {
		batch := &storage.Batch{OldHead: head, NewHead: []byte{byte(n + 1)}}
		for i := range 100 {
			batch.Put = append(batch.Put, storage.KV{Key: binary.BigEndian.AppendUint32(nil, uint32(100*n+i)), Value: random})
		}
		if err := s.Commit(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		head = batch.NewHead
	}
	run := func(name string, size int64, f func(key []byte) error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if err := f(binary.BigEndian.AppendUint32(nil, rand.Uint32N(keys))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("Get", int64(len(random)), func(key []byte) error {
		_, err := s.Get(b.Context(), key)
		return err
	})
	if err := s.Reclaim(b.Context()); err != nil { // from here on keys lie in a table
		b.Fatal(err)
	}
	run("GetFromTable", int64(len(random)), func(key []byte) error {
		_, err := s.Get(b.Context(), key)
		return err
	})
	run("GetNothing", 0, func(key []byte) error {
		if _, err := s.Get(b.Context(), append(key, 0)); err == nil {
			return fmt.Errorf("key %x is there", key)
		}
		return nil
	})
	run("ScanOne", int64(len(random)), func(key []byte) error {
		return s.Scan(b.Context(), key, append(key, 0), func(_, _ []byte) error { return nil })
	})
}
