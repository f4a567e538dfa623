package tile

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/escortlog/escortlog/log/lanes"
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
	p := pyramids.Get().(*pyramid)
	defer pyramids.Put(p)
	// Level by level, two hashes becoming one. A last one alone goes up as it is, which
	// gives the same tree as the cut at the largest power of two of RFC 6962 section 2.1.
	for level := hashes; ; level = p.sums {
		n := len(level) / 2
		p.nodes = slices.Grow(p.nodes[:0], n)[:n]
		p.messages = p.messages[:0]
		for i := range p.nodes {
			node := p.nodes[i][:]
			node[0] = 1 // RFC 6962 section 2.1: SHA-256(0x01 || left || right)
			copy(node[1:], level[2*i][:])
			copy(node[1+tlog.HashSize:], level[2*i+1][:])
			p.messages = append(p.messages, node)
		}
		last := level[len(level)-1]
		p.sums = slices.Grow(p.sums[:0], n)[:n]
		lanes.Sum(p.sums, p.messages)
		if len(level)%2 == 1 {
			p.sums = append(p.sums, last)
		}
		if len(p.sums) == 1 {
			return p.sums[0]
		}
	}
}

// pyramid is the memory for the nodes between hashes and their root.
type pyramid struct {
	nodes    [][1 + 2*tlog.HashSize]byte
	messages [][]byte // the nodes
	sums     []tlog.Hash
}

var pyramids = sync.Pool{New: func() any { return new(pyramid) }}
