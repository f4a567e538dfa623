package monitor

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	origin = "log.example.org/monitor"
	source = "https://gateway.example.org/one"
)

// tree is what a log holds.
type tree struct {
	leaves [][]byte
	prev   tlog.Hash // of the authority events
	ids    int
}

func (l *tree) clone() *tree { return &tree{slices.Clone(l.leaves), l.prev, l.ids} }

// world is a log, two witnesses and a webhook, at one server.
type world struct {
	t       testing.TB
	dir     string
	policy  *checkpoint.Policy
	signers []*checkpoint.Signer // the log, then witnesses a and b
	server  *httptest.Server

	mu    sync.Mutex
	clock time.Time
	tree  *tree
	note  []byte            // that the log shows
	held  map[string][]byte // by witness
	down  map[string]bool   // the first part of the path, "log", "a", "b" or "hook"
	paths []string
	hook  []string // ids that the webhook took
	out   bytes.Buffer

	policyText string
	hookTaken  func()        // called when the webhook has taken a finding; may be nil
	ended      chan struct{} // closed when a monitor in its own process has ended
}

func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(t testing.TB, name string) *event.PublicKey {
	t.Helper()
	k, err := event.NewPublicKey(key(name).Public())
	must(t, err)
	return k
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newWorld begins with a log of two leaves, published and held by both witnesses.
func newWorld(t testing.TB) *world {
	w := &world{t: t, dir: t.TempDir(), clock: time.UnixMilli(1_750_000_000_000).UTC(), tree: &tree{}, held: map[string][]byte{}, down: map[string]bool{}}
	for i, alg := range []checkpoint.Algorithm{checkpoint.AlgEd25519, checkpoint.AlgCosignEd25519, checkpoint.AlgCosignEd25519} {
		name := []string{origin, "a.example/w", "b.example/w"}[i]
		s, err := checkpoint.GenerateSigner(name, alg, rand.NewChaCha8(sha256.Sum256([]byte(name))))
		must(t, err)
		w.signers = append(w.signers, s)
	}
	w.server = httptest.NewServer(w)
	t.Cleanup(w.server.Close)
	w.policyText = fmt.Sprintf("log %s %s/log\nwitness a %s %s/a\nwitness b %s %s/b\ngroup q any a b\nquorum q\n",
		w.signers[0].VKey(), w.server.URL, w.signers[1].VKey(), w.server.URL, w.signers[2].VKey(), w.server.URL)
	var err error
	w.policy, err = checkpoint.ParsePolicy([]byte(w.policyText))
	must(t, err)
	payload, err := event.NewLogCreated(w.id(), w.clock, event.Genesis{Origin: origin, Administrators: []event.Administrator{{Name: "Admin", Key: public(t, "admin")}}})
	must(t, err)
	w.authority(payload)
	payload, err = event.NewKeyRegistered(event.Header{ID: w.id(), Time: w.clock, Origin: origin, Prev: w.tree.prev}, event.KeyRegistration{Key: public(t, "gateway"), Source: source})
	must(t, err)
	w.authority(payload, "admin")
	w.publish()
	return w
}

func (w *world) id() string {
	w.tree.ids++
	var random [10]byte
	random[8], random[9] = byte(w.tree.ids>>8), byte(w.tree.ids)
	return event.NewUUIDv7(w.clock.UnixMilli(), random)
}

func (w *world) add(payload []byte, keys ...string) []byte {
	w.t.Helper()
	e := &entry.Entry{Time: w.clock.UnixMilli(), PayloadType: entry.PayloadType, Payload: payload}
	for _, name := range keys {
		s, err := event.Sign(key(name), entry.PayloadType, payload)
		must(w.t, err)
		e.Signatures = append(e.Signatures, s)
	}
	leaf, err := e.Marshal()
	must(w.t, err)
	w.tree.leaves = append(w.tree.leaves, leaf)
	return leaf
}

func (w *world) authority(payload []byte, keys ...string) {
	w.t.Helper()
	w.tree.prev = entry.LeafHash(w.add(payload, keys...))
}

// grow appends heartbeats that were recorded so long before; over 15 minutes is
// a finding of the rule TIME.
func (w *world) grow(n int, before time.Duration) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for range n {
		payload, err := event.Build(event.Attributes{ID: w.id(), Source: source, Type: event.Prefix + "source.heartbeat.v1", Subject: "source/" + source, Time: w.clock.Add(-before)},
			map[string]any{"period_s": 86400, "last_sequence": nil, "open_sessions": []string{}})
		must(w.t, err)
		w.add(payload, "gateway")
	}
}

// sign signs the first n leaves as the log, and as the given witnesses.
func (w *world) sign(n int, witnesses ...int) []byte {
	w.t.Helper()
	hashes := make([]tlog.Hash, n)
	for i := range hashes {
		hashes[i] = entry.LeafHash(w.tree.leaves[i])
	}
	text := checkpoint.Checkpoint{Origin: origin, Size: int64(n), Root: tile.TileRoot(hashes)}.Text()
	var lines [][]byte
	for _, i := range append([]int{0}, witnesses...) {
		line, err := w.signers[i].Sign(text, w.clock.Unix())
		must(w.t, err)
		lines = append(lines, line)
	}
	return checkpoint.Join(text, lines...)
}

// publish lets the log show all its leaves, with both cosignatures.
func (w *world) publish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.tree.leaves)
	w.note = w.sign(n, 1, 2)
	w.held["a"], w.held["b"] = w.sign(n, 1), w.sign(n, 2)
}

// change changes the world while nobody looks.
func (w *world) change(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	who, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	w.paths = append(w.paths, who+"/"+path)
	if w.down[who] {
		rw.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	sum := sha256.Sum256([]byte(origin))
	var body []byte
	switch {
	case who == "hook":
		var f Finding
		content, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(content, &f) != nil || f.ID != r.Header.Get("Idempotency-Key") {
			w.t.Errorf("the webhook got %q", content)
		}
		w.hook = append(w.hook, f.ID)
		if w.hookTaken != nil {
			w.hookTaken()
		}
		rw.WriteHeader(http.StatusNoContent)
		return
	case who == "log" && path == "checkpoint":
		body = w.note
	case who == "log":
		body = w.resource(path)
	case path == hex.EncodeToString(sum[:])+"/checkpoint":
		body = w.held[who]
	}
	if body == nil {
		http.NotFound(rw, r)
		return
	}
	rw.Write(body)
}

// resource is a tile of at most 256 leaves, or a bundle.
func (w *world) resource(path string) (out []byte) {
	q, err := tile.ParsePath(path)
	if err != nil || q.Level > 0 || q.W > tile.WidthAt(q.Level, q.N, int64(len(w.tree.leaves))) {
		return nil
	}
	for _, leaf := range w.tree.leaves[q.N*256:][:q.W] {
		if q.Level == tile.Entries {
			out = tile.AppendEntry(out, leaf)
			continue
		}
		h := entry.LeafHash(leaf)
		out = append(out, h[:]...)
	}
	return out
}

func (w *world) config(change ...func(*Config)) Config {
	c := Config{
		Policy: w.policy, StateDir: w.dir, Rules: rules.Default(), HTTP: w.server.Client(), GiveUp: time.Nanosecond, Output: &w.out,
		Targets: []Target{{Origin: origin, URL: w.server.URL + "/log", Log: &client.Fetcher{URL: w.server.URL + "/log", HTTP: w.server.Client(), GiveUp: time.Nanosecond}}},
		Now: func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.clock
		},
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}
	for _, do := range change {
		do(&c)
	}
	return c
}

func (w *world) open(change ...func(*Config)) *Monitor {
	w.t.Helper()
	m, err := Open(w.config(change...))
	must(w.t, err)
	w.t.Cleanup(func() { m.Close() })
	return m
}

// round makes one and demands its exit code; it returns what was printed.
func (w *world) round(m *Monitor, exit int) []Finding {
	w.t.Helper()
	o, err := m.Once(context.Background())
	must(w.t, err)
	if o.ExitCode() != exit {
		w.t.Errorf("exit code %d, want %d; printed:\n%s", o.ExitCode(), exit, w.out.Bytes())
	}
	var list []Finding
	for line := range bytes.Lines(w.out.Bytes()) {
		var f Finding
		must(w.t, json.Unmarshal(line, &f))
		list = append(list, f)
	}
	w.out.Reset()
	return list
}

// expect demands findings by status and kind, as "raised stale", in any order.
func expect(t testing.TB, list []Finding, want ...string) {
	t.Helper()
	var got []string
	for _, f := range list {
		got = append(got, strings.TrimSpace(f.Status+" "+f.Kind+" "+f.Witness))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("findings %q, want %q", got, want)
		for _, f := range list {
			t.Logf("%+v", f)
		}
	}
}

// evidence reads the file of a finding.
func evidence(t testing.TB, f Finding) (e Evidence) {
	t.Helper()
	content, err := os.ReadFile(f.Evidence)
	must(t, err)
	must(t, json.Unmarshal(content, &e))
	return e
}
