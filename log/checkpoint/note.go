package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

const (
	// MaxNote is the longest note accepted, in bytes.
	MaxNote = 1 << 20
	// MaxSignatures is the largest number of signature lines accepted in a
	// note. "Verifiers … MUST accept at least up to 16 signatures."
	MaxSignatures = 512
)

var (
	// ErrUnsigned: no signature of a known key is on the note.
	ErrUnsigned = errors.New("no signature by a known key")
	// ErrBadSignature: a signature line names a known key and does not verify.
	ErrBadSignature = errors.New("a known key's signature does not verify")
)

const sigPrefix = "— "

// SignatureLine is one signature line of a note, not necessarily verified.
type SignatureLine struct {
	Name    string // key name
	KeyHash uint32 // key ID
	Sig     []byte // what follows the key ID: for cosignatures 8 bytes of time and the signature
}

// Line returns the line as a note holds it, from the em dash to the newline.
func (l SignatureLine) Line() []byte {
	raw := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(l.Sig)), l.KeyHash)
	return []byte(sigPrefix + l.Name + " " + encodeBase64(append(raw, l.Sig...)) + "\n")
}

// Timestamp returns the time of a cosignature in seconds since the epoch. It
// is meaningful only where the line's key is of a cosignature type, and to be
// believed only after verification. It is -1 where there is none.
func (l SignatureLine) Timestamp() int64 {
	t, _, ok := splitTimestamp(l.Sig)
	if !ok {
		return -1
	}
	return t
}

// ParseNote splits a signed note into its text and its signature lines and
// verifies nothing. Join(text, lines…) is again b. The error is ErrMalformed.
func ParseNote(b []byte) (text string, sigs []SignatureLine, err error) {
	if len(b) > MaxNote {
		return "", nil, fmt.Errorf("%w note: longer than %d bytes", ErrMalformed, MaxNote)
	}
	if !validText(string(b)) {
		return "", nil, fmt.Errorf("%w note: not UTF-8, or a control character in it", ErrMalformed)
	}
	// "The note text MAY contain empty lines; the text is separated from the
	// signatures by the last empty line in the note."
	i := bytes.LastIndex(b, []byte("\n\n"))
	if i < 0 {
		return "", nil, fmt.Errorf("%w note: no empty line before the signatures", ErrMalformed)
	}
	if sigs, err = ParseSignatureLines(b[i+2:]); err != nil {
		return "", nil, err
	}
	return string(b[:i+1]), sigs, nil
}

// ParseSignatureLines reads one or more note signature lines, as a witness
// answers with. The error is ErrMalformed.
func ParseSignatureLines(b []byte) ([]SignatureLine, error) {
	if len(b) > MaxNote || !validText(string(b)) {
		return nil, fmt.Errorf("%w signatures: too long, not UTF-8, or a control character in them", ErrMalformed)
	}
	body, terminated := strings.CutSuffix(string(b), "\n")
	if !terminated {
		return nil, fmt.Errorf("%w signatures: no line, or the last one does not end", ErrMalformed)
	}
	if n := strings.Count(body, "\n") + 1; n > MaxSignatures {
		return nil, fmt.Errorf("%w signatures: %d lines, more than %d", ErrMalformed, n, MaxSignatures)
	}
	var sigs []SignatureLine
	for line := range strings.SplitSeq(body, "\n") {
		l, err := parseSignatureLine(line)
		if err != nil {
			return nil, err
		}
		sigs = append(sigs, l)
	}
	return sigs, nil
}

// parseSignatureLine: "em dash (U+2014), space (U+0020), key name, space,
// base64-encoded signature". The signature is 4+n bytes, and n is not 0.
func parseSignatureLine(line string) (SignatureLine, error) {
	rest, ok := strings.CutPrefix(line, sigPrefix)
	name, sig64, ok1 := strings.Cut(rest, " ")
	raw, ok2 := decodeBase64(sig64)
	if !ok || !ok1 || !ok2 || !validKeyName(name) || len(raw) < 5 {
		return SignatureLine{}, fmt.Errorf("%w signature line %q", ErrMalformed, shorten(line))
	}
	return SignatureLine{Name: name, KeyHash: binary.BigEndian.Uint32(raw), Sig: raw[4:]}, nil
}

// Join puts a note together from a text, which ends in a newline, and
// signature lines.
func Join(text string, lines ...[]byte) []byte {
	n := len(text) + 1
	for _, l := range lines {
		n += len(l)
	}
	b := append(make([]byte, 0, n), text...)
	b = append(b, '\n')
	for _, l := range lines {
		b = append(b, l...)
	}
	return b
}

// Verify returns the signature lines that are by one of the keys vs, in their
// order. Lines of unknown keys are ignored, even where they share a name or a
// key ID (but not both) with a known key. If a line of a known key does not
// verify, the whole note is refused with ErrBadSignature; if no known key
// signed, the error is ErrUnsigned.
func Verify(text string, sigs []SignatureLine, vs ...*Verifier) (good []SignatureLine, err error) {
	for _, l := range sigs {
		v, err := claimed(l, vs)
		if err != nil {
			return nil, err
		}
		if v == nil {
			continue
		}
		if !v.Verify([]byte(text), l.Sig) {
			return nil, fmt.Errorf("%w: %s", ErrBadSignature, v)
		}
		good = append(good, l)
	}
	if len(good) == 0 {
		return nil, ErrUnsigned
	}
	return good, nil
}

// claimed returns the key a line claims to be made with, nil where unknown.
func claimed(l SignatureLine, vs []*Verifier) (*Verifier, error) {
	var found *Verifier
	for _, v := range vs {
		if !v.claims(l.Name, l.KeyHash) {
			continue
		}
		if found != nil && !found.same(v) {
			return nil, fmt.Errorf("%w: two different keys are both called %s", ErrBadSignature, v)
		}
		found = v
	}
	return found, nil
}
