package badger_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	engine "github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/badger"
)

// BenchmarkCommit commits what the log commits for so many entries of 600
// bytes: their bundles of 256, a block of identities, the hash tiles. After each
// commit the same puts go into a Badger without any check of ours, with the same
// options, as one synced transaction, and the same bytes into a plain file that is
// fsynced. Printed are the entries a second of all three, how many times as long a
// commit takes as the plain file, how fast it is as a part of Badger alone, and of both
// the bytes that go to the disk for each byte put, without those of the file system's
// journal, and the seconds of CPU for 100,000 entries.
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

const entrySize, identitySize, bundleWidth, hashSize = 600, 32, 256, 32

// cost is what something has taken so far.
type cost struct {
	wall, cpu time.Duration
	written   int64 // bytes
}

// measure adds what f takes.
func (c *cost) measure(b *testing.B, f func()) {
	b.Helper()
	now := func() cost {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return cost{cpu: time.Duration(u.Utime.Nano() + u.Stime.Nano()), written: bytesWritten(b)}
	}
	before, start := now(), time.Now()
	f()
	c.wall += time.Since(start)
	after := now()
	c.cpu += after.cpu - before.cpu
	c.written += after.written - before.written
}

// bytesWritten returns how many bytes this process has had written, or 0 where that
// is not told.
func bytesWritten(b *testing.B) (n int64) {
	b.Helper()
	io, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(io)) {
		if _, err := fmt.Sscanf(line, "write_bytes: %d", &n); err == nil {
			return n
		}
	}
	return 0
}

// rawCommit writes the puts of a batch to a Badger.
func rawCommit(b *testing.B, db *engine.DB, batch *storage.Batch, version uint64) {
	b.Helper()
	txn := db.NewTransactionAt(version-1, true)
	defer txn.Discard()
	for _, kv := range append(batch.Put, storage.KV{Key: storage.HeadKey, Value: batch.NewHead}) {
		if err := txn.Set(kv.Key, kv.Value); err != nil {
			b.Fatal(err)
		}
	}
	for _, k := range batch.Delete {
		if err := txn.Delete(k); err != nil {
			b.Fatal(err)
		}
	}
	if err := txn.CommitAt(version, nil); err != nil {
		b.Fatal(err)
	}
}

func benchmarkCommit(b *testing.B, entries int, seal bool, o badger.Options) {
	s := mustOpen(b, b.TempDir(), o)
	raw, err := badger.OpenEngine(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
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
	value := func(n int) []byte { return random[rand.IntN(1<<16):][:n] }
	key := func(prefix byte, n int) []byte { return binary.BigEndian.AppendUint64([]byte{prefix}, uint64(n)) }
	var (
		head                       []byte
		commits, size, payload     int
		committing, engine, writes cost
	)
	commit := func(put []storage.KV, del [][]byte) {
		commits++
		batch := &storage.Batch{OldHead: head, NewHead: strconv.AppendInt(nil, int64(commits), 10), Put: put, Delete: del}
		committing.measure(b, func() {
			if err := s.Commit(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
		})
		engine.measure(b, func() { rawCommit(b, raw, batch, uint64(commits)) })
		writes.measure(b, func() {
			for _, kv := range put {
				if _, err := plain.Write(kv.Value); err != nil {
					b.Fatal(err)
				}
			}
			if err := plain.Sync(); err != nil {
				b.Fatal(err)
			}
		})
		head = batch.NewHead
		payload += int(batch.Size())
	}
	for b.Loop() {
		var put, sealed []storage.KV
		var del [][]byte
		for left := entries; left > 0; left -= bundleWidth {
			w := min(left, bundleWidth)
			put = append(put,
				storage.KV{Key: key('r', size), Value: value(w * entrySize)},
				storage.KV{Key: key('t', size), Value: value(w * hashSize)},
				storage.KV{Key: key('i', size), Value: value(w * identitySize)})
			sealed = append(sealed, storage.KV{Key: key('s', size), Value: value(w * entrySize / 3)})
			del = append(del, key('r', size))
			size += w
		}
		commit(put, nil)
		if seal {
			commit(sealed, del)
		}
	}
	b.ReportMetric(float64(size)/committing.wall.Seconds(), "entries/s")
	b.ReportMetric(float64(size)/engine.wall.Seconds(), "badger-entries/s")
	b.ReportMetric(float64(size)/writes.wall.Seconds(), "plain-entries/s")
	b.ReportMetric(committing.wall.Seconds()/writes.wall.Seconds(), "times-plain")
	b.ReportMetric(engine.wall.Seconds()/committing.wall.Seconds(), "of-badger")
	b.ReportMetric(float64(committing.written)/float64(payload), "written-bytes/byte")
	b.ReportMetric(float64(engine.written)/float64(payload), "badger-written-bytes/byte")
	b.ReportMetric(committing.cpu.Seconds()/float64(size)*1e5, "cpu-s/100k")
	b.ReportMetric(engine.cpu.Seconds()/float64(size)*1e5, "badger-cpu-s/100k")
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
