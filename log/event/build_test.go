package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func pausedAttributes() Attributes {
	return Attributes{
		ID: "0197b2c4-7c00-7000-8000-000000000001", Source: "urn:example:s", Type: Prefix + "session.paused.v1",
		Subject: "session/s-1", Time: day,
	}
}

func TestBuild(t *testing.T) {
	a := pausedAttributes()
	a.Time = time.Date(2026, 6, 1, 14, 0, 0, 120e6, time.FixedZone("", 7200))
	a.Sequence, a.PrevHash = 2, hash64
	a.Extensions = map[string]string{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "correlationid": "<&>"}
	payload, err := Build(a, map[string]any{"reason": "a < b & c\u2028", "n": 1})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"specversion":"1.0","id":"0197b2c4-7c00-7000-8000-000000000001","source":"urn:example:s",` +
		`"type":"dev.escortlog.session.paused.v1","subject":"session/s-1","time":"2026-06-01T12:00:00.12Z",` +
		`"recordedtime":"2026-06-01T12:00:00.12Z","datacontenttype":"application/json",` +
		`"dataschema":"https://github.com/escortlog/escortlog/schema/dev.escortlog.session.paused.v1.json",` +
		`"sequence":"00000000000000000002","prevhash":"` + hash64 + `","correlationid":"<&>",` +
		`"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","data":{"n":1,"reason":"a < b & c\u2028"}}`
	if string(payload) != want {
		t.Errorf("Build = %s\nwant    %s", payload, want)
	}
	a.RecordedTime, a.DataSchema = day.AddDate(0, 0, 1), "https://example.com/schema"
	payload, err = Build(a, json.RawMessage(" {\n}"))
	if err != nil || !bytes.Contains(payload, []byte(`"recordedtime":"2026-06-02T00:00:00Z"`)) ||
		!bytes.Contains(payload, []byte(`"dataschema":"https://example.com/schema"`)) || !bytes.HasSuffix(payload, []byte(`"data":{}}`)) {
		t.Errorf("Build = %s, %v", payload, err)
	}
	sum := sha256.Sum256(payload)
	if PrevHash(payload) != hex.EncodeToString(sum[:]) {
		t.Error("PrevHash is not the hex SHA-256 of the payload")
	}
}

func TestBuildRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Attributes)
		data   any
	}{
		"no data":             {func(*Attributes) {}, nil},
		"data not an object":  {func(*Attributes) {}, []int{1}},
		"data not JSON":       {func(*Attributes) {}, json.RawMessage("{")},
		"data not marshalled": {func(*Attributes) {}, func() {}},
		"a repeated name":     {func(*Attributes) {}, json.RawMessage(`{"a":1,"a":2}`)},
		"too much data":       {func(*Attributes) {}, map[string]string{"x": strings.Repeat("x", 48<<10)}},
		"no id":               {func(a *Attributes) { a.ID = "" }, struct{}{}},
		"no time":             {func(a *Attributes) { a.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, struct{}{}},
		"negative sequence":   {func(a *Attributes) { a.Sequence = -1 }, struct{}{}},
		"chain from nothing":  {func(a *Attributes) { a.PrevHash = hash64 }, struct{}{}},
		"extension twice":     {func(a *Attributes) { a.Extensions = map[string]string{"subject": "x"} }, struct{}{}},
		"extension data":      {func(a *Attributes) { a.Extensions = map[string]string{"data": "x"} }, struct{}{}},
		"extension in caps":   {func(a *Attributes) { a.Extensions = map[string]string{"Data": "x"} }, struct{}{}},
		"extension not UTF-8": {func(a *Attributes) { a.Extensions = map[string]string{"x": "\xff"} }, struct{}{}},
	} {
		a := pausedAttributes()
		c.change(&a)
		if payload, err := Build(a, c.data); err == nil {
			t.Errorf("%s: Build = %s", name, payload)
		}
	}
}

func binaryMode() map[string]string {
	return map[string]string{
		"type": "dev.escortlog.session.paused.v1", "specversion": "1.0", "id": "0197b2c4-7c00-7000-8000-000000000001",
		"source": "urn:example:s", "subject": "session/\"s\"\\1/ä<", "time": "2026-06-01T12:00:00Z", "recordedtime": "2026-06-01T12:00:00Z",
		"dataschema": "https://example.com/schema", "datacontenttype": "application/json", "count": "-7",
	}
}

func TestCanonical(t *testing.T) {
	payload, err := Canonical(binaryMode(), []byte("\r\n {\"b\": 1,\n\"a\":[2.50]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"count":"-7","datacontenttype":"application/json","dataschema":"https://example.com/schema",` +
		`"id":"0197b2c4-7c00-7000-8000-000000000001","recordedtime":"2026-06-01T12:00:00Z","source":"urn:example:s",` +
		`"specversion":"1.0","subject":"session/\"s\"\\1/ä<","time":"2026-06-01T12:00:00Z","type":"dev.escortlog.session.paused.v1",` +
		"\"data\":{\"b\": 1,\n\"a\":[2.50]}}"
	if string(payload) != want {
		t.Errorf("Canonical = %s\nwant        %s", payload, want)
	}
	if ev := mustParse(t, payload); ev.Subject != "session/\"s\"\\1/ä<" {
		t.Errorf("subject = %q", ev.Subject)
	}
}

func TestCanonicalRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		name, value, data, pointer string
	}{
		"no body":                {"", "", "", "/data"},
		"body an array":          {"", "", "[]", "/data"},
		"body two values":        {"", "", "{}{}", ""},
		"body smuggles a member": {"", "", `{},"x":1`, "/data"},
		"body smuggles data":     {"", "", `{},"data":{}`, ""},
		"body ends the object":   {"", "", `{}}`, ""},
		"body cut":               {"", "", `{`, ""},
		"attribute named data":   {"data", "{}", "{}", "/data"},
		"attribute data_base64":  {"data_base64", "e30=", "{}", "/data_base64"},
		"attribute in caps":      {"Count", "1", "{}", ""},
		"attribute with a dash":  {"a-b", "1", "{}", "/a-b"},
		"control character":      {"count", "\x00", "{}", "/count"},
		"not UTF-8":              {"count", "\xff", "{}", ""},
		"bad id":                 {"id", "x", "{}", "/id"},
	} {
		attrs := binaryMode()
		if c.name != "" {
			attrs[c.name] = c.value
		}
		_, err := Canonical(attrs, []byte(c.data))
		wantError(t, name, err, Malformed, SlugMalformed, c.pointer)
	}
	attrs := binaryMode()
	delete(attrs, "type")
	_, err := Canonical(attrs, []byte("{}"))
	wantError(t, "no type", err, Malformed, SlugMalformed, "/type")
}

func TestUUIDv7(t *testing.T) {
	for ms, want := range map[int64]string{
		0:             "00000000-0000-7fff-bfff-ffffffffffff",
		0x0197b2c47c0: "00197b2c-47c0-7fff-bfff-ffffffffffff",
		1<<48 - 1:     "ffffffff-ffff-7fff-bfff-ffffffffffff",
	} {
		if got := NewUUIDv7(ms, [10]byte(bytes.Repeat([]byte{0xff}, 10))); got != want || !isUUIDv7(got) {
			t.Errorf("NewUUIDv7(%d) = %s, want %s", ms, got, want)
		}
	}
}

func TestCommitment(t *testing.T) {
	salt, content := bytes.Repeat([]byte{7}, 16), []byte("rm -rf /tmp/x")
	c, err := Commit(salt, content)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("escortlog commitment v1\n\x00\x00\x00\x00\x00\x00\x00\x10" + string(salt) + string(content)))
	if c.Digest != "sha256:"+hex.EncodeToString(sum[:]) || c.Size != int64(len(content)) {
		t.Errorf("Commit = %+v", c)
	}
	if !c.Opens(salt, content) {
		t.Error("a commitment does not open")
	}
	longer := append(bytes.Clone(salt), content[0])
	for name, opens := range map[string]bool{
		"another salt":            c.Opens(bytes.Repeat([]byte{8}, 16), content),
		"another content":         c.Opens(salt, []byte("rm -rf /tmp/y")),
		"border moved":            c.Opens(longer, content[1:]),
		"short salt":              c.Opens(salt[:15], content),
		"another size":            Commitment{c.Digest, c.Size + 1}.Opens(salt, content),
		"the digest of the bytes": Commitment{"sha256:" + hex.EncodeToString(sum[:1]), c.Size}.Opens(salt, content),
	} {
		if opens {
			t.Errorf("%s opens the commitment", name)
		}
	}
	if _, err := Commit(salt[:15], content); err == nil {
		t.Error("a salt of 15 bytes is accepted")
	}
	b, err := json.Marshal(c)
	if err != nil || !bytes.HasPrefix(b, []byte(`{"$commit":"sha256:`)) {
		t.Errorf("JSON = %s, %v", b, err)
	}
}

func TestErrorText(t *testing.T) {
	for want, e := range map[string]*Error{
		"key-revoked: since noon":                    {Forbidden, SlugKeyRevoked, "since noon", ""},
		"schema-violation: at /data/x: not a number": {Invalid, SlugSchema, "not a number", "/data/x"},
	} {
		if e.Error() != want {
			t.Errorf("Error() = %q, want %q", e.Error(), want)
		}
		var got *Error
		if !errors.As(error(e), &got) {
			t.Error("errors.As does not find it")
		}
	}
}
