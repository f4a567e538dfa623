package cosign

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
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
)

// member is one witness: the policy lines that share a URL.
type member struct {
	*Group
	url  string
	name string // of the first line, for people
	keys []checkpoint.PolicyWitness

	turn   chan struct{} // holds one token: who has it talks with the witness
	copies *copies       // the mirror at this URL, if that is what it is
	pauses

	mu     sync.Mutex
	known  int64 // size of the witness's checkpoint as far as we know, -1 if we do not; only a guess
	taken  int64 // largest size it has taken from us, -1 for none
	newest int64 // largest size that a round wants cosigned
}

func newMember(g *Group, url, name string) *member {
	m := &member{Group: g, url: url, name: name, known: -1, taken: -1, turn: newTurn(), pauses: pauses{now: g.Now}}
	m.copies = &copies{member: m, turn: newTurn(), pauses: pauses{now: g.Now}, next: -1}
	return m
}

func newTurn() chan struct{} {
	turn := make(chan struct{}, 1)
	turn <- struct{}{}
	return turn
}

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
		missing, err := m.converse(ctx, r)
		m.turn <- struct{}{}
		if err == nil && len(missing) != 0 {
			// Others may talk with the witness while entries go to the mirror.
			if err = m.copies.ask(ctx, r, missing); err == nil || len(missing) < len(m.keys) {
				return
			}
		}
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

// converse asks until the witness has taken the checkpoint, has told too many sizes, or
// fails. It returns the keys that did not cosign, as a mirror's do not yet. The caller has the turn.
func (m *member) converse(ctx context.Context, r *round) (missing []checkpoint.PolicyWitness, err error) {
	for range 1 + maxConflicts {
		m.mu.Lock()
		from, late := max(0, m.known), r.cp.Size < max(m.taken, m.newest)
		m.mu.Unlock()
		if late {
			return nil, nil // a newer round got its turn, or waits for it: this one's checkpoint is history
		}
		if from > r.cp.Size {
			return nil, m.ahead(ctx, r, from)
		}
		a, err := m.submit(ctx, r, from)
		if err != nil {
			return nil, err
		}
		if a.status == http.StatusConflict {
			if err := m.learn(a, from); err != nil {
				return nil, err
			}
			continue
		}
		if a.status == http.StatusOK {
			return m.accept(ctx, r, a.body)
		}
		return nil, m.judge(ctx, r, a)
	}
	m.forget()
	return nil, errors.New("it tells another size with every answer")
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
	size, canonical := parseSize(text)
	if !ok || !canonical {
		m.forget()
		return fmt.Errorf("a conflict must come with a size and a newline, not %.40q", a.body)
	}
	if size == from {
		m.forget()
		return fmt.Errorf("it says that size %d conflicts with its size, and that this is %d", from, size)
	}
	m.metrics.requests.WithLabelValues(m.name, "conflict").Inc()
	m.mu.Lock()
	m.known = size
	m.mu.Unlock()
	return nil
}

// parseSize reads a decimal number below 2^63 in its only spelling.
func parseSize(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil && strconv.FormatUint(n, 10) == s
}

func (m *member) forget() {
	m.mu.Lock()
	m.known = -1
	m.mu.Unlock()
}

// judge deals with every answer but 200 and 409.
func (m *member) judge(ctx context.Context, r *round, a *answer) error {
	switch a.status {
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

// accept takes the answer of 200: it hands on the cosignatures of the policy's keys and
// returns the keys that have none. That is an error only where there may be no mirror.
func (m *member) accept(ctx context.Context, r *round, body []byte) (missing []checkpoint.PolicyWitness, err error) {
	m.mu.Lock()
	m.known, m.taken = r.cp.Size, max(m.taken, r.cp.Size)
	m.mu.Unlock()
	missing, good, err := m.sort(r, m.keys, body)
	if err != nil && good == 0 {
		m.forget()
		return nil, err
	}
	if err != nil {
		m.Logger.WarnContext(ctx, "witness answered with a wrong cosignature", "witness", m.name, "error", err)
	}
	if good > 0 {
		m.metrics.requests.WithLabelValues(m.name, "cosigned").Inc()
		m.succeeded()
	}
	return missing, nil
}

// sort verifies the lines of an answer for these keys and hands on what is good. missing are
// the keys without a line; the error names those whose line is wrong.
func (m *member) sort(r *round, keys []checkpoint.PolicyWitness, body []byte) (missing []checkpoint.PolicyWitness, good int, err error) {
	var lines []checkpoint.SignatureLine
	if len(body) != 0 { // a mirror MAY answer add-checkpoint "with an empty response body"
		if lines, err = checkpoint.ParseSignatureLines(body); err != nil {
			return nil, 0, fmt.Errorf("its answer: %w", err)
		}
	}
	var errs []error
	for _, k := range keys {
		// "The client MUST ignore any cosignatures from unknown keys."
		own, err := checkpoint.Verify(r.text, lines, k.Key)
		if errors.Is(err, checkpoint.ErrUnsigned) {
			missing = append(missing, k)
			continue
		}
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
	return missing, good, errors.Join(errs...)
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
	return m.exchange(req)
}

func (m *member) exchange(req *http.Request) (*answer, error) {
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
