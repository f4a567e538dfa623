package fixedbase

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"sync"
	"sync/atomic"

	"filippo.io/edwards25519"
)

const (
	// A key is busy, and asks for a table, each time it was asked so often without one. A table costs some four
	// verifications.
	busy = 64
	// So many keys have a table at a time: 6.4 MB in all.
	places = 64
	// The widths of the tables' windows. The generator has one table for all.
	keyWidth       = 5
	generatorWidth = 8
)

// A Key is an Ed25519 public key. It may be used by many at once.
type Key struct {
	public ed25519.PublicKey
	minusA *edwards25519.Point // nil if there is none
	asked  atomic.Uint32
	table  atomic.Pointer[table] // of -A, or nil
	used   atomic.Bool           // the table was, since cached.hand last came by
}

// NewKey wraps a key of 32 bytes. One that is not the encoding of a point verifies nothing.
func NewKey(public ed25519.PublicKey) *Key {
	k := &Key{public: bytes.Clone(public)}
	if a, err := new(edwards25519.Point).SetBytes(public); err == nil {
		k.minusA = a.Negate(a)
	}
	return k
}

// Verify reports whether sig is a signature of message by the key (RFC 8032 section 5.1.7, without the cofactor). It
// says what crypto/ed25519 says.
func (k *Key) Verify(message, sig []byte) bool {
	t := k.table.Load()
	if t == nil {
		if k.minusA != nil && k.asked.Add(1)%busy == 0 {
			cached.place(k)
		}
		return ed25519.Verify(k.public, message, sig)
	}
	if !k.used.Load() {
		k.used.Store(true)
	}
	return k.verify(t, message, sig)
}

// verify computes [S]B - [k]A and compares its encoding with the R of the signature, as crypto/ed25519 does.
func (k *Key) verify(minusA *table, message, sig []byte) bool {
	if len(sig) != ed25519.SignatureSize {
		return false
	}
	r := sig[:32]
	s, err := edwards25519.NewScalar().SetCanonicalBytes(sig[32:])
	if err != nil {
		return false
	}
	hash := sha512.New()
	hash.Write(r)
	hash.Write(k.public)
	hash.Write(message)
	var digest [sha512.Size]byte
	challenge, err := edwards25519.NewScalar().SetUniformBytes(hash.Sum(digest[:0]))
	if err != nil {
		return false // it takes any 64 bytes
	}
	p := newSum()
	generator().addMultiple(p, s)
	minusA.addMultiple(p, challenge)
	return bytes.Equal(p.encode(), r)
}

var generator = sync.OnceValue(func() *table {
	return newTable(edwards25519.NewGeneratorPoint(), generatorWidth)
})

// cached are the keys that have tables. A hand goes around over the places, a step for each key that asks, and gives
// it the place if the table there was not used since the hand was there before (the clock algorithm). So a place is kept
// as long as its key is busy, however many other keys come by.
var cached cache

type cache struct {
	mu   sync.Mutex
	keys [places]*Key
	hand int
}

// place gives k a table, or none this time.
func (c *cache) place(k *Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.hand
	c.hand = (at + 1) % places
	old := c.keys[at]
	if k.table.Load() != nil || old != nil && old.used.Swap(false) {
		return
	}
	if old != nil {
		old.table.Store(nil)
	}
	c.keys[at] = k
	k.used.Store(true)
	k.table.Store(newTable(k.minusA, keyWidth))
}
