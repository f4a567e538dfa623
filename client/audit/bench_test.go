package audit

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"testing"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
)

// inMemory serves a fake log without HTTP, each answer made once.
type inMemory struct{ bodies map[string][]byte }

func (m inMemory) Checkpoint(context.Context) ([]byte, error) { return m.bodies["checkpoint"], nil }

func (m inMemory) Tile(_ context.Context, t tile.Tile) ([]byte, error) {
	return m.bodies[t.Path()], nil
}

func (m inMemory) Bundle(_ context.Context, t tile.Tile) ([][]byte, error) {
	return tile.SplitBundle(m.bodies[t.Path()], t.W)
}

// BenchmarkAudit replays a log of 2,048 events with one Ed25519 signature each,
// on all processors, from memory. Beside it, in the same run, what cannot be
// avoided: one signature verified, one leaf hashed, on one processor.
func BenchmarkAudit(b *testing.B) {
	const size = 2048
	l := newLog(b)
	l.grow(size - 2)
	m := inMemory{map[string][]byte{}}
	paths := []string{"checkpoint", tile.Tile{Level: 1, W: size / 256}.Path()}
	for n := range int64(size / 256) {
		paths = append(paths, tile.Tile{Level: 0, N: n, W: 256}.Path(), tile.Tile{Level: tile.Entries, N: n, W: 256}.Path())
	}
	for _, p := range paths {
		m.bodies[p], _ = l.body(p)
	}
	policy := parsePolicy(b, l.policyText())
	b.Run("audit", func(b *testing.B) {
		for b.Loop() {
			r, err := Run(b.Context(), Config{Log: m, Policy: policy})
			if err != nil || r.Exit != ExitProven {
				b.Fatal(err, r)
			}
		}
		b.ReportMetric(float64(b.N)*size/b.Elapsed().Seconds(), "events/s")
	})
	e, err := entry.Parse(l.leaves[size-1])
	if err != nil {
		b.Fatal(err)
	}
	b.Run("raw-ed25519-verify", func(b *testing.B) {
		public := key("gateway").Public().(ed25519.PublicKey)
		pae := entry.PAE(e.PayloadType, e.Payload)
		for b.Loop() {
			if !ed25519.Verify(public, pae, e.Signatures[0].Sig) {
				b.Fatal("does not verify")
			}
		}
	})
	b.Run("raw-sha256", func(b *testing.B) {
		for b.Loop() {
			sha256.Sum256(l.leaves[size-1])
		}
	})
}
