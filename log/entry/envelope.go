package entry

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/escortlog/escortlog/log/strict"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// Envelope is a DSSE envelope: what a source submits
// (https://github.com/secure-systems-lab/dsse/blob/v1.0.2/envelope.md).
type Envelope struct {
	PayloadType string
	Payload     []byte
	Signatures  []Signature
}

// PAE returns the DSSE pre-authentication encoding, the bytes that a signature
// of the envelope signs.
func PAE(payloadType string, payload []byte) []byte { return dsse.PAE(payloadType, payload) }

// KeyID returns the keyid of the public key with this SubjectPublicKeyInfo in
// DER: "spki-sha256:" and the 64 lower-case hex digits of its SHA-256.
func KeyID(spkiDER []byte) string {
	sum := sha256.Sum256(spkiDER)
	return "spki-sha256:" + hex.EncodeToString(sum[:])
}

// The JSON form. Pointers tell a missing member from an empty one.
type envelopeJSON struct {
	PayloadType *string          `json:"payloadType"`
	Payload     *string          `json:"payload"`
	Signatures  *[]signatureJSON `json:"signatures"`
}

type signatureJSON struct {
	KeyID *string `json:"keyid"`
	Sig   *string `json:"sig"`
}

// ParseEnvelope decodes a DSSE envelope in JSON. It is stricter than DSSE asks:
// the JSON must pass strict.Check, members other than the specified ones are
// refused, every signature names its key, and base64 is the standard alphabet,
// padded, and canonical. The error wraps ErrMalformed.
func ParseEnvelope(b []byte) (*Envelope, error) {
	if err := strict.Check(b); err != nil {
		return nil, fmt.Errorf("%w envelope: %w", ErrMalformed, err)
	}
	if err := exactNames(b); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var raw envelopeJSON
	if err := d.Decode(&raw); err != nil {
		return nil, fmt.Errorf("%w envelope: %w", ErrMalformed, err)
	}
	if raw.PayloadType == nil || raw.Payload == nil || raw.Signatures == nil {
		return nil, fmt.Errorf("%w envelope: payloadType, payload and signatures are all required", ErrMalformed)
	}
	payload, err := decodeBase64("payload", *raw.Payload)
	if err != nil {
		return nil, err
	}
	v := &Envelope{PayloadType: *raw.PayloadType, Payload: payload}
	if len(*raw.Signatures) > MaxSignatures {
		return nil, fmt.Errorf("%w envelope: %d signatures, at most %d are allowed", ErrMalformed, len(*raw.Signatures), MaxSignatures)
	}
	for _, s := range *raw.Signatures {
		if s.KeyID == nil || s.Sig == nil {
			return nil, fmt.Errorf("%w envelope: every signature needs keyid and sig", ErrMalformed)
		}
		sig, err := decodeBase64("sig", *s.Sig)
		if err != nil {
			return nil, err
		}
		v.Signatures = append(v.Signatures, Signature{KeyID: *s.KeyID, Sig: sig})
	}
	if err := v.Entry(0).validate(); err != nil {
		return nil, err
	}
	return v, nil
}

// exactNames refuses members whose names encoding/json would match only by
// ignoring case.
func exactNames(b []byte) error {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(b, &top); err != nil {
		return fmt.Errorf("%w envelope: expected a JSON object", ErrMalformed)
	}
	for name := range top {
		if name != "payloadType" && name != "payload" && name != "signatures" {
			return fmt.Errorf("%w envelope: unknown member %q", ErrMalformed, name)
		}
	}
	var signatures []map[string]json.RawMessage
	if err := json.Unmarshal(top["signatures"], &signatures); err != nil {
		return fmt.Errorf("%w envelope: signatures must be an array of objects", ErrMalformed)
	}
	for _, s := range signatures {
		for name := range s {
			if name != "keyid" && name != "sig" {
				return fmt.Errorf("%w envelope: unknown member %q in a signature", ErrMalformed, name)
			}
		}
	}
	return nil
}

// decodeBase64 accepts the one canonical spelling of RFC 4648 section 4. The
// standard library skips line breaks and, unless told, stray bits; both would
// give one envelope many spellings.
func decodeBase64(member, s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err == nil && len(s) != base64.StdEncoding.EncodedLen(len(b)) {
		err = fmt.Errorf("line breaks are not allowed")
	}
	if err != nil {
		return nil, fmt.Errorf("%w envelope: %s is not standard padded base64: %w", ErrMalformed, member, err)
	}
	return b, nil
}

// Marshal returns the envelope as JSON, its members in the order of the DSSE
// specification.
func (v *Envelope) Marshal() []byte {
	encode := func(b []byte) *string {
		s := base64.StdEncoding.EncodeToString(b)
		return &s
	}
	signatures := make([]signatureJSON, len(v.Signatures))
	for i, s := range v.Signatures {
		signatures[i] = signatureJSON{KeyID: &s.KeyID, Sig: encode(s.Sig)}
	}
	b, err := json.Marshal(envelopeJSON{PayloadType: &v.PayloadType, Payload: encode(v.Payload), Signatures: &signatures})
	if err != nil {
		panic(fmt.Sprintf("entry: marshalling an envelope of strings: %v", err)) // strings always marshal
	}
	return b
}

// Entry returns the entry that holds this envelope, taken by the log at ms
// milliseconds since the epoch.
func (v *Envelope) Entry(ms int64) *Entry {
	return &Entry{Time: ms, PayloadType: v.PayloadType, Signatures: v.Signatures, Payload: v.Payload}
}

// Envelope returns the envelope that the entry was made from.
func (e *Entry) Envelope() *Envelope {
	return &Envelope{PayloadType: e.PayloadType, Payload: e.Payload, Signatures: e.Signatures}
}
