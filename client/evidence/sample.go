package evidence

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// sampleDomain keeps these hashes apart from every other use of SHA-256.
const sampleDomain = "escortlog sample v1\n"

// Rank is the place of a leaf in the order in which a seed draws leaves:
//
//	SHA-256("escortlog sample v1\n" || uint64(len(seed)) || seed || uint64(index))
//
// with both numbers big-endian. Smaller ranks are drawn first.
func Rank(seed string, index int64) [32]byte {
	b := binary.BigEndian.AppendUint64([]byte(sampleDomain), uint64(len(seed)))
	b = append(b, seed...)
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(index)))
}

// Draw returns the n leaves of a population, or all where there are fewer, whose
// ranks are smallest, in the order in which they are drawn. A sample of fewer is
// the beginning of a sample of more. Whoever knows the seed beforehand, or may
// choose it, can know what will be drawn: agree on it after the checkpoint.
func Draw(seed string, population []int64, n int) []int64 {
	type ranked struct {
		index int64
		rank  [32]byte
	}
	list := make([]ranked, len(population))
	for i, index := range population {
		list[i] = ranked{index, Rank(seed, index)}
	}
	slices.SortFunc(list, func(a, b ranked) int {
		return cmp.Or(bytes.Compare(a.rank[:], b.rank[:]), cmp.Compare(a.index, b.index))
	})
	out := make([]int64, 0, min(n, len(list)))
	for _, r := range list[:min(n, len(list))] {
		out = append(out, r.index)
	}
	return out
}
