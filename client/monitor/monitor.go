package monitor

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/internal/durable"
	"github.com/escortlog/escortlog/client/internal/lockfile"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/prometheus/client_golang/prometheus"
)

var (
	// ErrLocked: another monitor is using the state directory.
	ErrLocked = errors.New("another monitor is using the state directory")
	// ErrStateDir: the state directory cannot be made.
	ErrStateDir = errors.New("it cannot be made")
)

// Target is a log to follow.
type Target struct {
	Origin string // that its checkpoints must have
	URL    string
	Log    audit.Log
	// Submitter takes the findings about the log; nil: they are not raised there.
	Submitter *client.Submitter
}

// Config is what a monitor needs. Policy, Targets and StateDir are required.
type Config struct {
	Policy   *checkpoint.Policy
	Targets  []Target
	StateDir string
	// Interval between the rounds of a log; 0: 10 seconds.
	Interval time.Duration
	// MaxAge is how old the newest cosignature of a checkpoint may be, and that of
	// what a witness holds; 0: 15 minutes.
	MaxAge time.Duration
	Rules  *rules.Config // nil: none are judged
	// HTTP asks witnesses and the webhook; nil: http.DefaultClient.
	HTTP *http.Client
	// GiveUp is how long to go on asking a witness that does not answer; 0: 5
	// seconds.
	GiveUp time.Duration
	// Output gets every finding as a line of JSON; nil: nobody.
	Output io.Writer
	// Webhook is a URL that gets every finding with POST; empty: none.
	Webhook string
	// Key signs findings as events of Source, for the targets with a Submitter.
	Key    crypto.Signer
	Source string

	Logger     *slog.Logger          // nil: nobody is told
	Registerer prometheus.Registerer // nil: no metrics

	Now   func() time.Time                                 // nil: time.Now
	Sleep func(ctx context.Context, d time.Duration) error // nil: a timer
}

func (c *Config) setDefaults() {
	if c.Interval == 0 {
		c.Interval = 10 * time.Second
	}
	if c.MaxAge == 0 {
		c.MaxAge = 15 * time.Minute
	}
	if c.GiveUp == 0 {
		c.GiveUp = 5 * time.Second
	}
	if c.HTTP == nil {
		c.HTTP = http.DefaultClient
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Registerer == nil {
		c.Registerer = prometheus.NewRegistry()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Sleep == nil {
		c.Sleep = pause
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Monitor follows logs. Either Run or Once is called, by one goroutine.
type Monitor struct {
	cfg       Config
	lock      *os.File
	journal   *journal
	followers []*follower
	receivers []*receiver
	metrics   *metrics
}

// Open opens or makes the state directory. The error is about it: ErrLocked, or
// one that names what is damaged.
func Open(cfg Config) (_ *Monitor, err error) {
	cfg.setDefaults()
	m := &Monitor{cfg: cfg, metrics: newMetrics(cfg.Registerer)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("opening the state directory %s: %w", cfg.StateDir, err), m.Close())
		}
	}()
	if err := durable.MakeDir(cfg.StateDir, 0o755); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStateDir, err)
	}
	if m.lock, err = lockfile.Take(m.file(fileLock), ErrLocked); err != nil {
		return nil, err
	}
	if m.journal, err = openJournal(m.file(fileFindings)); err != nil {
		return nil, err
	}
	for _, t := range cfg.Targets {
		f, err := m.follow(t)
		if err != nil {
			return nil, err
		}
		m.followers = append(m.followers, f)
	}
	if err := m.openReceivers(); err != nil {
		return nil, err
	}
	m.metrics.report(m.journal.conditions())
	return m, nil
}

func (m *Monitor) file(name string) string { return filepath.Join(m.cfg.StateDir, name) }

// Close gives the state directory free. Neither Run nor Once may be running.
func (m *Monitor) Close() error {
	var errs []error
	for _, f := range m.followers {
		errs = append(errs, f.audits.Close())
	}
	if m.journal != nil {
		errs = append(errs, m.journal.file.Close())
	}
	if m.lock != nil {
		errs = append(errs, m.lock.Close())
	}
	return errors.Join(errs...)
}

// Outcome is what one round says of all logs together.
type Outcome struct {
	Unavailable bool // a log could not be read, or a receiver not be reached
	Integrity   bool // a log is not what it signed, or lacks its quorum
	Findings    bool
	Incomplete  bool
}

// ExitCode is the code of escortlog's commands for it.
func (o Outcome) ExitCode() int {
	switch {
	case o.Unavailable:
		return audit.ExitUnavailable
	case o.Integrity:
		return audit.ExitIntegrity
	case o.Findings:
		return audit.ExitFindings
	case o.Incomplete:
		return audit.ExitIncomplete
	}
	return audit.ExitProven
}

func (o Outcome) word() string {
	return [...]string{0: "proven", 1: "findings", 2: "integrity", 3: "incomplete", 5: "unavailable"}[o.ExitCode()]
}

func (o *Outcome) add(p Outcome) {
	o.Unavailable = o.Unavailable || p.Unavailable
	o.Integrity = o.Integrity || p.Integrity
	o.Findings = o.Findings || p.Findings
	o.Incomplete = o.Incomplete || p.Incomplete
}

// Once makes one round of each log and tells every receiver what it was not told
// yet; one that cannot be reached after a few attempts is told next time.
func (m *Monitor) Once(ctx context.Context) (Outcome, error) {
	var mu sync.Mutex
	var all Outcome
	errs := make([]error, len(m.followers)+len(m.receivers))
	var work sync.WaitGroup
	for i, f := range m.followers {
		work.Go(func() {
			o, err := f.round(ctx)
			errs[i] = err
			mu.Lock()
			defer mu.Unlock()
			all.add(o)
		})
	}
	work.Wait()
	for i, r := range m.receivers {
		work.Go(func() {
			err := r.drain(ctx, fewAttempts)
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, errUndelivered) {
				all.Unavailable = true
				return
			}
			errs[len(m.followers)+i] = err
		})
	}
	work.Wait()
	return all, errors.Join(errs...)
}

// Run follows the logs until ctx ends, which is no error. Any other error is
// about the state directory or the output.
func (m *Monitor) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	start := func(do func(context.Context) error) {
		work.Go(func() {
			if err := do(ctx); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	for _, f := range m.followers {
		start(f.run)
	}
	for _, r := range m.receivers {
		start(r.run)
	}
	work.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// raise keeps findings and counts those that are new.
func (m *Monitor) raise(ctx context.Context, list ...*Finding) error {
	added, err := m.journal.add(list...)
	for _, f := range added {
		if f.Status == Raised {
			m.metrics.findings.WithLabelValues(f.Log, f.Kind, f.Severity).Inc()
		}
		m.cfg.Logger.InfoContext(ctx, "finding", "status", f.Status, "kind", f.Kind, "severity", f.Severity, "log", f.Log, "summary", f.Summary)
	}
	if len(added) > 0 {
		m.metrics.report(m.journal.conditions())
	}
	return err
}
