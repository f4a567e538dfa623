package event

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestQuickAcceptsSamples: the quick way knows every schema but those with a
// format of their own, and takes every sample, so that nothing valid is slow.
func TestQuickAcceptsSamples(t *testing.T) {
	for short, payload := range samples(t) {
		ev := mustParse(t, payload)
		q := quickSchema(ev.Type)
		if short == "record.corrected.v1" || short == "record.redacted.v1" {
			if q != nil {
				t.Errorf("%s: json-pointer is known now", short)
			}
			continue
		}
		if q == nil {
			t.Errorf("%s: no quick schema", short)
			continue
		}
		tape := newTape(ev.Data)
		if v := q.check(tape, 0); v != yes {
			t.Errorf("%s: verdict %d", short, v)
		}
		tape.free()
	}
	if quickSchema("com.example.unheard_of") != nil {
		t.Error("there is a schema of an unknown type")
	}
}

// agree holds quick against the library.
func agree(t testing.TB, name string, q *quick, full *jsonschema.Schema, data []byte) {
	t.Helper()
	tape := newTape(data)
	if tape == nil {
		t.Fatalf("%s: %s does not become a tape", name, data)
	}
	defer tape.free()
	verdict := q.check(tape, 0)
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	err = full.Validate(doc)
	if verdict == yes && err != nil || verdict == no && err == nil {
		t.Errorf("%s: quick says %d of %s, the library %v", name, verdict, data, err)
	}
}

// TestQuickAgrees tries every sample with one value anywhere in it replaced by
// a few of many, removed or added. FuzzQuick goes further.
func TestQuickAgrees(t *testing.T) {
	schemas, err := full()
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	values := []any{nil, true, false, "", "x", "x y", "ä", "2026-06-01T12:00:00Z", "2026-06-01T12:00:00+00:00", "urn:example:s",
		"sha256:" + hash64, hash64, "US", "IL4", "none", "00000000000000000007", strings.Repeat("x", 256), strings.Repeat("ö", 128), strings.Repeat("x", 5000),
		json.Number("0"), json.Number("-1"), json.Number("1"), json.Number("1.0"), json.Number("1e2"), json.Number("1.5"), json.Number("9007199254740991"),
		json.Number("9007199254740992"), json.Number("123456789012345678901"), []any{}, []any{"a", "a"}, []any{"a", "b"}, []any{1}, map[string]any{}, map[string]any{"x": 1}, "\"\\\u2028<"}
	for short, payload := range samples(t) {
		typ := Prefix + short
		q := quickSchema(typ)
		if q == nil {
			continue
		}
		try := func(data any) {
			b, err := json.Marshal(data)
			if err != nil {
				t.Fatal(err)
			}
			agree(t, short, q, schemas[typ], b)
		}
		data := dataOf(t, payload)
		spots(data, func(get func() any, set func(any)) {
			old := get()
			for range 4 {
				set(values[random.IntN(len(values))])
				try(data)
			}
			set(old)
		}, func(object map[string]any, name string) {
			old := object[name]
			delete(object, name)
			try(data)
			object[name] = old
		})
		for _, v := range values {
			try(v)
		}
	}
}

// spots visits every value inside v, and every member that could be missing.
func spots(v any, value func(get func() any, set func(any)), member func(object map[string]any, name string)) {
	switch v := v.(type) {
	case map[string]any:
		for name, sub := range v {
			value(func() any { return v[name] }, func(x any) { v[name] = x })
			member(v, name)
			spots(sub, value, member)
		}
		v["undefined_member"] = 1
		value(func() any { return 1 }, func(x any) { v["undefined_member"] = x })
		delete(v, "undefined_member")
	case []any:
		for i, sub := range v {
			value(func() any { return v[i] }, func(x any) { v[i] = x })
			spots(sub, value, member)
		}
	}
}

// TestQuickKeywords holds quick against the library keyword by keyword, on
// schemas that our types may use one day.
func TestQuickKeywords(t *testing.T) {
	values := []string{`null`, `true`, `false`, `0`, `-0`, `1`, `2`, `3.0`, `1e0`, `1.5`, `25e-1`, `10`, `1000000000000000000000`, `""`, `"a"`, `"\u0061"`, `"ab"`, `"äö"`, `"\ud83d\ude00"`,
		`[]`, `["a"]`, `["a","a"]`, `["a","\u0061"]`, `["a","b","c"]`, `[1,1.0]`, `[[],[]]`, `{}`, `{"a":1}`, `{"\u0061":1}`, `{"a":"x","b":2}`, `{"b":null}`, `{"a":1,"b":1,"c":1}`}
	for _, schema := range []string{
		`true`, `false`, `{}`,
		`{"type":"null"}`, `{"type":"boolean"}`, `{"type":"integer"}`, `{"type":"number"}`, `{"type":"string"}`, `{"type":"array"}`, `{"type":"object"}`,
		`{"const":true}`, `{"const":null}`, `{"const":1}`, `{"const":"a"}`, `{"enum":["a",null]}`, `{"enum":[]}`,
		`{"minimum":1}`, `{"maximum":1}`, `{"type":"integer","minimum":-1,"maximum":2}`,
		`{"minLength":1}`, `{"maxLength":1}`, `{"minLength":2,"maxLength":2}`, `{"pattern":"^a{1,2}$"}`, `{"pattern":"a"}`, `{"pattern":"^[^a]{0,3}$"}`,
		`{"minItems":1}`, `{"maxItems":1}`, `{"uniqueItems":true}`, `{"items":{"type":"string"}}`, `{"items":false}`,
		`{"required":["a"]}`, `{"minProperties":1}`, `{"maxProperties":1}`, `{"dependentRequired":{"a":["b"]}}`,
		`{"properties":{"a":{"type":"integer"}}}`, `{"properties":{"a":true},"additionalProperties":false}`, `{"properties":{"a":false}}`,
		`{"patternProperties":{"^[ab]$":{"type":"integer"}}}`, `{"patternProperties":{"^a$":{"type":"integer"}},"additionalProperties":false}`,
		`{"anyOf":[{"type":"string"},{"type":"null"}]}`, `{"allOf":[{"type":"string"},{"minLength":1}]}`,
		`{"oneOf":[{"required":["a"]},{"required":["b"]}]}`, `{"oneOf":[{"type":"integer"},{"minimum":2}]}`,
		`{"if":{"type":"string"},"then":{"minLength":2}}`, `{"if":{"type":"string"},"then":{"minLength":2},"else":{"type":"null"}}`, `{"if":{"type":"integer"},"else":{"type":"null"}}`,
		`{"format":"date-time"}`, `{"format":"uri"}`,
	} {
		q, err := newQuickCompiler().compile([]byte(schema))
		if err != nil {
			t.Errorf("%s: %v", schema, err)
			continue
		}
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		if err := addSchema(c, "https://example.com/s", []byte(schema)); err != nil {
			t.Fatal(err)
		}
		full, err := c.Compile("https://example.com/s")
		if err != nil {
			t.Fatal(err)
		}
		sure := 0
		for _, v := range values {
			agree(t, schema, q, full, []byte(v))
			tape := newTape([]byte(v))
			if q.check(tape, 0) != unsure {
				sure++
			}
			tape.free()
		}
		if sure < len(values)/2 {
			t.Errorf("%s: quick is sure of only %d of %d values", schema, sure, len(values))
		}
	}
	for _, schema := range []string{
		`{"multipleOf":2}`, `{"not":{}}`, `{"contains":{}}`, `{"propertyNames":{}}`, `{"unevaluatedProperties":false}`, `{"format":"email"}`, `{"$ref":"#/x"}`,
		`{"additionalProperties":{}}`, `{"type":["string","null"]}`, `{"enum":[1]}`, `{"items":{"not":{}}}`, `{"anyOf":[{"not":{}}]}`, `{"properties":{"a":{"not":{}}}}`,
		`{"patternProperties":{"a":true,"b":true}}`, `{"pattern":"("}`, `{"minimum":1.5}`, `[]`, `{"if":{"not":{}}}`, `{"type":"any"}`, `{"required":1}`,
	} {
		if q, err := newQuickCompiler().compile([]byte(schema)); err == nil {
			t.Errorf("%s compiles to %+v, which does not hold it", schema, q)
		}
	}
}

// TestPatterns holds our matchers against regexp, on texts made of the
// characters where patterns end.
func TestPatterns(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"a", "f", "g", "z", "0", "9", "A", "Z", "!", "~", " ", "\x00", "\x1f", "\x7f", "\u0080", "ä", "\u2028", "😀", "\xff", ":", "=", "+", "/", "-", "."}
	patterns := []string{`^[!-~]{1,8}$`, `^[^\x00-\x1f\x7f]{1,4}$`, `^sha256:[0-9a-f]{4}$`, `^0[0-9]{3}$`, `^[A-Z]{2}$`, `^[a-z0-9+/]{2,4}={0,2}$`,
		`^a{0,2}b$`, `^[ab]{0,2}b$`, `^[a-z]{1,3}[0-9]{1,3}$`, `^[^a]{0,3}$`, `^ä$`, `^[ä-ü]{1,2}$`, `^(?i)a$`, `a`, `^a*$`, `^(ab){1,2}$`, `^$`, `^[a-z_]+\.[a-z_]+$`}
	for _, s := range patternsIn(t) {
		if !slices.Contains(patterns, s) {
			patterns = append(patterns, s)
		}
	}
	for _, p := range patterns {
		quoted, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		match, err := compilePattern(quoted)
		if err != nil {
			t.Fatal(err)
		}
		re := regexp.MustCompile(p)
		for range 2000 {
			var s strings.Builder
			if random.IntN(3) == 0 && strings.HasPrefix(p, "^s") { // or the rest would never be reached
				s.WriteString("sha256:")
			}
			for range random.IntN(10) {
				s.WriteString(alphabet[random.IntN(len(alphabet))])
			}
			if got, want := match([]byte(s.String())), re.MatchString(s.String()); got != want {
				t.Errorf("%s on %q: %v, want %v", p, s.String(), got, want)
			}
		}
	}
}

// patternsIn lists the patterns of our schemas.
func patternsIn(t testing.TB) (patterns []string) {
	t.Helper()
	var visit func(v any)
	visit = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if p, ok := v["pattern"].(string); ok {
				patterns = append(patterns, p)
			}
			for _, sub := range v {
				visit(sub)
			}
		case []any:
			for _, sub := range v {
				visit(sub)
			}
		}
	}
	_, b := CommonSchema()
	var doc any
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	visit(doc)
	if len(patterns) < 10 {
		t.Fatalf("found only %d patterns", len(patterns))
	}
	return patterns
}

// TestTape: a text that is not the JSON it should be is no tape, and never a
// panic.
func TestTape(t *testing.T) {
	for _, text := range []string{``, ` `, `{`, `}`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{,}`, `{1:2}`, `[`, `[1`, `[1,`, `[1,]`, `[,]`, `]`, `"`, `"a`, `"\`, `"\"`,
		`t`, `tru`, `fals`, `nul`, `nulL`, `{} {}`, `1 2`, `{"a" 1}`, `{"a"x1}`, `{"a":1 "b":2}`, `[1 2]`, `[1 x2]`, strings.Repeat("[", 70) + strings.Repeat("]", 70), `x`, "\x00"} {
		if tape := newTape([]byte(text)); tape != nil {
			t.Errorf("%q becomes a tape: %+v", text, tape.tokens)
		}
	}
	text := []byte(" { \"a\" : [ 1 , -2.5e3 , \"x\\\"\\u00e4\" ] , \"b\" : { } , \"c\":[],\"d\":true,\"e\":false,\"f\":null } \n")
	tape := newTape(text)
	if tape == nil {
		t.Fatal("no tape")
	}
	var got []string
	for _, tok := range tape.tokens {
		got = append(got, fmt.Sprintf("%c %s %d", tok.kind, text[tok.start:tok.end], tok.next))
	}
	want := []string{
		`{ ` + strings.TrimSpace(string(text)) + ` 16`, `" "a" 2`, `[ [ 1 , -2.5e3 , "x\"\u00e4" ] 6`, `0 1 4`, `0 -2.5e3 5`, `" "x\"\u00e4" 6`, `" "b" 7`, `{ { } 8`,
		`" "c" 9`, `[ [] 10`, `" "d" 11`, `t true 12`, `" "e" 13`, `f false 14`, `" "f" 15`, `n null 16`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("tape:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if s := tape.str(5); string(s) != `x"ä` {
		t.Errorf("str = %q", s)
	}
	if tape.member(0, "d") != 11 || tape.member(0, "z") != -1 || tape.member(11, "d") != -1 || tape.member(2, "x") != -1 || tape.stringAt("b.x") != "" || tape.stringAt("d") != "" {
		t.Error("member or stringAt is wrong")
	}
}

// FuzzQuick: quick and the library never contradict each other.
func FuzzQuick(f *testing.F) {
	schemas, err := full()
	if err != nil {
		f.Fatal(err)
	}
	names := make([]string, 0, len(table))
	for _, typ := range Types() {
		if quickSchema(typ.Name) != nil {
			f.Add(len(names), []byte(mustParse(f, samples(f)[strings.TrimPrefix(typ.Name, Prefix)]).Data))
			names = append(names, typ.Name)
		}
	}
	f.Fuzz(func(t *testing.T, i int, data []byte) {
		payload, err := Canonical(binaryMode(), data)
		if err != nil {
			return
		}
		name := names[uint(i)%uint(len(names))]
		agree(t, name, quickSchema(name), schemas[name], mustParse(t, payload).Data)
	})
}
