package log

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
)

// entryOverhead is what one entry costs in a batch besides its own bytes, at
// most: its length, identity, share of the hash tiles, and share of the keys
// when every entry has a run of its own.
const entryOverhead = 128

// sequence is the one goroutine that owns the tree. Batches size themselves:
// while one is being committed the next one gathers in the pool.
func (l *Log) sequence() {
	limits := l.cfg.Store.Limits()
	maxBytes := int(min(limits.Bytes/2, 32<<20))
	maxEntries := min(limits.Keys/4, maxBytes/entryOverhead)
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-l.pool.wake:
			l.pool.gather()
		}
		batch := l.pool.take(maxEntries, maxBytes, l.Head().Size)
		riding := l.extras.take()
		if len(batch) == 0 && len(riding) == 0 {
			continue
		}
		if err := l.commit(batch, riding); err != nil {
			l.stop(err)
			return
		}
		if l.extras.waiting() {
			l.pool.signal()
		}
	}
}

// group is one commit being built.
type group struct {
	edge edge // a copy of the committed one, appended to
	head Head

	coming *coming // the head, announced; nil when it does not move

	accepted  []*Pending
	positions []Position

	// byIdentity finds the duplicates within the group, repeats resolves them
	// once the commit is done.
	byIdentity map[[32]byte]int
	repeats    []repeat

	put    []storage.KV
	remove [][]byte

	partial  partial // copied and appended to, as the edge is
	runStart int64   // index of the first entry of the run being gathered

	// packed are the bundles that the group completes and seals. unsealed is the
	// one that it completes and leaves in runs, or -1.
	packed   []*packedBundle
	packing  sync.WaitGroup
	maxLate  int // bytes of a bundle begun before the group that is sealed with it
	unsealed int64
}

// packedBundle is a bundle to be sealed. The goroutine that packs it owns it until
// packing is done.
type packedBundle struct {
	n               int64
	entries, sealed []byte
}

// maxLate keeps a small commit quick that happens to complete a bundle of large
// entries: of more than that, the sealer takes care.
const maxLate = 1 << 20

// newGroup begins a group on top of what is committed.
func newGroup(v *view, limits storage.Limits) *group {
	return &group{edge: v.edge, head: v.head, partial: v.partial, runStart: v.head.Size,
		maxLate: int(min(limits.Bytes/8, maxLate)), unsealed: -1}
}

type repeat struct {
	pending *Pending
	of      int // index into accepted
}

// commit gives the submissions their indexes, makes them durable and guarded,
// and resolves them. An error means that the state of the store is unknown: the
// log must stop. Everything else is told to the submissions.
func (l *Log) commit(batch []*Pending, riding []extra) error {
	start := time.Now()
	old := l.view.Load()
	now := l.cfg.Now().UnixMilli()
	if err := l.refusal(now, old.head.Time); err != nil {
		for _, p := range batch {
			p.resolve(Position{}, err)
		}
		batch = nil
		if l.haltReason() != nil {
			resolveExtras(riding, err)
			return nil
		}
	}
	g := newGroup(old, l.cfg.Store.Limits())
	g.byIdentity = make(map[[32]byte]int, len(batch))
	g.head.Time = max(now, old.head.Time)
	for _, p := range batch {
		l.place(g, p)
	}
	if len(g.accepted) == 0 {
		g.head = old.head // the clock alone moves nothing
		if len(riding) == 0 {
			return nil
		}
	}
	g.finish()
	if g.head != old.head {
		g.coming = l.publish.announce(g.head)
	}

	b := &storage.Batch{OldHead: old.head.marshal(), NewHead: g.head.marshal(), Put: g.put, Delete: g.remove}
	for _, x := range riding {
		b.Put = append(b.Put, x.put...)
		b.Delete = append(b.Delete, x.remove...)
	}
	// The commit point. The context is the background one: a commit that has
	// begun is never abandoned half way for the sake of a shutdown.
	if err := l.cfg.Store.Commit(context.Background(), b); err != nil {
		return l.commitFailed(g, riding, err)
	}
	committed := time.Now()
	if g.head != old.head {
		// Before anything leaves: if the store is ever put back to before this
		// commit, the guard knows.
		if err := l.cfg.Guard.Advance(g.head); err != nil {
			g.fail(fmt.Errorf("%w: %w", ErrStopped, err))
			resolveExtras(riding, err)
			return fmt.Errorf("log: committed size %d, and the guard could not be advanced: %w", g.head.Size, err)
		}
	}
	l.metrics.commitSeconds.Observe(committed.Sub(start).Seconds())
	l.metrics.guardSeconds.Observe(time.Since(committed).Seconds())
	l.release(g)
	resolveExtras(riding, nil)
	return nil
}

// refusal returns why no submission can be taken now, or nil.
func (l *Log) refusal(nowMS, newest int64) error {
	if err := l.haltReason(); err != nil {
		return err
	}
	return l.checkClock(nowMS, newest)
}

// commitFailed tells the submissions. It returns nil when nothing was applied
// and the log can go on, the error otherwise.
func (l *Log) commitFailed(g *group, riding []extra, err error) error {
	err = fmt.Errorf("log: committing size %d: %w", g.head.Size, err)
	if errors.Is(err, storage.ErrFull) {
		l.metrics.refusedCommits.Inc()
		g.fail(fmt.Errorf("%w: %w", ErrDiskFull, err))
		resolveExtras(riding, err)
		return nil
	}
	g.fail(fmt.Errorf("%w: %w", ErrStopped, err))
	resolveExtras(riding, err)
	return err
}

// place decides over one submission: it is resolved at once, or waits for the
// commit as a new leaf or as a repeat of one.
func (l *Log) place(g *group, p *Pending) {
	s := p.sub
	if i, ok := g.byIdentity[s.Identity]; ok {
		if g.accepted[i].sub.Content != s.Content {
			p.resolve(Position{}, &IdentityConflict{Index: g.positions[i].Index})
			return
		}
		g.repeats = append(g.repeats, repeat{p, i})
		return
	}
	if l.resolveExisting(p) {
		return
	}
	switch {
	case s.Decided != g.head.Covered:
		p.resolve(Position{}, ErrDecideAgain)
	case g.head.Size >= maxLeaves:
		p.resolve(Position{}, fmt.Errorf("%w: it holds %d leaves and takes no more. Start a successor", ErrFull, g.head.Size))
	default:
		g.append(p)
	}
}

// resolveExisting resolves a submission whose event is logged already, as a
// repeat or as a conflict, and reports whether it did.
func (l *Log) resolveExisting(p *Pending) bool {
	pos, content, err := l.Lookup(context.Background(), p.sub.Identity)
	switch {
	case errors.Is(err, ErrNotFound):
		return false
	case err != nil:
		p.resolve(Position{}, fmt.Errorf("log: looking the event up: %w", err))
	case content != p.sub.Content:
		p.resolve(Position{}, &IdentityConflict{Index: pos.Index})
	default:
		p.resolve(pos, nil)
	}
	return true
}

// append makes the submission the next leaf.
func (g *group) append(p *Pending) {
	s := p.sub
	entry.SetTime(s.Leaf, g.head.Time)
	pos := g.appendLeaf(s.Leaf, s.Identity, s.Authority)
	g.byIdentity[s.Identity] = len(g.accepted)
	g.accepted = append(g.accepted, p)
	g.positions = append(g.positions, pos)
}

// appendLeaf makes the encoded entry the next leaf, with all that is stored of
// it.
func (g *group) appendLeaf(leaf []byte, identity [32]byte, authority bool) Position {
	index := g.head.Size
	if index%tile.Width == 0 {
		g.cutRun()
		g.partial = partial{identities: make([]byte, 0, tile.Width*len(identity))}
	}
	leafHash := entry.LeafHash(leaf)
	g.edge.appendLeaf(leaf, leafHash, func(level int, n int64, data []byte) {
		g.put = append(g.put, storage.KV{Key: tileKey(level, n), Value: data})
	})
	g.partial.identities = append(g.partial.identities, identity[:]...)
	g.head.Size++
	if authority {
		g.head.Covered = g.head.Size
		g.put = append(g.put, storage.KV{Key: numberKey(prefixAuthority, index), Value: leaf})
	}
	return Position{Index: index, Time: g.head.Time, LeafHash: leafHash}
}

// cutRun puts the entries gathered since the last cut, all of one bundle: those that
// complete it, unless it is large, as a sealed bundle with those before them, others
// as a run.
func (g *group) cutRun() {
	if g.runStart == g.head.Size {
		return
	}
	n := g.runStart / tile.Width
	from := int(g.runStart % tile.Width)
	to := from + int(g.head.Size-g.runStart)
	complete := to == tile.Width
	if complete && (from == 0 || len(g.edge.bundle) <= g.maxLate) {
		g.pack(n)
	} else {
		const size = 32 // of an identity
		g.put = append(g.put,
			storage.KV{Key: numberKey(prefixRun, g.runStart), Value: g.edge.entries(from, to)},
			storage.KV{Key: numberKey(prefixIdentity, g.runStart), Value: g.partial.identities[from*size : to*size]})
		g.partial.starts = append(g.partial.starts, g.runStart)
		if complete {
			g.unsealed = n
		}
	}
	g.runStart = g.head.Size
}

// pack seals a complete bundle, while those behind it are being hashed, and removes
// what earlier commits stored of it.
func (g *group) pack(n int64) {
	p := &packedBundle{n: n, entries: g.edge.bundle}
	g.packed = append(g.packed, p)
	g.packing.Go(func() { p.sealed = compressBundle(p.entries) })
	first := n * tile.Width
	g.put = append(g.put, storage.KV{Key: numberKey(prefixIdentity, first), Value: g.partial.identities})
	for _, start := range g.partial.starts {
		g.remove = append(g.remove, numberKey(prefixRun, start))
		if start != first {
			g.remove = append(g.remove, numberKey(prefixIdentity, start))
		}
	}
}

func (g *group) finish() {
	g.cutRun()
	g.head.Root = g.edge.root()
	g.packing.Wait()
	for _, p := range g.packed {
		g.put = append(g.put, storage.KV{Key: numberKey(prefixBundle, p.n), Value: p.sealed})
	}
}

// release lets the world see what has been committed and guarded.
func (l *Log) release(g *group) {
	l.identitiesMu.Lock()
	for i, p := range g.accepted {
		l.identities.add(p.sub.Identity, g.positions[i].Index)
	}
	l.identitiesMu.Unlock()
	if len(g.accepted) > 0 {
		l.view.Store(&view{head: g.head, edge: g.edge, partial: g.partial})
		l.metrics.entries.Add(float64(len(g.accepted)))
		l.metrics.size.Set(float64(g.head.Size))
		l.metrics.batchEntries.Observe(float64(len(g.accepted)))
		if g.unsealed >= 0 {
			l.unsealed.add(g.unsealed)
		}
		if len(g.packed) > 0 {
			l.unsealed.look()
		}
		g.coming.conclude(true)
	}
	for i, p := range g.accepted {
		p.resolve(g.positions[i], nil)
	}
	for _, r := range g.repeats {
		pos := g.positions[r.of]
		pos.Existing = true
		r.pending.resolve(pos, nil)
	}
}

func (g *group) fail(err error) {
	g.coming.conclude(false)
	for _, p := range g.accepted {
		p.resolve(Position{}, err)
	}
	for _, r := range g.repeats {
		r.pending.resolve(Position{}, err)
	}
}
