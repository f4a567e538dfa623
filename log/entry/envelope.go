package entry

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/escortlog/escortlog/log/strict"
	"github.com/go-json-experiment/json/jsontext"
)

// Envelope is a DSSE envelope: what a source submits
// (https://github.com/secure-systems-lab/dsse/blob/v1.0.2/envelope.md).
type Envelope struct {
	PayloadType string
	Payload     []byte
	Signatures  []Signature
}

// PAE returns the DSSE pre-authentication encoding, the bytes that a signature
// of the envelope signs: "PAE(type, body) = "DSSEv1" + SP + LEN(type) + SP + type +
// SP + LEN(body) + SP + body", lengths in ASCII decimal
// (https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md).
func PAE(payloadType string, payload []byte) []byte {
	b := make([]byte, 0, len("DSSEv1    ")+2*20+len(payloadType)+len(payload))
	b = strconv.AppendInt(append(b, "DSSEv1 "...), int64(len(payloadType)), 10)
	b = append(append(append(b, ' '), payloadType...), ' ')
	b = strconv.AppendInt(b, int64(len(payload)), 10)
	return append(append(b, ' '), payload...)
}

// KeyID returns the keyid of the public key with this SubjectPublicKeyInfo in
// DER: "spki-sha256:" and the 64 lower-case hex digits of its SHA-256.
func KeyID(spkiDER []byte) string {
	sum := sha256.Sum256(spkiDER)
	return "spki-sha256:" + hex.EncodeToString(sum[:])
}

// ParseEnvelope decodes a DSSE envelope in JSON. It is stricter than DSSE asks:
// the JSON must pass strict.Check, members other than the specified ones are
// refused, every signature names its key, and base64 is the standard alphabet,
// padded, and canonical. The error wraps ErrMalformed.
func ParseEnvelope(b []byte) (*Envelope, error) {
	if err := strict.Check(b); err != nil {
		return nil, fmt.Errorf("%w envelope: %w", ErrMalformed, err)
	}
	var payloadType, payload, signatures []byte
	if err := members(b, "an envelope",
		member{"payloadType", &payloadType}, member{"payload", &payload}, member{"signatures", &signatures}); err != nil {
		return nil, err
	}
	typ, err := text("payloadType", payloadType)
	if err != nil {
		return nil, err
	}
	v := &Envelope{PayloadType: string(typ)}
	if v.Payload, err = decodeBase64("payload", payload); err != nil {
		return nil, err
	}
	if signatures[0] != '[' {
		return nil, fmt.Errorf("%w envelope: signatures must be an array", ErrMalformed)
	}
	for s := range strict.Items(signatures) {
		if len(v.Signatures) == MaxSignatures {
			return nil, fmt.Errorf("%w envelope: at most %d signatures are allowed", ErrMalformed, MaxSignatures)
		}
		signature, err := parseSignature(s)
		if err != nil {
			return nil, err
		}
		v.Signatures = append(v.Signatures, signature)
	}
	if err := v.Entry(0).validate(); err != nil {
		return nil, err
	}
	return v, nil
}

func parseSignature(b []byte) (s Signature, err error) {
	var keyID, sig []byte
	if err := members(b, "a signature", member{"keyid", &keyID}, member{"sig", &sig}); err != nil {
		return s, err
	}
	id, err := text("keyid", keyID)
	if err != nil {
		return s, err
	}
	s.KeyID = string(id)
	s.Sig, err = decodeBase64("sig", sig)
	return s, err
}

// member is one that an object must have, and where its value goes.
type member struct {
	name  string
	value *[]byte
}

// members takes an object apart, which must have exactly the members in want,
// whose values it stores as they were written. The text has passed
// strict.Check.
func members(object []byte, what string, want ...member) error {
	if bytes.TrimLeft(object, " \t\r\n")[0] != '{' {
		return fmt.Errorf("%w envelope: %s must be a JSON object", ErrMalformed, what)
	}
	for quoted, value := range strict.Members(object) {
		name := unquote(quoted)
		i := slices.IndexFunc(want, func(m member) bool { return m.name == string(name) })
		if i < 0 {
			return fmt.Errorf("%w envelope: unknown member %q of %s", ErrMalformed, name, what)
		}
		*want[i].value = value
	}
	for _, m := range want {
		if *m.value == nil {
			return fmt.Errorf("%w envelope: %s needs the member %s", ErrMalformed, what, m.name)
		}
	}
	return nil
}

// text returns what the member, a string, says. It may alias value.
func text(member string, value []byte) ([]byte, error) {
	if value[0] != '"' {
		return nil, fmt.Errorf("%w envelope: %s must be a string", ErrMalformed, member)
	}
	return unquote(value), nil
}

// unquote returns what a string that has passed strict.Check says. It may alias
// quoted.
func unquote(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	b, _ := jsontext.AppendUnquote(nil, quoted) // it fails on none of those
	return b
}

// decodeBase64 accepts the one canonical spelling of RFC 4648 section 4. The
// standard library skips line breaks and, unless told, stray bits; both would
// give one envelope many spellings.
func decodeBase64(member string, value []byte) ([]byte, error) {
	s, err := text(member, value)
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.Strict().AppendDecode(nil, s)
	if err == nil && len(s) != base64.StdEncoding.EncodedLen(len(b)) {
		err = fmt.Errorf("line breaks are not allowed")
	}
	if err != nil {
		return nil, fmt.Errorf("%w envelope: %s is not standard padded base64: %w", ErrMalformed, member, err)
	}
	return b, nil
}

// The JSON form, to write.
type envelopeJSON struct {
	PayloadType string          `json:"payloadType"`
	Payload     []byte          `json:"payload"`
	Signatures  []signatureJSON `json:"signatures"`
}

type signatureJSON struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"`
}

// Marshal returns the envelope as JSON, its members in the order of the DSSE
// specification.
func (v *Envelope) Marshal() []byte {
	raw := envelopeJSON{PayloadType: v.PayloadType, Payload: v.Payload, Signatures: make([]signatureJSON, len(v.Signatures))}
	if raw.Payload == nil {
		raw.Payload = []byte{} // "", not null
	}
	for i, s := range v.Signatures {
		raw.Signatures[i] = signatureJSON(s)
		if s.Sig == nil {
			raw.Signatures[i].Sig = []byte{}
		}
	}
	b, err := json.Marshal(raw)
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
