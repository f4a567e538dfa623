package cosign_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/witness/conformance"
	"github.com/escortlog/escortlog/witness/cosign"
)

// tilesOf reads the tiles and bundles of a log's honest tree.
func tilesOf(l *conformance.Log) tile.Reader {
	var mu sync.Mutex
	cache := map[tile.Tile][]byte{}
	return func(_ context.Context, t tile.Tile) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		if data, ok := cache[t]; ok {
			return data, nil
		}
		var data []byte
		for i := t.N * tile.Width; i < t.N*tile.Width+int64(t.W); i++ {
			if t.Level == tile.Entries {
				data = tile.AppendEntry(data, fmt.Appendf(nil, "leaf %d", i))
				continue
			}
			h := l.Honest().Hash(i<<(tile.Height*t.Level), (i+1)<<(tile.Height*t.Level))
			data = append(data, h[:]...)
		}
		cache[t] = data
		return data, nil
	}
}

// mirrorPolicy demands the mirror's keys, and the witness's too if they are given.
func mirrorPolicy(t *testing.T, l *conformance.Log, n *node, witnessToo bool) *checkpoint.Policy {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "log %s\n", l.Signers[0].VKey())
	groups := "m"
	if witnessToo {
		for i, vkey := range n.w.VKeys() {
			fmt.Fprintf(&b, "witness w-%d %s %s\n", i, vkey, n.s.URL)
		}
		b.WriteString("group w all w-0 w-1\n")
		groups += " w"
	}
	for i, s := range n.w.MirrorSigners() {
		fmt.Fprintf(&b, "witness m-%d %s %s\n", i, s.VKey(), n.s.URL)
	}
	fmt.Fprintf(&b, "group m all m-0 m-1\ngroup everyone all %s\nquorum everyone\n", groups)
	p, err := checkpoint.ParsePolicy([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newMirrorGroup(t *testing.T, l *conformance.Log, p *checkpoint.Policy) *cosign.Group {
	t.Helper()
	g := cosign.New(cosign.Config{Policy: p, LogKeys: keysOf(l), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	g.ReadFrom(tilesOf(l))
	return g
}

// A mirror in the policy cosigns, because its copy is brought up to each checkpoint; the copy is
// then whole.
func TestMirrorInPolicy(t *testing.T) {
	for _, witnessToo := range []bool{true, false} {
		t.Run(fmt.Sprint("witness too ", witnessToo), func(t *testing.T) {
			l := newLog(t)
			l.Grow(12_000)
			n := newNodeWith(t, "w.example", "m.example", l)
			p := mirrorPolicy(t, l, n, witnessToo)
			want := len(p.Witnesses)
			g := newMirrorGroup(t, l, p)
			// 10,000 entries at once are more than one request may bring.
			sizes := []int64{0, 1, 5, 5, 255, 256, 257, 1000, 11_000}
			for _, size := range sizes {
				r := ask(t, g, l.Honest(), size)
				if len(r.got) != want {
					t.Fatalf("size %d: cosigned by %s", size, r.names())
				}
				met(t, l, p, size, r)
			}
			// One request each for the checkpoint and for the entries; in the end two for the entries, and at
			// first one to learn that the mirror has nothing, which size 0 needed no entries for.
			if got, want := n.requests.Load(), int64(2*len(sizes)+1); got != want {
				t.Errorf("%d requests, want %d", got, want)
			}
			// A new process knows nothing of the mirror and learns it.
			met(t, l, p, 11_500, ask(t, newMirrorGroup(t, l, p), l.Honest(), 11_500))
			readCopy(t, l, n, 11_500)
		})
	}
}

// readCopy reads a mirror's copy as a client does.
func readCopy(t *testing.T, l *conformance.Log, n *node, size int64) {
	t.Helper()
	sum := sha256.Sum256([]byte(l.Origin))
	get := func(path string) []byte {
		resp, err := http.Get(n.s.URL + "/mirror/" + hex.EncodeToString(sum[:]) + "/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %s %v", path, resp.Status, err)
		}
		return data
	}
	text, _, err := checkpoint.ParseNote(get("checkpoint"))
	if err != nil || text != l.Honest().Checkpoint(size).Text() {
		t.Fatalf("the mirror's checkpoint: %q, %v", text, err)
	}
	want := tilesOf(l)
	for i := int64(0); i*tile.Width < size; i++ {
		b := tile.Tile{Level: tile.Entries, N: i, W: tile.WidthAt(tile.Entries, i, size)}
		if data, _ := want(t.Context(), b); !bytes.Equal(get(b.Path()), data) {
			t.Errorf("%s differs", b.Path())
		}
	}
}

// A mirror in trouble takes nothing from the witness beside it, nor from others.
func TestMirrorInTrouble(t *testing.T) {
	for name, answer := range map[string]func(rw http.ResponseWriter, r *http.Request){
		"silent":       func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"none":         func(rw http.ResponseWriter, _ *http.Request) { http.NotFound(rw, nil) },
		"no such call": func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusMethodNotAllowed) },
		"500":          func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) },
		"busy":         func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) },
		"garbage":      func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "\x00") },
		"empty":        func(http.ResponseWriter, *http.Request) {},
		"wants more": func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(rw, "20\n0\n\n")
		},
		"never enough": func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(rw, "20\n3\n\n")
		},
		"another size": func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(rw, "7\n0\n\n")
		},
		"no ticket": func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(rw, "20\n0\n")
		},
		"bad numbers": func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(rw, "20\n-1\n\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			n := newNodeWith(t, "w.example", "m.example", l)
			n.intercept(func(rw http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/add-entries" {
					return false
				}
				answer(rw, r)
				return true
			})
			g := newMirrorGroup(t, l, mirrorPolicy(t, l, n, true))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var mu sync.Mutex
			count := 0
			r := askContext(ctx, g, l.Honest(), 20, func(checkpoint.Cosignature) {
				mu.Lock()
				defer mu.Unlock()
				if count++; count == 2 && name == "silent" {
					cancel() // nothing more can come; the witness's cosignatures have
				}
			})
			if got := r.names(); got != "w-0 w-1" {
				t.Errorf("cosigned by %s", got)
			}
			// The mirror comes back: with the next round it cosigns again, unless it said that there is none.
			n.intercept(nil)
			want := "w-0 w-1 m-0 m-1"
			if name == "none" || name == "no such call" {
				want = "w-0 w-1"
			}
			for range 50 {
				if r = ask(t, g, l.Honest(), 30); r.names() == want {
					return
				}
			}
			t.Errorf("afterwards it is cosigned by %s, want %s", r.names(), want)
		})
	}
}

// While entries go to a mirror that is slow, the witness beside it cosigns newer checkpoints.
func TestSlowMirrorKeepsNobody(t *testing.T) {
	l := newLog(t)
	n := newNodeWith(t, "w.example", "m.example", l)
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	n.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/add-entries" {
			arrived <- struct{}{}
			<-release
		}
		return false
	})
	g := newMirrorGroup(t, l, mirrorPolicy(t, l, n, true))
	first := make(chan *result, 1)
	go func() { first <- ask(t, g, l.Honest(), 10) }()
	<-arrived
	second, cosigned := make(chan *result, 1), make(chan struct{}, 4)
	go func() {
		second <- ask(t, g, l.Honest(), 20, func(checkpoint.Cosignature) { cosigned <- struct{}{} })
	}()
	<-cosigned // by the witness, with the first upload still under way
	<-cosigned
	close(release)
	if got := (<-first).names(); got != "w-0 w-1" && got != "w-0 w-1 m-0 m-1" {
		t.Errorf("the first: %s", got)
	}
	if got := (<-second).names(); got != "w-0 w-1 m-0 m-1" {
		t.Errorf("the second: %s", got)
	}
}

// gate holds each add-entries request until the test lets it pass.
type gate struct {
	arrived chan int // its number, from 1
	pass    chan struct{}
	count   atomic.Int64
}

func (g *gate) through(_ http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path == "/add-entries" {
		g.arrived <- int(g.count.Add(1))
		<-g.pass
	}
	return false
}

// background is ask in a goroutine; witnessed is closed when the witness's two cosignatures are there.
func background(t *testing.T, g *cosign.Group, l *conformance.Log, size int64) (asked <-chan *result, witnessed <-chan struct{}) {
	done, cosigned := make(chan *result, 1), make(chan struct{})
	var count atomic.Int64
	go func() {
		done <- ask(t, g, l.Honest(), size, func(checkpoint.Cosignature) {
			if count.Add(1) == 2 {
				close(cosigned)
			}
		})
	}()
	return done, cosigned
}

// A checkpoint whose entries are on their way is cosigned by the mirror even if newer ones have
// been added meanwhile, by the ticket that it gave.
func TestTicketOutlivesNewerCheckpoint(t *testing.T) {
	l := newLog(t)
	n := newNodeWith(t, "w.example", "m.example", l)
	gate := &gate{arrived: make(chan int, 10), pass: make(chan struct{})}
	n.intercept(gate.through)
	g := newMirrorGroup(t, l, mirrorPolicy(t, l, n, true))
	first, _ := background(t, g, l, 10)
	<-gate.arrived
	second, cosigned := background(t, g, l, 20)
	<-cosigned
	gate.pass <- struct{}{} // the first is told that 20 is pending, and its ticket
	if got := (<-first).names(); got != "w-0 w-1" {
		t.Errorf("the first: %s", got)
	}
	<-gate.arrived
	third, cosigned := background(t, g, l, 30)
	<-cosigned
	close(gate.pass)
	for _, r := range []*result{<-second, <-third} {
		if got := r.names(); got != "w-0 w-1 m-0 m-1" {
			t.Errorf("cosigned by %s", got)
		}
	}
}

// Rounds that newer ones have passed by cost the mirror nothing.
func TestLateRoundsAreDropped(t *testing.T) {
	l := newLog(t)
	n := newNodeWith(t, "w.example", "m.example", l)
	gate := &gate{arrived: make(chan int, 10), pass: make(chan struct{})}
	n.intercept(gate.through)
	g := newMirrorGroup(t, l, mirrorPolicy(t, l, n, true))
	results := make([]<-chan *result, 4)
	for i := range results {
		var cosigned <-chan struct{}
		results[i], cosigned = background(t, g, l, int64(10*(i+1)))
		<-cosigned
	}
	<-gate.arrived
	close(gate.pass)
	for i, r := range results {
		want := "w-0 w-1"
		if i == 3 {
			want += " m-0 m-1"
		}
		if got := (<-r).names(); got != want {
			t.Errorf("round %d is cosigned by %s", i, got)
		}
	}
	if got := gate.count.Load(); got != 2 {
		t.Errorf("%d requests, want the first round's and the last's", got)
	}
}

// What a mirror refuses because the log's store gives wrong entries is not cosigned.
func TestMirrorRefusesWrongEntries(t *testing.T) {
	l := newLog(t)
	n := newNodeWith(t, "w.example", "m.example", l)
	g := cosign.New(cosign.Config{Policy: mirrorPolicy(t, l, n, true), LogKeys: keysOf(l)})
	right := tilesOf(l)
	g.ReadFrom(func(ctx context.Context, x tile.Tile) ([]byte, error) {
		data, err := right(ctx, x)
		if x.Level == tile.Entries {
			data = bytes.Replace(data, []byte("leaf 7"), []byte("leaf X"), 1)
		}
		return data, err
	})
	if got := ask(t, g, l.Honest(), 20).names(); got != "w-0 w-1" {
		t.Errorf("cosigned by %s", got)
	}
}

// A mirror need not answer add-checkpoint with anything.
func TestMirrorAnswersEmptyBody(t *testing.T) {
	// "The mirror MAY handle the request by internally updating the pending checkpoint and responding with
	// an empty response body."
	l := newLog(t)
	n := newNodeWith(t, "w.example", "m.example", l)
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		n.s.Config.Handler.ServeHTTP(rec, r)
		rw.WriteHeader(rec.Code)
		if r.URL.Path != "/add-checkpoint" || rec.Code != 200 {
			_, _ = rw.Write(rec.Body.Bytes())
		}
	}))
	defer front.Close()
	n.s.URL, front.URL = front.URL, n.s.URL
	defer func() { n.s.URL, front.URL = front.URL, n.s.URL }()
	p := mirrorPolicy(t, l, n, false)
	met(t, l, p, 20, ask(t, newMirrorGroup(t, l, p), l.Honest(), 20))
}
