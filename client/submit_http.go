package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	// serverWait is how long the log is asked to wait for publication before it
	// answers without a proof.
	serverWait = 10 * time.Second
	// maxAnswer bounds an answer: 256 entries with 63 hashes each, in base64,
	// are under 1 MiB.
	maxAnswer = 8 << 20
	// requestTimeout bounds one request and its answer, so that a log which
	// takes a request and never answers is asked again.
	requestTimeout = 2 * time.Minute

	firstPause = 250 * time.Millisecond
	maxPause   = 30 * time.Second
)

// problemPrefix and a slug make the type of a log's problem document.
const problemPrefix = "urn:escortlog:problem:"

// Problem is a problem document (RFC 9457) as logs send them.
type Problem struct {
	// Type is "urn:escortlog:problem:" and a slug.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Pointer is an RFC 6901 pointer to the member of the event at fault.
	Pointer string `json:"pointer,omitempty"`
}

// Slug is the last part of Type.
func (p Problem) Slug() string { return strings.TrimPrefix(p.Type, problemPrefix) }

// String is the problem for people: short, and without what would move a
// terminal's cursor, since a server that nobody trusts chose the words.
func (p Problem) String() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if p.Pointer != "" {
		text = "at " + shown(p.Pointer) + ": " + text
	}
	return fmt.Sprintf("%d %s: %s", p.Status, shown(p.Slug()), shown(text))
}

// shown keeps what can be printed of the beginning of a text.
func shown(s string) string {
	const most = 1000
	tail := ""
	if len(s) > most {
		s, tail = s[:most], "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s) + tail
}

// parseProblem reads the body of an answer as a problem document.
func parseProblem(header http.Header, body []byte) (Problem, bool) {
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || kind != "application/problem+json" {
		return Problem{}, false
	}
	var p Problem
	err = json.Unmarshal(body, &p)
	return p, err == nil
}

// problemOf reads the problem of one entry of a batch. Whatever it holds, the
// entry said with its status that it was refused.
func problemOf(raw []byte) Problem {
	var p Problem
	if err := json.Unmarshal(raw, &p); err != nil || p.Type == "" && p.Title == "" {
		p.Detail = excerpt(raw)
	}
	return p
}

// patience is how long one request has left to be answered.
type patience struct {
	s        *Submitter
	deadline time.Time
	next     time.Duration
}

func (s *Submitter) patience() *patience {
	giveUp := s.GiveUp
	if giveUp == 0 {
		giveUp = 2 * time.Minute
	}
	return &patience{s: s, deadline: s.clock().Add(giveUp), next: firstPause}
}

// pause waits before the next attempt, as long as the log asks or else longer
// each time. When that would be after the deadline it returns ErrUnavailable
// with the reason at once.
func (p *patience) pause(ctx context.Context, header http.Header, reason error) error {
	d := retryAfter(header, p.s.clock())
	if d == 0 {
		d = p.next
		p.next = min(2*p.next, maxPause)
	}
	if p.s.clock().Add(d).After(p.deadline) {
		return fmt.Errorf("%w: %w", ErrUnavailable, reason)
	}
	p.s.logger().WarnContext(ctx, "asking the log again", "log", p.s.URL, "in", d, "reason", reason)
	return p.s.pause(ctx, d)
}

// retryAfter reads Retry-After (RFC 9110 section 10.2.3), 0 where there is none.
func retryAfter(header http.Header, now time.Time) time.Duration {
	v := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}

// do sends one request until it is answered with something other than "not now".
func (s *Submitter) do(ctx context.Context, p *patience, method, path string, body []byte, header http.Header) (int, http.Header, []byte, error) {
	for {
		status, answered, answer, err := s.once(ctx, method, path, body, header)
		var reason error
		var again *errRetry
		switch {
		case ctx.Err() != nil:
			return 0, nil, nil, ctx.Err()
		case errors.As(err, &again):
			reason = err
		case err != nil:
			return 0, nil, nil, err
		case status == http.StatusTooManyRequests || status >= 500:
			problem, ok := parseProblem(answered, answer)
			if !ok {
				problem = Problem{Detail: excerpt(answer)}
			}
			problem.Status = status
			reason = fmt.Errorf("the log answered %s", problem)
		default:
			return status, answered, answer, nil
		}
		if err := p.pause(ctx, answered, reason); err != nil {
			return 0, nil, nil, err
		}
	}
}

// once sends one request once.
func (s *Submitter) once(ctx context.Context, method, path string, body []byte, header http.Header) (int, http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(s.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	req.Header = header.Clone()
	req.Header.Set("User-Agent", DefaultUserAgent)
	client := s.HTTP
	if client == nil {
		client = defaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, nil, failedRequest(err, resp)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, nil, &errRetry{err: fmt.Errorf("reading the answer of %s: %w", s.URL, err)}
	}
	if len(answer) > maxAnswer {
		return 0, nil, nil, fmt.Errorf("%w: the answer of %s is larger than %d bytes", ErrUnavailable, s.URL, maxAnswer)
	}
	return resp.StatusCode, resp.Header, answer, nil
}

func (s *Submitter) clock() time.Time {
	if s.now != nil {
		return s.now()
	}
	return time.Now()
}

func (s *Submitter) pause(ctx context.Context, d time.Duration) error {
	if s.sleep != nil {
		return s.sleep(ctx, d)
	}
	return pause(ctx, d)
}

func (s *Submitter) logger() *slog.Logger {
	if s.Logger != nil {
		return s.Logger
	}
	return slog.New(slog.DiscardHandler)
}

var defaultClient = &http.Client{Transport: NewTransport(), CheckRedirect: SameHost}

// SameHost is a CheckRedirect of net/http that follows no redirect to another host,
// which nobody named: a signed event, or a token, would go there.
func SameHost(req *http.Request, via []*http.Request) error {
	if first := via[0].URL; req.URL.Scheme != first.Scheme || req.URL.Host != first.Host || len(via) >= 10 {
		return fmt.Errorf("the server redirects to %s; name that one if it is right", req.URL.Redacted())
	}
	return nil
}

// NewTransport returns net/http's default transport with a bound of 64 KiB on the
// headers of an answer, where that takes 10 MiB.
func NewTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxResponseHeaderBytes = 64 << 10
	return t
}

// excerpt is the beginning of an answer for a message.
func excerpt(b []byte) string {
	const most = 200
	if len(b) > most {
		return fmt.Sprintf("%q…", b[:most])
	}
	return fmt.Sprintf("%q", b)
}
