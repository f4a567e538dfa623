package audit

import (
	"hash/maphash"
)

// identitySize is how much of an identity (a SHA-256) is kept, in bytes. To
// make two events look like one, somebody must find a collision of 128 bits,
// and gains only a failure that names both leaves and is seen to be false.
const identitySize = 16

// identities is the set of the identities of leaves [0, n), in their order. It
// takes about 24 bytes of memory a leaf.
type identities struct {
	seed  maphash.Seed
	flat  []byte   // identitySize bytes a leaf
	table []uint32 // open addressing: index+1, 0 where free
}

func newIdentities() *identities {
	return &identities{seed: maphash.MakeSeed(), table: make([]uint32, 1<<10)}
}

func (s *identities) len() int64 { return int64(len(s.flat) / identitySize) }

// add appends the identity of the next leaf. Where an earlier leaf has the same
// it returns that leaf's index, else -1. A leaf without an identity, because it
// could not be read, is added as nil.
func (s *identities) add(id []byte) (earlier int64) {
	earlier = -1
	i := s.len()
	if id == nil {
		s.flat = append(s.flat, make([]byte, identitySize)...)
		return earlier
	}
	id = id[:identitySize]
	s.flat = append(s.flat, id...)
	if 2*int(i+1) > len(s.table) {
		s.grow()
	}
	slot, found := s.find(id)
	if found {
		return int64(s.table[slot] - 1)
	}
	s.table[slot] = uint32(i + 1)
	return earlier
}

// find returns the slot that holds id, or the free one where it belongs.
// Places come from a seeded hash, so that nobody can choose ids that collide.
func (s *identities) find(id []byte) (slot int, found bool) {
	mask := len(s.table) - 1
	for slot = int(maphash.Bytes(s.seed, id)) & mask; ; slot = (slot + 1) & mask {
		v := s.table[slot]
		if v == 0 {
			return slot, false
		}
		at := int(v-1) * identitySize
		if string(s.flat[at:at+identitySize]) == string(id) {
			return slot, true
		}
	}
}

func (s *identities) grow() {
	old := s.table
	s.table = make([]uint32, 2*len(old))
	for _, v := range old {
		if v == 0 {
			continue
		}
		at := int(v-1) * identitySize
		slot, _ := s.find(s.flat[at : at+identitySize])
		s.table[slot] = v
	}
}

// load adds the identities of a state directory, which are known to differ.
func (s *identities) load(flat []byte) {
	for at := 0; at < len(flat); at += identitySize {
		s.add(flat[at : at+identitySize])
	}
}
