package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
	"golang.org/x/mod/sumdb/tlog"
)

// CheckConfig says what Check reads and what it compares it with.
type CheckConfig struct {
	Store storage.Store

	// Guard, when given, must not remember more than the store holds.
	Guard Guard

	// Origin and Keys, when given, must have signed the published checkpoint.
	Origin string
	Keys   []*checkpoint.Verifier

	// Identify, when given, returns source and id out of the payload of a leaf, of
	// which the identity is made that it must be stored under (entry.Identity), and
	// whether it must be stored as an authority leaf. It is called from several
	// goroutines at once, and must not keep the payload.
	Identify func(payload []byte) (source, id []byte, authority bool, err error)

	// Progress, when given, is called now and then with the number of leaves
	// checked.
	Progress func(leaves, of int64)
}

// Report is what Check found.
type Report struct {
	Head          Head
	Leaves        int64 // re-hashed
	EntryBytes    int64
	Tiles         int64 // compared
	Sealed        int64 // bundles
	Authority     int64 // leaves
	PublishedSize int64 // of the stored published checkpoint, 0 when there is none
	GuardSize     int64 // 0 when no guard was given

	// Problems name everything that is not as it must be. Empty means that
	// every byte the log stores was read and follows from the entries.
	Problems []string
}

func (r *Report) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// Check proves a whole log: it reads everything that is stored, hashes every
// leaf, rebuilds the tree, and compares every tile, the root, the identities,
// the authority leaves, the published checkpoint and the guard with it. It goes
// on after a problem, to name them all. The store must not be written
// meanwhile.
//
// The error wraps storage.ErrCorrupt when there are problems; the report says
// which. Other errors mean that the check itself could not be done.
func Check(ctx context.Context, cfg CheckConfig) (*Report, error) {
	head, err := ReadHead(ctx, cfg.Store)
	if err != nil {
		return nil, err
	}
	c := &checker{cfg: cfg, ctx: ctx, report: &Report{Head: head}, roots: make(map[int64]tlog.Hash)}
	c.wantRoots()
	if err := c.replay(); err != nil {
		return nil, err
	}
	c.checkRoots()
	if err := c.checkKeys(); err != nil {
		return nil, err
	}
	if n := len(c.report.Problems); n > 0 {
		return c.report, fmt.Errorf("log: %d problems, the first: %s: %w", n, c.report.Problems[0], storage.ErrCorrupt)
	}
	return c.report, nil
}

// checker is one run of Check. The bundles are checked by several goroutines,
// each a stretch of them at a time; what they find is put together in order, by
// one, which owns all fields but cfg and ctx.
type checker struct {
	cfg    CheckConfig
	ctx    context.Context
	report *Report
	edge   edge // of the tree alone, without bundle and without tiles of level 0

	roots     map[int64]tlog.Hash // sizes whose roots are wanted, filled in by the replay
	published *checkpoint.Checkpoint
	lastTime  int64
	covered   int64
}

// wantRoots notes the sizes at which somebody else has a root to compare.
func (c *checker) wantRoots() {
	c.roots[c.report.Head.Size] = tlog.Hash{}
	if c.cfg.Guard != nil {
		c.report.GuardSize = c.cfg.Guard.Head().Size
		c.roots[c.report.GuardSize] = tlog.Hash{}
	}
	note, err := c.cfg.Store.Get(c.ctx, keyPublished)
	if errors.Is(err, storage.ErrNotFound) {
		return
	}
	if err != nil {
		c.report.problem("published checkpoint: %v", err)
		return
	}
	text, sigs, err := checkpoint.ParseNote(note)
	if err == nil && len(c.cfg.Keys) > 0 {
		_, err = checkpoint.Verify(text, sigs, c.cfg.Keys...)
	}
	var cp checkpoint.Checkpoint
	if err == nil {
		cp, err = checkpoint.Parse(text)
	}
	if err == nil && c.cfg.Origin != "" && cp.Origin != c.cfg.Origin {
		err = fmt.Errorf("its origin is %q, not %q", cp.Origin, c.cfg.Origin)
	}
	if err != nil {
		c.report.problem("published checkpoint: %v", err)
		return
	}
	c.published = &cp
	c.report.PublishedSize = cp.Size
	c.roots[cp.Size] = tlog.Hash{}
}

// replay builds the tree from the entries alone: it takes the stretches in order
// while as many goroutines as there are cores check those that follow.
func (c *checker) replay() error {
	size := c.report.Head.Size
	bundles := (size + tile.Width - 1) / tile.Width
	ctx, cancel := context.WithCancel(c.ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	workers := runtime.GOMAXPROCS(0)
	// A place in the queue is taken before a stretch is read, so that those that
	// were read and not yet taken are few.
	queue := make(chan chan *stretch, 2*workers)
	running.Go(func() {
		defer close(queue)
		for first := int64(0); first < bundles; first += stretchBundles {
			checked := make(chan *stretch, 1)
			select {
			case queue <- checked:
			case <-ctx.Done():
				return
			}
			running.Go(func() {
				checked <- newStretch(ctx, &c.cfg, size, first, min(bundles, first+stretchBundles))
			})
		}
	})
	for checked := range queue {
		s := <-checked
		if err := c.ctx.Err(); err != nil {
			return fmt.Errorf("log: checking bundle %d: %w", s.first, err)
		}
		more := c.take(s)
		s.free()
		if !more {
			return nil
		}
		if c.cfg.Progress != nil {
			c.cfg.Progress(c.edge.size, size)
		}
	}
	if err := c.ctx.Err(); err != nil {
		return fmt.Errorf("log: checking bundle %d: %w", c.edge.size/tile.Width, err)
	}
	return nil
}

// take puts the next stretch behind those before it. It reports whether the
// tree can be built beyond it.
func (c *checker) take(s *stretch) bool {
	r := c.report
	r.Problems = append(r.Problems, s.strays...)
	for i := range s.bundles {
		b := &s.bundles[i]
		r.Leaves += b.leaves
		r.EntryBytes += b.bytes
		r.Authority += b.authority
		c.covered = max(c.covered, b.covered)
		if b.stored[sealedKind].found {
			r.Sealed++
		}
		if b.timed && b.firstTime < c.lastTime {
			r.problem("leaf %d: time %d is before that of the leaf before it, %d", b.firstLeaf, b.firstTime, c.lastTime)
		}
		if b.timed {
			c.lastTime = b.newTime
		}
		r.Problems = append(r.Problems, b.problems...)
		if len(b.hashes) == 0 {
			return false
		}
		c.appendBundle(b)
	}
	return true
}

// appendBundle appends the leaves of a bundle to the tree: one by one where a
// root among them is wanted, or else as one subtree.
func (c *checker) appendBundle(b *checkedBundle) {
	wanted := len(b.hashes) < tile.Width
	for size := range c.roots {
		wanted = wanted || size > c.edge.size && size < c.edge.size+tile.Width
	}
	if wanted {
		before := c.edge // its tile of level 0 has been compared already
		for _, h := range b.hashes {
			before.appendHash(h, func(int, int64, []byte) {})
			if _, ok := c.roots[before.size]; ok {
				c.roots[before.size] = before.root()
			}
		}
		if len(b.hashes) < tile.Width {
			c.edge = before
			return
		}
	}
	c.report.Tiles++ // of level 0, compared where it was read
	c.edge.appendTile(b.root, c.compareTile)
	if _, ok := c.roots[c.edge.size]; ok {
		c.roots[c.edge.size] = c.edge.root()
	}
}

// compareTile compares a tile that the replay completed with the stored one.
func (c *checker) compareTile(level int, n int64, want []byte) {
	c.report.Tiles++
	stored, err := c.cfg.Store.Get(c.ctx, tileKey(level, n))
	if err != nil {
		c.report.problem("hash tile %d/%d: %v", level, n, err)
		return
	}
	hashes, _ := tile.Hashes(want) // a whole tile
	if difference := tileDifference(level, n, stored, hashes); difference != "" {
		c.report.problem("%s", difference)
	}
}

// checkRoots compares the replayed roots with what the head, the guard and the
// published checkpoint say.
func (c *checker) checkRoots() {
	head := c.report.Head
	compare := func(who string, size int64, root tlog.Hash) {
		switch {
		case size > c.edge.size:
			c.report.problem("%s says size %d, and %d leaves are stored", who, size, c.edge.size)
		case size > 0 && c.roots[size] != root:
			c.report.problem("%s says root %v at size %d, and the leaves give %v", who, root, size, c.roots[size])
		}
	}
	compare("the head", head.Size, head.Root)
	if c.cfg.Guard != nil {
		g := c.cfg.Guard.Head()
		compare("the guard", g.Size, g.Root)
	}
	if c.published != nil {
		compare("the published checkpoint", c.published.Size, c.published.Root)
	}
	if c.edge.size == head.Size && c.report.Leaves == head.Size && c.lastTime != head.Time {
		c.report.problem("the head says the newest leaf has time %d, and it has %d", head.Time, c.lastTime)
	}
	if c.cfg.Identify != nil && c.report.Leaves == head.Size && c.covered != head.Covered {
		c.report.problem("the head says authority leaves end before %d, and they end before %d", head.Covered, c.covered)
	}
}

// checkKeys looks for keys that nothing explains, outside those ranges that the
// stretches have looked at.
func (c *checker) checkKeys() error {
	size := c.report.Head.Size
	authority := int64(0)
	explain := func(key, value []byte) error {
		if bytes.Equal(key, storage.HeadKey) || bytes.Equal(key, keyPublished) {
			return nil
		}
		if len(key) > 0 && key[0] == prefixAuthority {
			authority++
		}
		if !explained(key, size) {
			c.report.Problems = append(c.report.Problems, stray(key, value, size))
		}
		return nil
	}
	var from []byte
	for k := range kinds + 1 {
		var r keyRange // behind all of them: to the end
		if k < kinds {
			r = k.rangeOf(0, (size+tile.Width-1)/tile.Width)
		}
		err := c.cfg.Store.Scan(c.ctx, from, r.from, explain)
		if errors.Is(err, storage.ErrCorrupt) {
			c.report.problem("reading all keys: %v", err)
		} else if err != nil {
			return fmt.Errorf("log: reading all keys: %w", err)
		}
		from = r.to
	}
	if c.cfg.Identify != nil && c.report.Leaves == size && authority != c.report.Authority {
		c.report.problem("%d leaves are stored as authority leaves, and %d are", authority, c.report.Authority)
	}
	return nil
}
