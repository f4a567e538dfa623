package log

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
	"golang.org/x/mod/sumdb/tlog"
)

// MirrorCosigner is a Cosigner that asks mirrors (https://c2sp.org/tlog-mirror)
// too. A mirror cosigns what it holds a copy of, so the entries must be brought to it before
// the checkpoint that covers them can be published.
type MirrorCosigner interface {
	Cosigner
	// ReadFrom is called once, before the first Ask. read gives the hash tiles and, at
	// level -1, the entry bundles of every tree that Ask is called with; it may be
	// called from any goroutine until the last Ask has returned.
	ReadFrom(read tile.Reader)
}

// committed reads hash tiles and entry bundles up to the head, published or not. It is for those
// who are asked to cosign, never for readers.
func (l *Log) committed(ctx context.Context, t tile.Tile) ([]byte, error) {
	v := l.view.Load()
	if t.W < 1 || t.W > tile.WidthAt(t.Level, t.N, v.head.Size) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, t.Path())
	}
	if t.Level != tile.Entries {
		return l.readTile(ctx, v, t)
	}
	b, err := l.openBundle(ctx, v, t)
	return b.bundle, err
}

// Published is a checkpoint that the world may see: signed by the log and
// cosigned until the policy's quorum was met.
type Published struct {
	checkpoint.Checkpoint
	Note []byte    // the signed note, complete
	At   time.Time // when it was published
}

// coming is a head that is being committed. It is signed meanwhile, for signing
// takes as long as a disk: the signature is in memory and leaves only when the
// head turns out to be kept.
type coming struct {
	head Head
	done chan struct{} // closed when it is known whether the head is kept
	kept bool          // committed and guarded
}

// conclude tells those who wait. A nil coming waits for nobody.
func (c *coming) conclude(kept bool) {
	if c != nil {
		c.kept = kept
		close(c.done)
	}
}

// wait reports whether the head was kept. It returns false when ctx ends first.
func (c *coming) wait(ctx context.Context) bool {
	select {
	case <-c.done:
		return c.kept
	case <-ctx.Done():
		return false
	}
}

// publish is what has been published and who waits for more.
type publish struct {
	wake chan struct{} // holds a token when the head has moved, or is about to

	coming atomic.Pointer[coming] // the newest, concluded or not

	mu      sync.Mutex
	current *Published
	changed chan struct{} // closed and replaced whenever current changes
}

func newPublish() publish {
	return publish{wake: make(chan struct{}, 1), changed: make(chan struct{})}
}

func (p *publish) headMoved() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// announce says that head is being committed.
func (p *publish) announce(head Head) *coming {
	c := &coming{head: head, done: make(chan struct{})}
	p.coming.Store(c)
	p.headMoved()
	return c
}

// newest returns the head to be signed next: the one that is being committed,
// which must be waited for, or the committed one.
func (l *Log) newest() (Head, *coming) {
	if c := l.publish.coming.Load(); c != nil {
		select {
		case <-c.done:
		default:
			return c.head, c
		}
	}
	return l.Head(), nil
}

func (p *publish) get() (*Published, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current, p.changed
}

// set makes next the published checkpoint, unless a larger one is already.
func (p *publish) set(next *Published) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil && next.Size < p.current.Size {
		return false
	}
	p.current = next
	close(p.changed)
	p.changed = make(chan struct{})
	return true
}

// Published returns the newest published checkpoint, nil before the first one.
func (l *Log) Published() *Published {
	p, _ := l.publish.get()
	return p
}

// WaitPublished returns the newest published checkpoint as soon as it covers
// size leaves. It returns the error of ctx, or ErrStopped, when that ends first.
func (l *Log) WaitPublished(ctx context.Context, size int64) (*Published, error) {
	for {
		p, changed := l.publish.get()
		if p != nil && p.Size >= size {
			return p, nil
		}
		if err := l.haltReason(); err != nil {
			return nil, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-l.ctx.Done():
			return nil, context.Cause(l.ctx)
		}
	}
}

const (
	// roundTimeout is how long a round waits for the slowest witness.
	roundTimeout = 10 * time.Second

	// A round without a quorum is followed by another one after a while that
	// doubles from minRetry to maxRetry.
	minRetry = 250 * time.Millisecond
	maxRetry = 10 * time.Second
)

// publishing is the publisher's goroutine: it signs the newest head, has it
// cosigned, and publishes it, again and again.
func (l *Log) publishing() {
	var rounds sync.WaitGroup // late answers outlive their round
	defer rounds.Wait()
	signed := int64(-1)
	retry := minRetry
	for {
		if head, coming := l.newest(); head.Size != signed && l.haltReason() == nil {
			start := time.Now()
			cp := checkpoint.Checkpoint{Origin: l.cfg.Origin, Size: head.Size, Root: head.Root}
			note, err := l.sign(cp)
			if err != nil {
				l.stop(err)
				return
			}
			if coming != nil && !coming.wait(l.ctx) {
				if l.ctx.Err() != nil {
					return
				}
				continue // the head came to nothing, and so does its signature
			}
			met := l.round(cp, note, &rounds)
			pause := retry
			if met {
				signed, pause, retry = head.Size, 0, minRetry
				if l.cfg.Cosigner != nil {
					pause = l.cfg.PublishEvery - time.Since(start)
				}
			} else {
				retry = min(2*retry, maxRetry)
			}
			if !l.sleep(pause) {
				return
			}
			if !met {
				continue
			}
		}
		timer := time.NewTimer(l.cfg.RecosignEvery)
		select {
		case <-l.ctx.Done():
			timer.Stop()
			return
		case <-l.publish.wake:
			timer.Stop()
		case <-timer.C:
			signed = -1 // sign the unchanged head again: an idle log is visibly alive
		}
	}
}

// sleep reports whether the log still runs after d.
func (l *Log) sleep(d time.Duration) bool {
	if d <= 0 {
		return l.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// round is one head on its way to being published.
type round struct {
	log  *Log
	cp   checkpoint.Checkpoint
	note []byte          // with the log's own signatures only
	own  map[string]bool // witnesses of the policy that are the log's own keys

	mu       sync.Mutex
	cosigned map[string]checkpoint.Cosignature // by the witness's name in the policy
	met      chan struct{}                     // closed at quorum, when published
	isMet    bool
}

// round publishes cp, signed by the log in note, when the quorum is met, and
// reports whether it was.
func (l *Log) round(cp checkpoint.Checkpoint, note []byte, rounds *sync.WaitGroup) (met bool) {
	r := &round{log: l, cp: cp, note: note, cosigned: make(map[string]checkpoint.Cosignature), met: make(chan struct{})}
	r.countOwn()
	r.publish()
	if l.cfg.Cosigner == nil {
		return true
	}
	start := time.Now()
	answered := make(chan struct{})
	rounds.Go(func() {
		defer close(answered)
		ctx, cancel := context.WithTimeout(l.ctx, roundTimeout)
		defer cancel()
		prove := func(ctx context.Context, from int64) ([]tlog.Hash, error) {
			return tile.Consistency(ctx, l.tileReader(l.view.Load()), from, cp.Size)
		}
		l.cfg.Cosigner.Ask(ctx, cp, note, prove, r.got, l.remembered)
	})
	select {
	case <-r.met:
	case <-answered:
	case <-l.ctx.Done():
	}
	l.metrics.roundSeconds.Observe(time.Since(start).Seconds())
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isMet {
		l.metrics.roundsUnmet.Inc()
		l.cfg.Logger.Warn("checkpoint not published: quorum not met", "size", cp.Size, "cosigned", len(r.cosigned))
	}
	return r.isMet
}

// countOwn counts the log's own keys where the policy lists them as witnesses,
// as it does to demand the ML-DSA-44 signature too. Their lines stand in the
// note already.
func (r *round) countOwn() {
	r.own = make(map[string]bool)
	if r.log.cfg.Policy == nil {
		return
	}
	for _, w := range r.log.cfg.Policy.Witnesses {
		for _, s := range r.log.cfg.Signers {
			if w.Key.VKey() == s.VKey() {
				r.own[w.Name] = true
			}
		}
	}
}

func (l *Log) sign(cp checkpoint.Checkpoint) ([]byte, error) {
	text, now := cp.Text(), l.cfg.Now().Unix()
	lines := make([][]byte, len(l.cfg.Signers))
	for i, s := range l.cfg.Signers {
		var err error
		if lines[i], err = s.Sign(text, now); err != nil {
			return nil, fmt.Errorf("log: signing the checkpoint of size %d: %w", cp.Size, err)
		}
	}
	return checkpoint.Join(text, lines...), nil
}

// got takes one verified cosignature.
func (r *round) got(c checkpoint.Cosignature) {
	r.mu.Lock()
	r.cosigned[c.Witness] = c
	r.mu.Unlock()
	r.log.metrics.cosignatures.WithLabelValues(c.Witness).Inc()
	r.publish()
}

// publish publishes what has been gathered so far, if that meets the quorum.
func (r *round) publish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.log
	if l.haltReason() != nil {
		return
	}
	names := maps.Clone(r.own)
	for name := range r.cosigned {
		names[name] = true
	}
	if l.cfg.Policy != nil && !l.cfg.Policy.QuorumMet(names) {
		return
	}
	note := r.note
	if l.cfg.Policy != nil {
		for _, w := range l.cfg.Policy.Witnesses {
			if c, ok := r.cosigned[w.Name]; ok && !r.own[w.Name] {
				note = append(note[:len(note):len(note)], c.Line.Line()...)
			}
		}
	}
	if l.cfg.Cosigner != nil && !r.isMet {
		// A checkpoint that took a quorum cannot be made again by ourselves
		// after a restart, and serving a smaller one then would look like a
		// rollback: so it is durable before anybody sees it.
		if err := l.write(l.ctx, []storage.KV{{Key: keyPublished, Value: note}}, nil); err != nil {
			if l.ctx.Err() == nil {
				l.cfg.Logger.Warn("checkpoint not published: cannot be kept", "size", r.cp.Size, "error", err)
			}
			return
		}
	}
	if l.publish.set(&Published{Checkpoint: r.cp, Note: note, At: l.cfg.Now()}) {
		l.metrics.publishedSize.Set(float64(r.cp.Size))
		l.metrics.publishedAt.Set(float64(l.cfg.Now().Unix()))
	}
	if !r.isMet {
		r.isMet = true
		close(r.met)
	}
}

// remembered is called with a checkpoint that a witness holds. If this log
// signed it and the store does not hold that history, the log is halted: either
// the store was put back, or somebody else signs with the log's keys. A witness
// alone cannot bring this about; it takes the log's own signature.
func (l *Log) remembered(witness string, note []byte) {
	if err := l.contradicts(note); err != nil {
		l.KeepEvidence("contradiction", note)
		l.halt(fmt.Errorf("witness %s remembers otherwise: %w", witness, err))
	}
}

// contradicts returns an error wrapping ErrRollback when note bears this log's
// signature and does not agree with the store.
func (l *Log) contradicts(note []byte) error {
	text, sigs, err := checkpoint.ParseNote(note)
	if err != nil {
		return nil
	}
	own := make([]*checkpoint.Verifier, len(l.cfg.Signers))
	for i, s := range l.cfg.Signers {
		own[i] = s.Verifier()
	}
	if _, err := checkpoint.Verify(text, sigs, own...); err != nil {
		return nil
	}
	cp, err := checkpoint.Parse(text)
	if err != nil || cp.Origin != l.cfg.Origin {
		return nil
	}
	return l.holds(cp.Size, cp.Root)
}

// holds returns nil when the committed tree extends the one with this size and
// root, and an error wrapping ErrRollback that says what to do when not.
func (l *Log) holds(size int64, root tlog.Hash) error {
	v := l.view.Load()
	const wayOut = "Reads go on and nothing is signed, so nothing gets worse by waiting. Delete nothing. " +
		"Stop the log and bring back the newest copy of the data directory, or heal it from a mirror or a backup that holds as much: " +
		"escortlogd recover --data DIR --from URL. If nobody holds as much, close this log and start a successor: escortlogd init --successor-of CHECKPOINT"
	if size > v.head.Size {
		return fmt.Errorf("%w: size %d was signed, the store holds %d. %s", ErrRollback, size, v.head.Size, wayOut)
	}
	held, err := tile.Root(l.ctx, l.tileReader(v), size)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return fmt.Errorf("%w: the root of size %d cannot be computed: %w", ErrRollback, size, err)
	}
	if held != root {
		return fmt.Errorf("%w: size %d was signed with root %v, the store has %v: a fork. %s", ErrRollback, size, root, held, wayOut)
	}
	return nil
}
