package vectors

import (
	"fmt"
	"slices"
	"strconv"
)

// rootVector is the root of a tree whose entry i is the decimal number i in
// ASCII.
type rootVector struct {
	Size int  `json:"size"`
	Root hash `json:"root"`
}

// inclusionVector is an inclusion proof (RFC 6962 section 2.1.1).
type inclusionVector struct {
	Index    int64  `json:"index"`
	Size     int64  `json:"size"`
	LeafHash hash   `json:"leafHash"`
	Root     hash   `json:"root"`
	Proof    []hash `json:"proof"` // from the leaf to the root
}

// consistencyVector is a consistency proof (RFC 6962 section 2.1.2).
type consistencyVector struct {
	From     int64  `json:"from"`
	To       int64  `json:"to"`
	FromRoot hash   `json:"fromRoot"`
	ToRoot   hash   `json:"toRoot"`
	Proof    []hash `json:"proof"`
}

// largestTree is the largest tree that vectors are made of.
const largestTree = 65537

func numberLeaves(n int) []hash {
	leaves := make([]hash, n)
	for i := range leaves {
		leaves[i] = hashLeaf([]byte(strconv.Itoa(i)))
	}
	return leaves
}

func treeSizes() []int {
	var sizes []int
	for n := range 41 {
		sizes = append(sizes, n)
	}
	return append(sizes, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1000, 4095, 4096, 4097, 65535, 65536, 65537)
}

// trees writes roots, inclusion proofs and consistency proofs.
func (f *files) trees() {
	leaves := numberLeaves(largestTree)
	var roots []rootVector
	for _, n := range treeSizes() {
		roots = append(roots, rootVector{n, root(leaves[:n])})
	}
	f.json("vectors/tree/roots.json", roots)

	inclusion := func(m, n int) inclusionVector {
		return inclusionVector{int64(m), int64(n), leaves[m], root(leaves[:n]), path(m, leaves[:n])}
	}
	for _, p := range [][2]int{
		{0, 1}, {0, 2}, {1, 2}, {0, 3}, {2, 3}, {5, 7}, {6, 7}, {0, 8}, {7, 8}, {3, 40}, {39, 40}, {255, 256}, {255, 257}, {256, 257},
		{300, 513}, {512, 513}, {0, 65537}, {1234, 65537}, {65535, 65537}, {65536, 65537},
	} {
		f.json(fmt.Sprintf("vectors/inclusion/good/%d-of-%d.json", p[0], p[1]), inclusion(p[0], p[1]))
	}
	for name, v := range wrongInclusions(leaves, inclusion) {
		f.json("vectors/inclusion/wrong/"+name+".json", v)
	}

	consistent := func(m, n int) consistencyVector {
		return consistencyVector{int64(m), int64(n), root(leaves[:m]), root(leaves[:n]), consistency(m, leaves[:n])}
	}
	for _, p := range [][2]int{
		{1, 1}, {1, 2}, {1, 3}, {2, 3}, {3, 4}, {3, 7}, {4, 7}, {6, 7}, {4, 8}, {6, 8}, {7, 7}, {8, 8}, {5, 40}, {32, 40},
		{255, 256}, {255, 257}, {256, 257}, {256, 512}, {511, 65537}, {65536, 65537},
	} {
		f.json(fmt.Sprintf("vectors/consistency/good/%d-to-%d.json", p[0], p[1]), consistent(p[0], p[1]))
	}
	// "PROOF(0, D[n])" is not defined; everywhere in c2sp.org it is empty.
	for _, n := range []int{0, 1, 7} {
		f.json(fmt.Sprintf("vectors/consistency/good/0-to-%d.json", n), consistencyVector{0, int64(n), root(nil), root(leaves[:n]), []hash{}})
	}
	for name, v := range wrongConsistencies(leaves, consistent) {
		f.json("vectors/consistency/wrong/"+name+".json", v)
	}
}

func flip(h hash) hash {
	h[17] ^= 0x10
	return h
}

func wrongInclusions(leaves []hash, good func(m, n int) inclusionVector) map[string]inclusionVector {
	change := func(do func(*inclusionVector)) inclusionVector {
		v := good(5, 7)
		do(&v)
		return v
	}
	alone := good(0, 1)
	alone.Proof = []hash{leaves[1]}
	return map[string]inclusionVector{
		"proof-empty":                 change(func(v *inclusionVector) { v.Proof = []hash{} }),
		"proof-without-its-first":     change(func(v *inclusionVector) { v.Proof = v.Proof[1:] }),
		"proof-without-its-last":      change(func(v *inclusionVector) { v.Proof = v.Proof[:2] }),
		"proof-with-one-more":         change(func(v *inclusionVector) { v.Proof = append(v.Proof, leaves[0]) }),
		"proof-with-the-root":         change(func(v *inclusionVector) { v.Proof = append(v.Proof, v.Root) }),
		"proof-from-root-to-leaf":     change(func(v *inclusionVector) { slices.Reverse(v.Proof) }),
		"proof-of-the-neighbour":      change(func(v *inclusionVector) { v.Proof = path(4, leaves[:7]) }),
		"proof-with-a-flipped-bit":    change(func(v *inclusionVector) { v.Proof[1] = flip(v.Proof[1]) }),
		"leaf-hash-of-another":        change(func(v *inclusionVector) { v.LeafHash = leaves[4] }),
		"leaf-hash-with-flipped-bit":  change(func(v *inclusionVector) { v.LeafHash = flip(v.LeafHash) }),
		"leaf-hash-of-a-node":         change(func(v *inclusionVector) { v.LeafHash = hashNode(leaves[4], leaves[5]) }),
		"root-with-a-flipped-bit":     change(func(v *inclusionVector) { v.Root = flip(v.Root) }),
		"root-of-another-size":        change(func(v *inclusionVector) { v.Root = root(leaves[:8]) }),
		"index-one-less":              change(func(v *inclusionVector) { v.Index = 4 }),
		"index-one-more":              change(func(v *inclusionVector) { v.Index = 6 }),
		"index-equal-to-size":         change(func(v *inclusionVector) { v.Index = 7 }),
		"index-beyond-size":           change(func(v *inclusionVector) { v.Index = 1 << 40 }),
		"index-negative":              change(func(v *inclusionVector) { v.Index = -1 }),
		"size-one-more":               change(func(v *inclusionVector) { v.Size = 8; v.Index = 6 }),
		"size-zero":                   change(func(v *inclusionVector) { v.Size = 0 }),
		"size-doubled":                change(func(v *inclusionVector) { v.Size = 14 }),
		"size-negative":               change(func(v *inclusionVector) { v.Size = -7 }),
		"single-leaf-with-a-proof":    alone,
		"single-leaf-is-not-the-root": {Index: 0, Size: 1, LeafHash: leaves[1], Root: leaves[0], Proof: []hash{}},
	}
}

func wrongConsistencies(leaves []hash, good func(m, n int) consistencyVector) map[string]consistencyVector {
	change := func(do func(*consistencyVector)) consistencyVector {
		v := good(3, 7)
		do(&v)
		return v
	}
	same := good(7, 7)
	return map[string]consistencyVector{
		"proof-empty":                  change(func(v *consistencyVector) { v.Proof = []hash{} }),
		"proof-without-its-first":      change(func(v *consistencyVector) { v.Proof = v.Proof[1:] }),
		"proof-without-its-last":       change(func(v *consistencyVector) { v.Proof = v.Proof[:len(v.Proof)-1] }),
		"proof-with-one-more":          change(func(v *consistencyVector) { v.Proof = append(v.Proof, leaves[0]) }),
		"proof-reversed":               change(func(v *consistencyVector) { slices.Reverse(v.Proof) }),
		"proof-with-a-flipped-bit":     change(func(v *consistencyVector) { v.Proof[2] = flip(v.Proof[2]) }),
		"proof-from-another-size":      change(func(v *consistencyVector) { v.Proof = consistency(2, leaves[:7]) }),
		"power-of-two-with-old-root":   withOldRoot(good(4, 7)),
		"old-root-with-a-flipped-bit":  change(func(v *consistencyVector) { v.FromRoot = flip(v.FromRoot) }),
		"old-root-of-another-size":     change(func(v *consistencyVector) { v.FromRoot = root(leaves[:4]) }),
		"new-root-with-a-flipped-bit":  change(func(v *consistencyVector) { v.ToRoot = flip(v.ToRoot) }),
		"new-root-of-another-size":     change(func(v *consistencyVector) { v.ToRoot = root(leaves[:6]) }),
		"roots-exchanged":              change(func(v *consistencyVector) { v.FromRoot, v.ToRoot = v.ToRoot, v.FromRoot }),
		"sizes-exchanged":              change(func(v *consistencyVector) { v.From, v.To = v.To, v.From }),
		"size-negative":                change(func(v *consistencyVector) { v.From = -3 }),
		"back-to-a-smaller-tree":       {From: 7, To: 3, FromRoot: root(leaves[:7]), ToRoot: root(leaves[:3]), Proof: []hash{}},
		"same-size-other-root":         {From: 7, To: 7, FromRoot: same.FromRoot, ToRoot: flip(same.ToRoot), Proof: []hash{}},
		"same-size-with-a-proof":       {From: 7, To: 7, FromRoot: same.FromRoot, ToRoot: same.ToRoot, Proof: []hash{same.ToRoot}},
		"from-zero-with-a-proof":       {From: 0, To: 7, FromRoot: root(nil), ToRoot: same.ToRoot, Proof: []hash{same.ToRoot}},
		"empty-tree-with-another-root": {From: 0, To: 0, FromRoot: root(nil), ToRoot: hash{}, Proof: []hash{}},
	}
}

// withOldRoot prepends the old root, which PROOF leaves out where the old size is
// a power of two.
func withOldRoot(v consistencyVector) consistencyVector {
	v.Proof = append([]hash{v.FromRoot}, v.Proof...)
	return v
}
