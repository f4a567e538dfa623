package vectors

import (
	"crypto/sha256"
	"encoding/base64"
)

// hash is a SHA-256; in JSON it is standard base64.
type hash [32]byte

func (h hash) String() string { return base64.StdEncoding.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// hashLeaf is MTH({d(0)}) = SHA-256(0x00 || d(0)) (RFC 6962 section 2.1).
func hashLeaf(entry []byte) hash { return sha256.Sum256(append([]byte{0}, entry...)) }

// hashNode is SHA-256(0x01 || left || right).
func hashNode(left, right hash) hash {
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

// split is "the largest power of two smaller than n", for n > 1.
func split(n int) int {
	k := 1
	for k*2 < n {
		k *= 2
	}
	return k
}

// root is MTH (RFC 6962 section 2.1) over leaf hashes.
func root(leaves []hash) hash {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	default:
		k := split(n)
		return hashNode(root(leaves[:k]), root(leaves[k:]))
	}
}

// path is PATH(m, D[n]) (RFC 6962 section 2.1.1).
func path(m int, leaves []hash) []hash {
	n := len(leaves)
	if n == 1 {
		return []hash{}
	}
	k := split(n)
	if m < k {
		return append(path(m, leaves[:k]), root(leaves[k:]))
	}
	return append(path(m-k, leaves[k:]), root(leaves[:k]))
}

// consistency is PROOF(m, D[n]) (RFC 6962 section 2.1.2).
func consistency(m int, leaves []hash) []hash { return subproof(m, leaves, true) }

// subproof is SUBPROOF(m, D[n], b).
func subproof(m int, leaves []hash, complete bool) []hash {
	n := len(leaves)
	if m == n {
		if complete {
			return []hash{}
		}
		return []hash{root(leaves)}
	}
	k := split(n)
	if m <= k {
		return append(subproof(m, leaves[:k], complete), root(leaves[k:]))
	}
	return append(subproof(m-k, leaves[k:], false), root(leaves[:k]))
}
