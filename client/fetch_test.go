package client

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
)

// fetcher asks a handler, with a clock that only its pauses move. slept sums them.
func fetcher(t *testing.T, h http.HandlerFunc) (f *Fetcher, slept *time.Duration) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	slept = new(time.Duration)
	start := time.UnixMilli(1_750_000_000_000)
	return &Fetcher{
		URL: server.URL + "/",
		now: func() time.Time { return start.Add(*slept) },
		sleep: func(ctx context.Context, d time.Duration) error {
			*slept += d
			return ctx.Err()
		},
	}, slept
}

// serve answers with fixed bodies by path, and 404 otherwise.
func serve(bodies map[string][]byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b, ok := bodies[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(b)
	}
}

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func bundleOf(n int) []byte {
	var b []byte
	for i := range n {
		b = tile.AppendEntry(b, fmt.Appendf(nil, "entry %d", i))
	}
	return b
}

func TestFetch(t *testing.T) {
	hashes := bytes.Repeat([]byte("0123456789abcdef"), 2*256)
	f, slept := fetcher(t, serve(map[string][]byte{
		"/checkpoint":             []byte("a note"),
		"/tile/0/000.p/3":         hashes[:3*32],
		"/tile/0/001":             hashes,
		"/tile/entries/000.p/3":   bundleOf(3),
		"/tile/entries/x001/002":  bundleOf(256),
		"/tile/1/000.p/7":         hashes[:6*32],
		"/tile/2/000.p/7":         hashes[:8*32],
		"/tile/2/001.p/7":         hashes,
		"/tile/entries/003.p/2":   bundleOf(3),
		"/tile/entries/004.p/2":   bundleOf(1),
		"/tile/entries/005.p/200": []byte{0, 5, 'x'},
	}))
	ctx := context.Background()
	if b, err := f.Checkpoint(ctx); err != nil || string(b) != "a note" {
		t.Errorf("checkpoint: %q, %v", b, err)
	}
	for _, q := range []tile.Tile{{Level: 0, N: 0, W: 3}, {Level: 0, N: 1, W: 256}} {
		if b, err := f.Tile(ctx, q); err != nil || !bytes.Equal(b, hashes[:q.W*32]) {
			t.Errorf("%s: %d bytes, %v", q.Path(), len(b), err)
		}
	}
	// A partial tile that is gone is a prefix of the full one.
	if b, err := f.Tile(ctx, tile.Tile{Level: 0, N: 1, W: 9}); err != nil || !bytes.Equal(b, hashes[:9*32]) {
		t.Errorf("fallback: %d bytes, %v", len(b), err)
	}
	for _, q := range []tile.Tile{{Level: -1, N: 0, W: 3}, {Level: -1, N: 1002, W: 256}, {Level: -1, N: 1002, W: 5}} {
		entries, err := f.Bundle(ctx, q)
		if err != nil || len(entries) != q.W || string(entries[q.W-1]) != fmt.Sprintf("entry %d", q.W-1) {
			t.Errorf("%s: %d entries, %v", q.Path(), len(entries), err)
		}
	}
	for _, q := range []tile.Tile{{Level: 1, N: 0, W: 7}, {Level: 2, N: 0, W: 7}, {Level: 2, N: 1, W: 7}} {
		var bad *IntegrityError
		if _, err := f.Tile(ctx, q); !errors.As(err, &bad) || errors.Is(err, ErrUnavailable) || bad.Path != q.Path() {
			t.Errorf("%s: %v", q.Path(), err)
		}
	}
	for _, q := range []tile.Tile{{Level: -1, N: 3, W: 2}, {Level: -1, N: 4, W: 2}, {Level: -1, N: 5, W: 200}} {
		var bad *IntegrityError
		if _, err := f.Bundle(ctx, q); !errors.As(err, &bad) || !errors.Is(err, tile.ErrBundle) {
			t.Errorf("%s: %v", q.Path(), err)
		}
	}
	for _, q := range []tile.Tile{{Level: 0, N: 9, W: 256}, {Level: 0, N: 9, W: 1}} {
		if _, err := f.Tile(ctx, q); !errors.Is(err, ErrMissing) || !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", q.Path(), err)
		}
	}
	if *slept != 0 {
		t.Errorf("waited %v for answers that do not change", *slept)
	}
}

func TestFetchCompressed(t *testing.T) {
	plain := bundleOf(3)
	coding := "gzip"
	var body []byte
	f, _ := fetcher(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") || !strings.Contains(r.Header.Get("Accept-Encoding"), "identity") {
			t.Errorf("asked for %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", coding)
		w.Write(body)
	})
	q := tile.Tile{Level: -1, N: 0, W: 3}
	body = zipped(t, plain)
	if got, err := f.Bundle(context.Background(), q); err != nil || len(got) != 3 {
		t.Errorf("%d entries, %v", len(got), err)
	}
	// Hashes do not compress; the envelope of gzip may be longer than the tile.
	random := bytes.Repeat([]byte{7, 1}, 16)
	body = zipped(t, random)
	if got, err := f.Tile(context.Background(), tile.Tile{W: 1}); err != nil || !bytes.Equal(got, random) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for name, b := range map[string][]byte{
		"not gzip":       plain,
		"cut":            zipped(t, plain)[:20],
		"wrong checksum": append(zipped(t, plain)[:len(zipped(t, plain))-8], 1, 2, 3, 4, 5, 6, 7, 8),
		"a bomb":         zipped(t, make([]byte, 1<<20)),
	} {
		body = b
		var bad *IntegrityError
		if _, err := f.Bundle(context.Background(), q); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	coding, body = "br", plain
	if _, err := f.Bundle(context.Background(), q); !errors.Is(err, ErrUnavailable) {
		t.Errorf("unknown coding: %v", err)
	}
}

func TestFetchBounds(t *testing.T) {
	f, _ := fetcher(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 1<<16)
		for range 32 { // 2 MiB
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	var bad *IntegrityError
	if _, err := f.Tile(context.Background(), tile.Tile{W: 256}); !errors.As(err, &bad) || len(bad.Body) > 16<<10 {
		t.Errorf("tile: %v", err)
	}
	if _, err := f.Checkpoint(context.Background()); !errors.As(err, &bad) || len(bad.Body) > 2*checkpoint.MaxNote {
		t.Errorf("checkpoint: %v", err)
	}
}

func TestFetchRetries(t *testing.T) {
	for name, c := range map[string]struct {
		fail       func(w http.ResponseWriter)
		least, top time.Duration // waited for two failures
	}{
		"503":              {func(w http.ResponseWriter) { w.WriteHeader(503) }, firstPause, 2 * firstPause},
		"500":              {func(w http.ResponseWriter) { w.WriteHeader(500) }, firstPause, 2 * firstPause},
		"429 with seconds": {func(w http.ResponseWriter) { w.Header().Set("Retry-After", "7"); w.WriteHeader(429) }, 14 * time.Second, 14 * time.Second},
		"503 with a date": {func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", time.UnixMilli(1_750_000_009_000).UTC().Format(http.TimeFormat))
			w.WriteHeader(503)
		}, 9 * time.Second, 9*time.Second + 2*firstPause},
		"connection closed": {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, firstPause, 2 * firstPause},
		"cut in the middle": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("half"))
			panic(http.ErrAbortHandler)
		}, firstPause, 2 * firstPause},
		"a nonsense Retry-After": {func(w http.ResponseWriter) { w.Header().Set("Retry-After", "soon"); w.WriteHeader(503) }, firstPause, 2 * firstPause},
	} {
		var asked atomic.Int32
		f, slept := fetcher(t, func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) <= 2 {
				c.fail(w)
				return
			}
			w.Write([]byte("here"))
		})
		// A connection that the server closed must not be tried again by net/http.
		f.HTTP = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		b, err := f.Checkpoint(context.Background())
		if err != nil || string(b) != "here" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if *slept < c.least/2 || *slept > c.top+c.top/2 {
			t.Errorf("%s: waited %v", name, *slept)
		}
	}
}

func TestFetchGivesUp(t *testing.T) {
	var asked atomic.Int32
	status, after := 503, ""
	f, slept := fetcher(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(status)
	})
	f.GiveUp = time.Minute
	if _, err := f.Checkpoint(context.Background()); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "503") {
		t.Error(err)
	}
	if n := asked.Load(); n < 4 || *slept > time.Minute {
		t.Errorf("asked %d times in %v", n, *slept)
	}
	// Asked to wait longer than there is patience, it does not even begin to.
	after, *slept = "3600", 0
	if _, err := f.Checkpoint(context.Background()); !errors.Is(err, ErrUnavailable) || *slept != 0 {
		t.Errorf("%v after %v", err, *slept)
	}
	for _, status = range []int{400, 401, 403, 404, 410, 302, 204} {
		asked.Store(0)
		if _, err := f.Checkpoint(context.Background()); !errors.Is(err, ErrUnavailable) || asked.Load() != 1 {
			t.Errorf("status %d: asked %d times, %v", status, asked.Load(), err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Checkpoint(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	f.URL = "https://127.0.0.1:1"
	if _, err := f.Checkpoint(context.Background()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("nobody there: %v", err)
	}
	f.URL = "::"
	if _, err := f.Checkpoint(context.Background()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("no URL: %v", err)
	}
}

func TestFetchDoesNotRetryInVain(t *testing.T) {
	server := httptest.NewUnstartedServer(serve(map[string][]byte{"/checkpoint": []byte("x")}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of the client that will not trust it
	server.StartTLS()
	t.Cleanup(server.Close)
	f, slept := fetcher(t, nil)
	f.URL = server.URL
	if _, err := f.Checkpoint(context.Background()); !errors.Is(err, ErrUnavailable) || *slept != 0 {
		t.Errorf("unknown authority: %v after %v", err, *slept)
	}
	f.HTTP = server.Client()
	if b, err := f.Checkpoint(context.Background()); err != nil || string(b) != "x" {
		t.Errorf("known authority: %q, %v", b, err)
	}
	moved, _ := fetcher(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) })
	moved.HTTP = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("no redirects") }}
	if _, err := moved.Checkpoint(context.Background()); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no redirects") {
		t.Errorf("redirect: %v", err)
	}
}

func TestFetchHeaders(t *testing.T) {
	var got http.Header
	f, _ := fetcher(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header })
	if _, err := f.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got.Get("User-Agent") != DefaultUserAgent || got.Get("Authorization") != "" {
		t.Errorf("sent %v", got)
	}
	f.Token, f.UserAgent = "secret", "auditor/7"
	if _, err := f.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got.Get("User-Agent") != "auditor/7" || got.Get("Authorization") != "Bearer secret" {
		t.Errorf("sent %v", got)
	}
}

func TestFetchTimeout(t *testing.T) {
	release := make(chan struct{})
	var asked atomic.Int32
	f, _ := fetcher(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			select { // hangs until its client has given up
			case <-release:
			case <-r.Context().Done():
			}
			return
		}
		w.Write([]byte("late"))
	})
	t.Cleanup(func() { close(release) })
	f.Timeout = 50 * time.Millisecond
	// Each answer but the first comes at once, yet on a busy machine it may take
	// longer than the timeout too: it is then asked for again.
	f.GiveUp = time.Hour
	if b, err := f.Checkpoint(context.Background()); err != nil || string(b) != "late" {
		t.Errorf("%q, %v", b, err)
	}
}
