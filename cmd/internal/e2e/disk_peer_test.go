//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/tile"
	"github.com/klauspost/compress/gzip"
)

// onDisk is how many bytes the files in dir take, holes left out.
func onDisk(b *testing.B, dir string) float64 {
	b.Helper()
	total := int64(0)
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		total += info.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return float64(total)
}

// gzippedBundles is how many bytes these leaves take in bundles of 256, each compressed with gzip -6.
func gzippedBundles(b *testing.B, leaves int) float64 {
	b.Helper()
	r, err := newRealistic()
	if err != nil {
		b.Fatal(err)
	}
	total := 0
	for n := 0; n < leaves; n += tile.Width {
		var out bytes.Buffer
		w, err := gzip.NewWriterLevel(&out, 6)
		if err != nil {
			b.Fatal(err)
		}
		for range min(tile.Width, leaves-n) {
			s, err := r.submission()
			if err != nil {
				b.Fatal(err)
			}
			if _, err := w.Write(append([]byte{byte(len(s.Leaf) >> 8), byte(len(s.Leaf))}, s.Leaf...)); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
		total += out.Len()
	}
	return float64(total)
}

// BenchmarkPeerDisk: what a log of realistic events takes on the disk, just after they came and once all is packed,
// and how much the server writes for each byte of them, under load and when little comes. Linux counts a large folio of
// the page cache (up to 2 MiB) as written when any byte of it is; through a map all of it does go to the disk.
func BenchmarkPeerDisk(b *testing.B) {
	built(b, buildPeers)
	b.Run("size", func(b *testing.B) {
		const leaves, perLeaf = 300000, 100
		t := newTable(fmt.Sprintf("Disk: %d events of escorted work, MB", leaves))
		dir, vkeys := newDir(b)
		empty := onDisk(b, dir)
		hot := fill(b, dir, "--realistic", "--entries", fmt.Sprint(leaves), "--settle=false")
		t.add("leaves", hot.Bytes/1e6)
		t.add("log, just after they came and it was stopped", (onDisk(b, dir)-empty)/1e6)
		// Whatever a log does by itself when it is left alone, until its size stays the same for longer than it waits
		// before it looks for space (storage/badger.Options.ReclaimIdle).
		s := startOurs(b, dir, vkeys)
		size, same := onDisk(b, dir), 0
		for end := time.Now().Add(4 * time.Minute); same < 20 && time.Now().Before(end); {
			time.Sleep(2 * time.Second)
			now := onDisk(b, dir)
			if same++; now != size {
				same = 0
			}
			size = now
		}
		t.add("log, left alone", (size-empty)/1e6)
		s.stop()
		// What the store gives back once it has taken enough to look for it (storage/badger.Options.ReclaimAfter).
		fill(b, dir, "--entries", "0", "--settle=false", "--reclaim")
		t.add("log, reclaimed", (onDisk(b, dir)-empty)/1e6)
		t.add("gzip -6 of the bundles + 100 bytes a leaf", (gzippedBundles(b, leaves)+leaves*perLeaf)/1e6)
		t.atMost("log, just after they came and it was stopped", "leaves", 1.3)
		t.atMost("log, left alone", "gzip -6 of the bundles + 100 bytes a leaf", 1)
		t.atMost("log, reclaimed", "gzip -6 of the bundles + 100 bytes a leaf", 1)
		t.print(b)
	})
	b.Run("written", func(b *testing.B) {
		dir, vkeys := newDir(b)
		s := startOurs(b, dir, vkeys)
		t := newTable("Disk: bytes that the server wrote for each byte of payload, of unsigned events")
		const payload = leafSize - overhead
		written := func(events int, load func()) float64 {
			before := procNumber(b, s.process, "io", "write_bytes")
			load()
			time.Sleep(5 * time.Second) // what was put off counts, too
			return (procNumber(b, s.process, "io", "write_bytes") - before) / float64(events*payload)
		}
		const batches = 300
		many := unsignedLoads(b, batches, 256)
		t.add("under load", written(batches*256, func() { many.toOurs(b, s, 4) }))
		const perSecond, seconds = 100, 45
		few := unsignedLoads(b, perSecond*seconds, 1)
		t.add("100 events a second", written(perSecond*seconds, func() {
			tick := time.NewTicker(time.Second / perSecond)
			defer tick.Stop()
			shoot(b, s.url, 16, len(few.bodies), func(i int) []byte {
				<-tick.C
				return post("/v1/events", few.contentType, few.bodies[i])
			}, http.StatusCreated)
		}))
		t.add("one", 1)
		t.atMost("under load", "one", 4)
		t.atMost("100 events a second", "one", 10)
		t.print(b)
	})
}
