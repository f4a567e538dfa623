package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
)

// postEvents takes one event or a batch.
func (s *Server) postEvents(w http.ResponseWriter, r *http.Request) {
	v, refused := s.limiter.enter(clientAddr(r, s.cfg.TrustedProxies))
	if refused != nil {
		writeProblem(w, refused)
		return
	}
	defer v.leave()

	m, candidates, err := s.receive(w, r, v)
	if err != nil {
		s.metrics.events.WithLabelValues(toRefusal(err).slug).Inc()
		if status := toRefusal(err).status(); status < 500 && status != http.StatusTooManyRequests {
			v.failed(1)
		}
		s.fail(w, r, err)
		return
	}
	commit, cancel := context.WithTimeout(r.Context(), s.cfg.Limits.CommitTimeout)
	s.door.submit(commit, candidates)
	cancel()
	v.failed(s.account(candidates))
	v.drop()
	if r.Context().Err() != nil {
		return // nobody is there to be answered
	}
	if m.batch() {
		s.answerBatch(w, r, candidates)
		return
	}
	s.answerOne(w, r, candidates[0])
}

// receive reads the body: 413, then 415, then 400.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, v *visit) (mode, []*candidate, error) {
	m, unsupported := modeOf(r)
	limit := s.cfg.Limits.EventBytes
	if m.batch() {
		limit = s.cfg.Limits.BatchBytes
	}
	body, err := s.readBody(w, r, v, limit)
	if err != nil {
		return m, nil, err
	}
	if unsupported != nil {
		return m, nil, unsupported
	}
	candidates, err := s.candidates(r, m, body)
	return m, candidates, err
}

// account counts the candidates and returns how many failures their sender has
// to answer for. What waits for a proof from here on is a few numbers: the bytes
// are let go.
func (s *Server) account(candidates []*candidate) (failures int) {
	for _, c := range candidates {
		s.metrics.event(c)
		if c.err != nil && toRefusal(c.err).status() < 500 {
			failures++
		}
		*c = candidate{position: c.position, err: c.err}
	}
	return failures
}

// answerOne answers a single event.
func (s *Server) answerOne(w http.ResponseWriter, r *http.Request, c *candidate) {
	if c.err != nil {
		s.fail(w, r, c.err)
		return
	}
	prefer := parsePrefer(r, s.cfg.Limits)
	var note *verifiedNote
	if !prefer.async() || c.position.Existing {
		note = s.await(r.Context(), c.position.Index+1, prefer.wait)
	}
	var proof *inclusion
	if note != nil {
		var err error
		if proof, err = s.prove(r.Context(), c.position, note); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	h := w.Header()
	prefer.setApplied(h, proof != nil)
	h.Set("Location", "/v1/entries/"+strconv.FormatInt(c.position.Index, 10))
	h.Set("Vary", "Accept, Prefer")
	status := http.StatusCreated
	switch {
	case proof == nil:
		status = http.StatusAccepted
	case c.position.Existing:
		status = http.StatusOK
	}
	s.extendWrite(w)
	if proof != nil && negotiate(r, typeJSON, typeText) == typeText {
		writeBody(w, status, "text/plain; charset=utf-8", proof.tlogProof(c.position))
		return
	}
	room := answers.Get().(*[]byte)
	body := append(appendReceipt((*room)[:0], c.position, proof), '\n')
	if writeJoined(w, r, status, typeJSON, body) == nil {
		reuse(room, body)
	}
}

// answerBatch answers a batch: each event with its own status, all proofs to
// one checkpoint.
func (s *Server) answerBatch(w http.ResponseWriter, r *http.Request, candidates []*candidate) {
	size, existing := int64(0), true
	for _, c := range candidates {
		if c.err == nil {
			size = max(size, c.position.Index+1)
			existing = existing && c.position.Existing
		}
	}
	prefer := parsePrefer(r, s.cfg.Limits)
	var note *verifiedNote
	if !prefer.async() || existing {
		note = s.await(r.Context(), size, prefer.wait)
	}
	prefer.setApplied(w.Header(), note != nil)
	var retry time.Duration
	room := answers.Get().(*[]byte)
	body := append(slices.Grow((*room)[:0], (8+len(candidates))<<10), '{')
	if note != nil && note.err == nil {
		body = append(append(append(body, `"checkpoint":`...), note.json...), ',')
	}
	body = append(body, `"entries":[`...)
	for i, c := range candidates {
		if i > 0 {
			body = append(body, ',')
		}
		if c.err == nil {
			body, c.err = s.appendEntry(r.Context(), body, c.position, note)
		}
		if c.err != nil {
			refused := toRefusal(c.err)
			if refused.status() >= 500 {
				s.cfg.Logger.ErrorContext(r.Context(), "an event of a batch failed", "element", i, "error", c.err)
			}
			retry = max(retry, refused.retryAfter)
			body = append(body, refused.marshal()...)
		}
	}
	if retry > 0 {
		w.Header().Set("Retry-After", retrySeconds(retry))
	}
	w.Header().Set("Vary", "Prefer")
	s.extendWrite(w)
	body = append(body, "]}\n"...)
	if writeJoined(w, r, http.StatusOK, typeJSON, body) == nil {
		reuse(room, body)
	}
}

// answers are the bytes of answers, kept for reuse: they are most of the memory
// that a submission takes.
var answers = sync.Pool{New: func() any {
	room := make([]byte, 0, 8<<10) // the checkpoint alone is half of that
	return &room
}}

// reuse keeps the bytes of an answer, which were made in room, unless they are far
// more than most. It must have been written without an error: of one that was
// broken off HTTP/2 may be writing still.
func reuse(room *[]byte, body []byte) {
	if cap(body) <= 1<<20 {
		*room = body
		answers.Put(room)
	}
}

// appendEntry appends the receipt of one logged event of a batch, or nothing and
// the error.
func (s *Server) appendEntry(ctx context.Context, b []byte, pos log.Position, note *verifiedNote) ([]byte, error) {
	if note == nil {
		return appendBatchReceipt(b, http.StatusAccepted, pos, nil), nil
	}
	proof, err := s.prove(ctx, pos, note)
	if err != nil {
		return b, err
	}
	status := http.StatusCreated
	if pos.Existing {
		status = http.StatusOK
	}
	return appendBatchReceipt(b, status, pos, proof), nil
}

// await waits for a published checkpoint of at least size leaves that meets the
// policy. It returns nil when there is none within wait, when the server or the
// log stops, or when ctx ends: the event is durable all the same. One that does
// not verify is returned, and proves nothing.
func (s *Server) await(ctx context.Context, size int64, wait time.Duration) *verifiedNote {
	pub := s.log.Published()
	if pub == nil || pub.Size < size {
		if wait <= 0 || s.stopping.Err() != nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		defer context.AfterFunc(s.stopping, cancel)()
		var err error
		if pub, err = s.log.WaitPublished(ctx, size); err != nil {
			return nil
		}
	}
	note := s.prover.note(pub)
	if errors.Is(note.err, checkpoint.ErrQuorum) {
		return nil
	}
	return note
}

// prove makes a verified proof and raises the alarm where there is none.
func (s *Server) prove(ctx context.Context, pos log.Position, note *verifiedNote) (*inclusion, error) {
	proof, err := s.prover.prove(ctx, pos, note)
	if errors.Is(err, errUnproven) {
		s.metrics.proofFailures.Inc()
		return nil, refuse("proof-failed", "Leaf %d is durable, and the proof made for it does not verify.", pos.Index).because(err)
	}
	if err != nil {
		return nil, readRefusal(err)
	}
	return proof, nil
}

// extendWrite gives the answer its time to be taken, after a wait that may have
// used up the server's.
func (s *Server) extendWrite(w http.ResponseWriter) {
	// A recorder in a test has no deadlines; a server's connection does.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.cfg.Limits.WriteTimeout))
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("server: marshalling an answer: %v", err))
	}
	writeBody(w, status, "application/json", append(body, '\n'))
}

func writeBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	describe(w.Header(), contentType, len(body))
	w.WriteHeader(status)
	w.Write(body)
}

// writeJoined is writeBody for what is sent often and is longer than net/http's
// buffer.
func writeJoined(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) error {
	describe(w.Header(), contentType, len(body))
	joinWrites(r, w.Header(), len(body))
	w.WriteHeader(status)
	_, err := w.Write(body)
	return err
}

// describe sets what the header says of a body.
func describe(h http.Header, contentType string, length int) {
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(length))
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
}
