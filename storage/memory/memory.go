package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/escortlog/escortlog/storage"
)

// Limits of one commit: what storage/badger takes by default.
var Limits = storage.Limits{Bytes: 8 << 20, Keys: 1 << 16}

// ErrInjected is wrapped by the error of every operation that was told to fail.
var ErrInjected = errors.New("storage/memory: injected fault")

// ErrInUse is returned by Open while another store has the disk open.
var ErrInUse = errors.New("storage/memory: another store has this disk open")

// Outcome is what becomes of one Commit.
type Outcome int

const (
	// Succeed applies the batch and returns nil.
	Succeed Outcome = iota
	// Fail applies nothing and returns an error: outcome unknown to the caller.
	Fail
	// FailApplied applies the batch and returns an error all the same.
	FailApplied
	// Full applies nothing and returns storage.ErrFull.
	Full
)

// Disk is what survives a crash: the committed keys, and the faults to come.
// Its methods may be called from any goroutine, also while a store is open.
type Disk struct {
	limits storage.Limits

	mu      sync.Mutex
	data    *tree  // what a store opened now would see
	open    *Store // nil when no store is open
	commits []Outcome
	reads   []error
}

// Image is the content of a disk at one moment.
type Image struct{ data *tree }

// NewDisk returns an empty disk.
func NewDisk() *Disk { return &Disk{limits: Limits, data: newTree()} }

// SetLimits changes the limits of the stores opened from now on.
func (d *Disk) SetLimits(l storage.Limits) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limits = l
}

// OnCommit queues the outcomes of the next commits that reach the disk, in
// order. Commits refused before (a moved head, a batch too large, a context
// that ended) use none up; with the queue empty commits succeed.
func (d *Disk) OnCommit(outcomes ...Outcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.commits = append(d.commits, outcomes...)
}

// OnRead queues the results of the next reads, in order: each Get and each
// Scan uses one up and fails with it, wrapped, or passes where it is nil.
// A Scan that fails has called its function for no key.
func (d *Disk) OnRead(results ...error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads = append(d.reads, results...)
}

// Open returns a store that sees what the disk holds. A disk has one open
// store at a time.
func (d *Disk) Open() (*Store, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open != nil {
		return nil, ErrInUse
	}
	d.open = &Store{disk: d, limits: d.limits, view: d.data.clone()}
	return d.open, nil
}

// Crash ends the open store as a kill would: what it committed stays, all its
// later operations return storage.ErrClosed, and the disk can be opened again.
func (d *Disk) Crash() {
	d.mu.Lock()
	s := d.open
	d.open = nil
	d.mu.Unlock()
	if s != nil {
		_ = s.end() // it may have been closed
	}
}

// Snapshot returns the disk's content as it is now.
func (d *Disk) Snapshot() *Image {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &Image{d.data.clone()}
}

// Restore crashes the open store and puts an older content back: what an
// operator does who restores a backup.
func (d *Disk) Restore(i *Image) {
	d.Crash()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.data = i.data.clone()
}

// Tamper crashes the open store and replaces the value of key behind the
// contract's back, or removes the key when change returns nil. change gets nil
// for a key that is not there.
func (d *Disk) Tamper(key []byte, change func(value []byte) []byte) {
	d.Crash()
	d.mu.Lock()
	defer d.mu.Unlock()
	if v := change(slices.Clone(d.data.values[string(key)])); v != nil {
		d.data.put(key, v)
	} else {
		d.data.remove(key)
	}
}

// Store is one view of a disk. It implements storage.Store.
type Store struct {
	disk   *Disk
	limits storage.Limits

	commit sync.Mutex // held by the one commit under way

	mu     sync.RWMutex // guards what follows
	view   *tree
	failed error
	closed bool
}

var _ storage.Store = (*Store)(nil)

// Commit implements storage.Store. Beside the contract's errors it returns one
// that wraps ErrInjected where the disk was told to fail.
func (s *Store) Commit(ctx context.Context, b *storage.Batch) error {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.mu.RLock()
	closed, failed, head := s.closed, s.failed, s.view.values[string(storage.HeadKey)]
	s.mu.RUnlock()
	switch {
	case closed:
		return storage.ErrClosed
	case failed != nil:
		return failed
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("storage/memory: commit not begun: %w", err)
	}
	if err := b.Check(s.limits); err != nil {
		return err
	}
	if !bytes.Equal(head, b.OldHead) {
		return storage.ErrHeadMoved
	}

	err := s.disk.apply(s, b)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.view.apply(b)
	case errors.Is(err, ErrInjected):
		s.failed = err
	}
	return err
}

// apply gives b the next outcome in the queue.
func (d *Disk) apply(s *Store, b *storage.Batch) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open != s {
		return storage.ErrClosed
	}
	outcome := Succeed
	if len(d.commits) > 0 {
		outcome, d.commits = d.commits[0], d.commits[1:]
	}
	switch outcome {
	case Full:
		return storage.ErrFull
	case Fail:
		return fmt.Errorf("%w: commit", ErrInjected)
	}
	d.data.apply(b)
	if outcome == FailApplied {
		return fmt.Errorf("%w: commit", ErrInjected)
	}
	return nil
}

func (s *Store) beginRead(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	closed := s.closed
	s.mu.RUnlock()
	if closed {
		return storage.ErrClosed
	}
	d := s.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.reads) == 0 {
		return nil
	}
	err := d.reads[0]
	d.reads = d.reads[1:]
	if err != nil {
		return fmt.Errorf("%w: read: %w", ErrInjected, err)
	}
	return nil
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := s.beginRead(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, ok := s.view.values[string(key)]
	if !ok {
		return nil, storage.ErrNotFound
	}
	return bytes.Clone(v), nil
}

// Scan implements storage.Store.
func (s *Store) Scan(ctx context.Context, start, end []byte, fn func(key, value []byte) error) error {
	if err := s.beginRead(ctx); err != nil {
		return err
	}
	// The snapshot is taken here: values are never changed in place.
	s.mu.RLock()
	kvs := s.view.slice(start, end)
	s.mu.RUnlock()
	for _, kv := range kvs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(kv.Key, bytes.Clone(kv.Value)); err != nil {
			return err
		}
	}
	return nil
}

// Limits implements storage.Store.
func (s *Store) Limits() storage.Limits { return s.limits }

// Close implements storage.Store. Closing twice returns storage.ErrClosed.
func (s *Store) Close() error {
	s.commit.Lock() // waits for the commit under way
	defer s.commit.Unlock()
	d := s.disk
	d.mu.Lock()
	if d.open == s {
		d.open = nil
	}
	d.mu.Unlock()
	return s.end()
}

func (s *Store) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return storage.ErrClosed
	}
	s.closed = true
	return nil
}

// tree is an ordered map: the keys of values, sorted.
type tree struct {
	values map[string][]byte
	keys   []string
}

func newTree() *tree { return &tree{values: make(map[string][]byte)} }

func (t *tree) clone() *tree {
	return &tree{values: maps.Clone(t.values), keys: slices.Clone(t.keys)}
}

func (t *tree) put(key, value []byte) {
	k := string(key)
	if _, ok := t.values[k]; !ok {
		i, _ := slices.BinarySearch(t.keys, k)
		t.keys = slices.Insert(t.keys, i, k)
	}
	t.values[k] = append([]byte{}, value...)
}

func (t *tree) remove(key []byte) {
	k := string(key)
	if _, ok := t.values[k]; ok {
		i, _ := slices.BinarySearch(t.keys, k)
		t.keys = slices.Delete(t.keys, i, i+1)
		delete(t.values, k)
	}
}

// removeMany is remove for so many keys that one pass over all is cheaper.
func (t *tree) removeMany(keys [][]byte) {
	for _, k := range keys {
		delete(t.values, string(k))
	}
	t.keys = slices.DeleteFunc(t.keys, func(k string) bool { _, ok := t.values[k]; return !ok })
}

func (t *tree) apply(b *storage.Batch) {
	if len(b.Delete) > 1000 {
		t.removeMany(b.Delete)
	} else {
		for _, k := range b.Delete {
			t.remove(k)
		}
	}
	for _, kv := range b.Put {
		t.put(kv.Key, kv.Value)
	}
	t.put(storage.HeadKey, b.NewHead)
}

func (t *tree) slice(start, end []byte) []storage.KV {
	i, _ := slices.BinarySearch(t.keys, string(start))
	j := len(t.keys)
	if end != nil {
		j, _ = slices.BinarySearch(t.keys, string(end))
	}
	var kvs []storage.KV
	for ; i < j; i++ {
		kvs = append(kvs, storage.KV{Key: []byte(t.keys[i]), Value: t.values[t.keys[i]]})
	}
	return kvs
}
