package event

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event/fixedbase"
)

// Key types, as [GenerateKey] takes and [PublicKey.Type] returns them.
const (
	Ed25519   = "ed25519"
	ECDSAP256 = "ecdsa-p256" // signs SHA-256, signatures in DER
	ECDSAP384 = "ecdsa-p384" // signs SHA-384, signatures in DER
)

// ErrKey is wrapped by every error about a key that cannot be read or used.
var ErrKey = errors.New("event: unusable key")

// PublicKey is a key that signs events. It is immutable.
type PublicKey struct {
	keyType string
	keyID   string
	spki    []byte
	key     crypto.PublicKey // ed25519.PublicKey or *ecdsa.PublicKey
	ed25519 *fixedbase.Key   // where it is the former
}

// NewPublicKey wraps an ed25519.PublicKey or an *ecdsa.PublicKey on P-256 or
// P-384. The error wraps ErrKey.
func NewPublicKey(pub crypto.PublicKey) (*PublicKey, error) {
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return ParsePublicKeySPKI(spki)
}

// ParsePublicKeySPKI reads a SubjectPublicKeyInfo in DER (RFC 5280 section
// 4.1.2.7). Only the one encoding that DER allows is accepted, since the keyid
// is its hash, and no Ed25519 key of small order: under such a key, signatures
// can be made that fit more than one message. The error wraps ErrKey.
func ParsePublicKeySPKI(der []byte) (*PublicKey, error) {
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: not a SubjectPublicKeyInfo: %w", ErrKey, err)
	}
	if again, err := x509.MarshalPKIXPublicKey(pub); err != nil || !bytes.Equal(again, der) {
		return nil, fmt.Errorf("%w: the SubjectPublicKeyInfo is not in its one canonical encoding", ErrKey)
	}
	k := &PublicKey{keyID: entry.KeyID(der), spki: bytes.Clone(der), key: pub}
	switch pub := pub.(type) {
	case ed25519.PublicKey:
		if weakEd25519(pub) {
			return nil, fmt.Errorf("%w: the Ed25519 point is of small order or not canonical", ErrKey)
		}
		k.keyType, k.ed25519 = Ed25519, fixedbase.NewKey(pub)
		return k, nil
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
			k.keyType = ECDSAP256
			return k, nil
		case elliptic.P384():
			k.keyType = ECDSAP384
			return k, nil
		}
	}
	return nil, fmt.Errorf("%w: want Ed25519, ECDSA P-256 or ECDSA P-384", ErrKey)
}

// ParsePublicKeyPEM reads one PEM block "PUBLIC KEY" and nothing else. The
// error wraps ErrKey.
func ParsePublicKeyPEM(b []byte) (*PublicKey, error) {
	der, err := onePEM(b, "PUBLIC KEY")
	if err != nil {
		return nil, err
	}
	return ParsePublicKeySPKI(der)
}

// onePEM returns the contents of the only block in b.
func onePEM(b []byte, blockType string) ([]byte, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != blockType || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%w: want exactly one PEM block %q without headers", ErrKey, blockType)
	}
	return block.Bytes, nil
}

// KeyID returns "spki-sha256:" and 64 hex digits.
func (k *PublicKey) KeyID() string { return k.keyID }

// String returns the keyid.
func (k *PublicKey) String() string { return k.keyID }

// Type returns Ed25519, ECDSAP256 or ECDSAP384.
func (k *PublicKey) Type() string { return k.keyType }

// SPKI returns a copy of the SubjectPublicKeyInfo in DER.
func (k *PublicKey) SPKI() []byte { return bytes.Clone(k.spki) }

// SPKIBase64 returns the SubjectPublicKeyInfo as authority events hold it.
func (k *PublicKey) SPKIBase64() string { return base64.StdEncoding.EncodeToString(k.spki) }

// PEM returns the key as a PEM block "PUBLIC KEY".
func (k *PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.spki})
}

// Public returns the key as the standard library has it.
func (k *PublicKey) Public() crypto.PublicKey { return k.key }

// Verify reports whether sig signs the pre-authentication encoding pae
// ([entry.PAE]). An ECDSA signature must be strict DER: minimal lengths and
// integers, no trailing bytes.
func (k *PublicKey) Verify(pae, sig []byte) bool {
	switch pub := k.key.(type) {
	case ed25519.PublicKey: // Go's and fixedbase's verdicts are the same
		return k.ed25519.Verify(pae, sig)
	case *ecdsa.PublicKey:
		digest, _ := ecdsaDigest(pub.Curve, pae)
		return ecdsa.VerifyASN1(pub, digest, sig)
	}
	return false
}

func ecdsaDigest(curve elliptic.Curve, message []byte) ([]byte, crypto.Hash) {
	if curve == elliptic.P384() {
		sum := sha512.Sum384(message)
		return sum[:], crypto.SHA384
	}
	sum := sha256.Sum256(message)
	return sum[:], crypto.SHA256
}

// Sign signs the pre-authentication encoding of the payload. With a key of the
// standard library the signature is deterministic (for ECDSA: RFC 6979), so
// that a retry is the same to the byte; other signers (an HSM) are given
// random numbers and may use them. The error wraps ErrKey when the key is of no
// type that signs events.
func Sign(priv crypto.Signer, payloadType string, payload []byte) (entry.Signature, error) {
	pub, err := NewPublicKey(priv.Public())
	if err != nil {
		return entry.Signature{}, err
	}
	message, opts := entry.PAE(payloadType, payload), crypto.SignerOpts(crypto.Hash(0))
	if e, ok := pub.key.(*ecdsa.PublicKey); ok {
		digest, hash := ecdsaDigest(e.Curve, message)
		message, opts = digest, hash
	}
	random := rand.Reader
	if _, ok := priv.(*ecdsa.PrivateKey); ok {
		random = nil // asks for RFC 6979
	}
	sig, err := priv.Sign(random, message, opts)
	if err != nil {
		return entry.Signature{}, fmt.Errorf("event: signing with %s: %w", pub.keyID, err)
	}
	if !pub.Verify(entry.PAE(payloadType, payload), sig) {
		return entry.Signature{}, fmt.Errorf("%w: the signer's own signature does not verify with %s", ErrKey, pub.keyID)
	}
	return entry.Signature{KeyID: pub.keyID, Sig: sig}, nil
}

// GenerateKey makes a key of type Ed25519, ECDSAP256 or ECDSAP384 from the
// system's random numbers.
func GenerateKey(keyType string) (crypto.Signer, error) {
	switch keyType {
	case Ed25519:
		_, priv, err := ed25519.GenerateKey(rand.Reader)
		return priv, err
	case ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	}
	return nil, fmt.Errorf("%w: no key type %q; use %s, %s or %s", ErrKey, keyType, Ed25519, ECDSAP256, ECDSAP384)
}

// ParsePrivateKeyPEM reads one PEM block "PRIVATE KEY" (PKCS #8, RFC 5208) of
// a type that signs events, and nothing else. The error wraps ErrKey.
func ParsePrivateKeyPEM(b []byte) (crypto.Signer, error) {
	der, err := onePEM(b, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	priv, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: not PKCS #8: %w", ErrKey, err)
	}
	signer, ok := priv.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: a %T cannot sign", ErrKey, priv)
	}
	if _, err := NewPublicKey(signer.Public()); err != nil {
		return nil, err
	}
	return signer, nil
}

// MarshalPrivateKeyPEM returns the key as a PEM block "PRIVATE KEY" (PKCS #8).
func MarshalPrivateKeyPEM(priv crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// weakEd25519 reports whether the point is one of the eight of small order, in
// any encoding, or not canonically encoded at all (its y is not below
// 2^255-19). RFC 8032 section 5.1.3 refuses the latter; neither is ever the
// result of generating a key.
func weakEd25519(pub ed25519.PublicKey) bool {
	var y [32]byte
	copy(y[:], pub)
	y[31] &= 0x7f
	if y[31] == 0x7f && bytes.Equal(y[1:31], bytes.Repeat([]byte{0xff}, 30)) && y[0] >= 0xec {
		return true // p-1 (order 2), and p to 2^255-1, which are not canonical
	}
	if y[0] <= 1 && bytes.Equal(y[1:], make([]byte, 31)) {
		return true // y = 0 (order 4) and y = 1 (order 1)
	}
	return y == order8a || y == order8b
}

// The y coordinates of the four points of order 8, little-endian: the two
// square roots that RFC 8032's curve gives for doubling to order 4.
var (
	order8a = [32]byte{
		0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
	}
	order8b = [32]byte{
		0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
	}
)
