// Package tile holds the arithmetic of a tiled transparency log
// (https://c2sp.org/tlog-tiles): the paths of tiles, how wide a tile is in a
// tree of a given size, the encoding of entry bundles, and the proofs and
// roots that can be computed from tiles alone.
//
// The tree is the RFC 6962 SHA-256 Merkle tree. A tile of level L and index N
// holds up to 256 consecutive hashes, the roots of complete subtrees of
// 256^L leaves each:
//
//	MTH(D[(N*256+i) * 256^L : (N*256+i+1) * 256^L])    i = 0 … W-1
//
// Level -1 stands for entry bundles, which follow the numbering of level 0 but
// hold the entries themselves. A tile of 256 hashes is full and never changes;
// a narrower one, at the right edge of the tree, is partial and is a prefix of
// every wider tile with the same coordinates.
//
// Everything here is a pure function of its arguments. Tiles are read through
// the Reader given; what a Reader returns is not trusted to be more than bytes
// of the right length, so a caller who does not trust the tiles' source must
// verify the proof or root against a signed checkpoint.
package tile
