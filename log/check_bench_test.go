package log

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/badger"
)

// BenchmarkCheck measures the check of a whole log of events of 600 bytes, whose bundles are stored as they are, and
// compressed, and, in the same run, SHA-256 over the same leaves in memory, and over as many that fit into the cache. The
// ratios are of processor time.
func BenchmarkCheck(b *testing.B) {
	const events = 100_000
	dir := b.TempDir()
	leaves := fillForCheck(b, dir, events)
	identify := func(payload []byte) (source, id []byte, authority bool, err error) {
		source, id, _, err = event.Identify(payload)
		return source, id, bytes.HasSuffix(leaves[0], payload), err // the first counts as one, or there is no log
	}
	for _, sealed := range []bool{true, false} {
		name := "compressed"
		if !sealed {
			name = "uncompressed"
			unsealAll(b, dir)
		}
		b.Run(name, func(b *testing.B) {
			store := openBenchStore(b, dir, noReclaim)
			defer store.Close()
			var check, hash, cached time.Duration
			took := func(do func()) time.Duration {
				from := cpuTime(b)
				do()
				return cpuTime(b) - from
			}
			b.ResetTimer()
			for range b.N {
				check += took(func() {
					r, err := Check(b.Context(), CheckConfig{Store: store, Identify: identify})
					if err != nil || r.Leaves != events+1 {
						b.Fatalf("%v, %d leaves", err, r.Leaves)
					}
				})
				hash += took(func() { hashAll(leaves, len(leaves)) })
				cached += took(func() { hashAll(leaves, 256) })
			}
			b.ReportMetric(float64(hash)/float64(check), "of-SHA-256")
			b.ReportMetric(float64(cached)/float64(check), "of-SHA-256-in-cache")
			b.ReportMetric(float64(check.Nanoseconds())/float64(b.N)/events, "cpu-ns/leaf")
		})
	}
}

// noReclaim leaves the files as they are while they are checked.
var noReclaim = badger.Options{ReclaimAfter: -1}

// fillForCheck makes a log and returns its leaves.
func fillForCheck(b *testing.B, dir string, events int) (leaves [][]byte) {
	b.Helper()
	next := benchEvents(b)
	first := next()
	l, end := openBenchLog(b, dir, openBenchStore(b, dir, noReclaim), first)
	defer end()
	leaves = append(leaves, first.Leaf)
	var last *Pending
	for i := range events {
		submitted := next()
		leaves = append(leaves, submitted.Leaf)
		var err error
		if last, err = l.Add(submitted); err != nil {
			b.Fatal(err)
		}
		if i%4096 == 0 {
			if _, err := last.Wait(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	if _, err := last.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
	return leaves
}

// benchEvents returns what makes another event, with a leaf of 600 bytes.
func benchEvents(b *testing.B) func() *Submission {
	b.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 1<<19)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	text, now := base64.StdEncoding.EncodeToString(noise), time.Now()
	return func() *Submission {
		var unique [10]byte
		binary.BigEndian.PutUint64(unique[:], random.Uint64())
		at := random.IntN(len(text) - 200)
		id := event.NewUUIDv7(now.UnixMilli(), unique)
		const source = "https://bench.example/door"
		payload, err := event.Build(event.Attributes{
			ID: id, Source: source, Type: "dev.escortlog.session.paused.v1", Subject: "session/s-1", Time: now,
		}, map[string]any{"session_id": "s-1", "reason": text[at : at+107], "paused_by": nil})
		if err != nil {
			b.Fatal(err)
		}
		e := &entry.Entry{PayloadType: entry.PayloadType, Payload: payload}
		leaf, err := e.Marshal()
		if err != nil {
			b.Fatal(err)
		}
		return &Submission{Identity: entry.Identity(source, id), Content: e.Content(), Leaf: leaf, Decided: 1}
	}
}

// unsealAll stores all bundles as they were before they were compressed.
func unsealAll(b *testing.B, dir string) {
	b.Helper()
	store := openBenchStore(b, dir, noReclaim)
	defer store.Close()
	type bundle struct {
		n    int64
		data []byte
	}
	var all []bundle
	if err := store.Scan(b.Context(), []byte{prefixBundle}, []byte{prefixBundle + 1}, func(key, value []byte) error {
		n, err := keyNumber(key)
		if err != nil {
			return err
		}
		data, err := appendDecompressed(nil, value)
		all = append(all, bundle{n, data})
		return err
	}); err != nil {
		b.Fatal(err)
	}
	head, err := store.Get(b.Context(), storage.HeadKey)
	if err != nil {
		b.Fatal(err)
	}
	for part := range slices.Chunk(all, 16) {
		batch := &storage.Batch{OldHead: head, NewHead: head}
		for _, s := range part {
			batch.Put = append(batch.Put, storage.KV{Key: numberKey(prefixRun, s.n*tile.Width), Value: s.data})
			batch.Delete = append(batch.Delete, numberKey(prefixBundle, s.n))
		}
		if err := store.Commit(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
}

// hashAll hashes as many leaves as there are, but only so many different ones, which may fit into the cache.
func hashAll(leaves [][]byte, different int) {
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(leaves); i += workers {
				entry.LeafHash(leaves[i%different])
			}
		})
	}
	wg.Wait()
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
