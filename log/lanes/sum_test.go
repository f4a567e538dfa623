package lanes

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// ways are all that this processor can do.
var ways = map[string]func(sums []tlog.Hash, messages [][]byte){"Sum": Sum, "each": sumEach}

// check compares all ways with crypto/sha256.
func check(t *testing.T, messages [][]byte) {
	t.Helper()
	var before [][]byte
	for _, m := range messages {
		before = append(before, bytes.Clone(m))
	}
	for way, sum := range ways {
		sums := make([]tlog.Hash, len(messages)+1)
		sum(sums, messages)
		for i, m := range before {
			if sums[i] != sha256.Sum256(m) {
				t.Fatalf("%s: message %d of %d, %d bytes %x: %v", way, i, len(before), len(m), m, sums[i])
			}
			if !bytes.Equal(messages[i], m) {
				t.Fatalf("%s: message %d of %d, %d bytes, was changed", way, i, len(before), len(m))
			}
		}
		if sums[len(messages)] != (tlog.Hash{}) {
			t.Fatalf("%s: a sum of no message", way)
		}
	}
}

func message(random *rand.ChaCha8, size int) []byte {
	m := make([]byte, size)
	random.Read(m)
	return m
}

// TestSum: each length beside each other, alone, few and many of all.
func TestSum(t *testing.T) {
	random := rand.NewChaCha8([32]byte{})
	check(t, nil)
	for a := range 200 {
		check(t, [][]byte{message(random, a)})
		for b := range 200 {
			check(t, [][]byte{message(random, a), message(random, b)})
		}
	}
	var many [][]byte
	for n := range 1000 {
		many = append(many, message(random, int(random.Uint64()%2000)))
		if n < 40 {
			check(t, many)
		}
	}
	check(t, many)
}

// TestSumOfVectors: the examples of FIPS 180-2 appendix B, for those who do not trust
// crypto/sha256.
func TestSumOfVectors(t *testing.T) {
	want := []string{
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
		"cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
	}
	for way, sum := range ways {
		sums := make([]tlog.Hash, 3)
		sum(sums, [][]byte{
			[]byte("abc"), []byte("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), bytes.Repeat([]byte("a"), 1_000_000),
		})
		for i := range sums {
			if got := fmt.Sprintf("%x", sums[i][:]); got != want[i] {
				t.Errorf("%s, %d: %s, want %s", way, i, got, want[i])
			}
		}
	}
}

// FuzzSum cuts a text into messages.
func FuzzSum(f *testing.F) {
	f.Add([]byte("a leaf and another one, and a third"), uint64(1))
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		var messages [][]byte
		for len(text) > 0 {
			n := random.IntN(len(text) + 1)
			messages, text = append(messages, text[:n]), text[n:]
		}
		check(t, messages)
	})
}

// BenchmarkSum: 256 messages, of the lengths of a leaf of 600 bytes and of two hashes, each
// behind one byte.
func BenchmarkSum(b *testing.B) {
	for _, size := range []int{601, 65} {
		messages := make([][]byte, 256)
		for i := range messages {
			messages[i] = message(rand.NewChaCha8([32]byte{byte(i)}), size)
		}
		sums := make([]tlog.Hash, len(messages))
		for way, sum := range ways {
			b.Run(fmt.Sprintf("%d/%s", size, way), func(b *testing.B) {
				for b.Loop() {
					sum(sums, messages)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/message")
			})
		}
	}
}
