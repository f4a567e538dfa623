package witness

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/conformance"
)

// BenchmarkAddCheckpoint is whole requests, from the body to the durable
// cosignatures of both keys, without HTTP: of one log one after another, and of 64 logs at once,
// whose updates share fsyncs. Its yardsticks are BenchmarkRawSigning and BenchmarkRawFsync.
func BenchmarkAddCheckpoint(b *testing.B) {
	for _, logs := range []int{1, 64} {
		b.Run(fmt.Sprintf("logs=%d", logs), func(b *testing.B) {
			dir := initDir(b)
			var entries []LogEntry
			var bodies [][]byte
			for i := range logs {
				l := newLog(b, fmt.Sprintf("log.example/%d", i))
				entries = append(entries, LogEntry{Key: l.Signers[0].Verifier(), Origin: l.Origin})
				bodies = append(bodies, []byte(l.Honest().Request(0, 0))) // can be asked again and again
			}
			if err := writeLogs(dir, entries...); err != nil {
				b.Fatal(err)
			}
			w := openDir(b, dir, func(c *Config) { c.Logger = nil })
			var next atomic.Int64
			b.SetParallelism(logs)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				body := bodies[int(next.Add(1))%logs]
				for pb.Next() {
					if _, err := w.AddCheckpoint(body); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkRawSigning is what both cosignatures cost by themselves.
func BenchmarkRawSigning(b *testing.B) {
	for _, alg := range []checkpoint.Algorithm{checkpoint.AlgCosignEd25519, checkpoint.AlgMLDSA44} {
		b.Run(alg.String(), func(b *testing.B) {
			s, err := checkpoint.GenerateSigner(testName, alg, rand.Reader)
			if err != nil {
				b.Fatal(err)
			}
			text := conformance.NewLog(s).Honest().Checkpoint(5).Text()
			for i := 0; b.Loop(); i++ {
				if _, err := s.Sign(text, int64(i+1)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRawFsync is an appending write as long as one checkpoint's record, and an fsync.
func BenchmarkRawFsync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "file"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	record := make([]byte, 3800)
	for b.Loop() {
		if _, err := f.Write(record); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}
