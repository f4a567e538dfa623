package event

import (
	"bytes"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// A tape is a JSON text taken apart once: a token for each value and each
// member name, in the order of the text, so that reading it again costs no
// scanning. It is made only of texts that have passed strict.Check; where it
// meets something it does not expect it says so, and the caller takes the slow
// way, which judges for itself.
type tape struct {
	text   []byte
	tokens []token
}

// token is one value or member name. Members of an object are its name's token
// followed by its value's; what is inside an object or array follows it, up to
// the token at next.
type token struct {
	kind       byte // '{', '[', '"', 't', 'f', 'n', or '0' for a number
	start, end int  // of the text, quotes and brackets included
	next       int  // index of the token after this value
}

// tapes are kept for reuse: almost everything a tape costs is its memory.
var tapes = sync.Pool{New: func() any { return new(tape) }}

// newTape takes text apart; nil when it is not the JSON it should be. Give it
// back with free.
func newTape(text []byte) *tape {
	t := tapes.Get().(*tape)
	t.text, t.tokens = text, t.tokens[:0]
	end, ok := t.value(skipSpace(text, 0), 0)
	if !ok || skipSpace(text, end) != len(text) {
		t.free()
		return nil
	}
	return t
}

func (t *tape) free() {
	t.text = nil
	if cap(t.tokens) <= 4096 { // a hostile event of 48 KiB has six times as many
		tapes.Put(t)
	}
}

func skipSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\r' || text[i] == '\t') {
		i++
	}
	return i
}

// value appends the value that begins at i and returns where it ends.
func (t *tape) value(i, depth int) (end int, ok bool) {
	if i >= len(t.text) || depth > 64 {
		return 0, false
	}
	at := len(t.tokens)
	kind := kindOf(t.text[i])
	t.tokens = append(t.tokens, token{kind: kind, start: i})
	switch kind {
	case '{', '[':
		end, ok = t.container(i, depth, kind)
	case '"':
		end = stringEnd(t.text, i) + 1
		ok = end <= len(t.text)
	case 't':
		end, ok = t.literal(i, "true")
	case 'f':
		end, ok = t.literal(i, "false")
	case 'n':
		end, ok = t.literal(i, "null")
	case '0':
		for end = i; end < len(t.text) && isNumberByte[t.text[end]]; end++ {
		}
		ok = true
	}
	t.tokens[at].end, t.tokens[at].next = end, len(t.tokens)
	return end, ok
}

// kindOf returns the kind of the value that begins with c.
func kindOf(c byte) byte {
	if c == '-' || c >= '0' && c <= '9' {
		return '0'
	}
	return c
}

func (t *tape) literal(i int, want string) (int, bool) {
	return i + len(want), bytes.HasPrefix(t.text[i:], []byte(want))
}

func (t *tape) container(i, depth int, open byte) (end int, ok bool) {
	closing := open + 2 // '{' '}' and '[' ']' are two apart
	i = skipSpace(t.text, i+1)
	if i < len(t.text) && t.text[i] == closing {
		return i + 1, true
	}
	for {
		if open == '{' {
			if i >= len(t.text) || t.text[i] != '"' {
				return 0, false
			}
			if i, ok = t.value(i, depth+1); !ok {
				return 0, false
			}
			if i = skipSpace(t.text, i); i >= len(t.text) || t.text[i] != ':' {
				return 0, false
			}
			i = skipSpace(t.text, i+1)
		}
		if i, ok = t.value(i, depth+1); !ok {
			return 0, false
		}
		if i = skipSpace(t.text, i); i >= len(t.text) {
			return 0, false
		}
		if t.text[i] == closing {
			return i + 1, true
		}
		if t.text[i] != ',' {
			return 0, false
		}
		i = skipSpace(t.text, i+1)
	}
}

var isNumberByte = func() (set [256]bool) {
	for _, c := range []byte("0123456789+-.eE") {
		set[c] = true
	}
	return set
}()

// stringEnd returns the index of the quote that closes the string opened at i,
// or something beyond the text when none does.
func stringEnd(text []byte, i int) int {
	for end := i + 1; end < len(text); end++ {
		n := bytes.IndexByte(text[end:], '"')
		if n < 0 {
			break
		}
		end += n
		backslashes := 0
		for text[end-1-backslashes] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 { // not escaped
			return end
		}
	}
	return len(text)
}

// raw returns a token as written.
func (t *tape) raw(i int) []byte { return t.text[t.tokens[i].start:t.tokens[i].end] }

// str returns what a string token says. The result may alias the text.
func (t *tape) str(i int) []byte {
	raw := t.raw(i)
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	// It fails on no string that strict.Check lets pass, and replaces what is
	// wrong in others.
	s, _ := jsontext.AppendUnquote(nil, raw)
	return s
}

// member returns the index of a member's value in the object at i, or -1.
func (t *tape) member(i int, name string) int {
	if t.tokens[i].kind != '{' {
		return -1
	}
	for m := i + 1; m < t.tokens[i].next; m = t.tokens[m+1].next {
		if string(t.str(m)) == name {
			return m + 1
		}
	}
	return -1
}

// stringAt returns the string at a path of member names separated by dots, or
// "" where there is none.
func (t *tape) stringAt(path string) string {
	i := 0
	for name := range strings.SplitSeq(path, ".") {
		if i = t.member(i, name); i < 0 {
			return ""
		}
	}
	if t.tokens[i].kind != '"' {
		return ""
	}
	return string(t.str(i))
}
