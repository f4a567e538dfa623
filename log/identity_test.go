package log

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
)

// TestReserve: an index that has room for its identities does not grow, and finds
// each of them.
func TestReserve(t *testing.T) {
	for _, n := range []int64{0, 1, 767, 768, 769, 1536, 10000} {
		var x identityIndex
		x.reserve(n)
		slots := len(x.prints)
		id := func(i int64) [32]byte { return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i))) }
		for i := range n {
			x.add(id(i), i)
		}
		if len(x.prints) != slots {
			t.Errorf("%d identities: %d slots were reserved, %d are needed", n, slots, len(x.prints))
		}
		for i := range n {
			if found := x.candidates(id(i)); len(found) != 1 || found[0] != i {
				t.Fatalf("%d identities: number %d is found at %v", n, i, found)
			}
		}
	}
}
