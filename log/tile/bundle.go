package tile

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"golang.org/x/mod/sumdb/tlog"
)

// MaxEntry is the longest entry, in bytes, that a bundle can hold.
const MaxEntry = math.MaxUint16

// ErrBundle is the error of bytes that are not the bundle or tile they should be.
var ErrBundle = errors.New("malformed tile")

// AppendEntry appends one log entry to an entry bundle, behind its big-endian
// uint16 length. It panics where leaf is longer than MaxEntry, which a caller
// must have refused long before.
func AppendEntry(bundle, leaf []byte) []byte {
	if len(leaf) > MaxEntry {
		panic(fmt.Sprintf("tile: entry of %d bytes does not fit a bundle", len(leaf)))
	}
	bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(leaf)))
	return append(bundle, leaf...)
}

// SplitBundle cuts an entry bundle into exactly width entries. The entries
// share data's memory. An error (ErrBundle) is returned where data is too
// short or where bytes are left over.
func SplitBundle(data []byte, width int) ([][]byte, error) {
	if width < 1 || width > Width {
		return nil, fmt.Errorf("%w: a bundle holds 1 to %d entries, not %d", ErrBundle, Width, width)
	}
	entries := make([][]byte, 0, width)
	for i := range width {
		if len(data) < 2 {
			return nil, fmt.Errorf("%w: bundle ends before entry %d of %d", ErrBundle, i, width)
		}
		n := int(binary.BigEndian.Uint16(data))
		if len(data)-2 < n {
			return nil, fmt.Errorf("%w: bundle ends within entry %d of %d", ErrBundle, i, width)
		}
		entries = append(entries, data[2:2+n:2+n])
		data = data[2+n:]
	}
	if len(data) > 0 {
		return nil, fmt.Errorf("%w: %d bytes after the %d entries of a bundle", ErrBundle, len(data), width)
	}
	return entries, nil
}

// Hashes decodes a hash tile: 1 to 256 hashes of 32 bytes. The error is ErrBundle.
func Hashes(data []byte) ([]tlog.Hash, error) {
	n := len(data) / tlog.HashSize
	if len(data)%tlog.HashSize != 0 || n < 1 || n > Width {
		return nil, fmt.Errorf("%w: %d bytes are not 1 to %d hashes", ErrBundle, len(data), Width)
	}
	hashes := make([]tlog.Hash, n)
	for i := range hashes {
		copy(hashes[i][:], data[i*tlog.HashSize:])
	}
	return hashes, nil
}

// TileRoot returns the RFC 6962 Merkle Tree Hash over hashes, each taken as
// the hash of a subtree and all of one height. Over none it is the hash of the
// empty tree.
func TileRoot(hashes []tlog.Hash) tlog.Hash {
	switch len(hashes) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return hashes[0]
	}
	// RFC 6962 section 2.1: "let k be the largest power of two smaller than n".
	k := 1
	for 2*k < len(hashes) {
		k *= 2
	}
	return tlog.NodeHash(TileRoot(hashes[:k]), TileRoot(hashes[k:]))
}
