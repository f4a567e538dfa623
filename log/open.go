package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
)

// ErrExists says that the store already holds a log.
var ErrExists = errors.New("log: the store already holds a log")

// ErrNoLog says that the store holds no log.
var ErrNoLog = errors.New("log: the store holds no log")

// Create makes a new log whose leaf 0 is first, an authority leaf with this
// identity and its time set, and returns its head. The guard must be made next,
// from that head: until then the log cannot be opened.
func Create(ctx context.Context, store storage.Store, first []byte, identity [32]byte) (Head, error) {
	if _, err := store.Get(ctx, storage.HeadKey); err == nil {
		return Head{}, ErrExists
	} else if !errors.Is(err, storage.ErrNotFound) {
		return Head{}, fmt.Errorf("log: creating: %w", err)
	}
	e, err := entry.Parse(first)
	if err != nil {
		return Head{}, fmt.Errorf("log: creating: %w", err)
	}
	g := newGroup(&view{head: Head{Time: e.Time}}, store.Limits())
	g.byIdentity = make(map[[32]byte]int)
	g.append(&Pending{sub: &Submission{Identity: identity, Leaf: bytes.Clone(first), Authority: true}})
	g.finish()
	if err := store.Commit(ctx, &storage.Batch{NewHead: g.head.marshal(), Put: g.put}); err != nil {
		return Head{}, fmt.Errorf("log: committing leaf 0: %w", err)
	}
	return g.head, nil
}

// ReadHead returns the head of a store, or ErrNoLog.
func ReadHead(ctx context.Context, store storage.Store) (Head, error) {
	b, err := store.Get(ctx, storage.HeadKey)
	if errors.Is(err, storage.ErrNotFound) {
		return Head{}, ErrNoLog
	}
	if err != nil {
		return Head{}, fmt.Errorf("log: reading the head: %w", err)
	}
	return parseHead(b)
}

// memoryTimeout is how long Open's first look at the witnesses may take before
// the log goes on without those that do not answer.
const memoryTimeout = 5 * time.Second

// Open opens the log. It is the only recovery there is and runs at every start:
// it reloads the head, rebuilds the edge of the tree from what is stored and
// compares its root with the head's, and compares the store with the guard,
// with the checkpoint it last published, and, before the first commit, with
// what the witnesses remember.
//
// A damaged store is an error, wrapping storage.ErrCorrupt and naming what is
// damaged. A store that is sound and older than it should be opens halted: see
// Ready.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	cfg.setDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	head, err := ReadHead(ctx, cfg.Store)
	if err != nil {
		return nil, err
	}
	l := &Log{
		cfg:      cfg,
		pool:     newPool(cfg.PoolEntries, cfg.PoolBytes),
		extras:   extras{maxBytes: cfg.Store.Limits().Bytes / 4},
		publish:  newPublish(),
		unsealed: newUnsealed(),
	}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.metrics = newMetrics(cfg.Registerer, func() float64 { return float64(l.pool.len()) })
	l.metrics.size.Set(float64(head.Size))
	edge, err := loadEdge(ctx, cfg.Store, head)
	if err != nil {
		return nil, err
	}
	partial, err := l.loadIdentities(ctx, head.Size)
	if err != nil {
		return nil, err
	}
	l.view.Store(&view{head: head, edge: *edge, partial: partial})
	if err := l.loadEvidence(ctx); err != nil {
		return nil, err
	}
	first, err := firstUnsealed(ctx, cfg.Store, head.Size)
	if err != nil {
		return nil, err
	}
	for n := first; n < head.Size/tile.Width; n++ {
		l.unsealed.add(n) // some are sealed already, which will be seen
	}
	if err := l.checkGuard(head); err != nil {
		return nil, err
	}
	if err := l.loadPublished(ctx); err != nil {
		return nil, err
	}
	if m, ok := cfg.Cosigner.(MirrorCosigner); ok {
		m.ReadFrom(l.committed)
	}
	l.running.Go(func() {
		l.askMemories()
		l.running.Go(l.publishing)
		l.sequence()
	})
	l.running.Go(l.seal)
	return l, nil
}

// loadEdge rebuilds the right edge of the tree from the stored tiles and runs.
func loadEdge(ctx context.Context, store storage.Store, head Head) (*edge, error) {
	var tiles [8][]byte
	var bundle []byte
	n := head.Size / tile.Width
	if width := int(head.Size % tile.Width); width > 0 {
		var err error
		if bundle, err = readRuns(ctx, store, n); err != nil {
			return nil, err
		}
		entries, err := tile.SplitBundle(bundle, width)
		if err != nil {
			return nil, fmt.Errorf("log: partial bundle %d: %w: %w", n, storage.ErrCorrupt, err)
		}
		for _, leaf := range entries {
			hash := entry.LeafHash(leaf)
			tiles[0] = append(tiles[0], hash[:]...)
		}
	}
	// A hash in the tile of one level is the root of a full tile below it.
	for level := 1; level < len(tiles); level++ {
		n := head.Size >> (tile.Height * (level + 1))
		width := tile.WidthAt(level, n, head.Size)
		for i := range int64(width) {
			data, err := store.Get(ctx, tileKey(level-1, n*tile.Width+i))
			if err != nil {
				return nil, missing(err, tile.Tile{Level: level - 1, N: n*tile.Width + i, W: tile.Width}.Path())
			}
			hashes, err := tile.Hashes(data)
			if err != nil || len(hashes) != tile.Width {
				return nil, fmt.Errorf("log: hash tile %d/%d has %d bytes: %w", level-1, n*tile.Width+i, len(data), storage.ErrCorrupt)
			}
			root := tile.TileRoot(hashes)
			tiles[level] = append(tiles[level], root[:]...)
		}
	}
	e, err := newEdge(head.Size, tiles, bundle)
	if err != nil {
		return nil, err
	}
	if root := e.root(); root != head.Root {
		return nil, fmt.Errorf("log: the stored tiles and entries give root %v and the head of size %d says %v: %w. Run fsck to find what is damaged", root, head.Size, head.Root, storage.ErrCorrupt)
	}
	return e, nil
}

// loadIdentities fills the index of identities, and returns what is stored of the
// partial bundle.
func (l *Log) loadIdentities(ctx context.Context, size int64) (partial, error) {
	l.identities.reserve(size)
	var p partial
	next := int64(0)
	err := l.cfg.Store.Scan(ctx, []byte{prefixIdentity}, []byte{prefixIdentity + 1}, func(key, value []byte) error {
		index, err := keyNumber(key)
		if err != nil {
			return err
		}
		if index != next || len(value)%32 != 0 {
			return fmt.Errorf("log: %s: expected those from leaf %d on: %w", describeKey(key), next, storage.ErrCorrupt)
		}
		if index >= size-size%tile.Width {
			p.starts = append(p.starts, index)
			p.identities = append(p.identities, value...)
		}
		for ; len(value) > 0; value = value[32:] {
			l.identities.add([32]byte(value), next)
			next++
		}
		return nil
	})
	if err != nil {
		return partial{}, fmt.Errorf("log: loading identities: %w", err)
	}
	if next != size {
		return partial{}, fmt.Errorf("log: the store has the identities of %d leaves and %d leaves: %w", next, size, storage.ErrCorrupt)
	}
	return p, nil
}

func (l *Log) loadEvidence(ctx context.Context) error {
	return scanEvidence(ctx, l.cfg.Store, func(slot int, e Evidence) error {
		l.evidence.took(slot, e)
		return nil
	})
}

// firstUnsealed returns the number of the oldest bundle that lies in runs.
func firstUnsealed(ctx context.Context, store storage.Store, size int64) (int64, error) {
	first := size / tile.Width
	found := errors.New("found")
	err := store.Scan(ctx, []byte{prefixRun}, []byte{prefixRun + 1}, func(key, _ []byte) error {
		index, err := keyNumber(key)
		if err != nil {
			return err
		}
		first = index / tile.Width
		return found
	})
	if err != nil && !errors.Is(err, found) {
		return 0, fmt.Errorf("log: looking for unsealed bundles: %w", err)
	}
	return first, nil
}

// checkGuard halts the log when the guard remembers what the store does not
// hold. A guard that is behind missed its write in a crash, or its update when
// the store was restored from a newer copy: it is brought up to date. One that agrees
// is written anew all the same: what it said may have been in the page cache alone, after
// a sync that failed.
func (l *Log) checkGuard(head Head) error {
	remembered := l.cfg.Guard.Head()
	if err := l.holds(remembered.Size, remembered.Root); err != nil {
		l.halt(fmt.Errorf("the guard remembers otherwise: %w", err))
		return nil
	}
	if err := l.cfg.Guard.Advance(head); err != nil {
		return fmt.Errorf("log: bringing the guard up to date: %w", err)
	}
	return nil
}

// loadPublished goes on serving the checkpoint that was published last, so that
// a restart does not look like a rollback while the witnesses are being asked.
func (l *Log) loadPublished(ctx context.Context) error {
	note, err := l.cfg.Store.Get(ctx, keyPublished)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("log: reading the published checkpoint: %w", err)
	}
	text, _, err := checkpoint.ParseNote(note)
	if err != nil {
		return fmt.Errorf("log: published checkpoint: %w: %w", storage.ErrCorrupt, err)
	}
	cp, err := checkpoint.Parse(text)
	if err != nil {
		return fmt.Errorf("log: published checkpoint: %w: %w", storage.ErrCorrupt, err)
	}
	if err := l.contradicts(note); err != nil {
		l.halt(fmt.Errorf("the checkpoint published last says otherwise: %w", err))
		return nil
	}
	l.publish.set(&Published{Checkpoint: cp, Note: note, At: l.cfg.Now()})
	return nil
}

// askMemories asks every witness what it remembers before anything is committed
// or signed. A witness that does not answer is not waited for: any one that
// does is enough to notice a rollback.
func (l *Log) askMemories() {
	if l.cfg.Cosigner == nil {
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, memoryTimeout)
	defer cancel()
	if err := l.cfg.Cosigner.Remembered(ctx, l.remembered); err != nil && l.ctx.Err() == nil {
		l.cfg.Logger.Warn("starting without having asked every witness what it remembers", "error", err)
	}
}
