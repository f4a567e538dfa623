package client

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
)

// endless writes for ever, or until the client goes.
func endless(w http.ResponseWriter, r *http.Request) {
	block := bytes.Repeat([]byte("x"), 64<<10)
	for r.Context().Err() == nil {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// drip writes a byte now and then.
func drip(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := w.Write([]byte("x")); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// bomb is 64 MiB of zeros, compressed.
func bomb(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	for range 64 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// signatures is a note with a great many signature lines by the log's own key name.
func signatures(n int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n1\n%s\n\n", testOrigin, base64.StdEncoding.EncodeToString(make([]byte, 32)))
	for i := range n {
		sig := make([]byte, 68)
		sig[0], sig[1] = byte(i>>8), byte(i)
		fmt.Fprintf(&b, "\u2014 %s %s\n", testOrigin, base64.StdEncoding.EncodeToString(sig))
	}
	return b.Bytes()
}

// TestHostileServer reads from servers that mean harm: what comes is an error that
// says what was wrong, soon, and without taking much memory.
func TestHostileServer(t *testing.T) {
	checkpointOf := func(f *Fetcher) error { _, err := f.Checkpoint(t.Context()); return err }
	tileOf := func(f *Fetcher) error {
		_, err := f.Tile(t.Context(), tile.Tile{Level: 0, N: 0, W: tile.Width})
		return err
	}
	bundleOf := func(f *Fetcher) error {
		_, err := f.Bundle(t.Context(), tile.Tile{Level: tile.Entries, N: 0, W: 2})
		return err
	}
	proofOf := func(f *Fetcher) error { _, _, _, err := f.Proof(t.Context(), 0, nil); return err }
	zip := bomb(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another host was asked") }))
	defer elsewhere.Close()
	text := func(status int, header http.Header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for name, values := range header {
				w.Header()[name] = values
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	raw := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(c, answer)
			_ = c.Close()
		}
	}
	for name, c := range map[string]struct {
		serve     http.HandlerFunc
		ask       func(*Fetcher) error
		integrity bool // the log itself is at fault; otherwise it is unavailable
		says      string
	}{
		"an endless checkpoint":                  {endless, checkpointOf, true, "longer than 1048576 bytes"},
		"an endless tile":                        {endless, tileOf, true, "longer than 8192 bytes"},
		"an endless bundle":                      {endless, bundleOf, true, "longer than 131074 bytes"},
		"an endless refusal":                     {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403); endless(w, r) }, tileOf, false, "status 403"},
		"an endless error":                       {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); endless(w, r) }, tileOf, false, "status 500"},
		"a dripping answer":                      {drip, tileOf, false, "deadline"},
		"a dripping refusal":                     {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(400); drip(w, r) }, tileOf, false, "status 400"},
		"no answer":                              {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, tileOf, false, "deadline"},
		"a gzip bomb as a tile":                  {text(200, http.Header{"Content-Encoding": {"gzip"}}, string(zip)), tileOf, true, "longer than 8192 bytes"},
		"a gzip bomb as a bundle":                {text(200, http.Header{"Content-Encoding": {"gzip"}}, string(zip)), bundleOf, true, "longer than 131074 bytes"},
		"a gzip bomb as a checkpoint":            {text(200, http.Header{"Content-Encoding": {"gzip"}}, string(zip)), checkpointOf, true, "longer than 1048576 bytes"},
		"gzip cut off":                           {text(200, http.Header{"Content-Encoding": {"gzip"}}, string(zip[:100])), tileOf, true, "decompressing"},
		"gzip that is none":                      {text(200, http.Header{"Content-Encoding": {"gzip"}}, "<html>"), tileOf, true, "decompressing"},
		"an unknown coding":                      {text(200, http.Header{"Content-Encoding": {"br"}}, "x"), tileOf, false, `content coding "br"`},
		"a redirect elsewhere":                   {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, tileOf, false, "redirects to " + elsewhere.URL},
		"a redirect in a circle":                 {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, tileOf, false, "redirects to"},
		"a tile too short":                       {text(200, nil, strings.Repeat("x", 8191)), tileOf, true, "8191 bytes where 256 hashes have 8192"},
		"an empty tile":                          {text(200, nil, ""), tileOf, true, "0 bytes where"},
		"a bundle of one entry":                  {text(200, nil, "\x00\x01x"), bundleOf, true, "tile/entries/000.p/2"},
		"a bundle cut off":                       {text(200, nil, "\x00\x01x\xff\xffx"), bundleOf, true, "tile/entries/000.p/2"},
		"an error page":                          {text(200, http.Header{"Content-Type": {"text/html"}}, "<html>Sign in</html>"), tileOf, true, "20 bytes where"},
		"an error page in place of a checkpoint": {text(200, http.Header{"Content-Type": {"text/html"}}, "<html>Sign in</html>"), proofOf, true, "note"},
		"a maintenance page":                     {text(503, http.Header{"Content-Type": {"text/html"}}, "<html>\x1b[2JBack soon</html>"), tileOf, false, `"<html>\x1b[2JBack soon</html>"`},
		"a huge Retry-After":                     {text(429, http.Header{"Retry-After": {"2147483648"}}, ""), tileOf, false, "status 429"},
		"a Retry-After of an age":                {text(503, http.Header{"Retry-After": {"99999999"}}, ""), tileOf, false, "status 503"},
		"a Retry-After in year 9999":             {text(503, http.Header{"Retry-After": {"Fri, 31 Dec 9999 23:59:59 GMT"}}, ""), tileOf, false, "status 503"},
		"too many signatures":                    {text(200, nil, string(signatures(8000))), proofOf, true, ""},
		"less than was announced":                {raw("HTTP/1.1 200 OK\r\nContent-Length: 8192\r\n\r\nshort"), tileOf, false, "unexpected EOF"},
		"more than was announced":                {raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n" + strings.Repeat("x", 8192)), tileOf, true, "5 bytes where"},
		"a negative length":                      {raw("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx"), tileOf, false, "Content-Length"},
		"a length of an age":                     {raw("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nshort"), tileOf, false, "unexpected EOF"},
		"no HTTP":                                {raw("SSH-2.0-OpenSSH_9.9\r\n\r\n"), tileOf, false, "malformed HTTP"},
		"headers without end":                    {raw("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 11<<20)), tileOf, false, ""},
		"a hundred early hints":                  {raw(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100)), tileOf, false, ""},
		"a broken chunk":                         {raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), tileOf, false, "chunk"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			f, slept := fetcher(t, c.serve)
			f.Timeout, f.GiveUp = 300*time.Millisecond, time.Second
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := c.ask(f)
			runtime.ReadMemStats(&after)
			var bad *IntegrityError
			malformed := errors.Is(err, checkpoint.ErrMalformed)
			if err == nil || (errors.As(err, &bad) || malformed) != c.integrity || !c.integrity && !errors.Is(err, ErrUnavailable) {
				t.Errorf("%v", err)
			}
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("it does not say %q: %v", c.says, err)
			}
			if err != nil && len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if *slept > f.GiveUp {
				t.Errorf("slept for %v", *slept)
			}
			if taken := after.TotalAlloc - before.TotalAlloc; taken > 64<<20 {
				t.Errorf("took %d bytes of memory", taken)
			}
		})
	}
}

// TestHostileAnswers submits to logs that mean harm.
func TestHostileAnswers(t *testing.T) {
	lie := func(change func(a *entryAnswer)) func(*fakeLog) {
		return func(f *fakeLog) { f.alter = func(_ int, a *entryAnswer) { change(a) } }
	}
	instead := func(h http.HandlerFunc) func(*fakeLog) {
		return func(f *fakeLog) {
			f.before = func(w http.ResponseWriter, r *http.Request, _ []byte) bool { h(w, r); return true }
		}
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another host got the events") }))
	defer elsewhere.Close()
	send := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	long := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		be   func(*fakeLog)
		kind string // lied, unavailable or refused
		says string
	}{
		"an endless answer": {instead(endless), "unavailable", "larger than 8388608 bytes"},
		"an error page":     {instead(send(200, "<html>")), "unavailable", "not what a log sends"},
		"a deep answer":     {instead(send(200, strings.Repeat("[", 1<<20))), "unavailable", "not what a log sends"},
		"too many answers":  {instead(send(200, `{"entries":[{},{},{}]}`)), "lied", "1 events were sent and 3 answered"},
		"no answers":        {instead(send(200, `{}`)), "lied", "0 answered"},
		"a redirect of the event": {instead(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}), "unavailable", "redirects to " + elsewhere.URL},
		"a refusal as long as a book": {func(f *fakeLog) {
			f.judge = func(int, []byte) *Problem {
				return &Problem{Status: 422, Detail: "\x1b[2J" + long, Pointer: "/" + long}
			}
		}, "refused", "the log refused the event: 422"},
		// Each of its words comes first once, where nothing before it is cut off.
		"a refusal that clears the screen": {func(f *fakeLog) {
			f.judge = func(int, []byte) *Problem { return &Problem{Status: 422, Title: "t", Detail: "\x1b[2J\u202e" + long} }
		}, "refused", "\ufffd[2J\ufffdxxx"},
		"a title that clears the screen": {func(f *fakeLog) {
			f.judge = func(int, []byte) *Problem { return &Problem{Status: 422, Title: "\x1b[2J\r" + long} }
		}, "refused", "\ufffd[2J\ufffdxxx"},
		"a place that clears the screen": {func(f *fakeLog) {
			f.judge = func(int, []byte) *Problem { return &Problem{Status: 422, Title: "t", Detail: "x", Pointer: "/\x1b[2J"} }
		}, "refused", "at /\ufffd[2J: x"},
		"a kind that clears the screen": {func(f *fakeLog) {
			f.judge = func(int, []byte) *Problem { return &Problem{Status: 422, Title: "t", Detail: "x", Type: "\x1b[2J"} }
		}, "refused", "422 \ufffd[2J: x"},
		"an empty proof": {lie(func(a *entryAnswer) { a.Proof = nil; a.Index = 1 }), "lied", ""},
		"a proof too long": {lie(func(a *entryAnswer) {
			for range 100 {
				a.Proof = append(a.Proof, a.LeafHash)
			}
		}), "lied", ""},
		"an index beyond the tree":  {lie(func(a *entryAnswer) { a.Index = 1 << 52 }), "lied", ""},
		"a negative index":          {lie(func(a *entryAnswer) { a.Index = -1 }), "lied", "negative"},
		"a time that is none":       {lie(func(a *entryAnswer) { a.Time = 1 << 60 }), "lied", ""},
		"a checkpoint that is none": {instead(send(200, `{"checkpoint":"<html>","entries":[{"status":201}]}`)), "lied", ""},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			f := newFakeLog(t)
			f.cosigned = true
			c.be(f)
			s := f.submitter()
			s.Policy = f.policy()
			results, err := s.Submit(t.Context(), signed(t, 1)...)
			if err == nil {
				err = results[0].Err
			}
			var lied *ReceiptError
			var refused *RefusedError
			kinds := map[string]bool{"lied": errors.As(err, &lied), "refused": errors.As(err, &refused), "unavailable": errors.Is(err, ErrUnavailable)}
			if !kinds[c.kind] {
				t.Fatalf("not %s: %v", c.kind, err)
			}
			if text := err.Error(); !strings.Contains(text, c.says) || len(text) > 4000 || strings.ContainsAny(text, "\x1b\r\u202e") {
				t.Errorf("%d bytes: %.300q", len(text), text)
			}
		})
	}
}

// TestOneSilenceIsEnough: a log that takes a batch and then has no time to prove
// any of it is given up once, not once for each event.
func TestOneSilenceIsEnough(t *testing.T) {
	f := newFakeLog(t)
	f.published = false
	var asked atomic.Int32
	f.before = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		if !strings.HasSuffix(r.URL.Path, "/proof") {
			return false
		}
		asked.Add(1)
		sendProblem(w, Problem{Type: "urn:escortlog:problem:busy", Status: 503})
		return true
	}
	s := f.submitter()
	s.GiveUp = time.Minute
	slept, sleep := time.Duration(0), s.sleep
	s.sleep = func(ctx context.Context, d time.Duration) error { slept += d; return sleep(ctx, d) }
	results, err := s.Submit(t.Context(), signed(t, 100)...)
	if !errors.Is(err, ErrUnavailable) || slept > time.Minute || asked.Load() > 20 {
		t.Errorf("%v after %v and %d questions", err, slept, asked.Load())
	}
	for i, r := range results {
		if !errors.Is(r.Err, ErrUnavailable) {
			t.Errorf("event %d: %v", i, r.Err)
		}
	}
}
