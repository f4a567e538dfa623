package event

import (
	"bytes"
	"slices"
	"strconv"
	"unicode/utf8"
)

// The JSON Schema library takes an event apart into maps and reports precisely
// what is wrong with it. Almost every event has nothing wrong with it, and for
// those this file gives the same answer several times faster: quick reads the
// keywords that our schemas use and walks the tape of the data. Only its yes
// counts. Whatever it refuses, or cannot judge, the library decides; a fuzz
// test holds that what it accepts the library accepts too.

// verdict is what quick says of a value.
type verdict int8

const (
	unsure verdict = iota // the library must look
	no
	yes
)

// quick is a compiled schema; see quickCompiler.compile for the one that accepts
// everything.
type quick struct {
	never         bool   // the schema false
	types         []byte // kinds of token, 'i' for an integer; nil: any
	enum          [][]byte
	enumNull      bool
	constant      string // raw JSON
	pattern       func([]byte) bool
	format        func(string) bool
	minLen        int
	maxLen        int // -1: unbounded
	min, max      *int64
	properties    map[string]*quick
	required      []string
	patterned     func([]byte) bool // of member names not in properties
	patternedNode *quick
	closed        bool // other members are refused
	dependent     map[string][]string
	minMembers    int
	maxMembers    int // -1: unbounded
	items         *quick
	minItems      int
	maxItems      int // -1: unbounded
	unique        bool
	allOf         []*quick
	anyOf         []*quick
	oneOf         []*quick
	cond          *quick // if
	then, other   *quick // nil: true
}

func (q *quick) check(t *tape, i int) verdict {
	if q.never {
		return no
	}
	tok := t.tokens[i]
	v := q.checkType(t, i)
	if v == yes {
		switch tok.kind {
		case '"':
			v = q.checkString(t, i)
		case '0':
			v = q.checkNumber(t, i)
		case '{':
			v = q.checkObject(t, i)
		case '[':
			v = q.checkArray(t, i)
		}
	}
	if v != yes {
		return v
	}
	return q.checkCombined(t, i)
}

func (q *quick) checkType(t *tape, i int) verdict {
	kind := t.tokens[i].kind
	if q.types != nil && !bytes.Contains(q.types, []byte{kind}) {
		if kind != '0' || !bytes.Contains(q.types, []byte{'i'}) {
			return no
		}
		if _, ok := integer(t.raw(i)); !ok {
			return unsure // 1e3 is an integer, too
		}
	}
	if q.constant != "" && string(t.raw(i)) != q.constant {
		if kind != kindOf(q.constant[0]) || kind == 't' || kind == 'f' || kind == 'n' {
			return no
		}
		return unsure // the same thing can be written in several ways
	}
	if q.enum == nil {
		return yes
	}
	if kind == 'n' {
		return yesNo(q.enumNull)
	}
	if kind != '"' {
		return no
	}
	s := t.str(i)
	return yesNo(slices.ContainsFunc(q.enum, func(want []byte) bool { return bytes.Equal(s, want) }))
}

func yesNo(ok bool) verdict {
	if ok {
		return yes
	}
	return no
}

// integer reads a number written as a plain integer of at most 18 digits.
func integer(raw []byte) (int64, bool) {
	if len(raw) > 18 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return n, err == nil && raw[0] != '+'
}

func (q *quick) checkNumber(t *tape, i int) verdict {
	if q.min == nil && q.max == nil {
		return yes
	}
	n, ok := integer(t.raw(i))
	if !ok {
		return unsure
	}
	return yesNo((q.min == nil || n >= *q.min) && (q.max == nil || n <= *q.max))
}

func (q *quick) checkString(t *tape, i int) verdict {
	if q.pattern == nil && q.format == nil && q.minLen == 0 && q.maxLen < 0 {
		return yes
	}
	s := t.str(i)
	if q.minLen > 0 || q.maxLen >= 0 {
		if n := utf8.RuneCount(s); n < q.minLen || q.maxLen >= 0 && n > q.maxLen {
			return no
		}
	}
	return yesNo((q.pattern == nil || q.pattern(s)) && (q.format == nil || q.format(string(s))))
}

func (q *quick) checkObject(t *tape, i int) verdict {
	members, missing := 0, len(q.required)
	for m := i + 1; m < t.tokens[i].next; {
		name, value := t.str(m), m+1
		members++
		if slices.Contains(q.required, string(name)) {
			missing--
		}
		node, known := q.properties[string(name)]
		if !known && q.patterned != nil && q.patterned(name) {
			node, known = q.patternedNode, true
		}
		if !known && q.closed {
			return no
		}
		if node != nil {
			if v := node.check(t, value); v != yes {
				return v
			}
		}
		m = t.tokens[value].next
	}
	if missing > 0 || members < q.minMembers || q.maxMembers >= 0 && members > q.maxMembers {
		return no
	}
	for name, others := range q.dependent {
		if t.member(i, name) >= 0 && slices.ContainsFunc(others, func(o string) bool { return t.member(i, o) < 0 }) {
			return no
		}
	}
	return yes
}

func (q *quick) checkArray(t *tape, i int) verdict {
	n := 0
	for m := i + 1; m < t.tokens[i].next; m = t.tokens[m].next {
		n++
		if q.items != nil {
			if v := q.items.check(t, m); v != yes {
				return v
			}
		}
		if q.unique {
			if t.tokens[m].kind != '"' {
				return unsure
			}
			for o := i + 1; o < m; o = t.tokens[o].next {
				if bytes.Equal(t.str(o), t.str(m)) {
					return no
				}
			}
		}
	}
	return yesNo(n >= q.minItems && (q.maxItems < 0 || n <= q.maxItems))
}

func (q *quick) checkCombined(t *tape, i int) verdict {
	for _, sub := range q.allOf {
		if v := sub.check(t, i); v != yes {
			return v
		}
	}
	if len(q.anyOf) > 0 {
		if v := anyOf(q.anyOf, t, i); v != yes {
			return v
		}
	}
	if len(q.oneOf) > 0 {
		count := 0
		for _, sub := range q.oneOf {
			switch sub.check(t, i) {
			case unsure:
				return unsure
			case yes:
				count++
			}
		}
		if count != 1 {
			return no
		}
	}
	if q.cond == nil {
		return yes
	}
	branch := q.then
	switch q.cond.check(t, i) {
	case unsure:
		return unsure
	case no:
		branch = q.other
	}
	if branch == nil {
		return yes
	}
	return branch.check(t, i)
}

func anyOf(subs []*quick, t *tape, i int) verdict {
	result := no
	for _, sub := range subs {
		switch sub.check(t, i) {
		case yes:
			return yes
		case unsure:
			result = unsure
		}
	}
	return result
}
