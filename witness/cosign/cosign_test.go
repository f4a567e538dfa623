package cosign_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness"
	"github.com/escortlog/escortlog/witness/conformance"
	"github.com/escortlog/escortlog/witness/cosign"
	"github.com/escortlog/escortlog/witness/mirror"
)

// patience is how long a test waits for what must happen; it is spent only when a test fails.
const patience = 30 * time.Second

// node is a real witness behind a server that a test can get in the way of.
type node struct {
	name     string
	w        *witness.Witness
	s        *httptest.Server
	requests atomic.Int64
	conns    atomic.Int64
	bodies   sync.Map // of add-checkpoint, by number

	mu sync.Mutex
	// before sees a request first; true means that it was answered.
	before func(rw http.ResponseWriter, r *http.Request) bool
}

func newNode(t *testing.T, name string, logs ...*conformance.Log) *node {
	t.Helper()
	return newNodeWith(t, name, "", logs...)
}

// newNodeWith is newNode with a mirror of this name beside the witness, if it is not empty.
func newNodeWith(t *testing.T, name, mirrorName string, logs ...*conformance.Log) *node {
	t.Helper()
	dir := t.TempDir() + "/w"
	if _, err := witness.Init(witness.InitConfig{Dir: dir, Name: name, MirrorName: mirrorName, Rand: rand.Reader}); err != nil {
		t.Fatal(err)
	}
	for _, l := range logs {
		for _, s := range l.Signers {
			if _, err := witness.AddLogs(dir, []witness.LogEntry{{Key: s.Verifier(), Origin: l.Origin, Mirror: mirrorName != ""}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	w, err := witness.Open(witness.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{name: name, w: w}
	h := w.Handler()
	if mirrorName != "" {
		m, err := mirror.Open(mirror.Config{Dir: w.MirrorDir(), Signers: w.MirrorSigners(), Source: w})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close() })
		copies, mux := m.Handler("/mirror"), http.NewServeMux()
		mux.Handle("/", w.Handler())
		mux.Handle("/add-entries", copies)
		mux.Handle("/mirror/", copies)
		h = mux
	}
	n.s = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if r.Method == http.MethodPost {
			n.bodies.Store(n.requests.Add(1), string(body))
		}
		n.mu.Lock()
		before := n.before
		n.mu.Unlock()
		if before == nil || !before(rw, r) {
			h.ServeHTTP(rw, r)
		}
	}))
	n.s.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			n.conns.Add(1)
		}
	}
	n.s.Start()
	t.Cleanup(func() {
		n.s.CloseClientConnections()
		n.s.Close()
		_ = w.Close()
	})
	return n
}

func (n *node) intercept(f func(rw http.ResponseWriter, r *http.Request) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.before = f
}

// answers makes the node answer every POST with a fixed answer.
func (n *node) answers(status int, body string, header ...string) {
	n.intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost {
			return false
		}
		for i := 0; i < len(header); i += 2 {
			rw.Header().Set(header[i], header[i+1])
		}
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, body)
		return true
	})
}

func newLog(t *testing.T) *conformance.Log {
	t.Helper()
	var signers []*checkpoint.Signer
	for _, alg := range []checkpoint.Algorithm{checkpoint.AlgEd25519, checkpoint.AlgMLDSA44} {
		s, err := checkpoint.GenerateSigner("log.example/one", alg, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, s)
	}
	return conformance.NewLog(signers...)
}

// policyOf has both keys of every node, as a group of its own each, all of which must cosign.
func policyOf(t *testing.T, l *conformance.Log, nodes ...*node) *checkpoint.Policy {
	t.Helper()
	var b strings.Builder
	for _, s := range l.Signers {
		fmt.Fprintf(&b, "log %s\n", s.VKey())
	}
	var groups []string
	for i, n := range nodes {
		for j, vkey := range n.w.VKeys() {
			fmt.Fprintf(&b, "witness w%d-%d %s %s/\n", i, j, vkey, n.s.URL)
		}
		fmt.Fprintf(&b, "group g%d any w%d-0 w%d-1\n", i, i, i)
		groups = append(groups, fmt.Sprintf("g%d", i))
	}
	fmt.Fprintf(&b, "group all-of-them all %s\nquorum all-of-them\n", strings.Join(groups, " "))
	p, err := checkpoint.ParsePolicy([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func keysOf(l *conformance.Log) []*checkpoint.Verifier {
	var vs []*checkpoint.Verifier
	for _, s := range l.Signers {
		vs = append(vs, s.Verifier())
	}
	return vs
}

func newGroup(t *testing.T, l *conformance.Log, nodes ...*node) *cosign.Group {
	t.Helper()
	return cosign.New(cosign.Config{
		Policy: policyOf(t, l, nodes...), LogKeys: keysOf(l),
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
}

// result collects what an Ask calls.
type result struct {
	mu       sync.Mutex
	got      []checkpoint.Cosignature
	memories map[string]string
}

func (r *result) names() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, c := range r.got {
		names = append(names, c.Witness)
	}
	return strings.Join(names, " ")
}

func ask(t *testing.T, g *cosign.Group, v conformance.View, size int64, got ...func(checkpoint.Cosignature)) *result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return askContext(ctx, g, v, size, got...)
}

func askContext(ctx context.Context, g *cosign.Group, v conformance.View, size int64, got ...func(checkpoint.Cosignature)) *result {
	r := &result{memories: map[string]string{}}
	g.Ask(ctx, v.Checkpoint(size), []byte(v.Note(size)),
		func(_ context.Context, from int64) ([]tlog.Hash, error) { return v.Proof(from, size), nil },
		func(c checkpoint.Cosignature) {
			for _, f := range got {
				f(c)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.got = append(r.got, c)
		},
		func(w string, note []byte) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.memories[w] = string(note)
		})
	return r
}

// met checks that what was got makes the checkpoint meet the policy.
func met(t *testing.T, l *conformance.Log, p *checkpoint.Policy, size int64, r *result) {
	t.Helper()
	text := l.Honest().Checkpoint(size).Text()
	note := []byte(l.Sign(text))
	for _, c := range r.got {
		note = append(note, c.Line.Line()...)
	}
	if _, err := p.Verify(note); err != nil {
		t.Errorf("size %d: %v (got %s)", size, err, r.names())
	}
}

// Three witnesses with two keys each: one request each, both lines used, one connection for
// the whole life, no conflict after the first contact.
func TestAsk(t *testing.T) {
	l := newLog(t)
	nodes := []*node{newNode(t, "w0.example", l), newNode(t, "w1.example", l), newNode(t, "w2.example", l)}
	g := newGroup(t, l, nodes...)
	sizes := []int64{0, 1, 5, 5, 20, 64}
	for _, size := range sizes {
		r := ask(t, g, l.Honest(), size)
		if len(r.got) != 6 {
			t.Errorf("size %d: %d cosignatures (%s), want 6", size, len(r.got), r.names())
		}
		met(t, l, g.Policy, size, r)
	}
	for _, n := range nodes {
		if got := n.requests.Load(); got != int64(len(sizes)) {
			t.Errorf("%s: %d requests, want %d", n.name, got, len(sizes))
		}
		if got := n.conns.Load(); got != 1 {
			t.Errorf("%s: %d connections, want 1", n.name, got)
		}
	}
}

// A new process knows nothing and learns the sizes from 409.
func TestLearnsSize(t *testing.T) {
	l := newLog(t)
	a, b := newNode(t, "a.example", l), newNode(t, "b.example", l)
	ask(t, newGroup(t, l, a), l.Honest(), 7)
	g := newGroup(t, l, a, b)
	r := ask(t, g, l.Honest(), 20)
	met(t, l, g.Policy, 20, r)
	if n := a.requests.Load(); n != 3 {
		t.Errorf("%d requests to the one that knew more, want 1 and 2", n)
	}
	// Having asked what they remember saves that request.
	g = newGroup(t, l, a, b)
	if err := g.Remembered(t.Context(), func(string, []byte) {}); err != nil {
		t.Fatal(err)
	}
	ask(t, g, l.Honest(), 30)
	if n := a.requests.Load(); n != 4 {
		t.Errorf("%d requests after asking for memories, want 4", n)
	}
}

// Whatever else is on the note, only the log's own signatures are sent.
func TestSendsOwnSignaturesOnly(t *testing.T) {
	l := newLog(t)
	n := newNode(t, "w.example", l)
	g := newGroup(t, l, n)
	v := l.Honest()
	l.Grow(1 << 10)
	first := ask(t, g, v, 3)
	note := []byte(v.Note(1 << 10))
	for _, c := range first.got {
		note = append(note, c.Line.Line()...)
	}
	var got atomic.Int64
	g.Ask(t.Context(), v.Checkpoint(1<<10), note,
		func(_ context.Context, from int64) ([]tlog.Hash, error) { return v.Proof(from, 1<<10), nil },
		func(checkpoint.Cosignature) { got.Add(1) }, nil)
	if got.Load() != 2 {
		t.Errorf("%d cosignatures", got.Load())
	}
	body, _ := n.bodies.Load(int64(2))
	if lines := strings.Count(body.(string), "\n— "); lines != 2 {
		t.Errorf("%d signature lines were sent, want the log's 2", lines)
	}
	if len(body.(string)) > 10<<10 {
		t.Errorf("a body of %d bytes; some witnesses take 10 KiB", len(body.(string)))
	}
}

// One witness in trouble does not keep the other's cosignatures, and never gives
// one of its own that does not verify.
func TestTrouble(t *testing.T) {
	l := newLog(t)
	stale := newNode(t, "bad.example", l) // signs with the right name and wrong keys
	staleLines, err := stale.w.AddCheckpoint([]byte(l.Honest().Request(0, 5)))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		trouble func(n *node)
	}{
		{"dead", func(n *node) { n.s.Close() }},
		{"silent", func(n *node) {
			n.intercept(func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true })
		}},
		{"500", func(n *node) { n.answers(500, "oops") }},
		{"unknown log", func(n *node) { n.answers(404, "who?") }},
		{"forbidden", func(n *node) { n.answers(403, "no") }},
		{"rate limited", func(n *node) { n.answers(429, "slower", "Retry-After", "3600") }},
		{"redirects", func(n *node) {
			// To itself under another path, where it would cosign.
			n.intercept(func(rw http.ResponseWriter, r *http.Request) bool {
				if strings.HasPrefix(r.URL.Path, "/elsewhere") {
					r.URL.Path = strings.TrimPrefix(r.URL.Path, "/elsewhere")
					return false
				}
				http.Redirect(rw, r, "/elsewhere"+r.URL.Path, http.StatusTemporaryRedirect)
				return true
			})
		}},
		{"empty answer", func(n *node) { n.answers(200, "") }},
		{"garbage", func(n *node) { n.answers(200, "\x00\x01\x02") }},
		{"unknown keys", func(n *node) { n.answers(200, string(staleLines)) }},
		{"known key, wrong signature", func(n *node) {
			n.intercept(func(rw http.ResponseWriter, r *http.Request) bool {
				rec := httptest.NewRecorder()
				n.w.Handler().ServeHTTP(rec, r)
				lines, err := checkpoint.ParseSignatureLines(rec.Body.Bytes())
				if err != nil {
					return true
				}
				for _, s := range lines {
					s.Sig[20] ^= 1
					_, _ = rw.Write(s.Line())
				}
				return true
			})
		}},
		{"cosignatures of another size", func(n *node) {
			n.intercept(func(rw http.ResponseWriter, r *http.Request) bool {
				r.Body = io.NopCloser(strings.NewReader(l.Honest().Request(0, 3)))
				n.w.Handler().ServeHTTP(rw, r)
				return true
			})
		}},
		{"conflict with itself", func(n *node) { n.answers(409, "0\n") }},
		{"conflict with everything", func(n *node) {
			var size atomic.Int64
			n.intercept(func(rw http.ResponseWriter, r *http.Request) bool {
				rw.WriteHeader(409)
				fmt.Fprintf(rw, "%d\n", size.Add(1)%5)
				return true
			})
		}},
		{"conflict without a size", func(n *node) { n.answers(409, "conflict") }},
		{"conflict, sign", func(n *node) { n.answers(409, "+3\n") }},
		{"claims more", func(n *node) { n.answers(409, "1000000\n") }},
		{"claims all there is", func(n *node) { n.answers(409, "9223372036854775807\n") }},
		{"claims more than all", func(n *node) { n.answers(409, "9223372036854775808\n") }},
		{"a page", func(n *node) { n.answers(200, "<html>\x1b[2JSign in</html>", "Content-Type", "text/html") }},
		{"rate limited for ages", func(n *node) { n.answers(503, "", "Retry-After", strings.Repeat("9", 40)) }},
		{"thousands of signatures", func(n *node) { n.answers(200, strings.Repeat(string(staleLines), 40)) }},
		{"the same signatures twice", func(n *node) { n.answers(200, string(staleLines)+string(staleLines)) }},
		{"a gzip bomb", func(n *node) {
			var bomb bytes.Buffer
			z := gzip.NewWriter(&bomb)
			for range 64 {
				_, _ = z.Write(make([]byte, 1<<20)) // to memory
			}
			_ = z.Close()
			n.answers(200, bomb.String(), "Content-Encoding", "gzip")
		}},
		{"no HTTP", func(n *node) {
			n.intercept(func(rw http.ResponseWriter, _ *http.Request) bool {
				if c, _, err := http.NewResponseController(rw).Hijack(); err == nil {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nx")
					_ = c.Close()
				}
				return true
			})
		}},
		{"endless answer", func(n *node) {
			n.intercept(func(rw http.ResponseWriter, r *http.Request) bool {
				chunk := strings.Repeat("x", 1<<16)
				for range 1 << 12 {
					if _, err := io.WriteString(rw, chunk); err != nil {
						break
					}
				}
				return true
			})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			good, bad := newNode(t, "good.example", l), newNode(t, "bad.example", l)
			g := newGroup(t, l, good, bad)
			tc.trouble(bad)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var once sync.Once
			start := time.Now()
			r := askContext(ctx, g, l.Honest(), 5, func(checkpoint.Cosignature) {
				if tc.name == "silent" {
					once.Do(cancel) // it would be waited for until the context ends
				}
			})
			if tc.name == "silent" && time.Since(start) >= patience {
				t.Error("the good witness's cosignature came only at the end")
			}
			for _, c := range r.got {
				if strings.HasPrefix(c.Witness, "w1-") {
					t.Errorf("a cosignature of the witness in trouble: %s", c.Witness)
				}
			}
			if tc.name != "silent" && len(r.got) != 2 {
				t.Errorf("got %q, want both of the good witness", r.names())
			}
			if len(r.memories) != 0 {
				t.Errorf("memories without proof: %v", r.memories)
			}
		})
	}
}

// A witness that failed is left alone, then asked again, and good again.
func TestRecovers(t *testing.T) {
	l := newLog(t)
	n := newNode(t, "w.example", l)
	g := newGroup(t, l, n)
	n.answers(500, "oops")
	if r := ask(t, g, l.Honest(), 3); len(r.got) != 0 {
		t.Fatal("cosignatures out of nothing")
	}
	failed := n.requests.Load()
	if failed < 2 || failed > 8 {
		t.Errorf("%d requests in one round of failures", failed)
	}
	n.intercept(nil)
	deadline := time.Now().Add(patience)
	for size := int64(4); ; size++ {
		if r := ask(t, g, l.Honest(), size); len(r.got) == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("never asked again")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestRetryAfterIsKept(t *testing.T) {
	l := newLog(t)
	n := newNode(t, "w.example", l)
	now := time.Now()
	var mu sync.Mutex
	g := cosign.New(cosign.Config{Policy: policyOf(t, l, n), LogKeys: keysOf(l), Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	n.answers(429, "slower", "Retry-After", "30")
	ask(t, g, l.Honest(), 3)
	n.intercept(nil)
	before := n.requests.Load()
	ask(t, g, l.Honest(), 3)
	if n.requests.Load() != before {
		t.Error("asked again before its time")
	}
	mu.Lock()
	now = now.Add(31 * time.Second)
	mu.Unlock()
	if r := ask(t, g, l.Honest(), 3); len(r.got) != 2 {
		t.Errorf("after its time: %q", r.names())
	}
}

// Cosignatures of a witness whose clock is far off are refused.
func TestTimes(t *testing.T) {
	l := newLog(t)
	n := newNode(t, "w.example", l)
	for _, off := range []time.Duration{-time.Hour, time.Hour} {
		g := cosign.New(cosign.Config{Policy: policyOf(t, l, n), LogKeys: keysOf(l), Now: func() time.Time { return time.Now().Add(off) }})
		if r := ask(t, g, l.Honest(), 3); len(r.got) != 0 {
			t.Errorf("cosignatures from %v away: %q", -off, r.names())
		}
	}
}

// What a witness remembers reaches the log if, and only if, the log's own signature proves it.
func TestRemembers(t *testing.T) {
	l := newLog(t)
	honest, forked := l.Honest(), l.Forked()
	for _, tc := range []struct {
		name  string
		holds string // request that brings the witness there
		size  int64  // asked for
		want  bool
	}{
		{"a larger tree", honest.Request(0, 30), 20, true},
		{"another root of the same size", forked.Request(0, 20), 20, true},
		{"a smaller tree of another history", forked.Request(0, 10), 20, true},
		{"a larger tree of another history", forked.Request(0, 30), 20, true},
		{"a smaller tree of this history", honest.Request(0, 10), 20, false},
		{"nothing", "", 20, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, "w.example", l)
			if tc.holds != "" {
				if _, err := n.w.AddCheckpoint([]byte(tc.holds)); err != nil {
					t.Fatal(err)
				}
			}
			g := newGroup(t, l, n)
			r := ask(t, g, honest, tc.size)
			note, got := r.memories["w0-0"]
			if got != tc.want {
				t.Fatalf("remembers called: %v, want %v", got, tc.want)
			}
			if tc.want == (len(r.got) == 2) {
				t.Errorf("cosignatures: %q", r.names())
			}
			if got {
				text, sigs, err := checkpoint.ParseNote([]byte(note))
				if err == nil {
					_, err = checkpoint.Verify(text, sigs, keysOf(l)...)
				}
				if err != nil {
					t.Errorf("the memory proves nothing: %v", err)
				}
			}
		})
	}
}

func TestRemembered(t *testing.T) {
	l := newLog(t)
	stranger := newLog(t) // the same origin, other keys
	holds, empty, dead, liar := newNode(t, "a.example", l), newNode(t, "b.example", l), newNode(t, "c.example", l), newNode(t, "d.example", l)
	if _, err := holds.w.AddCheckpoint([]byte(l.Honest().Request(0, 9))); err != nil {
		t.Fatal(err)
	}
	dead.s.Close()
	liar.intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		_, _ = io.WriteString(rw, stranger.Honest().Note(60))
		return true
	})
	policy := policyOf(t, l, holds, empty, dead, liar)
	policy.Witnesses[7].URL = "" // the second key of the last has no URL
	g := cosign.New(cosign.Config{Policy: policy, LogKeys: keysOf(l)})
	var mu sync.Mutex
	got := map[string]string{}
	err := g.Remembered(t.Context(), func(w string, note []byte) {
		mu.Lock()
		defer mu.Unlock()
		got[w] = string(note)
	})
	if len(got) != 1 || !strings.HasPrefix(got["w0-0"], "log.example/one\n9\n") {
		t.Errorf("got %q", got)
	}
	for name, want := range map[string]bool{"w0-0": false, "w1-0": false, "w2-0": true, "w3-0": true, "w3-1": true} {
		if got := strings.Contains(err.Error(), "witness "+name+":"); got != want {
			t.Errorf("the error names %s: %v, want %v (%v)", name, got, want, err)
		}
	}
	sum := sha256.Sum256([]byte(l.Origin))
	resp, err := http.Get(holds.s.URL + "/" + hex.EncodeToString(sum[:]) + "/checkpoint")
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("%v %v", resp, err)
	}
	_ = resp.Body.Close()
}

// Rounds that overlap: the older one gives way, nobody is asked for something smaller than it cosigned.
func TestOverlappingRounds(t *testing.T) {
	l := newLog(t)
	n := newNode(t, "w.example", l)
	g := newGroup(t, l, n)
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	n.intercept(func(http.ResponseWriter, *http.Request) bool {
		once.Do(func() { close(entered); <-release })
		return false
	})
	results := make([]*result, 40)
	var wg sync.WaitGroup
	wg.Go(func() { results[0] = ask(t, g, l.Honest(), 1) })
	<-entered
	for i := 1; i < len(results); i++ {
		wg.Go(func() { results[i] = ask(t, g, l.Honest(), int64(i+1)) })
	}
	close(release)
	wg.Wait()
	if r := results[len(results)-1]; len(r.got) != 2 {
		t.Errorf("the newest round got %q", r.names())
	}
	for i, r := range results {
		if len(r.memories) != 0 {
			t.Errorf("round %d: memories %v", i, r.memories)
		}
	}
}
