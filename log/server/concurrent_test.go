package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"go.uber.org/goleak"
)

// TestSameEventFromEverywhere: one event sent over many connections at once is
// logged once, and each of them is told where.
func TestSameEventFromEverywhere(t *testing.T) {
	f := newFixture(t, setup{})
	const events, senders = 8, 24
	for range events {
		envelope := f.signed()
		var created atomic.Int64
		indexes := make([]int64, senders)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range senders {
			wg.Go(func() {
				<-start
				a, err := f.try(http.MethodPost, "/v1/events", bytes.NewReader(envelope), "Content-Type", typeDSSE)
				if err != nil || a.status != http.StatusCreated && a.status != http.StatusOK {
					t.Errorf("answer %+v, %v", a, err)
					return
				}
				if a.status == http.StatusCreated {
					created.Add(1)
				}
				indexes[i] = a.receipt().Index
			})
		}
		close(start)
		wg.Wait()
		if created.Load() != 1 {
			t.Errorf("%d answers say 201, want 1", created.Load())
		}
		for _, index := range indexes {
			if index != indexes[0] {
				t.Fatalf("indexes %v", indexes)
			}
		}
	}
	if size := f.log.Head().Size; size != 2+events {
		t.Errorf("size %d, want %d", size, 2+events)
	}
}

// TestManySubmitters: every receipt of a crowd verifies, and no index is given
// twice.
func TestManySubmitters(t *testing.T) {
	f := newFixture(t, setup{})
	const submitters, each = 16, 10
	var mu sync.Mutex
	seen := make(map[int64]bool)
	var wg sync.WaitGroup
	for range submitters {
		wg.Go(func() {
			for range each {
				envelope := f.signed()
				a, err := f.try(http.MethodPost, "/v1/events", bytes.NewReader(envelope), "Content-Type", typeDSSE)
				if err != nil || a.status != http.StatusCreated {
					t.Errorf("answer %+v, %v", a, err)
					return
				}
				r := a.receipt()
				mu.Lock()
				if seen[r.Index] {
					t.Errorf("index %d was given twice", r.Index)
				}
				seen[r.Index] = true
				mu.Unlock()
				f.verify(envelope, r)
			}
		})
	}
	wg.Wait()
	if size := f.log.Head().Size; size != 2+submitters*each {
		t.Errorf("size %d, want %d", size, 2+submitters*each)
	}
}

// TestRevocationRacesWithSubmissions: whatever the order in which they arrive,
// no leaf of the key stands behind its revocation, and what was acknowledged
// stands before it. This replays the log as an auditor does.
func TestRevocationRacesWithSubmissions(t *testing.T) {
	f := newFixture(t, setup{})
	const rounds, submitters = 4, 8
	for round := range rounds {
		key := testKey(fmt.Sprintf("revoked in round %d", round))
		f.register(key, testConsole)
		var wg sync.WaitGroup
		ready := make(chan struct{}, submitters)
		for range submitters {
			wg.Go(func() {
				for i := 0; ; i++ {
					envelope := f.envelope(f.payload(paused(testConsole), pausedData), key)
					a, err := f.try(http.MethodPost, "/v1/events", bytes.NewReader(envelope), "Content-Type", typeDSSE, "Prefer", "respond-async")
					if i == 0 {
						ready <- struct{}{}
					}
					switch {
					case err != nil || a.status != http.StatusAccepted && a.status != http.StatusForbidden:
						t.Errorf("answer %+v, %v", a, err)
						return
					case a.status == http.StatusForbidden:
						return // revoked
					}
				}
			})
		}
		for range submitters {
			<-ready
		}
		f.post(typeDSSE, f.revocation(f.header(), key)).want(http.StatusCreated)
		wg.Wait()
	}
	f.replay()
}

// replay checks every leaf against the directory of those before it.
func (f *fixture) replay() {
	f.Helper()
	dir := event.NewDirectory()
	for index := range f.log.Head().Size {
		leaf, err := f.log.Entry(f.Context(), index)
		f.must(err)
		e, err := entry.Parse(leaf)
		f.must(err)
		if _, err := dir.CheckLeaf(index, e, nil); err != nil {
			f.Errorf("leaf %d: %v", index, err)
		}
	}
}

// interrupted is a log in which something happens just after the door has found
// its directory up to date.
type interrupted struct {
	*log.Log
	happen atomic.Pointer[func()]
}

func (l *interrupted) AuthorityCovered() int64 {
	covered := l.Log.AuthorityCovered()
	if f := l.happen.Swap(nil); f != nil {
		(*f)()
	}
	return covered
}

// TestDecidesAgain: a key revoked between the decision and the index lets nothing
// in any more; a change that does not matter lets the event in all the same.
func TestDecidesAgain(t *testing.T) {
	var l *interrupted
	f := newFixture(t, setup{wrap: func(inner *log.Log) Log { l = &interrupted{Log: inner}; return l }})
	interrupt := func(envelope func(event.Header) []byte) {
		body := envelope(f.header())
		happen := func() { f.post(typeDSSE, body).want(http.StatusCreated) }
		l.happen.Store(&happen)
	}
	interrupt(func(h event.Header) []byte { return f.registration(h, testKey("console"), testConsole) })
	f.post(typeDSSE, f.signed()).want(http.StatusCreated)
	interrupt(func(h event.Header) []byte { return f.revocation(h, f.gateway) })
	f.post(typeDSSE, f.signed()).wantProblem(http.StatusForbidden, event.SlugKeyRevoked)
	if size := f.log.Head().Size; size != 5 {
		t.Errorf("%d leaves, want 5", size)
	}
	f.replay()
}

// TestAuthorityRace: of two authority events built on the same one, exactly one
// is logged and the other told to look again.
func TestAuthorityRace(t *testing.T) {
	f := newFixture(t, setup{})
	for round := range 6 {
		h := f.header()
		statuses := make(chan int, 4)
		for i := range cap(statuses) {
			h.ID = newID()
			envelope := f.registration(h, testKey(fmt.Sprintf("racer %d %d", round, i)), testConsole)
			go func() {
				a, err := f.try(http.MethodPost, "/v1/events", bytes.NewReader(envelope), "Content-Type", typeDSSE)
				if err != nil {
					t.Error(err)
					statuses <- 0
					return
				}
				statuses <- a.status
			}()
		}
		count := make(map[int]int)
		for range cap(statuses) {
			count[<-statuses]++
		}
		if count[http.StatusCreated] != 1 || count[http.StatusConflict] != cap(statuses)-1 {
			t.Fatalf("statuses %v, want one 201 and the rest 409", count)
		}
	}
	f.replay()
}

// TestShutdownReleasesWaiters: a thousand submissions wait for a quorum that
// never comes; at shutdown each is answered 202, since its event is durable, and
// nothing is left behind.
func TestShutdownReleasesWaiters(t *testing.T) {
	before := goleak.IgnoreCurrent()
	const waiters = 1000
	s, _ := withWitness(t)
	f := newFixture(t, s)
	f.client.Transport.(*http.Transport).MaxIdleConnsPerHost = 0
	f.post(typeDSSE, f.registration(f.header(), f.gateway, testGateway), "Prefer", "wait=0").want(http.StatusAccepted)
	envelopes := make([][]byte, waiters)
	for i := range envelopes {
		envelopes[i] = f.signed()
	}
	var accepted atomic.Int64
	var wg sync.WaitGroup
	for _, envelope := range envelopes {
		wg.Go(func() {
			a, err := f.try(http.MethodPost, "/v1/events", bytes.NewReader(envelope), "Content-Type", typeDSSE, "Prefer", "wait=60")
			if err != nil || a.status != http.StatusAccepted {
				t.Errorf("answer %+v, %v", a, err)
				return
			}
			accepted.Add(1)
		})
	}
	eventually(t, "all events are durable and wait", func() bool { return f.log.Head().Size == 2+waiters && f.inFlight() == waiters })
	f.get("/readyz").want(http.StatusOK)
	f.must(f.stop())
	wg.Wait()
	if accepted.Load() != waiters {
		t.Errorf("%d waiters were answered 202, want %d", accepted.Load(), waiters)
	}
	f.must(f.log.Close())
	f.client.CloseIdleConnections()
	goleak.VerifyNone(t, before)
}

// TestClientGoesAway: whoever hangs up while waiting leaves nothing behind, and
// his event is logged.
func TestClientGoesAway(t *testing.T) {
	s, _ := withWitness(t)
	f := newFixture(t, s)
	registration := f.registration(f.header(), f.gateway, testGateway)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url+"/v1/events", bytes.NewReader(registration))
	f.must(err)
	req.Header.Set("Content-Type", typeDSSE)
	done := make(chan error, 1)
	go func() {
		resp, err := f.client.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	eventually(t, "the event is durable", func() bool { return f.log.Head().Size == 2 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the request ended with %v", err)
	}
	eventually(t, "nothing is in flight", func() bool { return f.inFlight() == 0 })
}

// TestFloodOfBadSignatures: an address that sends nothing but bad signatures is
// told to stop; an event from another one goes through meanwhile.
func TestFloodOfBadSignatures(t *testing.T) {
	f := newFixture(t, setup{config: func(c *Config) {
		c.Limits.FailuresPerSecond, c.Limits.FailureBurst = 1, 256
		c.TrustedProxies = append(c.TrustedProxies, loopbackPrefix)
	}})
	bad := f.signed()
	bad = bytes.Replace(bad, []byte(`"sig":"`), []byte(`"sig":"AAAA`), 1)
	var batches []byte
	for range 256 {
		batches = append(batches, ',')
		batches = append(batches, bad...)
	}
	flood := append(append([]byte("["), batches[1:]...), ']')
	f.post(typeDSSEBatch, flood, "X-Forwarded-For", "203.0.113.7").want(http.StatusOK)
	a := f.post(typeDSSE, bad, "X-Forwarded-For", "203.0.113.7")
	a.wantProblem(http.StatusTooManyRequests, "rate-limited")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	f.post(typeDSSE, f.signed(), "X-Forwarded-For", "203.0.113.8").want(http.StatusCreated)
}

// TestInFlightOverHTTP: with all places taken, the next one is told to come back,
// and readers are not held up.
func TestInFlightOverHTTP(t *testing.T) {
	s, _ := withWitness(t)
	s.config = chain(s.config, func(c *Config) { c.Limits.InFlight, c.Limits.InFlightPerClient = 2, 5 })
	f := newFixture(t, s)
	f.post(typeDSSE, f.registration(f.header(), f.gateway, testGateway), "Prefer", "wait=0").want(http.StatusAccepted)
	var wg sync.WaitGroup
	for range 2 {
		envelope := f.signed()
		wg.Go(func() {
			if a, err := f.try(http.MethodPost, "/v1/events", bytes.NewReader(envelope), "Content-Type", typeDSSE, "Prefer", "wait=60"); err != nil || a.status != http.StatusAccepted {
				t.Errorf("answer %+v, %v", a, err)
			}
		})
	}
	eventually(t, "two are in flight", func() bool { return f.inFlight() == 2 })
	a := f.post(typeDSSE, f.signed())
	a.wantProblem(http.StatusServiceUnavailable, "overloaded")
	a.wantHeader("Retry-After", "1")
	f.get("/checkpoint").wantProblem(http.StatusNotFound, "not-published")
	f.must(f.stop())
	wg.Wait()
}

func chain(fs ...func(*Config)) func(*Config) {
	return func(c *Config) {
		for _, f := range fs {
			f(c)
		}
	}
}

// raw sends bytes over a connection of its own and returns the answer to them.
func (f *fixture) raw(text string) (*http.Response, []byte) {
	f.Helper()
	conn := f.dial()
	defer conn.Close()
	_, err := io.WriteString(conn, text)
	f.must(err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	f.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	f.must(err)
	return resp, body
}

func (f *fixture) dial() net.Conn {
	f.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	f.must(err)
	f.must(conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// TestSlowBody: a body that does not come is given up, and costs little memory
// meanwhile, whatever it claims.
func TestSlowBody(t *testing.T) {
	f := newFixture(t, setup{config: func(c *Config) { c.Limits.BodyTimeout = 50 * time.Millisecond }})
	resp, body := f.raw("POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: " + typeDSSEBatch + "\r\nContent-Length: 4000000\r\n\r\n[")
	if resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(body), "timeout") || !resp.Close {
		t.Errorf("answer %v %s", resp, body)
	}
	eventually(t, "nothing is in flight", func() bool { return f.inFlight() == 0 })
}

func TestSlowBodyHoldsLittle(t *testing.T) {
	f := newFixture(t, setup{})
	conn := f.dial()
	defer conn.Close()
	_, err := io.WriteString(conn, "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: "+typeDSSEBatch+"\r\nContent-Length: 4000000\r\n\r\n["+strings.Repeat(" ", 5000))
	f.must(err)
	held := func() int64 { _, n := f.server.limiter.load(); return n }
	eventually(t, "bytes are held", func() bool { return held() > 4096 })
	if n := held(); n > 3*5000 {
		t.Errorf("%d bytes are held for 5,001 that came", n)
	}
}

// TestChunkedBody: the limits hold where no length is announced.
func TestChunkedBody(t *testing.T) {
	f := newFixture(t, setup{})
	chunk := strings.Repeat(" ", 1000)
	big := strings.Repeat(fmt.Sprintf("%x\r\n%s\r\n", len(chunk), chunk), 140) + "0\r\n\r\n"
	for contentType, slug := range map[string]string{typeDSSE: "too-large", "text/plain": "too-large"} {
		resp, body := f.raw("POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: " + contentType + "\r\nTransfer-Encoding: chunked\r\n\r\n" + big)
		if resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(body), slug) {
			t.Errorf("%s: answer %d %s", contentType, resp.StatusCode, body)
		}
	}
	envelope := f.signed()
	resp, body := f.raw(fmt.Sprintf("POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", typeDSSE, len(envelope), envelope))
	if resp.StatusCode != http.StatusCreated {
		t.Errorf("answer %d %s", resp.StatusCode, body)
	}
	if resp, body = f.raw("POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: " + typeDSSE + "\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("broken chunk: answer %d %s", resp.StatusCode, body)
	}
}

// TestConnectionsAreBounded: beyond the limit a connection is closed, and closed
// ones make room.
func TestConnectionsAreBounded(t *testing.T) {
	f := newFixture(t, setup{bare: true, config: func(c *Config) { c.Limits.Connections = 3 }})
	var conns []net.Conn
	for range 3 {
		conn := f.dial()
		conns = append(conns, conn)
		_, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		f.must(err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		f.must(err)
		_, err = io.Copy(io.Discard, resp.Body)
		f.must(err)
	}
	fourth := f.dial()
	defer fourth.Close()
	if _, err := fourth.Read(make([]byte, 1)); err == nil {
		t.Error("a fourth connection was not closed")
	}
	for _, conn := range conns {
		conn.Close()
	}
	eventually(t, "there is room again", func() bool {
		conn := f.dial()
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
			return false
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// TestServeEndsWithTheLog: a log that stopped for good ends the server, so that
// whoever runs it can open it again.
func TestServeEndsWithTheLog(t *testing.T) {
	f := newFixture(t, setup{})
	f.must(f.log.Close())
	if err := f.ended(); !errors.Is(err, log.ErrStopped) {
		t.Errorf("Serve = %v, want ErrStopped", err)
	}
}

func TestMain(m *testing.M) {
	if arguments := os.Getenv(clientVariable); arguments != "" {
		if err := runClient(arguments); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}
