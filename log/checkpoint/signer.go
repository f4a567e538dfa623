package checkpoint

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/mldsa"
	"golang.org/x/mod/sumdb/tlog"
)

const seedSize = 32 // of an Ed25519 and of an ML-DSA-44 private key alike

// Signer holds one private key. It is safe for concurrent use.
type Signer struct {
	v     *Verifier
	seed  []byte
	ed    ed25519.PrivateKey
	mldsa *mldsa.PrivateKey
}

// GenerateSigner makes a new key of the given name and type from 32 bytes of
// rand, which must be a cryptographic source (crypto/rand.Reader).
func GenerateSigner(name string, alg Algorithm, rand io.Reader) (*Signer, error) {
	seed := make([]byte, seedSize)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return nil, fmt.Errorf("generating a key for %q: %w", name, err)
	}
	s, err := newSigner(name, alg, seed)
	if err != nil {
		return nil, fmt.Errorf("generating a key for %q: %w", name, err)
	}
	return s, nil
}

// ParseSKey reads a private key as golang.org/x/mod/sumdb/note writes it:
//
//	PRIVATE+KEY+<key name>+hex(32-bit key ID)+base64(signature type || seed)
//
// The key ID is that of the public key and must be right. The error is
// ErrMalformed and does not show the key.
func ParseSKey(s string) (*Signer, error) {
	rest, ok := strings.CutPrefix(s, "PRIVATE+KEY+")
	name, rest, ok1 := strings.Cut(rest, "+")
	id, key64, ok2 := strings.Cut(rest, "+")
	key, ok3 := decodeBase64(key64)
	if !ok || !ok1 || !ok2 || !ok3 || len(key) != 1+seedSize {
		return nil, fmt.Errorf("%w private key: want PRIVATE+KEY+NAME+KEYID+BASE64 on one line, with nothing around it", ErrMalformed)
	}
	signer, err := newSigner(name, Algorithm(key[0]), key[1:])
	if err != nil {
		return nil, fmt.Errorf("%w private key: %w", ErrMalformed, err)
	}
	if want := fmt.Sprintf("%08x", signer.v.id); id != want {
		return nil, fmt.Errorf("%w private key of %q: its key ID should be %s; was it copied whole?", ErrMalformed, name, want)
	}
	return signer, nil
}

func newSigner(name string, alg Algorithm, seed []byte) (*Signer, error) {
	s := &Signer{seed: append([]byte(nil), seed...)}
	var public []byte
	switch alg {
	case AlgEd25519, AlgCosignEd25519:
		s.ed = ed25519.NewKeyFromSeed(seed)
		public = s.ed[ed25519.SeedSize:]
	case AlgMLDSA44:
		var err error
		if s.mldsa, err = mldsa.NewPrivateKey(mldsa.MLDSA44(), seed); err != nil {
			return nil, fmt.Errorf("not an ML-DSA-44 seed: %w", err)
		}
		public = s.mldsa.PublicKey().Bytes()
	}
	var err error
	s.v, err = newVerifier(name, alg, public) // refuses unknown algorithms
	return s, err
}

// SKey returns the private key as ParseSKey reads it. It is a secret.
func (s *Signer) SKey() string {
	return fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", s.v.name, s.v.id, encodeBase64(append([]byte{byte(s.v.alg)}, s.seed...)))
}

// VKey returns the public verifier key.
func (s *Signer) VKey() string { return s.v.VKey() }

// Verifier returns the verifier of this signer's signatures.
func (s *Signer) Verifier() *Verifier { return s.v }

// Algorithm returns the signature type.
func (s *Signer) Algorithm() Algorithm { return s.v.alg }

// String shows only what is public.
func (s *Signer) String() string { return "signer " + s.v.String() }

// Sign signs a checkpoint's text and returns one note signature line, from the
// em dash to the newline. unix is the time of a cosignature in seconds since
// the epoch, which must be greater than zero: a cosignature of zero makes no
// statement about the largest tree seen. It is ignored by AlgEd25519.
//
// The text must be one that Parse accepts: what cannot be understood is not
// signed. The signature is deterministic.
func (s *Signer) Sign(text string, unix int64) ([]byte, error) {
	c, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("signing as %s: %w", s.v, err)
	}
	if s.v.alg.Timestamped() && unix <= 0 {
		return nil, fmt.Errorf("signing as %s: a checkpoint's cosignature needs a time after 1970, got %d", s.v, unix)
	}
	var sig []byte
	switch s.v.alg {
	case AlgEd25519:
		// Sign a re-encoding of what was parsed, never the caller's bytes.
		sig = ed25519.Sign(s.ed, []byte(c.Text()))
	case AlgCosignEd25519:
		sig = binary.BigEndian.AppendUint64(nil, uint64(unix))
		sig = append(sig, ed25519.Sign(s.ed, ed25519Message(unix, c.Text()))...)
	case AlgMLDSA44:
		if sig, err = s.signSubtree(unix, c.Origin, 0, c.Size, c.Root); err != nil {
			return nil, fmt.Errorf("signing as %s: %w", s.v, err)
		}
	}
	return SignatureLine{Name: s.v.name, KeyHash: s.v.id, Sig: sig}.Line(), nil
}

// SignSubtree cosigns the subtree [start, end) of a log with time zero, as
// sign-subtree of https://c2sp.org/tlog-witness demands, and returns one note
// signature line. Only ML-DSA-44 keys can.
func (s *Signer) SignSubtree(origin string, start, end int64, root tlog.Hash) ([]byte, error) {
	if s.v.alg != AlgMLDSA44 {
		return nil, fmt.Errorf("signing a subtree as %s: only ML-DSA-44 keys sign subtrees", s.v)
	}
	sig, err := s.signSubtree(0, origin, start, end, root)
	if err != nil {
		return nil, fmt.Errorf("signing a subtree as %s: %w", s.v, err)
	}
	return SignatureLine{Name: s.v.name, KeyHash: s.v.id, Sig: sig}.Line(), nil
}

func (s *Signer) signSubtree(unix int64, origin string, start, end int64, root tlog.Hash) ([]byte, error) {
	m, err := subtreeMessage(s.v.name, unix, origin, start, end, root)
	if err != nil {
		return nil, err
	}
	// Deterministic (FIPS 204 section 3.4 permits it), so that the same head
	// signed again after a crash, or test vectors made again, are the same bytes.
	raw, err := s.mldsa.SignDeterministic(m, nil)
	if err != nil {
		return nil, errors.Join(errors.New("ML-DSA-44 signing failed"), err)
	}
	return append(binary.BigEndian.AppendUint64(nil, uint64(unix)), raw...), nil
}
