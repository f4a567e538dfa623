// Package subtree knows the subtrees of a Merkle tree and proves them
// consistent with the whole, as draft-ietf-plants-merkle-tree-certs-03
// sections 4.1 and 4.4 define it
// (https://datatracker.ietf.org/doc/html/draft-ietf-plants-merkle-tree-certs-03#section-4)
// and https://c2sp.org/tlog-witness#sign-subtree and https://c2sp.org/tlog-mirror
// use it.
//
// A subtree is a half-open interval [start, end) of leaf indexes. Its hash is the
// RFC 6962 hash of those leaves taken as a tree of their own; every
// node of a larger tree's left part is one, and so is every prefix of the tree.
//
// The package is pure: hashes in, hashes out.
package subtree

import (
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// ErrProof says that a subtree consistency proof does not hold.
var ErrProof = errors.New("subtree consistency proof does not hold")

// Valid reports whether [start, end) is a subtree of a tree with size leaves
// (section 4.1): "0 <= start < end <= n" and "start is a multiple of
// BIT_CEIL(end - start)", the smallest power of two that is not smaller.
func Valid(start, end, size int64) bool {
	if start < 0 || end <= start || size < end {
		return false
	}
	// BIT_CEIL can be 2^63, which only zero is a multiple of; as a shift of a uint64 it fits.
	ceil := uint64(1) << bits.Len64(uint64(end-start-1))
	return uint64(start)&(ceil-1) == 0
}

// Verify checks that the subtree [start, end) with this hash is part of the
// tree of this size and root (section 4.4). Its errors wrap ErrProof.
func Verify(start, end, size int64, hash, root tlog.Hash, proof []tlog.Hash) error {
	if !Valid(start, end, size) {
		return fmt.Errorf("%w: [%d, %d) is not a subtree of a tree of size %d", ErrProof, start, end, size)
	}
	v := verifier{hash, proof}
	gotHash, gotRoot, ok := v.walk(start, end, size, true)
	switch {
	case !ok:
		return fmt.Errorf("%w: %d hashes are too few", ErrProof, len(proof))
	case len(v.proof) != 0:
		return fmt.Errorf("%w: %d hashes are %d too many", ErrProof, len(proof), len(v.proof))
	case gotHash != hash:
		return fmt.Errorf("%w: it leads to another hash of the subtree [%d, %d)", ErrProof, start, end)
	case gotRoot != root:
		return fmt.Errorf("%w: it leads to another root of the tree of size %d", ErrProof, size)
	}
	return nil
}

type verifier struct {
	hash  tlog.Hash   // of the subtree, as claimed
	proof []tlog.Hash // what was not used yet; the last one belongs to the highest node
}

func (v *verifier) pop() (h tlog.Hash, ok bool) {
	if len(v.proof) == 0 {
		return h, false
	}
	last := len(v.proof) - 1
	h, v.proof = v.proof[last], v.proof[:last]
	return h, true
}

// walk goes down SUBTREE_SUBPROOF(start, end, D_n, known) of section 4.4 and
// comes back with the hashes, made from the proof, of that part of the subtree
// and of D_n. known says that the part is the whole subtree, whose hash the
// proof leaves out.
func (v *verifier) walk(start, end, n int64, known bool) (sub, tree tlog.Hash, ok bool) {
	if start == 0 && end == n {
		if known {
			return v.hash, v.hash, true
		}
		h, ok := v.pop()
		return h, h, ok
	}
	p, ok := v.pop()
	if !ok {
		return sub, tree, false
	}
	k := split(n)
	switch {
	case end <= k: // all of it is on the left; the proof holds MTH(D[k:n])
		sub, tree, ok = v.walk(start, end, k, known)
		return sub, tlog.NodeHash(tree, p), ok
	case k <= start: // all of it is on the right; the proof holds MTH(D[0:k])
		sub, tree, ok = v.walk(start-k, end-k, n-k, known)
		return sub, tlog.NodeHash(p, tree), ok
	default: // start is 0: the left child is all of both
		sub, tree, ok = v.walk(0, end-k, n-k, false)
		return tlog.NodeHash(p, sub), tlog.NodeHash(p, tree), ok
	}
}

// Prove returns the consistency proof of the subtree [start, end) in the tree
// of this size. mth gives the RFC 6962 hash of the leaves [lo, hi) as a tree of
// their own; it is asked for subtrees only, at most 64 times.
func Prove(start, end, size int64, mth func(lo, hi int64) (tlog.Hash, error)) ([]tlog.Hash, error) {
	if !Valid(start, end, size) {
		return nil, fmt.Errorf("proving a subtree: [%d, %d) is not a subtree of a tree of size %d", start, end, size)
	}
	// From the root down, so the hashes come in reverse.
	var proof []tlog.Hash
	add := func(lo, hi int64) error {
		h, err := mth(lo, hi)
		proof = append(proof, h)
		return err
	}
	known := true
	for lo, hi := int64(0), size; lo != start || hi != end; {
		k := lo + split(hi-lo)
		var err error
		switch {
		case end <= k:
			err = add(k, hi)
			hi = k
		case k <= start:
			err = add(lo, k)
			lo = k
		default:
			err = add(lo, k)
			lo, start, known = k, k, false
		}
		if err != nil {
			return nil, fmt.Errorf("proving subtree [%d, %d) of size %d: %w", start, end, size, err)
		}
	}
	if !known {
		if err := add(start, end); err != nil {
			return nil, fmt.Errorf("proving a subtree that ends at %d of size %d: %w", end, size, err)
		}
	}
	for i, j := 0, len(proof)-1; i < j; i, j = i+1, j-1 {
		proof[i], proof[j] = proof[j], proof[i]
	}
	return proof, nil
}

// Hash returns the RFC 6962 hash of these leaf hashes as a tree of their own.
func Hash(leaves []tlog.Hash) tlog.Hash {
	switch len(leaves) {
	case 0:
		return emptyRoot
	case 1:
		return leaves[0]
	}
	k := split(int64(len(leaves)))
	return tlog.NodeHash(Hash(leaves[:k]), Hash(leaves[k:]))
}

// split is "the largest power of two smaller than n"; n > 1.
func split(n int64) int64 { return 1 << (bits.Len64(uint64(n-1)) - 1) }
