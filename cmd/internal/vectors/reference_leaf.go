package vectors

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
)

const payloadType = "application/cloudevents+json"

// signature is one signature of an entry or envelope.
type signature struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"` // encoding/json writes standard padded base64
}

// leaf is an entry before it is encoded. Nothing stops a wrong one.
type leaf struct {
	magic       string
	time        uint64
	payloadType string
	signatures  []signature
	payload     []byte
}

func newLeaf(ms uint64, payload []byte, signatures ...signature) leaf {
	return leaf{magic: "EL01", time: ms, payloadType: payloadType, signatures: signatures, payload: payload}
}

// opaque8 and opaque16 are vectors with a length of one and two bytes (RFC 8446
// section 3.4).
func opaque8(b []byte) []byte { return append([]byte{byte(len(b))}, b...) }
func opaque16(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// encode is the leaf in TLS presentation language:
//
//	opaque magic[4]; uint64 time; opaque payload_type<1..255>;
//	Signature signatures<0..2^16-1>; opaque payload<1..2^16-1>;
func (l leaf) encode() []byte {
	var signatures []byte
	for _, s := range l.signatures {
		signatures = append(signatures, opaque8([]byte(s.KeyID))...)
		signatures = append(signatures, opaque16(s.Sig)...)
	}
	return bytes.Join([][]byte{
		[]byte(l.magic), binary.BigEndian.AppendUint64(nil, l.time), opaque8([]byte(l.payloadType)),
		opaque16(signatures), opaque16(l.payload),
	}, nil)
}

// pae is the pre-authentication encoding of DSSE
// (https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md).
func pae(payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// keyID is "spki-sha256:" and the hex SHA-256 of the SubjectPublicKeyInfo.
func keyID(key crypto.Signer) (string, error) {
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("spki-sha256:%x", sha256.Sum256(spki)), nil
}

// sign signs the pre-authentication encoding of a payload, always to the same
// bytes (RFC 8032; RFC 6979).
func sign(key crypto.Signer, payload []byte) (signature, error) { return signBytes(key, pae(payload)) }

func signBytes(key crypto.Signer, message []byte) (signature, error) {
	id, err := keyID(key)
	if err != nil {
		return signature{}, err
	}
	hashed, opts := message, crypto.Hash(0)
	if k, ok := key.(*ecdsa.PrivateKey); ok && k.Curve == elliptic.P256() {
		sum := sha256.Sum256(message)
		hashed, opts = sum[:], crypto.SHA256
	} else if ok {
		sum := sha512.Sum384(message)
		hashed, opts = sum[:], crypto.SHA384
	} else if _, ok := key.(ed25519.PrivateKey); !ok {
		return signature{}, fmt.Errorf("a %T signs no events", key)
	}
	sig, err := key.Sign(nil, hashed, opts)
	return signature{KeyID: id, Sig: sig}, err
}

// signAll signs with each of the keys.
func signAll(payload []byte, keys ...crypto.Signer) ([]signature, error) {
	var all []signature
	for _, k := range keys {
		s, err := sign(k, payload)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// envelope is the DSSE envelope in JSON.
func envelope(payload []byte, signatures ...signature) ([]byte, error) {
	return json.Marshal(struct {
		PayloadType string      `json:"payloadType"`
		Payload     string      `json:"payload"`
		Signatures  []signature `json:"signatures"`
	}{payloadType, base64.StdEncoding.EncodeToString(payload), signatures})
}
