package audit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/escortlog/escortlog/log/event"
)

// Follower audits one log again and again. Between its audits it keeps in memory
// what was verified and what the rules remember, so that each costs what is new
// in the log. What an audit gives is the same as that of Run with the same state
// directory. It must be used by one goroutine at a time.
type Follower struct {
	cfg   Config
	dir   *stateDir // nil where nothing is kept
	state *state    // nil: to be loaded

	rules     *judged // nil: none are judged
	kept      int64   // size up to which what they remember is in its file
	keptBytes int64   // length of that file
}

// Follow opens the state directory, and keeps it locked until Close. The error
// is about that directory: ErrLocked, a damaged or unreadable one.
func Follow(cfg Config) (*Follower, error) {
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if cfg.Fetches <= 0 {
		cfg.Fetches = 8
	}
	if cfg.verify == nil {
		cfg.verify = event.SigJob.Verify
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.EvidenceDir == "" {
		cfg.EvidenceDir = cfg.StateDir
	}
	f := &Follower{cfg: cfg}
	return f, f.load()
}

func (f *Follower) load() (err error) {
	if f.state != nil {
		return nil
	}
	if f.state, f.dir, err = openState(f.cfg.StateDir); err != nil {
		return err
	}
	if f.cfg.Rules != nil {
		f.loadRules()
	}
	f.state.founding = nil
	return nil
}

func (f *Follower) notice(format string, args ...any) {
	if f.cfg.Notice != nil {
		f.cfg.Notice(fmt.Sprintf(format, args...))
	}
}

// Close keeps what the rules remember, and gives the state directory free.
func (f *Follower) Close() error {
	var err error
	if f.state != nil {
		err = f.keepRules(true)
	}
	return errors.Join(err, f.forget())
}

// forget drops what is in memory, which may hold more than what passed.
func (f *Follower) forget() error {
	var err error
	if f.state != nil {
		err = f.state.close()
	}
	err = errors.Join(err, f.dir.close())
	f.state, f.rules, f.dir = nil, nil, nil
	return err
}

// Audit reads and checks what is new in the log. The report and the error are
// those of Run. After anything but proven leaves the next audit begins from the
// state directory again.
func (f *Follower) Audit(ctx context.Context) (_ *Report, err error) {
	if err := f.load(); err != nil {
		return nil, err
	}
	s := f.state
	a := &auditor{cfg: f.cfg, state: s, rules: f.rules, changed: -1, failed: map[string]int64{}, report: &Report{Version: 1}}
	a.evidence.Seen = string(s.note)
	if s.note != nil {
		head := s.head
		a.report.Previous = &head
		a.from, a.judged = head.Size, head.Size
	}
	err = a.run(ctx, f.dir)
	switch {
	case a.saved:
		err = errors.Join(err, f.keepRules(false))
	case a.touched:
		err = errors.Join(err, f.forget())
	}
	if err != nil && !a.reached {
		return nil, err
	}
	return a.report, err
}
