package audit

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/escortlog/escortlog/log/entry"
)

// A use is one signature on one leaf: the number of its key, the leaf's index
// and the leaf's time in ms. They are kept because a key may be found
// compromised long after it was used.
const useSize = 4 + 8 + 8

// uses records who signed which leaf.
type uses struct {
	number map[string]uint32 // by keyid
	keyIDs []string          // by number
	file   *journal          // of useSize bytes each
}

func newUses() *uses { return &uses{number: map[string]uint32{}} }

// loadKeys takes over the numbering of a state directory.
func (u *uses) loadKeys(keyIDs []string) {
	for _, id := range keyIDs {
		u.keyNumber(id)
	}
}

func (u *uses) keyNumber(keyID string) uint32 {
	n, ok := u.number[keyID]
	if !ok {
		n = uint32(len(u.keyIDs))
		u.number[keyID] = n
		u.keyIDs = append(u.keyIDs, keyID)
	}
	return n
}

func (u *uses) add(index int64, e *entry.Entry) error {
	for _, s := range e.Signatures {
		record := make([]byte, 0, useSize)
		record = binary.BigEndian.AppendUint32(record, u.keyNumber(s.KeyID))
		record = binary.BigEndian.AppendUint64(record, uint64(index))
		record = binary.BigEndian.AppendUint64(record, uint64(e.Time))
		if err := u.file.write(record); err != nil {
			return err
		}
	}
	return nil
}

// use sums up what one key signed since a moment.
type use struct {
	count       int64
	first, last int64 // indexes
}

// since sums up, for each keyid, the leaves whose time is not before the
// moment given.
func (u *uses) since(moments map[string]time.Time) (map[string]use, error) {
	all, err := u.file.reader()
	if err != nil {
		return nil, fmt.Errorf("reading the uses of keys: %w", err)
	}
	in := bufio.NewReader(all)
	sums := map[string]use{}
	from := make(map[uint32]time.Time, len(moments))
	for id, t := range moments {
		if n, ok := u.number[id]; ok {
			from[n] = t
		}
	}
	record := make([]byte, useSize)
	for {
		_, err := io.ReadFull(in, record)
		if err == io.EOF {
			return sums, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the uses of keys: %w", err)
		}
		n := binary.BigEndian.Uint32(record)
		index, ms := int64(binary.BigEndian.Uint64(record[4:])), int64(binary.BigEndian.Uint64(record[12:]))
		if t, ok := from[n]; !ok || time.UnixMilli(ms).Before(t) {
			continue
		}
		s := sums[u.keyIDs[n]]
		if s.count == 0 {
			s.first = index
		}
		s.count++
		s.last = index
		sums[u.keyIDs[n]] = s
	}
}
