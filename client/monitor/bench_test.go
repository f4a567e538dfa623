package monitor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// benchLeaves is the variable that says how many leaves the benchmark's largest
// log has; 100 k to 1 M take minutes.
const benchLeaves = "ESCORTLOG_BENCH_LEAVES"

// diskLog is a log whose leaves lie on disk, so that they take no memory. It shows
// as much of itself as it is told to: a whole number of bundles.
type diskLog struct {
	w      *world
	dir    string
	levels [][]tlog.Hash // from level 1 on
	size   int64
}

// Checkpoint signs what is shown, as everybody.
func (l *diskLog) Checkpoint(ctx context.Context) ([]byte, error) {
	root, err := tile.Root(ctx, l.Tile, l.size)
	if err != nil {
		return nil, err
	}
	text := checkpoint.Checkpoint{Origin: origin, Size: l.size, Root: root}.Text()
	var lines [][]byte
	for i, s := range l.w.signers {
		line, err := s.Sign(text, l.w.clock.Unix())
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
		l.w.held[[]string{"", "a", "b"}[i]] = checkpoint.Join(text, lines[0], line)
	}
	return checkpoint.Join(text, lines...), nil
}

func (l *diskLog) file(t tile.Tile) string {
	return filepath.Join(l.dir, fmt.Sprintf("%d-%d", t.Level, t.N))
}

// Tile returns a hash tile.
func (l *diskLog) Tile(_ context.Context, t tile.Tile) ([]byte, error) {
	if t.Level == 0 {
		return os.ReadFile(l.file(t))
	}
	var out []byte
	for _, h := range l.levels[t.Level-1][t.N*tile.Width:][:t.W] {
		out = append(out, h[:]...)
	}
	return out, nil
}

// Bundle returns an entry bundle.
func (l *diskLog) Bundle(_ context.Context, t tile.Tile) ([][]byte, error) {
	t.Level = tile.Entries
	data, err := os.ReadFile(l.file(t))
	if err != nil {
		return nil, err
	}
	return tile.SplitBundle(data, t.W)
}

// newDiskLog makes a log of at least n leaves in whole bundles: ten events of one
// session after another, and heartbeats between, a minute apart.
func newDiskLog(b *testing.B, n int) *diskLog {
	b.Helper()
	w := newWorld(b)
	l := &diskLog{w: w, dir: b.TempDir()}
	for i := 0; ; i++ {
		w.tick(i)
		if len(w.tree.leaves) < tile.Width {
			continue
		}
		var bundle, tiles []byte
		var hashes []tlog.Hash
		for _, leaf := range w.tree.leaves {
			h := entry.LeafHash(leaf)
			bundle, tiles, hashes = tile.AppendEntry(bundle, leaf), append(tiles, h[:]...), append(hashes, h)
		}
		at := tile.Tile{N: l.size / tile.Width, W: tile.Width}
		must(b, os.WriteFile(l.file(at), tiles, 0o644))
		at.Level = tile.Entries
		must(b, os.WriteFile(l.file(at), bundle, 0o644))
		l.raise(0, tile.TileRoot(hashes))
		l.size += tile.Width
		w.tree.leaves = w.tree.leaves[:0]
		if l.size >= int64(n) {
			return l
		}
	}
}

// raise adds the root of a full tile to the level above.
func (l *diskLog) raise(level int, h tlog.Hash) {
	if len(l.levels) == level {
		l.levels = append(l.levels, nil)
	}
	l.levels[level] = append(l.levels[level], h)
	if n := len(l.levels[level]); n%tile.Width == 0 {
		l.raise(level+1, tile.TileRoot(l.levels[level][n-tile.Width:]))
	}
}

// tick adds the i-th event, a minute after the one before.
func (w *world) tick(i int) {
	w.clock = w.clock.Add(time.Minute)
	typ, subject := "source.heartbeat", "source/"+source
	data := map[string]any{"period_s": 86400, "last_sequence": nil, "open_sessions": []string{}}
	if i%16 < 10 {
		id := fmt.Sprintf("s-%d", i/16)
		typ, subject = "session.paused", "session/"+id
		data = map[string]any{"session_id": id, "paused_by": nil, "reason": fmt.Sprint("pause ", i)}
	}
	var random [10]byte
	random[7], random[8], random[9] = byte(i>>16), byte(i>>8), byte(i)
	payload, err := event.Build(event.Attributes{ID: event.NewUUIDv7(w.clock.UnixMilli(), random), Source: source, Type: event.Prefix + typ + ".v1", Subject: subject, Time: w.clock}, data)
	must(w.t, err)
	w.add(payload, "gateway")
}

// heap is what lives in memory now, in bytes.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkMemory shows what audit and monitor keep in memory when they have seen
// a log of a quarter of the leaves, and of all: in all, and for each leaf by which
// the log grew between. What grows is 24 bytes of each leaf's identity in a table
// that doubles, so up to 24 more, by which a second event of the same source and
// id is found; the rest stays as it is. Peaks are measured between bundles.
func BenchmarkMemory(b *testing.B) {
	n := 4096
	if s := os.Getenv(benchLeaves); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 1024 {
			b.Fatalf("%s=%q: want a number of leaves, at least 1024", benchLeaves, s)
		}
	}
	l := newDiskLog(b, n)
	whole := l.size
	quarter := whole / 4 / tile.Width * tile.Width
	few, err := rules.Parse([]byte("version: 1\nmax_findings: 10\n"))
	must(b, err)
	report := func(b *testing.B, small, large, peak float64) {
		b.ReportMetric(small/1e6, "MB-at-quarter")
		b.ReportMetric(large/1e6, "MB-at-end")
		b.ReportMetric((large-small)/float64(whole-quarter), "B/leaf")
		if peak > 0 {
			b.ReportMetric(peak/1e6, "MB-peak")
		}
	}
	b.Run("audit", func(b *testing.B) {
		for range b.N {
			before := heap()
			var peak float64
			f, err := audit.Follow(audit.Config{Log: l, Policy: l.w.policy, StateDir: b.TempDir(), Rules: few, Progress: func(done, _ int64) {
				if done%(whole/16/tile.Width*tile.Width) == 0 {
					peak = max(peak, heap()-before)
				}
			}})
			must(b, err)
			var at [2]float64
			for i, size := range []int64{quarter, whole} {
				l.size = size
				r, err := f.Audit(b.Context())
				if err != nil || r.Exit > audit.ExitFindings {
					b.Fatal(err, r)
				}
				at[i] = heap() - before
			}
			must(b, f.Close())
			report(b, at[0], at[1], peak)
		}
	})
	b.Run("monitor", func(b *testing.B) {
		for range b.N {
			before := heap()
			m, err := Open(l.w.config(func(c *Config) {
				c.StateDir, c.Output, c.Rules = b.TempDir(), nil, few
				c.Targets = []Target{{Origin: origin, URL: l.w.server.URL, Log: l}}
			}))
			must(b, err)
			var at [2]float64
			for i := range int64(8) { // as it grows
				l.size = whole / 8 * (i + 1) / tile.Width * tile.Width
				if i == 7 {
					l.size = whole
				}
				o, err := m.Once(b.Context())
				if err != nil || o.ExitCode() > audit.ExitFindings {
					b.Fatal(err, o)
				}
				switch i {
				case 1:
					at[0] = heap() - before
				case 7:
					at[1] = heap() - before
				}
			}
			must(b, m.Close())
			report(b, at[0], at[1], 0)
		}
	})
}
