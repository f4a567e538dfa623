package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sameIdentity checks that Identify gives what Parse gives.
func sameIdentity(t *testing.T, payload []byte) {
	t.Helper()
	ev, err := Parse(payload)
	if err != nil {
		return
	}
	source, id, authority, err := Identify(payload)
	if err != nil || string(source) != ev.Source || string(id) != ev.ID || authority != IsAuthority(ev.Type) {
		t.Errorf("%s: Identify finds %q, %q, %v, %v", payload, source, id, authority, err)
	}
}

// TestIdentify: samples of all types, and one event written in odd ways.
func TestIdentify(t *testing.T) {
	files, err := filepath.Glob("testdata/samples/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	for _, f := range files {
		payload, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(payload); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		sameIdentity(t, payload)
	}
	sample, err := os.ReadFile("testdata/samples/command.executed.v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var plain bytes.Buffer
	if err := json.Compact(&plain, sample); err != nil {
		t.Fatal(err)
	}
	for _, odd := range [][2]string{
		{`"source":"`, `"sou\u0072ce":"`},
		{`"source":"`, ` "source" : "`},
		{`"id":"`, `"x":"\"id\":\"","id":"`},
		{`"id":"`, `"x":"\\","id":"`},
		{`"type":"d`, `"type":"\u0064`},
		{`"data":{`, `"data":{"id":"[}","deep":[{"source":["]"]}],`},
		{`"id":"`, `"x":-7,"y":true,"z":null,"id":"`},
	} {
		payload := []byte(strings.Replace(plain.String(), odd[0], odd[1], 1))
		if string(payload) == plain.String() {
			t.Fatalf("the sample has no %s", odd[0])
		}
		if _, err := Parse(payload); err != nil {
			t.Fatalf("%s: %v", odd[1], err)
		}
		sameIdentity(t, payload)
	}
	// With data, which has such members too, before the three.
	var members map[string]json.RawMessage
	if err := json.Unmarshal(sample, &members); err != nil {
		t.Fatal(err)
	}
	members["data"] = bytes.Replace(members["data"], []byte("{"), []byte(`{"id":"x","source":"y","type":"z",`), 1)
	sorted, err := json.Marshal(members)
	if err != nil || !bytes.Contains(sorted, []byte(`,"data":{"id":"x","source":"y","type":"z",`)) {
		t.Fatalf("%.100s, %v", sorted, err)
	}
	if _, err := Parse(sorted); err != nil {
		t.Fatal(err)
	}
	sameIdentity(t, sorted)
	for _, bad := range []string{``, `{`, `{}`, `[]`, `{"id":"a","source":"b"}`, `{"id":"a","id":"b","source":"c","type":"d"}`,
		`{"id":1,"source":"c","type":"d"}`, `{"id":"a","source":"c","type":"d`} {
		if _, _, _, err := Identify([]byte(bad)); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

// TestNamesStandOnce: Parse refuses a second source, id or type however it is written, so Identify need not read on
// behind the first.
func TestNamesStandOnce(t *testing.T) {
	sample, err := os.ReadFile("testdata/samples/command.executed.v1.json")
	if err != nil {
		t.Fatal(err)
	}
	rest := sample[:bytes.LastIndexByte(sample, '}')]
	for _, name := range []string{`id`, `ID`, `\u0069d`, `\u0049D`, `source`, `sourc\u0065`, `type`, `\u0054ype`} {
		if _, err := Parse(fmt.Appendf(nil, `%s,"%s":"urn:x"}`, rest, name)); err == nil || !strings.Contains(err.Error(), "repeated") {
			t.Errorf("a second %s: %v", name, err)
		}
	}
}

// FuzzIdentify: what Parse accepts has the identity that Parse finds.
func FuzzIdentify(f *testing.F) {
	plain, err := os.ReadFile("testdata/samples/command.executed.v1.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Fuzz(sameIdentity)
}

// TestStringEnd: the quote that ends a string is the first that no backslash
// escapes.
func TestStringEnd(t *testing.T) {
	for text, want := range map[string]int{
		`""`: 1, `"\""`: 3, `"\\"`: 3, `"\\\""`: 5, `"a\\",`: 4, `"a\"b"c"`: 5,
		`"`: 1, `"a`: 2, `"\`: 2, `"\"`: 3, `"\\\"`: 5,
	} {
		if got := stringEnd([]byte(text), 0); got != want {
			t.Errorf("stringEnd(%s) = %d, want %d", text, got, want)
		}
	}
}
