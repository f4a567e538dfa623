package strict

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
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

// FuzzCheck: what passes is what encoding/json accepts too, and Elements gives
// back values that pass.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{`{"a":[1,"x",{}]}`, `["\ud83d\ude00"]`, `{"a":1,"A":2}`, "\"\xff\"", `[1] `} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if Check(b) != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("%q passed, and encoding/json calls it invalid", b)
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
