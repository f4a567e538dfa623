package mirror

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/escortlog/escortlog/log/tile"
)

const (
	// packageTime is how long a client may take for one package, and for the answer.
	packageTime = 30 * time.Second
)

// Handler serves the mirror:
//
//	POST /add-entries                            https://c2sp.org/tlog-mirror#add-entries
//	GET  <prefix>/<origin hash>/checkpoint       https://c2sp.org/tlog-tiles
//	GET  <prefix>/<origin hash>/tile/…
//
// prefix is the monitoring prefix, as in "/mirror".
func (m *Mirror) Handler(prefix string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-entries", m.upload)
	mux.HandleFunc("GET "+prefix+"/{hash}/checkpoint", m.serveCheckpoint)
	mux.HandleFunc("GET "+prefix+"/{hash}/tile/{path...}", m.serveTile)
	return mux
}

func (m *Mirror) upload(w http.ResponseWriter, r *http.Request) {
	// "mirrors SHOULD send an Accept-Encoding header that includes gzip"
	w.Header().Set("Accept-Encoding", "gzip")
	w.Header().Set("Cache-Control", "no-store")
	addr := m.Clients.Addr(r)
	if ok, after := m.Clients.Allowed(addr); !ok {
		w.Header().Set("Retry-After", strconv.Itoa(int(after.Seconds())+1))
		w.Header().Set("Connection", "close")
		http.Error(w, "too many requests from your address were refused lately", http.StatusTooManyRequests)
		return
	}
	if ct := r.Header.Get("Content-Type"); ct != "application/octet-stream" {
		http.Error(w, "the body must be application/octet-stream", http.StatusUnsupportedMediaType)
		return
	}
	var body io.Reader = bufio.NewReaderSize(r.Body, 64<<10)
	switch r.Header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, "the body is not gzip", http.StatusBadRequest)
			return
		}
		body = bufio.NewReaderSize(z, 64<<10)
	default:
		http.Error(w, "the body may be compressed with gzip only", http.StatusUnsupportedMediaType)
		return
	}
	// An upload may take long as long as it moves. A server that cannot set deadlines keeps its own.
	control := http.NewResponseController(w)
	more := func() {
		_ = control.SetReadDeadline(time.Now().Add(packageTime))
		_ = control.SetWriteDeadline(time.Now().Add(2 * packageTime))
	}
	more()
	a := m.addEntries(r.Context(), body, visitor{addr: addr, more: more})
	switch a.status {
	case http.StatusOK:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(a.lines) // a client that has gone cannot be told
	case http.StatusConflict, http.StatusAccepted:
		w.Header().Set("Content-Type", "text/x.tlog.mirror-info")
		w.WriteHeader(a.status)
		fmt.Fprintf(w, "%d\n%d\n%s\n", a.pending.cp.Size, a.next, base64.StdEncoding.EncodeToString(ticketOf(a.pending)))
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
		http.Error(w, a.reason, a.status)
	default:
		m.Clients.Failed(addr)
		http.Error(w, a.reason, a.status)
	}
}

// ticketOf names a pending checkpoint by itself. What is too long for a request, or is the
// mirror checkpoint, which needs none, has no ticket.
func ticketOf(h *head) []byte {
	if h.time != 0 || len(h.note) > 1<<16-1 {
		return nil
	}
	return h.note
}

// find returns the copy that a path names, and its mirror checkpoint.
func (m *Mirror) find(hash string) (*copied, *head) {
	m.mu.Lock()
	l := m.logs[hash]
	m.mu.Unlock()
	if l == nil {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l, l.head
}

func (m *Mirror) serveCheckpoint(w http.ResponseWriter, r *http.Request) {
	_, h := m.find(r.PathValue("hash"))
	if h == nil {
		notFound(w)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=5")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(h.note)
}

func (m *Mirror) serveTile(w http.ResponseWriter, r *http.Request) {
	l, h := m.find(r.PathValue("hash"))
	t, err := tile.ParsePath("tile/" + r.PathValue("path"))
	// Nothing beyond the mirror checkpoint is served, though it may be here.
	if h == nil || err != nil || t.W > tile.WidthAt(t.Level, t.N, h.cp.Size) {
		notFound(w)
		return
	}
	var data []byte
	if t.Level < 0 {
		data, err = l.store.bundle(t)
	} else {
		data, err = l.store.hashes(r.Context(), t, h.cp)
	}
	if err != nil {
		m.Logger.Error("a tile cannot be served", "origin", l.origin, "tile", t.Path(), "error", err)
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, errCorrupt.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(data)
}

func notFound(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "not found", http.StatusNotFound)
}
