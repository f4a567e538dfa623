package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/mod/sumdb/tlog"
)

// DefaultUserAgent is how a Fetcher introduces itself.
const DefaultUserAgent = "escortlog (+https://github.com/escortlog/escortlog)"

// maxBundle is the largest entry bundle there can be, in bytes.
const maxBundle = tile.Width * (2 + tile.MaxEntry)

// ErrMissing: the log answers that it does not have what was asked for. It
// wraps ErrUnavailable: that something is not served proves nothing.
var ErrMissing = fmt.Errorf("%w: not found", ErrUnavailable)

// IntegrityError says that the log served bytes that cannot be what was asked
// for: a tile of the wrong length, a bundle that does not split into its
// entries. Unlike ErrUnavailable it is a failure of the log.
type IntegrityError struct {
	Path string // below the log's URL
	Body []byte // what was served, as far as it was read
	Err  error
}

func (e *IntegrityError) Error() string {
	return fmt.Sprintf("the log serves something else as /%s: %v", e.Path, e.Err)
}

func (e *IntegrityError) Unwrap() error { return e.Err }

// Fetcher reads a tiled log (https://c2sp.org/tlog-tiles) over HTTP. It works
// with every log that follows that text. What it returns has the right form and
// is otherwise not verified. It is safe for concurrent use; its zero value with
// a URL is ready.
//
// Errors are an *IntegrityError, a context's error, or wrap ErrUnavailable.
type Fetcher struct {
	// URL is the log's prefix, as "https://log.example.org".
	URL string
	// HTTP is the client to use; nil means one like http.DefaultClient that follows
	// no redirect to another host. A client certificate belongs to its transport.
	HTTP *http.Client
	// Token is sent as a bearer token where it is not empty.
	Token string
	// UserAgent is sent as such; empty means DefaultUserAgent.
	UserAgent string
	// Timeout bounds one request and its answer; 0 means two minutes.
	Timeout time.Duration
	// GiveUp is how long to go on asking a log that cannot be reached or has no
	// time; 0 means 30 seconds.
	GiveUp time.Duration
	// Logger is told of retries; nil means nobody is.
	Logger *slog.Logger

	sleep func(ctx context.Context, d time.Duration) error // nil: a timer
	now   func() time.Time                                 // nil: time.Now
}

// Checkpoint returns the log's signed checkpoint, unverified.
func (f *Fetcher) Checkpoint(ctx context.Context) ([]byte, error) {
	return f.get(ctx, "checkpoint", checkpoint.MaxNote)
}

// Tile returns the bytes of a hash tile: exactly t.W hashes. Where the log no
// longer has a partial tile, the full one is cut to its width.
//
// It may only be called for tiles that a verified checkpoint requires.
func (f *Fetcher) Tile(ctx context.Context, t tile.Tile) ([]byte, error) {
	body, full, err := f.getTile(ctx, t, t.W*tlog.HashSize, tile.Width*tlog.HashSize)
	if err != nil {
		return nil, err
	}
	if want := full.W * tlog.HashSize; len(body) != want {
		return nil, &IntegrityError{Path: full.Path(), Body: body, Err: fmt.Errorf("%d bytes where %d hashes have %d", len(body), full.W, want)}
	}
	return body[:t.W*tlog.HashSize], nil
}

// Bundle returns the entries of an entry bundle: exactly t.W. Where the log no
// longer has a partial bundle, the full one is cut to its width.
//
// It may only be called for bundles that a verified checkpoint requires.
func (f *Fetcher) Bundle(ctx context.Context, t tile.Tile) ([][]byte, error) {
	t.Level = tile.Entries
	body, full, err := f.getTile(ctx, t, t.W*(2+tile.MaxEntry), maxBundle)
	if err != nil {
		return nil, err
	}
	entries, err := tile.SplitBundle(body, full.W)
	if err != nil {
		return nil, &IntegrityError{Path: full.Path(), Body: body, Err: err}
	}
	return entries[:t.W], nil
}

// Reader is Tile as the functions of package tile want it.
func (f *Fetcher) Reader() tile.Reader { return f.Tile }

// getTile fetches a tile, or the full tile that took its place: "Clients …
// MAY fetch the full tile in parallel as a fallback in case the partial tile is
// not available anymore."
func (f *Fetcher) getTile(ctx context.Context, t tile.Tile, most, mostFull int) ([]byte, tile.Tile, error) {
	body, err := f.get(ctx, t.Path(), most)
	if t.Full() || !errors.Is(err, ErrMissing) {
		return body, t, err
	}
	full := t
	full.W = tile.Width
	body, fullErr := f.get(ctx, full.Path(), mostFull)
	if errors.Is(fullErr, ErrMissing) {
		return nil, t, err
	}
	return body, full, fullErr
}

// errRetry wraps what may be over soon.
type errRetry struct {
	err    error
	header http.Header // nil where there was no answer
}

func (e *errRetry) Error() string { return e.err.Error() }
func (e *errRetry) Unwrap() error { return e.err }

// get returns the body at path below the log's URL, of at most most bytes, and
// asks again while the log is busy or away.
func (f *Fetcher) get(ctx context.Context, path string, most int) ([]byte, error) {
	giveUp := f.GiveUp
	if giveUp == 0 {
		giveUp = 30 * time.Second
	}
	deadline, next := f.clock().Add(giveUp), firstPause
	for {
		body, err := f.once(ctx, path, most)
		var again *errRetry
		if !errors.As(err, &again) {
			return body, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		d := retryAfter(again.header, f.clock())
		if d == 0 {
			// Spread over half to all of it, so that many requests that failed
			// together do not come back together.
			d = next/2 + rand.N(next/2)
			next = min(2*next, maxPause)
		}
		if f.clock().Add(d).After(deadline) {
			return nil, fmt.Errorf("%w: GET %s: %w", ErrUnavailable, f.address(path), again.err)
		}
		if f.Logger != nil {
			f.Logger.WarnContext(ctx, "asking the log again", "url", f.address(path), "in", d, "reason", again.err)
		}
		if err := f.pause(ctx, d); err != nil {
			return nil, err
		}
	}
}

// once asks once.
func (f *Fetcher) once(ctx context.Context, path string, most int) ([]byte, error) {
	timeout := f.Timeout
	if timeout == 0 {
		timeout = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.address(path), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	// "Clients SHOULD include gzip and identity in their Accept-Encoding
	// headers." Saying so here also leaves the decompression, and its bounds, to us.
	req.Header.Set("Accept-Encoding", "gzip, identity")
	req.Header.Set("User-Agent", f.userAgent())
	if f.Token != "" {
		req.Header.Set("Authorization", "Bearer "+f.Token)
	}
	client := f.HTTP
	if client == nil {
		client = defaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, failedRequest(err, resp)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, f.refused(resp, path)
	}
	return readBody(resp, path, most)
}

// failedRequest tells what may be over soon from what will not.
func failedRequest(err error, resp *http.Response) error {
	var certificate *tls.CertificateVerificationError
	// An answer beside an error means that the client would not follow a redirect.
	if resp != nil || errors.As(err, &certificate) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return &errRetry{err: err}
}

// refused turns a status other than 200 into an error.
func (f *Fetcher) refused(resp *http.Response, path string) error {
	// A little of the body, so that the connection can be used again.
	head, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	switch s := resp.StatusCode; {
	case s == http.StatusNotFound || s == http.StatusGone:
		return fmt.Errorf("%w: GET %s: status %d", ErrMissing, f.address(path), s)
	case s == http.StatusTooManyRequests || s >= 500:
		return &errRetry{err: fmt.Errorf("status %d: %s", s, excerpt(head)), header: resp.Header}
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		return fmt.Errorf("%w: GET %s: status %d; the log wants a token or a client certificate for this", ErrUnavailable, f.address(path), s)
	default:
		return fmt.Errorf("%w: GET %s: status %d: %s", ErrUnavailable, f.address(path), s, excerpt(head))
	}
}

// readBody reads a whole answer and decompresses it. Neither what is sent nor
// what comes out of it may be longer than most bytes.
func readBody(resp *http.Response, path string, most int) ([]byte, error) {
	limit := most + most/1000 + 1024 // what does not compress grows a little
	sent, err := io.ReadAll(io.LimitReader(resp.Body, int64(limit)+1))
	if err != nil {
		// Cut off on the way; the length in the header did not come true.
		return nil, &errRetry{err: fmt.Errorf("reading the answer: %w", err)}
	}
	coding := strings.ToLower(resp.Header.Get("Content-Encoding"))
	if len(sent) > limit || len(sent) > most && (coding == "" || coding == "identity") {
		return nil, &IntegrityError{Path: path, Body: sent, Err: fmt.Errorf("longer than %d bytes", most)}
	}
	switch coding {
	case "", "identity":
		return sent, nil
	case "gzip", "x-gzip":
		plain, err := gunzip(sent, most)
		if err != nil {
			return nil, &IntegrityError{Path: path, Body: sent, Err: fmt.Errorf("decompressing: %w", err)}
		}
		return plain, nil
	default:
		return nil, fmt.Errorf("%w: /%s comes in the content coding %q, which nobody asked for", ErrUnavailable, path, coding)
	}
}

func gunzip(b []byte, most int) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(z, int64(most)+1))
	if err == nil && len(plain) > most {
		err = fmt.Errorf("longer than %d bytes", most)
	}
	return plain, err
}

func (f *Fetcher) address(path string) string { return strings.TrimRight(f.URL, "/") + "/" + path }

func (f *Fetcher) userAgent() string {
	if f.UserAgent != "" {
		return f.UserAgent
	}
	return DefaultUserAgent
}

func (f *Fetcher) clock() time.Time {
	if f.now != nil {
		return f.now()
	}
	return time.Now()
}

func (f *Fetcher) pause(ctx context.Context, d time.Duration) error {
	if f.sleep != nil {
		return f.sleep(ctx, d)
	}
	return pause(ctx, d)
}

// pause returns nil after d, or the error of ctx if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
