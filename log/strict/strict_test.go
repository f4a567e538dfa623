package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name, in string
		want     error
	}{
		{"object", `{"a":1,"b":[true,null,"x"]}`, nil},
		{"scalar", ` "x" `, nil},
		{"same name in different objects", `{"a":{"a":1},"b":{"a":2}}`, nil},
		{"value equal to a name", `{"a":"a","b":"a"}`, nil},
		{"array of equal strings", `["a","a","A"]`, nil},
		{"surrogate pair", `"😀"`, nil},
		{"depth 32", strings.Repeat("[", 32) + strings.Repeat("]", 32), nil},
		{"depth 33", strings.Repeat("[", 33) + strings.Repeat("]", 33), ErrDepth},
		{"depth 33 of objects", strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33), ErrDepth},
		{"empty", "", ErrSyntax},
		{"white space only", " \n", ErrSyntax},
		{"byte order mark", "\xef\xbb\xbf{}", ErrBOM},
		{"byte order mark inside", "{}\xef\xbb\xbf", ErrSyntax},
		{"truncated", `{"a":1`, ErrSyntax},
		{"two values", `{} {}`, ErrSyntax},
		{"trailing byte", `{}x`, ErrSyntax},
		{"trailing NUL", "{}\x00", ErrSyntax},
		{"trailing comma", `{"a":1,}`, ErrSyntax},
		{"comment", `{/**/}`, ErrSyntax},
		{"single quotes", `{'a':1}`, ErrSyntax},
		{"NaN", `[NaN]`, ErrSyntax},
		{"leading zero", `[01]`, ErrSyntax},
		{"control character in string", "\"a\x01\"", ErrSyntax},
		{"invalid UTF-8", "\"\xff\"", ErrSyntax},
		{"overlong UTF-8", "\"\xc0\xaf\"", ErrSyntax},
		{"encoded surrogate", "\"\xed\xa0\x80\"", ErrSyntax},
		{"lone high surrogate", `"\ud83d"`, ErrSyntax},
		{"lone low surrogate", `"\ude00x"`, ErrSyntax},
		{"lone surrogate in a name", `{"\ud83d":1}`, ErrSyntax},
		{"repeated name", `{"a":1,"a":2}`, ErrDuplicateName},
		{"repeated name, escaped", `{"a":1,"\u0061":2}`, ErrDuplicateName},
		{"differs in case", `{"id":1,"ID":2}`, ErrDuplicateName},
		{"differs in case, deep", `{"x":[{"id":1,"iD":2}]}`, ErrDuplicateName},
		{"differs by a Kelvin sign", `{"k":1,"\u212a":2}`, ErrDuplicateName},
		{"differs by a long s", `{"source":1,"\u017fource":2}`, ErrDuplicateName},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := Check([]byte(test.in)); !errors.Is(err, test.want) {
				t.Errorf("Check(%q) = %v, want %v", test.in, err, test.want)
			}
		})
	}
}

func TestElementsKeepsTheBytes(t *testing.T) {
	got, err := Elements([]byte(" [ {\"a\" : 1.0e0} ,\n\"x\\u0041\", [ ] ] "))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`{"a" : 1.0e0}`, `"x\u0041"`, `[ ]`}
	if len(got) != len(want) {
		t.Fatalf("got %d elements, want %d", len(got), len(want))
	}
	for i := range want {
		if string(got[i]) != want[i] {
			t.Errorf("element %d = %q, want %q", i, got[i], want[i])
		}
	}
	if _, err := Elements([]byte(`{"a":[]}`)); !errors.Is(err, ErrNotArray) {
		t.Errorf("Elements of an object: %v", err)
	}
	if _, err := Elements([]byte(`[1,2`)); !errors.Is(err, ErrSyntax) {
		t.Errorf("Elements of a broken array: %v", err)
	}
	if got, err := Elements([]byte(`[]`)); err != nil || len(got) != 0 {
		t.Errorf("Elements of an empty array: %v, %v", got, err)
	}
}

// TestManyNames: an object may have more members than are compared each with
// each, at every level, and a name that returns is found among them.
func TestManyNames(t *testing.T) {
	object := func(n int, inner string) string {
		var b strings.Builder
		b.WriteByte('{')
		for i := range n {
			fmt.Fprintf(&b, `"name%d":%s,`, i, inner)
		}
		return b.String() + `"x":1}`
	}
	for n := range 2 * fewNames {
		good := object(n, "1")
		if err := Check([]byte(object(3, good))); err != nil {
			t.Errorf("%d names: %v", n, err)
		}
		for _, again := range []string{`{"X":1,`, `{"\u0058":0,`} {
			if err := Check([]byte(again + good[1:])); !errors.Is(err, ErrDuplicateName) {
				t.Errorf("x in %d names: %v", n, err)
			}
		}
	}
}

func TestMembers(t *testing.T) {
	text := []byte(` { "a" : [ {"}":"]\""} , 2 ] ,"b":-1.5e3, "\u0063\"" :null } `)
	var got []string
	for name, value := range Members(text) {
		got = append(got, string(name), string(value))
	}
	want := []string{`"a"`, `[ {"}":"]\""} , 2 ]`, `"b"`, `-1.5e3`, `"\u0063\""`, `null`}
	if !slices.Equal(got, want) {
		t.Errorf("members %q, want %q", got, want)
	}
	for range Members([]byte(`{ }`)) {
		t.Error("an empty object has a member")
	}
	for range Items([]byte(` [ ] `)) {
		t.Error("an empty array has an element")
	}
	for range Members(text) {
		break
	}
}

// TestCheckDoesNotAllocate where texts are as most are.
func TestCheckDoesNotAllocate(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector has pools drop things")
	}
	text := []byte(`{"a":{"b":["c",1.5,null,{"d":"\u00e9"}]},"e":"é","f":[]}`)
	if n := testing.AllocsPerRun(100, func() {
		if err := Check(text); err != nil {
			t.Fatal(err)
		}
	}); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}

// slowCheck is Check as it reads in words: a library takes the text apart, and a
// map for each open object holds its names.
func slowCheck(b []byte) error {
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		return ErrBOM
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(b))
	var open []map[string]bool
	for {
		token, err := d.ReadToken()
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return ErrDuplicateName
		}
		if err != nil {
			return ErrSyntax
		}
		switch token.Kind() {
		case jsontext.KindBeginObject, jsontext.KindBeginArray:
			if len(open) == MaxDepth {
				return ErrDepth
			}
			open = append(open, map[string]bool{})
		case jsontext.KindEndObject, jsontext.KindEndArray:
			open = open[:len(open)-1]
		case jsontext.KindString:
			// In an object, strings in odd places are member names.
			if kind, count := d.StackIndex(d.StackDepth()); kind == jsontext.KindBeginObject && count%2 == 1 {
				name := slowFold(token.String())
				if open[len(open)-1][name] {
					return ErrDuplicateName
				}
				open[len(open)-1][name] = true
			}
		}
		if len(open) == 0 {
			break
		}
	}
	if len(bytes.TrimLeft(b[d.InputOffset():], " \t\r\n")) > 0 {
		return ErrSyntax
	}
	return nil
}

func slowFold(s string) string {
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

// TestFold holds that names of one ASCII rune fold as all others do.
func TestFold(t *testing.T) {
	for r := rune(1); r <= unicode.MaxRune; r++ {
		if r == unicode.SimpleFold(r) || !utf8.ValidRune(r) {
			continue
		}
		text := fmt.Appendf(nil, `{"%c":1,"%c":2}`, r, unicode.SimpleFold(r))
		if err := Check(text); !errors.Is(err, ErrDuplicateName) {
			t.Errorf("Check(%s) = %v", text, err)
		}
	}
}

// FuzzCheck: the answer is that of the slow way, what passes is what
// encoding/json accepts too, and Elements gives back values that pass.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,"x",{}]}`, `["\ud83d\ude00"]`, `{"a":1,"A":2}`, "\"\xff\"", `[1] `,
		`{"k":1,"\u212a":2}`, "{\"s\":1,\"\u017f\":2}", `[-0.5e+10,true,false,null]`, `{"a":{"b":{}},"b":[]}`,
		strings.Repeat(`[{"a":`, 17), "[\"\xed\xa0\x80\"]", `["\ud83d\u0041"]`, `[1,]`, `{"a" 1}`, "\xef\xbb\xbf1",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err, want := Check(b), slowCheck(b)
		if !errors.Is(err, want) {
			t.Fatalf("Check(%q) = %v, the slow way %v", b, err, want)
		}
		if err != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("%q passed, and encoding/json calls it invalid", b)
		}
		if trimmed := bytes.TrimSpace(b); trimmed[0] == '{' {
			var members map[string]json.RawMessage
			if err := json.Unmarshal(b, &members); err != nil {
				t.Fatal(err)
			}
			for name, value := range Members(b) {
				var n string
				if err := json.Unmarshal(name, &n); err != nil || !bytes.Equal(members[n], value) {
					t.Fatalf("member %s of %q is %s, %v", name, b, value, err)
				}
				delete(members, n)
			}
			if len(members) > 0 {
				t.Fatalf("Members missed %v of %q", members, b)
			}
		}
		elements, err := Elements(b)
		if errors.Is(err, ErrNotArray) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, element := range elements {
			if err := Check(element); err != nil {
				t.Fatalf("element %q of %q: %v", element, b, err)
			}
		}
	})
}

// TestPlainEnd: eight bytes at once give what one at a time gives.
func TestPlainEnd(t *testing.T) {
	for c := range 256 {
		for length := range 26 {
			for at := range length {
				for _, others := range []byte{' ', 'a', 0x7f} {
					text := bytes.Repeat([]byte{others}, length)
					text[at] = byte(c)
					want := length
					if class[c]&plain == 0 {
						want = at
					}
					if got := PlainEnd(text, 0); got != want {
						t.Fatalf("PlainEnd(%q) = %d, want %d", text, got, want)
					}
				}
			}
		}
	}
}

// TestStringsEnd: a quote ends a string unless it is escaped, and a backslash
// before it may be escaped itself.
func TestStringsEnd(t *testing.T) {
	want := []string{`""`, `"\""`, `"\\"`, `"\\\""`, `"\\\\"`, `"a\"b\"c"`, `"\\a\"\\"`}
	var got []string
	for element := range Items([]byte("[" + strings.Join(want, ",") + "]")) {
		got = append(got, string(element))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the elements are %q, want %q", got, want)
	}
}
