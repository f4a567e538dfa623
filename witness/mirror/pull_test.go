package mirror

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/witness/subtree"
)

// web serves the log of a world as tiles of some size, and counts what goes wrong on purpose.
type web struct {
	*world
	mu    sync.Mutex
	size  int64
	lie   string // path prefix whose bytes are changed
	prune bool   // partial tiles are gone where full ones are
	total int64  // entries the log really has
	// cosigned says that the served checkpoint bears the witness's cosignature.
	cosigned bool
}

func (w *web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	size, lie, prune, total := w.size, w.lie, w.prune, w.total
	w.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/log/")
	if path == "checkpoint" {
		if w.cosigned {
			_, _ = rw.Write(w.note(size))
			return
		}
		_, _ = rw.Write(logOnly(w.world, size))
		return
	}
	t, err := tile.ParsePath(path)
	if err != nil || t.W > tile.WidthAt(t.Level, t.N, total) || prune && !t.Full() && tile.WidthAt(t.Level, t.N, total) == tile.Width {
		http.NotFound(rw, r)
		return
	}
	var data []byte
	for i := range int64(t.W) {
		if t.Level < 0 {
			data = tile.AppendEntry(data, w.entries[t.N*tile.Width+i])
			continue
		}
		unit := int64(1) << (tile.Height * t.Level)
		h := w.mth((t.N*tile.Width+i)*unit, (t.N*tile.Width+i+1)*unit)
		data = append(data, h[:]...)
	}
	if lie != "" && strings.HasPrefix(path, lie) {
		data[len(data)-1] ^= 1
	}
	_, _ = rw.Write(data)
}

func (w *web) set(size int64, lie string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.size, w.lie = size, lie
}

func (w *web) MirrorRemotes() map[string]Remote { return nil }

// AddCheckpoint is a witness that checks the one thing these tests vary: the proof.
func (w *web) AddCheckpoint(body []byte) ([]byte, error) {
	head, note, _ := strings.Cut(string(body), "\n\n")
	lines := strings.Split(head, "\n")
	text, _, err := checkpoint.ParseNote([]byte(note))
	if err != nil {
		return nil, err
	}
	cp, err := checkpoint.Parse(text)
	if err != nil {
		return nil, err
	}
	var old int64
	if _, err := fmt.Sscanf(lines[0], "old %d", &old); err != nil {
		return nil, err
	}
	var proof []tlog.Hash
	for _, s := range lines[1:] {
		h, err := tlog.ParseHash(s)
		if err != nil {
			return nil, err
		}
		proof = append(proof, h)
	}
	if err := checkpoint.VerifyConsistency(old, cp.Size, w.checkpoint(old).Root, cp.Root, proof); err != nil {
		return nil, err
	}
	w.cosign(cp.Size)
	return nil, nil
}

func TestPull(t *testing.T) {
	const total = 3000 // more than is pulled
	w := &web{world: newWorld(t, total+1), total: total}
	s := httptest.NewServer(w)
	defer s.Close()
	m := w.open(t, filepath.Join(t.TempDir(), "mirror"))
	pull := func() error {
		return m.pullLog(t.Context(), w, &reader{client: s.Client(), url: s.URL + "/log"}, "log.example/one")
	}
	for _, size := range []int64{0, 1, 200, 200, 256, 700, 701, 2047, 2998} {
		w.set(size, "")
		w.prune = size > 600
		if err := pull(); err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		w.verify(t, m, size)
	}
	// The witness is ahead of what the log has published: what is published, which it has
	// cosigned, is mirrored meanwhile.
	w.total = 2999
	w.set(2999, "")
	w.cosign(3000)
	w.cosigned = true
	if err := pull(); err != nil {
		t.Error(err)
	}
	w.verify(t, m, 2999)
	// A smaller checkpoint, as a cache may serve, is nothing new.
	w.set(100, "")
	if err := pull(); err != nil {
		t.Error(err)
	}
	w.verify(t, m, 2999)
}

// A web server that changes entries or hashes brings nothing false here; when it
// stops, pulling goes on.
func TestPullFromLiar(t *testing.T) {
	for _, lie := range []string{"tile/entries/", "tile/0/", "tile/1/"} {
		w := &web{world: newWorld(t, 701), total: 700}
		s := httptest.NewServer(w)
		defer s.Close()
		m := w.open(t, filepath.Join(t.TempDir(), "mirror"))
		pull := func() error {
			return m.pullLog(t.Context(), w, &reader{client: s.Client(), url: s.URL + "/log"}, "log.example/one")
		}
		w.set(700, lie)
		if err := pull(); err == nil {
			t.Errorf("with %s changed nothing is noticed", lie)
		}
		if _, h := m.find(originHash("log.example/one")); h != nil {
			t.Errorf("with %s changed size %d is cosigned", lie, h.cp.Size)
		}
		w.set(700, "")
		if err := pull(); err != nil {
			t.Fatal(err)
		}
		w.verify(t, m, 700)
	}
}

// Pull goes on until it is told to end.
func TestPullEnds(t *testing.T) {
	w := &web{world: newWorld(t, 300), total: 299}
	s := httptest.NewServer(w)
	defer s.Close()
	m := w.open(t, filepath.Join(t.TempDir(), "mirror"))
	w.set(299, "")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Pull(ctx, withURL{w, m, s.URL + "/log/", cancel, new(int)}, nil, 1)
	}()
	<-done
	w.verify(t, m, 299)
}

// withURL names one log, and ends the pulling when it was asked three times and the
// log is mirrored.
type withURL struct {
	*web
	m      *Mirror
	url    string
	cancel func()
	asked  *int
}

func (w withURL) MirrorRemotes() map[string]Remote {
	*w.asked++
	if _, h := w.m.find(originHash("log.example/one")); *w.asked >= 3 && h != nil && h.cp.Size == 299 {
		w.cancel()
	}
	return map[string]Remote{"log.example/one": {URL: w.url}}
}

// twoLogs names a log that never answers beside one that does.
type twoLogs struct {
	*web
	good, bad string
}

func (l twoLogs) MirrorRemotes() map[string]Remote {
	return map[string]Remote{"log.example/one": {URL: l.good}, "log.example/two": {URL: l.bad}}
}

func (l twoLogs) MirrorKeys(origin string) []*checkpoint.Verifier {
	return l.web.MirrorKeys("log.example/one")
}

// A log that does not answer holds up no other.
func TestPullBesideASilentLog(t *testing.T) {
	w := &web{world: newWorld(t, 300), total: 299}
	good := httptest.NewServer(w)
	defer good.Close()
	asked := make(chan struct{}, 100)
	bad := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer bad.Close()
	m := w.open(t, filepath.Join(t.TempDir(), "mirror"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Pull(ctx, twoLogs{w, good.URL + "/log/", bad.URL}, nil, 1)
	}()
	<-asked
	// Only now is there something to pull of the good one.
	w.set(299, "")
	for h := (*head)(nil); h == nil || h.cp.Size == 0; {
		_, h = m.find(originHash("log.example/one"))
	}
	cancel()
	<-done
	w.verify(t, m, 299)
	if len(asked) > 0 {
		t.Error("the silent log is asked again while it is being asked")
	}
}

// TestPullFromHostile reads from servers that mean harm.
func TestPullFromHostile(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another host was asked") }))
	defer elsewhere.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"a redirect elsewhere": func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, elsewhere.URL, http.StatusFound) },
		"a redirect in a circle": func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, r.URL.Path, http.StatusFound)
		},
		"an endless answer": func(rw http.ResponseWriter, _ *http.Request) {
			block := make([]byte, 1<<16)
			for range 1 << 12 {
				if _, err := rw.Write(block); err != nil {
					return
				}
			}
		},
		"a gzip bomb": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(rw)
			for range 64 {
				_, _ = z.Write(make([]byte, 1<<20)) // the reader hangs up
			}
			_ = z.Close()
		},
		"a page":       func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("<html>")) },
		"an empty one": func(http.ResponseWriter, *http.Request) {},
		"a note cut off": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "1000")
			_, _ = rw.Write([]byte("log.example/one\n"))
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			w := &web{world: newWorld(t, 20), total: 20}
			s := httptest.NewServer(answer)
			defer s.Close()
			m := w.open(t, filepath.Join(t.TempDir(), "mirror"))
			r, err := (&remotes{}).reader(Remote{URL: s.URL})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.pullLog(t.Context(), w, r, "log.example/one"); err == nil || len(err.Error()) > 1000 {
				t.Errorf("%v", err)
			}
			for _, path := range []string{"tile/0/000", "tile/entries/000"} {
				if data, err := r.get(t.Context(), path, maxHashTile); err == nil && len(data) > maxHashTile {
					t.Errorf("%s: %d bytes", path, len(data))
				}
			}
		})
	}
}

func TestReaderLimits(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/long":
			_, _ = w.Write(make([]byte, 101))
		case "/broken":
			w.WriteHeader(500)
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	r := &reader{client: s.Client(), url: s.URL}
	if _, err := r.get(t.Context(), "long", 100); err == nil {
		t.Error("too long is no error")
	}
	if _, err := r.get(t.Context(), "broken", 100); err == nil || errors.Is(err, errAbsent) {
		t.Errorf("500: %v", err)
	}
	if _, err := r.get(t.Context(), "missing", 100); !errors.Is(err, errAbsent) {
		t.Errorf("404: %v", err)
	}
}

// The hashes made of tiles are those of RFC 6962 for every subtree.
func TestReaderHash(t *testing.T) {
	const total = 600
	w := &web{world: newWorld(t, total), total: total}
	s := httptest.NewServer(w)
	defer s.Close()
	r := &reader{client: s.Client(), url: s.URL + "/log", size: total}
	hash := subtree.FromTiles(t.Context(), r.tile, total)
	for lo := int64(0); lo < total; lo += 1 + lo/7 {
		for hi := lo + 1; hi <= total; hi += 1 + hi/9 {
			if !subtree.Valid(lo, hi, total) {
				continue
			}
			if got, err := hash(lo, hi); err != nil || got != w.mth(lo, hi) {
				t.Fatalf("[%d, %d): %v, %v", lo, hi, got, err)
			}
		}
	}
}
