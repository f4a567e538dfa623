package log

import "encoding/binary"

// identityIndex finds, for the identity of an event, the leaves that may have
// it. It keeps 8 bytes of each identity and the index in an open-addressing
// table: 13 bytes a slot, at most three quarters full, so 17 to 35 bytes a
// leaf. A candidate must be confirmed against the stored identity: eight bytes
// can be made to collide on purpose.
//
// Nearly every identity that is looked up is new. The tags alone show that: they
// stay in the cache of the processor long after the rest has outgrown it.
//
// The sequencer adds under the lock of its owner; there is no deletion.
type identityIndex struct {
	tags   []uint8  // the first byte of the identity, or 1; 0 is an empty slot
	prints []uint64 // its first 8 bytes
	leaves []uint32
	count  int
}

// maxLeaves is how many leaves the index can tell apart.
const maxLeaves = 1<<32 - 1

func tagOf(print uint64) uint8 { return max(1, uint8(print>>56)) }

func (x *identityIndex) add(identity [32]byte, index int64) {
	if x.count*4 >= len(x.prints)*3 {
		x.grow()
	}
	x.put(binary.BigEndian.Uint64(identity[:]), uint32(index))
	x.count++
}

func (x *identityIndex) put(print uint64, leaf uint32) {
	mask := uint64(len(x.prints) - 1)
	slot := print & mask // identities are SHA-256 outputs: already mixed
	for x.tags[slot] != 0 {
		slot = (slot + 1) & mask
	}
	x.tags[slot], x.prints[slot], x.leaves[slot] = tagOf(print), print, leaf
}

// reserve makes room for n identities in an empty index: growing by doubling would
// move most of them again and again.
func (x *identityIndex) reserve(n int64) {
	size := 1024
	for int64(size)*3 <= n*4 {
		size *= 2
	}
	x.make(size)
}

func (x *identityIndex) make(size int) {
	x.tags, x.prints, x.leaves = make([]uint8, size), make([]uint64, size), make([]uint32, size)
}

func (x *identityIndex) grow() {
	old := *x
	x.make(max(1024, 2*len(old.tags)))
	for i, tag := range old.tags {
		if tag != 0 {
			x.put(old.prints[i], old.leaves[i])
		}
	}
}

// candidates returns the indexes of the leaves whose identity begins with the
// same 8 bytes, lowest first as they were added.
func (x *identityIndex) candidates(identity [32]byte) []int64 {
	if len(x.tags) == 0 {
		return nil
	}
	var found []int64
	print := binary.BigEndian.Uint64(identity[:])
	tag, mask := tagOf(print), uint64(len(x.tags)-1)
	for slot := print & mask; x.tags[slot] != 0; slot = (slot + 1) & mask {
		if x.tags[slot] == tag && x.prints[slot] == print {
			found = append(found, int64(x.leaves[slot]))
		}
	}
	return found
}
