package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/escortlog/escortlog/log/event"
)

// problemPrefix and a slug make the type of a problem document.
const problemPrefix = "urn:escortlog:problem:"

// ProblemKind is one row of the table of problems: what a type URI means.
type ProblemKind struct {
	Type   string `json:"type"`   // "urn:escortlog:problem:<slug>"
	Status int    `json:"status"` // HTTP status code
	Title  string `json:"title"`  // the same for every occurrence
	Doc    string `json:"doc"`    // what it means and what to do next
}

// Problems returns every kind of problem the server answers with, ordered by
// status. It is the documentation of the type URIs and is served in /v1/log.
func Problems() []ProblemKind {
	kinds := make([]ProblemKind, 0, len(problemKinds))
	for slug, k := range problemKinds {
		k.Type = problemPrefix + slug
		kinds = append(kinds, k)
	}
	slices.SortFunc(kinds, func(a, b ProblemKind) int {
		if a.Status != b.Status {
			return a.Status - b.Status
		}
		if a.Type < b.Type {
			return -1
		}
		return 1
	})
	return kinds
}

// problem is a problem document (RFC 9457 section 3).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`

	// Pointer is a JSON Pointer (RFC 6901) to the offending member of the
	// event. An extension member.
	Pointer string `json:"pointer,omitempty"`

	// Index is where the event that this one contradicts was logged. An
	// extension member of identity-conflict.
	Index *int64 `json:"index,omitempty"`
}

// refusal is the error behind a problem document.
type refusal struct {
	slug       string
	detail     string
	pointer    string
	index      *int64
	retryAfter time.Duration
	cause      error // for the operator's log, never for the client
}

// refuse makes a refusal of a kind in the table.
func refuse(slug, format string, args ...any) *refusal {
	return &refusal{slug: slug, detail: fmt.Sprintf(format, args...)}
}

func (r *refusal) Error() string {
	if r.cause != nil {
		return fmt.Sprintf("%s: %s: %v", r.slug, r.detail, r.cause)
	}
	return r.slug + ": " + r.detail
}

func (r *refusal) Unwrap() error { return r.cause }

// after says when to try again.
func (r *refusal) after(d time.Duration) *refusal {
	r.retryAfter = d
	return r
}

// because keeps the cause for the operator's log.
func (r *refusal) because(err error) *refusal {
	r.cause = err
	return r
}

// toRefusal finds the refusal in err, or makes one. An error nobody has
// thought of is the server's fault and tells the client nothing of its insides.
func toRefusal(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	var e *event.Error
	if errors.As(err, &e) {
		return &refusal{slug: e.Slug, detail: e.Detail, pointer: e.Pointer}
	}
	return refuse("internal", "The server failed. The operator finds the reason in its log.").because(err)
}

// status returns the HTTP status of the refusal.
func (r *refusal) status() int { return kindOf(r.slug).Status }

// kindOf returns the row of the table; a slug without one is a mistake of this
// program, and answered like one.
func kindOf(slug string) ProblemKind {
	if k, ok := problemKinds[slug]; ok {
		return k
	}
	return problemKinds["internal"]
}

func (r *refusal) document() problem {
	k := kindOf(r.slug)
	return problem{
		Type: problemPrefix + r.slug, Title: k.Title, Status: k.Status,
		Detail: r.detail, Pointer: r.pointer, Index: r.index,
	}
}

// writeProblem answers with a problem document that nobody caches.
func writeProblem(w http.ResponseWriter, r *refusal) {
	h := w.Header()
	h.Del("Content-Encoding")
	h.Del("Content-Length")
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.retryAfter > 0 {
		h.Set("Retry-After", retrySeconds(r.retryAfter))
	}
	if r.status() == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
		h.Set("WWW-Authenticate", "DSSE")
	}
	w.WriteHeader(r.status())
	w.Write(append(r.marshal(), '\n'))
}

// marshal returns the problem document.
func (r *refusal) marshal() []byte {
	b, err := json.Marshal(r.document())
	if err != nil { // strings and numbers only
		panic(fmt.Sprintf("server: marshalling a problem: %v", err))
	}
	return b
}

// retrySeconds rounds up to whole seconds, the unit of Retry-After (RFC 9110
// section 10.2.3), at least one.
func retrySeconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}
