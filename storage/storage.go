package storage

import (
	"context"
	"errors"
	"fmt"
)

// HeadKey is the key under which every driver keeps the head that [Batch]
// compares and swaps. It can be read with Get; it never appears in Put or
// Delete.
var HeadKey = []byte("head")

var (
	// ErrNotFound is returned by Get for a key that is not there.
	ErrNotFound = errors.New("storage: key not found")

	// ErrHeadMoved is returned by Commit when the stored head is not the one
	// the batch was built on: another writer was here. Nothing was applied.
	ErrHeadMoved = errors.New("storage: head is not the one this commit was built on")

	// ErrTooLarge is returned by Commit for a batch beyond Limits. Nothing was
	// applied.
	ErrTooLarge = errors.New("storage: batch is larger than one commit takes")

	// ErrFull is returned by Commit when the driver refuses early because the
	// disk is nearly full. Nothing was applied; free space and try again.
	ErrFull = errors.New("storage: not enough free space to commit")

	// ErrInvalid is returned by Commit for a batch that no store takes, see
	// Batch.Check: a mistake of the caller. Nothing was applied.
	ErrInvalid = errors.New("storage: batch is not valid")

	// ErrCorrupt is wrapped by errors of Get and Scan, and by errors of
	// opening, when stored bytes are not the ones that were written.
	ErrCorrupt = errors.New("storage: stored bytes are corrupt")

	// ErrClosed is returned by every operation after Close.
	ErrClosed = errors.New("storage: store is closed")
)

// KV is one key with its value.
type KV struct{ Key, Value []byte }

// Batch is one guarded write. All of it is applied, or nothing is.
type Batch struct {
	// OldHead is the head this batch was built on. Commit applies the batch
	// only while the stored head equals it; nil means the store has no head
	// yet.
	OldHead []byte

	// NewHead becomes the head. It may equal OldHead: a batch may rearrange
	// what is stored (seal a bundle, keep a cosignature) without moving the
	// head.
	NewHead []byte

	// Put are the keys to write, of 1 to MaxKey bytes. A key may stand in Put or in
	// Delete, and only once.
	Put []KV

	// Delete are the keys to remove; one that is not there is not an error.
	Delete [][]byte
}

// Size returns the sum of the lengths of all keys and values, in bytes, heads
// included: what Limits.Bytes bounds.
func (b *Batch) Size() int64 {
	n := int64(len(HeadKey) + len(b.NewHead))
	for _, kv := range b.Put {
		n += int64(len(kv.Key) + len(kv.Value))
	}
	for _, k := range b.Delete {
		n += int64(len(k))
	}
	return n
}

// Keys returns the number of keys the batch touches, the head included: what
// Limits.Keys bounds.
func (b *Batch) Keys() int { return len(b.Put) + len(b.Delete) + 1 }

// MaxKey is the length of the longest key, in bytes.
const MaxKey = 1024

// Check is what every driver asks of a batch before it touches a byte of it. Its error
// wraps ErrTooLarge for a batch beyond the limits, and ErrInvalid for one without a new
// head, with a key that is empty, longer than MaxKey or the head's, or with one key
// twice.
func (b *Batch) Check(l Limits) error {
	if b == nil || len(b.NewHead) == 0 {
		return fmt.Errorf("%w: it has no new head", ErrInvalid)
	}
	if n, size := b.Keys(), b.Size(); n > l.Keys || size > l.Bytes {
		return fmt.Errorf("%w: %d keys and %d bytes, the limits are %d and %d", ErrTooLarge, n, size, l.Keys, l.Bytes)
	}
	seen := make(map[string]struct{}, b.Keys())
	seen[string(HeadKey)] = struct{}{}
	check := func(key []byte) error {
		if len(key) == 0 || len(key) > MaxKey {
			return fmt.Errorf("%w: a key of %d bytes, keys have 1 to %d", ErrInvalid, len(key), MaxKey)
		}
		if _, ok := seen[string(key)]; ok {
			return fmt.Errorf("%w: key %q is the head's or stands in it twice", ErrInvalid, key)
		}
		seen[string(key)] = struct{}{}
		return nil
	}
	for _, kv := range b.Put {
		if err := check(kv.Key); err != nil {
			return err
		}
	}
	for _, key := range b.Delete {
		if err := check(key); err != nil {
			return err
		}
	}
	return nil
}

// Limits says how much one Commit takes.
type Limits struct {
	Bytes int64 // keys and values, as Batch.Size counts them
	Keys  int   // keys, as Batch.Keys counts them
}

// Store is an ordered key-value store with one write.
//
// Get, Scan and Limits may be called from any number of goroutines, also while
// a Commit is under way; they see whole batches only.
type Store interface {
	// Commit applies b atomically, guarded by compare-and-swap on the head,
	// and returns nil only when it is durable: it survives a kill of the
	// process and a loss of power.
	//
	// ErrHeadMoved, ErrTooLarge, ErrInvalid and ErrFull, and the context's error
	// when it ended before the commit began, say that nothing was applied. After every
	// other error the outcome is unknown, and the store refuses further
	// commits until it is opened again.
	Commit(ctx context.Context, b *Batch) error

	// Get returns a copy of the value of key, or ErrNotFound.
	Get(ctx context.Context, key []byte) ([]byte, error)

	// Scan calls fn for every key in [start, end) in bytewise ascending order,
	// over one snapshot; a nil end means to the last key. The slices are valid
	// only during the call. An error from fn ends the scan and is returned.
	Scan(ctx context.Context, start, end []byte, fn func(key, value []byte) error) error

	// Limits never change while the store is open.
	Limits() Limits

	// Close waits for what is under way and releases the store.
	Close() error
}
