package mirror

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/witness/clients"
	"github.com/escortlog/escortlog/witness/subtree"
)

func newSigner(t testing.TB, name string, alg checkpoint.Algorithm) *checkpoint.Signer {
	t.Helper()
	s, err := checkpoint.GenerateSigner(name, alg, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// world is a log, the witness beside the mirror, and the mirror's keys.
type world struct {
	log, witness *checkpoint.Signer
	mirror       []*checkpoint.Signer
	entries      [][]byte
	hashes       []tlog.Hash

	mu      sync.Mutex
	pending []byte
	cache   map[[2]int64]tlog.Hash
}

// mth is the RFC 6962 hash of leaves, which tests ask for again and again.
func (w *world) mth(lo, hi int64) tlog.Hash {
	if hi-lo < 2 {
		return subtree.Hash(w.hashes[lo:hi])
	}
	w.mu.Lock()
	h, ok := w.cache[[2]int64{lo, hi}]
	w.mu.Unlock()
	if !ok {
		k := int64(1)
		for 2*k < hi-lo {
			k *= 2
		}
		h = tlog.NodeHash(w.mth(lo, lo+k), w.mth(lo+k, hi))
		w.mu.Lock()
		w.cache[[2]int64{lo, hi}] = h
		w.mu.Unlock()
	}
	return h
}

func newWorld(t testing.TB, entries int) *world {
	w := &world{
		cache: map[[2]int64]tlog.Hash{},
		log:   newSigner(t, "log.example/one", checkpoint.AlgEd25519), witness: newSigner(t, "witness.example/1", checkpoint.AlgCosignEd25519),
		mirror: []*checkpoint.Signer{newSigner(t, "mirror.example/1", checkpoint.AlgCosignEd25519), newSigner(t, "mirror.example/1", checkpoint.AlgMLDSA44)},
	}
	for i := range entries {
		e := fmt.Appendf(nil, "entry %d %s", i, strings.Repeat("x", i%7*i%50))
		if i == 3 {
			e = nil // an empty entry is an entry
		}
		w.entries = append(w.entries, e)
		w.hashes = append(w.hashes, tlog.RecordHash(e))
	}
	return w
}

func (w *world) MirrorKeys(origin string) []*checkpoint.Verifier {
	if origin != "log.example/one" {
		return nil
	}
	return []*checkpoint.Verifier{w.log.Verifier()}
}

func (w *world) Pending(string) ([]byte, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pending, w.pending != nil
}

func (w *world) Verifiers() []*checkpoint.Verifier {
	return []*checkpoint.Verifier{w.witness.Verifier()}
}

func (w *world) checkpoint(size int64) checkpoint.Checkpoint {
	return checkpoint.Checkpoint{Origin: "log.example/one", Size: size, Root: w.mth(0, size)}
}

// note is the checkpoint as the log and the witness have signed it.
func (w *world) note(size int64) []byte {
	text := w.checkpoint(size).Text()
	a, err := w.log.Sign(text, 0)
	if err != nil {
		panic(err)
	}
	b, err := w.witness.Sign(text, 1_700_000_000+size)
	if err != nil {
		panic(err)
	}
	return checkpoint.Join(text, a, b)
}

func (w *world) cosign(size int64) {
	note := w.note(size)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = note
}

// body is a whole add-entries request.
func (w *world) body(start, end int64, ticket []byte) []byte {
	b := AppendHeader(nil, "log.example/one", start, end, ticket)
	for at := start; at < end; {
		p := w.pack(at, end)
		b = AppendPackage(b, p.entries, p.proof)
		at = p.end
	}
	return b
}

func (w *world) pack(at, end int64) *entryPackage {
	p := &entryPackage{start: at}
	p.end = min(end, p.aligned()+tile.Width)
	p.entries = w.entries[at:p.end]
	var err error
	p.proof, err = subtree.Prove(p.aligned(), p.end, end, func(lo, hi int64) (tlog.Hash, error) { return w.mth(lo, hi), nil })
	if err != nil {
		panic(err)
	}
	return p
}

func (w *world) open(t testing.TB, dir string) *Mirror {
	t.Helper()
	m, err := Open(Config{Dir: dir, Signers: w.mirror, Source: w, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

var visitors atomic.Uint32

// send uploads from an address of its own.
func (m *Mirror) send(body []byte) *answer {
	n := visitors.Add(1)
	addr := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	return m.addEntries(context.Background(), bytes.NewReader(body), visitor{addr, func() {}})
}

// verify reads the whole copy over HTTP as a client does and compares it with the log.
func (w *world) verify(t *testing.T, m *Mirror, size int64) {
	t.Helper()
	s := httptest.NewServer(m.Handler("/mirror"))
	defer s.Close()
	base := s.URL + "/mirror/" + originHash("log.example/one")
	get := func(path string) []byte {
		t.Helper()
		resp, err := http.Get(base + "/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %s %q %v", path, resp.Status, data, err)
		}
		return data
	}
	text, sigs, err := checkpoint.ParseNote(get("checkpoint"))
	if err != nil || text != w.checkpoint(size).Text() {
		t.Fatalf("mirror checkpoint %q, %v, want size %d", text, err, size)
	}
	for _, v := range []*checkpoint.Verifier{w.log.Verifier(), w.mirror[0].Verifier(), w.mirror[1].Verifier()} {
		if _, err := checkpoint.Verify(text, sigs, v); err != nil {
			t.Errorf("mirror checkpoint: %s: %v", v, err)
		}
	}
	root, err := tile.Root(t.Context(), func(_ context.Context, x tile.Tile) ([]byte, error) { return get(x.Path()), nil }, size)
	if err != nil || root != w.checkpoint(size).Root {
		t.Errorf("tiles of size %d: root %v, %v", size, root, err)
	}
	for n := int64(0); n*tile.Width < size; n++ {
		width := tile.WidthAt(-1, n, size)
		entries, err := tile.SplitBundle(get(tile.Tile{Level: -1, N: n, W: width}.Path()), width)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range entries {
			if !bytes.Equal(e, w.entries[n*tile.Width+int64(i)]) {
				t.Fatalf("entry %d is %q", n*tile.Width+int64(i), e)
			}
		}
	}
	if resp, err := http.Get(base + "/" + (tile.Tile{Level: -1, N: size / tile.Width, W: int(size%tile.Width) + 1}).Path()); err != nil || resp.StatusCode != 404 {
		t.Errorf("beyond the mirror checkpoint: %v, %v", resp.Status, err)
	} else {
		_ = resp.Body.Close()
	}
}

func expect(t *testing.T, name string, a *answer, status int) {
	t.Helper()
	if a.status != status {
		t.Fatalf("%s: %d %s, want %d", name, a.status, a.reason, status)
	}
}

// Logs of many sizes, whole, over the widths where tiles begin and end.
func TestWholeUploads(t *testing.T) {
	for _, size := range []int64{0, 1, 4, 255, 256, 257, 511, 512, 700} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			w := newWorld(t, int(size)+1)
			m := w.open(t, filepath.Join(t.TempDir(), "mirror"))
			w.cosign(size)
			a := m.send(w.body(0, size, nil))
			expect(t, "upload", a, 200)
			lines, err := checkpoint.ParseSignatureLines(a.lines)
			if err != nil || len(lines) != 2 {
				t.Fatalf("%q, %v", a.lines, err)
			}
			if _, err := checkpoint.Verify(w.checkpoint(size).Text(), lines, w.mirror[0].Verifier(), w.mirror[1].Verifier()); err != nil {
				t.Error(err)
			}
			if lines[0].Timestamp() == 0 {
				t.Error("time zero")
			}
			w.verify(t, m, size)
		})
	}
}

// A tree with three levels of tiles.
func TestThreeLevels(t *testing.T) {
	if testing.Short() {
		t.Skip("some thousand fsyncs")
	}
	const size = 256*256 + 300
	w := newWorld(t, size+1)
	m := w.open(t, filepath.Join(t.TempDir(), "mirror"))
	w.cosign(256*256 - 1)
	expect(t, "first", m.send(w.body(0, 256*256-1, nil)), 200)
	w.cosign(size)
	expect(t, "second", m.send(w.body(256*256-1, size, nil)), 200)
	w.verify(t, m, size)
}

// Growth in random steps, broken off at random bytes, with restarts in between: every
// answer is the one the specification asks for, and the copy is always whole.
func TestRandomGrowth(t *testing.T) {
	const entries = 2500
	w := newWorld(t, entries+1)
	dir := filepath.Join(t.TempDir(), "mirror")
	m := w.open(t, dir)
	rng := mathrand.New(mathrand.NewPCG(1, 2))
	var size, next int64 // of the mirror
	pending := int64(0)
	w.cosign(0)
	for step := 0; size < entries; step++ {
		if rng.IntN(3) == 0 {
			pending = min(entries, pending+rng.Int64N(500))
			w.cosign(pending)
		}
		if rng.IntN(6) == 0 {
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			m = w.open(t, dir)
		}
		start := max(0, next-rng.Int64N(300))
		body := w.body(start, pending, nil)
		want, whole := 200, true
		cut := len(body)
		if rng.IntN(2) == 0 {
			cut = rng.IntN(len(body) + 1)
		}
		// What the packages before the cut bring.
		got, at, offset := next, start, len(AppendHeader(nil, "log.example/one", start, pending, nil))
		if cut < offset {
			want, whole = 400, false
		}
		for any := false; whole && at < pending; {
			p := w.pack(at, pending)
			offset += len(AppendPackage(nil, p.entries, p.proof))
			if cut < offset {
				want = 202
				if !any {
					want = 400
				}
				break
			}
			any, at, got = true, p.end, max(got, p.end)
		}
		a := m.send(body[:cut])
		expect(t, fmt.Sprintf("step %d: [%d, %d) cut at %d of %d", step, start, pending, cut, len(body)), a, want)
		next = got
		switch want {
		case 200:
			size = pending
		case 202:
			if a.next != next || a.pending.cp.Size != pending {
				t.Fatalf("step %d: told size %d, next %d; want %d, %d", step, a.pending.cp.Size, a.next, pending, next)
			}
		}
		if step > 2000 {
			t.Fatal("no end")
		}
	}
	w.verify(t, m, entries)
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, 3000)
	m := w.open(t, filepath.Join(t.TempDir(), "mirror"))
	expect(t, "no pending checkpoint", m.send(w.body(0, 5, nil)), 422)
	w.cosign(300)
	expect(t, "first", m.send(w.body(0, 300, nil)), 200)
	w.cosign(600)

	other := w.body(300, 600, nil)
	copy(other[2:], "xog")
	expect(t, "unknown log", m.send(other), 404)
	expect(t, "nothing", m.send(nil), 400)
	expect(t, "backwards", m.send(AppendHeader(nil, "log.example/one", 600, 300, nil)), 400)
	expect(t, "negative", m.send(AppendHeader(nil, "log.example/one", 0, -1, nil)), 400)
	for name, body := range map[string][]byte{
		"end that is no checkpoint":    w.body(300, 500, nil),
		"end below the mirror's":       w.body(100, 200, w.note(200)),
		"start beyond the next entry":  w.body(301, 600, nil),
		"ticket of another size":       w.body(300, 500, w.note(400)),
		"ticket of the log alone":      w.body(300, 500, logOnly(w, 500)),
		"ticket that is no checkpoint": w.body(300, 500, []byte("let me in")),
	} {
		a := m.send(body)
		expect(t, name, a, 409)
		if a.next != 300 || a.pending.cp.Size != 600 {
			t.Errorf("%s: told size %d, next %d", name, a.pending.cp.Size, a.next)
		}
	}
	wrong := bytes.Replace(w.body(300, 600, nil), []byte("entry 400"), []byte("entry 4OO"), 1)
	expect(t, "other entry", m.send(wrong), 422)
	noProof := AppendPackage(AppendHeader(nil, "log.example/one", 300, 600, nil), w.entries[300:512], nil)
	expect(t, "no proof", m.send(noProof), 422)
	manyHashes := AppendPackage(AppendHeader(nil, "log.example/one", 300, 600, nil), w.entries[300:512], make([]tlog.Hash, 64))
	expect(t, "64 hashes", m.send(manyHashes), 422)
	w.verify(t, m, 300)

	// An older pending checkpoint with its ticket is good; so is the mirror's own.
	expect(t, "ticket", m.send(w.body(300, 500, w.note(500))), 200)
	expect(t, "the mirror's own, nothing to bring", m.send(w.body(500, 500, nil)), 200)
	expect(t, "too many entries again", m.send(w.body(0, 600, nil)[:2000]), 400)
	w.verify(t, m, 500)

	m.excess = 600
	w.cosign(2000)
	expect(t, "much", m.send(w.body(500, 2000, nil)), 200)
	w.cosign(2001)
	expect(t, "too many entries that are here", m.send(w.body(2000-601, 2001, nil)), 409)
	expect(t, "as many as allowed", m.send(w.body(2000-600, 2001, nil)), 200)
}

func logOnly(w *world, size int64) []byte {
	text := w.checkpoint(size).Text()
	line, err := w.log.Sign(text, 0)
	if err != nil {
		panic(err)
	}
	return checkpoint.Join(text, line)
}

// A log that forks after it was cosigned brings nothing of the fork here.
func TestForkIsRefused(t *testing.T) {
	w, fork := newWorld(t, 600), newWorld(t, 600)
	for i := 290; i < 600; i++ {
		fork.entries[i] = []byte("forged")
		fork.hashes[i] = tlog.RecordHash(fork.entries[i])
	}
	m := w.open(t, filepath.Join(t.TempDir(), "mirror"))
	w.cosign(300)
	expect(t, "honest", m.send(w.body(0, 300, nil)), 200)
	w.cosign(600)
	expect(t, "fork", m.send(fork.body(300, 600, nil)), 422)
	expect(t, "honest", m.send(w.body(300, 600, nil)), 200)
	w.verify(t, m, 600)
}

func TestHTTP(t *testing.T) {
	w := newWorld(t, 700)
	m := w.open(t, filepath.Join(t.TempDir(), "mirror"))
	s := httptest.NewServer(m.Handler("/mirror"))
	defer s.Close()
	post := func(body []byte, header ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, s.URL+"/add-entries", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Header.Get("Accept-Encoding") != "gzip" {
			t.Error("no Accept-Encoding")
		}
		return resp, string(data)
	}
	octets := []string{"Content-Type", "application/octet-stream"}
	w.cosign(600)
	if resp, _ := post(w.body(0, 600, nil), "Content-Type", "text/plain"); resp.StatusCode != 415 {
		t.Errorf("text: %s", resp.Status)
	}
	if resp, _ := post(w.body(0, 600, nil), append(octets, "Content-Encoding", "br")...); resp.StatusCode != 415 {
		t.Errorf("br: %s", resp.Status)
	}
	if resp, _ := post(w.body(0, 600, nil), append(octets, "Content-Encoding", "gzip")...); resp.StatusCode != 400 {
		t.Errorf("not gzip: %s", resp.Status)
	}
	// Broken off after the first package, then resumed by what the answer says, after the pending checkpoint moved on.
	first := w.body(0, 600, nil)
	p := w.pack(0, 600)
	cut := len(AppendPackage(AppendHeader(nil, "log.example/one", 0, 600, nil), p.entries, p.proof)) + 10
	resp, info := post(first[:cut], octets...)
	if resp.StatusCode != 202 || resp.Header.Get("Content-Type") != "text/x.tlog.mirror-info" {
		t.Fatalf("broken off: %s %q", resp.Status, info)
	}
	var size, next int64
	var ticket64 string
	if n, err := fmt.Sscanf(info, "%d\n%d\n%s\n", &size, &next, &ticket64); n != 3 || err != nil || size != 600 || next != 256 {
		t.Fatalf("%q", info)
	}
	ticket, err := base64.StdEncoding.DecodeString(ticket64)
	if err != nil {
		t.Fatal(err)
	}
	w.cosign(700)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(w.body(next, size, ticket)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if resp, body := post(zipped.Bytes(), append(octets, "Content-Encoding", "gzip")...); resp.StatusCode != 200 || !strings.HasPrefix(body, "— mirror.example/1 ") {
		t.Errorf("resumed: %s %q", resp.Status, body)
	}
	w.verify(t, m, 600)
	for _, path := range []string{"/mirror/" + originHash("other") + "/checkpoint", "/mirror/x/tile/0/000", "/mirror/" + originHash("log.example/one") + "/tile/0/0", "/" + originHash("log.example/one") + "/checkpoint"} {
		resp, err := http.Get(s.URL + path)
		if err != nil || resp.StatusCode != 404 {
			t.Errorf("%s: %v %v", path, resp.Status, err)
		}
		_ = resp.Body.Close()
	}
}

// Clients at the same time, of overlapping ranges and of several checkpoints.
func TestConcurrentUploads(t *testing.T) {
	w := newWorld(t, 1000)
	m := w.open(t, filepath.Join(t.TempDir(), "mirror"))
	w.cosign(900)
	var wg sync.WaitGroup
	for i := range 8 {
		size := int64(900 - 100*(i%3))
		wg.Go(func() {
			switch a := m.send(w.body(0, size, w.note(size))); a.status {
			case 200:
			case 409: // a larger checkpoint was faster
				if size == 900 {
					t.Errorf("size %d: %d", size, a.status)
				}
			default:
				t.Errorf("size %d: %d %s", size, a.status, a.reason)
			}
		})
	}
	wg.Wait()
	w.verify(t, m, 900)
}

// Of a copy with a flipped bit anywhere, everything is served as it was or not at all.
func TestDamage(t *testing.T) {
	w := newWorld(t, 700)
	dir := filepath.Join(t.TempDir(), "mirror")
	m := w.open(t, dir)
	const size = 520
	w.cosign(size)
	expect(t, "upload", m.send(w.body(0, size, nil)), 200)
	h := m.Handler("/mirror")
	get := func(x tile.Tile) (int, []byte) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/mirror/"+originHash("log.example/one")+"/"+x.Path(), nil))
		return rec.Code, rec.Body.Bytes()
	}
	served := map[tile.Tile][]byte{}
	for level := tile.Entries; level < 2; level++ {
		for n := range int64(3) {
			for _, width := range []int{1, 2, 7, 8, 255, 256} {
				if x := (tile.Tile{Level: level, N: n, W: width}); width <= tile.WidthAt(level, n, size) {
					status, data := get(x)
					if status != 200 {
						t.Fatalf("%s: %d", x.Path(), status)
					}
					served[x] = data
				}
			}
		}
	}
	l, _ := m.find(originHash("log.example/one"))
	for _, path := range []string{"entries/000", "entries/001", "entries/002.p/8", "0/000", "0/001", "0/002.p/8", "1/000.p/2"} {
		file := filepath.Join(l.store.dir, "tile", path)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{0, 1, 33, len(data) - 1} {
			data[at] ^= 1
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			refused := 0
			for x, want := range served {
				switch status, got := get(x); {
				case status == 500:
					refused++
				case status != 200 || !bytes.Equal(got, want):
					t.Errorf("%s damaged at %d: %s is served wrong, %d", path, at, x.Path(), status)
				}
			}
			if refused == 0 {
				t.Errorf("%s damaged at %d: nobody noticed", path, at)
			}
			data[at] ^= 1
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The right edge is read when the next checkpoint is made.
	edge := filepath.Join(l.store.dir, "tile/entries/002.p/8")
	data, err := os.ReadFile(edge)
	if err != nil {
		t.Fatal(err)
	}
	data[5] ^= 1
	if err := os.WriteFile(edge, data, 0o600); err != nil {
		t.Fatal(err)
	}
	w.cosign(530)
	if a := m.send(w.body(520, 530, nil)); a.status == 200 {
		t.Error("signed over a damaged bundle")
	}
	_ = m.Close()
	if err := os.RemoveAll(filepath.Join(l.store.dir, "tile/entries/002.p")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir, Signers: w.mirror, Source: w}); err == nil {
		t.Error("a missing bundle is not noticed at the start")
	}
}

// Neither one log nor one client takes all there is.
func TestUploadsAtOnce(t *testing.T) {
	var u uploads
	var leave []func()
	enter := func(origin, who string, ok bool) {
		t.Helper()
		l, refusal := u.enter(origin, netip.MustParseAddr(who))
		if (refusal == nil) != ok {
			t.Fatalf("%s by %s: %v", origin, who, refusal)
		}
		if ok {
			leave = append(leave, l)
		} else if refusal.status != 503 {
			t.Errorf("%d", refusal.status)
		}
	}
	for i := range 8 {
		enter("a", fmt.Sprintf("192.0.2.%d", i), true)
	}
	enter("a", "192.0.2.99", false) // the log has its share
	for i := range 4 {
		enter(fmt.Sprintf("b%d", i), "198.51.100.1", true)
	}
	enter("c", "198.51.100.1", false) // the address has its share
	for i := range 4 {
		enter(fmt.Sprintf("d%d", i), fmt.Sprintf("203.0.113.%d", i), true)
	}
	enter("e", "192.0.2.50", false) // all is taken
	for _, l := range leave {
		l()
	}
	if u.total != 0 || len(u.byLog) != 0 || len(u.byWho) != 0 {
		t.Errorf("something is left: %d %v %v", u.total, u.byLog, u.byWho)
	}
}

// Somebody who sends nonsense is turned away after a while, before it is read.
func TestUploadersAreBounded(t *testing.T) {
	w := newWorld(t, 10)
	m, err := Open(Config{Dir: filepath.Join(t.TempDir(), "mirror"), Signers: w.mirror, Source: w, Clients: clients.New(clients.Config{Rate: 0.1})})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	h := m.Handler("/mirror")
	post := func(who string) int {
		rec, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/add-entries", strings.NewReader("nonsense"))
		r.RemoteAddr = who + ":1"
		r.Header.Set("Content-Type", "application/octet-stream")
		h.ServeHTTP(rec, r)
		return rec.Code
	}
	for _, want := range []int{400, 400, 429} {
		if got := post("192.0.2.1"); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
	if got := post("192.0.2.2"); got != 400 {
		t.Errorf("somebody else: %d", got)
	}
}

// Whatever comes, the answer is one of the specification's.
func FuzzAddEntries(f *testing.F) {
	w := newWorld(f, 300)
	m := w.open(f, filepath.Join(f.TempDir(), "mirror"))
	w.cosign(300)
	f.Add(w.body(0, 300, nil)[:5000])
	f.Add(w.body(0, 20, w.note(20))[:300])
	f.Add(AppendHeader(nil, "log.example/one", 0, 0, []byte("x")))
	f.Fuzz(func(t *testing.T, body []byte) {
		switch a := m.send(body); a.status {
		case 400, 404, 409, 422, 202:
		default:
			if !bytes.HasPrefix(body, w.body(0, 20, w.note(20))[:16]) {
				t.Errorf("%d %s", a.status, a.reason)
			}
		}
	})
}
