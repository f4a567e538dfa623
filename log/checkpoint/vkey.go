package checkpoint

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	"filippo.io/mldsa"
	"golang.org/x/mod/sumdb/tlog"
)

// Algorithm is the signature type byte of signed-note.
type Algorithm byte

const (
	// AlgEd25519 signs the note text (https://c2sp.org/signed-note).
	AlgEd25519 Algorithm = 0x01
	// AlgCosignEd25519 signs a time and the note text (https://c2sp.org/tlog-cosignature).
	AlgCosignEd25519 Algorithm = 0x04
	// AlgMLDSA44 signs a time, the cosigner's name, origin, range and root
	// (https://c2sp.org/tlog-cosignature).
	AlgMLDSA44 Algorithm = 0x06
)

// String names the algorithm for people.
func (a Algorithm) String() string {
	switch a {
	case AlgEd25519:
		return "Ed25519"
	case AlgCosignEd25519:
		return "Ed25519 cosignature"
	case AlgMLDSA44:
		return "ML-DSA-44 cosignature"
	}
	return fmt.Sprintf("signature type 0x%02x", byte(a))
}

// Timestamped reports whether signatures of this type begin with a time.
func (a Algorithm) Timestamped() bool { return a == AlgCosignEd25519 || a == AlgMLDSA44 }

const timestampSize = 8

// Verifier checks the signatures of one key. It is safe for concurrent use and
// implements golang.org/x/mod/sumdb/note.Verifier.
type Verifier struct {
	name  string
	id    uint32
	alg   Algorithm
	key   []byte
	mldsa *mldsa.PublicKey // only for AlgMLDSA44
}

// ParseVKey reads a verifier key:
//
//	<key name>+hex(32-bit key ID)+base64(signature type || public key)
//
// The name must be of 1 to 255 bytes, the key ID must be the one computed from
// name and key, written in lowercase. The error is ErrMalformed.
func ParseVKey(s string) (*Verifier, error) {
	// Neither the name nor the hex digits can hold a plus; base64 can.
	name, rest, ok1 := strings.Cut(s, "+")
	id, key64, ok2 := strings.Cut(rest, "+")
	key, ok3 := decodeBase64(key64)
	if !ok1 || !ok2 || !ok3 || len(key) == 0 {
		return nil, fmt.Errorf("%w verifier key %q: want NAME+KEYID+BASE64", ErrMalformed, shorten(s))
	}
	v, err := newVerifier(name, Algorithm(key[0]), key[1:])
	if err != nil {
		return nil, fmt.Errorf("%w verifier key %q: %w", ErrMalformed, shorten(s), err)
	}
	if want := fmt.Sprintf("%08x", v.id); id != want {
		return nil, fmt.Errorf("%w verifier key %q: its key ID should be %s; was it copied whole?", ErrMalformed, shorten(s), want)
	}
	return v, nil
}

func newVerifier(name string, alg Algorithm, key []byte) (*Verifier, error) {
	if !validKeyName(name) || strings.ContainsRune(name, '\n') || len(name) > MaxName {
		return nil, fmt.Errorf("a key name has 1 to %d bytes of UTF-8, without spaces, plus signs and control characters", MaxName)
	}
	v := &Verifier{name: name, alg: alg, key: bytes.Clone(key), id: keyID(name, alg, key)}
	switch alg {
	case AlgEd25519, AlgCosignEd25519:
		if len(key) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("a public key of %d bytes where Ed25519 has %d", len(key), ed25519.PublicKeySize)
		}
	case AlgMLDSA44:
		var err error
		if v.mldsa, err = mldsa.NewPublicKey(mldsa.MLDSA44(), key); err != nil {
			return nil, fmt.Errorf("not an ML-DSA-44 public key: %w", err)
		}
	default:
		return nil, fmt.Errorf("%s is not one of those known here (0x01, 0x04, 0x06)", alg)
	}
	return v, nil
}

// keyID is "SHA-256(key name || 0x0A || signature type || public key)[:4]".
func keyID(name string, alg Algorithm, key []byte) uint32 {
	h := sha256.New()
	h.Write([]byte(name))
	h.Write([]byte{'\n', byte(alg)})
	h.Write(key)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// shorten keeps the 1,754 characters of an ML-DSA key out of messages.
func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// Name returns the key name.
func (v *Verifier) Name() string { return v.name }

// KeyHash returns the key ID.
func (v *Verifier) KeyHash() uint32 { return v.id }

// Algorithm returns the signature type.
func (v *Verifier) Algorithm() Algorithm { return v.alg }

// PublicKey returns the public key's bytes: 32 for Ed25519, 1,312 for
// ML-DSA-44. They are the caller's to keep.
func (v *Verifier) PublicKey() []byte { return bytes.Clone(v.key) }

// VKey returns the verifier key as ParseVKey reads it.
func (v *Verifier) VKey() string {
	return fmt.Sprintf("%s+%08x+%s", v.name, v.id, encodeBase64(append([]byte{byte(v.alg)}, v.key...)))
}

// String is VKey, cut short for messages.
func (v *Verifier) String() string { return fmt.Sprintf("%s+%08x", v.name, v.id) }

// same reports whether both verify the same signature lines with the same key.
func (v *Verifier) same(w *Verifier) bool {
	return v.name == w.name && v.alg == w.alg && bytes.Equal(v.key, w.key)
}

// claims reports whether both would be asked about the same signature lines.
func (v *Verifier) claims(name string, id uint32) bool { return v.name == name && v.id == id }

// Verify reports whether sig, the bytes behind the key ID in a signature line,
// is this key's signature on the note text msg. For the cosignature types msg
// must be a checkpoint's text.
func (v *Verifier) Verify(msg, sig []byte) bool {
	if v.alg == AlgEd25519 {
		return ed25519.Verify(v.key, msg, sig)
	}
	c, err := Parse(string(msg))
	if err != nil {
		return false
	}
	t, raw, ok := splitTimestamp(sig)
	if !ok {
		return false
	}
	if v.alg == AlgCosignEd25519 {
		return ed25519.Verify(v.key, ed25519Message(t, string(msg)), raw)
	}
	return v.VerifySubtree(t, c.Origin, 0, c.Size, c.Root, sig)
}

// VerifySubtree reports whether sig, the bytes behind the key ID in a
// signature line, is this key's cosignature on the subtree [start, end) of the
// log, with root as the subtree's hash and ts (Unix seconds) as its time. Only
// ML-DSA-44 keys sign subtrees; for other keys it is false. "If start is not
// zero, timestamp MUST be zero."
func (v *Verifier) VerifySubtree(ts int64, origin string, start, end int64, root tlog.Hash, sig []byte) bool {
	if v.alg != AlgMLDSA44 {
		return false
	}
	t, raw, ok := splitTimestamp(sig)
	if !ok || t != ts {
		return false
	}
	m, err := subtreeMessage(v.name, ts, origin, start, end, root)
	return err == nil && mldsa.Verify(v.mldsa, m, raw, nil) == nil
}

// splitTimestamp takes the time from the front of a timestamped_signature. "It
// MUST NOT exceed 2^63 - 1".
func splitTimestamp(sig []byte) (t int64, raw []byte, ok bool) {
	if len(sig) < timestampSize {
		return 0, nil, false
	}
	u := binary.BigEndian.Uint64(sig)
	return int64(u), sig[timestampSize:], int64(u) >= 0
}

// ed25519Message is what an Ed25519 cosignature signs: "two newline terminated
// lines (one header line and one timestamp line) followed by the whole note
// body of the cosigned checkpoint".
func ed25519Message(t int64, text string) []byte {
	return fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", t, text)
}

// subtreeMessage is the cosigned_message of tlog-cosignature:
//
//	struct {
//	    uint8 label[12] = "subtree/v1\n\0";
//	    opaque cosigner_name<1..2^8-1>;
//	    uint64 timestamp;
//	    opaque log_origin<1..2^8-1>;
//	    uint64 start;
//	    uint64 end;
//	    uint8 hash[32];
//	} cosigned_message;
func subtreeMessage(name string, ts int64, origin string, start, end int64, root tlog.Hash) ([]byte, error) {
	switch {
	case len(name) == 0 || len(name) > MaxName || len(origin) == 0 || len(origin) > MaxName:
		return nil, fmt.Errorf("cosigner name and origin must have 1 to %d bytes", MaxName)
	case ts < 0 || start < 0 || end < start:
		return nil, fmt.Errorf("no subtree [%d, %d) at time %d", start, end, ts)
	case start != 0 && ts != 0:
		return nil, fmt.Errorf("a subtree that starts at %d must be signed with time 0", start)
	}
	m := append(make([]byte, 0, 70+len(name)+len(origin)), "subtree/v1\n\x00"...)
	m = append(m, byte(len(name)))
	m = append(m, name...)
	m = binary.BigEndian.AppendUint64(m, uint64(ts))
	m = append(m, byte(len(origin)))
	m = append(m, origin...)
	m = binary.BigEndian.AppendUint64(m, uint64(start))
	m = binary.BigEndian.AppendUint64(m, uint64(end))
	return append(m, root[:]...), nil
}
