package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/strict"
)

// good is the smallest payload with every attribute that Parse looks at.
const good = `{"specversion":"1.0","id":"0197b2c4-7c00-7000-8000-000000000001","source":"urn:example:s",` +
	`"type":"dev.escortlog.session.paused.v1","subject":"session/s-1","time":"2026-06-01T12:00:00Z",` +
	`"recordedtime":"2026-06-01T12:00:00.25Z","datacontenttype":"application/json",` +
	`"dataschema":"https://github.com/escortlog/escortlog/schema/dev.escortlog.session.paused.v1.json",` +
	`"sequence":"00000000000000000002","prevhash":"` + hash64 + `","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",` +
	`"correlationid":"c","flag":true,"count":-7,"data":{"session_id":"s-1","reason":"coffee","paused_by":null}}`

const hash64 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// with returns good with old replaced by new, which must be there once.
func with(t testing.TB, old, new string) []byte {
	t.Helper()
	if strings.Count(good, old) != 1 {
		t.Fatalf("%q stands %d times in the sample", old, strings.Count(good, old))
	}
	return []byte(strings.Replace(good, old, new, 1))
}

// attr returns good with the JSON value of one attribute replaced, or the whole
// member removed where value is empty.
func attr(t testing.TB, name, value string) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteByte('{')
	found := false
	sample := newTape([]byte(good))
	defer sample.free()
	for m := 1; m < len(sample.tokens); m = sample.tokens[m+1].next {
		v := string(sample.raw(m + 1))
		if string(sample.str(m)) == name {
			found, v = true, value
		}
		if v == "" {
			continue
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.WriteString(string(sample.raw(m)) + ":" + v)
	}
	if !found {
		t.Fatalf("the sample has no %s", name)
	}
	b.WriteByte('}')
	return b.Bytes()
}

func TestParse(t *testing.T) {
	ev, err := Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	want := Event{
		SpecVersion: "1.0", ID: "0197b2c4-7c00-7000-8000-000000000001", Source: "urn:example:s",
		Type: "dev.escortlog.session.paused.v1", Subject: "session/s-1", DataContentType: "application/json",
		DataSchema: SchemaID("dev.escortlog.session.paused.v1"),
		Time:       time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), RecordedTime: time.Date(2026, 6, 1, 12, 0, 0, 250e6, time.UTC),
		Sequence: "00000000000000000002", PrevHash: hash64,
	}
	extensions := map[string]string{"correlationid": "c", "flag": "true", "count": "-7",
		"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
	if !maps.Equal(ev.Extensions, extensions) {
		t.Errorf("extensions = %v", ev.Extensions)
	}
	if string(ev.Data) != `{"session_id":"s-1","reason":"coffee","paused_by":null}` {
		t.Errorf("data = %s", ev.Data)
	}
	if ev.SequenceNumber() != 2 {
		t.Errorf("SequenceNumber = %d", ev.SequenceNumber())
	}
	got := *ev
	got.Extensions, got.Data = nil, nil
	if got.Time.Location() != time.UTC || !equalEvent(got, want) {
		t.Errorf("Parse = %+v\nwant    %+v", got, want)
	}
	if err := Validate(ev, false); err != nil {
		t.Errorf("Validate = %v", err)
	}
}

func equalEvent(a, b Event) bool {
	ja, _ := json.Marshal(a)
	jb, _ := json.Marshal(b)
	return bytes.Equal(ja, jb)
}

func TestParseAccepts(t *testing.T) {
	for name, payload := range map[string][]byte{
		"ULID":                      attr(t, "id", `"01JZ4Y8Q6W3T5V7X9Z0A2B4C6D"`),
		"white space":               []byte(" \n" + strings.ReplaceAll(good, ",", ", \t\r\n") + "\n"),
		"no content type":           attr(t, "datacontenttype", ``),
		"no sequence":               with(t, `"sequence":"00000000000000000002","prevhash":"`+hash64+`",`, ``),
		"sequence one, no prevhash": with(t, `"sequence":"00000000000000000002","prevhash":"`+hash64+`",`, `"sequence":"00000000000000000001",`),
		"nine digits of a second":   attr(t, "time", `"2026-06-01T12:00:00.123456789Z"`),
		"escaped name":              with(t, `"id"`, `"\u0069d"`),
		"null extension":            attr(t, "correlationid", `null`),
		"null optional attribute":   attr(t, "traceparent", `null`),
		"https source":              attr(t, "source", `"https://example.com/a/b?c=d%20e"`),
		"foreign type":              attr(t, "type", `"com.example.thing_happened"`),
		"second version":            attr(t, "type", `"dev.escortlog.session.paused.v2"`),
		"smallest integer":          attr(t, "count", `-2147483648`),
		"empty extension":           attr(t, "flag", `""`),
		"empty data":                attr(t, "data", `{}`),
		"numbers in data":           attr(t, "data", `{"a":[0,-0,1e300,1.5E-300,9007199254740993,"1e999"]}`),
		"unicode":                   attr(t, "subject", `"session/\u00e4\ud83d\ude00ä"`),
		"20 characters":             with(t, `"flag"`, `"abcdefghij0123456789"`),
		"31 levels in data":         attr(t, "data", `{"a":`+strings.Repeat("[", 30)+strings.Repeat("]", 30)+`}`),
		"far past":                  attr(t, "time", `"1970-01-01T00:00:00Z"`),
	} {
		if _, err := Parse(payload); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// badEvents are refused by Parse, each with the pointer to what is wrong.
func badEvents(t testing.TB) map[string]struct {
	payload []byte
	pointer string
} {
	type bad = struct {
		payload []byte
		pointer string
	}
	cases := map[string]bad{
		// The text.
		"empty":                   {nil, ""},
		"only space":              {[]byte("  "), ""},
		"truncated":               {[]byte(good[:len(good)-1]), ""},
		"trailing bytes":          {[]byte(good + "{}"), ""},
		"trailing comma":          {with(t, `"paused_by":null}}`, `"paused_by":null},}`), ""},
		"byte order mark":         {[]byte("\xef\xbb\xbf" + good), ""},
		"bad UTF-8":               {with(t, "coffee", "coff\xffee"), ""},
		"overlong UTF-8":          {with(t, "coffee", "coff\xc0\xafee"), ""},
		"lone surrogate":          {with(t, "coffee", `\ud83d`), ""},
		"surrogates swapped":      {with(t, "coffee", `\ude00\ud83d`), ""},
		"repeated attribute":      {with(t, `"flag":true`, `"flag":true,"flag":true`), ""},
		"attribute in two cases":  {with(t, `"flag":true`, `"flag":true,"Flag":true`), ""},
		"repeated name in data":   {with(t, `"reason":"coffee"`, `"reason":"coffee","reason":"tea"`), ""},
		"two cases in data":       {with(t, `"reason":"coffee"`, `"reason":"coffee","Reason":"tea"`), ""},
		"33 levels":               {attr(t, "data", `{"a":`+strings.Repeat("[", 31)+strings.Repeat("]", 31)+`}`), ""},
		"too long":                {with(t, "coffee", strings.Repeat("x", 48<<10)), ""},
		"an array":                {[]byte("[" + good + "]"), ""},
		"null":                    {[]byte("null"), ""},
		"a string":                {[]byte(`"x"`), ""},
		"single quotes":           {[]byte(`{'specversion':'1.0'}`), ""},
		"a comment":               {[]byte("/* */" + good), ""},
		"control byte in string":  {with(t, "coffee", "cof\x01fee"), ""},
		"NaN":                     {attr(t, "count", `NaN`), ""},
		"leading zero":            {attr(t, "count", `01`), ""},
		"data repeated":           {with(t, `"data":{`, `"data":{},"data":{`), ""},
		"name differs by Kelvin":  {with(t, `"flag":true`, `"k":true,"`+"\u212a"+`":true`), ""},
		"number beyond a double":  {attr(t, "data", `{"a":1e309}`), "/data"},
		"number with a long tail": {attr(t, "data", `{"a":0.`+strings.Repeat("1", 70)+`}`), "/data"},
		"huge exponent":           {attr(t, "data", `{"a":[1e-999999999]}`), "/data"},
		"huge number of digits":   {attr(t, "data", `{"a":{"b":`+strings.Repeat("9", 400)+`}}`), "/data"},

		// Names.
		"upper-case name":     {with(t, `"flag"`, `"Flag"`), "/Flag"},
		"name with dash":      {with(t, `"flag"`, `"fl-ag"`), "/fl-ag"},
		"name with slash":     {with(t, `"flag"`, `"fl/a~g"`), "/fl~1a~0g"},
		"empty name":          {with(t, `"flag"`, `""`), "/"},
		"21 characters":       {with(t, `"flag"`, `"abcdefghij01234567890"`), "/abcdefghij01234567890"},
		"name not ASCII":      {with(t, `"flag"`, `"fläg"`), "/fläg"},
		"specversion in caps": {with(t, `"specversion"`, `"specVersion"`), "/specVersion"},

		// Values.
		"version a number":         {attr(t, "specversion", `1.0`), "/specversion"},
		"version 0.3":              {attr(t, "specversion", `"0.3"`), "/specversion"},
		"version 1":                {attr(t, "specversion", `"1"`), "/specversion"},
		"id empty":                 {attr(t, "id", `""`), "/id"},
		"id a number":              {attr(t, "id", `7`), "/id"},
		"id free text":             {attr(t, "id", `"A-1"`), "/id"},
		"UUIDv4":                   {attr(t, "id", `"0197b2c4-7c00-4000-8000-000000000001"`), "/id"},
		"UUID variant":             {attr(t, "id", `"0197b2c4-7c00-7000-c000-000000000001"`), "/id"},
		"UUID in upper case":       {attr(t, "id", `"0197B2C4-7C00-7000-8000-000000000001"`), "/id"},
		"UUID in braces":           {attr(t, "id", `"{0197b2c4-7c00-7000-8000-000000000001}"`), "/id"},
		"UUID without dashes":      {attr(t, "id", `"0197b2c47c0070008000000000000001"`), "/id"},
		"UUID as URN":              {attr(t, "id", `"urn:uuid:0197b2c4-7c00-7000-8000-000000000001"`), "/id"},
		"ULID in lower case":       {attr(t, "id", `"01jz4y8q6w3t5v7x9z0a2b4c6d"`), "/id"},
		"ULID with I":              {attr(t, "id", `"01JZ4Y8Q6W3T5V7X9Z0A2B4C6I"`), "/id"},
		"ULID out of range":        {attr(t, "id", `"81JZ4Y8Q6W3T5V7X9Z0A2B4C6D"`), "/id"},
		"source relative":          {attr(t, "source", `"/example"`), "/source"},
		"source empty":             {attr(t, "source", `""`), "/source"},
		"source scheme only":       {attr(t, "source", `"urn:"`), "/source"},
		"source with fragment":     {attr(t, "source", `"urn:example:s#1"`), "/source"},
		"source with space":        {attr(t, "source", `"urn:example: s"`), "/source"},
		"source not ASCII":         {attr(t, "source", `"urn:example:ä"`), "/source"},
		"source bad escape":        {attr(t, "source", `"urn:example:%zz"`), "/source"},
		"source escape cut":        {attr(t, "source", `"urn:example:%4"`), "/source"},
		"source scheme digit":      {attr(t, "source", `"1urn:example:s"`), "/source"},
		"source too long":          {attr(t, "source", `"urn:`+strings.Repeat("s", 1021)+`"`), "/source"},
		"source an object":         {attr(t, "source", `{}`), "/source"},
		"type empty":               {attr(t, "type", `""`), "/type"},
		"type in upper case":       {attr(t, "type", `"dev.escortlog.Session.paused.v1"`), "/type"},
		"type without version":     {attr(t, "type", `"dev.escortlog.session.paused"`), "/type"},
		"type version zero":        {attr(t, "type", `"dev.escortlog.session.paused.v0"`), "/type"},
		"type version padded":      {attr(t, "type", `"dev.escortlog.session.paused.v01"`), "/type"},
		"type with empty word":     {attr(t, "type", `"dev.escortlog..paused.v1"`), "/type"},
		"type with a word more":    {attr(t, "type", `"dev.escortlog.session.was.paused.v1"`), "/type"},
		"type with a space":        {attr(t, "type", `"dev.escortlog.session.pau sed.v1"`), "/type"},
		"type with a dash":         {attr(t, "type", `"dev.escortlog.session.pau-sed.v1"`), "/type"},
		"foreign type with a plus": {attr(t, "type", `"com.example.a+b"`), "/type"},
		"foreign type begins so":   {attr(t, "type", `"com.example.1st"`), "/type"},
		"type one word":            {attr(t, "type", `"paused"`), "/type"},
		"type too long":            {attr(t, "type", `"com.`+strings.Repeat("x", 130)+`"`), "/type"},
		"subject empty":            {attr(t, "subject", `""`), "/subject"},
		"subject a number":         {attr(t, "subject", `1`), "/subject"},
		"subject with newline":     {attr(t, "subject", `"session/\n"`), "/subject"},
		"subject noncharacter":     {attr(t, "subject", `"session/\ufffe"`), "/subject"},
		"subject too long":         {attr(t, "subject", `"`+strings.Repeat("x", 2049)+`"`), "/subject"},
		"time without zone":        {attr(t, "time", `"2026-06-01T12:00:00"`), "/time"},
		"time with offset":         {attr(t, "time", `"2026-06-01T12:00:00+00:00"`), "/time"},
		"time in lower case":       {attr(t, "time", `"2026-06-01t12:00:00z"`), "/time"},
		"time with a space":        {attr(t, "time", `"2026-06-01 12:00:00Z"`), "/time"},
		"time with a comma":        {attr(t, "time", `"2026-06-01T12:00:00,5Z"`), "/time"},
		"time without seconds":     {attr(t, "time", `"2026-06-01T12:00Z"`), "/time"},
		"time with ten digits":     {attr(t, "time", `"2026-06-01T12:00:00.1234567890Z"`), "/time"},
		"time fraction empty":      {attr(t, "time", `"2026-06-01T12:00:00.Z"`), "/time"},
		"31 June":                  {attr(t, "time", `"2026-06-31T12:00:00Z"`), "/time"},
		"hour 24":                  {attr(t, "time", `"2026-06-01T24:00:00Z"`), "/time"},
		"hour of one digit":        {attr(t, "time", `"2026-06-01T1:00:00.0Z"`), "/time"},
		"leap second":              {attr(t, "time", `"2016-12-31T23:59:60Z"`), "/time"},
		"time a number":            {attr(t, "time", `1767225600`), "/time"},
		"recordedtime wrong":       {attr(t, "recordedtime", `"yesterday"`), "/recordedtime"},
		"content type XML":         {attr(t, "datacontenttype", `"application/xml"`), "/datacontenttype"},
		"content type parameter":   {attr(t, "datacontenttype", `"application/json; charset=utf-8"`), "/datacontenttype"},
		"dataschema relative":      {attr(t, "dataschema", `"schema.json"`), "/dataschema"},
		"sequence a number":        {attr(t, "sequence", `2`), "/sequence"},
		"sequence short":           {attr(t, "sequence", `"2"`), "/sequence"},
		"sequence zero":            {attr(t, "sequence", `"00000000000000000000"`), "/sequence"},
		"sequence signed":          {attr(t, "sequence", `"+0000000000000000002"`), "/sequence"},
		"sequence overflows":       {attr(t, "sequence", `"09223372036854775808"`), "/sequence"},
		"sequence with underscore": {attr(t, "sequence", `"0000000000000000_002"`), "/sequence"},
		"prevhash short":           {attr(t, "prevhash", `"00"`), "/prevhash"},
		"prevhash in upper case":   {attr(t, "prevhash", `"`+strings.ToUpper(hash64)+`"`), "/prevhash"},
		"prevhash null-like":       {attr(t, "prevhash", `false`), "/prevhash"},
		"prevhash, sequence one":   {attr(t, "sequence", `"00000000000000000001"`), "/prevhash"},
		"prevhash, no sequence":    {attr(t, "sequence", ``), "/prevhash"},
		"correlationid a number":   {attr(t, "correlationid", `4`), "/correlationid"},
		"correlationid empty":      {attr(t, "correlationid", `""`), "/correlationid"},
		"traceparent short":        {attr(t, "traceparent", `"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"`), "/traceparent"},
		"traceparent zero":         {attr(t, "traceparent", `"00-00000000000000000000000000000000-00f067aa0ba902b7-01"`), "/traceparent"},
		"extension a fraction":     {attr(t, "count", `1.5`), "/count"},
		"extension 64 bits":        {attr(t, "count", `2147483648`), "/count"},
		"extension exponent":       {attr(t, "count", `1e3`), "/count"},
		"extension minus zero":     {attr(t, "count", `-0`), "/count"},
		"extension an array":       {attr(t, "count", `[1]`), "/count"},
		"extension with DEL":       {attr(t, "flag", `"\u007f"`), "/flag"},

		// Data.
		"data an array":  {attr(t, "data", `[]`), "/data"},
		"data a string":  {attr(t, "data", `"{}"`), "/data"},
		"data null":      {attr(t, "data", `null`), "/data"},
		"data in base64": {with(t, `"data":`, `"data_base64":"e30=","data":`), "/data_base64"},
	}
	for _, name := range required {
		cases["without "+name] = bad{attr(t, name, ``), "/" + name}
		if name != "data" {
			cases["null for "+name] = bad{attr(t, name, `null`), "/" + name}
		}
	}
	return cases
}

func TestParseRefuses(t *testing.T) {
	cases := badEvents(t)
	if len(cases) < 60 {
		t.Errorf("only %d cases", len(cases))
	}
	for name, c := range cases {
		ev, err := Parse(c.payload)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: Parse = %+v, %v, want an *Error", name, ev, err)
			continue
		}
		if e.Kind != Malformed || e.Slug != SlugMalformed || e.Pointer != c.pointer || e.Detail == "" || e.Kind.Status() != 400 {
			t.Errorf("%s: %+v, want pointer %q", name, e, c.pointer)
		}
	}
}

func TestCheckClock(t *testing.T) {
	ev, err := Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	now := ev.RecordedTime.UnixMilli()
	for name, c := range map[string]struct {
		shiftMS int64 // of the log's clock
		slip    func(*Event)
		pointer string
	}{
		"now":                       {0, nil, ""},
		"five minutes ahead":        {-300_000, nil, ""},
		"more than five minutes":    {-300_001, nil, "/recordedtime"},
		"time more than that":       {-300_000, func(ev *Event) { ev.Time = ev.Time.Add(time.Second) }, "/time"},
		"years in the past":         {1 << 40, nil, ""},
		"only recordedtime is late": {0, func(ev *Event) { ev.RecordedTime = ev.RecordedTime.Add(time.Hour) }, "/recordedtime"},
	} {
		e := *ev
		if c.slip != nil {
			c.slip(&e)
		}
		err := CheckClock(&e, now+c.shiftMS)
		if c.pointer == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		wantError(t, name, err, Invalid, SlugFuture, c.pointer)
	}
}

// wantError checks every field of an *Error that a caller acts on.
func wantError(t testing.TB, name string, err error, kind Kind, slug, pointer string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("%s: error = %v, want %s", name, err, slug)
		return
	}
	if e.Kind != kind || e.Slug != slug || e.Pointer != pointer || e.Detail == "" {
		t.Errorf("%s: kind %d, %v; want kind %d, %s at %q", name, e.Kind, e, kind, slug, pointer)
	}
}

func TestStatus(t *testing.T) {
	for kind, want := range map[Kind]int{Malformed: 400, BadSignature: 401, Conflict: 409, Forbidden: 403, Invalid: 422, 0: 500} {
		if got := kind.Status(); got != want {
			t.Errorf("Kind(%d).Status() = %d, want %d", kind, got, want)
		}
	}
}

// FuzzParse: what is accepted is strict JSON, an object, and every attribute is
// the one that encoding/json reads.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	for _, c := range badEvents(f) {
		f.Add(c.payload)
	}
	for _, payload := range samples(f) {
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		ev, err := Parse(payload)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Kind != Malformed {
				t.Fatalf("error is no *Error of kind Malformed: %v", err)
			}
			return
		}
		if err := strict.Check(payload); err != nil {
			t.Fatalf("accepted, but not strict JSON: %v", err)
		}
		var raw map[string]json.RawMessage
		if err := json.Unmarshal(payload, &raw); err != nil {
			t.Fatalf("accepted, but not a JSON object: %v", err)
		}
		for name, got := range map[string]string{"id": ev.ID, "source": ev.Source, "type": ev.Type, "subject": ev.Subject, "dataschema": ev.DataSchema} {
			var want string
			if err := json.Unmarshal(raw[name], &want); err != nil || got != want {
				t.Fatalf("%s = %q, want %q (%v)", name, got, want, err)
			}
		}
		if !bytes.Equal(raw["data"], ev.Data) {
			t.Fatalf("data = %s, want %s", ev.Data, raw["data"])
		}
		for name := range raw {
			if len(name) > 20 || strings.ToLower(name) != name {
				t.Fatalf("accepted the attribute name %q", name)
			}
		}
		_ = Validate(ev, true) // must not panic
	})
}

// samples returns the valid payload of each type, by short name with version.
func samples(t testing.TB) map[string][]byte {
	t.Helper()
	m, err := readSamples()
	if err != nil {
		t.Fatal(err)
	}
	return maps.Clone(m)
}

var readSamples = sync.OnceValues(func() (map[string][]byte, error) {
	files, err := filepath.Glob("testdata/samples/*.json")
	m := map[string][]byte{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		m[strings.TrimSuffix(filepath.Base(file), ".json")] = b
	}
	return m, err
})
