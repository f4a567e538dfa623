package strict

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// scanner is one walk over a text. Its slices are kept from text to text.
type scanner struct {
	text []byte
	open [MaxDepth]object // arrays and objects that are open, outermost first

	// names are the member names of all open objects, those of the innermost
	// last, and folded their bytes.
	names  []name
	folded []byte
}

// object is an open object, or array.
type object struct {
	array     bool
	names     int                 // where its names begin in scanner.names
	folded    int                 // and their bytes in scanner.folded
	overflown map[string]struct{} // its names, once they are more than fewNames
}

// name is a member name, case folded: scanner.folded[start:end].
type name struct {
	hash       uint32
	start, end int
}

// fewNames is up to how many names an object compares each with each. A hostile
// object may have ten thousand; from here on a map keeps them.
const fewNames = 32

var scanners = sync.Pool{New: func() any { return new(scanner) }}

// free gives the scanner back, unless a hostile text has blown it up.
func (s *scanner) free() {
	s.text = nil
	clear(s.open[:]) // of the maps that a refused text has left open
	if cap(s.folded) <= 16<<10 && cap(s.names) <= 1<<10 {
		scanners.Put(s)
	}
}

// Classes of bytes.
const (
	plain = 1 << iota // stands for itself in a string: ASCII but quotes, backslashes, control characters
	hexDigit
	endsScalar // cannot be in a number or literal: white space, comma, colon, closing brackets
)

var class = func() (c [256]byte) {
	for i := 0x20; i < 0x80; i++ {
		if i != '"' && i != '\\' {
			c[i] |= plain
		}
	}
	for _, b := range []byte("0123456789abcdefABCDEF") {
		c[b] |= hexDigit
	}
	for _, b := range []byte(" \t\r\n,:]}") {
		c[b] |= endsScalar
	}
	return c
}()

func skipSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\r' || text[i] == '\t') {
		i++
	}
	return i
}

// check walks over the whole text.
func (s *scanner) check() error {
	s.names, s.folded = s.names[:0], s.folded[:0]
	depth, i := 0, skipSpace(s.text, 0)
	for {
		// A value begins at i.
		if i >= len(s.text) {
			return syntax(i, "the text ends early")
		}
		opened := false
		var err error
		switch c := s.text[i]; c {
		case '{', '[':
			if depth == MaxDepth {
				return fmt.Errorf("%w: more than %d levels at byte %d", ErrDepth, MaxDepth, i)
			}
			s.open[depth] = object{array: c == '[', names: len(s.names), folded: len(s.folded)}
			depth++
			i = skipSpace(s.text, i+1)
			opened = true
		case '"':
			i, _, err = s.str(i)
		case 't':
			i, err = s.literal(i, "true")
		case 'f':
			i, err = s.literal(i, "false")
		case 'n':
			i, err = s.literal(i, "null")
		default:
			i, err = s.number(i)
		}
		if err != nil {
			return err
		}
		if i, depth, err = s.next(i, depth, opened); err != nil || depth == 0 {
			return err
		}
	}
}

// next goes on behind a value, or behind an opening bracket, to where the next
// value begins: over closing brackets, a comma, a member name. A depth of zero
// says that the text has ended as it should.
func (s *scanner) next(i, depth int, opened bool) (int, int, error) {
	for depth > 0 {
		o := &s.open[depth-1]
		if !opened {
			i = skipSpace(s.text, i)
		}
		if i >= len(s.text) {
			return i, depth, syntax(i, "the text ends early")
		}
		switch c := s.text[i]; {
		case c == '}' && !o.array, c == ']' && o.array:
			s.names, s.folded = s.names[:o.names], s.folded[:o.folded]
			o.overflown = nil
			depth, i, opened = depth-1, i+1, false
			continue
		case opened:
		case c == ',':
			i = skipSpace(s.text, i+1)
		default:
			return i, depth, syntax(i, "a comma or a closing bracket is missing")
		}
		if o.array {
			return i, depth, nil
		}
		i, err := s.member(i, o)
		return i, depth, err
	}
	if i = skipSpace(s.text, i); i < len(s.text) {
		return i, 0, syntax(i, "something follows the value")
	}
	return i, 0, nil
}

// member reads the name of a member and its colon, and returns where its value
// begins.
func (s *scanner) member(i int, o *object) (int, error) {
	if i >= len(s.text) || s.text[i] != '"' {
		return i, syntax(i, "a member name is missing")
	}
	end, simple, err := s.str(i)
	if err != nil {
		return i, err
	}
	if !s.add(o, s.text[i:end], simple) {
		return i, fmt.Errorf("%w: %s at byte %d", ErrDuplicateName, s.text[i:end], i)
	}
	if i = skipSpace(s.text, end); i >= len(s.text) || s.text[i] != ':' {
		return i, syntax(i, "a colon is missing")
	}
	return skipSpace(s.text, i+1), nil
}

// str reads the string whose opening quote stands at i and returns where it
// ends. It is simple when it has neither escapes nor anything but ASCII.
func (s *scanner) str(i int) (end int, simple bool, err error) {
	simple = true
	for i++; i < len(s.text); {
		if i = PlainEnd(s.text, i); i == len(s.text) {
			break
		}
		switch c := s.text[i]; {
		case c == '"':
			return i + 1, simple, nil
		case c == '\\':
			simple = false
			n := escape(s.text[i:])
			if n == 0 {
				return i, false, syntax(i, "a wrong escape, or half a surrogate pair,")
			}
			i += n
		case c < utf8.RuneSelf:
			return i, false, syntax(i, "a control character in a string")
		default:
			simple = false
			r, n := utf8.DecodeRune(s.text[i:])
			if r == utf8.RuneError && n == 1 {
				return i, false, syntax(i, "a byte that is not UTF-8")
			}
			i += n
		}
	}
	return i, false, syntax(i, "the text ends within a string")
}

// PlainEnd returns where the first byte from i on stands that does not stand for
// itself in a string, or the length of the text. It looks at eight at once.
func PlainEnd(text []byte, i int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(text); i += 8 {
		w := binary.LittleEndian.Uint64(text[i:])
		quotes, backslashes := w^ones*'"', w^ones*'\\'
		// The top bit of each byte that is one of those, or below 0x20, or above
		// 0x7f; behind the first one perhaps of others too.
		if not := (w | (w-ones*0x20)&^w | (quotes-ones)&^quotes | (backslashes-ones)&^backslashes) & tops; not != 0 {
			return i + bits.TrailingZeros64(not)/8
		}
	}
	for i < len(text) && class[text[i]]&plain != 0 {
		i++
	}
	return i
}

// escape returns the length of the escape sequence that t begins with, both
// halves of a surrogate pair taken together; 0 when it is none (RFC 8259
// section 7, RFC 7493 section 2.1).
func escape(t []byte) int {
	if len(t) < 2 {
		return 0
	}
	switch t[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		unit, ok := codeUnit(t)
		switch {
		case !ok || unit >= 0xdc00 && unit <= 0xdfff:
			return 0
		case unit < 0xd800 || unit > 0xdbff:
			return 6
		}
		if low, ok := codeUnit(t[6:]); ok && low >= 0xdc00 && low <= 0xdfff {
			return 12
		}
	}
	return 0
}

// codeUnit reads \uXXXX.
func codeUnit(t []byte) (unit rune, ok bool) {
	if len(t) < 6 || t[0] != '\\' || t[1] != 'u' {
		return 0, false
	}
	for _, c := range t[2:6] {
		if class[c]&hexDigit == 0 {
			return 0, false
		}
		digit := rune(c & 0xf)
		if c > '9' {
			digit += 9
		}
		unit = unit<<4 | digit
	}
	return unit, true
}

func (s *scanner) literal(i int, want string) (end int, err error) {
	if !bytes.HasPrefix(s.text[i:], []byte(want)) {
		return i, syntax(i, "neither a value nor a literal")
	}
	return i + len(want), nil
}

// number reads a number (RFC 8259 section 6).
func (s *scanner) number(i int) (end int, err error) {
	digits := func() bool {
		from := i
		for i < len(s.text) && s.text[i] >= '0' && s.text[i] <= '9' {
			i++
		}
		return i > from
	}
	at := func(c byte) bool { return i < len(s.text) && s.text[i] == c }

	if at('-') {
		i++
	}
	if at('0') {
		i++
	} else if !digits() {
		return i, syntax(i, "a value is missing")
	}
	if at('.') {
		if i++; !digits() {
			return i, syntax(i, "a digit is missing")
		}
	}
	if at('e') || at('E') {
		if i++; at('+') || at('-') {
			i++
		}
		if !digits() {
			return i, syntax(i, "a digit is missing")
		}
	}
	return i, nil
}

// add takes the name of a member, in its quotes, and reports whether it is new
// to the object.
func (s *scanner) add(o *object, quoted []byte, simple bool) bool {
	n := name{start: len(s.folded)}
	if simple {
		s.appendUpper(quoted[1 : len(quoted)-1])
	} else {
		s.appendFolded(quoted)
	}
	n.end = len(s.folded)
	text := s.folded[n.start:]
	if o.overflown != nil {
		return s.addTo(o, text)
	}
	n.hash = 2166136261 // FNV-1a: all it has to do is to spare comparisons
	for _, c := range text {
		n.hash = (n.hash ^ uint32(c)) * 16777619
	}
	for _, other := range s.names[o.names:] {
		if other.hash == n.hash && bytes.Equal(s.folded[other.start:other.end], text) {
			return false
		}
	}
	s.names = append(s.names, n)
	if len(s.names)-o.names > fewNames {
		o.overflown = make(map[string]struct{})
		for _, n := range s.names[o.names:] {
			o.overflown[string(s.folded[n.start:n.end])] = struct{}{}
		}
	}
	return true
}

// addTo is add for an object that keeps its names in a map.
func (s *scanner) addTo(o *object, text []byte) bool {
	if _, seen := o.overflown[string(text)]; seen {
		return false
	}
	o.overflown[string(text)] = struct{}{}
	s.folded = s.folded[:len(s.folded)-len(text)]
	return true
}

// appendUpper appends a name of ASCII characters folded as appendFolded folds
// it: of the orbits of ASCII letters the upper-case letter is the smallest.
func (s *scanner) appendUpper(name []byte) {
	for _, c := range name {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		s.folded = append(s.folded, c)
	}
}

// appendFolded appends a name, given in its quotes, in the one spelling of all
// names that a case-insensitive decoder would take for the same (encoding/json
// matches as strings.EqualFold does): every rune becomes the smallest of its
// case orbit.
func (s *scanner) appendFolded(quoted []byte) {
	name, _ := jsontext.AppendUnquote(nil, quoted) // str has let it pass
	for _, r := range string(name) {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		s.folded = utf8.AppendRune(s.folded, least)
	}
}
