package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// identities is the set of the identities of leaves, on disk: it takes the same
// few megabytes of memory however large the log is. It is exact: identities are
// kept and compared as whole SHA-256s.
//
// What is new is collected in a buffer, which is sorted and written to a file, a
// run, when it is full. Runs of one length are merged into a longer one, as in a
// log-structured merge tree (O'Neil et al., 1996), and a merge sees every identity
// that is in two of them. So who is in the set twice is not known leaf by leaf,
// but with settle, which looks at everything that is new.
type identities struct {
	dir    string // "": in files that nobody else sees
	limit  int    // of the buffer
	buffer []identity
	fresh  []*run          // of this audit, not held against one another nor the kept
	kept   []*run          // held against one another; each at least twice as long as the next
	stored map[string]bool // paths of the runs that the state file names
	twice  []repeat
}

// identity is the identity of a leaf and that leaf's index.
type identity struct {
	id    [sha256.Size]byte
	index int64
}

func (x *identity) compare(y *identity) int {
	return cmp.Or(bytes.Compare(x.id[:], y.id[:]), cmp.Compare(x.index, y.index))
}

// repeat is a leaf whose identity is that of an earlier one.
type repeat struct{ index, earlier int64 }

const (
	identitySize = sha256.Size + 8 // in a run: the identity, then the index, big-endian
	bufferSize   = 1 << 15         // identities
	fanIn        = 16              // runs of one level that are merged into one
	blockSize    = 100 * identitySize
	maxRepeats   = 1 << 12
	runPattern   = "identities-*.run"
)

func newIdentities(dir string) *identities {
	return &identities{dir: dir, limit: bufferSize, stored: map[string]bool{}}
}

// run is a file of identities in their order.
type run struct {
	file  *os.File
	path  string
	n     int64
	level int
	sum   tlog.Hash // SHA-256 of the file
}

// runFile names a run in the state file.
type runFile struct {
	Name       string    `json:"name"`
	Identities int64     `json:"identities"`
	SHA256     tlog.Hash `json:"sha256"`
}

// len is how many identities there are.
func (s *identities) len() int64 {
	n := int64(len(s.buffer))
	for _, r := range slices.Concat(s.fresh, s.kept) {
		n += r.n
	}
	return n
}

// add adds the identity of a leaf.
func (s *identities) add(id [sha256.Size]byte, index int64) error {
	if s.buffer == nil {
		s.buffer = make([]identity, 0, s.limit)
	}
	s.buffer = append(s.buffer, identity{id, index})
	if len(s.buffer) == s.limit {
		return s.spill()
	}
	return nil
}

// spill writes the buffer to a run, and merges where there are many.
func (s *identities) spill() error {
	if len(s.buffer) == 0 {
		return nil
	}
	slices.SortFunc(s.buffer, func(x, y identity) int { return x.compare(&y) })
	buffer := s.buffer
	r, err := s.write(0, func() (x identity, err error) {
		if len(buffer) == 0 {
			return x, io.EOF
		}
		x, buffer = buffer[0], buffer[1:]
		return x, nil
	})
	if err != nil {
		return err
	}
	s.buffer, s.fresh = s.buffer[:0], append(s.fresh, r)
	for n := len(s.fresh); n >= fanIn && s.fresh[n-fanIn].level == s.fresh[n-1].level; n = len(s.fresh) {
		merged, err := s.merge(s.fresh[n-1].level+1, s.fresh[n-fanIn:]...)
		if err != nil {
			return err
		}
		s.fresh = append(s.fresh[:n-fanIn], merged)
	}
	return nil
}

// settle looks for what was added since it was called last, and returns the leaves
// whose identity is that of an earlier leaf, by index; of more than maxRepeats those
// that it met first. No audit goes on with a set in which something is there twice.
func (s *identities) settle() ([]repeat, error) {
	if err := s.spill(); err != nil || len(s.fresh) == 0 {
		return nil, err
	}
	for len(s.fresh) > 1 {
		n := max(0, len(s.fresh)-fanIn)
		merged, err := s.merge(s.fresh[n].level+1, s.fresh[n:]...)
		if err != nil {
			return nil, err
		}
		s.fresh = append(s.fresh[:n], merged)
	}
	for len(s.kept) > 0 {
		n := len(s.kept) - 1
		if s.kept[n].n >= 2*s.fresh[0].n {
			break
		}
		merged, err := s.merge(0, s.kept[n], s.fresh[0])
		if err != nil {
			return nil, err
		}
		s.kept, s.fresh[0] = s.kept[:n], merged
	}
	for _, long := range s.kept {
		if err := s.lookUp(s.fresh[0], long); err != nil {
			return nil, err
		}
	}
	s.kept, s.fresh = append(s.kept, s.fresh[0]), nil
	return s.repeats(), nil
}

// repeats takes what was found. A leaf whose earlier one repeats another itself is
// said to repeat that one.
func (s *identities) repeats() []repeat {
	first := map[int64]int64{}
	for _, x := range s.twice {
		if e, ok := first[x.index]; !ok || x.earlier < e {
			first[x.index] = x.earlier
		}
	}
	list := make([]repeat, 0, len(first))
	for index, earlier := range first {
		for e, ok := first[earlier]; ok; e, ok = first[earlier] {
			earlier = e
		}
		list = append(list, repeat{index, earlier})
	}
	slices.SortFunc(list, func(x, y repeat) int { return cmp.Compare(x.index, y.index) })
	s.twice = nil
	return list
}

func (s *identities) found(x, y int64) {
	if len(s.twice) < maxRepeats {
		s.twice = append(s.twice, repeat{index: max(x, y), earlier: min(x, y)})
	}
}

// next gives one identity after another, and io.EOF behind the last.
type next func() (identity, error)

func (r *run) reader() next {
	in := bufio.NewReaderSize(io.NewSectionReader(r.file, 0, r.n*identitySize), 1<<16)
	return func() (x identity, err error) {
		b, err := in.Peek(identitySize)
		if err != nil {
			if errors.Is(err, io.EOF) && len(b) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return x, err
		}
		x = parseIdentity(b)
		_, err = in.Discard(identitySize)
		return x, err
	}
}

func parseIdentity(b []byte) (x identity) {
	x.index = int64(binary.BigEndian.Uint64(b[copy(x.id[:], b):]))
	return x
}

// write writes a run, notes who is in it twice, and makes nothing durable.
func (s *identities) write(level int, from next) (r *run, err error) {
	r = &run{level: level}
	if s.dir == "" {
		r.file, err = hiddenFile()
	} else {
		r.file, err = os.CreateTemp(s.dir, runPattern)
	}
	if err != nil {
		return nil, err
	}
	r.path = r.file.Name()
	defer func() {
		if err != nil {
			err = errors.Join(err, s.drop(r))
		}
	}()
	hash := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(r.file, hash), 1<<16)
	var last identity
	for ; ; r.n++ {
		x, err := from()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if r.n > 0 && x.id == last.id {
			s.found(x.index, last.index)
		}
		last = x
		if _, err := out.Write(binary.BigEndian.AppendUint64(append(out.AvailableBuffer(), x.id[:]...), uint64(x.index))); err != nil {
			return nil, err
		}
	}
	if err := out.Flush(); err != nil {
		return nil, err
	}
	r.sum = tlog.Hash(hash.Sum(nil))
	return r, nil
}

// merge makes one run of several, and drops them.
func (s *identities) merge(level int, runs ...*run) (*run, error) {
	h := &heads{}
	for _, r := range runs {
		head := &head{next: r.reader()}
		if err := h.advance(head); err != nil {
			return nil, err
		}
	}
	merged, err := s.write(level, func() (x identity, err error) {
		if len(*h) == 0 {
			return x, io.EOF
		}
		least := heap.Pop(h).(*head)
		x = least.identity
		return x, h.advance(least)
	})
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		err = errors.Join(err, s.drop(r))
	}
	return merged, err
}

// head is the next identity of a run that is being merged.
type head struct {
	identity
	next
}

// heads are ordered by their identities.
type heads []*head

func (h heads) Len() int           { return len(h) }
func (h heads) Less(i, j int) bool { return h[i].compare(&h[j].identity) < 0 }
func (h heads) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *heads) Push(x any)        { *h = append(*h, x.(*head)) }
func (h *heads) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// advance moves a run's head on and puts it back, unless the run has ended.
func (h *heads) advance(x *head) (err error) {
	if x.identity, err = x.next(); err == nil {
		heap.Push(h, x)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// lookUp looks for the identities of a short run in a long one, block by block.
func (s *identities) lookUp(short, long *run) error {
	block := make([]byte, blockSize)
	at := int64(-1) // number of the block read
	read := func(n int64) error {
		if n == at {
			return nil
		}
		at = n
		b := block[:min(blockSize, long.n*identitySize-n*blockSize)]
		_, err := long.file.ReadAt(b, n*blockSize)
		block = b[:len(b):cap(block)]
		return err
	}
	blocks := (long.n*identitySize + blockSize - 1) / blockSize
	low := int64(0) // both are in order, so nothing before it is met any more
	from := short.reader()
	for {
		x, err := from()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		// The last block that begins with nothing larger, found by doubling steps.
		step := int64(1)
		for low+step < blocks {
			if err := read(low + step); err != nil {
				return err
			}
			if bytes.Compare(block[:sha256.Size], x.id[:]) > 0 {
				break
			}
			low, step = low+step, 2*step
		}
		for high := min(low+step, blocks); high-low > 1; {
			middle := low + (high-low)/2
			if err := read(middle); err != nil {
				return err
			}
			if bytes.Compare(block[:sha256.Size], x.id[:]) > 0 {
				high = middle
			} else {
				low = middle
			}
		}
		if err := read(low); err != nil {
			return err
		}
		for b := block; len(b) > 0; b = b[identitySize:] {
			if bytes.Equal(b[:sha256.Size], x.id[:]) {
				s.found(x.index, parseIdentity(b).index)
				break
			}
		}
	}
}

// drop closes a run and removes its file, unless the state file names it: then a
// crash would need it.
func (s *identities) drop(r *run) error {
	err := r.file.Close()
	if !s.stored[r.path] {
		err = errors.Join(err, removeIfThere(r.path))
	}
	return err
}

// close closes all runs, and leaves only those of the state file.
func (s *identities) close() (err error) {
	for _, r := range slices.Concat(s.fresh, s.kept) {
		err = errors.Join(err, s.drop(r))
	}
	s.fresh, s.kept, s.buffer = nil, nil, nil
	return err
}

// clear makes the set empty.
func (s *identities) clear() error {
	err := s.close()
	for path := range s.stored {
		err = errors.Join(err, removeIfThere(path))
	}
	s.stored = map[string]bool{}
	return err
}

// sync makes the runs durable, but for their names, and says what the state file
// is to name.
func (s *identities) sync() (list []runFile, err error) {
	if len(s.fresh) > 0 || len(s.buffer) > 0 {
		return nil, errors.New("identities that were not looked at")
	}
	for _, r := range s.kept {
		if !s.stored[r.path] {
			if err := r.file.Sync(); err != nil {
				return nil, err
			}
		}
		list = append(list, runFile{Name: filepath.Base(r.path), Identities: r.n, SHA256: r.sum})
	}
	return list, nil
}

// named says that the state file names the runs that are there now, and removes
// those that it named before.
func (s *identities) named() (err error) {
	now := map[string]bool{}
	for _, r := range s.kept {
		now[r.path] = true
	}
	for path := range s.stored {
		if !now[path] {
			err = errors.Join(err, removeIfThere(path))
		}
	}
	s.stored = now
	return err
}

// open opens the runs that a state file names, and removes those that a crash left.
// The error says that the set is not the one that was stored.
func (s *identities) open(list []runFile) (err error) {
	for _, f := range list {
		s.stored[filepath.Join(s.dir, filepath.Base(f.Name))] = true
	}
	there, err := filepath.Glob(filepath.Join(s.dir, runPattern))
	for _, path := range there {
		if !s.stored[path] {
			err = errors.Join(err, removeIfThere(path))
		}
	}
	for _, f := range list {
		r, openErr := openRun(filepath.Join(s.dir, filepath.Base(f.Name)), f)
		if openErr != nil {
			return errors.Join(err, openErr)
		}
		s.kept = append(s.kept, r)
	}
	return err
}

func openRun(path string, f runFile) (*run, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	n, err := io.Copy(hash, file)
	switch {
	case err != nil:
	case n != f.Identities*identitySize:
		err = fmt.Errorf("%s has %d bytes, not %d", path, n, f.Identities*identitySize)
	case tlog.Hash(hash.Sum(nil)) != f.SHA256:
		err = fmt.Errorf("%s was changed", path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &run{file: file, path: path, n: n / identitySize, sum: f.SHA256}, nil
}
