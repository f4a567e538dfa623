package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// ReadAuth says who may read what holds names and countries: entry bundles,
// /v1/entries, and GET /v1/events, which tells whether an event is logged.
// Checkpoint and hash tiles stay open, for witnesses.
type ReadAuth struct {
	// Tokens, when there are any, are the bearer tokens (RFC 6750) that may
	// read.
	Tokens []string

	// ClientCert lets in who shows a certificate that the TLS configuration
	// has verified.
	ClientCert bool
}

// open reports whether anybody may read.
func (a ReadAuth) open() bool { return len(a.Tokens) == 0 && !a.ClientCert }

// allows reports whether r may read.
func (a ReadAuth) allows(r *http.Request) bool {
	if a.open() {
		return true
	}
	if a.ClientCert && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	// Digests have one length, so the comparison tells nothing of it; every
	// token is compared, so the time tells nothing of their order.
	got, found := sha256.Sum256([]byte(strings.TrimSpace(token))), 0
	for _, t := range a.Tokens {
		want := sha256.Sum256([]byte(t))
		found |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return found == 1
}

// guarded lets only those through who may read.
func (s *Server) guarded(h http.HandlerFunc) http.HandlerFunc {
	if s.cfg.ReadAuth.open() {
		return h
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.cfg.ReadAuth.allows(r) {
			s.refuseReader(w)
			return
		}
		h(w, r)
	}
}

func (s *Server) refuseReader(w http.ResponseWriter) {
	if s.cfg.ReadAuth.ClientCert {
		writeProblem(w, refuse("client-certificate-required", "Show a client certificate that this log's operator trusts."))
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="escortlog"`)
	writeProblem(w, refuse("read-unauthorized", "Show a bearer token that this log's operator gave you."))
}
