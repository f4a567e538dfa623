package log

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/storage"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/tlog"
)

var (
	// ErrFull says that the pool takes no more for now: try again later.
	ErrFull = errors.New("log: too many submissions are waiting")

	// ErrDiskFull says that the store refused a commit for want of space.
	// Nothing was logged.
	ErrDiskFull = errors.New("log: the disk is nearly full")

	// ErrClock says that the clock is more than a minute behind the newest
	// leaf. Nothing is logged until it has caught up or been set.
	ErrClock = errors.New("log: the clock is behind the log")

	// ErrStopped says that the log takes nothing any more: it was closed, was
	// halted, or met an error after which the state of the store is unknown.
	ErrStopped = errors.New("log: stopped")

	// ErrDecideAgain says that an authority leaf was sequenced after the
	// submission was decided: decide with the newer directory and add again.
	ErrDecideAgain = errors.New("log: the directory has changed since this was decided")

	// ErrNotFound says that there is no such leaf, tile or identity within the
	// published log.
	ErrNotFound = errors.New("log: not found")

	// ErrNotPublished says that the leaf is logged and no published checkpoint
	// covers it yet.
	ErrNotPublished = errors.New("log: not yet published")
)

// ErrRollback is wrapped by the reason why a log is halted: somebody remembers
// a longer or another history under this log's name.
var ErrRollback = errors.New("log: the store does not hold what was already acknowledged or signed")

// IdentityConflict is the error for a submission whose identity is logged with
// other content: its source tells two stories under one id.
type IdentityConflict struct {
	Index int64 // of the leaf that was first
}

func (e *IdentityConflict) Error() string {
	return fmt.Sprintf("log: leaf %d has the same source and id and other content", e.Index)
}

// A Cosigner asks the witnesses of the policy. witness/cosign implements it.
type Cosigner interface {
	// Ask sends note, which bears the log's own signatures only, to every
	// witness at once. It calls got, from any goroutine, with each cosignature
	// that it has verified, and returns when all witnesses have answered or
	// failed or ctx has ended. prove gives the consistency proof from an older
	// size to that of cp. When a witness turns out to hold a checkpoint that
	// this log signed and that contradicts cp, remembers is called with it.
	Ask(ctx context.Context, cp checkpoint.Checkpoint, note []byte,
		prove func(ctx context.Context, from int64) ([]tlog.Hash, error),
		got func(checkpoint.Cosignature),
		remembers func(witness string, note []byte))

	// Remembered asks each witness for the newest checkpoint of this log that
	// it holds and calls got, from any goroutine, with those that bear this
	// log's valid signature. The error names the witnesses that could not be
	// asked.
	Remembered(ctx context.Context, got func(witness string, note []byte)) error
}

// Config is what Open needs.
type Config struct {
	Origin string

	Store storage.Store // owned by the caller, closed after the log
	Guard Guard         // owned by the caller, closed after the log

	// Signers sign every checkpoint, in this order: Ed25519 first, so that any
	// client can read it, then ML-DSA-44.
	Signers []*checkpoint.Signer

	// Policy is the quorum that a checkpoint needs to be published; nil asks
	// for none. Cosigner gathers it; required when the policy needs witnesses.
	Policy   *checkpoint.Policy
	Cosigner Cosigner

	// PoolEntries and PoolBytes bound the pool; the defaults are 16,384
	// submissions and 64 MiB.
	PoolEntries int
	PoolBytes   int

	// PublishEvery is the least time between two rounds of witnesses, 100 ms
	// by default. RecosignEvery is when an unchanged head is cosigned again,
	// 10 min by default.
	PublishEvery  time.Duration
	RecosignEvery time.Duration

	Now        func() time.Time      // default time.Now
	Logger     *slog.Logger          // default: discard
	Registerer prometheus.Registerer // default: none
}

func (c *Config) setDefaults() {
	if c.PoolEntries == 0 {
		c.PoolEntries = 16384
	}
	if c.PoolBytes == 0 {
		c.PoolBytes = 64 << 20
	}
	if c.PublishEvery == 0 {
		c.PublishEvery = 100 * time.Millisecond
	}
	if c.RecosignEvery == 0 {
		c.RecosignEvery = 10 * time.Minute
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

func (c *Config) check() error {
	switch {
	case c.Origin == "":
		return errors.New("log: an origin is required")
	case c.Store == nil || c.Guard == nil:
		return errors.New("log: a store and a guard are required")
	case len(c.Signers) == 0:
		return errors.New("log: at least one signer is required")
	case c.Policy != nil && c.Policy.NeedsWitnesses() && c.Cosigner == nil:
		return errors.New("log: the policy needs witnesses and there is nobody to ask them")
	}
	for _, s := range c.Signers {
		if name := s.Verifier().Name(); name != c.Origin {
			return fmt.Errorf("log: signer is named %q, not %q", name, c.Origin)
		}
	}
	return nil
}

// view is what readers see: the state after one commit. It is never changed.
type view struct {
	head    Head
	edge    edge
	partial partial
}

// partial is what is stored of the bundle at the edge, for the commit that will
// complete it. It is a value as the edge is.
type partial struct {
	starts     []int64 // of its runs, and so of its identities
	identities []byte  // of all its entries
}

// Log is an open log. Its methods may be called from any number of goroutines.
type Log struct {
	cfg     Config
	metrics *metrics

	pool pool

	// view is replaced by the sequencer after each commit.
	view atomic.Pointer[view]

	// identities is written by the sequencer, read by Lookup.
	identitiesMu sync.RWMutex
	identities   identityIndex

	opened   openedBundles
	nodes    nodeCache
	evidence evidence
	extras   extras  // writes that ride along with the next commit
	publish  publish // what has been published, and who waits for it

	unsealed unsealed // complete bundles in runs, for the sealer

	ctx      context.Context // ends when the log stops
	cancel   context.CancelCauseFunc
	stopOnce sync.Once
	running  sync.WaitGroup

	haltMu sync.Mutex
	halted error // why commits and signatures are refused, or nil
}

// Head returns the newest committed head. It may be ahead of what is published.
func (l *Log) Head() Head { return l.view.Load().head }

// AuthorityCovered returns the index after the newest committed authority leaf.
func (l *Log) AuthorityCovered() int64 { return l.view.Load().head.Covered }

// Ready returns nil when the log takes submissions, and the reason why not
// otherwise.
func (l *Log) Ready() error {
	if err := l.haltReason(); err != nil {
		return err
	}
	if err := context.Cause(l.ctx); err != nil {
		return err
	}
	return l.checkClock(l.cfg.Now().UnixMilli(), l.Head().Time)
}

// Done is closed when the log has stopped for good. A halted log has not: it
// still serves readers.
func (l *Log) Done() <-chan struct{} { return l.ctx.Done() }

// Err returns why the log stopped, nil while it runs, ErrStopped after Close.
func (l *Log) Err() error { return context.Cause(l.ctx) }

// Close takes no more submissions, releases every waiter, and returns when all
// of the log's goroutines have ended. What was acknowledged is durable already.
func (l *Log) Close() error {
	l.stop(ErrStopped)
	l.running.Wait()
	return nil
}

// stop ends the log. Only the first reason counts.
func (l *Log) stop(reason error) {
	l.stopOnce.Do(func() {
		if !errors.Is(reason, ErrStopped) {
			l.cfg.Logger.Error("log stopped", "error", reason)
			reason = fmt.Errorf("%w: %w", ErrStopped, reason)
		}
		l.cancel(reason)
		l.pool.close(reason)
	})
}

// halt refuses commits and signatures from now on and keeps serving readers.
func (l *Log) halt(reason error) {
	l.haltMu.Lock()
	defer l.haltMu.Unlock()
	if l.halted != nil {
		return
	}
	l.halted = fmt.Errorf("%w: %w", ErrStopped, reason)
	l.metrics.halted.Set(1)
	l.cfg.Logger.Error("log halted: reads go on, nothing is committed or signed", "error", reason)
	l.pool.close(l.halted)
}

func (l *Log) haltReason() error {
	l.haltMu.Lock()
	defer l.haltMu.Unlock()
	return l.halted
}

// maxClockLag is how far, in milliseconds, the clock may be behind the newest
// leaf before the log refuses to go on.
const maxClockLag = 60_000

func (l *Log) checkClock(nowMS, newest int64) error {
	if nowMS < newest-maxClockLag {
		return fmt.Errorf("%w: it shows %s and the newest leaf has %s. Set the clock, or wait", ErrClock,
			time.UnixMilli(nowMS).UTC().Format(time.RFC3339), time.UnixMilli(newest).UTC().Format(time.RFC3339))
	}
	return nil
}
