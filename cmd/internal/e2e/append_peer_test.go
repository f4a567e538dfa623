//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// tesseraBatching is with what Tessera appends fastest on the machine that this was tried on: batches of a quarter of
// what is outstanding that need not be sent off early, a checkpoint a second, and an index that may lag far behind.
func tesseraBatching(outstanding int) []string {
	return []string{"--outstanding", fmt.Sprint(outstanding), "--batch", fmt.Sprint(max(1, outstanding/4)), "--age", "50ms",
		"--checkpoint", "1s", "--antispam-batch", "8192", "--antispam-bound", "65536"}
}

// BenchmarkPeerAppend: durable appends of 600-byte entries in process, ours (guarded, with identities) against Tessera's
// POSIX driver without and with its index of duplicates.
func BenchmarkPeerAppend(b *testing.B) {
	built(b, buildPeers)
	// What is left to do: we pack bundles, Tessera indexes what it has taken.
	for _, outstanding := range []int{4096, 8192} {
		b.Run(fmt.Sprint(outstanding), func(b *testing.B) {
			t := newTable(fmt.Sprintf("Durable append in process, %d-byte entries, %d outstanding; Tessera %v", leafSize, outstanding, tesseraBatching(outstanding)))
			note := func(name string, r filled) {
				t.add(name+": entries/s", r.Entries/r.Seconds)
				t.add(name+": entries/s until nothing is left to do", r.Entries/r.Settled)
				t.add(name+": CPU s per 100k", r.CPU/r.Entries*1e5)
			}
			for range rounds(b) {
				dir, _ := newDir(b)
				note("ours", fill(b, dir, "--entries", "100000", "--outstanding", fmt.Sprint(outstanding)))
				if err := os.RemoveAll(dir); err != nil {
					b.Fatal(err)
				}
				args := append([]string{"append", "--entries", "12000", "--size", fmt.Sprint(leafSize)}, tesseraBatching(outstanding)...)
				note("Tessera", tesserabench(b, args...))
				note("Tessera, antispam", tesserabench(b, append(args, "--antispam")...))
			}
			for _, peer := range []string{"Tessera", "Tessera, antispam"} {
				t.atLeast("ours: entries/s", peer+": entries/s", 3)
				t.atMost("ours: CPU s per 100k", peer+": CPU s per 100k", 1./3)
			}
			t.print(b)
		})
	}
}

// BenchmarkPeerLone: one append at a time, against an fsync and against Tessera, each at its quickest.
func BenchmarkPeerLone(b *testing.B) {
	built(b, buildPeers)
	t := newTable("A lone append, ms (p50 of 200; Tessera 20): durable, and published; Tessera with --batch 1 --checkpoint 100ms, its least")
	p50 := func(v []float64) float64 {
		slices.Sort(v)
		return v[len(v)/2] * 1000
	}
	for range rounds(b) {
		t.add("fsync of 4 KiB", p50(fsyncs(b, 200)))
		dir, _ := newDir(b)
		r := fill(b, dir, "--lone", "--entries", "200")
		t.add("ours, durable and guarded", p50(r.Durable))
		t.add("ours, published", p50(r.Published))
		r = tesserabench(b, "lone", "--entries", "20", "--size", fmt.Sprint(leafSize), "--batch", "1", "--checkpoint", "100ms")
		t.add("Tessera, durable", p50(r.Durable))
		t.add("Tessera, published", p50(r.Published))
	}
	t.atMost("ours, durable and guarded", "fsync of 4 KiB", 5)
	t.atMost("ours, published", "fsync of 4 KiB", 5)
	t.atMost("ours, durable and guarded", "Tessera, durable", 1)
	t.atMost("ours, published", "Tessera, published", 1)
	t.print(b)
}

// fsyncs returns how many seconds each of n writes of 4 KiB took to be durable.
func fsyncs(b *testing.B, n int) []float64 {
	b.Helper()
	f, err := os.Create(filepath.Join(scratch(b), "file"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page, took := make([]byte, 4096), make([]float64, n)
	for i := range took {
		start := time.Now()
		if _, err := f.WriteAt(page, 0); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		took[i] = time.Since(start).Seconds()
	}
	return took
}
