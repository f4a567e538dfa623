package fixedbase

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"math/big"
	"slices"
	"sync"
	"testing"

	"filippo.io/edwards25519"
)

// secret is a private key by its scalar, with a torsion point added to the public key, which only a signer who wants trouble does.
type secret struct {
	scalar *edwards25519.Scalar
	key    *Key
}

func newSecret(tb testing.TB, seed byte, torsion *edwards25519.Point) secret {
	tb.Helper()
	scalar := scalarOf(tb, []byte{seed, 'a'})
	a := new(edwards25519.Point).ScalarBaseMult(scalar)
	return secret{scalar, NewKey(a.Add(a, torsion).Bytes())}
}

func scalarOf(tb testing.TB, parts ...[]byte) *edwards25519.Scalar {
	tb.Helper()
	digest := sha512.Sum512(bytes.Join(parts, nil))
	s, err := edwards25519.NewScalar().SetUniformBytes(digest[:])
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// sign makes R = rB + torsion and the S that belongs to it.
func (s secret) sign(tb testing.TB, message []byte, torsion *edwards25519.Point) []byte {
	tb.Helper()
	r := scalarOf(tb, []byte("r"), message)
	point := new(edwards25519.Point).ScalarBaseMult(r)
	encoded := point.Add(point, torsion).Bytes()
	k := scalarOf(tb, encoded, s.key.public, message)
	return append(encoded, edwards25519.NewScalar().MultiplyAdd(k, s.scalar, r).Bytes()...)
}

// torsion is the subgroup of order 8.
func torsion(tb testing.TB) []*edwards25519.Point {
	tb.Helper()
	encoded, err := hex.DecodeString("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
	if err != nil {
		tb.Fatal(err)
	}
	generator, err := new(edwards25519.Point).SetBytes(encoded)
	if err != nil {
		tb.Fatal(err)
	}
	points := []*edwards25519.Point{edwards25519.NewIdentityPoint()}
	for range 7 {
		points = append(points, new(edwards25519.Point).Add(points[len(points)-1], generator))
	}
	if new(edwards25519.Point).Add(points[7], generator).Equal(points[0]) != 1 {
		tb.Fatal("the point is not of order 8")
	}
	return points
}

// verdict verifies with a table and fails the test where crypto/ed25519 says something else.
func (k *Key) verdict(tb testing.TB, minusA *table, message, sig []byte) bool {
	tb.Helper()
	want := ed25519.Verify(k.public, message, sig)
	if got := k.verify(minusA, message, sig); got != want {
		tb.Errorf("key %x, message %x, signature %x: %v, crypto/ed25519 says %v", []byte(k.public), message, sig, got, want)
	}
	return want
}

func TestVerdicts(t *testing.T) {
	identity := edwards25519.NewIdentityPoint()
	s := newSecret(t, 1, identity)
	minusA := newTable(s.key.minusA, keyWidth)
	message := []byte("who did what")
	sig := s.sign(t, message, identity)
	if !s.key.verdict(t, minusA, message, sig) {
		t.Fatal("a good signature does not verify")
	}
	refused := func(name string, message, sig []byte) {
		t.Helper()
		if s.key.verdict(t, minusA, message, sig) {
			t.Errorf("%s: accepted", name)
		}
	}
	for bit := range 8 * len(sig) {
		flipped := bytes.Clone(sig)
		flipped[bit/8] ^= 1 << (bit % 8)
		refused("a flipped bit", message, flipped)
	}
	for n := range len(sig) {
		refused("cut short", message, sig[:n])
	}
	refused("a byte too many", message, append(bytes.Clone(sig), 0))
	refused("another message", []byte("who did what?"), sig)
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	for multiple := range int64(15) { // as often as it fits in 32 bytes
		le := slices.Clone(sig[32:])
		slices.Reverse(le)
		more := new(big.Int).Add(new(big.Int).SetBytes(le), new(big.Int).Mul(order, big.NewInt(multiple+1)))
		be := more.FillBytes(make([]byte, 32))
		slices.Reverse(be)
		refused("S and a multiple of the order", message, append(bytes.Clone(sig[:32]), be...))
	}
}

// TestVerdictsOnTorsion: keys and Rs that have a part of small order. RFC 8032 lets verifiers differ on them; here all must say the same.
func TestVerdictsOnTorsion(t *testing.T) {
	points := torsion(t)
	verdicts := map[bool]int{}
	for i, ofKey := range points {
		s := newSecret(t, byte(i), ofKey)
		minusA := newTable(s.key.minusA, keyWidth)
		for _, ofR := range points {
			for n := range 16 {
				message := []byte{byte(i), byte(n)}
				verdicts[s.key.verdict(t, minusA, message, s.sign(t, message, ofR))]++
			}
		}
	}
	if verdicts[true] < 16 || verdicts[false] < 16 {
		t.Errorf("verdicts %v: want many of both, or nothing is compared", verdicts)
	}
}

// TestVerdictsOnSmallOrder: a key and an R that are themselves of small order, in every encoding that decodes.
func TestVerdictsOnSmallOrder(t *testing.T) {
	var encodings [][]byte
	for _, p := range torsion(t) {
		encodings = append(encodings, p.Bytes())
	}
	for _, low := range []byte{0xec, 0xed, 0xee} { // p-1, and 0 and 1 written as p and p+1
		for _, high := range []byte{0x7f, 0xff} {
			e := bytes.Repeat([]byte{0xff}, 32)
			e[0], e[31] = low, high
			encodings = append(encodings, e)
		}
	}
	verdicts := map[bool]int{}
	for _, public := range encodings {
		key := NewKey(public)
		if key.minusA == nil {
			continue
		}
		minusA := newTable(key.minusA, keyWidth)
		for _, r := range encodings {
			for n := range 16 {
				verdicts[key.verdict(t, minusA, []byte{byte(n)}, append(bytes.Clone(r), make([]byte, 32)...))]++
			}
		}
	}
	if verdicts[true] < 16 || verdicts[false] < 16 {
		t.Errorf("verdicts %v: want many of both, or nothing is compared", verdicts)
	}
}

// TestMultiples: scalars at the edges of windows, where digits carry.
func TestMultiples(t *testing.T) {
	p := new(edwards25519.Point).ScalarBaseMult(scalarOf(t, []byte("some point")))
	power := func(bit int) *edwards25519.Scalar {
		var le [32]byte
		le[bit/8] = 1 << (bit % 8)
		s, err := edwards25519.NewScalar().SetCanonicalBytes(le[:])
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	var scalars []*edwards25519.Scalar
	for bit := range 252 {
		s := power(bit)
		scalars = append(scalars, s, edwards25519.NewScalar().Subtract(s, power(0)), edwards25519.NewScalar().Negate(s))
	}
	for width := 2; width <= 9; width++ {
		table := newTable(p, width)
		for _, s := range scalars {
			got := newSum()
			table.addMultiple(got, s)
			if want := new(edwards25519.Point).ScalarMult(s, p); !bytes.Equal(got.encode(), want.Bytes()) {
				t.Fatalf("width %d, scalar %x: a wrong multiple", width, s.Bytes())
			}
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte("message"), make([]byte, 64), byte(0))
	identity := edwards25519.NewIdentityPoint()
	s := newSecret(f, 9, identity)
	minusA := newTable(s.key.minusA, keyWidth)
	f.Fuzz(func(t *testing.T, message, difference []byte, torsionOfR byte) {
		sig := s.sign(t, message, torsion(t)[torsionOfR%8])
		for i := range min(len(sig), len(difference)) {
			sig[i] ^= difference[i]
		}
		s.key.verdict(t, minusA, message, sig)
	})
}

// TestNoPoint: what is not the encoding of a point is a key under which nothing verifies, however often it is asked.
func TestNoPoint(t *testing.T) {
	cached = cache{}
	key := NewKey(append([]byte{2}, make([]byte, 31)...))
	for range 2 * busy {
		if key.Verify(nil, make([]byte, ed25519.SignatureSize)) {
			t.Fatal("it verifies")
		}
	}
	if key.minusA != nil || key.table.Load() != nil {
		t.Error("it has a point, or a table")
	}
}

// signed is a key with a signature to verify.
type signed struct {
	*Key
	message, sig []byte
}

func newSigned(tb testing.TB, seed byte) signed {
	tb.Helper()
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	key := NewKey(private.Public().(ed25519.PublicKey))
	message := bytes.Repeat([]byte{seed}, 600)
	return signed{key, message, ed25519.Sign(private, message)}
}

func (s signed) ask(tb testing.TB, times int) {
	tb.Helper()
	for range times {
		if !s.Verify(s.message, s.sig) {
			tb.Error("a good signature does not verify")
		}
		if s.Verify(s.message[1:], s.sig) {
			tb.Error("a signature of something else verifies")
		}
	}
}

// TestPlaces: busy keys get tables, no more of them than there are places, and lose them to others once they are idle.
func TestPlaces(t *testing.T) {
	tables := func(keys []signed) (n int) {
		for _, k := range keys {
			if k.table.Load() != nil {
				n++
			}
		}
		return n
	}
	cached = cache{}
	seldom := newSigned(t, 0)
	seldom.ask(t, busy/2-1)
	if seldom.table.Load() != nil {
		t.Error("a key that came seldom has a table")
	}
	var first, later []signed
	for i := range places {
		first = append(first, newSigned(t, byte(i)))
		later = append(later, newSigned(t, byte(places+i)))
	}
	for range 3 {
		for _, k := range first {
			k.ask(t, busy)
		}
	}
	if n := tables(first); n != places {
		t.Fatalf("%d of %d busy keys have tables", n, places)
	}
	// Both sorts are busy: nobody loses a place.
	for range 3 {
		for i := range places {
			first[i].ask(t, busy)
			later[i].ask(t, busy)
			for _, k := range first {
				k.ask(t, 1)
			}
		}
	}
	if had, got := tables(first), tables(later); had != places || got != 0 {
		t.Errorf("%d tables of the busy, %d of the new: a busy key lost its place", had, got)
	}
	// The first are idle now.
	for range 3 {
		for _, k := range later {
			k.ask(t, busy)
		}
	}
	if had, got := tables(first), tables(later); had != 0 || got != places {
		t.Errorf("%d tables of the idle, %d of the busy: want none and %d", had, got, places)
	}
}

func TestManyAtOnce(t *testing.T) {
	var keys []signed
	for i := range 2 * places {
		keys = append(keys, newSigned(t, byte(i)))
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range keys {
				keys[(i*(w+1))%len(keys)].ask(t, busy/2)
			}
		})
	}
	wg.Wait()
}

func BenchmarkVerify(b *testing.B) {
	s := newSigned(b, 1)
	b.Run("with a table", func(b *testing.B) {
		s.ask(b, busy)
		for b.Loop() {
			s.Verify(s.message, s.sig)
		}
	})
	b.Run("crypto ed25519", func(b *testing.B) {
		for b.Loop() {
			ed25519.Verify(s.public, s.message, s.sig)
		}
	})
	b.Run("making a table", func(b *testing.B) {
		for b.Loop() {
			newTable(s.minusA, keyWidth)
		}
	})
}
