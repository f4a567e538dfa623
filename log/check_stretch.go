package log

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
	"golang.org/x/mod/sumdb/tlog"
)

// stretchBundles is how many bundles are read and checked at a time. One with
// entries of 600 bytes takes 150 KiB, and never more than 16 MiB.
const stretchBundles = 16

// keyRange is a range of keys, from from to before to.
type keyRange struct{ from, to []byte }

// kind is what is stored of a bundle, in the order of the keys.
type kind int

const (
	sealedKind kind = iota
	identityKind
	runKind
	tileKind // of level 0
	kinds
)

// rangeOf is where the bundles from first to before end lie in the store.
func (k kind) rangeOf(first, end int64) keyRange {
	switch k {
	case sealedKind:
		return keyRange{numberKey(prefixBundle, first), numberKey(prefixBundle, end)}
	case identityKind:
		return keyRange{numberKey(prefixIdentity, first*tile.Width), numberKey(prefixIdentity, end*tile.Width)}
	case runKind:
		return keyRange{numberKey(prefixRun, first*tile.Width), numberKey(prefixRun, end*tile.Width)}
	default:
		return keyRange{tileKey(0, first), tileKey(0, end)}
	}
}

// bundleOf returns the bundle that the number in a key belongs to.
func (k kind) bundleOf(n int64) int64 {
	if k == identityKind || k == runKind {
		return n / tile.Width
	}
	return n
}

// stretch is some bundles on end, with what the check finds in them. Its memory
// is used again for other stretches.
type stretch struct {
	cfg     *CheckConfig
	ctx     context.Context
	size    int64 // of the log, in leaves
	first   int64 // bundle
	bundles []checkedBundle
	strays  []string

	values  [kinds][]byte // all that was read, one value behind the other
	plain   []byte        // of a sealed bundle
	scratch []byte        // of a leaf
}

// checkedBundle is one bundle: what is stored of it, and what was found.
type checkedBundle struct {
	n      int64
	width  int
	stored [kinds]span  // in stretch.values
	failed [kinds]error // of reading

	hashes   []tlog.Hash // of the leaves; none when neither they nor their tile can be read
	root     tlog.Hash   // of a complete bundle
	problems []string

	leaves    int64 // hashed
	bytes     int64
	authority int64 // leaves
	covered   int64 // index behind the last of them

	timed              bool // a leaf has been parsed
	firstLeaf          int64
	firstTime, newTime int64 // of the first leaf that was parsed, and of the last
	wantIdentities     []byte
}

// span is a part of stretch.values.
type span struct {
	found    bool
	from, to int
}

func (b *checkedBundle) problem(format string, args ...any) {
	b.problems = append(b.problems, fmt.Sprintf(format, args...))
}

var stretches = sync.Pool{New: func() any { return new(stretch) }}

// newStretch reads and checks the bundles from first to before end. Give it back
// with free.
func newStretch(ctx context.Context, cfg *CheckConfig, size, first, end int64) *stretch {
	s := stretches.Get().(*stretch)
	s.begin(ctx, cfg, size, first, end)
	for k := range kinds {
		if strays, err := s.read(k, k.rangeOf(first, end)); err == nil {
			s.strays = append(s.strays, strays...)
			continue
		}
		// Once more, bundle by bundle: the others are there.
		for i := range s.bundles {
			b := &s.bundles[i]
			b.stored[k] = span{}
			strays, err := s.read(k, k.rangeOf(b.n, b.n+1))
			s.strays, b.failed[k] = append(s.strays, strays...), err
		}
	}
	for i := range s.bundles {
		if ctx.Err() == nil {
			s.check(&s.bundles[i])
		}
	}
	return s
}

func (s *stretch) begin(ctx context.Context, cfg *CheckConfig, size, first, end int64) {
	s.ctx, s.cfg, s.size, s.first, s.strays = ctx, cfg, size, first, nil
	for k := range s.values {
		s.values[k] = s.values[k][:0]
	}
	s.bundles = slices.Grow(s.bundles[:0], int(end-first))[:end-first]
	for i := range s.bundles {
		b := &s.bundles[i]
		n := first + int64(i)
		*b = checkedBundle{n: n, width: tile.WidthAt(tile.Entries, n, size), hashes: b.hashes[:0], wantIdentities: b.wantIdentities[:0]}
	}
}

// free gives the memory back, unless much larger entries than others have blown
// it up.
func (s *stretch) free() {
	s.ctx, s.cfg = nil, nil
	if cap(s.values[runKind])+cap(s.plain) <= 16<<20 {
		stretches.Put(s)
	}
}

// read reads what is stored in a range of keys, and names those keys that
// nothing explains.
func (s *stretch) read(k kind, r keyRange) (strays []string, err error) {
	err = s.cfg.Store.Scan(s.ctx, r.from, r.to, func(key, value []byte) error {
		if !explained(key, s.size) {
			strays = append(strays, stray(key, value, s.size))
			return nil
		}
		n, _ := keyNumber(key) // explained
		at := &s.bundles[k.bundleOf(n)-s.first].stored[k]
		if !at.found {
			*at = span{true, len(s.values[k]), len(s.values[k])}
		}
		s.values[k] = append(s.values[k], value...) // keys are in order, so those of a bundle are on end
		at.to = len(s.values[k])
		return nil
	})
	return strays, err
}

// stored returns what was read of a bundle; found is false where there is no
// such key.
func (s *stretch) stored(b *checkedBundle, k kind) (data []byte, found bool, err error) {
	at := b.stored[k]
	return s.values[k][at.from:at.to], at.found, b.failed[k]
}

// check hashes the leaves of a bundle and compares them with all that is stored
// of them.
func (s *stretch) check(b *checkedBundle) {
	leaves, err := s.entries(b)
	if err != nil {
		// Go on with the hashes in the tree, to find what else is wrong.
		b.problem("bundle %d: %v", b.n, err)
		if b.hashes, err = s.storedHashes(b); err != nil {
			b.problem("hash tile 0/%d: %v: cannot go on behind leaf %d", b.n, err, b.n*tile.Width-1)
			return
		}
	}
	for i, leaf := range leaves {
		s.leaf(b, b.n*tile.Width+int64(i), leaf)
	}
	if b.width == tile.Width {
		b.root = tile.TileRoot(b.hashes)
		s.compareTile(b)
	}
	s.compareIdentities(b)
}

func (s *stretch) entries(b *checkedBundle) ([][]byte, error) {
	bundle, sealed, err := s.stored(b, sealedKind)
	switch {
	case err != nil:
	case sealed:
		s.plain, err = appendDecompressed(s.plain[:0], bundle)
		bundle = s.plain
	default:
		bundle, _, err = s.stored(b, runKind)
	}
	if err != nil {
		return nil, err
	}
	return tile.SplitBundle(bundle, b.width)
}

// leaf checks one leaf by itself.
func (s *stretch) leaf(b *checkedBundle, index int64, leaf []byte) {
	s.scratch = append(append(s.scratch[:0], 0), leaf...)
	b.hashes = append(b.hashes, sha256.Sum256(s.scratch)) // RFC 6962 section 2.1: SHA-256(0x00 || leaf)
	b.leaves++
	b.bytes += int64(len(leaf))
	time, _, err := entry.Payload(leaf)
	if err != nil {
		b.problem("leaf %d: %v", index, err)
		return
	}
	if !b.timed {
		b.timed, b.firstLeaf, b.firstTime, b.newTime = true, index, time, time
	}
	if time < b.newTime {
		b.problem("leaf %d: time %d is before that of the leaf before it, %d", index, time, b.newTime)
	}
	b.newTime = time
	if s.cfg.Identify == nil {
		return
	}
	identity, authority, err := s.cfg.Identify(leaf)
	if err != nil {
		b.problem("leaf %d: %v", index, err)
	}
	b.wantIdentities = append(b.wantIdentities, identity[:]...)
	if !authority {
		return
	}
	b.authority++
	b.covered = index + 1
	stored, err := s.cfg.Store.Get(s.ctx, numberKey(prefixAuthority, index))
	if err != nil || !bytes.Equal(stored, leaf) {
		b.problem("authority leaf %d is not stored as one", index)
	}
}

// storedHashes returns the leaf hashes of the bundle from its hash tile.
func (s *stretch) storedHashes(b *checkedBundle) ([]tlog.Hash, error) {
	data, err := s.storedTile(b)
	if err != nil {
		return nil, err
	}
	if len(data) < b.width*hashSize {
		return nil, storage.ErrCorrupt
	}
	return tile.Hashes(data[:b.width*hashSize])
}

func (s *stretch) storedTile(b *checkedBundle) ([]byte, error) {
	data, found, err := s.stored(b, tileKind)
	if err == nil && !found {
		err = storage.ErrNotFound
	}
	return data, err
}

func (s *stretch) compareTile(b *checkedBundle) {
	stored, err := s.storedTile(b)
	if err != nil {
		b.problem("hash tile 0/%d: %v", b.n, err)
		return
	}
	if difference := tileDifference(0, b.n, stored, b.hashes); difference != "" {
		b.problem("%s", difference)
	}
}

func (s *stretch) compareIdentities(b *checkedBundle) {
	stored, _, err := s.stored(b, identityKind)
	switch {
	case err != nil:
		b.problem("identities of bundle %d: %v", b.n, err)
	case len(stored) != 32*b.width:
		b.problem("identities of bundle %d: %d bytes, want %d", b.n, len(stored), 32*b.width)
	case len(b.wantIdentities) == len(stored) && !bytes.Equal(stored, b.wantIdentities):
		b.problem("identities of bundle %d are not those of its leaves", b.n)
	}
}

// tileDifference says where a stored hash tile differs from the hashes that it
// must hold, or "".
func tileDifference(level int, n int64, stored []byte, want []tlog.Hash) string {
	for i := range min(len(stored)/hashSize, len(want)) {
		if !bytes.Equal(stored[i*hashSize:(i+1)*hashSize], want[i][:]) {
			return fmt.Sprintf("hash tile %d/%d: hash %d is not the one of what lies below it (level 0: of leaf %d)", level, n, i, n*tile.Width+int64(i))
		}
	}
	if len(stored) != len(want)*hashSize {
		return fmt.Sprintf("hash tile %d/%d: %d bytes, want %d", level, n, len(stored), len(want)*hashSize)
	}
	return ""
}

// explained reports whether a log of that size has such a key.
func explained(key []byte, size int64) bool {
	n, err := keyNumber(key)
	if err != nil {
		return false
	}
	switch key[0] {
	case prefixRun, prefixIdentity, prefixAuthority:
		return n < size
	case prefixBundle:
		return n < size/tile.Width
	case prefixTile:
		return tile.WidthAt(int(key[1]), n, size) == tile.Width
	case prefixEvidence:
		return n < evidenceSlots
	}
	return false
}

func stray(key, value []byte, size int64) string {
	return fmt.Sprintf("%s (%d bytes) belongs to nothing in a log of size %d", describeKey(key), len(value), size)
}
