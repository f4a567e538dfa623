package badger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	engine "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

// table is a sorted table of the engine, opened beside it to check what it
// reads: Badger takes a block that it cannot read for the end of the table.
//
// A table is a sequence of blocks, an index (flatbuffers) and a footer: length
// of the index, checksum of the index, length of that checksum. A block ends
// with its checksum and the length of that. Lengths are 4 bytes, big-endian.
type table struct {
	path       string
	f          *os.File
	maxVersion uint64
	blocks     []block
	indexRead  time.Time // when the index was last found intact
}

type block struct {
	first       []byte // its first key, without the version
	offset, len int64
}

func openTable(path string) (*table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t := &table{path: path, f: f}
	if err := t.loadIndex(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return t, nil
}

func (t *table) loadIndex() error {
	// The index is parsed only after its checksum is right.
	if err := guarded(t.readIndex); err != nil {
		return corrupt(t.path, err.Error())
	}
	t.indexRead = time.Now()
	return nil
}

func (t *table) close() error { return t.f.Close() }

func (t *table) readIndex() error {
	info, err := t.f.Stat()
	if err != nil {
		return err
	}
	end := info.Size()
	// take returns the n bytes before end, and moves it.
	take := func(n int64) ([]byte, error) {
		if n < 0 || n > end {
			return nil, errors.New("its footer is damaged")
		}
		end -= n
		b := make([]byte, n)
		_, err := t.f.ReadAt(b, end)
		return b, err
	}
	takeWithLength := func() ([]byte, error) {
		n, err := take(4)
		if err != nil {
			return nil, err
		}
		return take(int64(binary.BigEndian.Uint32(n)))
	}
	sum, err := takeWithLength()
	if err != nil {
		return err
	}
	data, err := takeWithLength()
	if err != nil {
		return err
	}
	if err := verify(data, sum); err != nil {
		return fmt.Errorf("its index is damaged: %w", err)
	}
	index := fb.GetRootAsTableIndex(data, 0)
	t.maxVersion, t.blocks = index.MaxVersion(), nil
	var o fb.BlockOffset
	for i := range index.OffsetsLength() {
		index.Offsets(&o, i)
		t.blocks = append(t.blocks, block{bytes.Clone(y.ParseKey(o.KeyBytes())), int64(o.Offset()), int64(o.Len())})
	}
	return nil
}

func verify(data, checksum []byte) error {
	var c pb.Checksum
	if err := proto.Unmarshal(checksum, &c); err != nil {
		return err
	}
	if _, ok := pb.Checksum_Algorithm_name[int32(c.Algo)]; !ok {
		return errors.New("unknown checksum")
	}
	return y.VerifyChecksum(data, &c)
}

// recheckIndex is how old a check of an index may be. The index, with a filter
// of the keys, lies in mapped memory, and Badger checks it only on opening.
const recheckIndex = time.Second

// check checks the blocks that may hold keys in [from, to).
func (t *table) check(from, to []byte) error {
	if time.Since(t.indexRead) > recheckIndex {
		if err := t.loadIndex(); err != nil {
			return err
		}
	}
	// Versions of one key may span blocks, so the block before counts.
	i := sort.Search(len(t.blocks), func(i int) bool { return bytes.Compare(t.blocks[i].first, from) >= 0 })
	for i = max(0, i-1); i < len(t.blocks) && bytes.Compare(t.blocks[i].first, to) < 0; i++ {
		if err := t.checkBlock(t.blocks[i]); err != nil {
			return corrupt(t.path, fmt.Sprintf("the block at offset %d is damaged: %v", t.blocks[i].offset, err))
		}
	}
	return nil
}

func (t *table) checkAll() error { return t.check(nil, []byte{0xff, 0xff}) }

func (t *table) checkBlock(b block) error {
	data := make([]byte, b.len)
	if _, err := t.f.ReadAt(data, b.offset); err != nil {
		return err
	}
	if len(data) < 4 {
		return errors.New("too short")
	}
	n := int64(binary.BigEndian.Uint32(data[len(data)-4:]))
	data = data[:len(data)-4]
	if n > int64(len(data)) {
		return errors.New("its checksum has no length")
	}
	return verify(data[:int64(len(data))-n], data[int64(len(data))-n:])
}

// tableSet checks the tables of an open engine. The indexes of those in use are
// kept.
type tableSet struct {
	dir  string
	mu   sync.Mutex
	open map[uint64]*table
}

// check returns an error that wraps storage.ErrCorrupt when a block that may
// hold keys in [from, to) is damaged in any table.
func (s *tableSet) check(db *engine.DB, from, to []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := make(map[uint64]*table)
	var damage error
	for _, info := range db.Tables() {
		if bytes.Compare(y.ParseKey(info.Left), to) >= 0 || bytes.Compare(y.ParseKey(info.Right), from) < 0 {
			if t := s.open[info.ID]; t != nil {
				keep[info.ID] = t
			}
			continue
		}
		t, err := s.table(info.ID)
		if errors.Is(err, os.ErrNotExist) {
			continue // compacted meanwhile, after a check of all
		}
		if err == nil {
			keep[info.ID] = t
			err = t.check(from, to)
		}
		if err != nil {
			damage = errors.Join(damage, err)
		}
	}
	for id, t := range s.open {
		if keep[id] == nil {
			_ = t.close() // it was only read
		}
	}
	s.open = keep
	return damage
}

func (s *tableSet) table(id uint64) (*table, error) {
	if t := s.open[id]; t != nil {
		return t, nil
	}
	return openTable(filepath.Join(s.dir, fmt.Sprintf("%06d.sst", id)))
}

func (s *tableSet) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.open {
		_ = t.close()
	}
	s.open = nil
}
