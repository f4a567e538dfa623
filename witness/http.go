package witness

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// MaxBody is the longest request body in bytes. Sixteen signatures of nearly 5 kB
// each, which verifiers must accept (https://c2sp.org/signed-note), are 107 kB in base64.
const MaxBody = 256 << 10

// Handler serves the witness:
//
//	POST /add-checkpoint               https://c2sp.org/tlog-witness#add-checkpoint
//	POST /sign-subtree                 https://c2sp.org/tlog-witness#sign-subtree
//	GET  /<origin hash>/checkpoint     https://c2sp.org/tlog-witness#monitor-retrieval-mechanism
//	GET  /                             a page for people
//	GET  /healthz  /metrics            for machines
//
// Put it behind a server with timeouts; every handler reads its body with a limit.
func (w *Witness) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /add-checkpoint", w.observe("add-checkpoint", w.post(w.AddCheckpoint)))
	mux.Handle("POST /sign-subtree", w.observe("sign-subtree", w.post(w.SignSubtree)))
	mux.Handle("GET /{hash}/checkpoint", w.observe("checkpoint", w.serveCheckpoint))
	mux.Handle("GET /{$}", w.observe("home", w.serveHome))
	mux.Handle("GET /healthz", w.observe("healthz", w.serveHealth))
	mux.Handle("GET /metrics", promhttp.HandlerFor(w.registry, promhttp.HandlerOpts{}))
	return mux
}

// observe counts and times what a handler answers.
func (w *Witness) observe(endpoint string, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recorder{ResponseWriter: rw, status: http.StatusOK}
		h(rec, r)
		w.metrics.requests.WithLabelValues(endpoint, strconv.Itoa(rec.status)).Inc()
		w.metrics.seconds.WithLabelValues(endpoint).Observe(time.Since(start).Seconds())
		w.log.DebugContext(r.Context(), "request", "endpoint", endpoint, "status", rec.status, "remote", r.RemoteAddr)
	})
}

type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// post serves a call that takes a body and answers with signature lines.
func (w *Witness) post(call func(body []byte) ([]byte, error)) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Cache-Control", "no-store")
		addr := w.clients.Addr(r)
		if ok, after := w.clients.Allowed(addr); !ok {
			w.turnAway(rw, r, after)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, MaxBody))
		var lines []byte
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			err = refuse(http.StatusRequestEntityTooLarge, "a request has at most %d bytes", MaxBody)
		} else if err != nil {
			err = refuse(http.StatusBadRequest, "the request body broke off: %v", err)
		} else {
			lines, err = call(body)
		}
		if err != nil {
			w.clients.Failed(addr)
			w.refused(rw, r, err)
			return
		}
		text(rw, http.StatusOK, lines)
	}
}

// turnAway answers somebody too many of whose requests were refused lately, before anything is
// read: checking signatures for them is what costs.
func (w *Witness) turnAway(rw http.ResponseWriter, r *http.Request, after time.Duration) {
	w.log.DebugContext(r.Context(), "turned away", "path", r.URL.Path, "remote", r.RemoteAddr)
	rw.Header().Set("Retry-After", strconv.Itoa(int(after.Seconds())+1))
	rw.Header().Set("Connection", "close")
	text(rw, http.StatusTooManyRequests, []byte("too many requests from your address were refused lately: find out why before you send more\n"))
}

func (w *Witness) refused(rw http.ResponseWriter, r *http.Request, err error) {
	refusal := new(Refusal)
	if !errors.As(err, &refusal) {
		refusal = refuse(http.StatusServiceUnavailable, "%v", err)
	}
	w.log.InfoContext(r.Context(), "refused", "path", r.URL.Path, "status", refusal.Status, "reason", refusal.Reason)
	switch refusal.Status {
	case http.StatusConflict:
		// "The response body MUST consist of the tree size of the latest cosigned checkpoint in
		// decimal, followed by a newline (U+000A). The response MUST have a Content-Type of
		// text/x.tlog.size."
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		rw.WriteHeader(http.StatusConflict)
		fmt.Fprintf(rw, "%d\n", refusal.Known)
		return
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		rw.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	}
	text(rw, refusal.Status, []byte(refusal.Reason+"\n"))
}

// text answers with plain text. A client that has gone cannot be told, so a failed write is not an error.
func text(rw http.ResponseWriter, status int, body []byte) {
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	rw.Header().Set("X-Content-Type-Options", "nosniff")
	rw.WriteHeader(status)
	_, _ = rw.Write(body)
}

// serveCheckpoint is the monitoring endpoint. "The witness MAY delay updating the
// checkpoint, but SHOULD NOT delay for more than an hour": caches may keep it for seconds.
func (w *Witness) serveCheckpoint(rw http.ResponseWriter, r *http.Request) {
	note, ok := w.Checkpoint(r.PathValue("hash"))
	if !ok {
		// "If the witness has never cosigned a checkpoint for that log, it MUST respond with a "404 Not Found""
		rw.Header().Set("Cache-Control", "no-store")
		text(rw, http.StatusNotFound, []byte("no checkpoint of such a log was cosigned here\n"))
		return
	}
	rw.Header().Set("Cache-Control", "public, max-age=5")
	text(rw, http.StatusOK, note)
}

func (w *Witness) serveHealth(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Cache-Control", "no-store")
	if err := w.Err(); err != nil {
		text(rw, http.StatusServiceUnavailable, fmt.Appendf(nil, "the witness has stopped signing: %v\n", err))
		return
	}
	text(rw, http.StatusOK, []byte("ok\n"))
}
