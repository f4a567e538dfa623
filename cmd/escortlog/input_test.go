package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// items reads a text as one input and describes what came out of it.
func items(t *testing.T, text string) string {
	t.Helper()
	var got []string
	err := readInputs(t.Context(), strings.NewReader(text), []string{"-"}, func(it item) error {
		if it.err != nil {
			got = append(got, fmt.Sprintf("%d error", it.line))
		} else {
			got = append(got, fmt.Sprintf("%d %s", it.line, it.raw))
		}
		return nil
	})
	if err != nil {
		got = append(got, "failed "+err.Error())
	}
	return strings.Join(got, "|")
}

func TestInputs(t *testing.T) {
	long := `{"a":"` + strings.Repeat("x", maxItem) + `"}`
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"white space", " \n\t\n", ""},
		{"a line", `{"a":1}`, `1 {"a":1}`},
		{"lines", "{\"a\":1}\n{\"b\":2}\n", `1 {"a":1}|2 {"b":2}`},
		{"CRLF, blank lines, spaces", "\r\n {\"a\": 1} \r\n\r\n\t{\"b\":2}", `2 {"a": 1}|4 {"b":2}`},
		{"a broken line", "{\"a\":1}\n{\"b\n{\"c\":3}\n", `1 {"a":1}|2 {"b|3 {"c":3}`},
		{"a broken first line", "{\"a\n{\"c\":3}\n", `1 {"a|2 {"c":3}`},
		{"one value on several lines", "\n{\n  \"a\": [1,\n 2]\n}\n", "2 {\n  \"a\": [1,\n 2]\n}"},
		{"a line too long", "{\"a\":1}\n" + long + "\n{\"b\":2}", `1 {"a":1}|2 error|3 {"b":2}`},
		{"a first line too long", long + "\n{\"b\":2}", `1 error|2 {"b":2}`},
		{"a last line too long", "{\"a\":1}\n" + long, `1 {"a":1}|2 error`},
		{"an array", `[ {"a" : 1.50} , {"b":2}]`, `1 {"a" : 1.50}|2 {"b":2}`},
		{"an empty array", " []\n", ""},
		{"an array of what is no event", `[1,"x",{"a":1,"a":2}]`, `1 1|2 "x"|3 {"a":1,"a":2}`},
		{"a large element", `[{"a":1},` + long + `,{"b":2}]`, `1 {"a":1}|2 error|3 {"b":2}`},
	} {
		if got := items(t, c.text); got != c.want {
			t.Errorf("%s: got %.300q, want %.300q", c.name, got, c.want)
		}
	}
	for name, text := range map[string]string{
		"truncated array":        `[{"a":1},{"b"`,
		"no comma":               `[{"a":1}{"b":2}]`,
		"something behind":       `[{"a":1}] {"b":2}`,
		"an element without end": `[{"a":1},"` + strings.Repeat("x", 4*maxItem),
	} {
		got := items(t, text)
		if !strings.HasPrefix(got, `1 {"a":1}|failed `) {
			t.Errorf("%s: got %.300q", name, got)
		}
	}
}

// TestSlowInput: a line is out before the next has come in.
func TestSlowInput(t *testing.T) {
	r, w := io.Pipe()
	seen := make(chan string)
	go func() {
		for i := range 3 {
			fmt.Fprintf(w, "{\"n\":%d}\n", i)
			if got, want := <-seen, fmt.Sprintf(`{"n":%d}`, i); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		w.Close()
	}()
	err := readInputs(t.Context(), r, []string{"-"}, func(it item) error {
		seen <- string(it.raw)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestInputsEnd(t *testing.T) {
	name := filepath.Join(t.TempDir(), "events.jsonl")
	if err := os.WriteFile(name, []byte("{}\n{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := readInputs(ctx, nil, []string{name, name}, func(it item) error {
		n++
		cancel()
		return nil
	})
	if n != 1 || err == nil {
		t.Errorf("%d items after the end, %v", n, err)
	}
	if err := readInputs(t.Context(), nil, []string{name, name + "x"}, func(item) error { return nil }); codeOf(err) != exitUsage {
		t.Errorf("a missing file: %v", err)
	}
}

func TestWhatIsAnEnvelope(t *testing.T) {
	for text, want := range map[string]bool{
		`{"payloadType":"x","payload":"","signatures":[]}`: true,
		`{"specversion":"1.0","payload":1}`:                false,
		`{"specversion":"1.0","data":{"payload":1}}`:       false,
		`{"payload":1`:    true, // as far as it can be read
		`[{"payload":1}]`: false,
		`"payload"`:       false,
		``:                false,
	} {
		if got := isEnvelope([]byte(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
