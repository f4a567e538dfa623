package event

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

var keyTypes = []string{Ed25519, ECDSAP256, ECDSAP384}

func newKey(t testing.TB, keyType string) (crypto.Signer, *PublicKey) {
	t.Helper()
	priv, err := GenerateKey(keyType)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := NewPublicKey(priv.Public())
	if err != nil {
		t.Fatal(err)
	}
	return priv, pub
}

// foreignVerifier lets go-securesystemslib verify with one of our keys, by the
// standard library alone.
type foreignVerifier struct{ k *PublicKey }

func (v foreignVerifier) KeyID() (string, error)   { return v.k.KeyID(), nil }
func (v foreignVerifier) Public() crypto.PublicKey { return v.k.Public() }
func (v foreignVerifier) Verify(_ context.Context, data, sig []byte) error {
	ok := false
	switch pub := v.k.Public().(type) {
	case ed25519.PublicKey:
		ok = ed25519.Verify(pub, data, sig)
	case *ecdsa.PublicKey:
		hash := crypto.SHA256
		if pub.Curve == elliptic.P384() {
			hash = crypto.SHA384
		}
		h := hash.New()
		h.Write(data)
		ok = ecdsa.VerifyASN1(pub, h.Sum(nil), sig)
	}
	if !ok {
		return errors.New("no")
	}
	return nil
}

func TestSignAndVerify(t *testing.T) {
	payload := []byte(good)
	for _, keyType := range keyTypes {
		priv, pub := newKey(t, keyType)
		sig, err := Sign(priv, entry.PayloadType, payload)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Sign(priv, entry.PayloadType, payload)
		if err != nil || !bytes.Equal(sig.Sig, again.Sig) {
			t.Errorf("%s: a second signature differs (%v)", keyType, err)
		}
		if sig.KeyID != pub.KeyID() || pub.Type() != keyType || pub.KeyID() != entry.KeyID(pub.SPKI()) {
			t.Errorf("%s: keyid %s, type %s", keyType, sig.KeyID, pub.Type())
		}
		pae := dsse.PAE(entry.PayloadType, payload)
		if !pub.Verify(pae, sig.Sig) {
			t.Errorf("%s: does not verify", keyType)
		}
		for name, message := range map[string][]byte{
			"the bare payload":     payload,
			"another payload":      dsse.PAE(entry.PayloadType, append(slices.Clone(payload), ' ')),
			"another payload type": dsse.PAE("application/json", payload),
		} {
			if pub.Verify(message, sig.Sig) {
				t.Errorf("%s: the signature also fits %s", keyType, name)
			}
		}
		verifier, err := dsse.NewEnvelopeVerifier(foreignVerifier{pub})
		if err != nil {
			t.Fatal(err)
		}
		_, err = verifier.Verify(context.Background(), &dsse.Envelope{PayloadType: entry.PayloadType,
			Payload:    base64.StdEncoding.EncodeToString(payload),
			Signatures: []dsse.Signature{{KeyID: sig.KeyID, Sig: base64.StdEncoding.EncodeToString(sig.Sig)}}})
		if err != nil {
			t.Errorf("%s: go-securesystemslib refuses the envelope: %v", keyType, err)
		}
		for i := range sig.Sig {
			bad := slices.Clone(sig.Sig)
			bad[i] ^= 1
			if pub.Verify(pae, bad) {
				t.Errorf("%s: a flipped bit in byte %d of the signature is not noticed", keyType, i)
			}
		}
		for name, bad := range map[string][]byte{
			"empty": {}, "cut": sig.Sig[:len(sig.Sig)-1], "longer": append(slices.Clone(sig.Sig), 0), "zero": make([]byte, len(sig.Sig)),
		} {
			if pub.Verify(pae, bad) {
				t.Errorf("%s: accepts a signature that is %s", keyType, name)
			}
		}
	}
}

// TestForeignSignatures: what an HSM signs with random numbers verifies too.
func TestForeignSignatures(t *testing.T) {
	for _, keyType := range []string{ECDSAP256, ECDSAP384} {
		priv, pub := newKey(t, keyType)
		pae := entry.PAE(entry.PayloadType, []byte(good))
		digest, _ := ecdsaDigest(priv.(*ecdsa.PrivateKey).Curve, pae)
		sig, err := ecdsa.SignASN1(rand.Reader, priv.(*ecdsa.PrivateKey), digest)
		if err != nil || !pub.Verify(pae, sig) {
			t.Errorf("%s: %v", keyType, err)
		}
		hsm := struct{ crypto.Signer }{priv} // not an *ecdsa.PrivateKey any more
		if _, err := Sign(hsm, entry.PayloadType, []byte(good)); err != nil {
			t.Errorf("%s: %v", keyType, err)
		}
	}
}

// wrongSigner signs something else than it is asked to.
type wrongSigner struct{ crypto.Signer }

func (s wrongSigner) Sign(r io.Reader, _ []byte, opts crypto.SignerOpts) ([]byte, error) {
	size := 1
	if hash := opts.HashFunc(); hash != 0 {
		size = hash.Size()
	}
	return s.Signer.Sign(r, make([]byte, size), opts)
}

// TestSignChecksItsSigner: a signature that nobody could verify does not leave.
func TestSignChecksItsSigner(t *testing.T) {
	for _, keyType := range keyTypes {
		priv, _ := newKey(t, keyType)
		if sig, err := Sign(wrongSigner{priv}, entry.PayloadType, []byte(good)); !errors.Is(err, ErrKey) {
			t.Errorf("%s: Sign = %+v, %v, want ErrKey", keyType, sig, err)
		}
	}
}

// TestStrictDER: of one ECDSA signature there is one encoding.
func TestStrictDER(t *testing.T) {
	for _, keyType := range []string{ECDSAP256, ECDSAP384} {
		priv, pub := newKey(t, keyType)
		pae := entry.PAE(entry.PayloadType, []byte(good))
		sig, err := Sign(priv, entry.PayloadType, []byte(good))
		if err != nil {
			t.Fatal(err)
		}
		var rs struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(sig.Sig, &rs); err != nil {
			t.Fatal(err)
		}
		body := sig.Sig[2:]
		r := body[:2+body[1]]
		s := body[len(r):]
		padded := func(integer []byte) []byte {
			return append([]byte{2, integer[1] + 1, 0}, integer[2:]...)
		}
		size := (priv.(*ecdsa.PrivateKey).Curve.Params().BitSize + 7) / 8
		sequence := func(parts ...[]byte) []byte {
			content := slices.Concat(parts...)
			return append([]byte{0x30, byte(len(content))}, content...)
		}
		if !pub.Verify(pae, sequence(r, s)) {
			t.Fatal("taking the signature apart failed")
		}
		for name, bad := range map[string][]byte{
			"zero before r":             sequence(padded(r), s),
			"zero before s":             sequence(r, padded(s)),
			"trailing byte":             append(sequence(r, s), 0),
			"trailing byte inside":      sequence(r, s, []byte{0}),
			"third integer":             sequence(r, s, []byte{2, 1, 1}),
			"one integer":               sequence(r),
			"length in two bytes":       append([]byte{0x30, 0x81}, sequence(r, s)[1:]...),
			"indefinite length":         slices.Concat([]byte{0x30, 0x80}, r, s, []byte{0, 0}),
			"set, not sequence":         append([]byte{0x31}, sequence(r, s)[1:]...),
			"IEEE P1363, not DER":       append(rs.R.FillBytes(make([]byte, size)), rs.S.FillBytes(make([]byte, size))...),
			"r and s exchanged":         sequence(s, r),
			"r of zero":                 sequence([]byte{2, 1, 0}, s),
			"negative s":                sequence(r, []byte{2, 1, 0xff}),
			"r as octets, not a number": sequence(append([]byte{4}, r[1:]...), s),
		} {
			if pub.Verify(pae, bad) {
				t.Errorf("%s: accepts a signature with %s", keyType, name)
			}
		}
	}
}

func TestKeyFiles(t *testing.T) {
	for _, keyType := range keyTypes {
		priv, pub := newKey(t, keyType)
		text, err := MarshalPrivateKeyPEM(priv)
		if err != nil {
			t.Fatal(err)
		}
		read, err := ParsePrivateKeyPEM(text)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := NewPublicKey(read.Public()); err != nil || p.KeyID() != pub.KeyID() {
			t.Errorf("%s: private key does not survive its file: %v", keyType, err)
		}
		again, err := ParsePublicKeyPEM(pub.PEM())
		if err != nil || again.KeyID() != pub.KeyID() || again.SPKIBase64() != base64.StdEncoding.EncodeToString(pub.SPKI()) {
			t.Errorf("%s: public key does not survive its file: %v", keyType, err)
		}
		for name, bad := range map[string][]byte{
			"empty":          nil,
			"two blocks":     append(pub.PEM(), pub.PEM()...),
			"trailing words": append(pub.PEM(), "x"...),
			"private key":    text,
			"DER":            pub.SPKI(),
			"headers":        pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Headers: map[string]string{"a": "b"}, Bytes: pub.SPKI()}),
			"trailing DER":   pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: append(pub.SPKI(), 0)}),
			"cut DER":        pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub.SPKI()[:20]}),
		} {
			if _, err := ParsePublicKeyPEM(bad); !errors.Is(err, ErrKey) {
				t.Errorf("%s: ParsePublicKeyPEM of %s = %v, want ErrKey", keyType, name, err)
			}
			if name == "private key" {
				bad = pub.PEM()
			}
			if _, err := ParsePrivateKeyPEM(bad); !errors.Is(err, ErrKey) {
				t.Errorf("%s: ParsePrivateKeyPEM of %s = %v, want ErrKey", keyType, name, err)
			}
		}
	}
}

func TestKeysRefused(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"RSA": rsaKey, "P-521": p521, "P-224": p224} {
		if _, err := NewPublicKey(key.Public()); !errors.Is(err, ErrKey) {
			t.Errorf("%s: NewPublicKey = %v, want ErrKey", name, err)
		}
		if _, err := Sign(key, entry.PayloadType, []byte(good)); !errors.Is(err, ErrKey) {
			t.Errorf("%s: Sign = %v, want ErrKey", name, err)
		}
		text, err := MarshalPrivateKeyPEM(key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParsePrivateKeyPEM(text); !errors.Is(err, ErrKey) {
			t.Errorf("%s: ParsePrivateKeyPEM = %v, want ErrKey", name, err)
		}
	}
	if _, err := GenerateKey("rsa"); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), Ed25519) {
		t.Errorf("GenerateKey(rsa) = %v", err)
	}
	if _, err := NewPublicKey("x"); !errors.Is(err, ErrKey) {
		t.Errorf("NewPublicKey of a string = %v", err)
	}

	// The same key in another encoding would have another keyid: the NULL that
	// RSA has as parameters, or an explicit curve, or a compressed point.
	_, pub := newKey(t, Ed25519)
	var spki struct {
		Algorithm struct {
			OID    asn1.ObjectIdentifier
			Params asn1.RawValue `asn1:"optional"`
		}
		Key asn1.BitString
	}
	if _, err := asn1.Unmarshal(pub.SPKI(), &spki); err != nil {
		t.Fatal(err)
	}
	spki.Algorithm.Params = asn1.NullRawValue
	null, err := asn1.Marshal(spki)
	if err != nil {
		t.Fatal(err)
	}
	priv, p256 := newKey(t, ECDSAP256)
	point, err := priv.(*ecdsa.PrivateKey).PublicKey.Bytes() // 4, x, y
	if err != nil {
		t.Fatal(err)
	}
	compressed := append([]byte{2 | point[64]&1}, point[1:33]...)
	compressedSPKI := bytes.Clone(p256.SPKI()[:26])
	compressedSPKI = append(compressedSPKI, compressed...)
	compressedSPKI[1], compressedSPKI[24] = byte(len(compressedSPKI)-2), byte(len(compressed)+1)
	offCurve := p256.SPKI()
	offCurve[len(offCurve)-1] ^= 1
	// encoding/asn1 skips what follows at the end of a SEQUENCE.
	extra := append(pub.SPKI(), 5, 0)
	extra[1] += 2
	for name, der := range map[string][]byte{"member too many": extra, "NULL parameters": null, "compressed point": compressedSPKI, "point off the curve": offCurve, "nothing": nil} {
		if _, err := ParsePublicKeySPKI(der); !errors.Is(err, ErrKey) {
			t.Errorf("%s: ParsePublicKeySPKI = %v, want ErrKey", name, err)
		}
	}
}

// TestWeakEd25519 refuses every point of small order in every encoding, and
// checks by slow arithmetic that the constants are such points: eight times any
// of them is the neutral element.
func TestWeakEd25519(t *testing.T) {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	little := func(n *big.Int) (b [32]byte) {
		n.FillBytes(b[:])
		slices.Reverse(b[:])
		return b
	}
	var weak [][32]byte
	for _, y := range [][32]byte{order8a, order8b, little(big.NewInt(0)), little(big.NewInt(1)), little(new(big.Int).Sub(p, big.NewInt(1)))} {
		if !smallOrder(p, y) {
			t.Errorf("%x is not of small order", y)
		}
		weak = append(weak, y)
	}
	for n := int64(0); n < 19; n++ { // not below p
		weak = append(weak, little(new(big.Int).Add(p, big.NewInt(n))))
	}
	for _, y := range weak {
		for _, sign := range []byte{0, 0x80} {
			point := y
			point[31] |= sign
			der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(point[:]))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ParsePublicKeySPKI(der); !errors.Is(err, ErrKey) {
				t.Errorf("%x is accepted as a key", point)
			}
		}
	}
	// Such a key verifies one signature for a good part of all messages: here,
	// R and A neutral and S zero.
	var neutral [32]byte
	neutral[0] = 1
	if !ed25519.Verify(neutral[:], []byte("any message"), append(neutral[:], make([]byte, 32)...)) {
		t.Error("the reason for this check is gone")
	}
}

// smallOrder computes 8P on -x²+y² = 1+dx²y² (RFC 8032 section 5.1).
func smallOrder(p *big.Int, enc [32]byte) bool {
	mod := func(n *big.Int) *big.Int { return n.Mod(n, p) }
	mul := func(a, b *big.Int) *big.Int { return mod(new(big.Int).Mul(a, b)) }
	inv := func(a *big.Int) *big.Int { return new(big.Int).ModInverse(a, p) }
	one := big.NewInt(1)
	d := mul(big.NewInt(-121665), inv(big.NewInt(121666)))
	slices.Reverse(enc[:])
	y := new(big.Int).SetBytes(enc[:])
	yy := mul(y, y)
	x := new(big.Int).ModSqrt(mul(mod(new(big.Int).Sub(yy, one)), inv(mod(new(big.Int).Add(mul(d, yy), one)))), p)
	if x == nil {
		return false
	}
	for range 3 {
		xy := mul(x, y)
		dxy := mul(d, mul(xy, xy))
		nx := mul(mod(new(big.Int).Add(xy, xy)), inv(mod(new(big.Int).Add(one, dxy))))
		ny := mul(mod(new(big.Int).Add(mul(y, y), mul(x, x))), inv(mod(new(big.Int).Sub(one, dxy))))
		x, y = nx, ny
	}
	return x.Sign() == 0 && y.Cmp(one) == 0
}
