//go:build unix

package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"
)

// inMemory serves a fake log without HTTP. Bundles are compressed, as a log serves
// them.
type inMemory struct{ bodies map[string][]byte }

func (m inMemory) Checkpoint(context.Context) ([]byte, error) { return m.bodies["checkpoint"], nil }

func (m inMemory) Tile(_ context.Context, t tile.Tile) ([]byte, error) {
	return m.bodies[t.Path()], nil
}

func (m inMemory) Bundle(_ context.Context, t tile.Tile) ([][]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(m.bodies[t.Path()]))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return tile.SplitBundle(body, t.W)
}

// benchLog is a log of whole bundles of events with one Ed25519 signature each.
func benchLog(b *testing.B, size int64) (inMemory, *fakeLog) {
	b.Helper()
	l := newLog(b)
	l.grow(int(size) - 2)
	m := inMemory{map[string][]byte{}}
	add := func(path string) []byte {
		m.bodies[path], _ = l.body(path)
		return m.bodies[path]
	}
	add("checkpoint")
	add(tile.Tile{Level: 1, W: int(size / tile.Width)}.Path())
	for n := range size / tile.Width {
		add(tile.Tile{Level: 0, N: n, W: tile.Width}.Path())
		path := tile.Tile{Level: tile.Entries, N: n, W: tile.Width}.Path()
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, err := w.Write(add(path))
		must(b, err)
		must(b, w.Close())
		m.bodies[path] = packed.Bytes()
	}
	return m, l
}

// rawVerify verifies the signatures of all events but the first two, which are the
// directory's, on all processors, with nothing else to do.
func rawVerify(b *testing.B, leaves [][]byte) func() {
	b.Helper()
	public := key("gateway").Public().(ed25519.PublicKey)
	var signed, sigs [][]byte
	for _, leaf := range leaves[2:] {
		e, err := entry.Parse(leaf)
		must(b, err)
		signed, sigs = append(signed, entry.PAE(e.PayloadType, e.Payload)), append(sigs, e.Signatures[0].Sig)
	}
	return func() {
		var next atomic.Int64
		var work sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			work.Go(func() {
				for i := next.Add(1) - 1; i < int64(len(sigs)); i = next.Add(1) - 1 {
					if !ed25519.Verify(public, signed[i], sigs[i]) {
						b.Error("does not verify")
					}
				}
			})
		}
		work.Wait()
	}
}

// processorTime is what the process has used of processors, in seconds.
func processorTime(b *testing.B) float64 {
	b.Helper()
	var u unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// BenchmarkAudit replays a log of 4,096 events with one Ed25519 signature each, from
// memory, without rules and with them, in turn with the raw verification of the same
// signatures on the same processors. Its figures are the medians, and how much of the
// rate of raw verification an audit reaches in the same turn: by the clock, and by the
// processor time that both take, which others on the machine disturb less.
func BenchmarkAudit(b *testing.B) {
	const size = 4096
	m, l := benchLog(b, size)
	policy := parsePolicy(b, l.policyText())
	raw := rawVerify(b, l.leaves)
	replay := func(c *rules.Config) func() {
		return func() {
			r, err := Run(b.Context(), Config{Log: m, Policy: policy, Rules: c})
			if err != nil || r.Exit > ExitFindings {
				b.Fatal(err, r)
			}
		}
	}
	took := map[string][]float64{}
	for b.Loop() {
		turn := map[string]float64{}
		for _, x := range []struct {
			name string
			do   func()
		}{{"raw", raw}, {"audit", replay(nil)}, {"rules", replay(rules.Default())}} {
			runtime.GC()
			used, begun := processorTime(b), time.Now()
			x.do()
			turn[x.name+" cpu"] = processorTime(b) - used
			turn[x.name] = time.Since(begun).Seconds()
			took[x.name] = append(took[x.name], turn[x.name])
		}
		took["audit/raw"] = append(took["audit/raw"], turn["raw"]/turn["audit"])
		took["rules/raw"] = append(took["rules/raw"], turn["raw"]/turn["rules"])
		took["audit/raw cpu"] = append(took["audit/raw cpu"], turn["raw cpu"]/turn["audit cpu"])
		took["rules/raw cpu"] = append(took["rules/raw cpu"], turn["raw cpu"]/turn["rules cpu"])
	}
	median := func(name string) float64 {
		slices.Sort(took[name])
		return took[name][len(took[name])/2]
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(size/median("raw"), "raw/s")
	b.ReportMetric(size/median("audit"), "audited/s")
	b.ReportMetric(size/median("rules"), "with-rules/s")
	b.ReportMetric(median("audit/raw"), "audited/raw")
	b.ReportMetric(median("rules/raw"), "with-rules/raw")
	b.ReportMetric(median("audit/raw cpu"), "audited/raw-cpu")
	b.ReportMetric(median("rules/raw cpu"), "with-rules/raw-cpu")
}
