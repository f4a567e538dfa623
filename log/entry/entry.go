package entry

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	// Magic is how every leaf begins; its digits are the version.
	Magic = "EL01"

	// PayloadType is the only DSSE payload type a leaf may have.
	PayloadType = "application/cloudevents+json"

	// MaxSize bounds a leaf, in bytes: one entry of a c2sp.org/tlog-tiles
	// bundle.
	MaxSize = 65535

	// MaxPayload bounds the payload, in bytes.
	MaxPayload = 48 << 10

	// MaxSignatures bounds the number of signatures on one leaf.
	MaxSignatures = 8

	// MaxTime is the latest time a leaf can bear, in milliseconds since the
	// epoch: the last integer every JSON reader holds exactly.
	MaxTime = 1<<53 - 1
)

// ErrMalformed is wrapped by every error of this package: the bytes are not
// a leaf or not an envelope, or the fields cannot make one.
var ErrMalformed = errors.New("entry: malformed")

// Signature is one signature over the pre-authentication encoding ([PAE]) of
// the payload.
type Signature struct {
	KeyID string // 1 to 255 bytes; see [KeyID]
	Sig   []byte // 1 to 65,535 bytes
}

// Entry is a decoded leaf.
type Entry struct {
	// Time is when the log took the entry, in milliseconds since the epoch,
	// from 0 to MaxTime.
	Time int64

	PayloadType string      // always the constant PayloadType
	Signatures  []Signature // at most MaxSignatures, distinct keyids, in the order received
	Payload     []byte      // 1 to MaxPayload bytes, exactly the bytes that were signed
}

// validate holds the rules that no length prefix enforces. Marshal and Parse
// share it, so that neither accepts what the other refuses.
func (e *Entry) validate() error {
	if e.Time < 0 || e.Time > MaxTime {
		return fmt.Errorf("%w: time %d is not within 0 and 2^53-1", ErrMalformed, e.Time)
	}
	if e.PayloadType != PayloadType {
		return fmt.Errorf("%w: payload type %q, want %q", ErrMalformed, e.PayloadType, PayloadType)
	}
	if len(e.Payload) == 0 || len(e.Payload) > MaxPayload {
		return fmt.Errorf("%w: payload of %d bytes, want 1 to %d", ErrMalformed, len(e.Payload), MaxPayload)
	}
	return validateSignatures(e.Signatures)
}

func validateSignatures(signatures []Signature) error {
	if len(signatures) > MaxSignatures {
		return fmt.Errorf("%w: %d signatures, at most %d are allowed", ErrMalformed, len(signatures), MaxSignatures)
	}
	for i, s := range signatures {
		if len(s.KeyID) == 0 || len(s.KeyID) > 255 {
			return fmt.Errorf("%w: keyid of %d bytes, want 1 to 255", ErrMalformed, len(s.KeyID))
		}
		if len(s.Sig) == 0 || len(s.Sig) > 65535 {
			return fmt.Errorf("%w: signature of %d bytes, want 1 to 65535", ErrMalformed, len(s.Sig))
		}
		for _, other := range signatures[:i] {
			if other.KeyID == s.KeyID {
				return fmt.Errorf("%w: keyid %q signs twice", ErrMalformed, s.KeyID)
			}
		}
	}
	return nil
}

// Marshal returns the leaf. It refuses, with ErrMalformed, whatever Parse would
// refuse.
func (e *Entry) Marshal() ([]byte, error) {
	if err := e.validate(); err != nil {
		return nil, err
	}
	signatures := 0
	for _, s := range e.Signatures {
		signatures += 1 + len(s.KeyID) + 2 + len(s.Sig)
	}
	size := len(Magic) + 8 + 1 + len(e.PayloadType) + 2 + signatures + 2 + len(e.Payload)
	if size > MaxSize { // from here on every length fits its prefix
		return nil, fmt.Errorf("%w: leaf of %d bytes, at most %d fit", ErrMalformed, size, MaxSize)
	}
	b := append(make([]byte, 0, size), Magic...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time))
	b = append(append(b, byte(len(e.PayloadType))), e.PayloadType...)
	b = binary.BigEndian.AppendUint16(b, uint16(signatures))
	for _, s := range e.Signatures {
		b = append(append(b, byte(len(s.KeyID))), s.KeyID...)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(s.Sig))), s.Sig...)
	}
	return append(binary.BigEndian.AppendUint16(b, uint16(len(e.Payload))), e.Payload...), nil
}

// Parse decodes a leaf. The result aliases nothing of leaf. The error wraps
// ErrMalformed.
func Parse(leaf []byte) (*Entry, error) {
	if len(leaf) > MaxSize {
		return nil, fmt.Errorf("%w: leaf of %d bytes, at most %d fit", ErrMalformed, len(leaf), MaxSize)
	}
	var (
		s                      = cryptobyte.String(leaf)
		magic                  []byte
		time                   uint64
		payloadType, payload   cryptobyte.String
		signatures, keyID, sig cryptobyte.String
	)
	if !s.ReadBytes(&magic, len(Magic)) || string(magic) != Magic {
		return nil, fmt.Errorf("%w: does not begin with %q", ErrMalformed, Magic)
	}
	if !s.ReadUint64(&time) ||
		!s.ReadUint8LengthPrefixed(&payloadType) ||
		!s.ReadUint16LengthPrefixed(&signatures) ||
		!s.ReadUint16LengthPrefixed(&payload) {
		return nil, fmt.Errorf("%w: truncated", ErrMalformed)
	}
	if !s.Empty() {
		return nil, fmt.Errorf("%w: %d trailing bytes", ErrMalformed, len(s))
	}
	if time > MaxTime {
		return nil, fmt.Errorf("%w: time %d is not below 2^53", ErrMalformed, time)
	}
	e := &Entry{Time: int64(time), PayloadType: string(payloadType), Payload: bytes.Clone(payload)}
	for !signatures.Empty() {
		if !signatures.ReadUint8LengthPrefixed(&keyID) || !signatures.ReadUint16LengthPrefixed(&sig) {
			return nil, fmt.Errorf("%w: truncated signature", ErrMalformed)
		}
		e.Signatures = append(e.Signatures, Signature{KeyID: string(keyID), Sig: bytes.Clone(sig)})
		if len(e.Signatures) > MaxSignatures {
			return nil, fmt.Errorf("%w: more than %d signatures", ErrMalformed, MaxSignatures)
		}
	}
	if err := e.validate(); err != nil {
		return nil, err
	}
	return e, nil
}

// Payload returns the time and the payload of a leaf, which aliases it. It
// refuses exactly what Parse refuses, and copies and allocates nothing: it is
// for those who look at every leaf of a log.
func Payload(leaf []byte) (ms int64, payload []byte, err error) {
	var (
		s           = cryptobyte.String(leaf)
		magic       []byte
		time        uint64
		payloadType cryptobyte.String
		signatures  cryptobyte.String
		body        cryptobyte.String
		keyIDs      [MaxSignatures]cryptobyte.String
	)
	ok := len(leaf) <= MaxSize && s.ReadBytes(&magic, len(Magic)) && string(magic) == Magic &&
		s.ReadUint64(&time) && time <= MaxTime &&
		s.ReadUint8LengthPrefixed(&payloadType) && string(payloadType) == PayloadType &&
		s.ReadUint16LengthPrefixed(&signatures) &&
		s.ReadUint16LengthPrefixed(&body) && s.Empty() &&
		len(body) > 0 && len(body) <= MaxPayload
	for n := 0; ok && !signatures.Empty(); n++ {
		var keyID, sig cryptobyte.String
		ok = n < MaxSignatures && signatures.ReadUint8LengthPrefixed(&keyID) && len(keyID) > 0 &&
			signatures.ReadUint16LengthPrefixed(&sig) && len(sig) > 0
		for i := 0; ok && i < n; i++ {
			ok = !bytes.Equal(keyIDs[i], keyID)
		}
		if ok {
			keyIDs[n] = keyID
		}
	}
	if ok {
		return int64(time), body, nil
	}
	if _, err = Parse(leaf); err == nil {
		err = fmt.Errorf("%w: Payload and Parse disagree", ErrMalformed) // a mistake of this package
	}
	return 0, nil, err
}

// timeOffset is where the time stands in a leaf: behind the magic.
const timeOffset = len(Magic)

// SetTime writes the time, in milliseconds since the epoch, into an encoded
// leaf. The sequencer does this after everything else about the leaf has been
// decided: the time is the one field the log itself fills in.
//
// It panics when leaf is not the result of Marshal or ms is out of range: both
// are mistakes of the program, never of its input.
func SetTime(leaf []byte, ms int64) {
	if len(leaf) < timeOffset+8 || ms < 0 || ms > MaxTime {
		panic(fmt.Sprintf("entry: SetTime(%d bytes, %d)", len(leaf), ms))
	}
	binary.BigEndian.PutUint64(leaf[timeOffset:], uint64(ms))
}

// TimeOf returns the time of an encoded leaf, in milliseconds since the epoch,
// without decoding the rest; 0 when leaf is too short to hold one.
func TimeOf(leaf []byte) int64 {
	if len(leaf) < timeOffset+8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(leaf[timeOffset:]))
}

// LeafHash returns the leaf hash, SHA-256(0x00 || leaf) (RFC 6962 section 2.1).
func LeafHash(leaf []byte) tlog.Hash { return tlog.RecordHash(leaf) }

// Identity is what makes two events the same event to the log: SHA-256 over
// source and id of the CloudEvent, each behind its length as a big-endian
// uint64.
func Identity[T string | []byte](source, id T) [32]byte {
	var room [256]byte // most identities need no more
	return sha256.Sum256(AppendName(room[:0], source, id))
}

// AppendName appends what [Identity] is the SHA-256 of, for those who hash many.
func AppendName[T string | []byte](b []byte, source, id T) []byte {
	b = append(binary.BigEndian.AppendUint64(b, uint64(len(source))), source...)
	return append(binary.BigEndian.AppendUint64(b, uint64(len(id))), id...)
}

// Content is equal for two entries exactly when they hold the same payload and
// are signed by the same set of keyids. A retry has the identity and the
// content of an earlier event; signatures and their order may differ, since
// ECDSA signs differently each time.
func (e *Entry) Content() [32]byte {
	keyIDs := make([]string, len(e.Signatures))
	for i, s := range e.Signatures {
		keyIDs[i] = s.KeyID
	}
	slices.Sort(keyIDs)
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(e.Payload))))
	h.Write(e.Payload)
	for _, k := range keyIDs {
		h.Write(appendPrefixed(nil, []byte(k)))
	}
	return [32]byte(h.Sum(nil))
}

func appendPrefixed(b, s []byte) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(s))), s...)
}
