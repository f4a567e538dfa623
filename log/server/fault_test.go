package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/memory"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/mod/sumdb/tlog"
)

// TestDiskFull: a commit refused for want of space is told, and the next one
// goes through.
func TestDiskFull(t *testing.T) {
	f := newFixture(t, setup{})
	envelope := f.signed()
	f.disk.OnCommit(memory.Full)
	a := f.post(typeDSSE, envelope)
	a.wantProblem(http.StatusServiceUnavailable, "disk-full")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	f.verify(envelope, f.post(typeDSSE, envelope).want(http.StatusCreated).receipt())
}

// TestDiskFullReadiness: without space for a commit the server is not ready, reads
// go on, and the space is asked for at most once a second.
func TestDiskFullReadiness(t *testing.T) {
	start := time.Now()
	var later, asked atomic.Int64 // later in ns
	var full atomic.Bool
	full.Store(true)
	f := newFixture(t, setup{config: func(c *Config) {
		c.Now = func() time.Time { return start.Add(time.Duration(later.Load())) }
		c.Space = func() error {
			asked.Add(1)
			if full.Load() {
				return storage.ErrFull
			}
			return nil
		}
	}})
	for range 3 {
		if p := f.get("/readyz").wantProblem(http.StatusServiceUnavailable, "not-ready"); !strings.Contains(p.Detail, "disk is nearly full") {
			t.Errorf("not ready: %s", p.Detail)
		}
	}
	f.get("/v1/entries/0").want(http.StatusOK)
	full.Store(false)
	f.get("/readyz").wantProblem(http.StatusServiceUnavailable, "not-ready")
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times in one second", n)
	}
	later.Store(int64(time.Second))
	f.get("/readyz").want(http.StatusOK)
}

// TestUnknownOutcome: after a commit that failed, or was applied and failed all
// the same, nothing is acknowledged and the server ends.
func TestUnknownOutcome(t *testing.T) {
	for name, outcome := range map[string]memory.Outcome{"not applied": memory.Fail, "applied": memory.FailApplied} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, setup{})
			f.disk.OnCommit(outcome)
			a := f.post(typeDSSE, f.signed())
			a.wantProblem(http.StatusServiceUnavailable, "log-stopped")
			if a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			if err := f.ended(); !errors.Is(err, log.ErrStopped) || !errors.Is(err, memory.ErrInjected) {
				t.Errorf("Serve returned %v, want why the log stopped", err)
			}
		})
	}
}

// TestClockBehind: a clock set back is told, not written into the log.
func TestClockBehind(t *testing.T) {
	var mu sync.Mutex
	now := time.Now
	f := newFixture(t, setup{log: func(c *log.Config) {
		c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now() }
	}})
	mu.Lock()
	now = func() time.Time { return time.Now().Add(-time.Hour) }
	mu.Unlock()
	f.post(typeDSSE, f.signed()).wantProblem(http.StatusServiceUnavailable, "clock-behind")
	f.get("/readyz").wantProblem(http.StatusServiceUnavailable, "not-ready")
	mu.Lock()
	now = time.Now
	mu.Unlock()
	f.post(typeDSSE, f.signed()).want(http.StatusCreated)
}

// TestPoolFull: with the sequencer stuck in a commit and the pool full, the next
// submission is told to come back.
func TestPoolFull(t *testing.T) {
	var guard *log.MemoryGuard
	f := newFixture(t, setup{log: func(c *log.Config) {
		c.PoolEntries = 1
		guard = c.Guard.(*log.MemoryGuard)
	}})
	entered, gate := make(chan struct{}), make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open) // before the log is closed, which waits for the commit
	guard.Before(func(log.Head) error {
		select {
		case entered <- struct{}{}:
			<-gate
		case <-gate:
		}
		return nil
	})
	first := f.signed()
	answered := make(chan error, 1)
	go func() {
		a, err := f.try(http.MethodPost, "/v1/events", bytes.NewReader(first), "Content-Type", typeDSSE)
		if err == nil && a.status != http.StatusCreated {
			err = fmt.Errorf("status %d: %s", a.status, a.body)
		}
		answered <- err
	}()
	<-entered // the sequencer is in a commit and stays there
	if _, err := f.log.Add(&log.Submission{Leaf: make([]byte, 100), Decided: -1}); err != nil {
		t.Fatal(err)
	}
	a := f.post(typeDSSE, f.signed())
	a.wantProblem(http.StatusServiceUnavailable, "pool-full")
	a.wantHeader("Retry-After", "1")
	open()
	f.must(<-answered)
}

func (f *fixture) inFlight() int {
	n, _ := f.server.limiter.load()
	return n
}

// lying is a log whose inclusion proofs are wrong.
type lying struct{ *log.Log }

func (l lying) Inclusion(ctx context.Context, index, size int64) ([]tlog.Hash, error) {
	hashes, err := l.Log.Inclusion(ctx, index, size)
	if len(hashes) > 0 {
		hashes[0][0] ^= 1
	}
	return hashes, err
}

// TestProofIsVerifiedBeforeItIsSent: a proof that does not verify leaves the
// server by no door.
func TestProofIsVerifiedBeforeItIsSent(t *testing.T) {
	f := newFixture(t, setup{bare: true, wrap: func(l *log.Log) Log { return lying{l} }})
	registration := f.registration(f.header(), f.gateway, testGateway)
	f.post(typeDSSE, registration).wantProblem(http.StatusInternalServerError, "proof-failed")
	f.post(typeDSSE, registration, "Accept", "text/plain").wantProblem(http.StatusInternalServerError, "proof-failed")
	f.get("/v1/entries/1/proof").wantProblem(http.StatusInternalServerError, "proof-failed")
	var got batchReceipt
	f.post(typeDSSEBatch, batch(f.signed())).want(http.StatusOK).decode(&got)
	if e := got.Entries[0]; e.Status != http.StatusInternalServerError || e.Type != problemPrefix+"proof-failed" || e.Proof != nil {
		t.Errorf("entry %+v", e)
	}
	if n := testutil.ToFloat64(f.server.metrics.proofFailures); n != 4 {
		t.Errorf("%v proof failures counted, want 4", n)
	}
}

// forged is a log that publishes what it has not signed.
type forged struct {
	*log.Log
	spoil func(note []byte) []byte
}

func (l forged) Published() *log.Published {
	pub := *l.Log.Published()
	pub.Note = l.spoil(pub.Note)
	return &pub
}

// TestCheckpointIsVerifiedBeforeItProves: also where the policy names one of the
// log's keys only, a signature of the other must be good.
func TestCheckpointIsVerifiedBeforeItProves(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"an extension added": func(note []byte) []byte { return bytes.Replace(note, []byte("\n\n"), []byte("\nextension\n\n"), 1) },
		"ML-DSA signature damaged": func(note []byte) []byte {
			note = bytes.Clone(note)
			letter := &note[len(note)-2000] // of the base64
			if *letter == 'A' {
				*letter = 'B'
			} else {
				*letter = 'A'
			}
			return note
		},
		"no signature at all": func(note []byte) []byte { return note[:bytes.Index(note, []byte("\n\n"))+2] },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, setup{bare: true, wrap: func(l *log.Log) Log { return forged{l, spoil} }, config: func(c *Config) {
				policy, err := checkpoint.ParsePolicy([]byte(c.PolicyText))
				if err != nil {
					t.Fatal(err)
				}
				c.Policy = policy
			}})
			eventually(t, "leaf 0 is published", func() bool { return f.log.Published() != nil })
			f.get("/v1/entries/0/proof").wantProblem(http.StatusInternalServerError, "proof-failed")
		})
	}
}

// broken is a log that cannot be read.
type broken struct {
	*log.Log
	err error
}

func (l *broken) Tile(ctx context.Context, t tile.Tile) ([]byte, error) {
	if l.err != nil {
		return nil, l.err
	}
	return l.Log.Tile(ctx, t)
}

func (l *broken) Bundle(ctx context.Context, t tile.Tile) ([]byte, bool, error) {
	if l.err != nil {
		return nil, false, l.err
	}
	return l.Log.Bundle(ctx, t)
}

func (l *broken) PlainBundle(ctx context.Context, t tile.Tile) ([]byte, error) {
	if l.err != nil {
		return nil, l.err
	}
	return l.Log.PlainBundle(ctx, t)
}

func (l *broken) Entry(ctx context.Context, index int64) ([]byte, error) {
	if l.err != nil {
		return nil, l.err
	}
	return l.Log.Entry(ctx, index)
}

func (l *broken) Lookup(ctx context.Context, identity [32]byte) (log.Position, [32]byte, error) {
	if l.err != nil {
		return log.Position{}, [32]byte{}, l.err
	}
	return l.Log.Lookup(ctx, identity)
}

// TestDamageIsNotServed: what cannot be read is an error, never a 404 and never
// other bytes.
func TestDamageIsNotServed(t *testing.T) {
	var b *broken
	f := newFixture(t, setup{wrap: func(l *log.Log) Log { b = &broken{Log: l}; return b }})
	for slug, err := range map[string]error{"corrupt": storage.ErrCorrupt, "internal": errors.New("input/output error"), "log-stopped": log.ErrStopped} {
		b.err = err
		for _, path := range []string{"/tile/0/000.p/1", "/tile/entries/000.p/1", "/v1/entries/0", "/v1/events?source=x&id=y"} {
			for _, coding := range []string{"gzip", "identity"} {
				a := f.get(path, "Accept-Encoding", coding)
				a.wantProblem(kindOf(slug).Status, slug)
				a.wantHeader("Content-Encoding", "")
			}
		}
	}
	// The look-up that puts identity before the directory fails: the event is
	// not refused for what may be a retry.
	b.err = errors.New("input/output error")
	f.post(typeDSSE, f.envelope(f.payload(paused(testConsole), pausedData), f.gateway)).wantProblem(http.StatusInternalServerError, "internal")
	b.err = nil
	f.post(typeDSSE, f.envelope(f.payload(paused(testConsole), pausedData), f.gateway)).wantProblem(http.StatusForbidden, event.SlugNotRegistered)
}

// blind is a log whose authority leaves cannot be read.
type blind struct {
	*log.Log
	on bool
}

func (l *blind) AuthorityCovered() int64 {
	n := l.Log.AuthorityCovered()
	if l.on {
		n++
	}
	return n
}

func (l *blind) AuthorityLeaves(ctx context.Context, from int64) ([]log.IndexedLeaf, error) {
	if l.on {
		return nil, errors.New("input/output error")
	}
	return l.Log.AuthorityLeaves(ctx, from)
}

// TestNoDirectoryNoEntry: a door that cannot know who may sign lets nobody in.
func TestNoDirectoryNoEntry(t *testing.T) {
	var b *blind
	f := newFixture(t, setup{wrap: func(l *log.Log) Log { b = &blind{Log: l}; return b }})
	b.on = true
	size := f.log.Head().Size
	f.post(typeDSSE, f.signed()).wantProblem(http.StatusInternalServerError, "internal")
	f.get("/v1/log").wantProblem(http.StatusInternalServerError, "internal")
	if f.log.Head().Size != size {
		t.Error("an event was logged")
	}
}

// TestDamagedAuthority: authority leaves that do not follow from each other make
// no directory, and no server.
func TestDamagedAuthority(t *testing.T) {
	f := newFixture(t, setup{})
	config := f.server.cfg
	config.Registerer, config.Gatherer = nil, nil
	config.Log = shuffled{f.log}
	if _, err := New(t.Context(), config); err == nil || !strings.Contains(err.Error(), "fsck") {
		t.Errorf("New = %v, want an error that says what to do", err)
	}
}

type shuffled struct{ *log.Log }

func (l shuffled) AuthorityLeaves(ctx context.Context, from int64) ([]log.IndexedLeaf, error) {
	leaves, err := l.Log.AuthorityLeaves(ctx, from)
	return leaves[1:], err
}

// panicking is a log with a bug.
type panicking struct{ *log.Log }

func (l panicking) Tile(context.Context, tile.Tile) ([]byte, error) { panic("a bug") }

func TestPanicIsAProblem(t *testing.T) {
	f := newFixture(t, setup{bare: true, wrap: func(l *log.Log) Log { return panicking{l} }})
	f.get("/tile/0/000.p/1").wantProblem(http.StatusInternalServerError, "internal")
	f.get("/healthz").want(http.StatusOK)
}

// restless is a log whose directory changes under every decision.
type restless struct{ *log.Log }

func (l restless) Add(s *log.Submission) (*log.Pending, error) {
	s.Decided--
	return l.Log.Add(s)
}

// TestDecidingAgainIsBounded: the door does not go round for ever.
func TestDecidingAgainIsBounded(t *testing.T) {
	f := newFixture(t, setup{bare: true, wrap: func(l *log.Log) Log { return restless{l} }})
	a := f.post(typeDSSE, f.registration(f.header(), f.gateway, testGateway))
	a.wantProblem(http.StatusServiceUnavailable, "overloaded")
	a.wantHeader("Retry-After", "1")
}

func TestConfigIsChecked(t *testing.T) {
	f := newFixture(t, setup{})
	for name, change := range map[string]func(*Config){
		"no log":                   func(c *Config) { c.Log = nil },
		"no policy":                func(c *Config) { c.Policy = nil },
		"no verifier keys":         func(c *Config) { c.VKeys = nil },
		"batch smaller than event": func(c *Config) { c.Limits.BatchBytes = 1000 },
		"bytes for one batch only": func(c *Config) { c.Limits.BodyBytes = c.Limits.BatchBytes },
		"burst below a batch":      func(c *Config) { c.Limits.FailureBurst = 10 },
		"negative count":           func(c *Config) { c.Limits.InFlight = -1 },
		"negative rate":            func(c *Config) { c.Limits.FailuresPerSecond = -1 },
		"waits swapped":            func(c *Config) { c.Limits.Wait = 2 * c.Limits.MaxWait },
		"metrics registered twice": func(c *Config) {},
	} {
		config := f.server.cfg
		change(&config)
		if _, err := New(t.Context(), config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
