package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/lanes"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
	"golang.org/x/mod/sumdb/tlog"
)

// stretchBundles is how many bundles are read and checked at a time: each time the
// store is asked for four ranges of keys.
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

	beside  [kinds][]byte // identities and tiles that were read, one value behind the other
	entries []byte        // of the bundle that is being checked

	messages [][]byte // to be hashed
	sums     [tile.Width]tlog.Hash
	names    []byte // what the identities of the leaves are the hashes of, end to end
	ends     []int  // of those; it is empty where a leaf gives none
}

// checkedBundle is one bundle: what is stored of it, and what was found.
type checkedBundle struct {
	n      int64
	width  int
	stored [kinds]span  // what there is of each kind
	failed [kinds]error // of reading
	findings
}

// findings are what comes of checking the entries of a bundle.
type findings struct {
	checked  bool
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
}

// span says whether there is something, and for identities and tiles which part
// of stretch.beside it is.
type span struct {
	found    bool
	from, to int
}

func (f *findings) problem(format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

// reset forgets the findings, and keeps their memory.
func (f *findings) reset() {
	*f = findings{hashes: f.hashes[:0]}
}

var stretches = sync.Pool{New: func() any { return new(stretch) }}

// newStretch reads and checks the bundles from first to before end. Give it back
// with free.
func newStretch(ctx context.Context, cfg *CheckConfig, size, first, end int64) *stretch {
	s := stretches.Get().(*stretch)
	s.begin(ctx, cfg, size, first, end)
	s.each(identityKind, s.keep)
	s.each(tileKind, s.keep)
	// The entries come last. So what they are compared with is there, and they are
	// checked as they are read, while they are in the cache, and not kept.
	s.each(sealedKind, s.checkSealed)
	s.each(runKind, s.checkRuns)
	for i := range s.bundles {
		if ctx.Err() == nil {
			s.finish(&s.bundles[i])
		}
	}
	return s
}

func (s *stretch) begin(ctx context.Context, cfg *CheckConfig, size, first, end int64) {
	s.ctx, s.cfg, s.size, s.first, s.strays = ctx, cfg, size, first, nil
	for _, k := range []kind{identityKind, tileKind} { // as many bytes of both
		s.beside[k] = slices.Grow(s.beside[k][:0], int(end-first)*tileBytes)
	}
	s.bundles = slices.Grow(s.bundles[:0], int(end-first))[:end-first]
	for i := range s.bundles {
		b := &s.bundles[i]
		n := first + int64(i)
		*b = checkedBundle{n: n, width: tile.WidthAt(tile.Entries, n, size), findings: b.findings}
		b.reset()
	}
}

// free gives the memory back, unless much larger entries than others have blown
// it up.
func (s *stretch) free() {
	s.ctx, s.cfg = nil, nil
	if cap(s.entries)+cap(s.names) <= 4<<20 {
		stretches.Put(s)
	}
}

// each has read read one kind of all bundles: at once or, where that fails, bundle by
// bundle, since the others are there.
func (s *stretch) each(k kind, read func(k kind, first, end int64) (strays []string, err error)) {
	if strays, err := read(k, s.first, s.first+int64(len(s.bundles))); err == nil {
		s.strays = append(s.strays, strays...)
		return
	}
	for i := range s.bundles {
		b := &s.bundles[i]
		if b.stored[k].found {
			b.stored[k] = span{}
			b.reset()
		}
		strays, err := read(k, b.n, b.n+1)
		s.strays, b.failed[k] = append(s.strays, strays...), err
	}
}

// scan gives what is stored of some bundles to give, and names those keys that nothing
// explains. Keys are in order, so those of a bundle are on end.
func (s *stretch) scan(k kind, first, end int64, give func(b *checkedBundle, value []byte)) (strays []string, err error) {
	r := k.rangeOf(first, end)
	err = s.cfg.Store.Scan(s.ctx, r.from, r.to, func(key, value []byte) error {
		if explained(key, s.size) {
			n, _ := keyNumber(key)
			b := &s.bundles[k.bundleOf(n)-s.first]
			if k != runKind || !b.stored[sealedKind].found { // which replaces the runs
				give(b, value)
				b.stored[k].found = true
				return nil
			}
		}
		strays = append(strays, stray(key, value, s.size))
		return nil
	})
	return strays, err
}

// keep keeps identities and tiles.
func (s *stretch) keep(k kind, first, end int64) (strays []string, err error) {
	return s.scan(k, first, end, func(b *checkedBundle, value []byte) {
		if !b.stored[k].found {
			b.stored[k].from = len(s.beside[k])
		}
		s.beside[k] = append(s.beside[k], value...)
		b.stored[k].to = len(s.beside[k])
	})
}

func (s *stretch) checkSealed(k kind, first, end int64) (strays []string, err error) {
	return s.scan(k, first, end, func(b *checkedBundle, value []byte) {
		var err error
		s.entries, err = appendDecompressed(s.entries[:0], value)
		s.check(b, err)
	})
}

func (s *stretch) checkRuns(k kind, first, end int64) (strays []string, err error) {
	var last *checkedBundle
	strays, err = s.scan(k, first, end, func(b *checkedBundle, value []byte) {
		if last != nil && b != last {
			s.check(last, nil)
		}
		if b != last {
			last, s.entries = b, s.entries[:0]
		}
		s.entries = append(s.entries, value...)
	})
	if last != nil && err == nil {
		s.check(last, nil)
	}
	return strays, err
}

// finish names what of a bundle could not be read.
func (s *stretch) finish(b *checkedBundle) {
	err := errors.Join(b.failed[sealedKind], b.failed[runKind])
	switch {
	case !b.checked:
		s.entries = s.entries[:0]
		s.check(b, err)
	case err != nil:
		b.problem("bundle %d: %v", b.n, err)
	}
}

// check hashes the leaves of a bundle, which stand in s.entries unless err says
// otherwise, and compares them with all that is stored of them.
func (s *stretch) check(b *checkedBundle, err error) {
	b.checked = true
	var leaves [][]byte
	if err == nil {
		leaves, err = tile.SplitBundle(s.entries, b.width)
	}
	if err != nil {
		// Go on with the hashes in the tree, to find what else is wrong.
		b.problem("bundle %d: %v", b.n, err)
		if b.hashes, err = s.storedHashes(b); err != nil {
			b.problem("hash tile 0/%d: %v: cannot go on behind leaf %d", b.n, err, b.n*tile.Width-1)
			return
		}
	}
	if len(leaves) > 0 {
		s.hash(b, leaves)
	}
	s.names, s.ends = s.names[:0], s.ends[:0]
	for i, leaf := range leaves {
		s.leaf(b, b.n*tile.Width+int64(i), leaf)
		s.ends = append(s.ends, len(s.names))
	}
	if b.width == tile.Width {
		b.root = tile.TileRoot(b.hashes)
		s.compareTile(b)
	}
	s.compareIdentities(b)
}

// hash hashes the leaves in s.entries, which are spoiled: the byte before each, the
// end of its length, gives way to the one that is hashed before it.
func (s *stretch) hash(b *checkedBundle, leaves [][]byte) {
	s.messages = s.messages[:0]
	at := 1
	for _, leaf := range leaves {
		s.entries[at] = 0 // RFC 6962 section 2.1: SHA-256(0x00 || leaf)
		s.messages = append(s.messages, s.entries[at:at+1+len(leaf)])
		at += len(leaf) + 2
	}
	b.hashes = slices.Grow(b.hashes, len(leaves))[:len(leaves)]
	lanes.Sum(b.hashes, s.messages)
}

// leaf checks one leaf by itself, but for its hash.
func (s *stretch) leaf(b *checkedBundle, index int64, leaf []byte) {
	b.leaves++
	b.bytes += int64(len(leaf))
	time, payload, err := entry.Payload(leaf)
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
	source, id, authority, err := s.cfg.Identify(payload)
	if err != nil {
		b.problem("leaf %d: %v", index, err)
		return
	}
	s.names = entry.AppendName(s.names, source, id)
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
	data, found, err := s.kept(b, tileKind)
	if err == nil && !found {
		err = storage.ErrNotFound
	}
	return data, err
}

// kept returns what keep has kept of a bundle; found is false where there is no
// such key.
func (s *stretch) kept(b *checkedBundle, k kind) (data []byte, found bool, err error) {
	at := b.stored[k]
	return s.beside[k][at.from:at.to], at.found, b.failed[k]
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
	stored, _, err := s.kept(b, identityKind)
	switch {
	case err != nil:
		b.problem("identities of bundle %d: %v", b.n, err)
	case len(stored) != 32*b.width:
		b.problem("identities of bundle %d: %d bytes, want %d", b.n, len(stored), 32*b.width)
	case !s.haveIdentities(stored):
		b.problem("identities of bundle %d are not those of its leaves", b.n)
	}
}

// haveIdentities reports whether these are the hashes of s.names, as far as there are
// names.
func (s *stretch) haveIdentities(stored []byte) bool {
	s.messages = s.messages[:0]
	from := 0
	for _, end := range s.ends {
		s.messages = append(s.messages, s.names[from:end])
		from = end
	}
	lanes.Sum(s.sums[:], s.messages)
	for i, name := range s.messages {
		if len(name) > 0 && !bytes.Equal(stored[i*hashSize:][:hashSize], s.sums[i][:]) {
			return false
		}
	}
	return true
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
