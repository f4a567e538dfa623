package event

import (
	"encoding/json"
	"fmt"
	"regexp"
	"regexp/syntax"
	"unicode/utf8"
)

// compilePattern returns a matcher of the regular expression: a loop over the
// text where the expression is a plain row of character classes, each with a
// number of repetitions; else the library's.
func compilePattern(value json.RawMessage) (func([]byte) bool, error) {
	var expr string
	if err := json.Unmarshal(value, &expr); err != nil {
		return nil, err
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("event: pattern: %w", err)
	}
	parsed, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("event: pattern: %w", err)
	}
	if row, ok := compileRow(parsed); ok {
		return row.match, nil
	}
	return re.Match, nil
}

// classes is a row of character classes.
type classes []class

type class struct {
	ascii    [utf8.RuneSelf]bool
	beyond   bool // whether all runes that are not ASCII belong to the class
	min, max int
}

// match takes as many runes for each class as it can, which is right because
// no class shares a rune with the one after it, unless its number is fixed.
func (r classes) match(s []byte) bool {
	for _, c := range r {
		n := 0
		for len(s) > 0 && n < c.max {
			size := 1
			if s[0] >= utf8.RuneSelf {
				if !c.beyond {
					break
				}
				_, size = utf8.DecodeRune(s)
			} else if !c.ascii[s[0]] {
				break
			}
			s = s[size:]
			n++
		}
		if n < c.min {
			return false
		}
	}
	return len(s) == 0
}

// compileRow accepts ^...$ of literals, classes and repetitions of them.
func compileRow(re *syntax.Regexp) (classes, bool) {
	if re.Op != syntax.OpConcat || len(re.Sub) < 3 || re.Sub[0].Op != syntax.OpBeginText || re.Sub[len(re.Sub)-1].Op != syntax.OpEndText {
		return nil, false
	}
	var r classes
	for _, sub := range re.Sub[1 : len(re.Sub)-1] {
		least, most := 1, 1
		if sub.Op == syntax.OpRepeat && sub.Max >= 0 && len(sub.Sub) == 1 {
			least, most, sub = sub.Min, sub.Max, sub.Sub[0]
		}
		var ranges []rune
		switch {
		case sub.Op == syntax.OpCharClass:
			ranges = sub.Rune
		case sub.Op == syntax.OpLiteral && sub.Flags&syntax.FoldCase == 0 && (len(sub.Rune) == 1 || most == 1):
			for _, char := range sub.Rune[:len(sub.Rune)-1] {
				c, ok := newClass([]rune{char, char}, 1, 1)
				if !ok {
					return nil, false
				}
				r = append(r, c)
			}
			last := sub.Rune[len(sub.Rune)-1]
			ranges = []rune{last, last}
		default:
			return nil, false
		}
		c, ok := newClass(ranges, least, most)
		if !ok || len(r) > 0 && r[len(r)-1].overlaps(c) {
			return nil, false
		}
		r = append(r, c)
	}
	return r, true
}

func newClass(ranges []rune, least, most int) (class, bool) {
	c := class{min: least, max: most}
	for i := 0; i < len(ranges); i += 2 {
		lo, hi := ranges[i], ranges[i+1]
		for char := lo; char <= hi && char < utf8.RuneSelf; char++ {
			c.ascii[char] = true
		}
		if hi >= utf8.RuneSelf {
			if lo > utf8.RuneSelf || hi != utf8.MaxRune {
				return class{}, false // some, but not all
			}
			c.beyond = true
		}
	}
	return c, true
}

// overlaps reports whether taking as much as possible for c could take what
// the next class needs.
func (c class) overlaps(next class) bool {
	if c.min == c.max {
		return false
	}
	if c.beyond && next.beyond {
		return true
	}
	for i := range c.ascii {
		if c.ascii[i] && next.ascii[i] {
			return true
		}
	}
	return false
}
