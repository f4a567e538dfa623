package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/storage/badger"
)

// BenchmarkSubmit submits over HTTP to a log on the disk, with its guard, and
// waits for each proof. Clients and server share the machine. Beside each stand
// what the machine can do at best: verifying the same signatures on all cores
// (verified/s), and net/http answering the same requests with nothing
// (floor/s), both measured in the same run.
func BenchmarkSubmit(b *testing.B) {
	for _, c := range []struct {
		name        string
		signed      bool
		batch, conn int
	}{
		{"unsigned/1", false, 1, 64},
		{"unsigned/256", false, 256, 4},
		{"signed/1", true, 1, 64},
		{"signed/256", true, 256, 4},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := benchFixture(b)
			bodies, contentType := f.bodies(b.N, c.batch, c.signed)
			b.ResetTimer()
			f.blast(f.url, c.conn, bodies, contentType, c.batch == 1)
			b.StopTimer()
			entries := float64(b.N*c.batch) / b.Elapsed().Seconds()
			b.ReportMetric(entries, "entries/s")
			if c.signed {
				verified := verifyRate()
				b.ReportMetric(verified, "verified/s")
				b.ReportMetric(entries/verified, "ratio")
			} else {
				floor := f.floorRate(min(b.N, 5000), c.conn, bodies, contentType)
				b.ReportMetric(floor*float64(c.batch), "floor/s")
				b.ReportMetric(entries/float64(c.batch)/floor, "ratio")
			}
		})
	}
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

// blast posts the bodies over a number of connections.
func (f *fixture) blast(url string, connections int, bodies [][]byte, contentType string, single bool) {
	f.Helper()
	status := http.StatusOK
	if single {
		status = http.StatusCreated
	}
	f.shoot(url, connections, len(bodies), func(i int) []byte { return postRequest(contentType, bodies[i]) }, status)
}

func postRequest(contentType string, body []byte) []byte {
	return append(fmt.Appendf(nil, "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", contentType, len(body)), body...)
}

// shoot sends n requests and reads the answers, with as little of a client as
// there can be, so that what is measured is the server.
func (f *fixture) shoot(url string, connections, n int, request func(i int) []byte, status int) {
	f.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				f.Error(err)
				return
			}
			defer conn.Close()
			r := bufio.NewReaderSize(conn, 64<<10)
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if _, err := conn.Write(request(int(i))); err != nil {
					f.Error(err)
					return
				}
				if got, err := readAnswer(r); err != nil || got != status {
					f.Errorf("status %d, %v", got, err)
					return
				}
			}
		})
	}
	wg.Wait()
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

// verifyRate returns how many Ed25519 signatures a second all cores verify.
func verifyRate() float64 {
	key := testKey("gateway").(ed25519.PrivateKey)
	public, message := key.Public().(ed25519.PublicKey), bytes.Repeat([]byte("x"), 600)
	sig := ed25519.Sign(key, message)
	const each = 4000
	start := time.Now()
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for range each {
				ed25519.Verify(public, message, sig)
			}
		})
	}
	wg.Wait()
	return float64(each*runtime.GOMAXPROCS(0)) / time.Since(start).Seconds()
}

// floorRate returns how many of the requests a second net/http answers with
// nothing after reading them.
func (f *fixture) floorRate(n, connections int, bodies [][]byte, contentType string) float64 {
	f.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	start := time.Now()
	f.shoot("http://"+l.Addr().String(), connections, n, func(i int) []byte { return postRequest(contentType, bodies[i%len(bodies)]) }, http.StatusOK)
	rate := float64(n) / time.Since(start).Seconds()
	f.must(srv.Shutdown(context.Background()))
	<-served
	return rate
}
