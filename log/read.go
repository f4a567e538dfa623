package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
	"golang.org/x/mod/sumdb/tlog"
)

// Tile returns the bytes of a hash tile, exactly t.W hashes, or ErrNotFound
// where the published tree has no such tile of that width. t.Level is not -1.
func (l *Log) Tile(ctx context.Context, t tile.Tile) ([]byte, error) {
	if err := l.withinPublished(t); err != nil {
		return nil, err
	}
	return l.readTile(ctx, l.view.Load(), t)
}

// Bundle returns the bytes of an entry bundle of exactly t.W entries, gzipped
// where gzipped says so, or ErrNotFound where the published log has no such
// bundle of that width. t.Level is -1.
func (l *Log) Bundle(ctx context.Context, t tile.Tile) (data []byte, gzipped bool, err error) {
	if err := l.withinPublished(t); err != nil {
		return nil, false, err
	}
	return l.readBundle(ctx, l.view.Load(), t)
}

// PlainBundle is Bundle for who does not take gzip.
func (l *Log) PlainBundle(ctx context.Context, t tile.Tile) ([]byte, error) {
	if err := l.withinPublished(t); err != nil {
		return nil, err
	}
	b, err := l.openBundle(ctx, l.view.Load(), t)
	return b.bundle, err
}

// withinPublished holds readers to what a signed head covers.
func (l *Log) withinPublished(t tile.Tile) error {
	p := l.Published()
	if p == nil || t.W < 1 || t.W > tile.WidthAt(t.Level, t.N, p.Size) {
		return fmt.Errorf("%w: %s", ErrNotFound, t.Path())
	}
	return nil
}

func (l *Log) readTile(ctx context.Context, v *view, t tile.Tile) ([]byte, error) {
	if t.N == v.head.Size>>(tile.Height*(t.Level+1)) {
		return v.edge.tiles[t.Level][:t.W*hashSize], nil
	}
	data, err := l.cfg.Store.Get(ctx, tileKey(t.Level, t.N))
	if err != nil {
		return nil, missing(err, t.Path())
	}
	if len(data) != tileBytes {
		return nil, fmt.Errorf("log: %s has %d bytes: %w", t.Path(), len(data), storage.ErrCorrupt)
	}
	return data[:t.W*hashSize], nil
}

// missing turns the absence of something that must be there into corruption.
func missing(err error, what string) error {
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("log: %s is not in the store: %w", what, storage.ErrCorrupt)
	}
	return fmt.Errorf("log: reading %s: %w", what, err)
}

func (l *Log) tileReader(v *view) tile.Reader {
	return func(ctx context.Context, t tile.Tile) ([]byte, error) { return l.readTile(ctx, v, t) }
}

func (l *Log) readBundle(ctx context.Context, v *view, t tile.Tile) (data []byte, gzipped bool, err error) {
	if t.N == v.head.Size/tile.Width {
		return v.edge.entries(0, t.W), false, nil
	}
	sealed, err := l.cfg.Store.Get(ctx, numberKey(prefixBundle, t.N))
	if errors.Is(err, storage.ErrNotFound) {
		entries, err := readRuns(ctx, l.cfg.Store, t.N)
		if err == nil {
			entries, err = firstEntries(entries, t.W)
		}
		if err == nil {
			return entries, false, nil
		}
		// It may have been sealed between the two looks.
		if sealed, err = l.cfg.Store.Get(ctx, numberKey(prefixBundle, t.N)); err != nil {
			return nil, false, missing(err, t.Path())
		}
	} else if err != nil {
		return nil, false, fmt.Errorf("log: reading %s: %w", t.Path(), err)
	}
	if t.Full() {
		return sealed, true, nil
	}
	entries, err := decompressBundle(sealed)
	if err != nil {
		return nil, false, fmt.Errorf("log: reading %s: %w", t.Path(), err)
	}
	entries, err = firstEntries(entries, t.W)
	if err != nil {
		return nil, false, fmt.Errorf("log: reading %s: %w", t.Path(), err)
	}
	return entries, false, nil
}

// readRuns returns all that is stored of an unsealed bundle.
func readRuns(ctx context.Context, store storage.Store, n int64) ([]byte, error) {
	var entries []byte
	err := store.Scan(ctx, numberKey(prefixRun, n*tile.Width), numberKey(prefixRun, (n+1)*tile.Width), func(_, value []byte) error {
		entries = append(entries, value...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("log: reading bundle %d: %w", n, err)
	}
	return entries, nil
}

// firstEntries cuts a bundle behind its first width entries.
func firstEntries(bundle []byte, width int) ([]byte, error) {
	end := 0
	for range width {
		if len(bundle)-end < 2 {
			return nil, fmt.Errorf("%w: bundle ends early", storage.ErrCorrupt)
		}
		end += 2 + (int(bundle[end])<<8 | int(bundle[end+1]))
		if end > len(bundle) {
			return nil, fmt.Errorf("%w: bundle ends early", storage.ErrCorrupt)
		}
	}
	return bundle[:end:end], nil
}

// Entry returns the leaf at index, also when it is not published yet, after
// comparing it with its hash in the tree. ErrNotFound beyond the head. The leaf
// must not be changed: others may be given the same bytes.
func (l *Log) Entry(ctx context.Context, index int64) ([]byte, error) {
	return l.readEntry(ctx, l.view.Load(), index)
}

func (l *Log) readEntry(ctx context.Context, v *view, index int64) ([]byte, error) {
	if index < 0 || index >= v.head.Size {
		return nil, fmt.Errorf("%w: leaf %d of %d", ErrNotFound, index, v.head.Size)
	}
	n, at := index/tile.Width, int(index%tile.Width)
	t := tile.Tile{Level: tile.Entries, N: n, W: tile.WidthAt(tile.Entries, n, v.head.Size)}
	opened, err := l.openBundle(ctx, v, t)
	if err != nil {
		return nil, err
	}
	entries := opened.entries
	hashes, err := l.readTile(ctx, v, tile.Tile{Level: 0, N: n, W: at + 1})
	if err != nil {
		return nil, err
	}
	if hash := entry.LeafHash(entries[at]); !bytes.Equal(hash[:], hashes[at*hashSize:]) {
		return nil, fmt.Errorf("log: leaf %d does not have the hash it has in the tree: %w", index, storage.ErrCorrupt)
	}
	return entries[at], nil
}

// openBundle returns a bundle as it is hashed, and its entries. Complete ones are
// kept for a while, since whoever asks for one entry often asks for its neighbours
// next, and decompressing costs more than all else.
func (l *Log) openBundle(ctx context.Context, v *view, t tile.Tile) (openedBundle, error) {
	if t.Full() {
		if b, ok := l.opened.get(t.N); ok {
			return b, nil
		}
	}
	bundle, gzipped, err := l.readBundle(ctx, v, t)
	if err == nil && gzipped {
		bundle, err = decompressBundle(bundle)
	}
	if err != nil {
		return openedBundle{}, err
	}
	entries, err := tile.SplitBundle(bundle, t.W)
	if err != nil {
		return openedBundle{}, fmt.Errorf("log: %s: %w: %w", t.Path(), storage.ErrCorrupt, err)
	}
	b := openedBundle{t.N, bundle, entries}
	if t.Full() {
		l.opened.put(b)
	}
	return b, nil
}

// openedBundles keeps the complete bundles opened last, up to maxOpened bytes.
// They never change, so there is nothing to invalidate.
type openedBundles struct {
	mu    sync.Mutex
	kept  []openedBundle // oldest first
	bytes int
}

type openedBundle struct {
	n       int64
	bundle  []byte   // as tlog-tiles has it
	entries [][]byte // the parts of it
}

const maxOpened = 16 << 20

func (o *openedBundles) get(n int64) (openedBundle, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range o.kept {
		if b.n == n {
			return b, true
		}
	}
	return openedBundle{}, false
}

func (o *openedBundles) put(b openedBundle) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept = append(o.kept, b)
	for o.bytes += len(b.bundle); o.bytes > maxOpened; o.kept = o.kept[1:] {
		o.bytes -= len(o.kept[0].bundle)
	}
}

// Inclusion returns the inclusion proof of the leaf at index in the tree of the
// given size, at most the committed one (RFC 6962 section 2.1.1).
func (l *Log) Inclusion(ctx context.Context, index, size int64) ([]tlog.Hash, error) {
	v := l.view.Load()
	if index < 0 || index >= size || size > v.head.Size {
		return nil, fmt.Errorf("%w: leaf %d in size %d", ErrNotFound, index, size)
	}
	return tile.InclusionFromNodes(ctx, func(ctx context.Context, t tile.Tile) (*tile.Nodes, error) {
		return l.nodes.get(t, func() ([]byte, error) { return l.readTile(ctx, v, t) })
	}, index, size)
}

// nodeCache keeps the nodes within the tiles that were needed last: a batch is
// proven with a handful of them, and hashing up a tile for every leaf would cost
// more than all else about a receipt. A tile only grows, so of each the widest
// that was needed serves all.
type nodeCache struct {
	mu    sync.Mutex
	nodes map[tile.Tile]*tile.Nodes // by level and number
	order []tile.Tile               // oldest first
}

// maxNodes bounds the cache: 256 tiles of 16 KiB.
const maxNodes = 256

func (c *nodeCache) get(t tile.Tile, read func() ([]byte, error)) (*tile.Nodes, error) {
	key := tile.Tile{Level: t.Level, N: t.N}
	c.mu.Lock()
	nodes := c.nodes[key]
	c.mu.Unlock()
	if nodes != nil && nodes.Width() >= t.W {
		return nodes, nil
	}
	data, err := read()
	if err != nil {
		return nil, err
	}
	if nodes == nil {
		nodes = new(tile.Nodes)
	}
	if nodes, err = nodes.Extend(data); err != nil {
		return nil, fmt.Errorf("log: %s: %w: %w", t.Path(), storage.ErrCorrupt, err)
	}
	c.put(key, nodes)
	return nodes, nil
}

// put keeps the nodes of a tile, unless wider ones are kept.
func (c *nodeCache) put(key tile.Tile, nodes *tile.Nodes) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.nodes[key]
	if kept != nil && kept.Width() >= nodes.Width() {
		return
	}
	if c.nodes == nil {
		c.nodes = make(map[tile.Tile]*tile.Nodes)
	}
	c.nodes[key] = nodes
	if kept == nil {
		c.order = append(c.order, key)
	}
	if len(c.order) > maxNodes {
		delete(c.nodes, c.order[0])
		c.order = c.order[1:]
	}
}

// Consistency returns the consistency proof between two sizes, at most the
// committed one (RFC 6962 section 2.1.2).
func (l *Log) Consistency(ctx context.Context, from, to int64) ([]tlog.Hash, error) {
	v := l.view.Load()
	if from < 0 || from > to || to > v.head.Size {
		return nil, fmt.Errorf("%w: sizes %d and %d", ErrNotFound, from, to)
	}
	return tile.Consistency(ctx, l.tileReader(v), from, to)
}

// Lookup returns where the event with this identity stands and its content
// (entry.Entry.Content), or ErrNotFound.
func (l *Log) Lookup(ctx context.Context, identity [32]byte) (Position, [32]byte, error) {
	l.identitiesMu.RLock()
	candidates := l.identities.candidates(identity)
	l.identitiesMu.RUnlock()
	for _, index := range candidates {
		stored, err := l.identityAt(ctx, index)
		if err != nil {
			return Position{}, [32]byte{}, err
		}
		if stored != identity {
			continue
		}
		leaf, err := l.Entry(ctx, index)
		if err != nil {
			return Position{}, [32]byte{}, err
		}
		e, err := entry.Parse(leaf)
		if err != nil {
			return Position{}, [32]byte{}, fmt.Errorf("log: leaf %d: %w: %w", index, storage.ErrCorrupt, err)
		}
		return Position{Index: index, Time: e.Time, LeafHash: entry.LeafHash(leaf), Existing: true}, e.Content(), nil
	}
	return Position{}, [32]byte{}, ErrNotFound
}

// identityAt reads the identity of a leaf. The identities of a bundle stand
// under as many keys as there were commits to it, or under one when sealed; the
// first begins with the bundle.
func (l *Log) identityAt(ctx context.Context, index int64) ([32]byte, error) {
	var identity [32]byte
	first := index - index%tile.Width
	at := int(index-first) * len(identity)
	found := false
	err := l.cfg.Store.Scan(ctx, numberKey(prefixIdentity, first), numberKey(prefixIdentity, index+1), func(_, value []byte) error {
		if at >= 0 && at+len(identity) <= len(value) {
			copy(identity[:], value[at:])
			found = true
		}
		at -= len(value)
		return nil
	})
	if err != nil {
		return identity, fmt.Errorf("log: reading the identity of leaf %d: %w", index, err)
	}
	if !found {
		return identity, fmt.Errorf("log: the identity of leaf %d is not in the store: %w", index, storage.ErrCorrupt)
	}
	return identity, nil
}

// IndexedLeaf is a leaf with its index.
type IndexedLeaf struct {
	Index int64
	Leaf  []byte
}

// AuthorityLeaves returns the authority leaves from index from on, in order.
func (l *Log) AuthorityLeaves(ctx context.Context, from int64) ([]IndexedLeaf, error) {
	var leaves []IndexedLeaf
	head := l.Head()
	err := l.cfg.Store.Scan(ctx, numberKey(prefixAuthority, from), numberKey(prefixAuthority, head.Size), func(key, value []byte) error {
		index, err := keyNumber(key)
		if err != nil {
			return err
		}
		leaves = append(leaves, IndexedLeaf{Index: index, Leaf: bytes.Clone(value)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("log: reading authority leaves: %w", err)
	}
	return leaves, nil
}
