package cosign

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
)

const (
	// maxAnswer bounds an answer of cosignatures: sixteen of the longest known, and a note around them.
	maxAnswer = 128 << 10

	// maxConflicts is how many sizes a witness may tell us in a row before it is left alone for a while.
	maxConflicts = 3

	// After a failure a witness rests for a while that doubles from minRest to maxRest.
	minRest = 100 * time.Millisecond
	maxRest = 10 * time.Second
	// maxRetryAfter bounds the rest that a witness asks for itself.
	maxRetryAfter = time.Minute
	// patience is the rest that a round still waits for, and attempts how often it asks.
	patience = time.Second
	attempts = 4
)

// member is one witness: the policy lines that share a URL.
type member struct {
	*Group
	url  string
	name string // of the first line, for people
	keys []checkpoint.PolicyWitness

	turn chan struct{} // holds one token: who has it talks with the witness

	mu       sync.Mutex
	known    int64     // size of the witness's checkpoint as far as we know, -1 if we do not; only a guess
	cosigned int64     // largest size it has cosigned for us, -1 for none
	newest   int64     // largest size that a round wants cosigned
	failures int       // in a row
	restsTo  time.Time // do not ask before
}

func newMember(g *Group, url, name string) *member {
	m := &member{Group: g, url: url, name: name, known: -1, cosigned: -1, turn: make(chan struct{}, 1)}
	m.turn <- struct{}{}
	return m
}

// errRest says that the witness asked to be left alone for a while.
type errRest struct {
	status int
	after  time.Duration
}

func (e *errRest) Error() string { return fmt.Sprintf("answered %d", e.status) }

// errFinal says that asking again for the same checkpoint is no use.
type errFinal struct{ error }

func (e errFinal) Unwrap() error { return e.error }

// ask gets the witness's cosignatures, trying a few times.
func (m *member) ask(ctx context.Context, r *round) {
	m.mu.Lock()
	m.newest = max(m.newest, r.cp.Size)
	m.mu.Unlock()
	for range attempts {
		if !m.rest(ctx) {
			return
		}
		select {
		case <-m.turn:
		case <-ctx.Done():
			return
		}
		start := time.Now()
		err := m.converse(ctx, r)
		m.turn <- struct{}{}
		if ctx.Err() != nil && err != nil {
			m.metrics.requests.WithLabelValues(m.name, "timeout").Inc()
			m.failed(err)
			return
		}
		if err == nil {
			m.metrics.seconds.WithLabelValues(m.name).Observe(time.Since(start).Seconds())
			return
		}
		m.metrics.requests.WithLabelValues(m.name, "failed").Inc()
		m.failed(err)
		m.Logger.WarnContext(ctx, "witness did not cosign", "witness", m.name, "size", r.cp.Size, "error", err)
		if final := (errFinal{}); errors.As(err, &final) {
			return
		}
	}
}

// rest waits while the witness is left alone, and reports whether it may be asked now.
func (m *member) rest(ctx context.Context) bool {
	m.mu.Lock()
	wait := m.restsTo.Sub(m.Now())
	m.mu.Unlock()
	if wait <= 0 {
		return ctx.Err() == nil
	}
	if wait > patience {
		return false // the next round asks again
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (m *member) failed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	pause := min(minRest<<min(m.failures, 16), maxRest)
	pause = pause/2 + rand.N(pause/2+1) // so that many logs do not come back together
	m.failures++
	if rest := new(errRest); errors.As(err, &rest) {
		pause = max(pause, min(rest.after, maxRetryAfter))
	}
	m.restsTo = m.Now().Add(pause)
}

// converse asks until the witness has cosigned, has told too many sizes, or
// fails. The caller has the turn.
func (m *member) converse(ctx context.Context, r *round) error {
	for range 1 + maxConflicts {
		m.mu.Lock()
		from, late := max(0, m.known), r.cp.Size < max(m.cosigned, m.newest)
		m.mu.Unlock()
		if late {
			return nil // a newer round got its turn, or waits for it: this one's checkpoint is history
		}
		if from > r.cp.Size {
			return m.ahead(ctx, r, from)
		}
		a, err := m.submit(ctx, r, from)
		if err != nil {
			return err
		}
		if a.status == http.StatusConflict {
			if err := m.learn(a, from); err != nil {
				return err
			}
			continue
		}
		return m.judge(ctx, r, a)
	}
	m.forget()
	return errors.New("it tells another size with every answer")
}

// submit sends the checkpoint with the proof from the size the witness is believed to know.
func (m *member) submit(ctx context.Context, r *round, from int64) (*answer, error) {
	var proof []tlog.Hash
	if from > 0 && from < r.cp.Size {
		var err error
		if proof, err = r.prove(ctx, from); err != nil {
			return nil, errFinal{fmt.Errorf("proving consistency from size %d: %w", from, err)}
		}
	}
	var body strings.Builder
	fmt.Fprintf(&body, "old %d\n", from)
	for _, h := range proof {
		body.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	body.WriteString("\n" + r.note)
	return m.do(ctx, http.MethodPost, m.url+"/add-checkpoint", body.String())
}

// learn takes the size from a 409 answer.
func (m *member) learn(a *answer, from int64) error {
	text, ok := strings.CutSuffix(string(a.body), "\n")
	size, err := strconv.ParseUint(text, 10, 63)
	if !ok || err != nil || strconv.FormatUint(size, 10) != text {
		m.forget()
		return fmt.Errorf("a conflict must come with a size and a newline, not %.40q", a.body)
	}
	if int64(size) == from {
		m.forget()
		return fmt.Errorf("it says that size %d conflicts with its size, and that this is %d", from, size)
	}
	m.metrics.requests.WithLabelValues(m.name, "conflict").Inc()
	m.mu.Lock()
	m.known = int64(size)
	m.mu.Unlock()
	return nil
}

func (m *member) forget() {
	m.mu.Lock()
	m.known = -1
	m.mu.Unlock()
}

// judge deals with every answer but 409.
func (m *member) judge(ctx context.Context, r *round, a *answer) error {
	switch a.status {
	case http.StatusOK:
		return m.accept(ctx, r, a.body)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return &errRest{a.status, a.retryAfter}
	case http.StatusNotFound:
		return errFinal{errors.New("it does not know this log (404): ask its operator to add it")}
	case http.StatusUnprocessableEntity:
		// It holds another history, or it lies: what it can show with our signature decides.
		m.forget()
		return errFinal{errors.Join(fmt.Errorf("it refuses our proof (422): %.200q", a.body), m.compare(ctx, r))}
	case http.StatusBadRequest, http.StatusForbidden:
		m.forget()
		return errFinal{fmt.Errorf("it refuses the request (%d): %.200q", a.status, a.body)}
	}
	return fmt.Errorf("answered %d: %.200q", a.status, a.body)
}

// accept verifies the lines of an answer and hands on those of the policy's keys.
func (m *member) accept(ctx context.Context, r *round, body []byte) error {
	lines, err := checkpoint.ParseSignatureLines(body)
	if err != nil {
		return fmt.Errorf("its answer: %w", err)
	}
	var errs []error
	good := 0
	for _, k := range m.keys {
		// "The client MUST ignore any cosignatures from unknown keys."
		own, err := checkpoint.Verify(r.text, lines, k.Key)
		if err == nil {
			err = m.checkTime(own[0].Timestamp())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("its cosignature as %s (%s): %w", k.Name, k.Key, err))
			continue
		}
		good++
		r.got(checkpoint.Cosignature{Witness: k.Name, Time: own[0].Timestamp(), Line: own[0]})
	}
	if good == 0 {
		m.forget()
		return errors.Join(errs...)
	}
	if err := errors.Join(errs...); err != nil {
		m.Logger.WarnContext(ctx, "witness answered without one of its keys", "witness", m.name, "error", err)
	}
	m.metrics.requests.WithLabelValues(m.name, "cosigned").Inc()
	m.mu.Lock()
	m.known, m.cosigned = r.cp.Size, r.cp.Size
	m.failures, m.restsTo = 0, time.Time{}
	m.mu.Unlock()
	return nil
}

// checkTime refuses a cosignature that was not made now: "the timestamp MUST NOT
// be zero", and one from elsewhen says nothing about the largest tree today.
func (m *member) checkTime(unix int64) error {
	if unix <= 0 {
		return errors.New("it bears no time")
	}
	if off := time.Unix(unix, 0).Sub(m.Now()); off.Abs() > m.MaxSkew {
		return fmt.Errorf("its time is %v from ours", off.Round(time.Second))
	}
	return nil
}

// ahead deals with a witness that says it has cosigned a larger tree than ours.
func (m *member) ahead(ctx context.Context, r *round, size int64) error {
	m.forget()
	err := fmt.Errorf("it says that it has cosigned size %d, which is larger than ours, %d", size, r.cp.Size)
	return errFinal{errors.Join(err, m.compare(ctx, r))}
}

// compare fetches what the witness remembers and calls remembers if the log's own
// signature is on something that contradicts the round's checkpoint.
func (m *member) compare(ctx context.Context, r *round) error {
	cp, note, err := m.memory(ctx)
	if err != nil || note == nil {
		return err
	}
	if cp.Size <= r.cp.Size {
		var proof []tlog.Hash
		if cp.Size > 0 && cp.Size < r.cp.Size {
			if proof, err = r.prove(ctx, cp.Size); err != nil {
				return fmt.Errorf("proving consistency from size %d: %w", cp.Size, err)
			}
		}
		if checkpoint.VerifyConsistency(cp.Size, r.cp.Size, cp.Root, r.cp.Root, proof) == nil {
			return nil // what it remembers is of our history
		}
	}
	r.remembers(m.name, note)
	return nil
}

// memory returns the log's newest checkpoint at the witness's monitoring
// endpoint, whose log signature has been verified; note is nil if there is none yet.
func (m *member) memory(ctx context.Context) (cp checkpoint.Checkpoint, note []byte, err error) {
	origin := m.LogKeys[0].Name()
	sum := sha256.Sum256([]byte(origin))
	a, err := m.do(ctx, http.MethodGet, m.url+"/"+hex.EncodeToString(sum[:])+"/checkpoint", "")
	if err != nil {
		return cp, nil, fmt.Errorf("asking what it remembers: %w", err)
	}
	if a.status == http.StatusNotFound {
		return cp, nil, nil
	}
	if a.status != http.StatusOK {
		return cp, nil, fmt.Errorf("asking what it remembers: answered %d", a.status)
	}
	text, sigs, err := checkpoint.ParseNote(a.body)
	if err == nil {
		_, err = checkpoint.Verify(text, sigs, m.LogKeys...)
	}
	if err == nil {
		cp, err = checkpoint.Parse(text)
	}
	if err == nil && cp.Origin != origin {
		err = fmt.Errorf("it is of origin %q", cp.Origin)
	}
	if err != nil {
		return cp, nil, fmt.Errorf("what it says it remembers proves nothing: %w", err)
	}
	m.mu.Lock()
	m.known = max(m.known, cp.Size)
	m.mu.Unlock()
	return cp, slices.Clone(a.body), nil
}

// answer is a whole HTTP answer.
type answer struct {
	status     int
	body       []byte
	retryAfter time.Duration
}

// do makes one HTTP exchange.
func (m *member) do(ctx context.Context, method, url, body string) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, errFinal{fmt.Errorf("the policy's URL: %w", err)}
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	resp, err := m.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)); err != nil {
		return nil, fmt.Errorf("reading its answer: %w", err)
	}
	if len(a.body) > maxAnswer {
		return nil, fmt.Errorf("its answer is longer than %d bytes", maxAnswer)
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		a.retryAfter = time.Duration(min(s, int(maxRetryAfter.Seconds()))) * time.Second
	}
	return a, nil
}
