package server

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// fill logs n more events of the gateway and returns when they are published.
func (f *fixture) fill(n int) {
	f.Helper()
	for n > 0 {
		var envelopes [][]byte
		for range min(n, 256) {
			envelopes = append(envelopes, f.signed())
		}
		var got batchReceipt
		f.post(typeDSSEBatch, batch(envelopes...)).want(http.StatusOK).decode(&got)
		for _, e := range got.Entries {
			if e.Status != http.StatusCreated {
				f.Fatalf("entry %+v", e)
			}
		}
		n -= len(envelopes)
	}
}

// published returns the checkpoint as a client verifies it.
func (f *fixture) published() checkpoint.Checkpoint {
	f.Helper()
	v, err := f.policy.Verify(f.get("/checkpoint").want(http.StatusOK).body)
	f.must(err)
	return v.Checkpoint
}

func TestCheckpoint(t *testing.T) {
	f := newFixture(t, setup{})
	a := f.get("/checkpoint").want(http.StatusOK)
	a.wantHeader("Content-Type", "text/plain; charset=utf-8").wantHeader("Cache-Control", "public, max-age=1")
	_, sigs, err := checkpoint.ParseNote(a.body)
	f.must(err)
	if len(sigs) != 2 {
		t.Errorf("%d signatures, want Ed25519 and ML-DSA-44", len(sigs))
	}
	if head := f.log.Head(); f.published().Size != head.Size {
		t.Errorf("size %d, want %d", f.published().Size, head.Size)
	}
}

// TestTiles reads a whole log through its tiles, in every width there is, and
// compares everything with the leaves and the root.
func TestTiles(t *testing.T) {
	f := newFixture(t, setup{})
	f.fill(600)
	cp := f.published()
	var hashes []tlog.Hash
	for n := range (cp.Size + 255) / 256 {
		width := tile.WidthAt(0, n, cp.Size)
		full := tile.Tile{Level: 0, N: n, W: width}
		data := f.get("/"+full.Path()).want(http.StatusOK).wantHeader("Content-Type", "application/octet-stream").
			wantHeader("Cache-Control", "public, max-age=31536000, immutable").body
		bundle := f.get("/"+tile.Tile{Level: -1, N: n, W: width}.Path()).want(http.StatusOK).
			wantHeader("Content-Type", "application/octet-stream").wantHeader("Cache-Control", "public, max-age=31536000, immutable").
			wantHeader("Vary", "Accept-Encoding").wantHeader("Content-Encoding", "").body
		entries, err := tile.SplitBundle(bundle, width)
		f.must(err)
		for i, leaf := range entries {
			h := entry.LeafHash(leaf)
			if !bytes.Equal(h[:], data[32*i:][:32]) {
				t.Fatalf("leaf %d has another hash than the tile", int(n)*256+i)
			}
			hashes = append(hashes, h)
		}
		for _, w := range []int{1, 2, width / 2, width - 1} {
			if w < 1 {
				continue
			}
			part := f.get("/" + tile.Tile{Level: 0, N: n, W: w}.Path()).want(http.StatusOK).body
			if !bytes.Equal(part, data[:32*w]) {
				t.Errorf("tile %d of width %d is no prefix of the wider one", n, w)
			}
			_, err := tile.SplitBundle(f.get("/"+tile.Tile{Level: -1, N: n, W: w}.Path()).want(http.StatusOK).body, w)
			f.must(err)
		}
	}
	reader := func(_ context.Context, tl tile.Tile) ([]byte, error) {
		return f.get("/" + tl.Path()).want(http.StatusOK).body, nil
	}
	root, err := tile.Root(t.Context(), reader, cp.Size)
	f.must(err)
	if root != cp.Root || int64(len(hashes)) != cp.Size {
		t.Errorf("tiles give root %v over %d leaves, the checkpoint %v over %d", root, len(hashes), cp.Root, cp.Size)
	}
	f.get("/tile/1/000.p/2").want(http.StatusOK)
}

// TestTilesRefused: one spelling a tile, nothing beyond the checkpoint, and no
// cache keeps that.
func TestTilesRefused(t *testing.T) {
	f := newFixture(t, setup{})
	f.fill(300 - int(f.published().Size))
	for _, path := range []string{
		"/tile/", "/tile", "/tile/0", "/tile/0/", "/tile/0/0", "/tile/0/00", "/tile/0/0000", "/tile/0/x000/000",
		"/tile/00/000", "/tile/0/000.p/0", "/tile/0/000.p/256", "/tile/0/000.p/01", "/tile/0/000.p/", "/tile/0/000.p",
		"/tile/0/000.P/1", "/tile/-1/000", "/tile/64/000", "/tile/0/001", "/tile/0/001.p/45", "/tile/0/002", "/tile/1/000",
		"/tile/1/000.p/2", "/tile/2/000.p/1", "/tile/8/000.p/1", "/tile/63/000", "/tile/entries/001", "/tile/entries/001.p/45", "/tile/entries/000.p/256",
		"/tile/data/000", "/tile//0/000", "//tile/0/000", "/tile/0/000/", "/tile/0/%30%30%30", "/tile%2f0/000", "/tile/0/../0/000",
		"/tile/0/x999/x999/x999/x999/x999/x999/999", "/checkpoint/", "/Checkpoint", "/tile/Entries/000",
	} {
		f.get(path).wantProblem(http.StatusNotFound, "not-found")
	}
	for _, path := range []string{"/tile/0/000", "/tile/0/000.p/255", "/tile/0/001.p/44", "/tile/1/000.p/1", "/tile/entries/000", "/tile/entries/001.p/44"} {
		f.get(path).want(http.StatusOK)
	}
}

// TestGzip: a sealed bundle goes out as it is stored to who takes gzip, and
// decompressed to who does not.
func TestGzip(t *testing.T) {
	f := newFixture(t, setup{})
	f.fill(300)
	plain := f.get("/tile/entries/000").want(http.StatusOK).wantHeader("Content-Encoding", "").body
	eventually(t, "the bundle is sealed", func() bool {
		return f.get("/tile/entries/000", "Accept-Encoding", "gzip").header.Get("Content-Encoding") == "gzip"
	})
	a := f.get("/tile/entries/000", "Accept-Encoding", "br, gzip;q=0.5").want(http.StatusOK)
	a.wantHeader("Content-Encoding", "gzip").wantHeader("Vary", "Accept-Encoding")
	z, err := gzip.NewReader(bytes.NewReader(a.body))
	f.must(err)
	unpacked, err := io.ReadAll(z)
	f.must(err)
	if !bytes.Equal(unpacked, plain) {
		t.Error("compressed and plain bundle differ")
	}
	for _, accept := range []string{"", "identity", "gzip;q=0"} {
		b := f.get("/tile/entries/000", "Accept-Encoding", accept).want(http.StatusOK).wantHeader("Content-Encoding", "").wantHeader("Vary", "Accept-Encoding").body
		if !bytes.Equal(b, plain) {
			t.Errorf("Accept-Encoding %q: another bundle", accept)
		}
	}
}

func TestHead(t *testing.T) {
	f := newFixture(t, setup{})
	f.fill(1)
	for _, path := range []string{"/checkpoint", "/tile/0/000.p/1", "/tile/entries/000.p/1", "/v1/entries/0", "/v1/entries/0/proof", "/v1/log", "/healthz", "/readyz", "/metrics", "/"} {
		get, head := f.get(path).want(http.StatusOK), f.request(http.MethodHead, path, nil).want(http.StatusOK)
		if len(head.body) > 0 || head.header.Get("Content-Type") != get.header.Get("Content-Type") || head.header.Get("Cache-Control") != get.header.Get("Cache-Control") {
			t.Errorf("HEAD %s: body of %d bytes, headers %v", path, len(head.body), head.header)
		}
	}
	f.request(http.MethodHead, "/tile/0/999", nil).want(http.StatusNotFound)
}

func TestEntry(t *testing.T) {
	f := newFixture(t, setup{})
	envelope := f.signed()
	r := f.post(typeDSSE, envelope).want(http.StatusCreated).receipt()
	path := fmt.Sprintf("/v1/entries/%d", r.Index)

	leaf := f.get(path, "Accept", "application/octet-stream").want(http.StatusOK).wantHeader("Content-Type", "application/octet-stream").wantHeader("Vary", "Accept").body
	if h := entry.LeafHash(leaf); !bytes.Equal(h[:], r.LeafHash) {
		t.Error("the leaf has another hash than the receipt")
	}
	if got := f.get(path, "Accept", typeDSSE).want(http.StatusOK).wantHeader("Content-Type", typeDSSE).body; !bytes.Equal(got, envelope) {
		t.Errorf("envelope %s, want %s", got, envelope)
	}
	var view entryView
	f.get(path).want(http.StatusOK).wantHeader("Content-Type", "application/json").decode(&view)
	if view.Index != r.Index || view.Time != r.Time || !bytes.Equal(view.LeafHash, r.LeafHash) || len(view.Signatures) != 1 || view.Signatures[0].KeyID != publicKey(t, f.gateway).KeyID() {
		t.Errorf("view %+v", view)
	}
	if _, err := event.Parse(view.Event); err != nil {
		t.Errorf("the event in the view: %v", err)
	}
	for path, slug := range map[string]string{
		"/v1/entries/3": "not-found", "/v1/entries/03": "bad-parameter", "/v1/entries/-1": "bad-parameter", "/v1/entries/+1": "bad-parameter",
		"/v1/entries/x": "bad-parameter", "/v1/entries/99999999999999999999": "bad-parameter", "/v1/entries/1e3": "bad-parameter", "/v1/entries/%31": "bad-parameter",
		"/v1/entries/": "not-found", "/v1/entries": "not-found", "/v1/entries/0/": "not-found", "/v1/entries/9223372036854775807": "not-found",
	} {
		f.get(path).wantProblem(kindOf(slug).Status, slug)
	}
	for path, detail := range map[string]string{
		"/v1/entries/99999999999999999999":               "no log grows beyond 2^63-1",
		"/v1/entries/099999999999999999999":              "without sign or leading zeros",
		"/v1/entries/-99999999999999999999":              "without sign or leading zeros",
		"/v1/consistency?from=1&to=99999999999999999999": `to="99999999999999999999" is not a size: no log grows beyond 2^63-1`,
		"/v1/consistency?from=01&to=2":                   `from="01" is not a size: `,
		"/v1/consistency?from=2&to=1":                    "2 is more than 1",
	} {
		if p := f.get(path).wantProblem(http.StatusBadRequest, "bad-parameter"); !strings.Contains(p.Detail, detail) {
			t.Errorf("%s: %s, want %q", path, p.Detail, detail)
		}
	}
}

func TestProof(t *testing.T) {
	f := newFixture(t, setup{})
	f.fill(20)
	for index := range f.log.Head().Size {
		path := fmt.Sprintf("/v1/entries/%d", index)
		leaf := f.get(path, "Accept", typeLeaf).want(http.StatusOK).body
		a := f.get(path+"/proof").want(http.StatusOK).wantHeader("Content-Type", "text/plain; charset=utf-8")
		proof, err := checkpoint.ParseProof(a.body)
		f.must(err)
		if _, err := proof.Verify(entry.LeafHash(leaf), f.policy); err != nil {
			t.Errorf("proof of leaf %d: %v", index, err)
		}
		if ms, err := proof.LeafTime(); err != nil || ms != entry.TimeOf(leaf) {
			t.Errorf("leaf time %d, %v in the proof, %d in the leaf", ms, err, entry.TimeOf(leaf))
		}
	}
	r := f.get("/v1/entries/3/proof", "Accept", "application/json").want(http.StatusOK).receipt()
	envelope := f.get("/v1/entries/3", "Accept", typeDSSE).want(http.StatusOK).body
	f.verify(envelope, r)
	f.get("/v1/entries/999/proof").wantProblem(http.StatusNotFound, "not-found")
}

// stalled is a cosigner that lets nothing be published until it is told to.
type stalled struct {
	release chan struct{}
	signer  *checkpoint.Signer
	name    string
}

func (c *stalled) Ask(ctx context.Context, cp checkpoint.Checkpoint, _ []byte, _ func(context.Context, int64) ([]tlog.Hash, error), got func(checkpoint.Cosignature), _ func(string, []byte)) {
	select {
	case <-c.release:
		line, err := c.signer.Sign(cp.Text(), 1_800_000_000)
		if err != nil {
			panic(err)
		}
		lines, err := checkpoint.ParseSignatureLines(line)
		if err != nil {
			panic(err)
		}
		got(checkpoint.Cosignature{Witness: c.name, Time: 1_800_000_000, Line: lines[0]})
	case <-ctx.Done():
	}
}

func (c *stalled) Remembered(context.Context, func(string, []byte)) error { return nil }

// withWitness makes the log ask one witness, which waits for release.
func withWitness(t testing.TB) (s setup, release func()) {
	t.Helper()
	signer, err := checkpoint.GenerateSigner("witness.example.org", checkpoint.AlgCosignEd25519, bytes.NewReader(make([]byte, 64)))
	if err != nil {
		t.Fatal(err)
	}
	c := &stalled{release: make(chan struct{}), signer: signer, name: "w"}
	var policy *checkpoint.Policy
	s.bare = true
	s.log = func(config *log.Config) {
		policy, err = checkpoint.ParsePolicy([]byte("log " + config.Signers[0].VKey() + "\nwitness w " + signer.VKey() + "\nquorum w\n"))
		if err != nil {
			t.Fatal(err)
		}
		config.Policy, config.Cosigner = policy, c
	}
	s.config = func(config *Config) { config.Policy = policy }
	return s, func() { close(c.release) }
}

// TestNotPublished: what no quorum has cosigned is durable, and not shown.
func TestNotPublished(t *testing.T) {
	s, release := withWitness(t)
	f := newFixture(t, s)
	registration := f.registration(f.header(), f.gateway, testGateway)
	f.post(typeDSSE, registration, "Prefer", "wait=0").want(http.StatusAccepted).wantHeader("Preference-Applied", "wait=0")
	envelope := f.signed()
	r := f.post(typeDSSE, envelope, "Prefer", "respond-async").want(http.StatusAccepted).receipt()
	for _, path := range []string{"/checkpoint", "/v1/entries/2", "/v1/entries/2/proof", "/v1/consistency?from=0&to=1"} {
		a := f.get(path)
		a.wantProblem(http.StatusNotFound, "not-published")
		a.wantHeader("Retry-After", "1")
	}
	f.get("/tile/0/000.p/1").wantProblem(http.StatusNotFound, "not-found")
	f.get("/v1/entries/3").wantProblem(http.StatusNotFound, "not-found")
	if got := f.get("/v1/events?" + f.identity(envelope)).want(http.StatusOK).receipt(); got.Index != r.Index {
		t.Errorf("index %d, want %d", got.Index, r.Index)
	}
	release()
	f.policy = f.server.cfg.Policy
	f.verify(envelope, f.post(typeDSSE, envelope).want(http.StatusOK).receipt())
	f.get("/v1/entries/2/proof").want(http.StatusOK)
}

// identity is the query that finds an event.
func (f *fixture) identity(envelope []byte) string {
	f.Helper()
	v, err := entry.ParseEnvelope(envelope)
	f.must(err)
	ev, err := event.Parse(v.Payload)
	f.must(err)
	return url.Values{"source": {ev.Source}, "id": {ev.ID}}.Encode()
}

func TestFindEvent(t *testing.T) {
	f := newFixture(t, setup{})
	envelope := f.signed()
	r := f.post(typeDSSE, envelope).want(http.StatusCreated).receipt()
	q := f.identity(envelope)
	a := f.get("/v1/events?"+q).want(http.StatusOK).wantHeader("Content-Location", fmt.Sprintf("/v1/entries/%d", r.Index))
	if got := a.receipt(); got.Index != r.Index || got.Time != r.Time || !bytes.Equal(got.LeafHash, r.LeafHash) {
		t.Errorf("got %+v, want %+v", got, r)
	}
	f.get("/v1/events?source=https%3A%2F%2Fnobody&id=1").wantProblem(http.StatusNotFound, "event-not-found")
	for _, bad := range []string{"", "source=x", "id=1", "source=x&id=", "source=x&id=1&id=2", "source=x&id=1&more=2", "source=%zz&id=1", "source=x;id=1"} {
		f.get("/v1/events?"+bad).wantProblem(http.StatusBadRequest, "bad-parameter")
	}
}

func TestConsistency(t *testing.T) {
	f := newFixture(t, setup{})
	roots := map[int64]tlog.Hash{0: checkpoint.EmptyRoot}
	for range 5 {
		cp := f.published()
		roots[cp.Size] = cp.Root
		f.fill(7)
	}
	for from := range roots {
		for to := range roots {
			path := fmt.Sprintf("/v1/consistency?from=%d&to=%d", from, to)
			if from > to {
				f.get(path).wantProblem(http.StatusBadRequest, "bad-parameter")
				continue
			}
			a := f.get(path).want(http.StatusOK).wantHeader("Content-Type", "text/plain; charset=utf-8")
			var proof []tlog.Hash
			for line := range strings.Lines(string(a.body)) {
				b, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(line, "\n"))
				f.must(err)
				proof = append(proof, tlog.Hash(b))
			}
			if err := checkpoint.VerifyConsistency(from, to, roots[from], roots[to], proof); err != nil {
				t.Errorf("from %d to %d: %v", from, to, err)
			}
		}
	}
	f.get("/v1/consistency?from=1&to=9999").wantProblem(http.StatusNotFound, "not-published")
	for _, bad := range []string{"", "from=1", "to=1", "from=01&to=2", "from=1&to=+2", "from=-1&to=2", "from=1&to=2&x=3", "from=a&to=2"} {
		f.get("/v1/consistency?"+bad).wantProblem(http.StatusBadRequest, "bad-parameter")
	}
}

func TestLogInfo(t *testing.T) {
	f := newFixture(t, setup{genesis: func(g *event.Genesis) { g.Trial, g.AllowUnsigned = true, true }})
	var info logInfo
	f.get("/v1/log").want(http.StatusOK).wantHeader("Cache-Control", "no-store").decode(&info)
	dir, err := f.server.door.current(t.Context())
	f.must(err)
	prev := dir.Prev()
	if info.Origin != testOrigin || !slices.Equal(info.VKeys, f.server.cfg.VKeys) || info.Policy != f.server.cfg.PolicyText ||
		!info.Trial || !info.AllowUnsigned || info.AllowOpaque || info.Authority.Covered != 2 || info.Authority.Prev != fmt.Sprintf("%x", prev[:]) ||
		info.Authority.Threshold != 1 || info.Limits.EventBytes != 128<<10 || info.Limits.BatchBytes != 4<<20 || info.Limits.BatchEvents != 256 {
		t.Errorf("info %+v", info)
	}
	if len(info.Problems) != len(problemKinds) {
		t.Errorf("%d problems documented, want %d", len(info.Problems), len(problemKinds))
	}
}

func TestHealthAndReadiness(t *testing.T) {
	f := newFixture(t, setup{})
	f.get("/healthz").want(http.StatusOK)
	f.get("/readyz").want(http.StatusOK)
	recorder := func(path string) *answer {
		w := httptest.NewRecorder()
		f.server.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return &answer{f: f, status: w.Code, header: w.Header(), body: w.Body.Bytes()}
	}
	f.server.Stop()
	recorder("/readyz").wantProblem(http.StatusServiceUnavailable, "not-ready")
	recorder("/healthz").want(http.StatusOK)
	f.must(f.log.Close())
	recorder("/healthz").wantProblem(http.StatusServiceUnavailable, "log-stopped")
}

func TestMetrics(t *testing.T) {
	f := newFixture(t, setup{})
	f.post(typeDSSE, f.signed()).want(http.StatusCreated)
	f.post(typeDSSE, []byte("{}")).want(http.StatusBadRequest)
	f.get("/nowhere").want(http.StatusNotFound)
	body := string(f.get("/metrics").want(http.StatusOK).body)
	for _, line := range []string{
		`escortlog_events_total{result="logged"} 2`,
		`escortlog_events_total{result="malformed-envelope"} 1`,
		`escortlog_http_requests_total{code="201",route="events"} 2`,
		`escortlog_http_requests_total{code="404",route="unknown"} 1`,
		`escortlog_proof_failures_total 0`,
		`escortlog_authority_covered 2`,
		`escortlog_submissions_in_flight 0`,
		`escortlog_submission_bytes 0`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
}

// TestHome: the page shows what the log is, escaped, and loads nothing.
func TestHome(t *testing.T) {
	s, _ := withWitness(t)
	f := newFixture(t, s)
	a := f.get("/").want(http.StatusOK).wantHeader("Content-Type", "text/html; charset=utf-8")
	if !strings.Contains(string(a.body), "nothing yet") {
		t.Error("the page does not say that nothing is published")
	}

	f = newFixture(t, setup{genesis: func(g *event.Genesis) { g.Trial = true }})
	page := string(f.get("/").want(http.StatusOK).body)
	cp := f.published()
	for _, want := range []string{testOrigin, "trial log", "takes events", cp.Root.String(), fmt.Sprintf("<dt>Leaves</dt><dd>%d</dd>", cp.Size), "last signed 20", problemPrefix + "too-large"} {
		if !strings.Contains(strings.ReplaceAll(page, "&#43;", "+"), want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	for _, forbidden := range []string{"<script", "src=", "@import", "url("} {
		if strings.Contains(page, forbidden) {
			t.Errorf("the page holds %q", forbidden)
		}
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	f := newFixture(t, setup{})
	for _, path := range []string{"/nowhere", "/v1", "/v1/", "/v1/events/", "/v1/events/1", "/v1//events", "/v1/%65vents", "/v1%2Fevents", "/%76%31/events", "/favicon.ico", "/index.html", "/.well-known/x"} {
		f.get(path).wantProblem(http.StatusNotFound, "not-found")
		f.request(http.MethodPost, path, nil).wantProblem(http.StatusNotFound, "not-found")
	}
	for path, allow := range map[string]string{
		"/v1/events": "GET, HEAD, POST", "/v1/entries/1": "GET, HEAD", "/v1/log": "GET, HEAD", "/checkpoint": "GET, HEAD", "/tile/0/000": "GET, HEAD", "/": "GET, HEAD",
	} {
		for _, method := range []string{http.MethodDelete, http.MethodPut, http.MethodPatch, http.MethodOptions, "BREW"} {
			a := f.request(method, path, nil)
			a.wantProblem(http.StatusMethodNotAllowed, "method-not-allowed")
			a.wantHeader("Allow", allow)
		}
	}
	f.request(http.MethodPost, "/checkpoint", nil).wantProblem(http.StatusMethodNotAllowed, "method-not-allowed")
}

// TestReadTokens: bundles and entries are guarded, checkpoint and hash tiles
// are not.
func TestReadTokens(t *testing.T) {
	f := newFixture(t, setup{config: func(c *Config) { c.ReadAuth.Tokens = []string{"first-token-of-ours", "second-token-of-ours"} }})
	guarded := []string{"/tile/entries/000.p/1", "/v1/entries/0", "/v1/entries/0/proof"}
	for _, path := range guarded {
		for _, headers := range [][]string{nil, {"Authorization", "Bearer wrong"}, {"Authorization", "Basic first-token-of-ours"}, {"Authorization", "Bearer "}, {"Authorization", "first-token-of-ours"}} {
			a := f.get(path, headers...)
			a.wantProblem(http.StatusUnauthorized, "read-unauthorized")
			a.wantHeader("WWW-Authenticate", `Bearer realm="escortlog"`)
		}
		for _, token := range []string{"first-token-of-ours", "second-token-of-ours"} {
			a := f.get(path, "Authorization", "Bearer "+token).want(http.StatusOK)
			if cache := a.header.Get("Cache-Control"); !strings.HasPrefix(cache, "private") {
				t.Errorf("%s: Cache-Control %q, want private", path, cache)
			}
		}
	}
	const event = "/v1/events?source=x&id=y"
	f.get(event).wantProblem(http.StatusUnauthorized, "read-unauthorized")
	f.get(event, "Authorization", "Bearer first-token-of-ours").wantProblem(http.StatusNotFound, "event-not-found")
	f.post(typeDSSE, f.signed()).want(http.StatusCreated)
	for _, path := range []string{"/checkpoint", "/tile/0/000.p/1", "/v1/consistency?from=1&to=2", "/v1/log", "/readyz", "/"} {
		f.get(path).want(http.StatusOK)
	}
}

func TestReadClientCertificate(t *testing.T) {
	f := newFixture(t, setup{config: func(c *Config) { c.ReadAuth.ClientCert = true }})
	f.get("/v1/entries/0").wantProblem(http.StatusForbidden, "client-certificate-required")
	for verified, status := range map[bool]int{false: http.StatusForbidden, true: http.StatusOK} {
		r := httptest.NewRequest(http.MethodGet, "/v1/entries/0", nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
		if verified {
			r.TLS.VerifiedChains = [][]*x509.Certificate{{{}}}
		}
		w := httptest.NewRecorder()
		f.server.Handler().ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("certificate verified %v: status %d, want %d", verified, w.Code, status)
		}
	}
}
