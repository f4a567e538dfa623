package log

import (
	"context"
	"runtime"
	"sync"

	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// Submission is one entry that has been decided and waits for its index.
type Submission struct {
	// Identity makes two submissions the same event (entry.Identity), and
	// Content tells whether the second says the same (entry.Entry.Content).
	Identity, Content [32]byte

	// Leaf is the encoded entry with time zero. It belongs to the log from Add
	// on: the sequencer writes the time into it.
	Leaf []byte

	// Decided is the number of leaves covered by the directory with which the
	// submission was decided. It is refused with ErrDecideAgain unless that
	// directory is still the newest when the index is given.
	Decided int64

	// Authority marks a leaf that changes the directory.
	Authority bool
}

// Position is where a submission stands in the log.
type Position struct {
	Index    int64
	Time     int64 // ms since the epoch, as in the leaf
	LeafHash tlog.Hash
	Existing bool // the same event was logged before, here
}

// Pending is a submission on its way.
type Pending struct {
	sub  *Submission
	done chan struct{} // closed when position and err are set
	position
}

type position struct {
	pos Position
	err error
}

// Wait returns the position once it is durable and guarded, or why the
// submission was refused: ErrDecideAgain, *IdentityConflict, ErrDiskFull,
// ErrClock, or ErrStopped. After ErrStopped the outcome may be unknown: the
// same bytes can be submitted again. When ctx ends first its error is returned
// and the submission goes its way all the same.
func (p *Pending) Wait(ctx context.Context) (Position, error) {
	select {
	case <-p.done:
		return p.pos, p.err
	case <-ctx.Done():
		return Position{}, ctx.Err()
	}
}

func (p *Pending) resolve(pos Position, err error) {
	p.pos, p.err = pos, err
	close(p.done)
}

// pool holds what was added and not yet taken by the sequencer.
type pool struct {
	maxEntries, maxBytes int

	mu     sync.Mutex
	queue  []*Pending
	bytes  int
	closed error         // why nothing is taken any more
	wake   chan struct{} // holds a token when the sequencer should look
}

func newPool(maxEntries, maxBytes int) pool {
	return pool{maxEntries: maxEntries, maxBytes: maxBytes, wake: make(chan struct{}, 1)}
}

// Add puts a submission into the pool. It does not wait for a commit: ErrFull
// when the pool is full, ErrStopped when the log takes nothing any more.
//
// An event that is logged already is answered here, at the expense of who asks
// and not of the sequencer.
func (l *Log) Add(s *Submission) (*Pending, error) {
	if err := l.pool.refusal(); err != nil {
		return nil, err
	}
	p := &Pending{sub: s, done: make(chan struct{})}
	if l.resolveExisting(p) {
		return p, nil
	}
	if err := l.pool.add(p); err != nil {
		return nil, err
	}
	return p, nil
}

// refusal returns why nothing is taken any more, or nil.
func (p *pool) refusal() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *pool) add(pending *Pending) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil {
		return p.closed
	}
	size := len(pending.sub.Leaf)
	if len(p.queue) >= p.maxEntries || p.bytes+size > p.maxBytes {
		return ErrFull
	}
	p.queue = append(p.queue, pending)
	p.bytes += size
	p.signal()
	return nil
}

// gather lets those run that are about to add: the first of them would be committed
// alone, at the cost of a whole commit. Where nobody else is, it waits for nothing.
func (p *pool) gather() { runtime.Gosched() }

// signal wakes the sequencer. It needs no lock.
func (p *pool) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// wholeFrom is how many submissions make a batch that should end with a bundle.
const wholeFrom = 4 * tile.Width

// take removes and returns the oldest submissions, as many as fit into
// maxEntries and maxBytes with what each costs besides, at least one when there
// is one.
//
// Where many wait, those that would begin a bundle and not end it, to a log of the
// given size, are left to the next batch, which follows at once: a bundle that one
// commit makes whole is stored once.
func (p *pool) take(maxEntries, maxBytes int, size int64) []*Pending {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, bytes := 0, 0
	for n < len(p.queue) && n < maxEntries {
		leaf := len(p.queue[n].sub.Leaf)
		if n > 0 && bytes+leaf+(n+1)*entryOverhead > maxBytes {
			break
		}
		bytes += leaf
		n++
	}
	if n >= wholeFrom {
		for whole := n - int((size+int64(n))%tile.Width); n > whole; n-- {
			bytes -= len(p.queue[n-1].sub.Leaf)
		}
	}
	taken := p.queue[:n:n]
	p.bytes -= bytes
	if n == len(p.queue) {
		p.queue = nil
	} else {
		p.queue = p.queue[n:]
		p.signal()
	}
	return taken
}

// close refuses further submissions and fails those that wait.
func (p *pool) close(reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed == nil {
		p.closed = reason
	}
	for _, pending := range p.queue {
		pending.resolve(Position{}, reason)
	}
	p.queue, p.bytes = nil, 0
}

// len returns the number of submissions waiting.
func (p *pool) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}
