//go:build e2e

package server

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/entry"
	"go.uber.org/goleak"
)

// connections returns how many connections a test can open of those it wants,
// after it has raised the limit on open files as far as it goes.
func connections(t *testing.T, want int) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < limit.Max {
		limit.Cur = limit.Max
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	const others = 500 // files that are no connections of the crowd
	if n := int(min(limit.Cur, 1<<30)) - others; n < want {
		t.Logf("only %d connections instead of %d: the limit on open files is %d", n, want, limit.Cur)
		return n
	}
	return want
}

// heldBytes returns the bytes of heap and stacks in use, after collecting.
func heldBytes() int64 {
	for range 3 { // what is in pools is let go by the second collection after its last use
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestLoadCrowd: ten thousand connections that are silent, half open, or send a
// byte a second hold a bounded amount of memory, are closed at the server's
// deadlines, and keep nobody else from being served.
func TestLoadCrowd(t *testing.T) {
	n := connections(t, 10_000)
	const deadline, slack, perConnection = 20 * time.Second, 20 * time.Second, 48 << 10
	f := newFixture(t, setup{config: func(c *Config) {
		c.Limits.HeaderTimeout, c.Limits.BodyTimeout = deadline, deadline
	}})
	f.post(typeDSSE, f.signed()).want(http.StatusCreated)
	before, goroutines := heldBytes(), runtime.NumGoroutine()

	crowd := f.startClient("crowd", f.url, n, int64(deadline+slack))
	opened := runtime.NumGoroutine() - goroutines
	during := heldBytes()
	t.Logf("%d connections, %d goroutines: %d bytes a connection", n, opened, (during-before)/int64(n))
	if opened < n/2 {
		t.Errorf("only %d goroutines serve %d connections: the crowd is not there any more", opened, n)
	}
	if during-before > int64(n)*perConnection {
		t.Errorf("%d bytes a connection, want at most %d", (during-before)/int64(n), perConnection)
	}
	var took []time.Duration
	for range 100 {
		start := time.Now()
		f.post(typeDSSE, f.signed()).want(http.StatusCreated)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	t.Logf("beside them an event takes %v, 99 of 100 at most %v", took[50], took[98])

	var closed int
	var longest time.Duration
	var kind string
	if _, err := fmt.Sscanf(crowd.expect("closed"), "%d %d %s", &closed, (*int64)(&longest), &kind); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d were closed, after at most %v (%s)", closed, longest, kind)
	if closed != n {
		t.Errorf("%d of %d connections were still open after %v, the server's deadline being %v", n-closed, n, deadline+slack, deadline)
	}
	crowd.proceed()
	crowd.end()
	eventually(t, "nothing is left", func() bool { return f.inFlight() == 0 && runtime.NumGoroutine() < goroutines+50 })
	if after := heldBytes(); after-before > 32<<20 {
		t.Errorf("%d bytes more than before are held", after-before)
	}
}

// TestLoadShutdown: a thousand submissions that wait for a proof, others that
// keep coming, and a crowd that never ends its requests: at shutdown whoever is
// answered is told the truth, and nothing is left behind.
func TestLoadShutdown(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	const waiters, late, deadline = 1000, 50, 5 * time.Second
	s, _ := withWitness(t)
	s.config = chain(s.config, func(c *Config) { c.Limits.HeaderTimeout, c.Limits.BodyTimeout = deadline, deadline })
	f := newFixture(t, s)
	f.client.Transport.(*http.Transport).MaxIdleConnsPerHost = 0
	f.post(typeDSSE, f.registration(f.header(), f.gateway, testGateway), "Prefer", "wait=0").want(http.StatusAccepted)

	var mu sync.Mutex
	statuses := map[int]int{}
	var accepted [][]byte
	submit := func(envelope []byte) (ok bool) {
		a, err := f.try(http.MethodPost, "/v1/events", bytes.NewReader(envelope), "Content-Type", typeDSSE, "Prefer", "wait=60")
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			statuses[0]++ // not answered, so nothing was said
			return false
		}
		statuses[a.status]++
		if a.status == http.StatusAccepted {
			accepted = append(accepted, envelope)
		}
		return true
	}
	var wg sync.WaitGroup
	for range waiters {
		envelope := f.signed()
		wg.Go(func() {
			if !submit(envelope) {
				t.Error("one who waited was not answered")
			}
		})
	}
	eventually(t, "all events are durable and wait", func() bool { return f.log.Head().Size >= 2+waiters && f.inFlight() >= waiters })
	crowd := f.startClient("crowd", f.url, connections(t, 1000), int64(time.Minute))
	for range late {
		wg.Go(func() {
			for submit(f.signed()) {
			}
		})
	}
	time.Sleep(100 * time.Millisecond) // so that some of those are on their way
	start := time.Now()
	f.must(f.stop())
	t.Logf("shutdown took %v", time.Since(start))
	wg.Wait()
	t.Logf("statuses (0: not answered) %v", statuses)
	for status, n := range statuses {
		if status != 0 && status != http.StatusAccepted && status != http.StatusServiceUnavailable {
			t.Errorf("%d were answered %d", n, status)
		}
	}
	if statuses[http.StatusAccepted] < waiters {
		t.Errorf("%d were answered 202, want at least %d", statuses[http.StatusAccepted], waiters)
	}
	for _, envelope := range accepted {
		f.mustBeLogged(envelope)
	}
	crowd.expect("closed")
	crowd.proceed()
	crowd.end()
	f.must(f.log.Close())
	f.client.CloseIdleConnections()
	goleak.VerifyNone(t, leaks)
}

// mustBeLogged looks an event up in the log itself.
func (f *fixture) mustBeLogged(envelope []byte) {
	f.Helper()
	v, err := entry.ParseEnvelope(envelope)
	f.must(err)
	c := candidate{raw: envelope, signed: true}
	f.must(c.parse())
	if _, content, err := f.log.Lookup(f.Context(), c.identity); err != nil || content != v.Entry(0).Content() {
		f.Errorf("an event that was answered 202 is not logged: %v", err)
	}
}
