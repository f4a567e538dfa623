package server

import (
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// provenPath verifies inclusion proofs in one tree (RFC 6962 section 2.1.1) faster
// than each by itself: it remembers the last path that led to the root, with what
// stood beside it. A proof need only lead to the first node of those that its own
// path meets, if it agrees with all that is above. Leaves that were logged together
// stand together, so that mostly a hash or two are left to be computed.
type provenPath struct {
	size int64
	root tlog.Hash

	held   bool
	index  int64 // of the leaf whose path is held
	levels [63]step
}

// step is a node of the path and the one beside it, those below the root first.
type step struct{ node, sibling tlog.Hash }

// proves reports whether p leads from the leaf at index, within the tree, to the
// root.
func (t *provenPath) proves(leaf tlog.Hash, index int64, p []tlog.Hash) bool {
	var right [len(t.levels)]bool // where the path turns
	lo, hi, want := int64(0), t.size, t.root
	shared, follows := 0, t.held // how many levels are known, and whether the next one is
	depth := 0
	for ; hi-lo > 1; depth++ {
		if depth == len(p) || depth == len(right) {
			return false
		}
		middle := lo + 1<<(bits.Len64(uint64(hi-lo-1))-1)
		right[depth] = index >= middle
		if follows {
			known := &t.levels[depth]
			if follows = right[depth] == (t.index >= middle); !follows {
				known = &step{known.sibling, known.node} // the paths part
			}
			if p[len(p)-1-depth] != known.sibling {
				return false
			}
			want = known.node
			shared++
		}
		if right[depth] {
			lo = middle
		} else {
			hi = middle
		}
	}
	if depth != len(p) {
		return false
	}
	parted := t.held && !follows
	t.held = false
	hash := leaf
	for i := depth - 1; i >= shared; i-- {
		sibling := p[depth-1-i]
		t.levels[i] = step{hash, sibling}
		if right[i] {
			hash = tlog.NodeHash(sibling, hash)
		} else {
			hash = tlog.NodeHash(hash, sibling)
		}
	}
	if hash != want {
		return false
	}
	if parted {
		last := &t.levels[shared-1]
		last.node, last.sibling = last.sibling, last.node
	}
	t.held, t.index = true, index
	return true
}
