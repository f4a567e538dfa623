package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"golang.org/x/mod/sumdb/tlog"
)

// Bounds of one batch request, as every log accepts them.
const (
	MaxBatchEvents = 256
	MaxBatchBytes  = 4 << 20
)

// Submitter sends events to one log and returns only receipts that it has
// verified. Its zero value with a URL is ready; it may be used by several
// goroutines at once, but only one keeps the order of a source. Its fields must
// not change after the first use.
//
// Events are sent in the order given, a batch at a time. A log that is busy or
// away is asked again, with the same bytes, until GiveUp is over: a log never
// takes the same event twice, so asking again is always safe.
type Submitter struct {
	// URL of the log, as "https://log.example.org".
	URL string
	// HTTP is the client to use; nil means one like http.DefaultClient that follows
	// no redirect to another host.
	HTTP *http.Client
	// Policy is what a receipt must satisfy: the log's own signature, the
	// origin, and the quorum of witnesses. Without a policy a receipt proves
	// only that the server showed a tree which holds the event, and nobody
	// vouches for that tree.
	Policy *checkpoint.Policy
	// Wait is how long to wait for the proofs of a batch that the log has taken;
	// 0 means one minute.
	Wait time.Duration
	// GiveUp is how long to go on asking a log that does not answer or has no
	// room; 0 means two minutes.
	GiveUp time.Duration
	// Keys are the public keys of the sources. They are needed only where an
	// event was logged before under other signature bytes than those submitted
	// now (an HSM's ECDSA signatures differ from one signing to the next):
	// without the key such a receipt is refused.
	Keys []*event.PublicKey
	// Logger is told of retries; nil means nobody is.
	Logger *slog.Logger

	judged atomic.Pointer[judged] // the last note that the policy judged

	sleep func(ctx context.Context, d time.Duration) error // nil: a timer
	now   func() time.Time                                 // nil: time.Now
}

// Receipt is what a log owes for an event, verified: the leaf was rebuilt from
// the submitter's own bytes, and the proof leads from its hash to the root of
// the checkpoint.
type Receipt struct {
	// Index is the position of the leaf, from 0.
	Index int64
	// Time is when the log took the event, in milliseconds since the epoch.
	Time int64
	// Leaf is the leaf itself (see log/entry).
	Leaf []byte
	// LeafHash is the RFC 6962 hash of Leaf.
	LeafHash tlog.Hash
	// Proof is the tlog-proof to keep beside the leaf or the envelope.
	Proof *checkpoint.Proof
	// Verified is what the policy found in the proof's checkpoint. It is nil
	// when the Submitter has no policy.
	Verified *checkpoint.Verified
	// Existing: the log held the event already.
	Existing bool
}

// Result is the outcome of one event: a receipt, or the reason for none.
type Result struct {
	// Receipt is verified. Where Err is a missing quorum it is there too, with
	// everything verified but the quorum.
	Receipt *Receipt
	// Err is nil, a *RefusedError (nothing was logged), a *ReceiptError (the log
	// contradicts itself), an error that wraps checkpoint.ErrQuorum, or one that
	// wraps ErrUnavailable or a context's error (unknown: submit again).
	Err error
}

// ErrUnavailable: the log could not be reached or had no room until the
// submitter gave up. The event may have been logged; submitting the same bytes
// again is safe and finds out.
var ErrUnavailable = errors.New("client: the log is unavailable")

// RefusedError says that the log refused an event. Nothing was logged.
type RefusedError struct{ Problem Problem }

func (e *RefusedError) Error() string { return "the log refused the event: " + e.Problem.String() }

// ReceiptError says that what the log answered contradicts what was submitted
// or does not prove it. It is an integrity failure of the log.
type ReceiptError struct {
	// Index is the position the log claims.
	Index int64
	// Err says what is wrong.
	Err error
	// Evidence is the log's answer as received.
	Evidence []byte
}

func (e *ReceiptError) Error() string {
	return fmt.Sprintf("the log's receipt for index %d is false: %v", e.Index, e.Err)
}

func (e *ReceiptError) Unwrap() error { return e.Err }

// Submit sends the events and returns one result for each, in the same order.
// An envelope without signatures is sent as a plain CloudEvent, which only some
// logs accept.
//
// A refused event is a result and does not hold up the others. The error is not
// nil when some event is undecided, a receipt is false or a quorum is missing;
// nothing is sent after the batch in which that showed.
func (s *Submitter) Submit(ctx context.Context, events ...*entry.Envelope) ([]Result, error) {
	results := make([]Result, len(events))
	sent := make([]outgoing, len(events))
	for i, v := range events {
		sent[i] = outgoing{envelope: v, result: &results[i]}
		if len(v.Signatures) == 0 {
			sent[i].body = v.Payload
		} else {
			sent[i].body = v.Marshal()
		}
	}
	for len(sent) > 0 {
		n := batchLen(sent)
		if err := s.submitBatch(ctx, sent[:n]); err != nil {
			for _, e := range sent {
				if e.result.Receipt == nil && e.result.Err == nil {
					e.result.Err = err
				}
			}
			return results, err
		}
		sent = sent[n:]
	}
	return results, nil
}

// outgoing is one event on its way.
type outgoing struct {
	envelope *entry.Envelope
	body     []byte // the element of the batch
	result   *Result
}

func (e *outgoing) unsigned() bool { return len(e.envelope.Signatures) == 0 }

// batchLen is how many of the first events fit one request.
func batchLen(events []outgoing) int {
	size := len("[]")
	for i := range events {
		size += len(events[i].body) + len(",")
		if i > 0 && (i == MaxBatchEvents || size > MaxBatchBytes || events[i].unsigned() != events[0].unsigned()) {
			return i
		}
	}
	return len(events)
}

// batchAnswer is the answer to a batch.
type batchAnswer struct {
	Checkpoint string            `json:"checkpoint"`
	Entries    []json.RawMessage `json:"entries"`
}

// entryAnswer is one entry of it, where the event was accepted.
type entryAnswer struct {
	Status   int         `json:"status"`
	Index    int64       `json:"index"`
	Time     int64       `json:"time"`
	LeafHash tlog.Hash   `json:"leafHash"`
	Proof    []tlog.Hash `json:"proof"`
}

// submitBatch sends the events as one request, and those that the log had no
// room for again, until each has its result.
func (s *Submitter) submitBatch(ctx context.Context, events []outgoing) error {
	patience := s.patience()
	for {
		status, header, answer, err := s.post(ctx, patience, events)
		if err != nil {
			return err
		}
		if status == http.StatusRequestEntityTooLarge && len(events) > 1 {
			// This log takes smaller batches than others.
			if err := s.submitBatch(ctx, events[:len(events)/2]); err != nil {
				return err
			}
			return s.submitBatch(ctx, events[len(events)/2:])
		}
		// 202: all of it is durable, none of it is published yet.
		if status != http.StatusOK && status != http.StatusAccepted {
			return s.refuseAll(events, status, header, answer)
		}
		again, err := s.take(ctx, events, answer)
		if err != nil || len(again) == 0 {
			return err
		}
		if err := patience.pause(ctx, header, fmt.Errorf("the log had no room for %d of %d events", len(again), len(events))); err != nil {
			return err
		}
		events = again
	}
}

// post sends one batch.
func (s *Submitter) post(ctx context.Context, p *patience, events []outgoing) (int, http.Header, []byte, error) {
	bodies := make([][]byte, len(events))
	for i := range events {
		bodies[i] = events[i].body
	}
	body := slices.Concat([]byte("["), bytes.Join(bodies, []byte(",")), []byte("]"))
	contentType := "application/vnd.dsse-batch+json"
	if events[0].unsigned() {
		contentType = "application/cloudevents-batch+json"
	}
	return s.do(ctx, p, http.MethodPost, "/v1/events", body, http.Header{
		"Content-Type": {contentType},
		"Accept":       {"application/json"},
		"Prefer":       {"wait=" + strconv.Itoa(int(serverWait/time.Second))},
	})
}

// refuseAll deals with an answer that is about the request and not about one
// event: nothing was logged. What does not judge the events, such as a wrong URL
// or the answer of something between here and the log, does not refuse them.
func (s *Submitter) refuseAll(events []outgoing, status int, header http.Header, answer []byte) error {
	problem, ok := parseProblem(header, answer)
	if !ok || !judges(status) || !strings.HasPrefix(problem.Type, problemPrefix) {
		return fmt.Errorf("%w: %s answered %d, which no log does here: %s", ErrUnavailable, s.URL, status, excerpt(answer))
	}
	problem.Status = status
	for _, e := range events {
		e.result.Err = &RefusedError{Problem: problem}
	}
	return nil
}

// judges reports whether a log answers with this status to events that it will
// not take.
func judges(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict,
		http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// take reads the answer to a batch and returns the events to be sent again.
func (s *Submitter) take(ctx context.Context, events []outgoing, answer []byte) (again []outgoing, err error) {
	var batch batchAnswer
	if err := json.Unmarshal(answer, &batch); err != nil {
		return nil, fmt.Errorf("%w: the answer to a batch is not what a log sends: %w", ErrUnavailable, err)
	}
	if len(batch.Entries) != len(events) {
		return nil, &ReceiptError{Index: -1, Evidence: answer, Err: fmt.Errorf("%d events were sent and %d answered", len(events), len(batch.Entries))}
	}
	var failed error
	wait := &waiting{deadline: s.clock().Add(s.wait())} // for all of them together
	for i, raw := range batch.Entries {
		e := events[i]
		var head struct{ Status int }
		if err := json.Unmarshal(raw, &head); err != nil {
			return nil, &ReceiptError{Index: -1, Evidence: answer, Err: fmt.Errorf("answer %d of the batch: %w", i, err)}
		}
		switch {
		case head.Status == http.StatusTooManyRequests || head.Status >= 500:
			again = append(again, e)
		case head.Status >= 400:
			e.result.Err = &RefusedError{Problem: problemOf(raw)}
		default:
			e.result.Receipt, e.result.Err = s.receipt(ctx, wait, e.envelope, raw, batch.Checkpoint)
			if e.result.Err != nil && failed == nil {
				failed = e.result.Err
			}
		}
	}
	return again, failed
}
