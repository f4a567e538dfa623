package badger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	engine "github.com/dgraph-io/badger/v4"

	"github.com/escortlog/escortlog/storage"
)

const (
	// deadPart is how much of a value log must be deleted values for it to be
	// written anew without them.
	deadPart = 0.5

	// maxLevel0 is how many tables may lie in level 0, where each is asked for
	// each key, before an opened store compacts them.
	maxLevel0 = 8

	// minReclaim is how many bytes committed make reclaiming worth the while of
	// a store that has nothing else to do.
	minReclaim = 8 << 20
)

// Reclaim gives the space of deleted and overwritten values back to the disk.
// It is called by itself, see Options.ReclaimAfter; a program may call it when
// it has nothing else to do. Commits wait while the tree is compacted, which
// takes milliseconds for 100,000 keys, and while one value log of at most 64 MiB
// is collected; in between they go on.
func (s *Store) Reclaim(ctx context.Context) error {
	s.reclaiming.Lock()
	defer s.reclaiming.Unlock()
	if err := s.compact(ctx); err != nil {
		return err
	}
	moved := false
	for {
		more, err := s.collect(ctx)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		moved = true
	}
	if moved {
		// Nothing of what was moved is in a memtable any more, and no name of
		// its new files is left to chance.
		if err := s.compact(ctx); err != nil {
			return err
		}
	}
	return s.removeCollected(ctx)
}

// removeCollected lets Badger remove the value logs that were collected, also
// by an earlier Reclaim. Badger does so only while there is no iterator; while
// one is open, or a memtable may be waiting to be written, it is left to the
// next Reclaim, or to Close.
func (s *Store) removeCollected(ctx context.Context) error {
	if err := s.lockWriter(ctx); err != nil {
		return err
	}
	defer s.unlockWriter()
	if s.sinceFlush > memTableSize/2 {
		return nil
	}
	if err := s.renewPin(); err != nil {
		return s.fail(fmt.Errorf("storage/badger: removing collected files: %w", err))
	}
	return nil
}

// compact writes the memtable to a table and merges all of level 0 into the
// last level, which tells Badger what is dead in its value logs.
//
// Badger has one call for that: dropping a prefix, here that of a marker
// written for the purpose. A compaction that cannot create a table, or meets a
// damaged block, drops keys and reports success; so all blocks are checked
// before, and all keys compared after. Until then the files of before are kept, and
// opening the store goes on from those.
func (s *Store) compact(ctx context.Context) error {
	if err := s.lockWriter(ctx); err != nil {
		return err
	}
	before, after, err := s.compactLocked()
	s.unlockWriter()
	if err != nil {
		return err
	}
	defer after.close()
	if err := sameKeys(before, after); err != nil {
		before.abandon()
		return s.fail(fmt.Errorf("storage/badger: compaction lost a key, which opening %s again undoes: %w", s.dir, err))
	}
	if err := afterCompaction(s.dir); err != nil {
		before.abandon()
		return s.fail(fmt.Errorf("storage/badger: the end of compacting: %w", err))
	}
	before.close()
	return nil
}

// compactLocked returns iterators opened before and after, over one version.
func (s *Store) compactLocked() (before, after *snapshot, err error) {
	s.mu.Lock()
	failed := s.failed
	s.mu.Unlock()
	if failed != nil {
		return nil, nil, failed
	}
	if err := s.tables.check(s.db, nil, []byte{0xff}); err != nil {
		return nil, nil, s.fail(fmt.Errorf("storage/badger: a table is damaged, stop and restore %s: %w", s.dir, err))
	}
	lsm, _ := s.treeSize()
	if err := checkFree(s.dir, s.opts.MinFree+2*lsm+memTableSize); err != nil {
		return nil, nil, err
	}
	if before, err = s.holdBefore(); err != nil {
		return nil, nil, fmt.Errorf("storage/badger: not compacting: %w", err)
	}
	if err := s.flush(); err != nil {
		before.abandon()
		return nil, nil, s.fail(fmt.Errorf("storage/badger: compacting: %w", err))
	}
	if after, err = s.snapshot(); err != nil { // closed meanwhile
		before.abandon()
		return nil, nil, err
	}
	after.iterator()
	return before, after, nil
}

// holdBefore opens an iterator, which holds the files of before, and then keeps MANIFEST.
// A memtable may be waiting or being written meanwhile. Either the iterator holds it, and so
// its WAL, or its table; but Badger names a table before any iterator can hold it. That
// moment is waited for: what is named and not held would go while the compaction may still
// be undone.
func (s *Store) holdBefore() (*snapshot, error) {
	for {
		tables := s.db.Tables()
		before, err := s.snapshot()
		if err != nil {
			return nil, err
		}
		before.iterator()
		kept, err := beforeCompaction(s.dir, tables)
		if kept && err == nil {
			return before, nil
		}
		before.close()
		if err != nil {
			return nil, err
		}
		select {
		case <-s.closing:
			return nil, storage.ErrClosed
		case <-s.tripped.fired: // it may never come
			return nil, s.tripped.err()
		case <-time.After(time.Millisecond):
		}
	}
}

// flush has Badger write the memtable and compact, and syncs the names.
func (s *Store) flush() error {
	s.db.SetDiscardTs(s.oldestRead())
	// The marker has the version of the last commit: it is none itself.
	if s.version == 0 {
		return nil // nothing has ever been committed
	}
	marker := []byte{prefixFlush}
	txn := s.db.NewTransactionAt(s.version, true)
	defer txn.Discard()
	if err := txn.Set(marker, nil); err != nil {
		return err
	}
	if err := s.commitAt(txn, s.version, false); err != nil {
		return err
	}
	if err := s.db.DropPrefix(marker); err != nil {
		return err
	}
	s.sinceFlush, s.ahead = 0, 0
	if err := s.tripped.err(); err != nil {
		return err
	}
	return s.syncNames()
}

// oldestRead returns the oldest version that is being read.
func (s *Store) oldestRead() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := s.version
	for v := range s.readers {
		oldest = min(oldest, v)
	}
	return oldest
}

// treeSize returns the bytes of all tables, and how many lie in level 0.
func (s *Store) treeSize() (size int64, level0 int) {
	for _, t := range s.db.Tables() {
		size += int64(t.OnDiskSize)
		if t.Level == 0 {
			level0++
		}
	}
	return size, level0
}

// sameKeys compares the keys and versions that two snapshots of one version
// see, the marker aside.
func sameKeys(before, after *snapshot) error {
	return guarded(func() error {
		a, b := before.it, after.it
		a.Seek([]byte{prefixUser})
		b.Seek([]byte{prefixUser})
		inRange := func(it *engine.Iterator) bool { return it.ValidForPrefix([]byte{prefixUser}) }
		for ; inRange(a) && inRange(b); a.Next() {
			if !bytes.Equal(a.Item().Key(), b.Item().Key()) || a.Item().Version() != b.Item().Version() {
				break
			}
			b.Next()
		}
		if inRange(a) {
			return fmt.Errorf("%w: key %q of commit %d is gone", storage.ErrCorrupt, a.Item().Key(), a.Item().Version())
		}
		if inRange(b) {
			return fmt.Errorf("%w: key %q of commit %d has come", storage.ErrCorrupt, b.Item().Key(), b.Item().Version())
		}
		return nil
	})
}

// collect writes the living values of the value log with most dead ones anew,
// and says whether there may be more to do. The old file stays until the names
// of the new ones are durable: there is a pin.
func (s *Store) collect(ctx context.Context) (more bool, err error) {
	path, size, err := s.deadest()
	if err != nil || path == "" {
		return false, err
	}
	// Badger stops at a damaged record as if it were the end, and then removes
	// the file.
	if err := checkValueLog(path); err != nil {
		s.log.Warn("the space of a damaged value log is not reclaimed", "error", err)
		return false, nil
	}
	// Badger allows commits meanwhile, but reads the memtable's newest version
	// without a lock.
	if err := s.lockWriter(ctx); err != nil {
		return false, err
	}
	defer s.unlockWriter()
	if err := checkFree(s.dir, s.opts.MinFree+2*size); err != nil {
		return false, err
	}
	result := make(chan error, 1)
	go func() { result <- s.db.RunValueLogGC(deadPart) }()
	err = s.tripped.await(result)
	if errors.Is(err, engine.ErrNoRewrite) || errors.Is(err, engine.ErrRejected) {
		return false, nil
	}
	if err != nil {
		return false, s.fail(fmt.Errorf("storage/badger: moving the values of %s: %w", path, err))
	}
	s.log.Debug("value log collected", "file", path, "bytes", size)
	return true, nil
}

// deadest returns the value log that Badger would collect, and its size in
// bytes. Badger keeps pairs of a file's number and its dead bytes, 8 bytes each,
// big-endian, until number 0. The newest file, being written, is not collected.
func (s *Store) deadest() (path string, size int64, err error) {
	data, err := os.ReadFile(filepath.Join(s.dir, "DISCARD"))
	if err != nil {
		return "", 0, err
	}
	var id, most uint64
	for ; len(data) >= 16 && binary.BigEndian.Uint64(data) != 0; data = data[16:] {
		if dead := binary.BigEndian.Uint64(data[8:]); dead > most {
			id, most = binary.BigEndian.Uint64(data), dead
		}
	}
	files, err := listFiles(s.dir)
	if err != nil {
		return "", 0, err
	}
	for i, f := range files.values {
		if f.id == id && i < len(files.values)-1 && float64(most) >= deadPart*float64(f.size) {
			return f.path, f.size, nil
		}
	}
	return "", 0, nil
}

// checkValueLog checks every record of a value log.
func checkValueLog(path string) error {
	data, unmap, err := mapFile(path, -1)
	if err != nil {
		return err
	}
	defer unmap()
	return guarded(func() error {
		pos := min(logHeaderSize, len(data))
		for pos < len(data) {
			r := parseRecord(data[pos:])
			if r.size == 0 {
				break
			}
			pos += r.size
		}
		if rest := bytes.Trim(data[pos:], "\x00"); len(rest) > 0 {
			return corrupt(path, fmt.Sprintf("the record at offset %d is damaged", pos))
		}
		return nil
	})
}

func (s *Store) reclaimInBackground() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.wake, s.done = cancel, make(chan struct{}, 1), make(chan struct{})
	if s.opts.ReclaimAfter > 0 {
		s.wakeReclaim() // level 0 may have grown by opening again and again
	}
	go func() {
		defer close(s.done)
		for s.worthReclaiming(ctx) {
			before := s.unreclaimed.Load()
			if err := s.Reclaim(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("space not reclaimed", "dir", s.dir, "error", err)
			}
			s.unreclaimed.Add(-before)
		}
	}()
}

// worthReclaiming waits until there is something to reclaim, and reports false
// when ctx ends first.
func (s *Store) worthReclaiming(ctx context.Context) bool {
	idle := time.NewTicker(s.opts.ReclaimIdle)
	defer idle.Stop()
	before := int64(-1)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-s.wake:
			if _, level0 := s.treeSize(); level0 >= maxLevel0 || s.unreclaimed.Load() >= s.opts.ReclaimAfter {
				return true
			}
		case <-idle.C:
			n := s.unreclaimed.Load()
			if n == before && n >= minReclaim && s.opts.ReclaimAfter > 0 {
				return true
			}
			before = n
		}
	}
}

func (s *Store) wakeReclaim() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
