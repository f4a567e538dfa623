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
	"iter"
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
//
// It is one pass over the bytes, and allocates nothing for a text whose objects
// have few members with names in plain ASCII.
func Check(b []byte) error {
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		return ErrBOM
	}
	s := scanners.Get().(*scanner)
	s.text = b
	err := s.check()
	s.free()
	return err
}

// Elements checks b as [Check] does and returns the elements of its top-level
// array, each as exactly the bytes it was written with, without the white
// space around it.
func Elements(b []byte) ([]json.RawMessage, error) {
	if err := Check(b); err != nil {
		return nil, err
	}
	if b[skipSpace(b, 0)] != '[' {
		return nil, ErrNotArray
	}
	elements := []json.RawMessage{}
	for element := range Items(b) {
		elements = append(elements, bytes.Clone(element))
	}
	return elements, nil
}

// Items yields the elements of an array, each as exactly the bytes it was
// written with. The text must have passed [Check] and be an array.
func Items(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := skipSpace(array, skipSpace(array, 0)+1); array[i] != ']'; {
			end := valueEnd(array, i)
			if !yield(array[i:end:end]) {
				return
			}
			i = afterComma(array, end)
		}
	}
}

// Members yields the members of an object, each name and value as exactly the
// bytes it was written with, the name in its quotes. The text must have passed
// [Check] and be an object.
func Members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for i := skipSpace(object, skipSpace(object, 0)+1); object[i] != '}'; {
			nameEnd := valueEnd(object, i)
			value := skipSpace(object, skipSpace(object, nameEnd)+1) // behind the colon
			end := valueEnd(object, value)
			if !yield(object[i:nameEnd:nameEnd], object[value:end:end]) {
				return
			}
			i = afterComma(object, end)
		}
	}
}

// afterComma returns where the next element or member begins, or where the
// closing bracket stands. i is behind the last one.
func afterComma(text []byte, i int) int {
	if i = skipSpace(text, i); text[i] == ',' {
		i = skipSpace(text, i+1)
	}
	return i
}

// valueEnd returns where the value that begins at i ends, in a text that has
// passed Check.
func valueEnd(text []byte, i int) int {
	depth := 0
	for {
		switch text[i] {
		case '"':
			i = stringEnd(text, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			i++
		default: // a number or a literal
			for i < len(text) && class[text[i]]&endsScalar == 0 {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}

// stringEnd returns where the string that begins at i ends, in a text that has
// passed Check.
func stringEnd(text []byte, i int) int {
	for end := i + 1; ; end++ {
		end += bytes.IndexByte(text[end:], '"')
		backslashes := 0
		for text[end-1-backslashes] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 { // not escaped
			return end + 1
		}
	}
}

// syntax makes an error that wraps ErrSyntax.
func syntax(at int, problem string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrSyntax, problem, at)
}
