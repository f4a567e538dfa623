package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/gorilla/mux"
)

// retryRead is when to come back for what is not published yet.
const retryRead = time.Second

func notPublished(format string, args ...any) *refusal {
	return refuse("not-published", format, args...).after(retryRead)
}

// entryView is the decoded view of a leaf. What was signed is in the envelope
// and the leaf; here the event is shown as the JSON value it is.
type entryView struct {
	Index       int64           `json:"index"`
	LeafHash    []byte          `json:"leafHash"`
	Time        int64           `json:"time"` // ms since the epoch
	PayloadType string          `json:"payloadType"`
	Signatures  []signatureView `json:"signatures"`
	Event       json.RawMessage `json:"event"`
}

type signatureView struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"`
}

// getEntry serves one entry: decoded, as its envelope, or as the leaf.
func (s *Server) getEntry(w http.ResponseWriter, r *http.Request) {
	index, leaf, err := s.leaf(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Vary", "Accept")
	h.Set("Cache-Control", s.entryCaching())
	switch negotiate(r, typeJSON, typeDSSE, typeLeaf) {
	case typeDSSE:
		e, err := entry.Parse(leaf)
		if err != nil {
			s.fail(w, r, refuse("corrupt", "Leaf %d cannot be decoded.", index).because(err))
			return
		}
		writeBody(w, http.StatusOK, typeDSSE, e.Envelope().Marshal())
	case typeLeaf:
		writeBody(w, http.StatusOK, typeLeaf, leaf)
	default:
		view, err := viewOf(index, leaf)
		if err != nil {
			s.fail(w, r, refuse("corrupt", "Leaf %d cannot be decoded.", index).because(err))
			return
		}
		writeJSON(w, http.StatusOK, view)
	}
}

func viewOf(index int64, leaf []byte) (*entryView, error) {
	e, err := entry.Parse(leaf)
	if err != nil {
		return nil, err
	}
	hash := entry.LeafHash(leaf)
	view := &entryView{
		Index: index, LeafHash: hash[:], Time: e.Time, PayloadType: e.PayloadType,
		Signatures: make([]signatureView, len(e.Signatures)), Event: bytes.TrimSpace(e.Payload),
	}
	for i, sig := range e.Signatures {
		view.Signatures[i] = signatureView(sig)
	}
	return view, nil
}

// entryCaching: a leaf never changes, but who may read it does.
func (s *Server) entryCaching() string {
	if s.cfg.ReadAuth.open() {
		return cacheForever
	}
	return cachePrivate
}

// leaf reads the leaf that the path names. Like every reader it sees nothing
// beyond a signed head.
func (s *Server) leaf(r *http.Request) (int64, []byte, error) {
	index, err := number(mux.Vars(r)["index"])
	if err != nil {
		return 0, nil, refuse("bad-parameter", "%q is not an index: %v.", mux.Vars(r)["index"], err)
	}
	if index >= s.log.Head().Size {
		return 0, nil, refuse("not-found", "The log has no leaf %d.", index)
	}
	if pub := s.log.Published(); pub == nil || index >= pub.Size {
		return 0, nil, notPublished("Leaf %d is durable, and no published checkpoint covers it yet.", index)
	}
	leaf, err := s.log.Entry(r.Context(), index)
	if err != nil {
		return 0, nil, readRefusal(err)
	}
	return index, leaf, nil
}

// getProof serves the tlog-proof of one entry to the published checkpoint.
func (s *Server) getProof(w http.ResponseWriter, r *http.Request) {
	index, leaf, err := s.leaf(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	note := s.await(r.Context(), index+1, 0)
	if note == nil {
		s.fail(w, r, notPublished("No published checkpoint that meets the policy covers leaf %d yet.", index))
		return
	}
	pos := log.Position{Index: index, Time: entry.TimeOf(leaf), LeafHash: entry.LeafHash(leaf)}
	proof, err := s.prove(r.Context(), pos, note)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Vary", "Accept")
	// The proof moves on with the checkpoint it leads to.
	h.Set("Cache-Control", cacheCheckpoint)
	if !s.cfg.ReadAuth.open() {
		h.Set("Cache-Control", "private, max-age=1")
	}
	if negotiate(r, typeText, typeJSON) == typeJSON {
		writeBody(w, http.StatusOK, typeJSON, append(appendReceipt(nil, pos, proof), '\n'))
		return
	}
	writeBody(w, http.StatusOK, "text/plain; charset=utf-8", proof.tlogProof(pos))
}

// getEvents finds the index of an event by its source and id.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) {
	q, err := parameters(r, "source", "id")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	position, _, err := s.log.Lookup(r.Context(), entry.Identity(q["source"], q["id"]))
	switch {
	case errors.Is(err, log.ErrNotFound):
		s.fail(w, r, refuse("event-not-found", "Source %q has logged no event %q.", q["source"], q["id"]))
		return
	case err != nil:
		s.fail(w, r, readRefusal(err))
		return
	}
	w.Header().Set("Content-Location", "/v1/entries/"+strconv.FormatInt(position.Index, 10))
	writeBody(w, http.StatusOK, typeJSON, append(appendReceipt(nil, position, nil), '\n'))
}

// getConsistency serves a consistency proof, one base64 hash a line.
func (s *Server) getConsistency(w http.ResponseWriter, r *http.Request) {
	q, err := parameters(r, "from", "to")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	from, err := number(q["from"])
	if err != nil {
		s.fail(w, r, refuse("bad-parameter", "from=%q is not a size: %v.", q["from"], err))
		return
	}
	to, err := number(q["to"])
	if err != nil {
		s.fail(w, r, refuse("bad-parameter", "to=%q is not a size: %v.", q["to"], err))
		return
	}
	if from > to {
		s.fail(w, r, refuse("bad-parameter", "from is at most to, and %d is more than %d.", from, to))
		return
	}
	if pub := s.log.Published(); pub == nil || to > pub.Size {
		s.fail(w, r, notPublished("No checkpoint of size %d or more is published.", to))
		return
	}
	hashes, err := s.log.Consistency(r.Context(), from, to)
	if err != nil {
		s.fail(w, r, readRefusal(err))
		return
	}
	var body bytes.Buffer
	for _, h := range hashes {
		body.WriteString(h.String())
		body.WriteByte('\n')
	}
	w.Header().Set("Cache-Control", cacheForever)
	writeBody(w, http.StatusOK, "text/plain; charset=utf-8", body.Bytes())
}

// parameters returns the named parameters of the URL, each given exactly once
// and no other beside them.
func parameters(r *http.Request, names ...string) (map[string]string, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse("bad-parameter", "The query of the URL cannot be read.")
	}
	q := make(map[string]string)
	for _, name := range names {
		if len(values[name]) != 1 || values[name][0] == "" {
			return nil, refuse("bad-parameter", "Give %q exactly once.", name)
		}
		q[name] = values[name][0]
		delete(values, name)
	}
	for name := range values {
		return nil, refuse("bad-parameter", "There is no parameter %q here.", name)
	}
	return q, nil
}
