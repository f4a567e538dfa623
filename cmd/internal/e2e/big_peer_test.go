//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bigEnv is how many entries BenchmarkBig appends.
const bigEnv = "ESCORTLOG_BIG"

// latency is the median of the milliseconds that n requests took, one after another.
func latency(b *testing.B, url string, n int, request func(i int) []byte, status int) float64 {
	b.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 64<<10)
	took := make([]float64, n)
	for i := range took {
		q := request(i)
		start := time.Now()
		if _, err := conn.Write(q); err != nil {
			b.Fatal(err)
		}
		if got, err := readAnswer(r); err != nil || got != status {
			b.Fatalf("status %d, %v", got, err)
		}
		took[i] = time.Since(start).Seconds() * 1000
	}
	slices.Sort(took)
	return took[n/2]
}

// lone measures what somebody who is alone with the log sees: appends, and reads at random places below size.
func lone(b *testing.B, t *table, where string, s *ourServer, size int) {
	b.Helper()
	appends := unsignedLoads(b, 200, 1)
	t.add("a lone append, "+where+", ms", latency(b, s.url, len(appends.bodies), func(i int) []byte {
		return post("/v1/events", appends.contentType, appends.bodies[i])
	}, http.StatusCreated))
	get := func(path string) []byte {
		return []byte("GET " + path + " HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
	}
	t.add("a proof, "+where+", ms", latency(b, s.url, 1000, func(int) []byte {
		return get(fmt.Sprintf("/v1/entries/%d/proof", rand.IntN(size)))
	}, http.StatusOK))
	t.add("a bundle, "+where+", ms", latency(b, s.url, 1000, func(int) []byte {
		return get("/tile/entries/" + tilePath(rand.IntN(size/256)))
	}, http.StatusOK))
}

// tilePath is the number of a tile in groups of three digits (https://c2sp.org/tlog-tiles).
func tilePath(n int) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	return path
}

// BenchmarkBig fills a log with ten million entries (or as many as the environment says), kills it with SIGKILL, and
// asks whether it is then still as quick and as small as at its beginning.
func BenchmarkBig(b *testing.B) {
	built(b, buildPeers)
	entries := 10_000_000
	if text := os.Getenv(bigEnv); text != "" {
		var err error
		if entries, err = strconv.Atoi(text); err != nil || entries < 100_000 {
			b.Fatalf("%s=%q: want a number of at least 100000", bigEnv, text)
		}
	}
	parts := 10
	dir, vkeys := newDir(b)
	needFree(b, dir, int64(entries)*1200)

	t := newTable(fmt.Sprintf("A log of %d entries of %d bytes", entries, leafSize))
	fill(b, dir, "--entries", "20000")
	s := startOurs(b, dir, vkeys)
	lone(b, t, "small log", s, 20000)
	s.stop()

	filling := startCommand(b, "filler", fillCommand(dir, "--entries", fmt.Sprint(entries), "--every", fmt.Sprint(entries/parts), "--settle=false", "--stay"))
	var r filled
	for { // as long as it takes, unless it ends
		if json.Unmarshal([]byte(filling.out.String()), &r) == nil {
			break
		}
		select {
		case <-filling.done:
			b.Fatalf("the filler ended: %s", tail(filling.out.String()))
		case <-time.After(time.Second):
		}
	}
	for _, seconds := range r.Every {
		t.add("entries/s, tenth by tenth", float64(entries/parts)/seconds)
	}
	t.add("entries/s, first tenth", float64(entries/parts)/r.Every[0])
	t.add("entries/s, last tenth", float64(entries/parts)/r.Every[parts-1])
	t.add("CPU s per 100k", r.CPU/r.Entries*1e5)
	t.add("RssAnon at the end, MB", procNumber(b, filling, "status", "RssAnon")/1024)
	if err := filling.cmd.Process.Kill(); err != nil {
		b.Fatal(err)
	}
	<-filling.done
	t.add("disk, bytes an entry", onDisk(b, dir)/r.Entries)

	begin := time.Now()
	s = startOurs(b, dir, vkeys)
	s.await(b, "its being ready", func() bool {
		resp, err := http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	t.add("start after kill -9, s", time.Since(begin).Seconds())
	t.add("RssAnon after the start, MB", procNumber(b, s.process, "status", "RssAnon")/1024)
	lone(b, t, "big log", s, entries)
	t.add("RssAnon after some reads, MB", procNumber(b, s.process, "status", "RssAnon")/1024)
	s.stop()

	leaves, bytes, seconds, cpu := ourFsck(b, dir)
	t.add("fsck, entries/s", float64(leaves)/seconds)
	t.add("fsck, entries per CPU s", float64(leaves)/cpu)
	seconds, cpu = hashing(leaves, bytes/leaves)
	t.add("SHA-256, entries/s", float64(leaves)/seconds)
	t.add("SHA-256, entries per CPU s", float64(leaves)/cpu)

	t.add("3 s", 3)
	t.add("1 GiB, MB", 1024)
	t.atLeast("entries/s, last tenth", "entries/s, first tenth", 0.8)
	t.atMost("start after kill -9, s", "3 s", 1)
	t.atMost("RssAnon at the end, MB", "1 GiB, MB", 1)
	t.atMost("RssAnon after some reads, MB", "1 GiB, MB", 1)
	for _, what := range []string{"a lone append", "a proof", "a bundle"} {
		t.beside(what+", big log, ms", what+", small log, ms")
	}
	t.atLeast("fsck, entries/s", "SHA-256, entries/s", 0.7)
	t.print(b)
}

// needFree says so when the disk is too small, before it is full.
func needFree(b *testing.B, dir string, bytes int64) {
	b.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		b.Fatal(err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < bytes {
		b.Fatalf("this needs %.1f GB free in %s, where there are %.1f GB: make room, choose another TMPDIR, or a smaller BIG",
			float64(bytes)/1e9, dir, float64(free)/1e9)
	}
}
