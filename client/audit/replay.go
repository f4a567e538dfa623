package audit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// chunk is one entry bundle on its way through the replay. First everything
// that needs no other leaf is done for several chunks at once (fetch, hash,
// parse); then, chunk after chunk and leaf after leaf, what depends on the
// leaves before (the tree, times, identities, the key directory); then, again
// at once, the signatures and schemas. What is found is taken in the order of
// the leaves, so that a report does not depend on who was faster.
type chunk struct {
	bundle tile.Tile
	first  int64 // index of its first leaf
	ready  chan struct{}

	err    error // it could not be read
	leaves []leaf
	tile   []byte // the level 0 tile that belongs to it

	work     sync.WaitGroup // signatures and schemas
	mu       sync.Mutex     // guards failures while there is work
	failures []Failure
	signed   int64 // signatures that were verified
}

// leaf is one entry and what could be said of it alone.
type leaf struct {
	raw      []byte
	hash     tlog.Hash
	entry    *entry.Entry
	event    *event.Event
	identity [sha256.Size]byte // of the event
	entryErr error             // not a leaf of this format
	eventErr error             // not an event
	changed  bool              // not what the hash tile says
}

func (c *chunk) fail(verdict string, index int64, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = append(c.failures, Failure{Verdict: verdict, Index: &index, Detail: fmt.Sprintf(format, args...)})
}

// replay reads and checks the leaves [s.tree.size, head.Size). It returns an
// error only where it cannot go on.
func (a *auditor) replay(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	pool := newPool(a.cfg.Workers)
	var fetching sync.WaitGroup
	defer func() {
		cancel()
		fetching.Wait()
		pool.close()
	}()

	// The chunk in which an earlier run ended is read again as a whole.
	from := a.state.tree.size
	next, end := from/tile.Width, (a.head.Size+tile.Width-1)/tile.Width
	var reading, checking []*chunk
	for {
		for next < end && len(reading) < a.cfg.Fetches {
			c := &chunk{bundle: tile.Tile{Level: tile.Entries, N: next, W: tile.WidthAt(tile.Entries, next, a.head.Size)}, first: next * tile.Width, ready: make(chan struct{})}
			fetching.Go(func() { a.fetch(ctx, c) })
			reading = append(reading, c)
			next++
		}
		if len(reading) == 0 {
			break
		}
		c := reading[0]
		reading = reading[1:]
		<-c.ready
		if c.err != nil {
			// What comes behind depends on what is in it.
			for _, d := range checking {
				a.finish(d)
			}
			return c.err
		}
		a.take(c, from, pool)
		if len(a.expected) > maxExpected {
			if err := a.compareExpected(ctx); err != nil {
				return err
			}
		}
		if a.unkept != nil {
			return a.unkept
		}
		checking = append(checking, c)
		if len(checking) > 2*a.cfg.Workers {
			a.finish(checking[0])
			checking = checking[1:]
		}
	}
	for _, c := range checking {
		a.finish(c)
	}
	return a.compareTiles(ctx)
}

// fetch gets a chunk and does what needs no other leaf.
func (a *auditor) fetch(ctx context.Context, c *chunk) {
	defer close(c.ready)
	entries, err := a.cfg.Log.Bundle(ctx, c.bundle)
	if err != nil {
		c.err = err
		return
	}
	hashes := c.bundle
	hashes.Level = 0
	if c.tile, c.err = a.cfg.Log.Tile(ctx, hashes); c.err != nil {
		return
	}
	if len(entries) != c.bundle.W || len(c.tile) != c.bundle.W*tlog.HashSize {
		c.err = &client.IntegrityError{Path: c.bundle.Path(), Err: fmt.Errorf("%d entries and %d bytes of hashes", len(entries), len(c.tile))}
		return
	}
	c.leaves = make([]leaf, len(entries))
	for i, raw := range entries {
		l := leaf{raw: raw, hash: entry.LeafHash(raw)}
		if l.entry, l.entryErr = entry.Parse(raw); l.entryErr == nil {
			if l.event, l.eventErr = event.Parse(l.entry.Payload); l.eventErr == nil {
				l.identity = entry.Identity(l.event.Source, l.event.ID)
			}
		}
		c.leaves[i] = l
	}
}

// take adds a chunk's leaves to what was verified, those from from on.
func (a *auditor) take(c *chunk, from int64, pool *pool) {
	changed := false
	for i := range c.leaves {
		l, index := &c.leaves[i], c.first+int64(i)
		l.changed = a.compare(c, l, index, from)
		changed = changed || l.changed
	}
	if changed {
		a.evidence.chunk(c)
	}
	for i := range c.leaves {
		if index := c.first + int64(i); index >= from {
			a.takeLeaf(c, index, &c.leaves[i], pool)
		}
	}
}

// compare holds an entry against its hash in the hash tile and, where it was
// verified in an earlier run, against what it was then.
func (a *auditor) compare(c *chunk, l *leaf, index, from int64) (changed bool) {
	i := index - c.first
	served := tlog.Hash(c.tile[i*tlog.HashSize:][:tlog.HashSize])
	if l.hash != served {
		changed = true
		c.fail(VerdictReplay, index, "the entry hashes to %s, the hash tile says %s", l.hash, served)
	}
	if index >= from {
		return changed
	}
	if seen := a.state.tree.partial[0][i]; l.hash != seen {
		changed = true
		c.fail(VerdictReplay, index, "the entry hashes to %s, and to %s when it was verified earlier", l.hash, seen)
	}
	return changed
}

// takeLeaf checks one leaf against all before it.
func (a *auditor) takeLeaf(c *chunk, index int64, l *leaf, pool *pool) {
	s := a.state
	s.tree.append(l.hash, a.expectTile)
	if index == 0 {
		s.genesis, a.leafZero = l.hash, l.raw
	}
	if l.changed && a.changed < 0 {
		a.changed = index
	}
	if a.changed >= 0 {
		// Nobody knows what the true leaf says; it may be one that lets keys sign
		// the leaves that follow.
		return
	}
	a.judged++
	if l.entryErr != nil {
		c.fail(VerdictEvents, index, "%v", l.entryErr)
		return
	}
	if l.entry.Time < s.lastTime {
		c.fail(VerdictTimes, index, "its time %d ms is before that of the leaf before it, %d ms", l.entry.Time, s.lastTime)
	}
	s.lastTime = max(s.lastTime, l.entry.Time)
	if l.eventErr != nil {
		c.fail(VerdictEvents, index, "%v", l.eventErr)
		return
	}
	a.keep(s.identities.add(l.identity, index))
	a.keep(s.uses.add(index, l.entry))
	a.count(index, l)
	jobs, err := s.directory.Decide(index, l.entry, l.event)
	if err != nil {
		c.fail(verdictOf(err), index, "%v", err)
		return
	}
	if event.IsAuthority(l.event.Type) {
		// Decide has verified and applied it.
		c.signed += int64(len(l.entry.Signatures))
		a.keep(s.keepAuthority(index, l.raw))
		return
	}
	c.signed += int64(len(jobs))
	allowOpaque := s.directory.AllowOpaque()
	c.work.Add(1)
	pool.do(func() {
		defer c.work.Done()
		for _, j := range jobs {
			if err := a.cfg.verify(j); err != nil {
				c.fail(VerdictSignatures, index, "%v", err)
			}
		}
		if err := event.Validate(l.event, allowOpaque); err != nil {
			c.fail(VerdictEvents, index, "%v", err)
		}
	})
}

// keep takes an error of writing what is verified to a file.
func (a *auditor) keep(err error) {
	if err != nil && a.unkept == nil {
		a.unkept = fmt.Errorf("keeping what is verified: %w", err)
	}
}

// repeated finds the leaves whose identity an earlier leaf has. They are read once
// more, to tell what they say.
func (a *auditor) repeated(ctx context.Context) error {
	list, err := a.state.identities.settle()
	if err != nil {
		return fmt.Errorf("looking for identities that are there twice: %w", err)
	}
	for _, x := range list {
		detail := fmt.Sprintf("its source and id are those of leaf %d", x.earlier)
		if len(a.report.Failures) < maxFailures {
			if raw, e := a.readLeaf(ctx, x.index); e != nil {
				detail = fmt.Sprintf("its source %q and id %q are those of leaf %d", e.Source, e.ID, x.earlier)
				a.evidence.leaf(x.index, raw)
			}
		}
		a.fail(Failure{Verdict: VerdictIdentities, Index: &x.index, Detail: detail})
	}
	return nil
}

// readLeaf reads a leaf once more; nil where it is not served as it was.
func (a *auditor) readLeaf(ctx context.Context, index int64) ([]byte, *event.Event) {
	n := index / tile.Width
	c := &chunk{bundle: tile.Tile{Level: tile.Entries, N: n, W: tile.WidthAt(tile.Entries, n, a.head.Size)}, first: n * tile.Width, ready: make(chan struct{})}
	if a.fetch(ctx, c); c.err != nil {
		return nil, nil
	}
	l := &c.leaves[index-c.first]
	if l.event == nil || a.compare(c, l, index, index) {
		return nil, nil
	}
	return l.raw, l.event
}

// verdictOf sorts an error of the directory.
func verdictOf(err error) string {
	var e *event.Error
	if errors.As(err, &e) && e.Kind == event.BadSignature {
		return VerdictSignatures
	}
	return VerdictEvents
}

func (a *auditor) count(index int64, l *leaf) {
	t := &a.state.totals
	if len(l.entry.Signatures) == 0 && index > 0 {
		t.Unsigned++
	}
	if event.IsAuthority(l.event.Type) {
		t.Authority++
	}
	if _, known := event.Lookup(l.event.Type); known {
		return
	}
	name := l.event.Type
	n, ok := t.Opaque[name]
	if !ok && len(t.Opaque) >= maxOpaque {
		name = "(others)"
		n, ok = t.Opaque[name]
	}
	if !ok {
		n.First = index
	}
	n.Count++
	n.Last = index
	t.Opaque[name] = n
}

// finish waits for a chunk's work and takes what was found.
func (a *auditor) finish(c *chunk) {
	c.work.Wait()
	a.state.totals.Signatures += c.signed
	slices.SortStableFunc(c.failures, func(x, y Failure) int {
		return cmp.Or(cmp.Compare(*x.Index, *y.Index), cmp.Compare(verdictOrder(x.Verdict), verdictOrder(y.Verdict)), cmp.Compare(x.Detail, y.Detail))
	})
	for _, f := range c.failures {
		if f.Verdict != VerdictReplay {
			a.evidence.leaf(*f.Index, c.leaves[*f.Index-c.first].raw)
		}
		a.fail(f)
	}
	a.judge(c, a.from, a.head.Size)
	if a.cfg.Progress != nil {
		a.cfg.Progress(c.first+int64(c.bundle.W), a.head.Size)
	}
}

// expectTile remembers a tile above level 0 that the leaves demand. Those of
// level 0 are compared with their leaves at once.
func (a *auditor) expectTile(q tile.Tile, hashes []tlog.Hash) {
	a.tiles++
	if q.Level > 0 {
		a.expected = append(a.expected, expectedTile{q, hashes})
	}
}

type expectedTile struct {
	tile   tile.Tile
	hashes []tlog.Hash
}

// compareTiles compares every hash tile above level 0, and the root.
func (a *auditor) compareTiles(ctx context.Context) error {
	a.state.tree.rest(a.expectTile)
	if err := a.compareExpected(ctx); err != nil {
		return err
	}
	if root := a.state.tree.root(); root != a.head.Root {
		a.fail(Failure{Verdict: VerdictReplay, Detail: fmt.Sprintf("the entries give the root %s, the checkpoint says %s; %s", root, a.head.Root, a.whoChanged(ctx))})
	}
	return nil
}

// maxExpected bounds the hash tiles that wait to be compared.
const maxExpected = 64

// compareExpected compares the hash tiles that wait for it.
func (a *auditor) compareExpected(ctx context.Context) error {
	for _, e := range a.expected {
		data, err := a.cfg.Log.Tile(ctx, e.tile)
		if err != nil {
			return err
		}
		served, err := tile.Hashes(data)
		if err != nil || len(served) != len(e.hashes) {
			return &client.IntegrityError{Path: e.tile.Path(), Body: data, Err: errors.New("not the hashes that belong there")}
		}
		for i := range served {
			if served[i] != e.hashes[i] {
				a.evidence.resource(e.tile.Path(), data)
				a.fail(Failure{Verdict: VerdictReplay, Detail: fmt.Sprintf("%s: its hash %d is %s, the entries give %s", e.tile.Path(), i, served[i], e.hashes[i])})
				break
			}
		}
	}
	a.expected = nil
	return nil
}

// whoChanged says whether the hash tiles stand with the checkpoint or not.
func (a *auditor) whoChanged(ctx context.Context) string {
	root, err := tile.Root(ctx, tile.Reader(a.cfg.Log.Tile), a.head.Size)
	switch {
	case err != nil:
		return "the hash tiles could not be asked"
	case root == a.head.Root:
		return "the hash tiles give the checkpoint's root, so entries were changed after they were signed"
	}
	return fmt.Sprintf("the hash tiles give %s", root)
}

// pool runs work on a fixed number of goroutines.
type pool struct {
	queue chan func()
	done  sync.WaitGroup
}

func newPool(workers int) *pool {
	p := &pool{queue: make(chan func(), 4*tile.Width)}
	for range workers {
		p.done.Go(func() {
			for f := range p.queue {
				f()
			}
		})
	}
	return p
}

func (p *pool) do(f func()) { p.queue <- f }

// close waits for all work that was given.
func (p *pool) close() {
	close(p.queue)
	p.done.Wait()
}
