package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
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

	// Identify, when given, returns the identity that the leaf must be stored
	// under and whether it must be stored as an authority leaf.
	Identify func(leaf []byte) (identity [32]byte, authority bool, err error)

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

type checker struct {
	cfg    CheckConfig
	ctx    context.Context
	report *Report
	edge   edge

	roots     map[int64]tlog.Hash // sizes whose roots are wanted, filled in by the replay
	published *checkpoint.Checkpoint
	lastTime  int64
	covered   int64

	wantIdentities []byte // of the bundle being replayed, as they follow from its leaves
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

// replay builds the tree from the entries alone.
func (c *checker) replay() error {
	size := c.report.Head.Size
	for n := int64(0); n*tile.Width < size; n++ {
		if err := c.ctx.Err(); err != nil {
			return fmt.Errorf("log: checking bundle %d: %w", n, err)
		}
		width := tile.WidthAt(tile.Entries, n, size)
		hashes, err := c.bundle(n, width)
		if err != nil {
			// Go on with the hashes in the tree, to find what else is wrong.
			c.report.problem("bundle %d: %v", n, err)
			if hashes, err = c.storedHashes(n, width); err != nil {
				c.report.problem("hash tile 0/%d: %v: cannot go on behind leaf %d", n, err, n*tile.Width-1)
				return nil
			}
		}
		for _, h := range hashes {
			c.edge.appendHash(h, c.compareTile)
			if _, wanted := c.roots[c.edge.size]; wanted {
				c.roots[c.edge.size] = c.edge.root()
			}
		}
		c.compareIdentities(n, width)
		if c.cfg.Progress != nil && (n%64 == 63 || (n+1)*tile.Width >= size) {
			c.cfg.Progress(c.edge.size, size)
		}
	}
	return nil
}

// bundle reads one bundle and returns the hashes of its leaves.
func (c *checker) bundle(n int64, width int) ([]tlog.Hash, error) {
	c.wantIdentities = nil
	entries, err := c.entries(n, width)
	if err != nil {
		return nil, err
	}
	hashes := make([]tlog.Hash, len(entries))
	for i, leaf := range entries {
		index := n*tile.Width + int64(i)
		hashes[i] = entry.LeafHash(leaf)
		c.report.Leaves++
		c.report.EntryBytes += int64(len(leaf))
		c.checkLeaf(index, leaf)
	}
	return hashes, nil
}

func (c *checker) entries(n int64, width int) ([][]byte, error) {
	var bundle []byte
	sealed, err := c.cfg.Store.Get(c.ctx, numberKey(prefixBundle, n))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		bundle, err = readRuns(c.ctx, c.cfg.Store, n)
	case err == nil:
		c.report.Sealed++
		bundle, err = decompressBundle(sealed)
	}
	if err != nil {
		return nil, err
	}
	return tile.SplitBundle(bundle, width)
}

func (c *checker) checkLeaf(index int64, leaf []byte) {
	e, err := entry.Parse(leaf)
	if err != nil {
		c.report.problem("leaf %d: %v", index, err)
		return
	}
	if e.Time < c.lastTime {
		c.report.problem("leaf %d: time %d is before that of the leaf before it, %d", index, e.Time, c.lastTime)
	}
	c.lastTime = e.Time
	if c.cfg.Identify == nil {
		return
	}
	identity, authority, err := c.cfg.Identify(leaf)
	if err != nil {
		c.report.problem("leaf %d: %v", index, err)
	}
	c.wantIdentities = append(c.wantIdentities, identity[:]...)
	if !authority {
		return
	}
	c.report.Authority++
	c.covered = index + 1
	stored, err := c.cfg.Store.Get(c.ctx, numberKey(prefixAuthority, index))
	if err != nil || !bytes.Equal(stored, leaf) {
		c.report.problem("authority leaf %d is not stored as one", index)
	}
}

// storedHashes returns the leaf hashes of a bundle from the hash tile.
func (c *checker) storedHashes(n int64, width int) ([]tlog.Hash, error) {
	data, err := c.cfg.Store.Get(c.ctx, tileKey(0, n))
	if err != nil {
		return nil, err
	}
	if len(data) < width*hashSize {
		return nil, storage.ErrCorrupt
	}
	return tile.Hashes(data[:width*hashSize])
}

// compareTile compares a tile that the replay completed with the stored one.
func (c *checker) compareTile(level int, n int64, want []byte) {
	c.report.Tiles++
	stored, err := c.cfg.Store.Get(c.ctx, tileKey(level, n))
	if err != nil {
		c.report.problem("hash tile %d/%d: %v", level, n, err)
		return
	}
	if bytes.Equal(stored, want) {
		return
	}
	for i := 0; i+hashSize <= min(len(stored), len(want)); i += hashSize {
		if !bytes.Equal(stored[i:i+hashSize], want[i:i+hashSize]) {
			c.report.problem("hash tile %d/%d: hash %d is not the one of what lies below it (level 0: of leaf %d)", level, n, i/hashSize, n*tile.Width+int64(i/hashSize))
			return
		}
	}
	c.report.problem("hash tile %d/%d: %d bytes, want %d", level, n, len(stored), len(want))
}

func (c *checker) compareIdentities(n int64, width int) {
	var stored []byte
	err := c.cfg.Store.Scan(c.ctx, numberKey(prefixIdentity, n*tile.Width), numberKey(prefixIdentity, (n+1)*tile.Width), func(_, value []byte) error {
		stored = append(stored, value...)
		return nil
	})
	switch {
	case err != nil:
		c.report.problem("identities of bundle %d: %v", n, err)
	case len(stored) != 32*width:
		c.report.problem("identities of bundle %d: %d bytes, want %d", n, len(stored), 32*width)
	case len(c.wantIdentities) == len(stored) && !bytes.Equal(stored, c.wantIdentities):
		c.report.problem("identities of bundle %d are not those of its leaves", n)
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

// checkKeys looks for keys that nothing explains.
func (c *checker) checkKeys() error {
	size := c.report.Head.Size
	authority := int64(0)
	err := c.cfg.Store.Scan(c.ctx, nil, nil, func(key, value []byte) error {
		if bytes.Equal(key, storage.HeadKey) || bytes.Equal(key, keyPublished) {
			return nil
		}
		n, err := keyNumber(key)
		ok := err == nil
		switch key[0] {
		case prefixRun, prefixIdentity:
			ok = ok && n < size
		case prefixBundle:
			ok = ok && n < size/tile.Width
		case prefixTile:
			ok = ok && tile.WidthAt(int(key[1]), n, size) == tile.Width
		case prefixAuthority:
			authority++
			ok = ok && n < size
		case prefixEvidence:
			ok = ok && n < evidenceSlots
		default:
			ok = false
		}
		if !ok {
			c.report.problem("%s (%d bytes) belongs to nothing in a log of size %d", describeKey(key), len(value), size)
		}
		return nil
	})
	if errors.Is(err, storage.ErrCorrupt) {
		c.report.problem("reading all keys: %v", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("log: reading all keys: %w", err)
	}
	if c.cfg.Identify != nil && c.report.Leaves == size && authority != c.report.Authority {
		c.report.problem("%d leaves are stored as authority leaves, and %d are", authority, c.report.Authority)
	}
	return nil
}
