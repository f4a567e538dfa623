package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
)

// Level is how binding a sentence is.
type Level string

// The levels of RFC 2119 that the suite tells apart.
const (
	Must   Level = "MUST"
	Should Level = "SHOULD"
)

// Verdict of one check.
type Verdict string

// The verdicts. Skip says that the check could not be made, and why.
const (
	Pass Verdict = "pass"
	Fail Verdict = "FAIL"
	Skip Verdict = "skip"
)

// Result is the verdict of one check.
type Result struct {
	ID       string  `json:"id"`
	Level    Level   `json:"level"`
	Source   string  `json:"source"`
	Sentence string  `json:"sentence"` // of the source, which the check checks
	Verdict  Verdict `json:"verdict"`
	Detail   string  `json:"detail,omitempty"` // what was seen instead, or why it was skipped
}

// Config says which witness to ask.
type Config struct {
	URL           string                 // submission prefix
	MonitoringURL string                 // monitoring prefix; empty: the same
	Keys          *Keys                  // logs the witness trusts
	Witness       []*checkpoint.Verifier // the witness's keys, at least one
	Client        *http.Client           // nil: a client of its own
	// MaxSkew is how far the witness's clock may be from ours; 0: five minutes.
	MaxSkew time.Duration
}

// check is one sentence and how to check it.
type check struct {
	id       string
	level    Level
	source   string
	sentence string
	run      func(*runner) error
}

// skipError says why a check cannot be made.
type skipError string

func (e skipError) Error() string { return string(e) }

// Run makes all checks in order, calling each after every one, if it is not
// nil. The error says that the witness could not be asked at all; failed
// checks are in the results only.
func Run(ctx context.Context, c Config, each func(Result)) ([]Result, error) {
	if len(c.Witness) == 0 {
		return nil, errors.New("the suite needs the witness's vkeys")
	}
	r, err := newRunner(ctx, c)
	if err != nil {
		return nil, err
	}
	var results []Result
	for _, ch := range allChecks() {
		res := Result{ID: ch.id, Level: ch.level, Source: ch.source, Sentence: ch.sentence, Verdict: Pass}
		var skip skipError
		if err := ch.run(r); errors.As(err, &skip) {
			res.Verdict, res.Detail = Skip, err.Error()
		} else if err != nil {
			res.Verdict, res.Detail = Fail, err.Error()
			// The witness may have taken what it should not have: what it knows now counts for the other checks.
			if err := r.resync(); err != nil {
				return results, err
			}
		}
		results = append(results, res)
		if each != nil {
			each(res)
		}
		if err := ctx.Err(); err != nil {
			return results, err
		}
	}
	return results, nil
}

// runner holds what the checks share. One goroutine uses it.
type runner struct {
	Config
	ctx   context.Context
	known map[*Log]int64 // size of the witness's latest checkpoint, as it must be
}

// answer is a whole HTTP answer.
type answer struct {
	status int
	header http.Header
	body   []byte
	reused bool // came over a connection used before
}

func (a *answer) String() string {
	body := strings.TrimSpace(string(a.body))
	if len(body) > 120 {
		body = body[:120] + "…"
	}
	return fmt.Sprintf("%d %q", a.status, body)
}

const maxAnswer = 1 << 20

func newRunner(ctx context.Context, c Config) (*runner, error) {
	c.URL = strings.TrimSuffix(c.URL, "/")
	c.MonitoringURL = strings.TrimSuffix(c.MonitoringURL, "/")
	if c.MonitoringURL == "" {
		c.MonitoringURL = c.URL
	}
	if c.MaxSkew == 0 {
		c.MaxSkew = 5 * time.Minute
	}
	if c.Client == nil {
		c.Client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	}
	r := &runner{Config: c, ctx: ctx, known: map[*Log]int64{}}
	for _, l := range []*Log{c.Keys.Main, c.Keys.Two} {
		if err := r.learn(l); err != nil {
			return nil, fmt.Errorf("%w; does the witness at %s trust the suite's log keys?", err, c.URL)
		}
	}
	return r, nil
}

// resync finds out again where the witness stands with every log used so far.
func (r *runner) resync() error {
	for l := range r.known {
		if err := r.learn(l); err != nil {
			return err
		}
	}
	return nil
}

// learn makes the witness cosign something of the log and finds out its size,
// as a client without information does.
func (r *runner) learn(l *Log) error {
	a, err := r.add(l.Honest().Request(0, 1))
	if err != nil {
		return err
	}
	switch a.status {
	case http.StatusOK:
		r.known[l] = 1
		return nil
	case http.StatusConflict:
		size, err := strconv.ParseInt(strings.TrimSpace(string(a.body)), 10, 64)
		if err != nil || size < 0 || size > 1<<20 {
			return fmt.Errorf("first request for %s: 409 with body %q", l.Origin, a.body)
		}
		r.known[l] = size
		l.Grow(size + 64)
		return nil
	}
	return fmt.Errorf("first request for %s: %v", l.Origin, a)
}

// add posts a body to add-checkpoint.
func (r *runner) add(body string) (*answer, error) { return r.post("/add-checkpoint", body) }

func (r *runner) post(path, body string) (*answer, error) {
	return r.do(http.MethodPost, r.URL+path, strings.NewReader(body))
}

func (r *runner) do(method, url string, body io.Reader) (*answer, error) {
	a := &answer{}
	ctx := httptrace.WithClientTrace(r.ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { a.reused = info.Reused },
	})
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	resp, err := r.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	defer resp.Body.Close()
	a.status, a.header = resp.StatusCode, resp.Header
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return nil, fmt.Errorf("the answer broke off: %w", err)
	}
	return a, nil
}

// expect posts a body to add-checkpoint and demands one of these statuses.
func (r *runner) expect(body string, statuses ...int) error {
	a, err := r.add(body)
	if err != nil {
		return err
	}
	return want(a, statuses...)
}

func want(a *answer, statuses ...int) error {
	for _, s := range statuses {
		if a.status == s {
			return nil
		}
	}
	return fmt.Errorf("answered %v, want %d", a, statuses)
}

// advance makes an honest update of a log by n leaves with a note of the
// caller's making, and returns the answer's signature lines.
func (r *runner) advance(l *Log, n int64, note func(size int64) string) ([]checkpoint.SignatureLine, checkpoint.Checkpoint, error) {
	from := r.known[l]
	to := from + n
	l.Grow(to)
	a, err := r.add(AddBody(from, l.Honest().Proof(from, to), note(to)))
	if err != nil {
		return nil, checkpoint.Checkpoint{}, err
	}
	if err := want(a, http.StatusOK); err != nil {
		return nil, checkpoint.Checkpoint{}, err
	}
	r.known[l] = to
	lines, err := checkpoint.ParseSignatureLines(a.body)
	if err != nil {
		return nil, checkpoint.Checkpoint{}, fmt.Errorf("the body %q is not note signature lines: %w", a.body, err)
	}
	return lines, l.Honest().Checkpoint(to), nil
}

// remembers checks that the witness's latest checkpoint of a log is still the known one.
func (r *runner) remembers(l *Log) error {
	from := r.known[l]
	l.Grow(from + 2)
	// Any wrong old size will do; known+1 is not larger than the checkpoint's size.
	a, err := r.add(AddBody(from+1, l.Honest().Proof(from+1, from+2), l.Honest().Note(from+2)))
	if err != nil {
		return err
	}
	if a.status != http.StatusConflict || string(a.body) != fmt.Sprintf("%d\n", from) {
		return fmt.Errorf("it should still know size %d, but answers %v to another old size", from, a)
	}
	return nil
}

// verifier returns the witness key that made a line, nil if it is not the witness's.
func (r *runner) verifier(l checkpoint.SignatureLine) *checkpoint.Verifier {
	for _, v := range r.Witness {
		if v.Name() == l.Name && v.KeyHash() == l.KeyHash {
			return v
		}
	}
	return nil
}
