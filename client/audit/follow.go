package audit

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/escortlog/escortlog/client/rules"
)

// Follower audits one log again and again. Between its audits it keeps in memory
// what was verified and what the rules remember, so that each costs what is new
// in the log. What an audit gives is the same as that of Run with the same state
// directory. It must be used by one goroutine at a time.
type Follower struct {
	cfg   Config
	dir   *stateDir // nil where nothing is kept
	state *state    // nil: to be loaded

	rules  *rules.Engine // nil: have seen nothing
	newest int64         // ms, time of the newest leaf that they were given
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
	if f.state == nil {
		f.rules, f.newest = nil, 0
		f.state, f.dir, err = openState(f.cfg.StateDir)
	}
	return err
}

// Close gives the state directory free.
func (f *Follower) Close() error { return f.forget() }

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
	a := &auditor{cfg: f.cfg, state: s, changed: -1, failed: map[string]int64{}, report: &Report{Version: 1}, newest: f.newest}
	if f.cfg.Rules != nil {
		a.caughtUp = f.rules != nil
		if f.rules == nil {
			f.rules = rules.New(f.cfg.Rules)
		}
		a.rules = f.rules
	}
	a.evidence.Seen = string(s.note)
	if s.note != nil {
		head := s.head
		a.report.Previous = &head
		a.from, a.judged = head.Size, head.Size
	}
	err = a.run(ctx, f.dir)
	f.newest = a.newest
	switch {
	case a.touched && !a.saved:
		err = errors.Join(err, f.forget())
	case !a.touched && !a.caughtUp:
		f.rules = nil // have seen nothing, so the next audit must give them all
	}
	if err != nil {
		return nil, err
	}
	return a.report, nil
}
