package monitor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	gauges "runtime/metrics"
	"strconv"
	"strings"
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

// usage samples how much memory the process uses, until it is stopped.
type usage struct {
	stop, stopped chan struct{}
	heap, anon    uint64 // peaks, in bytes
}

func watchMemory() *usage {
	u := &usage{stop: make(chan struct{}), stopped: make(chan struct{})}
	debug.FreeOSMemory()
	go func() {
		defer close(u.stopped)
		sample := []gauges.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for {
			gauges.Read(sample)
			u.heap, u.anon = max(u.heap, sample[0].Value.Uint64()), max(u.anon, anonymous())
			select {
			case <-u.stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return u
}

// report says what the peaks were, and what is left in use.
func (u *usage) report(b *testing.B) {
	close(u.stop)
	<-u.stopped
	runtime.GC()
	sample := []gauges.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	gauges.Read(sample)
	b.ReportMetric(float64(u.heap)/1e6, "MB-heap-peak")
	b.ReportMetric(float64(u.anon)/1e6, "MB-RssAnon-peak")
	b.ReportMetric(float64(sample[0].Value.Uint64())/1e6, "MB-heap-kept")
}

// anonymous is the memory of the process that belongs to no file; 0 where the
// system does not say.
func anonymous() (n uint64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			n, _ = strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		}
	}
	return n * 1000
}

// BenchmarkMemory shows the memory that audit and monitor use for a log of a tenth,
// three tenths and all of the leaves: the largest heap and anonymous memory while
// they read it, and the heap that is kept. Memory is flat where the last line is
// like the first. The log lies on disk; making it is not measured.
func BenchmarkMemory(b *testing.B) {
	n := 4096
	if s := os.Getenv(benchLeaves); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 10*tile.Width {
			b.Fatalf("%s=%q: want a number of leaves, at least %d", benchLeaves, s, 10*tile.Width)
		}
	}
	l := newDiskLog(b, n)
	few, err := rules.Parse([]byte("version: 1\nmax_findings: 10\n"))
	must(b, err)
	whole := l.size
	for _, tenths := range []int64{1, 3, 10} {
		size := whole * tenths / 10 / tile.Width * tile.Width
		for _, state := range []bool{false, true} {
			b.Run(fmt.Sprintf("audit/state=%t/leaves=%d", state, size), func(b *testing.B) {
				for range b.N {
					l.size = size
					cfg := audit.Config{Log: l, Policy: l.w.policy, Rules: few}
					if state {
						cfg.StateDir = b.TempDir()
					}
					u := watchMemory()
					f, err := audit.Follow(cfg)
					must(b, err)
					r, err := f.Audit(b.Context())
					if err != nil || r.Exit > audit.ExitFindings {
						b.Fatal(err, r)
					}
					u.report(b)
					must(b, f.Close())
				}
			})
		}
		b.Run(fmt.Sprintf("monitor/leaves=%d", size), func(b *testing.B) {
			for range b.N {
				u := watchMemory()
				m, err := Open(l.w.config(func(c *Config) {
					c.StateDir, c.Output, c.Rules = b.TempDir(), nil, few
					c.Targets = []Target{{Origin: origin, URL: l.w.server.URL, Log: l}}
				}))
				must(b, err)
				for i := range int64(8) { // as it grows
					l.size = size * (i + 1) / 8 / tile.Width * tile.Width
					if l.size == 0 {
						continue
					}
					o, err := m.Once(b.Context())
					if err != nil || o.ExitCode() > audit.ExitFindings {
						b.Fatal(err, o)
					}
				}
				u.report(b)
				must(b, m.Close())
			}
		})
	}
}
