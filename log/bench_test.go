package log

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/storage/badger"
)

// benchLog is a log on a real disk with a real guard.
func benchLog(b *testing.B) *Log {
	b.Helper()
	dir := b.TempDir()
	l, end := openBenchLog(b, dir, openBenchStore(b, dir, badger.Options{}), submission(0, 0, true))
	b.Cleanup(end)
	return l
}

func openBenchStore(b *testing.B, dir string, o badger.Options) *badger.Store {
	b.Helper()
	store, err := badger.Open(filepath.Join(dir, "db"), o)
	if err != nil {
		b.Fatal(err)
	}
	return store
}

// openBenchLog makes a log in an empty store; end closes all.
func openBenchLog(b *testing.B, dir string, store *badger.Store, first *Submission) (l *Log, end func()) {
	b.Helper()
	head, err := Create(b.Context(), store, first.Leaf, first.Identity)
	if err != nil {
		b.Fatal(err)
	}
	guard, err := CreateGuard(filepath.Join(dir, "guard"), dir, testOrigin, head)
	if err != nil {
		b.Fatal(err)
	}
	l, err = Open(b.Context(), Config{Origin: testOrigin, Store: store, Guard: guard, Signers: testSigners(), PoolEntries: 1 << 16, PoolBytes: 256 << 20})
	if err != nil {
		b.Fatal(err)
	}
	return l, func() {
		l.Close()
		guard.Close()
		store.Close()
	}
}

// benchSubmissions makes n different events with leaves of 600 bytes.
func benchSubmissions(n int) []*Submission {
	payload := make([]byte, 600-len(overhead600))
	submissions := make([]*Submission, n)
	for i := range submissions {
		rand.Read(payload)
		e := &entry.Entry{PayloadType: entry.PayloadType, Payload: payload}
		leaf, err := e.Marshal()
		if err != nil {
			panic(err)
		}
		submissions[i] = &Submission{Identity: entry.Identity("bench", fmt.Sprint(i)), Content: e.Content(), Leaf: leaf, Decided: 1}
	}
	return submissions
}

// overhead600 stands for what an entry of 600 bytes holds besides its payload.
const overhead600 = "EL01" + "        " + " application/cloudevents+json" + "  " + "  "

// BenchmarkAppend measures durable, guarded appends of 600-byte entries with
// 4,096 outstanding, and, in the same run, SHA-256 over the same leaves and a
// plain file that is appended to and synced.
func BenchmarkAppend(b *testing.B) {
	l := benchLog(b)
	submissions := benchSubmissions(b.N)
	hashing := time.Now()
	for _, s := range submissions {
		entry.LeafHash(s.Leaf)
	}
	hashed := time.Since(hashing)
	b.SetBytes(int64(len(submissions[0].Leaf)))
	b.ReportAllocs()
	b.ResetTimer()
	outstanding := make(chan *Pending, 4096)
	var wait sync.WaitGroup
	wait.Go(func() {
		for p := range outstanding {
			if _, err := p.Wait(context.Background()); err != nil {
				b.Error(err)
			}
		}
	})
	for _, s := range submissions {
		p, err := l.Add(s)
		if err != nil {
			b.Fatal(err)
		}
		outstanding <- p
	}
	close(outstanding)
	wait.Wait()
	b.StopTimer()
	elapsed := b.Elapsed()
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "entries/s")
	b.ReportMetric(elapsed.Seconds()/hashed.Seconds(), "x-SHA-256")
	b.ReportMetric(elapsed.Seconds()/plainFile(b, submissions).Seconds(), "x-plain-file")
}

// plainFile appends the leaves to a file, 4,096 at a time, each time synced.
func plainFile(b *testing.B, submissions []*Submission) time.Duration {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "plain"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	start := time.Now()
	for batch := range slices.Chunk(submissions, 4096) {
		var data []byte
		for _, s := range batch {
			data = append(data, s.Leaf...)
		}
		if _, err := f.Write(data); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}

// BenchmarkLoneAppend measures one append at a time until it is durable,
// guarded and published, and, in the same run, one fsync of 4 KiB.
func BenchmarkLoneAppend(b *testing.B) {
	l := benchLog(b)
	submissions := benchSubmissions(b.N)
	took := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for _, s := range submissions {
		start := time.Now()
		p, err := l.Add(s)
		if err != nil {
			b.Fatal(err)
		}
		pos, err := p.Wait(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := l.WaitPublished(b.Context(), pos.Index+1); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	b.StopTimer()
	slices.Sort(took)
	sync := syncTime(b, 100)
	median := took[len(took)/2]
	b.ReportMetric(float64(median.Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(median)/float64(sync), "x-fsync")
}

// syncTime returns the median time of writing and syncing 4 KiB.
func syncTime(b *testing.B, n int) time.Duration {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "sync"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	took := make([]time.Duration, n)
	for i := range took {
		start := time.Now()
		if _, err := f.WriteAt(page, 0); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	return took[n/2]
}
