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

// sealMore wakes the sealer.
func (l *Log) sealMore() {
	select {
	case l.sealWake <- struct{}{}:
	default:
	}
}

// seal packs complete bundles, from the oldest unsealed one on, into the form
// they are served in. It only computes; the sequencer writes. A crash between
// leaves the runs, and the next start goes on from there. So does a bundle that
// is too large for one commit even when compressed: it stays in runs for good.
func (l *Log) seal(next int64) {
	for {
		if next < l.Head().Size/tile.Width && l.haltReason() == nil {
			err := l.sealBundle(l.ctx, next)
			if err != nil && l.ctx.Err() == nil {
				l.cfg.Logger.Warn("bundle stays unsealed", "bundle", next, "error", err)
			}
			if err == nil || errors.Is(err, errTooLargeToSeal) {
				next++
				continue
			}
		}
		select {
		case <-l.ctx.Done():
			return
		case <-l.sealWake:
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
	if err := gather(prefixIdentity, &identities); err != nil {
		return fmt.Errorf("log: reading the identities of bundle %d to seal it: %w", n, err)
	}
	if _, err := tile.SplitBundle(entries, tile.Width); err != nil {
		return fmt.Errorf("log: bundle %d: %w: %w", n, storage.ErrCorrupt, err)
	}
	sealed, err := compressBundle(entries)
	if err != nil {
		return fmt.Errorf("log: sealing bundle %d: %w", n, err)
	}
	put := []storage.KV{
		{Key: numberKey(prefixBundle, n), Value: sealed},
		{Key: numberKey(prefixIdentity, n*tile.Width), Value: identities},
	}
	if (extra{put: put, remove: remove}).size() > l.extras.maxBytes {
		return errTooLargeToSeal
	}
	return l.write(ctx, put, remove)
}

var errTooLargeToSeal = errors.New("log: too large for one commit even when compressed")

func compressBundle(entries []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.DefaultCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(entries); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

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
