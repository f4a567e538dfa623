package checkpoint

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// MaxName is the longest origin and the longest key name, in bytes: the
// ML-DSA-44 cosigned message has one length byte for each
// (https://c2sp.org/tlog-cosignature).
const MaxName = 255

// ErrMalformed is the error of every note, checkpoint, key, policy or proof
// that is not written as its specification demands.
var ErrMalformed = errors.New("malformed")

// EmptyRoot is the root hash of the empty tree: "the hash of the empty string"
// (RFC 6962 section 2.1).
var EmptyRoot tlog.Hash = sha256.Sum256(nil)

// Checkpoint is the content of a checkpoint's text
// (https://c2sp.org/tlog-checkpoint). It is a claim until Policy.Verify or
// Verify has checked a signature.
type Checkpoint struct {
	Origin     string    // identity of the log, 1 to 255 bytes
	Size       int64     // number of leaves
	Root       tlog.Hash // root hash of the tree of that size
	Extensions []string  // opaque non-empty lines; usually none
}

// Text returns the note text, ending in a newline. Parse accepts it if the
// fields are valid.
func (c Checkpoint) Text() string {
	var b strings.Builder
	b.WriteString(c.Origin)
	b.WriteByte('\n')
	b.WriteString(strconv.FormatInt(c.Size, 10))
	b.WriteByte('\n')
	b.WriteString(encodeBase64(c.Root[:]))
	b.WriteByte('\n')
	for _, e := range c.Extensions {
		b.WriteString(e)
		b.WriteByte('\n')
	}
	return b.String()
}

// Parse reads the text of a checkpoint. It accepts only what Text writes, and
// sizes up to 2^63 - 1. The error is ErrMalformed.
func Parse(text string) (Checkpoint, error) {
	if !validText(text) {
		return Checkpoint{}, fmt.Errorf("%w checkpoint: not UTF-8, or a control character in it", ErrMalformed)
	}
	// "The note text is a sequence of at least three non-empty lines, separated
	// by newlines (U+000A)."
	body, terminated := strings.CutSuffix(text, "\n")
	lines := strings.Split(body, "\n")
	if !terminated || len(lines) < 3 {
		return Checkpoint{}, fmt.Errorf("%w checkpoint: fewer than three lines", ErrMalformed)
	}
	for i, l := range lines {
		if l == "" {
			return Checkpoint{}, fmt.Errorf("%w checkpoint: line %d is empty", ErrMalformed, i+1)
		}
	}
	c := Checkpoint{Origin: lines[0]}
	if len(c.Origin) > MaxName {
		return Checkpoint{}, fmt.Errorf("%w checkpoint: origin of %d bytes, more than %d", ErrMalformed, len(c.Origin), MaxName)
	}
	var ok bool
	if c.Size, ok = parseDecimal(lines[1]); !ok {
		return Checkpoint{}, fmt.Errorf("%w checkpoint: size %q", ErrMalformed, lines[1])
	}
	if c.Root, ok = decodeHash(lines[2]); !ok {
		return Checkpoint{}, fmt.Errorf("%w checkpoint: root hash %q", ErrMalformed, lines[2])
	}
	if len(lines) > 3 {
		c.Extensions = lines[3:]
	}
	return c, nil
}
