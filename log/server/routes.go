package server

import (
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"
)

// methods are the handlers of one path by method. GET answers HEAD too.
type methods map[string]http.HandlerFunc

// routes builds the router. Paths are matched as they were sent, neither
// cleaned nor decoded: one resource has one URL.
func (s *Server) routes() http.Handler {
	r := router{fixed: make(map[string]http.Handler), patterns: mux.NewRouter().SkipClean(true).UseEncodedPath()}
	handle := func(path, route string, m methods) {
		if strings.Contains(path, "{") {
			r.patterns.Handle(path, s.instrument(route, m))
			return
		}
		r.fixed[path] = s.instrument(route, m)
	}
	r.patterns.PathPrefix("/tile/").Handler(s.instrument("tile", methods{"GET": s.getTile}))
	handle("/checkpoint", "checkpoint", methods{"GET": s.getCheckpoint})
	handle("/v1/events", "events", methods{"POST": s.postEvents, "GET": s.guarded(s.getEvents)})
	handle("/v1/entries/{index}", "entry", methods{"GET": s.guarded(s.getEntry)})
	handle("/v1/entries/{index}/proof", "proof", methods{"GET": s.guarded(s.getProof)})
	handle("/v1/consistency", "consistency", methods{"GET": s.getConsistency})
	handle("/v1/log", "log", methods{"GET": s.getLog})
	handle("/healthz", "healthz", methods{"GET": s.getHealth})
	handle("/readyz", "readyz", methods{"GET": s.getReady})
	handle("/metrics", "metrics", methods{"GET": s.getMetrics})
	handle("/", "home", methods{"GET": s.getHome})
	r.patterns.NotFoundHandler = s.instrument("unknown", methods{"*": func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, refuse("not-found", "There is nothing at %s.", r.URL.EscapedPath()))
	}})
	return r
}

// router takes the paths that are no patterns, among them that of the events,
// past the regular expressions of the others.
type router struct {
	fixed    map[string]http.Handler
	patterns *mux.Router
}

func (r router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if h := r.fixed[req.URL.Path]; h != nil && req.URL.RawPath == "" { // sent as it is written there
		h.ServeHTTP(w, req)
		return
	}
	r.patterns.ServeHTTP(w, req)
}

// instrument dispatches by method, counts and times requests, and turns a panic
// into a problem document.
func (s *Server) instrument(route string, m methods) http.Handler {
	var allowed []string
	for method := range m {
		allowed = append(allowed, method)
	}
	if m["GET"] != nil {
		allowed = append(allowed, "HEAD")
	}
	slices.Sort(allowed)
	allow := strings.Join(allowed, ", ")
	watch := s.metrics.route(route)

	dispatch := func(w http.ResponseWriter, r *http.Request) {
		h := m[r.Method]
		if h == nil && r.Method == http.MethodHead {
			h = m["GET"]
		}
		if h == nil {
			h = m["*"]
		}
		if h == nil {
			w.Header().Set("Allow", allow)
			writeProblem(w, refuse("method-not-allowed", "%s is not allowed here; %s is.", r.Method, allow))
			return
		}
		h(w, r)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recorder{ResponseWriter: w}
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				s.cfg.Logger.ErrorContext(r.Context(), "a request panicked", "route", route, "panic", p, "stack", string(debug.Stack()))
				if rec.status == 0 {
					writeProblem(rec, refuse("internal", "The server failed. The operator finds the reason in its log."))
				}
			}
			watch(rec.status, time.Since(start))
		}()
		dispatch(rec, r)
	})
}

// fail answers with the problem behind err and tells the operator what is his.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	refused := toRefusal(err)
	if refused.status() >= 500 && refused.cause != nil && r.Context().Err() == nil {
		s.cfg.Logger.ErrorContext(r.Context(), "a request failed", "path", r.URL.Path, "problem", refused.slug, "error", refused.cause)
	}
	writeProblem(w, refused)
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
