package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/storage/badger"
)

// BenchmarkSubmit submits over HTTP to a log on the disk, with its guard, and
// waits for each proof. The clients are a process of their own on the same
// machine, so that beside entries a second (entries/s), in which both have their
// share, stands what a second of the server's processor time brings
// (entries/cpu-s). Both have a peer that is measured in the same run: for signed
// events Ed25519 verification on all cores (ratio) and on one (cpu-ratio), for
// unsigned ones net/http answering the same requests with nothing.
func BenchmarkSubmit(b *testing.B) {
	for _, c := range []struct {
		name        string
		signed      bool
		batch, conn int
	}{
		{"unsigned/1", false, 1, 64},
		{"unsigned/1-1024", false, 1, 1024},
		{"unsigned/256", false, 256, 4},
		{"signed/1", true, 1, 64},
		{"signed/1-1024", true, 1, 1024},
		{"signed/256", true, 256, 4},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := benchFixture(b)
			status := http.StatusOK
			if c.batch == 1 {
				status = http.StatusCreated
			}
			requests := f.requests(b.N, c.batch, c.signed)
			b.ResetTimer()
			got := f.blast(f.url, c.conn, requests, b.N, status)
			b.StopTimer()
			got.times(float64(c.batch))
			b.ReportMetric(got.perSecond, "entries/s")
			b.ReportMetric(got.perCPU, "entries/cpu-s")
			var peer rates
			if c.signed {
				peer = verifyRates()
				b.ReportMetric(peer.perSecond, "verified/s")
			} else {
				peer = f.floorRates(min(b.N, 20000), c.conn, requests)
				peer.times(float64(c.batch))
				b.ReportMetric(peer.perSecond, "floor/s")
			}
			b.ReportMetric(got.perSecond/peer.perSecond, "ratio")
			b.ReportMetric(got.perCPU/peer.perCPU, "cpu-ratio")
		})
	}
}

// rates are how often something was done in a second, and in a second of this
// process's processor time.
type rates struct{ perSecond, perCPU float64 }

func (r *rates) times(n float64) { r.perSecond, r.perCPU = r.perSecond*n, r.perCPU*n }

// measure counts what f does n times.
func measure(n int, f func()) rates {
	start, cpu := time.Now(), cpuTime()
	f()
	return rates{float64(n) / time.Since(start).Seconds(), float64(n) / (cpuTime() - cpu).Seconds()}
}

// cpuTime returns the processor time that this process has used, in user and
// kernel mode.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFlood is about a good client while another address sends 5,000 bad
// signatures a second: how long 99 of 100 of its events take at most then, beside
// what they take when all is quiet, the two measured in turns. The goal is a
// ratio of at most 10. The other one's are in batches of 50.
func BenchmarkFlood(b *testing.B) {
	f := benchFixture(b)
	const batch, perSecond, clients, rounds = 50, 5000, 4, 5
	flood := filepath.Join(b.TempDir(), "flood")
	bodies, contentType := f.bodies(1, batch, true)
	bad := postRequest(contentType, badSignatures(bodies[0]))
	f.must(os.WriteFile(flood, append(binary.BigEndian.AppendUint32(nil, uint32(len(bad))), bad...), 0o600))
	measured := func(n int) []time.Duration {
		took := make([]time.Duration, n)
		var next atomic.Int64
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
					envelope := f.signed()
					start := time.Now()
					a, err := f.try(http.MethodPost, "/v1/events", bytes.NewReader(envelope), "Content-Type", typeDSSE)
					if took[i] = time.Since(start); err != nil || a.status != http.StatusCreated {
						b.Errorf("answer %+v, %v", a, err)
						return
					}
				}
			})
		}
		wg.Wait()
		return took
	}
	n := max(b.N/rounds, 200)
	var quiet, flooded []time.Duration
	b.ResetTimer()
	for range rounds {
		quiet = append(quiet, measured(n)...)
		c := f.startClient("flood", f.url, flood, perSecond/batch)
		c.proceed()
		flooded = append(flooded, measured(n)...)
		c.proceed()
		b.Log("the flood was answered", c.expect("done"))
		c.end()
	}
	b.StopTimer()
	p99 := func(took []time.Duration) float64 {
		slices.Sort(took)
		return took[len(took)*99/100].Seconds() * 1000
	}
	b.ReportMetric(p99(quiet), "quiet-p99-ms")
	b.ReportMetric(p99(flooded), "flood-p99-ms")
	b.ReportMetric(p99(flooded)/p99(quiet), "ratio")
	b.ReportMetric(10, "goal")
}

// badSignatures changes a bit in each signature of envelopes.
func badSignatures(envelopes []byte) []byte {
	const before = `"sig":"`
	bad := bytes.Clone(envelopes)
	for i := bytes.Index(bad, []byte(before)); i >= 0; {
		at := i + len(before)
		if bad[at] = 'A'; envelopes[at] == 'A' {
			bad[at] = 'B'
		}
		next := bytes.Index(bad[at:], []byte(before))
		if next < 0 {
			break
		}
		i = at + next
	}
	return bad
}

// BenchmarkRead reads what a log's readers read, over HTTP.
func BenchmarkRead(b *testing.B) {
	f := benchFixture(b)
	f.fill(600)
	f.client.CloseIdleConnections()
	eventually(b, "bundles are sealed", func() bool {
		return f.get("/tile/entries/001", "Accept-Encoding", "gzip").header.Get("Content-Encoding") == "gzip"
	})
	for _, path := range []string{"/checkpoint", "/tile/0/000", "/tile/0/002.p/64", "/tile/entries/001", "/v1/entries/300/proof"} {
		b.Run(strings.ReplaceAll(strings.Trim(path, "/"), "/", "_"), func(b *testing.B) {
			request := []byte("GET " + path + " HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
			f := *f
			f.TB = b
			b.ResetTimer()
			f.shoot(f.url, 64, b.N, func(int) []byte { return request }, http.StatusOK)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// benchFixture is a fixture on the disk.
func benchFixture(b *testing.B) *fixture {
	b.Helper()
	dir := b.TempDir()
	return newFixture(b, setup{
		genesis: func(g *event.Genesis) { g.AllowUnsigned = true },
		log: func(c *log.Config) {
			store, err := badger.Open(filepath.Join(dir, "db"), badger.Options{MinFree: 1})
			if err != nil {
				b.Fatal(err)
			}
			leaf := mustLeaf(b, c)
			head, err := log.Create(b.Context(), store, leaf.bytes, leaf.identity)
			if err != nil {
				b.Fatal(err)
			}
			guard, err := log.CreateGuard(filepath.Join(dir, "guard"), dir, testOrigin, head)
			if err != nil {
				b.Fatal(err)
			}
			c.Store, c.Guard = store, guard
			b.Cleanup(func() {
				if err := guard.Close(); err != nil {
					b.Error(err)
				}
				if err := store.Close(); err != nil {
					b.Error(err)
				}
			})
		},
	})
}

type genesisLeaf struct {
	bytes    []byte
	identity [32]byte
}

// mustLeaf takes leaf 0 out of the log in memory.
func mustLeaf(b *testing.B, c *log.Config) genesisLeaf {
	b.Helper()
	memory := *c
	l, err := log.Open(b.Context(), memory)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	bytes, err := l.Entry(b.Context(), 0)
	if err != nil {
		b.Fatal(err)
	}
	e, err := entry.Parse(bytes)
	if err != nil {
		b.Fatal(err)
	}
	ev, err := event.Parse(e.Payload)
	if err != nil {
		b.Fatal(err)
	}
	return genesisLeaf{bytes, entry.Identity(ev.Source, ev.ID)}
}

// bodies makes n requests of as many fresh events each, of about 600 bytes.
func (f *fixture) bodies(n, batch int, signed bool) (bodies [][]byte, contentType string) {
	f.Helper()
	source, contentType := testConsole, typeEvent
	if signed {
		source, contentType = testGateway, typeDSSE
	}
	if batch > 1 {
		contentType = strings.Replace(contentType, "+json", "-batch+json", 1)
	}
	data := map[string]any{"session_id": "s-1", "reason": strings.Repeat("x", 150), "paused_by": nil}
	bodies = make([][]byte, n)
	for i := range bodies {
		events := make([][]byte, batch)
		for j := range events {
			events[j] = f.payload(paused(source), data)
			if signed {
				events[j] = f.envelope(events[j], f.gateway)
			}
		}
		bodies[i] = events[0]
		if batch > 1 {
			bodies[i] = append(append([]byte{'['}, bytes.Join(events, []byte{','})...), ']')
		}
	}
	return bodies, contentType
}

// requests writes n requests of as many fresh events each into a file, each
// behind its length.
func (f *fixture) requests(n, batch int, signed bool) (file string) {
	f.Helper()
	file = filepath.Join(f.TempDir(), "requests")
	out, err := os.Create(file)
	f.must(err)
	w := bufio.NewWriterSize(out, 1<<20)
	for range n {
		bodies, contentType := f.bodies(1, batch, signed)
		request := postRequest(contentType, bodies[0])
		w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(request))))
		w.Write(request)
	}
	f.must(w.Flush())
	f.must(out.Close())
	runtime.GC()
	return file
}

// blast has a process of its own send the first n requests of a file over a
// number of connections, as often over as it takes.
func (f *fixture) blast(url string, connections int, file string, n, status int) rates {
	f.Helper()
	client := f.startClient("shoot", url, connections, file, n, status)
	r := measure(n, func() {
		client.proceed()
		client.expect("done")
	})
	client.end()
	return r
}

func postRequest(contentType string, body []byte) []byte {
	return append(fmt.Appendf(nil, "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", contentType, len(body)), body...)
}

// shoot sends n requests over new connections.
func (f *fixture) shoot(url string, connections, n int, request func(i int) []byte, status int) {
	f.Helper()
	conns := make([]net.Conn, connections)
	for i := range conns {
		var err error
		conns[i], err = net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		f.must(err)
	}
	f.must(shootOver(conns, n, request, status))
}

// shootOver sends n requests and reads the answers, with as little of a client as
// there can be, so that what is measured is the server. It closes the
// connections.
func shootOver(conns []net.Conn, n int, request func(i int) []byte, status int) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, len(conns))
	for _, conn := range conns {
		wg.Go(func() {
			defer conn.Close()
			r := bufio.NewReaderSize(conn, 16<<10)
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if _, err := conn.Write(request(int(i))); err != nil {
					failed <- err
					return
				}
				if got, err := readAnswer(r); err != nil || got != status {
					failed <- fmt.Errorf("status %d, %v", got, err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	return <-failed
}

// readAnswer reads one answer and drops its body.
func readAnswer(r *bufio.Reader) (status int, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, err
	}
	length := 0
	for {
		line, err = r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) == 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
	}
	_, err = io.CopyN(io.Discard, r, int64(length))
	return status, err
}

// verifyRates returns how many Ed25519 signatures a second all cores verify.
func verifyRates() rates {
	key := testKey("gateway").(ed25519.PrivateKey)
	public, message := key.Public().(ed25519.PublicKey), bytes.Repeat([]byte("x"), 600)
	sig := ed25519.Sign(key, message)
	const each = 4000
	return measure(each*runtime.GOMAXPROCS(0), func() {
		var wg sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				for range each {
					ed25519.Verify(public, message, sig)
				}
			})
		}
		wg.Wait()
	})
}

// floorRates returns how many of the requests a second net/http answers with
// nothing after reading them.
func (f *fixture) floorRates(n, connections int, requests string) rates {
	f.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	r := f.blast("http://"+l.Addr().String(), connections, requests, n, http.StatusOK)
	f.must(srv.Shutdown(context.Background()))
	<-served
	return r
}
