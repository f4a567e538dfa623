package outbox

import (
	"time"
)

// trouble is why events are still pending.
type trouble struct {
	err   error
	since time.Time
	held  int
}

// note remembers what the last attempt came to. A nil error is no trouble.
func (o *Outbox) note(err error, held int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil:
		o.trouble = trouble{}
	case o.trouble.err == nil:
		o.trouble = trouble{err: err, since: o.now(), held: held}
	default:
		o.trouble.err, o.trouble.held = err, held
	}
}

// Status is how an outbox stands.
type Status struct {
	Source       string    `json:"source"`
	KeyID        string    `json:"keyid"`
	LastSequence int64     `json:"last_sequence"` // of the newest event; 0: none
	Pending      int       `json:"pending"`       // events that wait for a receipt
	PendingBytes int64     `json:"pending_bytes"`
	MaxBytes     int64     `json:"max_bytes"`
	Oldest       time.Time `json:"oldest,omitzero"` // time of the first pending event
	Logged       int64     `json:"logged"`          // events with a receipt, ever
	Refused      int64     `json:"refused"`         // events set aside, ever
	LastIndex    *int64    `json:"last_index"`      // greatest index in the log since Open; null: none
	OpenSessions []string  `json:"open_sessions"`
	// Trouble is why events are pending; empty: nothing is known to be wrong.
	Trouble string    `json:"trouble,omitempty"`
	Since   time.Time `json:"since,omitzero"` // of the trouble
}

// Status tells how the outbox stands now.
func (o *Outbox) Status() Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := Status{
		Source: o.state.Source, KeyID: o.public.KeyID(), LastSequence: o.state.Next - 1,
		Pending: len(o.pending), PendingBytes: o.bytes, MaxBytes: o.config.MaxBytes,
		Logged: o.state.Logged, Refused: o.state.Refused,
		OpenSessions: append([]string{}, o.state.Sessions...),
	}
	if len(o.pending) > 0 {
		s.Oldest = o.pending[0].at.UTC()
	}
	if o.lastIndex >= 0 {
		index := o.lastIndex
		s.LastIndex = &index
	}
	if err := o.trouble.err; err != nil {
		s.Trouble, s.Since = err.Error(), o.trouble.since.UTC()
	}
	if o.failed != nil {
		s.Trouble = ErrStopped.Error() + ": " + o.failed.Error()
	}
	return s
}
