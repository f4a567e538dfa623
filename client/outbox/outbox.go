package outbox

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/internal/durable"
	"github.com/escortlog/escortlog/client/internal/lockfile"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// Log takes events; a *client.Submitter with a policy is one.
type Log interface {
	// Submit is that of client.Submitter.
	Submit(ctx context.Context, events ...*entry.Envelope) ([]client.Result, error)
}

// Config says what an outbox is for.
type Config struct {
	// Dir is the directory; it is made where it is missing.
	Dir string
	// Source is the source attribute of all events: an absolute URI. A directory
	// is that of one source for ever.
	Source string
	// Key signs the events. It must be registered for Source.
	Key crypto.Signer
	// Log is where the events go. A receipt counts only if it satisfies the
	// policy of a client.Submitter, so that needs one.
	Log Log
	// MaxBytes bounds what waits in the outbox; 0 means 64 MiB. An event takes
	// about 4/3 of its payload and 400 bytes.
	MaxBytes int64
	// AllowOpaque accepts event types that are not known here, for logs whose
	// leaf 0 does.
	AllowOpaque bool
	// Heartbeat is how often Run sends source.heartbeat, in whole seconds; 0
	// means never.
	Heartbeat time.Duration
	// OpenSessions gives the open sessions of a heartbeat. Nil: those that were
	// appended as session.started and not yet as session.ended.
	OpenSessions func() []string
	// Period is how long the periods are that Run closes with their totals, in
	// whole minutes from the epoch; 0 means none. A period is closed once
	// everything that happened in it has been logged or refused. What is
	// appended with an earlier time after that is logged all the same, and
	// auditors will ask about it.
	Period time.Duration
	// Logger is told what goes wrong; nil means nobody is.
	Logger *slog.Logger
}

// Errors of Append and Open that a caller acts on.
var (
	// ErrFull: MaxBytes are waiting. Append again when some of it was delivered,
	// or use AppendWait.
	ErrFull = errors.New("outbox: full, because the log does not take events as fast as they come")
	// ErrLocked: another process writes to this outbox.
	ErrLocked = errors.New("outbox: in use by another process")
	// ErrClosed: Close has been called.
	ErrClosed = errors.New("outbox: closed")
	// ErrStopped: the disk failed, and only opening the outbox again tells what
	// it holds. The cause is wrapped beside it.
	ErrStopped = errors.New("outbox: stopped after a failure of the disk")
	// ErrDuplicate: the id was given to another event of this source before.
	ErrDuplicate = errors.New("outbox: another event has this id")
)

const (
	defaultMaxBytes = 64 << 20

	typeHeartbeat = event.Prefix + "source.heartbeat.v1"
	typePeriod    = event.Prefix + "period.closed.v1"
	typeGap       = event.Prefix + "source.gap.v1"
	typeStarted   = event.Prefix + "session.started.v1"
	typeEnded     = event.Prefix + "session.ended.v1"
)

// Event is what a caller knows of an event. The rest (source, sequence,
// prevhash, recordedtime, signature) is the outbox's.
type Event struct {
	// ID is a UUIDv7 or ULID; empty: a fresh one. A caller that may append the
	// same event twice gives one: the second time it gets the first ticket, as
	// long as the event is pending or among the last few thousand.
	ID      string
	Type    string    // full name
	Subject string    // such as "session/s-1"
	Time    time.Time // when it happened; zero: now
	// DataSchema is needed only for types that are not known here.
	DataSchema string
	// Extensions are further attributes, such as correlationid.
	Extensions map[string]string
	// Data is marshalled as JSON; a json.RawMessage is compacted.
	Data any
}

// Ticket names an event that is safe in the outbox.
type Ticket struct {
	Sequence int64  `json:"sequence"` // in its source, from 1
	ID       string `json:"id"`
}

// Outbox is an open outbox. Its methods may be used by several goroutines at
// once; the order of the source is that in which Append took them.
type Outbox struct {
	config Config
	public *event.PublicKey
	lock   *os.File

	// syncMu is held while the file is synced or replaced. It is taken before mu.
	syncMu sync.Mutex

	mu         sync.Mutex // covers all that follows
	journal    *journal
	written    int64 // frames written since Open, synced or not
	synced     int64 // of these, how many are durable
	failed     error // final
	closed     bool
	state      state
	pending    []*item // in order of sequence
	bySequence map[int64]*item
	bytes      int64 // of pending
	recent     map[string]remembered
	recentIDs  []string
	room       chan struct{} // closed and replaced when something was settled
	trouble    trouble
	lastIndex  int64 // of what was logged since Open; -1: nothing

	wake chan struct{} // something can be sent
	tock chan struct{} // something was settled

	// Replaced by tests.
	now   func() time.Time
	pause func(ctx context.Context, d time.Duration) error
	sync  func(*os.File) error
}

// Open opens the outbox in a directory, or makes it there. Errors wrap
// ErrLocked, ErrCorrupt, or say what is wrong with the Config.
func Open(c Config) (*Outbox, error) { return open(c, (*os.File).Sync) }

func open(c Config, sync func(*os.File) error) (*Outbox, error) {
	o := &Outbox{
		config: c, bySequence: make(map[int64]*item), recent: make(map[string]remembered), lastIndex: -1,
		room: make(chan struct{}), wake: make(chan struct{}, 1), tock: make(chan struct{}, 1),
		now: time.Now, pause: pause, sync: sync,
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := durable.MakeDir(c.Dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if o.lock, err = lockfile.Take(filepath.Join(c.Dir, "lock"), ErrLocked); err != nil {
		return nil, err
	}
	if err := o.load(); err != nil {
		return nil, errors.Join(err, o.lock.Close())
	}
	o.signal(o.wake)
	return o, nil
}

// check refuses a Config with which no event could be made.
func (o *Outbox) check() error {
	c := &o.config
	if c.Key == nil || c.Log == nil || c.Dir == "" {
		return errors.New("outbox: a directory, a key and a log are needed")
	}
	if s, ok := c.Log.(*client.Submitter); ok && s.Policy == nil {
		return errors.New("outbox: the submitter needs a policy: without one no receipt proves anything, and nothing could ever leave the outbox")
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultMaxBytes
	}
	if c.MaxBytes < 0 || c.Heartbeat < 0 || c.Heartbeat%time.Second != 0 || c.Period < 0 || c.Period%time.Minute != 0 {
		return errors.New("outbox: the heartbeat must be whole seconds, the period whole minutes, and no bound negative")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if o.public, err = event.NewPublicKey(c.Key.Public()); err != nil {
		return err
	}
	_, err = event.Build(event.Attributes{
		ID: event.NewUUIDv7(0, [10]byte{}), Source: c.Source, Type: typeHeartbeat, Subject: "source/" + c.Source, Time: time.UnixMilli(0),
	}, map[string]any{})
	if err != nil {
		return fmt.Errorf("outbox: no event can have this source: %w", err)
	}
	return nil
}

// load reads the directory, and makes what is not there.
func (o *Outbox) load() error {
	for _, dir := range []string{receiptsDir, refusedDir, evidenceDir} {
		if err := os.MkdirAll(filepath.Join(o.config.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	if err := durable.SyncDir(o.config.Dir); err != nil {
		return err
	}
	name := filepath.Join(o.config.Dir, logName)
	j, err := openJournal(name, o.sync, func(body []byte, p place) error {
		r, err := parseRecord(body)
		if err != nil {
			return err
		}
		return o.apply(r, p, 0)
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		o.state = state{Source: o.config.Source, Next: 1}
		return o.rewrite()
	case err != nil:
		return err
	}
	o.journal = j
	if o.state.Source == "" {
		err = fmt.Errorf("%w: %s holds no state", ErrCorrupt, name)
	} else if o.state.Source != o.config.Source {
		err = fmt.Errorf("outbox: %s is that of the source %s: use another directory for %s", o.config.Dir, o.state.Source, o.config.Source)
	}
	if err != nil {
		return errors.Join(err, j.file.Close())
	}
	if o.config.Period == 0 { // nothing is counted that nobody will state
		o.state.Period, o.state.Minutes = time.Time{}, nil
	}
	return nil
}

// Append gives an event its place in the source, signs it, and returns once it
// is durable. ErrFull is returned at once. An event that no log would take is
// refused with an *event.Error, and uses up no number. After any other error but
// ErrClosed, ErrDuplicate and ErrFull it is unknown whether the event is in the
// outbox.
func (o *Outbox) Append(e Event) (Ticket, error) {
	o.mu.Lock()
	t, mark, err := o.add(e, record{}, o.config.MaxBytes)
	o.mu.Unlock()
	if err != nil {
		return Ticket{}, err
	}
	return t, o.syncTo(mark)
}

// AppendWait is Append, but waits for room as long as ctx allows.
func (o *Outbox) AppendWait(ctx context.Context, e Event) (Ticket, error) {
	for {
		o.mu.Lock()
		room := o.room
		o.mu.Unlock()
		t, err := o.Append(e)
		if !errors.Is(err, ErrFull) {
			return t, err
		}
		select {
		case <-room:
		case <-ctx.Done():
			return Ticket{}, fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}

// add writes an event, with whatever else of r becomes true with it, and returns
// the mark to sync to. mu is held.
func (o *Outbox) add(e Event, r record, limit int64) (Ticket, int64, error) {
	if err := o.usable(); err != nil {
		return Ticket{}, 0, err
	}
	v, ev, err := o.build(e)
	if err != nil {
		return Ticket{}, 0, err
	}
	if known, ok := o.recent[ev.ID]; ok {
		if known.content != contentOf(ev) {
			return Ticket{}, 0, fmt.Errorf("%w: %s, number %d", ErrDuplicate, ev.ID, known.ticket.Sequence)
		}
		return known.ticket, o.written, nil
	}
	r.Events = append(r.Events, stored{Sequence: o.state.Next, Envelope: v.Marshal()})
	body, err := marshalRecord(&r)
	if err != nil {
		return Ticket{}, 0, err
	}
	if o.bytes+int64(len(body)) > limit {
		return Ticket{}, 0, fmt.Errorf("%w: %d events, %d bytes", ErrFull, len(o.pending), o.bytes)
	}
	if err := o.write(&r, body); err != nil {
		return Ticket{}, 0, err
	}
	return Ticket{Sequence: o.state.Next - 1, ID: ev.ID}, o.written, nil
}

// write appends a frame and applies it. mu is held.
func (o *Outbox) write(r *record, body []byte) error {
	p, err := o.journal.append(body)
	if err != nil {
		if errors.Is(err, errTorn) {
			o.failed = err
		}
		return fmt.Errorf("outbox: writing to %s: %w", o.config.Dir, err)
	}
	o.written++
	if err := o.apply(r, p, o.written); err != nil {
		// It would be refused in the same way when the outbox is opened again.
		o.failed = err
		return fmt.Errorf("%w: %w", ErrStopped, err)
	}
	return nil
}

func (o *Outbox) usable() error {
	switch {
	case o.failed != nil:
		return fmt.Errorf("%w: %w", ErrStopped, o.failed)
	case o.closed:
		return ErrClosed
	}
	return nil
}

// syncTo returns when the frames up to mark are durable. Those who wait while
// one syncs are served by the next sync together.
func (o *Outbox) syncTo(mark int64) error {
	o.syncMu.Lock()
	defer o.syncMu.Unlock()
	o.mu.Lock()
	done, target, file, failed := o.synced >= mark, o.written, o.journal.file, o.failed
	o.mu.Unlock()
	switch {
	case done:
		return nil
	case failed != nil:
		return fmt.Errorf("%w: %w", ErrStopped, failed)
	}
	err := o.sync(file)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		// Whether the bytes are on disk is unknown, also after a second sync
		// that succeeds. They are never sent.
		o.failed = err
		return fmt.Errorf("%w: %w", ErrStopped, err)
	}
	o.synced = target
	o.signal(o.wake)
	return nil
}

// Close makes everything durable and lets the directory go. Run must have
// returned.
func (o *Outbox) Close() error {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return nil
	}
	o.closed = true
	mark := o.written
	o.mu.Unlock()
	err := o.syncTo(mark)
	o.syncMu.Lock()
	defer o.syncMu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.room)
	o.room = make(chan struct{})
	return errors.Join(err, o.journal.file.Close(), o.lock.Close())
}

// signal sets a flag that one goroutine waits for.
func (o *Outbox) signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
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
