// Package batch holds what every storage driver asks of a batch before it
// touches a byte of it, so that all drivers refuse the same ones.
package batch

import (
	"errors"
	"fmt"

	"github.com/escortlog/escortlog/storage"
)

// MaxKey is the longest key a driver takes, in bytes.
const MaxKey = 1024

// ErrInvalid is wrapped by the error for a batch that no store can take: a
// mistake of the caller. Nothing of it was applied, and the store goes on.
var ErrInvalid = errors.New("storage: batch is not valid")

// Check returns an error that wraps [storage.ErrTooLarge] for a batch beyond
// the limits, and one that wraps [ErrInvalid] for a batch without a new head,
// with a key that is empty, longer than [MaxKey] or the head's, or with one
// key named twice.
func Check(b *storage.Batch, l storage.Limits) error {
	if b == nil || len(b.NewHead) == 0 {
		return fmt.Errorf("%w: it has no new head", ErrInvalid)
	}
	if n, size := b.Keys(), b.Size(); n > l.Keys || size > l.Bytes {
		return fmt.Errorf("%w: %d keys and %d bytes, the limits are %d and %d",
			storage.ErrTooLarge, n, size, l.Keys, l.Bytes)
	}
	seen := make(map[string]struct{}, b.Keys())
	seen[string(storage.HeadKey)] = struct{}{}
	for _, kv := range b.Put {
		if err := checkKey(seen, kv.Key); err != nil {
			return err
		}
	}
	for _, k := range b.Delete {
		if err := checkKey(seen, k); err != nil {
			return err
		}
	}
	return nil
}

func checkKey(seen map[string]struct{}, key []byte) error {
	if len(key) == 0 || len(key) > MaxKey {
		return fmt.Errorf("%w: a key of %d bytes, keys have 1 to %d", ErrInvalid, len(key), MaxKey)
	}
	if _, ok := seen[string(key)]; ok {
		return fmt.Errorf("%w: key %q is the head's or stands in it twice", ErrInvalid, key)
	}
	seen[string(key)] = struct{}{}
	return nil
}
