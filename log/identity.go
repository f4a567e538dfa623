package log

import "encoding/binary"

// identityIndex finds, for the identity of an event, the leaves that may have
// it. It keeps 8 bytes of each identity and the index in an open-addressing
// table: 12 bytes a slot, at most three quarters full, so 16 to 32 bytes a
// leaf. A candidate must be confirmed against the stored identity: eight bytes
// can be made to collide on purpose.
//
// The sequencer adds under the lock of its owner; there is no deletion.
type identityIndex struct {
	prints []uint64 // the first 8 bytes of the identity
	leaves []uint32 // index + 1; 0 is an empty slot
	count  int
}

// maxLeaves is how many leaves the index can tell apart.
const maxLeaves = 1<<32 - 1

func (x *identityIndex) add(identity [32]byte, index int64) {
	if x.count*4 >= len(x.prints)*3 {
		x.grow()
	}
	x.put(binary.BigEndian.Uint64(identity[:]), uint32(index+1))
	x.count++
}

func (x *identityIndex) put(print uint64, leaf uint32) {
	mask := uint64(len(x.prints) - 1)
	slot := print & mask // identities are SHA-256 outputs: already mixed
	for x.leaves[slot] != 0 {
		slot = (slot + 1) & mask
	}
	x.prints[slot], x.leaves[slot] = print, leaf
}

// reserve makes room for n identities in an empty index: growing by doubling would
// move most of them again and again.
func (x *identityIndex) reserve(n int64) {
	size := 1024
	for int64(size)*3 <= n*4 {
		size *= 2
	}
	x.prints, x.leaves = make([]uint64, size), make([]uint32, size)
}

func (x *identityIndex) grow() {
	old := *x
	size := max(1024, 2*len(old.prints))
	x.prints, x.leaves = make([]uint64, size), make([]uint32, size)
	for i, leaf := range old.leaves {
		if leaf != 0 {
			x.put(old.prints[i], leaf)
		}
	}
}

// candidates returns the indexes of the leaves whose identity begins with the
// same 8 bytes, lowest first as they were added.
func (x *identityIndex) candidates(identity [32]byte) []int64 {
	if len(x.prints) == 0 {
		return nil
	}
	var found []int64
	print := binary.BigEndian.Uint64(identity[:])
	mask := uint64(len(x.prints) - 1)
	for slot := print & mask; x.leaves[slot] != 0; slot = (slot + 1) & mask {
		if x.prints[slot] == print {
			found = append(found, int64(x.leaves[slot])-1)
		}
	}
	return found
}
