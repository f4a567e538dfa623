package witness

import (
	"bytes"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/conformance"
)

const testName = "witness.example/w1"

// clock is a clock that a test sets.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Unix(1_800_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func initDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir() + "/w"
	if _, err := Init(InitConfig{Dir: dir, Name: testName, Rand: rand.Reader}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openDir(t testing.TB, dir string, change ...func(*Config)) *Witness {
	t.Helper()
	c := Config{Dir: dir, Rate: -1, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, f := range change {
		f(&c)
	}
	w, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func newLog(t testing.TB, origin string, algs ...checkpoint.Algorithm) *conformance.Log {
	t.Helper()
	if len(algs) == 0 {
		algs = []checkpoint.Algorithm{checkpoint.AlgEd25519}
	}
	var signers []*checkpoint.Signer
	for _, alg := range algs {
		s, err := checkpoint.GenerateSigner(origin, alg, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, s)
	}
	return conformance.NewLog(signers...)
}

func addLog(t testing.TB, dir string, l *conformance.Log) {
	t.Helper()
	var entries []LogEntry
	for _, s := range l.Signers {
		entries = append(entries, LogEntry{Key: s.Verifier(), Origin: l.Origin})
	}
	if _, err := AddLogs(dir, entries); err != nil {
		t.Fatal(err)
	}
}

// newWitness returns a running witness that knows one log.
func newWitness(t testing.TB, change ...func(*Config)) (*Witness, *conformance.Log) {
	t.Helper()
	dir := initDir(t)
	l := newLog(t, "log.example/one")
	addLog(t, dir, l)
	return openDir(t, dir, change...), l
}

// status returns the status of an error of a call.
func status(t testing.TB, err error) int {
	t.Helper()
	if err == nil {
		return http.StatusOK
	}
	refusal, ok := err.(*Refusal)
	if !ok {
		t.Fatalf("%v is not a *Refusal", err)
	}
	return refusal.Status
}

func mustAdd(t testing.TB, w *Witness, body string) []byte {
	t.Helper()
	lines, err := w.AddCheckpoint([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func serve(t testing.TB, w *Witness) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(w.Handler())
	t.Cleanup(s.Close)
	return s
}

func get(t testing.TB, url string) (*http.Response, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp, body.String()
}

func post(t testing.TB, url, body string) (*http.Response, string) {
	t.Helper()
	resp, err := http.Post(url, "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp, b.String()
}
