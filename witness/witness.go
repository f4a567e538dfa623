package witness

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/clients"
	"github.com/escortlog/escortlog/witness/journal"
	"github.com/escortlog/escortlog/witness/mirror"
)

// DefaultRate is how many cosignatures a second one log gets by default.
const DefaultRate = 200

// Config of a witness. Only Dir is required.
type Config struct {
	Dir string // made by Init
	// Rate is how many new checkpoints, repeated cosignatures and subtree signatures (each
	// counted alone) one log gets in a second, with bursts of ten seconds' worth. 0 is DefaultRate, less
	// is no limit. An entry's qpd in the log list goes before it.
	Rate       float64
	Clients    *clients.Budget        // of those who ask over HTTP; nil is one with its defaults
	Passphrase func() (string, error) // asked only if the keys are encrypted
	Logger     *slog.Logger
	Registry   *prometheus.Registry // metrics go here and are served from here
	Now        func() time.Time
}

// Witness is a running witness. Its methods may be used concurrently.
type Witness struct {
	dir      string
	name     string
	signers  []*checkpoint.Signer // Ed25519 first
	mirror   []*checkpoint.Signer // of the mirror beside the witness; none if there is none
	journal  *journal.Journal
	evidence *evidenceStore
	list     *logList
	rate     float64
	clients  *clients.Budget
	log      *slog.Logger
	registry *prometheus.Registry
	metrics  *metrics
	now      func() time.Time

	mu     sync.Mutex           // guards the map, not what is in it
	states map[string]*logState // by origin: logs ever cosigned, and known logs that asked
	byHash map[string]*logState // the same by origin hash
}

// logState is what the witness remembers of one log.
type logState struct {
	// mu is held from the comparison with head until the new head is durable
	// and stored: "checking the old size against the latest checkpoint and persisting
	// the new checkpoint must be performed atomically".
	mu sync.Mutex
	// head is what was durably cosigned last; nil before the first. Written under mu, read by anyone.
	head atomic.Pointer[head]

	// Three budgets, so that nobody who repeats a log's public checkpoints can use
	// up what its growth needs. Under mu; nil before the first use.
	grow, repeat, subtree *rate.Limiter
}

// head is one durable cosigned checkpoint.
type head struct {
	cp      checkpoint.Checkpoint
	logSigs []checkpoint.SignatureLine
	time    int64  // of the witness's cosignatures, Unix seconds
	note    []byte // the text, the log's verified signatures and the witness's cosignatures
}

// Open opens the witness in a directory that Init made. Errors: journal.ErrLocked
// (another process has it open), journal.ErrCorrupt, ErrPassphrase.
func Open(c Config) (_ *Witness, err error) {
	c.setDefaults()
	w := &Witness{
		dir: c.Dir, rate: c.Rate, clients: c.Clients, log: c.Logger, registry: c.Registry, now: c.Now,
		metrics: newMetrics(c.Registry), states: map[string]*logState{}, byHash: map[string]*logState{},
	}
	if w.signers, w.mirror, err = loadSigners(c.Dir, c.Passphrase); err != nil {
		return nil, err
	}
	w.name = w.signers[0].Verifier().Name()
	if w.list, err = openLogList(logsPath(c.Dir), slices.Concat(w.signers, w.mirror)); err != nil {
		return nil, err
	}
	if w.evidence, err = openEvidence(evidencePath(c.Dir)); err != nil {
		return nil, err
	}
	if w.journal, err = journal.Open(statePath(c.Dir), journal.Options{}); err != nil {
		return nil, fmt.Errorf("opening the witness's memory (a witness without it must not sign; if it is lost, make a new witness): %w", err)
	}
	for origin, note := range w.journal.All() {
		h, err := parseHead(origin, note, w.Verifiers())
		if err != nil {
			return nil, errors.Join(err, w.journal.Close())
		}
		w.state(origin).head.Store(h)
		w.metrics.size.WithLabelValues(origin).Set(float64(h.cp.Size))
	}
	w.metrics.logs.Set(float64(len(w.list.current().byOrigin)))
	return w, nil
}

func (c *Config) setDefaults() {
	if c.Rate == 0 {
		c.Rate = DefaultRate
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Clients == nil {
		c.Clients = clients.New(clients.Config{Now: c.Now})
	}
}

// parseHead reads back a note that update wrote. The journal vouches for its bytes.
func parseHead(origin string, note []byte, own []*checkpoint.Verifier) (*head, error) {
	text, sigs, err := checkpoint.ParseNote(note)
	if err != nil {
		return nil, fmt.Errorf("the remembered checkpoint of %q: %w", origin, err)
	}
	h := &head{note: note}
	if h.cp, err = checkpoint.Parse(text); err != nil {
		return nil, fmt.Errorf("the remembered checkpoint of %q: %w", origin, err)
	}
	if h.cp.Origin != origin {
		return nil, fmt.Errorf("the remembered checkpoint of %q is of %q", origin, h.cp.Origin)
	}
	for _, l := range sigs {
		if slices.ContainsFunc(own, func(v *checkpoint.Verifier) bool { return l.Name == v.Name() && l.KeyHash == v.KeyHash() }) {
			h.time = max(h.time, l.Timestamp())
		} else {
			h.logSigs = append(h.logSigs, l)
		}
	}
	return h, nil
}

// MirrorSigners returns the keys of the mirror beside the witness, none if there is none.
func (w *Witness) MirrorSigners() []*checkpoint.Signer { return w.mirror }

// MirrorDir is where the mirror beside the witness keeps its copies.
func (w *Witness) MirrorDir() string { return filepath.Join(w.dir, "mirror") }

// MirrorKeys returns the keys of a known log of which a full copy is kept, nil for any other.
func (w *Witness) MirrorKeys(origin string) []*checkpoint.Verifier {
	if l := w.knownLog(origin); l != nil && l.mirror {
		return l.keys
	}
	return nil
}

// MirrorRemotes returns where the logs are read of which a full copy is kept, by
// origin. Logs without a URL in the list are left out.
func (w *Witness) MirrorRemotes() map[string]mirror.Remote {
	w.report(w.list.refresh())
	remotes := map[string]mirror.Remote{}
	for origin, l := range w.list.current().byOrigin {
		if l.mirror && l.remote.URL != "" {
			remotes[origin] = l.remote
		}
	}
	return remotes
}

// Pending returns the latest cosigned checkpoint of a log: what a mirror may grow to.
func (w *Witness) Pending(origin string) (note []byte, ok bool) {
	return w.Checkpoint(originHash(origin))
}

// Verifiers returns the witness's own.
func (w *Witness) Verifiers() []*checkpoint.Verifier { return verifiersOf(w.signers) }

func verifiersOf(signers []*checkpoint.Signer) []*checkpoint.Verifier {
	var vs []*checkpoint.Verifier
	for _, s := range signers {
		vs = append(vs, s.Verifier())
	}
	return vs
}

// state returns the state of a log, which is empty for a log never seen. Only
// origins of known or remembered logs may be asked for, so that strangers cannot fill the map.
func (w *Witness) state(origin string) *logState {
	w.mu.Lock()
	defer w.mu.Unlock()
	st, ok := w.states[origin]
	if !ok {
		st = &logState{}
		w.states[origin] = st
		w.byHash[originHash(origin)] = st
	}
	return st
}

// Name returns the cosigner name.
func (w *Witness) Name() string { return w.name }

// VKeys returns the witness's vkeys, Ed25519 first.
func (w *Witness) VKeys() []string {
	var vkeys []string
	for _, s := range w.signers {
		vkeys = append(vkeys, s.VKey())
	}
	return vkeys
}

// Err returns why the witness signs nothing any more, or nil.
func (w *Witness) Err() error { return w.journal.Err() }

// Failed is closed when the witness's memory fails: it then signs nothing until
// it is opened again. Err says why.
func (w *Witness) Failed() <-chan struct{} { return w.journal.Failed() }

// Close waits for updates under way and releases the directory.
func (w *Witness) Close() error { return w.journal.Close() }

// Checkpoint returns the latest cosigned checkpoint of the log whose origin has
// this hash (64 lowercase hex digits of SHA-256), with the log's and
// the witness's signatures.
func (w *Witness) Checkpoint(hash string) (note []byte, ok bool) {
	w.mu.Lock()
	st := w.byHash[hash]
	w.mu.Unlock()
	if st == nil {
		return nil, false
	}
	h := st.head.Load()
	if h == nil {
		return nil, false
	}
	return h.note, true
}

// LogStatus is what the witness knows of one log.
type LogStatus struct {
	Origin     string    `json:"origin"`
	OriginHash string    `json:"originHash"` // names it at the monitoring endpoint
	URL        string    `json:"url,omitempty"`
	Keys       []string  `json:"keys"`  // vkeys; none for a log that was removed
	Known      bool      `json:"known"` // whether a checkpoint was cosigned yet
	Size       int64     `json:"size"`
	Root       string    `json:"root,omitempty"` // standard base64
	Time       time.Time `json:"time,omitzero"`  // of the cosignatures
}

// Logs returns the known logs and those once cosigned and removed since, by origin.
func (w *Witness) Logs() []LogStatus {
	w.report(w.list.refresh())
	w.mu.Lock()
	heads := map[string]*head{}
	for o, st := range w.states {
		if h := st.head.Load(); h != nil {
			heads[o] = h
		}
	}
	w.mu.Unlock()
	return logStatus(w.list.current(), heads)
}

// ReadLogs returns the same for the witness in a directory, from its files, whether it runs or not.
func ReadLogs(dir string) ([]LogStatus, error) {
	list, err := openLogList(logsPath(dir), nil)
	if err != nil {
		return nil, notInit(err)
	}
	notes, err := journal.Read(statePath(dir))
	if err != nil {
		return nil, err
	}
	vkeys, err := VKeys(dir)
	if err != nil {
		return nil, err
	}
	var own []*checkpoint.Verifier
	for _, vkey := range vkeys[:len(keyFiles)] {
		v, err := checkpoint.ParseVKey(vkey)
		if err != nil {
			return nil, err
		}
		own = append(own, v)
	}
	heads := map[string]*head{}
	for origin, note := range notes {
		if heads[origin], err = parseHead(origin, note, own); err != nil {
			return nil, err
		}
	}
	return logStatus(list.current(), heads), nil
}

func logStatus(set *logSet, heads map[string]*head) []LogStatus {
	origins := map[string]bool{}
	for o := range set.byOrigin {
		origins[o] = true
	}
	for o := range heads {
		origins[o] = true
	}
	var out []LogStatus
	for _, o := range slices.Sorted(maps.Keys(origins)) {
		s := LogStatus{Origin: o, OriginHash: originHash(o)}
		if l := set.byOrigin[o]; l != nil {
			s.URL = l.remote.URL
			for _, k := range l.keys {
				s.Keys = append(s.Keys, k.VKey())
			}
		}
		if h := heads[o]; h != nil {
			s.Known, s.Size, s.Root, s.Time = true, h.cp.Size, h.cp.Root.String(), time.Unix(h.time, 0).UTC()
		}
		out = append(out, s)
	}
	return out
}

// originHash is "the SHA-256 hash of the log's origin, hex encoded, in lowercase".
func originHash(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}
