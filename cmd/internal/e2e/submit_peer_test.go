//go:build e2e

package e2e

import (
	"bytes"
	"crypto"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// ourServer is a running escortlogd that takes unsigned events.
type ourServer struct {
	*process
	dir, url string
	vkeys    []string
}

func startOurs(b *testing.B, dir string, vkeys []string) *ourServer {
	b.Helper()
	listen := filepath.Join(scratch(b), "address")
	p := start(b, dir, "escortlogd", "serve", "--data", dir, "--listen", "127.0.0.1:0", "--listen-file", listen, "--log-level", "warn")
	return &ourServer{process: p, dir: dir, url: serving(b, p, listen), vkeys: vkeys}
}

// register lets a new key sign events of signedSource.
func (s *ourServer) register(b *testing.B) crypto.Signer {
	b.Helper()
	key := filepath.Join(scratch(b), "key")
	must(b, "escortlog", "keygen", "-o", key)
	must(b, "escortlog", "register-key", "--log", s.url, "--admin", filepath.Join(s.dir, "admin.key"), "--key", key+".pub", "--source", signedSource)
	signer, err := event.ParsePrivateKeyPEM([]byte(read(b, key)))
	if err != nil {
		b.Fatal(err)
	}
	return signer
}

// startConformance starts Tessera's own server, whose batching is fixed, on a directory.
func startConformance(b *testing.B, dir string) (p *process, url string) {
	b.Helper()
	must(b, "tessera", "keygen", "--name", "tessera.example/bench", "--out", dir)
	addr := freePort(b)
	p = start(b, dir, "posix", "--storage_dir", filepath.Join(dir, "log"), "--listen", addr, "--private_key", filepath.Join(dir, "skey"))
	p.await(b, "an answer on "+addr, func() bool {
		resp, err := http.Get("http://" + addr + "/checkpoint")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p, "http://" + addr
}

// startTuned starts the same handler with batches for so many connections.
func startTuned(b *testing.B, connections int, more ...string) (p *process, url string) {
	b.Helper()
	dir := scratch(b)
	listen := filepath.Join(dir, "address")
	p = start(b, dir, "tesserabench", append([]string{"serve", "--dir", filepath.Join(dir, "log"), "--listen-file", listen,
		"--batch", fmt.Sprint(max(1, connections/4)), "--age", "50ms", "--antispam-batch", "8192", "--antispam-bound", "65536"}, more...)...)
	var addr string
	p.await(b, "its address in "+listen, func() bool {
		text, err := os.ReadFile(listen)
		addr = strings.TrimSpace(string(text))
		return err == nil && strings.HasSuffix(string(text), "\n")
	})
	return p, "http://" + addr
}

// loads are requests made before the clock runs.
type loads struct {
	bodies      [][]byte
	contentType string
	batch       int
}

// unsignedLoads makes n requests of batch fresh events each.
func unsignedLoads(b *testing.B, n, batch int) loads {
	b.Helper()
	return newLoads(b, n, batch, "application/cloudevents+json", unsignedSource, func(payload []byte) ([]byte, error) { return payload, nil })
}

// signedLoads makes the same with signed events.
func signedLoads(b *testing.B, n, batch int, key crypto.Signer) loads {
	b.Helper()
	return newLoads(b, n, batch, "application/vnd.dsse+json", signedSource, func(payload []byte) ([]byte, error) {
		sig, err := event.Sign(key, entry.PayloadType, payload)
		if err != nil {
			return nil, err
		}
		e := entry.Envelope{PayloadType: entry.PayloadType, Payload: payload, Signatures: []entry.Signature{sig}}
		return bytes.TrimSpace(e.Marshal()), nil
	})
}

func newLoads(b *testing.B, n, batch int, contentType, source string, wrap func([]byte) ([]byte, error)) loads {
	b.Helper()
	m, err := newMaker(source, leafSize-overhead)
	if err != nil {
		b.Fatal(err)
	}
	events := make([][]byte, n*batch)
	for i := range events {
		events[i], _ = m.next()
	}
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(events); i += workers {
				var err error
				if events[i], err = wrap(events[i]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	if batch == 1 {
		return loads{events, contentType, batch}
	}
	l := loads{contentType: strings.Replace(contentType, "+json", "-batch+json", 1), batch: batch}
	for i := range n {
		body := append([]byte{'['}, bytes.Join(events[i*batch:(i+1)*batch], []byte{','})...)
		l.bodies = append(l.bodies, append(body, ']'))
	}
	return l
}

// toOurs sends the loads to our log. It returns entries a second, and a CPU second of the server.
func (l loads) toOurs(b *testing.B, s *ourServer, connections int) (perSecond, perCPUSecond float64) {
	b.Helper()
	status := http.StatusOK
	if l.batch == 1 {
		status = http.StatusCreated
	}
	return l.send(b, s.process, s.url, "/v1/events", connections, status)
}

// toTessera sends them to a server of Tessera's.
func (l loads) toTessera(b *testing.B, p *process, url string, connections int) (perSecond, perCPUSecond float64) {
	b.Helper()
	return l.send(b, p, url, "/add", connections, http.StatusOK)
}

func (l loads) send(b *testing.B, p *process, url, path string, connections, status int) (perSecond, perCPUSecond float64) {
	b.Helper()
	cpu := cpuOf(b, p)
	took := shoot(b, url, connections, len(l.bodies), func(i int) []byte { return post(path, l.contentType, l.bodies[i]) }, status)
	entries := float64(len(l.bodies) * l.batch)
	return entries / took, entries / (cpuOf(b, p) - cpu)
}

// BenchmarkPeerSubmit: unsigned events over HTTP, one a request and 256 a request, against Tessera's POSIX conformance
// server (batches of 256, sent off after a second) and against the same handler with batches for these connections.
// Each of our answers comes with a proof to a published checkpoint, each of Tessera's with an index. The load
// generator shares the cores with the servers, so entries are also told by the second of the server's CPU.
func BenchmarkPeerSubmit(b *testing.B) {
	built(b, buildPeers)
	dir, vkeys := newDir(b)
	ours := startOurs(b, dir, vkeys)
	conformance, conformanceURL := startConformance(b, scratch(b))
	for _, connections := range []int{64, 1024} {
		b.Run(fmt.Sprint(connections), func(b *testing.B) {
			t := newTable(fmt.Sprintf("Unsigned events over HTTP, %d connections, entries/s (and a second of the server's CPU)", connections))
			note := func(name string) func(perSecond, perCPUSecond float64) {
				return func(perSecond, perCPUSecond float64) {
					t.add(name, perSecond)
					t.add(name+", CPU", perCPUSecond)
				}
			}
			tuned, tunedURL := startTuned(b, connections)
			spam, spamURL := startTuned(b, connections, "--antispam")
			// Batches of 256 wait for 256 connections, or a second.
			few := 10000
			if connections < 256 {
				few = 3 * connections
			}
			for range rounds(b) {
				note("ours, one a request")(unsignedLoads(b, 15000, 1).toOurs(b, ours, connections))
				note("ours, 256 a request, 4 connections")(unsignedLoads(b, 150, 256).toOurs(b, ours, 4))
				note("Tessera conformance, one a request")(unsignedLoads(b, few, 1).toTessera(b, conformance, conformanceURL, connections))
				note("Tessera tuned, one a request")(unsignedLoads(b, 10000, 1).toTessera(b, tuned, tunedURL, connections))
				note("Tessera tuned, antispam, one a request")(unsignedLoads(b, 10000, 1).toTessera(b, spam, spamURL, connections))
			}
			for _, peer := range []string{"Tessera conformance", "Tessera tuned", "Tessera tuned, antispam"} {
				t.atLeast("ours, one a request", peer+", one a request", 1)
				t.atLeast("ours, 256 a request, 4 connections", peer+", one a request", 5)
			}
			t.beside("ours, one a request, CPU", "Tessera tuned, one a request, CPU")
			t.beside("ours, 256 a request, 4 connections, CPU", "Tessera tuned, one a request, CPU")
			t.print(b)
		})
	}
}

// BenchmarkPeerSigned: signed events over HTTP against raw Ed25519 verification on all cores, by the clock and by the
// second of CPU of whoever verifies: that is what the server makes of the cores it gets.
func BenchmarkPeerSigned(b *testing.B) {
	built(b, buildPeers)
	dir, vkeys := newDir(b)
	ours := startOurs(b, dir, vkeys)
	key := ours.register(b)
	t := newTable("Signed events over HTTP, entries/s (and a second of the server's CPU)")
	for range rounds(b) {
		perSecond, perCPUSecond := verifying()
		t.add("Ed25519 verification", perSecond)
		t.add("Ed25519 verification, CPU", perCPUSecond)
		for _, c := range []struct {
			name                  string
			n, batch, connections int
		}{
			{"ours, one a request, 64 connections", 8000, 1, 64},
			{"ours, one a request, 1,024 connections", 15000, 1, 1024},
			{"ours, 256 a request, 4 connections", 100, 256, 4},
		} {
			perSecond, perCPUSecond := signedLoads(b, c.n, c.batch, key).toOurs(b, ours, c.connections)
			t.add(c.name, perSecond)
			t.add(c.name+", CPU", perCPUSecond)
		}
	}
	for _, of := range []string{"", ", CPU"} {
		t.atLeast("ours, one a request, 64 connections"+of, "Ed25519 verification"+of, 0.45)
		t.atLeast("ours, one a request, 1,024 connections"+of, "Ed25519 verification"+of, 0.45)
		t.atLeast("ours, 256 a request, 4 connections"+of, "Ed25519 verification"+of, 0.70)
	}
	t.print(b)
}
