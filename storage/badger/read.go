package badger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime/debug"

	engine "github.com/dgraph-io/badger/v4"

	"github.com/escortlog/escortlog/storage"
)

// Every key stands behind one byte in the engine, so that none is reserved.
const (
	prefixUser  = 'k' // the store's keys
	prefixFlush = 'm' // the marker of reclaim
)

func userKey(key []byte) []byte { return append([]byte{prefixUser}, key...) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal appends a checksum of key and value, and the value. Badger has its own
// over records and blocks, but gives an empty value where it meets a bad one,
// and does not compare the key of the record a pointer leads to.
func seal(to, key, value []byte) []byte {
	return append(binary.BigEndian.AppendUint32(to, checksum(key, value)), value...)
}

// sealedSize is how many bytes seal appends.
func sealedSize(value []byte) int { return 4 + len(value) }

func unseal(key, sealed []byte) ([]byte, error) {
	if len(sealed) < 4 {
		return nil, fmt.Errorf("%w: the value of key %q cannot be read", storage.ErrCorrupt, key)
	}
	if value := sealed[4:]; checksum(key, value) == binary.BigEndian.Uint32(sealed) {
		return value, nil
	}
	return nil, fmt.Errorf("%w: the value of key %q does not match its checksum", storage.ErrCorrupt, key)
}

// checksum is over the length of key (2 bytes, big-endian), key and value.
func checksum(key, value []byte) uint32 {
	sum := crc32.Checksum(binary.BigEndian.AppendUint16(nil, uint16(len(key))), castagnoli)
	return crc32.Update(crc32.Update(sum, castagnoli, key), castagnoli, value)
}

// snapshot is a version being read. While it is open no compaction drops what
// it sees.
type snapshot struct {
	store   *Store
	version uint64
	txn     *engine.Txn
	it      *engine.Iterator // nil until iterator is called
}

// snapshot opens the newest durable version.
func (s *Store) snapshot() (*snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, storage.ErrClosed
	}
	return s.snapshotLocked(), nil
}

func (s *Store) snapshotLocked() *snapshot {
	s.readers[s.version]++
	return &snapshot{store: s, version: s.version, txn: s.db.NewTransactionAt(s.version, false)}
}

func (r *snapshot) iterator() *engine.Iterator {
	r.it = r.txn.NewIterator(engine.IteratorOptions{}) // forward, no prefetching
	return r.it
}

func (r *snapshot) close() {
	if r.it != nil {
		r.it.Close()
	}
	r.txn.Discard()
	r.abandon()
}

// abandon ends the reading and leaves the iterator open: the files that it needs
// stay on the disk for good.
func (r *snapshot) abandon() {
	s := r.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers[r.version]--; s.readers[r.version] == 0 {
		delete(s.readers, r.version)
	}
	if len(s.readers) == 0 {
		s.idle.Broadcast()
	}
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.get(key)
}

func (s *Store) get(key []byte) ([]byte, error) {
	r, err := s.snapshot()
	if err != nil {
		return nil, err
	}
	defer r.close()
	var sealed []byte
	err = s.guarded(func() error {
		item, err := r.txn.Get(userKey(key))
		if err != nil {
			return err
		}
		sealed, err = item.ValueCopy(nil)
		return err
	})
	switch {
	case err == nil:
		return unseal(key, sealed)
	case !errors.Is(err, engine.ErrKeyNotFound):
		return nil, fmt.Errorf("storage/badger: reading key %q: %w", key, err)
	}
	// Badger takes a table it cannot read for one that does not have the key.
	k := userKey(key)
	if err := s.tables.check(s.db, k, append(k, 0)); err != nil {
		return nil, fmt.Errorf("storage/badger: looking for key %q: %w", key, err)
	}
	return nil, storage.ErrNotFound
}

// Scan implements storage.Store. No lock is held around fn, which may use the
// store. When a part of the range cannot be read the error comes at the end, in
// place of any that fn returned: what fn saw is right, but may not be all.
func (s *Store) Scan(ctx context.Context, start, end []byte, fn func(key, value []byte) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := s.snapshot()
	if err != nil {
		return err
	}
	defer r.close()
	from, to := userKey(start), []byte{prefixUser + 1}
	if end != nil {
		to = userKey(end)
	}
	reached, err := r.scan(ctx, from, to, fn)
	if reached != nil {
		to = append(reached, 0)
	}
	// Badger's iterator passes over a block that it cannot read.
	if bad := s.tables.check(s.db, from, to); bad != nil {
		return fmt.Errorf("storage/badger: scanning from key %q: %w", start, bad)
	}
	return err
}

// scan calls fn for the keys from from to before to. When it ends early it
// returns the key it had reached.
func (r *snapshot) scan(ctx context.Context, from, to []byte, fn func(key, value []byte) error) (reached []byte, err error) {
	var it *engine.Iterator
	err = r.store.guarded(func() error {
		it = r.iterator()
		it.Seek(from)
		return nil
	})
	var key, sealed []byte
	for ; err == nil && it.Valid(); err = r.store.guarded(func() error { it.Next(); return nil }) {
		if err := ctx.Err(); err != nil {
			return key, err
		}
		err := r.store.guarded(func() (err error) {
			key = it.Item().KeyCopy(key)
			sealed, err = it.Item().ValueCopy(sealed)
			return err
		})
		if err != nil {
			return key, err
		}
		if bytes.Compare(key, to) >= 0 {
			return nil, nil
		}
		value, err := unseal(key[1:], sealed)
		if err != nil {
			return key, err
		}
		if err := fn(key[1:], value); err != nil {
			return key, err
		}
	}
	return nil, err
}

// errFaulted is wrapped by the error of a read that panicked.
var errFaulted = fmt.Errorf("%w: reading from the disk faulted", storage.ErrCorrupt)

// guarded calls f, which reads through the engine or from a mapped file, and
// returns an error where it would panic: on a damaged block, or on a page that
// the disk does not give.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errFaulted, p)
		}
	}()
	return f()
}

// guarded is the function guarded, for reads that may leave a lock of the engine
// behind when they panic: no commit may run into it, and Close must not wait.
func (s *Store) guarded(f func() error) error {
	err := guarded(f)
	if errors.Is(err, errFaulted) {
		_ = s.fail(fmt.Errorf("storage/badger: a read faulted, open the store again: %w", err))
	}
	return err
}
