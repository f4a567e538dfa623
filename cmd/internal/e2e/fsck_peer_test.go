//go:build e2e

package e2e

import (
	"crypto/rand"
	"fmt"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/entry"
)

// timed runs a program to its end and returns what it printed, the seconds it took, and its seconds of CPU.
func timed(b *testing.B, name string, args ...string) (all string, seconds, cpu float64) {
	b.Helper()
	cmd := command(b.Context(), name, args...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tail(string(out)))
	}
	return string(out), time.Since(start).Seconds(), cpuOfEnded(cmd)
}

func cpuOfEnded(cmd *exec.Cmd) float64 {
	return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
}

// hashing hashes so many leaves of that size on all cores, each as a Merkle tree does, and returns the seconds it took
// and its seconds of CPU.
func hashing(leaves, size int) (seconds, cpu float64) {
	const distinct = 256 // of them fit into no level of cache but the last
	pool := make([]byte, distinct*size)
	_, _ = rand.Read(pool)
	before, start := cpuSeconds(), time.Now()
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < leaves; i += workers {
				entry.LeafHash(pool[i%distinct*size:][:size])
			}
		})
	}
	wg.Wait()
	return time.Since(start).Seconds(), cpuSeconds() - before
}

var hashedLeaves = regexp.MustCompile(`leaves +(\d+) hashed, (\d+) bytes`)

// ourFsck runs escortlogd fsck.
func ourFsck(b *testing.B, dir string) (leaves, bytes int, seconds, cpu float64) {
	b.Helper()
	all, seconds, cpu := timed(b, "escortlogd", "fsck", "--data", dir)
	m := hashedLeaves.FindStringSubmatch(all)
	if m == nil || !strings.HasSuffix(strings.TrimSpace(all), "ok") {
		b.Fatalf("fsck is not content:\n%s", tail(all))
	}
	leaves, _ = strconv.Atoi(m[1]) // the pattern lets only digits through
	bytes, _ = strconv.Atoi(m[2])
	return leaves, bytes, seconds, cpu
}

// BenchmarkPeerFsck: escortlogd fsck, which reads everything that is stored, against SHA-256 over the same leaves and
// against Tessera's fsck over the same log, served by escortlogd, whose CPU counts too, since reading costs. All bundles
// are stored compressed, as they are from the commit on that completes them.
func BenchmarkPeerFsck(b *testing.B) {
	built(b, buildPeers)
	const entries = 200000
	dir, vkeys := newDir(b)
	fill(b, dir, "--entries", fmt.Sprint(entries))
	key := write(b, scratch(b), "vkey", vkeys[0])
	t := newTable(fmt.Sprintf("fsck of %d entries, entries/s (and a second of CPU)", entries))
	note := func(name string, leaves int, seconds, cpu float64) {
		t.add(name, float64(leaves)/seconds)
		t.add(name+", CPU", float64(leaves)/cpu)
	}
	workers := []string{"1", "4", "16"}
	for range rounds(b) {
		leaves, bytes, seconds, cpu := ourFsck(b, dir)
		note("ours", leaves, seconds, cpu)
		seconds, cpu = hashing(leaves, bytes/leaves)
		note("SHA-256", leaves, seconds, cpu)
		s := startOurs(b, dir, vkeys)
		for _, n := range workers {
			server := cpuOf(b, s.process)
			all, seconds, cpu := timed(b, "fsck", "--storage_url", s.url+"/", "--public_key", key, "--ui=false", "-N", n)
			if !strings.Contains(all, "Successfully fsck'd") {
				b.Fatalf("Tessera's fsck is not content:\n%s", tail(all))
			}
			note("Tessera, -N "+n, leaves, seconds, cpu+cpuOf(b, s.process)-server)
		}
		s.stop()
	}
	for _, of := range []string{"", ", CPU"} {
		t.beside("ours"+of, "SHA-256"+of) // BenchmarkCheck of log has bundles that need not be decompressed
		for _, n := range workers {
			t.atLeast("ours"+of, "Tessera, -N "+n+of, 2)
		}
	}
	t.print(b)
}
