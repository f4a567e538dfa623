package badger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	engine "github.com/dgraph-io/badger/v4"

	"github.com/escortlog/escortlog/storage"
)

// recordOverhead is what a key takes in WAL and memtable beside its own bytes
// and those of its value, at most.
const recordOverhead = 256

// Commit implements storage.Store: one batch is one transaction of the engine.
func (s *Store) Commit(ctx context.Context, b *storage.Batch) error {
	if err := b.Check(limits); err != nil {
		return err
	}
	if err := s.lockWriter(ctx); err != nil {
		return err
	}
	defer s.unlockWriter()
	if err := s.refused(b); err != nil {
		return err
	}
	if err := s.apply(b); err != nil {
		return s.fail(fmt.Errorf("storage/badger: commit failed, outcome unknown, open the store again: %w", err))
	}
	s.head = bytes.Clone(b.NewHead)
	s.sinceFlush += b.Size() + recordOverhead*int64(b.Keys())
	if s.unreclaimed.Add(b.Size()) >= s.opts.ReclaimAfter && s.opts.ReclaimAfter > 0 {
		s.wakeReclaim()
	}
	return nil
}

// lockWriter waits for the token of the one writer.
func (s *Store) lockWriter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("storage/badger: commit not begun: %w", err)
	}
	select {
	case <-s.closing:
		return storage.ErrClosed
	default:
	}
	select {
	case <-s.writer:
		return nil
	case <-s.closing:
		return storage.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("storage/badger: commit not begun: %w", ctx.Err())
	}
}

func (s *Store) unlockWriter() { s.writer <- struct{}{} }

// refused returns the error of a batch that must not be begun.
func (s *Store) refused(b *storage.Batch) error {
	s.mu.Lock()
	failed := s.failed
	s.mu.Unlock()
	if failed == nil && s.tripped.err() != nil {
		failed = s.fail(fmt.Errorf("storage/badger: the engine failed, open the store again: %w", s.tripped.err()))
	}
	if failed != nil {
		return failed
	}
	if !bytes.Equal(s.head, b.OldHead) {
		return storage.ErrHeadMoved
	}
	// A value is written to its log, a key to the WAL and to a table.
	return checkFree(s.dir, s.opts.MinFree+2*b.Size())
}

// fail makes err the result of every later commit.
func (s *Store) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = err
		s.log.Error("the store takes no more commits until it is opened again", "error", err)
	}
	return s.failed
}

// apply writes b and returns once it is durable. A crash before that leaves all
// of b or nothing: the WAL's last record of a transaction makes it count, and
// the values it points to are on the disk before it is written.
func (s *Store) apply(b *storage.Batch) error {
	next := s.version + 1
	txn := s.db.NewTransactionAt(s.version, true)
	defer txn.Discard()
	s.buffer = slices.Grow(s.buffer[:0], int(b.Size())+4*b.Keys()) // never moved while txn refers to it
	for _, kv := range b.Put {
		if err := s.set(txn, kv.Key, kv.Value); err != nil {
			return err
		}
	}
	for _, k := range b.Delete {
		if err := txn.Delete(userKey(k)); err != nil {
			return err
		}
	}
	if err := s.set(txn, storage.HeadKey, b.NewHead); err != nil {
		return err
	}
	s.mapped.advise(b.Size())
	if err := s.writeAhead(walBytes(b)); err != nil {
		return err
	}
	if err := s.commitAt(txn, next, hasLongValues(b)); err != nil {
		return err
	}
	// The WAL or the value log this went into may be new.
	if err := s.syncNames(); err != nil {
		return err
	}
	s.mu.Lock()
	s.version = next
	s.mu.Unlock()
	return nil
}

// hasLongValues reports whether any value of a batch is for the value log.
func hasLongValues(b *storage.Batch) bool {
	long := func(value []byte) bool { return sealedSize(value) >= valueThreshold }
	return long(b.NewHead) || slices.ContainsFunc(b.Put, func(kv storage.KV) bool { return long(kv.Value) })
}

// commitAt commits a transaction of the engine, and returns when it is durable. It has
// long values if any is for the value log.
func (s *Store) commitAt(txn *engine.Txn, version uint64, longValues bool) error {
	return s.syncs.during(longValues, func() error {
		result := make(chan error, 1)
		if err := txn.CommitAt(version, func(err error) { result <- err }); err != nil {
			return err
		}
		return s.tripped.await(result)
	})
}

// set seals a value into the buffer, which the engine reads until the commit is done.
func (s *Store) set(txn *engine.Txn, key, value []byte) error {
	at := len(s.buffer)
	s.buffer = seal(s.buffer, key, value)
	err := txn.Set(userKey(key), s.buffer[at:])
	if errors.Is(err, engine.ErrTxnTooBig) {
		// Limits would not tell the truth. Nothing has left the process.
		return fmt.Errorf("%w: %w", storage.ErrTooLarge, err)
	}
	return err
}
