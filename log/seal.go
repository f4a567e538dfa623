package log

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
	"github.com/klauspost/compress/gzip"
)

// unsealed are the numbers of complete bundles that lie in runs.
type unsealed struct {
	wake chan struct{} // holds a token when some may have come

	mu    sync.Mutex
	queue []int64 // oldest first
}

func newUnsealed() unsealed { return unsealed{wake: make(chan struct{}, 1)} }

func (u *unsealed) add(n int64) {
	u.mu.Lock()
	u.queue = append(u.queue, n)
	u.mu.Unlock()
	u.look()
}

// look has the sealer try, again where it has failed.
func (u *unsealed) look() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// oldest reports false when there are none.
func (u *unsealed) oldest() (n int64, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.queue) == 0 {
		return 0, false
	}
	return u.queue[0], true
}

// done removes the oldest.
func (u *unsealed) done() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.queue = u.queue[1:]
}

// seal packs complete bundles that lie in runs, one after another, into the form
// they are served in. It only computes; the sequencer writes. A crash between
// leaves the runs, and the next start goes on from there. So does a bundle that
// is too large for one commit even when compressed: it stays in runs for good.
func (l *Log) seal() {
	for {
		if n, ok := l.unsealed.oldest(); ok && l.haltReason() == nil {
			err := l.sealBundle(l.ctx, n)
			if err != nil && l.ctx.Err() == nil {
				l.cfg.Logger.Warn("bundle stays unsealed", "bundle", n, "error", err)
			}
			if err == nil || errors.Is(err, errTooLargeToSeal) {
				l.unsealed.done()
				continue
			}
		}
		select {
		case <-l.ctx.Done():
			return
		case <-l.unsealed.wake:
		}
	}
}

func (l *Log) sealBundle(ctx context.Context, n int64) error {
	var (
		entries, identities []byte
		remove              [][]byte
	)
	gather := func(prefix byte, into *[]byte) error {
		first := numberKey(prefix, n*tile.Width)
		return l.cfg.Store.Scan(ctx, first, numberKey(prefix, (n+1)*tile.Width), func(key, value []byte) error {
			*into = append(*into, value...)
			if prefix == prefixRun || !bytes.Equal(key, first) {
				remove = append(remove, bytes.Clone(key))
			}
			return nil
		})
	}
	if err := gather(prefixRun, &entries); err != nil {
		return fmt.Errorf("log: reading bundle %d to seal it: %w", n, err)
	}
	if len(remove) == 0 {
		return nil // sealed already
	}
	if err := gather(prefixIdentity, &identities); err != nil {
		return fmt.Errorf("log: reading the identities of bundle %d to seal it: %w", n, err)
	}
	if _, err := tile.SplitBundle(entries, tile.Width); err != nil {
		return fmt.Errorf("log: bundle %d: %w: %w", n, storage.ErrCorrupt, err)
	}
	put := []storage.KV{
		{Key: numberKey(prefixBundle, n), Value: compressBundle(entries)},
		{Key: numberKey(prefixIdentity, n*tile.Width), Value: identities},
	}
	if (extra{put: put, remove: remove}).size() > l.extras.maxBytes {
		return errTooLargeToSeal
	}
	return l.write(ctx, put, remove)
}

var errTooLargeToSeal = errors.New("log: too large for one commit even when compressed")

func compressBundle(entries []byte) []byte {
	w := gzipWriters.Get().(*gzip.Writer)
	defer gzipWriters.Put(w)
	var b bytes.Buffer
	w.Reset(&b)
	// Into memory, which fails never.
	_, _ = w.Write(entries)
	_ = w.Close()
	return b.Bytes()
}

// gzipLevel: 2 takes half the time of the default, which is a quarter of all that a
// busy log does, and bundles of escorted work become 8 % larger.
const gzipLevel = 2

// A writer holds hundreds of kilobytes, which are not made anew for each bundle.
var gzipWriters = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzipLevel)
	if err != nil {
		panic(err)
	}
	return w
}}

// maxBundle bounds a bundle, in bytes: 256 entries with their lengths. Nothing
// longer is ever decompressed.
const maxBundle = tile.Width * (2 + 65535)

func decompressBundle(sealed []byte) ([]byte, error) { return appendDecompressed(nil, sealed) }

// appendDecompressed is decompressBundle into memory that is there already.
func appendDecompressed(b, sealed []byte) ([]byte, error) {
	r := gzipReaders.Get().(*gzip.Reader)
	defer gzipReaders.Put(r)
	if err := r.Reset(bytes.NewReader(sealed)); err != nil {
		return nil, fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	// The last four bytes say how long it is (RFC 1952 section 2.3.1), and a
	// buffer wants room to see the end.
	claimed := binary.LittleEndian.Uint32(sealed[len(sealed)-4:])
	entries := bytes.NewBuffer(slices.Grow(b, min(int(claimed), maxBundle)+bytes.MinRead))
	if _, err := entries.ReadFrom(io.LimitReader(r, maxBundle+1)); err != nil {
		return nil, fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	if entries.Len() > maxBundle {
		return nil, fmt.Errorf("%w: a sealed bundle holds more than %d bytes", storage.ErrCorrupt, maxBundle)
	}
	return entries.Bytes(), nil
}

var gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}
