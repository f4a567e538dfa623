package subtree

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
)

const most = 40 // largest tree in the exhaustive tests

func leaves(n int) []tlog.Hash {
	var out []tlog.Hash
	for i := range n {
		out = append(out, tlog.RecordHash(fmt.Appendf(nil, "leaf %d", i)))
	}
	return out
}

// referenceProof is SUBTREE_SUBPROOF of section 4.4, letter by letter.
func referenceProof(start, end int, d []tlog.Hash, known bool) []tlog.Hash {
	n := len(d)
	if start == 0 && end == n {
		if known {
			return nil
		}
		return []tlog.Hash{Hash(d)}
	}
	k := 1
	for 2*k < n {
		k *= 2
	}
	switch {
	case end <= k:
		return append(referenceProof(start, end, d[:k], known), Hash(d[k:]))
	case k <= start:
		return append(referenceProof(start-k, end-k, d[k:], known), Hash(d[:k]))
	default:
		return append(referenceProof(0, end-k, d[k:], false), Hash(d[:k]))
	}
}

// referenceVerify is the iterative procedure of the draft's "Verifying a
// Subtree Consistency Proof", which shares nothing with walk.
func referenceVerify(start, end, n int64, node, root tlog.Hash, proof []tlog.Hash) bool {
	fn, sn, tn := start, end-1, n-1
	shift := func() { fn, sn, tn = fn>>1, sn>>1, tn>>1 }
	if sn == tn {
		for fn != sn {
			shift()
		}
	} else {
		for fn != sn && sn&1 == 1 {
			shift()
		}
	}
	fr, sr := node, node
	if fn != sn {
		if len(proof) == 0 {
			return false
		}
		fr, sr, proof = proof[0], proof[0], proof[1:]
	}
	for _, c := range proof {
		if tn == 0 {
			return false
		}
		if sn&1 == 1 || sn == tn {
			if fn < sn {
				fr = tlog.NodeHash(c, fr)
			}
			sr = tlog.NodeHash(c, sr)
			for sn&1 == 0 {
				shift()
			}
		} else {
			sr = tlog.NodeHash(sr, c)
		}
		shift()
	}
	return tn == 0 && fr == node && sr == root
}

// bruteValid says which intervals are subtrees by trying the powers of two.
func bruteValid(start, end, size int64) bool {
	if start < 0 || end <= start || end > size {
		return false
	}
	ceil := int64(1)
	for ceil < end-start {
		ceil *= 2
	}
	return start%ceil == 0
}

func TestValid(t *testing.T) {
	for n := int64(-1); n <= most; n++ {
		for start := int64(-1); start <= most; start++ {
			for end := int64(-1); end <= most; end++ {
				if got, want := Valid(start, end, n), bruteValid(start, end, n); got != want {
					t.Fatalf("Valid(%d, %d, %d) = %v", start, end, n, got)
				}
			}
		}
	}
	const max = math.MaxInt64
	for _, tc := range []struct {
		start, end, size int64
		want             bool
	}{
		{0, max, max, true},
		{1, max, max, false},
		{1 << 62, max, max, true}, // size 2^62 - 1
		{1 << 61, max, max, false},
		{max - 1, max, max, true},
		{max - 2, max, max, false}, // an odd start
		{math.MinInt64, max, max, false},
	} {
		if got := Valid(tc.start, tc.end, tc.size); got != tc.want {
			t.Errorf("Valid(%d, %d, %d) = %v", tc.start, tc.end, tc.size, got)
		}
	}
}

// Every subtree of every tree: the proof is the draft's, verifies, and stops
// verifying when anything about it is changed.
func TestAllSubtrees(t *testing.T) {
	d := leaves(most)
	mth := func(lo, hi int64) (tlog.Hash, error) { return Hash(d[lo:hi]), nil }
	count := 0
	for n := int64(1); n <= most; n++ {
		root := Hash(d[:n])
		for start := range n {
			for end := start + 1; end <= n; end++ {
				if !Valid(start, end, n) {
					continue
				}
				count++
				name := fmt.Sprintf("[%d, %d) of %d", start, end, n)
				hash := Hash(d[start:end])
				proof, err := Prove(start, end, n, mth)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if want := referenceProof(int(start), int(end), d[:n], true); !slices.Equal(proof, want) {
					t.Fatalf("%s: proof %v, want %v", name, proof, want)
				}
				if err := Verify(start, end, n, hash, root, proof); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if !referenceVerify(start, end, n, hash, root, proof) {
					t.Fatalf("%s: the draft's procedure refuses the proof", name)
				}
				if start == 0 {
					if err := checkpoint.VerifyConsistency(end, n, hash, root, proof); err != nil {
						t.Fatalf("%s is not the RFC 6962 proof: %v", name, err)
					}
				}
				refuses(t, name, start, end, n, hash, root, proof)
			}
		}
	}
	if count < 1500 {
		t.Errorf("only %d subtrees were tried", count)
	}
}

func refuses(t *testing.T, name string, start, end, n int64, hash, root tlog.Hash, proof []tlog.Hash) {
	t.Helper()
	other := tlog.RecordHash([]byte("other"))
	no := func(how string, hash, root tlog.Hash, proof []tlog.Hash) {
		t.Helper()
		if err := Verify(start, end, n, hash, root, proof); !errors.Is(err, ErrProof) {
			t.Fatalf("%s with %s: %v, want ErrProof", name, how, err)
		}
	}
	no("another hash", other, root, proof)
	no("another root", hash, other, proof)
	no("a hash too many", hash, root, append(slices.Clone(proof), other))
	no("a hash too many in front", hash, root, append([]tlog.Hash{other}, proof...))
	for i := range proof {
		bad := slices.Clone(proof)
		bad[i] = other
		no(fmt.Sprint("another hash ", i), hash, root, bad)
		no(fmt.Sprint("no hash ", i), hash, root, slices.Delete(slices.Clone(proof), i, i+1))
	}
}

// A proof is good for its own interval only.
func TestWrongInterval(t *testing.T) {
	const n = 24
	d := leaves(n)
	root := Hash(d)
	for start := range int64(n) {
		for end := start + 1; end <= n; end++ {
			if !Valid(start, end, n) {
				continue
			}
			proof := referenceProof(int(start), int(end), d, true)
			for s := range int64(n) {
				for e := s + 1; e <= n; e++ {
					if s == start && e == end {
						continue
					}
					if err := Verify(s, e, n, Hash(d[start:end]), root, proof); err == nil {
						t.Fatalf("the proof of [%d, %d) is accepted for [%d, %d)", start, end, s, e)
					}
				}
			}
		}
	}
}

// The shape of the example of https://c2sp.org/tlog-witness#sign-subtree, whose
// hashes are illustrations: [8, 13) of 14 takes leaf 12, leaf 13, [8, 12) and [0, 8).
func TestSpecificationExample(t *testing.T) {
	d := leaves(14)
	proof, err := Prove(8, 13, 14, func(lo, hi int64) (tlog.Hash, error) { return Hash(d[lo:hi]), nil })
	if want := []tlog.Hash{d[12], d[13], Hash(d[8:12]), Hash(d[:8])}; err != nil || !slices.Equal(proof, want) {
		t.Errorf("%v, %v, want %v", proof, err, want)
	}
}

func TestProveErrors(t *testing.T) {
	if _, err := Prove(1, 3, 8, nil); err == nil {
		t.Error("[1, 3) was proven")
	}
	broken := errors.New("no such tile")
	fail := func(lo, hi int64) (tlog.Hash, error) { return tlog.Hash{}, broken }
	for _, end := range []int64{4, 5, 7} {
		if _, err := Prove(0, end, 8, fail); !errors.Is(err, broken) {
			t.Errorf("end %d: %v", end, err)
		}
	}
}

// Both verifiers agree on anything at all, in huge trees too.
func FuzzVerify(f *testing.F) {
	f.Add(int64(0), int64(5), int64(7), []byte("proof"))
	f.Add(int64(1<<62), int64(math.MaxInt64), int64(math.MaxInt64), []byte{})
	f.Fuzz(func(t *testing.T, start, end, size int64, data []byte) {
		var hashes []tlog.Hash
		for ; len(data) >= tlog.HashSize; data = data[tlog.HashSize:] {
			hashes = append(hashes, tlog.Hash(data[:tlog.HashSize]))
		}
		hashes = append(hashes, tlog.Hash{1}, tlog.Hash{2})
		hash, root, proof := hashes[0], hashes[1], hashes[2:]
		got := Verify(start, end, size, hash, root, proof) == nil
		want := Valid(start, end, size) && referenceVerify(start, end, size, hash, root, proof)
		if got != want {
			t.Errorf("Verify says %v, the draft's procedure %v", got, want)
		}
		mth := func(lo, hi int64) (tlog.Hash, error) {
			if !Valid(lo, hi, size) {
				t.Errorf("asked for [%d, %d) of %d, which is no subtree", lo, hi, size)
			}
			return tlog.Hash{byte(lo), byte(hi)}, nil
		}
		if p, err := Prove(start, end, size, mth); err == nil && len(p) > 64 {
			t.Errorf("a proof of %d hashes", len(p))
		}
	})
}
