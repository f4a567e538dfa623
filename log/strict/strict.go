// Package strict accepts one reading of a JSON text, or none.
//
// A signed JSON text is read by many programs: by the door that lets it in, by
// auditors years later, by people with whatever parser they have. A text that
// two parsers read differently (a repeated member, a lone surrogate, a member
// that differs from another only in case) would let a signer tell two stories
// with one signature. [Check] refuses every such text; what passes means the
// same to all of them (RFC 8259, I-JSON of RFC 7493 section 2, and a bound on
// depth).
package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is how many arrays and objects may be nested in each other.
const MaxDepth = 32

// Errors of Check and Elements, wrapped with the place in the text.
var (
	ErrBOM           = errors.New("strict: JSON begins with a byte order mark")
	ErrSyntax        = errors.New("strict: not one well-formed JSON value")
	ErrDuplicateName = errors.New("strict: member name is repeated, or differs from another only in case")
	ErrDepth         = errors.New("strict: JSON is nested too deep")
	ErrNotArray      = errors.New("strict: JSON value is not an array")
)

// Check returns nil when b is exactly one JSON value, in UTF-8 without a byte
// order mark, with no lone surrogates, no object member that is repeated or
// differs from another only in case, nothing but white space around it, and at
// most [MaxDepth] levels of nesting.
func Check(b []byte) error {
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		return ErrBOM
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(b))
	var open []names
	for {
		token, err := d.ReadToken()
		if err != nil {
			if errors.Is(err, jsontext.ErrDuplicateName) {
				return fmt.Errorf("%w: %w", ErrDuplicateName, err)
			}
			return fmt.Errorf("%w: %w", ErrSyntax, err)
		}
		switch token.Kind() {
		case jsontext.KindBeginObject, jsontext.KindBeginArray:
			if len(open) == MaxDepth {
				return fmt.Errorf("%w: more than %d levels at byte %d", ErrDepth, MaxDepth, d.InputOffset())
			}
			open = append(open, nil)
		case jsontext.KindEndObject, jsontext.KindEndArray:
			open = open[:len(open)-1]
		case jsontext.KindString:
			// In an object, strings in odd places are member names.
			if kind, count := d.StackIndex(d.StackDepth()); kind == jsontext.KindBeginObject && count%2 == 1 {
				if name := token.String(); !open[len(open)-1].add(name) {
					return fmt.Errorf("%w: %q at byte %d", ErrDuplicateName, name, d.InputOffset())
				}
			}
		}
		if len(open) == 0 {
			break
		}
	}
	if rest := bytes.TrimLeft(b[d.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return fmt.Errorf("%w: something follows the value at byte %d", ErrSyntax, len(b)-len(rest))
	}
	return nil
}

// Elements checks b as [Check] does and returns the elements of its top-level
// array, each as exactly the bytes it was written with, without the white
// space around it.
func Elements(b []byte) ([]json.RawMessage, error) {
	if err := Check(b); err != nil {
		return nil, err
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(b))
	if d.PeekKind() != jsontext.KindBeginArray {
		return nil, ErrNotArray
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	elements := []json.RawMessage{}
	for d.PeekKind() != jsontext.KindEndArray {
		value, err := d.ReadValue()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
		}
		elements = append(elements, bytes.Clone(value))
	}
	return elements, nil
}

// names are the member names of one open object, case folded. A map, since a
// hostile object may have ten thousand of them.
type names map[string]struct{}

// add reports whether name is new.
func (n *names) add(name string) bool {
	if *n == nil {
		*n = make(names)
	}
	folded := fold(name)
	if _, seen := (*n)[folded]; seen {
		return false
	}
	(*n)[folded] = struct{}{}
	return true
}

// fold maps names that a case-insensitive decoder would take for the same
// (encoding/json matches as strings.EqualFold does) to one spelling: every
// rune becomes the smallest of its case orbit.
func fold(s string) string {
	folded := make([]rune, 0, len(s))
	for _, r := range s {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		folded = append(folded, least)
	}
	return string(folded)
}
