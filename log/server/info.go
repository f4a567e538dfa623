package server

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"html/template"
	"net/http"
	"sync"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"golang.org/x/mod/sumdb/tlog"
)

// logInfo is what /v1/log says: convenience for people and programs that set
// themselves up. Nothing in it is to be trusted; what matters of it stands in
// leaf 0 or in the verifier's own policy.
type logInfo struct {
	Origin        string        `json:"origin"`
	VKeys         []string      `json:"vkeys"` // Ed25519 first
	Policy        string        `json:"policy"`
	Trial         bool          `json:"trial"`
	AllowUnsigned bool          `json:"allowUnsigned"`
	AllowOpaque   bool          `json:"allowOpaque"`
	Authority     authorityInfo `json:"authority"`
	Limits        limitsInfo    `json:"limits"`
	ReadAuth      string        `json:"readAuth"` // none, token or mtls
	Problems      []ProblemKind `json:"problems"`
}

// authorityInfo is what whoever makes the next authority event must know.
type authorityInfo struct {
	Covered   int64  `json:"covered"` // index after the newest authority event
	Prev      string `json:"prev"`    // its leaf hash in hex, for data.prev
	Threshold int    `json:"threshold"`
}

type limitsInfo struct {
	EventBytes   int64 `json:"eventBytes"`
	BatchBytes   int64 `json:"batchBytes"`
	BatchEvents  int   `json:"batchEvents"`
	PayloadBytes int64 `json:"payloadBytes"`
	Signatures   int   `json:"signatures"`
	WaitSeconds  int64 `json:"waitSeconds"`    // for a proof, by default
	MaxWait      int64 `json:"maxWaitSeconds"` // and at most
}

func (s *Server) getLog(w http.ResponseWriter, r *http.Request) {
	dir, err := s.door.current(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	prev, l := dir.Prev(), s.cfg.Limits
	writeJSON(w, http.StatusOK, logInfo{
		Origin: s.origin, VKeys: s.cfg.VKeys, Policy: s.cfg.PolicyText,
		Trial: dir.Trial(), AllowUnsigned: dir.AllowUnsigned(), AllowOpaque: dir.AllowOpaque(),
		Authority: authorityInfo{Covered: dir.Covered(), Prev: hex.EncodeToString(prev[:]), Threshold: dir.Threshold()},
		Limits: limitsInfo{
			EventBytes: l.EventBytes, BatchBytes: l.BatchBytes, BatchEvents: l.BatchEvents,
			PayloadBytes: entry.MaxPayload, Signatures: entry.MaxSignatures,
			WaitSeconds: int64(l.Wait / time.Second), MaxWait: int64(l.MaxWait / time.Second),
		},
		ReadAuth: s.cfg.ReadAuth.String(), Problems: Problems(),
	})
}

// getHealth says that the process lives and can be left alone: a log that has
// stopped for good needs a new process.
func (s *Server) getHealth(w http.ResponseWriter, r *http.Request) {
	select {
	case <-s.log.Done():
		s.fail(w, r, refuse("log-stopped", "The log has stopped: %v.", s.log.Err()))
	default:
		writeBody(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
	}
}

// getReady says whether submissions are taken, and if not, why.
func (s *Server) getReady(w http.ResponseWriter, r *http.Request) {
	if err := s.ready(); err != nil {
		s.fail(w, r, err)
		return
	}
	writeBody(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ready\n"))
}

func (s *Server) ready() error {
	if s.stopping.Err() != nil {
		return refuse("not-ready", "The server is shutting down.").after(5 * time.Second)
	}
	if err := s.log.Ready(); err != nil {
		return refuse("not-ready", "%v", err).after(5 * time.Second)
	}
	if err := s.space.check(s.cfg.Now()); err != nil {
		return refuse("not-ready", "The log's disk is nearly full: commits are refused, and reads go on. The operator must make room.").after(30 * time.Second)
	}
	return nil
}

// space is the newest answer of Config.Space.
type space struct {
	ask func() error // nil: there is always enough

	mu    sync.Mutex
	asked time.Time
	err   error
}

func (s *space) check(now time.Time) error {
	if s.ask == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.asked).Abs() >= time.Second {
		s.asked, s.err = now, s.ask()
	}
	return s.err
}

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Parse(pageHTML))

// pageData is what the page for people shows.
type pageData struct {
	Origin        string
	Trial         bool
	AllowUnsigned bool
	Ready         string // why not; empty when ready
	Size          int64
	Root          tlog.Hash
	Published     *publishedData
	VKeys         []string
	Policy        string
	ReadAuth      string
	Problems      []ProblemKind
}

type publishedData struct {
	Size int64
	Root tlog.Hash
	Note string
	Time string // newest cosignature, or empty
}

func (s *Server) getHome(w http.ResponseWriter, r *http.Request) {
	dir := s.door.directory.Load()
	head := s.log.Head()
	data := pageData{
		Origin: s.origin, Trial: dir.Trial(), AllowUnsigned: dir.AllowUnsigned(),
		Size: head.Size, Root: head.Root, VKeys: s.cfg.VKeys, Policy: s.cfg.PolicyText,
		ReadAuth: s.cfg.ReadAuth.String(), Problems: Problems(),
	}
	if err := s.ready(); err != nil {
		data.Ready = toRefusal(err).detail
	}
	if pub := s.log.Published(); pub != nil {
		data.Published = &publishedData{Size: pub.Size, Root: pub.Root, Note: string(pub.Note), Time: s.newestCosignature(pub.Note)}
	}
	var body bytes.Buffer
	if err := page.Execute(&body, data); err != nil {
		s.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	w.Write(body.Bytes())
}

// newestCosignature returns the newest time stated on the published note by a
// key that is known to state times, for people to see how fresh it is.
func (s *Server) newestCosignature(note []byte) string {
	_, sigs, err := checkpoint.ParseNote(note)
	if err != nil {
		return ""
	}
	newest := int64(0)
	for _, sig := range sigs {
		for _, key := range s.stating {
			if key.Name() == sig.Name && key.KeyHash() == sig.KeyHash {
				newest = max(newest, sig.Timestamp())
			}
		}
	}
	if newest == 0 {
		return ""
	}
	return time.Unix(newest, 0).UTC().Format(time.RFC3339)
}

// String names the way of reading as the --read-auth flag does.
func (a ReadAuth) String() string {
	switch {
	case a.ClientCert:
		return "mtls"
	case len(a.Tokens) > 0:
		return "token"
	default:
		return "none"
	}
}
