package audit

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	testOrigin = "log.example.org/audit"
	testSource = "https://gateway.example.org/one"
	startTime  = int64(1_750_000_000_000)
)

// key returns a signing key that is the same in every run.
func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(t testing.TB, k crypto.Signer) *event.PublicKey {
	t.Helper()
	p, err := event.NewPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func noteSigner(t testing.TB, name string, alg checkpoint.Algorithm) *checkpoint.Signer {
	t.Helper()
	s, err := checkpoint.GenerateSigner(name, alg, rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%s %d", name, alg))))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fakeLog is a log in memory that says what a test wants.
type fakeLog struct {
	t       testing.TB
	leaves  [][]byte
	clock   int64     // of the next leaf
	prev    tlog.Hash // of the authority events
	genesis event.Genesis
	ids     int

	mu      sync.Mutex
	paths   []string                                // that were asked for
	note    []byte                                  // served as checkpoint; nil: of all leaves
	signers []*checkpoint.Signer                    // of that note
	alter   func(path string, body []byte) []byte   // nil answer: 404
	refuse  func(path string) (status int, ok bool) // another status
}

// newLog returns a log with its first two leaves: log.created and a key for
// testSource.
func newLog(t testing.TB, change ...func(*event.Genesis)) *fakeLog {
	t.Helper()
	l := &fakeLog{t: t, clock: startTime}
	l.signers = []*checkpoint.Signer{
		noteSigner(t, testOrigin, checkpoint.AlgEd25519), noteSigner(t, testOrigin, checkpoint.AlgMLDSA44),
		noteSigner(t, "a.example/w", checkpoint.AlgCosignEd25519), noteSigner(t, "b.example/w", checkpoint.AlgMLDSA44),
	}
	l.genesis = event.Genesis{Origin: testOrigin, Administrators: []event.Administrator{{Name: "Admin", Key: public(t, key("admin"))}}}
	for _, c := range change {
		c(&l.genesis)
	}
	payload, err := event.NewLogCreated(l.id(), time.UnixMilli(l.clock), l.genesis)
	if err != nil {
		t.Fatal(err)
	}
	l.authority(payload)
	l.register("gateway", testSource)
	return l
}

func (l *fakeLog) id() string {
	l.ids++
	var random [10]byte
	random[9] = byte(l.ids)
	random[8] = byte(l.ids >> 8)
	return event.NewUUIDv7(startTime, random)
}

func (l *fakeLog) header() event.Header {
	return event.Header{ID: l.id(), Time: time.UnixMilli(l.clock), Origin: l.genesis.Origin, Prev: l.prev}
}

// leaf encodes a payload signed by the named keys, with the time of the next leaf.
func (l *fakeLog) leaf(payload []byte, keys ...string) []byte {
	l.t.Helper()
	e := &entry.Entry{Time: l.clock, PayloadType: entry.PayloadType, Payload: payload}
	for _, name := range keys {
		s, err := event.Sign(key(name), entry.PayloadType, payload)
		if err != nil {
			l.t.Fatal(err)
		}
		e.Signatures = append(e.Signatures, s)
	}
	leaf, err := e.Marshal()
	if err != nil {
		l.t.Fatal(err)
	}
	return leaf
}

// add appends a leaf, whatever it is.
func (l *fakeLog) add(leaf []byte) {
	l.leaves = append(l.leaves, leaf)
	l.clock += 10
}

func (l *fakeLog) authority(payload []byte, keys ...string) {
	leaf := l.leaf(payload, keys...)
	l.prev = entry.LeafHash(leaf)
	l.add(leaf)
}

func (l *fakeLog) register(keyName, source string) {
	l.t.Helper()
	payload, err := event.NewKeyRegistered(l.header(), event.KeyRegistration{Key: public(l.t, key(keyName)), Source: source})
	if err != nil {
		l.t.Fatal(err)
	}
	l.authority(payload, "admin")
}

func (l *fakeLog) revoke(keyName string, since time.Time) {
	l.t.Helper()
	payload, err := event.NewKeyRevoked(l.header(), event.Revocation{KeyID: public(l.t, key(keyName)).KeyID(), Reason: event.Compromised, Since: since})
	if err != nil {
		l.t.Fatal(err)
	}
	l.authority(payload, "admin")
}

// heartbeat is the payload of an event of testSource.
func (l *fakeLog) heartbeat(change ...func(*event.Attributes)) []byte {
	l.t.Helper()
	a := event.Attributes{ID: l.id(), Source: testSource, Type: event.Prefix + "source.heartbeat.v1", Subject: "source/" + testSource, Time: time.UnixMilli(l.clock)}
	for _, c := range change {
		c(&a)
	}
	payload, err := event.Build(a, map[string]any{"period_s": 60, "last_sequence": nil, "open_sessions": []string{}})
	if err != nil {
		l.t.Fatal(err)
	}
	return payload
}

// grow appends n ordinary events.
func (l *fakeLog) grow(n int) {
	for range n {
		l.add(l.leaf(l.heartbeat(), "gateway"))
	}
}

// clone returns a log that goes its own way from here.
func (l *fakeLog) clone(t testing.TB) *fakeLog {
	return &fakeLog{t: t, leaves: slices.Clone(l.leaves), clock: l.clock, prev: l.prev, genesis: l.genesis, ids: l.ids, signers: l.signers}
}

func (l *fakeLog) hashes() []tlog.Hash {
	var out []tlog.Hash
	for _, leaf := range l.leaves {
		out = append(out, entry.LeafHash(leaf))
	}
	return out
}

// checkpoint is the text for the first n leaves.
func (l *fakeLog) checkpoint(n int) string {
	return checkpoint.Checkpoint{Origin: testOrigin, Size: int64(n), Root: tile.TileRoot(l.hashes()[:n])}.Text()
}

func (l *fakeLog) sign(text string, signers ...*checkpoint.Signer) []byte {
	l.t.Helper()
	var lines [][]byte
	for _, s := range signers {
		line, err := s.Sign(text, startTime/1000)
		if err != nil {
			l.t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return checkpoint.Join(text, lines...)
}

func (l *fakeLog) policyText() string {
	return fmt.Sprintf("log %s\nwitness a %s\nwitness b %s\ngroup q all a b\nquorum q\n", l.signers[0].VKey(), l.signers[2].VKey(), l.signers[3].VKey())
}

func parsePolicy(t testing.TB, text string) *checkpoint.Policy {
	t.Helper()
	p, err := checkpoint.ParsePolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// body returns what an honest log serves.
func (l *fakeLog) body(path string) ([]byte, bool) {
	if path == "checkpoint" {
		if l.note == nil {
			l.note = l.sign(l.checkpoint(len(l.leaves)), l.signers...)
		}
		return l.note, true
	}
	q, err := tile.ParsePath(path)
	if err != nil || q.W > tile.WidthAt(q.Level, q.N, int64(len(l.leaves))) {
		return nil, false
	}
	var out []byte
	if q.Level == tile.Entries {
		for _, leaf := range l.leaves[q.N*256:][:q.W] {
			out = tile.AppendEntry(out, leaf)
		}
		return out, true
	}
	hashes := l.hashes()
	for range q.Level {
		var up []tlog.Hash
		for ; len(hashes) >= 256; hashes = hashes[256:] {
			up = append(up, tile.TileRoot(hashes[:256]))
		}
		hashes = up
	}
	for _, h := range hashes[q.N*256:][:q.W] {
		out = append(out, h[:]...)
	}
	return out, true
}

func (l *fakeLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/")
	l.paths = append(l.paths, path)
	if l.refuse != nil {
		if status, ok := l.refuse(path); ok {
			w.WriteHeader(status)
			return
		}
	}
	body, ok := l.body(path)
	if ok && l.alter != nil {
		body = l.alter(path, bytes.Clone(body))
		ok = body != nil
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Write(body)
}

// fetches returns the paths asked for since the last call.
func (l *fakeLog) fetches() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.paths
	l.paths = nil
	return p
}

// audit runs an audit of the log over HTTP.
func (l *fakeLog) audit(t testing.TB, change ...func(*Config)) (*Report, error) {
	t.Helper()
	server := httptest.NewServer(l)
	defer server.Close()
	cfg := Config{
		// Giving up at once: nothing here gets better by waiting.
		Log:    &client.Fetcher{URL: server.URL, GiveUp: time.Nanosecond, HTTP: server.Client()},
		Policy: parsePolicy(t, l.policyText()),
	}
	for _, c := range change {
		c(&cfg)
	}
	return Run(context.Background(), cfg)
}

func mustAudit(t testing.TB, l *fakeLog, change ...func(*Config)) *Report {
	t.Helper()
	r, err := l.audit(t, change...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func inState(dir string) func(*Config) { return func(c *Config) { c.StateDir = dir } }

// text renders a report.
func text(t testing.TB, r *Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The 600 leaves that most tests begin with span three bundles and two levels.
var sixHundred = sync.OnceValue(func() *fakeLog {
	l := newLog(fatal{})
	l.grow(598)
	return l
})

func bigLog(t testing.TB) *fakeLog { return sixHundred().clone(t) }

// fatal stands in for a test where none is running.
type fatal struct{ testing.TB }

func (fatal) Helper()           {}
func (fatal) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
