package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/tlog"
)

// Log is what the server needs of a *log.Log.
type Log interface {
	Add(*log.Submission) (*log.Pending, error)
	Lookup(ctx context.Context, identity [32]byte) (first log.Position, content [32]byte, err error)
	KeepEvidenceBy(kind, by string, record []byte)

	AuthorityCovered() int64
	AuthorityLeaves(ctx context.Context, from int64) ([]log.IndexedLeaf, error)

	Head() log.Head
	Published() *log.Published
	WaitPublished(ctx context.Context, size int64) (*log.Published, error)

	Tile(context.Context, tile.Tile) ([]byte, error)
	Bundle(context.Context, tile.Tile) (data []byte, gzipped bool, err error)
	PlainBundle(context.Context, tile.Tile) ([]byte, error)
	Entry(ctx context.Context, index int64) ([]byte, error)
	Inclusion(ctx context.Context, index, size int64) ([]tlog.Hash, error)
	Consistency(ctx context.Context, from, to int64) ([]tlog.Hash, error)

	Ready() error
	Done() <-chan struct{}
	Err() error
}

// Config makes a Server. Log, VKeys and Policy are required; everything else
// has a default.
type Config struct {
	Log Log

	// VKeys are the log's own verifier keys, Ed25519 first.
	VKeys []string

	// Policy is the tlog-policy that every proof must meet before it is sent,
	// and PolicyText what it was parsed from.
	Policy     *checkpoint.Policy
	PolicyText string

	Limits Limits

	// ReadAuth guards what holds names and countries, or tells that they are
	// logged: entry bundles, /v1/entries, and the look-up of events. The zero
	// value leaves them open.
	ReadAuth ReadAuth

	// Space, where given, says why there is too little of it for a commit, or nil. It
	// is asked at most once a second.
	Space func() error

	// TrustedProxies are the peers whose X-Forwarded-For is believed when a
	// request is charged to a client address.
	TrustedProxies []netip.Prefix

	Logger *slog.Logger

	// Registerer takes the server's metrics; Gatherer is what /metrics shows.
	// Both nil: a registry of the server's own.
	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer

	Now func() time.Time
}

// Limits bound what clients can make the server do. The zero value of a field
// means its default.
type Limits struct {
	EventBytes  int64 // body of one event: 128 KiB
	BatchBytes  int64 // body of a batch: 4 MiB
	BatchEvents int   // events in a batch: 256

	InFlight          int   // submissions under way: 8,192
	InFlightPerClient int   // and from one address: half of InFlight
	BodyBytes         int64 // bytes of bodies held, half of it by one address: 256 MiB
	Verifiers         int   // events judged at once: the number of cores

	FailuresPerSecond float64 // refused events a second an address may send for long: 100
	FailureBurst      int     // and at once: 1,000

	Wait          time.Duration // for a proof, unless Prefer says otherwise: 10 s
	MaxWait       time.Duration // the longest Prefer can ask for: 60 s
	CommitTimeout time.Duration // for an event to be durable: 30 s
	HeaderTimeout time.Duration // for the header of a request to arrive, the first on a connection from its opening on: 10 s
	BodyTimeout   time.Duration // for a body to arrive: 30 s
	IdleTimeout   time.Duration // for the next request on a connection: 2 min
	WriteTimeout  time.Duration // for an answer to be taken: 30 s

	Connections int // open at once: 16,384
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (l *Limits) setDefaults() {
	orDefault(&l.EventBytes, 128<<10)
	orDefault(&l.BatchBytes, 4<<20)
	orDefault(&l.BatchEvents, 256)
	orDefault(&l.InFlight, 8192)
	orDefault(&l.InFlightPerClient, max(1, l.InFlight/2))
	orDefault(&l.BodyBytes, 256<<20)
	orDefault(&l.Verifiers, runtime.GOMAXPROCS(0))
	orDefault(&l.FailuresPerSecond, 100)
	orDefault(&l.FailureBurst, 1000)
	orDefault(&l.Wait, 10*time.Second)
	orDefault(&l.MaxWait, 60*time.Second)
	orDefault(&l.CommitTimeout, 30*time.Second)
	orDefault(&l.HeaderTimeout, 10*time.Second)
	orDefault(&l.BodyTimeout, 30*time.Second)
	orDefault(&l.IdleTimeout, 2*time.Minute)
	orDefault(&l.WriteTimeout, 30*time.Second)
	orDefault(&l.Connections, 16384)
}

func (l *Limits) validate() error {
	switch {
	case l.EventBytes < 0 || l.BatchBytes < l.EventBytes:
		return errors.New("a batch must take at least the bytes of one event")
	case l.BatchEvents < 0 || l.InFlight < 0 || l.InFlightPerClient < 0 || l.Verifiers < 0 || l.Connections < 0:
		return errors.New("a count is negative")
	case l.BodyBytes < 2*l.BatchBytes:
		return errors.New("the bytes of bodies held must be at least twice one batch")
	case l.FailuresPerSecond < 0:
		return errors.New("failures per second are negative")
	case l.FailureBurst < l.BatchEvents:
		return errors.New("a client must be able to fail with one whole batch")
	case l.Wait < 0 || l.MaxWait < l.Wait:
		return errors.New("the longest wait must be at least the usual one")
	}
	return nil
}

// Server is the log's HTTP surface.
type Server struct {
	cfg     Config
	log     Log
	origin  string
	door    *door
	prover  *prover
	limiter *limiter
	metrics *metrics
	handler http.Handler
	space   space

	stating []*checkpoint.Verifier // keys whose signatures state a time

	// stopping ends when the server is about to stop; every waiter watches it.
	stopping context.Context
	stop     context.CancelFunc
}

// New builds a server over an open log. It reads the authority events to build
// the key directory, and fails when they do not make one.
func New(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Log == nil || cfg.Policy == nil || len(cfg.VKeys) == 0 {
		return nil, errors.New("server: Log, Policy and VKeys are required")
	}
	cfg.Limits.setDefaults()
	if err := cfg.Limits.validate(); err != nil {
		return nil, fmt.Errorf("server: limits: %w", err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Registerer == nil && cfg.Gatherer == nil {
		registry := prometheus.NewRegistry()
		cfg.Registerer, cfg.Gatherer = registry, registry
	}
	door, err := newDoor(ctx, &cfg)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s := &Server{
		cfg: cfg, log: cfg.Log, door: door, origin: door.directory.Load().Origin(),
		prover:  &prover{log: cfg.Log, policy: cfg.Policy},
		limiter: newLimiter(cfg.Limits, cfg.Now),
		space:   space{ask: cfg.Space},
	}
	if err := s.takeKeys(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s.metrics, err = newMetrics(cfg.Registerer, s)
	if err != nil {
		return nil, fmt.Errorf("server: registering metrics: %w", err)
	}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.handler = s.routes()
	return s, nil
}

// takeKeys parses the log's keys and sorts out those that state a time when they
// sign.
func (s *Server) takeKeys() error {
	keys := make([]*checkpoint.Verifier, len(s.cfg.VKeys), len(s.cfg.VKeys)+len(s.cfg.Policy.Witnesses))
	for i, vkey := range s.cfg.VKeys {
		key, err := checkpoint.ParseVKey(vkey)
		if err != nil {
			return fmt.Errorf("verifier key %q: %w", vkey, err)
		}
		keys[i] = key
	}
	for i, key := range keys {
		if !slices.ContainsFunc(s.cfg.Policy.Logs, func(l checkpoint.PolicyLog) bool { return l.Key.VKey() == s.cfg.VKeys[i] }) {
			s.prover.own = append(s.prover.own, key)
		}
	}
	for _, w := range s.cfg.Policy.Witnesses {
		keys = append(keys, w.Key)
	}
	for _, key := range keys {
		if key.Algorithm().Timestamped() {
			s.stating = append(s.stating, key)
		}
	}
	return nil
}

// Handler returns the whole surface.
func (s *Server) Handler() http.Handler { return s.handler }

// Stop releases everybody who waits for a proof, with a 202 for what is
// durable, and makes the server not ready. Serve calls it; whoever uses Handler
// with a server of its own calls it before that server's Shutdown.
func (s *Server) Stop() { s.stop() }
