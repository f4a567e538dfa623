package main

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
)

// BenchmarkFsck measures the check of 200,000 leaves of 600 bytes, and, before and
// after in the same run, SHA-256 over the same leaves on all cores.
func BenchmarkFsck(b *testing.B) {
	const size = 200_000
	dir, m := makeLog(b, size)
	var bundles [][][]byte
	for n := int64(0); n*tile.Width < size; n++ {
		leaves, err := m.bundle(b.Context(), n, tile.WidthAt(tile.Entries, n, size))
		if err != nil {
			b.Fatal(err)
		}
		bundles = append(bundles, leaves)
	}
	data := &dataDir{dir: dir}
	o, err := data.open("log.example.org", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer o.close()
	var raw, checked cost
	var bytes int64
	for b.Loop() {
		raw.add(func() { rawSHA256(bundles) })
		var report *log.Report
		checked.add(func() {
			report, err = log.Check(b.Context(), log.CheckConfig{Store: o.store, Guard: o.guard, Identify: event.Identify})
		})
		if err != nil {
			b.Fatal(err)
		}
		raw.add(func() { rawSHA256(bundles) })
		if report.Leaves != size {
			b.Fatal(fmt.Errorf("%d leaves checked", report.Leaves))
		}
		bytes = report.EntryBytes
	}
	b.SetBytes(bytes)
	b.ReportMetric(float64(size)*float64(b.N)/checked.wall.Seconds(), "leaves/s")
	b.ReportMetric(float64(size)*float64(b.N)/checked.cpu.Seconds(), "leaves/cpu-s")
	b.ReportMetric(float64(raw.wall)/2/float64(checked.wall), "of-raw-SHA-256")
	b.ReportMetric(float64(raw.cpu)/2/float64(checked.cpu), "of-raw-SHA-256-cpu")
}

// cost is what something took: on the clock, and of the processors, which says
// more on a machine that others use too.
type cost struct{ wall, cpu time.Duration }

func (c *cost) add(f func()) {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			panic(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start, before := time.Now(), used()
	f()
	c.wall += time.Since(start)
	c.cpu += used() - before
}

// rawSHA256 hashes each leaf by itself, on all cores.
func rawSHA256(bundles [][][]byte) {
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for n := w; n < len(bundles); n += workers {
				for _, leaf := range bundles[n] {
					sha256.Sum256(leaf)
				}
			}
		})
	}
	wg.Wait()
}
