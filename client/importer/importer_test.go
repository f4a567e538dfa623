package importer

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

var update = flag.Bool("update", false, "rewrite the expected events in testdata")

const testSource = "urn:example:aws:123456789012"

// importAll imports texts as inputs "0", "1" … and returns the events.
func importAll(t *testing.T, o Options, inputs ...string) ([]Event, Counts, error) {
	t.Helper()
	if o.Source == "" {
		o.Source = testSource
	}
	im, err := New("cloudtrail", o)
	if err != nil {
		t.Fatal(err)
	}
	var events []Event
	for i, text := range inputs {
		err := im.Import(t.Context(), fmt.Sprint(i), strings.NewReader(text), func(e Event) error {
			events = append(events, e)
			return nil
		})
		if err != nil {
			return events, im.Counts(), err
		}
	}
	return events, im.Counts(), nil
}

func sample(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/cloudtrail.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sampleRecords returns the records of the sample as they are written.
func sampleRecords(t *testing.T) []json.RawMessage {
	t.Helper()
	var file struct{ Records []json.RawMessage }
	if err := json.Unmarshal([]byte(sample(t)), &file); err != nil {
		t.Fatal(err)
	}
	return file.Records
}

func lines(events []Event) string {
	var b strings.Builder
	for _, e := range events {
		b.Write(e.Payload)
		b.WriteByte('\n')
	}
	return b.String()
}

// TestTable holds the table above convertCloudTrail against the sample, which
// has a record for each row.
func TestTable(t *testing.T) {
	events, _, err := importAll(t, Options{}, sample(t))
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/cloudtrail.events.jsonl"
	if *update {
		if err := os.WriteFile(golden, []byte(lines(events)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := lines(events); got != string(want) {
		t.Errorf("the events differ from %s; see the difference after go test -update", golden)
	}
	var got []string
	for _, e := range events {
		ev := valid(t, e)
		var data struct {
			Ext      struct{ Category, Outcome string }
			Imported struct{ Kind string }
		}
		if err := json.Unmarshal(ev.Data, &data); err != nil {
			t.Fatal(err)
		}
		typ, _ := event.Lookup(ev.Type)
		got = append(got, strings.Join([]string{data.Imported.Kind, typ.Short(), data.Ext.Category, data.Ext.Outcome}, " "))
	}
	table := []string{
		"StartSession session.started session.start succeeded",
		"StartSession session.started session.start succeeded",
		"StartSession record.observed session.start failed",
		"ResumeSession session.resumed session.resume succeeded",
		"TerminateSession session.ended session.end succeeded",
		"TerminateSession record.observed session.end failed",
		"SendCommand record.observed command.send succeeded",
		"SendCommand record.observed command.send succeeded",
		"SendSSHPublicKey record.observed access.open succeeded",
		"AssumeRole record.observed role.assume succeeded",
		"ConsoleLogin record.observed login succeeded",
		"ConsoleLogin record.observed login failed",
		"StopLogging record.observed audit.change succeeded",
		"AttachUserPolicy record.observed configuration.change succeeded",
		"PutBucketTagging record.observed configuration.change succeeded",
		"DescribeInstances record.observed read succeeded",
		"CreateVolume record.observed configuration.change succeeded",
		"NobodyKnows record.observed other succeeded",
	}
	if !reflect.DeepEqual(got, table) {
		t.Errorf("mapped to\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(table, "\n"))
	}
}

// valid returns the event after the checks that a log makes.
func valid(t *testing.T, e Event) *event.Event {
	t.Helper()
	if len(e.Payload) > entry.MaxPayload || bytes.ContainsAny(e.Payload, "\n\r") {
		t.Fatalf("%s record %d: %d bytes, or more than one line", e.Input, e.Record, len(e.Payload))
	}
	ev, err := event.Parse(e.Payload)
	if err != nil {
		t.Fatalf("%s record %d: %v\n%s", e.Input, e.Record, err, e.Payload)
	}
	if err := event.Validate(ev, false); err != nil {
		t.Fatalf("%s record %d: %v\n%s", e.Input, e.Record, err, e.Payload)
	}
	return ev
}

// original returns the record that an event holds.
func original(t *testing.T, ev *event.Event) []byte {
	t.Helper()
	var data struct {
		Imported struct {
			Original json.RawMessage
			Artifact *struct {
				Digest string
				Size   int
			}
		}
		Ext struct {
			Text string `json:"original_text"`
		}
	}
	if err := json.Unmarshal(ev.Data, &data); err != nil {
		t.Fatal(err)
	}
	if a := data.Imported.Artifact; a != nil {
		sum := sha256.Sum256([]byte(data.Ext.Text))
		if a.Digest != "sha256:"+hex.EncodeToString(sum[:]) || a.Size != len(data.Ext.Text) {
			t.Errorf("artifact %+v is not of the text beside it", a)
		}
		return []byte(data.Ext.Text)
	}
	return data.Imported.Original
}

// TestFailedCallsOpenNoSession: whatever else the record says.
func TestFailedCallsOpenNoSession(t *testing.T) {
	for i, r := range sampleRecords(t)[:5] {
		record := strings.Replace(string(r), `"readOnly"`, `"errorCode":"AccessDenied","readOnly"`, 1)
		if i == 2 { // has an error code already
			continue
		}
		events, _, err := importAll(t, Options{}, record)
		if err != nil {
			t.Fatal(err)
		}
		if ev := valid(t, events[0]); ev.Type != event.TypeRecordObserved {
			t.Errorf("%s from %s", ev.Type, record)
		}
	}
}

// TestNothingIsLost: the record in the event has every token of the input.
func TestNothingIsLost(t *testing.T) {
	records := sampleRecords(t)
	events, counts, err := importAll(t, Options{}, sample(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != len(records) || counts.Events != len(records) || counts.Malformed != 0 || counts.Apart != 0 {
		t.Fatalf("%d records, %d events, counts %+v", len(records), len(events), counts)
	}
	for i, e := range events {
		if got := original(t, valid(t, e)); !bytes.Equal(got, records[i]) {
			t.Errorf("record %d\n%s\nbecame\n%s", i+1, records[i], got)
		}
	}
}

// TestEveryForm: the ways in which records are written do not change the events.
func TestEveryForm(t *testing.T) {
	records := sampleRecords(t)
	want, _, err := importAll(t, Options{}, sample(t))
	if err != nil {
		t.Fatal(err)
	}
	join := func(sep string) string {
		var parts []string
		for _, r := range records {
			parts = append(parts, string(r))
		}
		return strings.Join(parts, sep)
	}
	var pretty, zipped bytes.Buffer
	if err := json.Indent(&pretty, []byte(sample(t)), "", "\t"); err != nil {
		t.Fatal(err)
	}
	// Two gzip members, as concatenated files have them.
	for _, half := range []string{sample(t)[:1000], sample(t)[1000:]} {
		z := gzip.NewWriter(&zipped)
		if _, err := z.Write([]byte(half)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"one a line":         join("\n") + "\n",
		"one a line, CRLF":   "\r\n" + join("\r\n\r\n"),
		"an array":           "[" + join(",") + "]",
		"an array, laid out": " [\n" + join("\n,\n") + "\n]\n",
		"laid out":           pretty.String(),
		"gzip":               zipped.String(),
		"an object each":     `{"Records":[` + join(`]}{"Records":[`) + `]}`,
		"mixed":              `{"Records":[]} [] {"Records":[` + join(`]} {"Records":[`) + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := importAll(t, Options{}, text)
			if err != nil {
				t.Fatal(err)
			}
			if lines(got) != lines(want) {
				t.Errorf("%d events, other than the %d of the sample", len(got), len(want))
			}
		})
	}
}

func TestMalformedInputsAreNamed(t *testing.T) {
	good := string(sampleRecords(t)[0])
	without := func(member string) string {
		var r map[string]any
		if err := json.Unmarshal([]byte(good), &r); err != nil {
			t.Fatal(err)
		}
		delete(r, member)
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, c := range map[string]struct {
		text   string
		record int // that the error names
		broken bool
	}{
		"empty":                    {"", 1, true},
		"white space":              {" \n", 1, true},
		"no JSON":                  {"eventTime,eventName\n", 1, true},
		"a string":                 {`"Records"`, 1, true},
		"truncated":                {`{"Records":[` + good + `,` + good[:100], 2, true},
		"truncated after a record": {`{"Records":[` + good, 2, true},
		"truncated array":          {`[` + good + `,`, 2, true},
		"no comma":                 {`[` + good + good + `]`, 2, true},
		"members before Records":   {`{"version":1,"Records":[` + good + `]}`, 1, true},
		"members after Records":    {`{"Records":[` + good + `],"next":2}`, 2, true},
		"truncated gzip":           {gzipped(t, good)[:60], 1, true},
		"broken gzip header":       {"\x1f\x8b\x00", 1, true},
		"a value without end":      {`[{"eventName":"` + strings.Repeat("x", 2*MaxRecord), 1, true},
		"a number as record":       {`[` + good + `,7]`, 2, false},
		"null as record":           {`[` + good + `,null]`, 2, false},
		"no eventTime":             {`[` + good + `,` + without("eventTime") + `]`, 2, false},
		"no eventName":             {without("eventName"), 1, false},
		"no eventSource":           {without("eventSource"), 1, false},
		"eventTime not UTC":        {strings.Replace(good, "Z\",\"eventSource", "+01:00\",\"eventSource", 1), 1, false},
		"a repeated name":          {strings.Replace(good, `"eventTime"`, `"eventTime":"2020-01-01T00:00:00Z","eventTime"`, 1), 1, false},
		"another kind of file":     {`{"Events":[{"EventId":"x"}]}`, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, counts, err := importAll(t, Options{}, c.text)
			var malformed *RecordError
			if !errors.As(err, &malformed) {
				t.Fatalf("error %v", err)
			}
			if malformed.Input != "0" || malformed.Record != c.record || malformed.Broken != c.broken || counts.Malformed != 1 {
				t.Errorf("%v (%+v), want record %d, broken %v", err, malformed, c.record, c.broken)
			}
			if counts.Events != c.record-1 {
				t.Errorf("%d events before record %d", counts.Events, c.record)
			}
		})
	}
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestKeepGoing: what is malformed is counted, and nothing else is missed.
func TestKeepGoing(t *testing.T) {
	good := string(sampleRecords(t)[0])
	var told []string
	o := Options{Malformed: func(e *RecordError) error {
		told = append(told, fmt.Sprintf("%s/%d/%v", e.Input, e.Record, e.Broken))
		return nil
	}}
	events, counts, err := importAll(t, o, `[`+good+`,{},`+good+`,1,`+good+`]`, `[`+good+`,`, "", good)
	if err != nil {
		t.Fatal(err)
	}
	if want := "[0/2/false 0/4/false 1/2/true 2/1/true]"; fmt.Sprint(told) != want {
		t.Errorf("told %v, want %v", told, want)
	}
	if len(events) != 5 || counts.Events != 5 || counts.Malformed != 4 {
		t.Errorf("%d events, counts %+v", len(events), counts)
	}
}

// TestLargeRecordsAreNamed: a record that does not fit is named by its digest,
// and its text is kept where that was asked for.
func TestLargeRecordsAreNamed(t *testing.T) {
	record := strings.Replace(string(sampleRecords(t)[13]), "mallory", strings.Repeat("m", entry.MaxPayload), 1)
	dir := t.TempDir()
	for range 2 {
		events, counts, err := importAll(t, Options{Spill: dir}, record)
		if err != nil {
			t.Fatal(err)
		}
		if counts.Apart != 1 || !events[0].Apart {
			t.Errorf("counts %+v", counts)
		}
		sum := sha256.Sum256([]byte(record))
		digest := hex.EncodeToString(sum[:])
		if ev := valid(t, events[0]); !bytes.Contains(ev.Data, []byte(`"digest":"sha256:`+digest+`","size":`+fmt.Sprint(len(record)))) {
			t.Errorf("event %s", events[0].Payload)
		}
		text, err := os.ReadFile(filepath.Join(dir, digest+".json"))
		if err != nil || string(text) != record {
			t.Errorf("%v: %d bytes kept of %d", err, len(text), len(record))
		}
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("%v in the folder, %v", names, err)
	}
	if _, _, err := importAll(t, Options{Spill: filepath.Join(dir, "missing")}, record); err == nil {
		t.Error("a record that could not be kept was passed over")
	}
}

// TestOddSpellings: what JSON allows and an event does not is kept as text.
func TestOddSpellings(t *testing.T) {
	good := string(sampleRecords(t)[13])
	for name, value := range map[string]string{
		"deep":                  strings.Repeat("[", 32) + strings.Repeat("]", 32),
		"a number out of range": "1e999999",
		"a lone surrogate":      `"\ud800"`,
		"names unlike in case":  `{"a":1,"A":2}`,
	} {
		record := strings.Replace(good, `"mallory"`, value, 1)
		events, counts, err := importAll(t, Options{}, record)
		if err != nil || counts.Apart != 0 {
			t.Errorf("%s: %v, %+v", name, err, counts)
			continue
		}
		if got := original(t, valid(t, events[0])); string(got) != record {
			t.Errorf("%s: kept\n%s\nof\n%s", name, got, record)
		}
	}
	// Bytes that are no UTF-8 have no place in a JSON text at all.
	events, counts, err := importAll(t, Options{}, strings.Replace(good, "mallory", "m\xffllory", 1))
	if err != nil || counts.Apart != 1 {
		t.Errorf("no UTF-8: %v, %+v", err, counts)
	} else {
		valid(t, events[0])
	}
}

func TestIdentity(t *testing.T) {
	events, _, err := importAll(t, Options{}, sample(t))
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := importAll(t, Options{Source: "urn:example:other"}, sample(t))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for i, e := range events {
		a, b := valid(t, e), valid(t, other[i])
		if seen[a.ID] || a.ID == b.ID || a.ID[:13] != b.ID[:13] {
			t.Errorf("ids %s and %s", a.ID, b.ID)
		}
		seen[a.ID] = true
		if !a.RecordedTime.Equal(a.Time) {
			t.Errorf("recorded at %v, happened at %v", a.RecordedTime, a.Time)
		}
	}
}

func TestRecorded(t *testing.T) {
	at := time.Date(2026, 2, 4, 0, 0, 0, 0, time.FixedZone("", 3600))
	events, _, err := importAll(t, Options{Recorded: at}, sample(t))
	if err != nil {
		t.Fatal(err)
	}
	if ev := valid(t, events[3]); !ev.RecordedTime.Equal(at) || ev.RecordedTime.Equal(ev.Time) {
		t.Errorf("recorded at %v", ev.RecordedTime)
	}
	if _, _, err := importAll(t, Options{Recorded: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}, sample(t)); err == nil {
		t.Error("recorded before it happened")
	}
}

// TestChain: numbered events follow each other, over inputs and over imports.
func TestChain(t *testing.T) {
	whole, _, err := importAll(t, Options{Sequence: 1}, sample(t), sample(t))
	if err != nil {
		t.Fatal(err)
	}
	prev := ""
	for i, e := range whole {
		ev := valid(t, e)
		if ev.SequenceNumber() != int64(i+1) || ev.PrevHash != prev {
			t.Errorf("event %d: sequence %s, prevhash %s", i+1, ev.Sequence, ev.PrevHash)
		}
		sum := sha256.Sum256(e.Payload)
		prev = hex.EncodeToString(sum[:])
	}
	im, err := New("cloudtrail", Options{Source: testSource, Sequence: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := im.Import(t.Context(), "", strings.NewReader(sample(t)), func(Event) error { return nil }); err != nil {
		t.Fatal(err)
	}
	sequence, prevHash := im.Next()
	rest, _, err := importAll(t, Options{Sequence: sequence, PrevHash: prevHash}, sample(t))
	if err != nil || lines(rest) != lines(whole[len(whole)/2:]) {
		t.Errorf("going on at %d gives other events (%v)", sequence, err)
	}
	for _, o := range []Options{{Sequence: -1}, {Sequence: 2}, {PrevHash: prevHash}, {Sequence: 1, PrevHash: prevHash}} {
		if _, err := New("cloudtrail", o); err == nil {
			t.Errorf("a chain that cannot be: %+v", o)
		}
	}
}

func TestUnusableOptions(t *testing.T) {
	for _, o := range []Options{{Source: ""}, {Source: "no uri"}, {Source: testSource, Sequence: 2, PrevHash: "00"}} {
		if _, err := New("cloudtrail", o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	if _, err := New("nothing", Options{}); err == nil || !strings.Contains(err.Error(), "cloudtrail") {
		t.Errorf("error %v", err)
	}
}

// TestStreaming: an event is out before the next record has come in.
func TestStreaming(t *testing.T) {
	record := string(sampleRecords(t)[0])
	r, w := io.Pipe()
	emitted := make(chan struct{})
	go func() {
		fmt.Fprint(w, `{"Records":[`)
		for range 3 {
			fmt.Fprint(w, record)
			<-emitted
			fmt.Fprint(w, ",")
		}
		w.CloseWithError(errors.New("the line went dead"))
	}()
	im, err := New("cloudtrail", Options{Source: testSource})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = im.Import(t.Context(), "pipe", r, func(Event) error {
		n++
		emitted <- struct{}{}
		return nil
	})
	if n != 3 || err == nil || !strings.Contains(err.Error(), "the line went dead") {
		t.Errorf("%d events, then %v", n, err)
	}
}

func TestStopping(t *testing.T) {
	im, err := New("cloudtrail", Options{Source: testSource})
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	if err := im.Import(t.Context(), "", strings.NewReader(sample(t)), func(Event) error { return full }); !errors.Is(err, full) || im.Counts().Events != 0 {
		t.Errorf("error %v, counts %+v", err, im.Counts())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := im.Import(ctx, "", strings.NewReader(sample(t)), func(Event) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// FuzzImport: whatever comes in, what goes out is an event, and every record of
// a readable input is counted once.
func FuzzImport(f *testing.F) {
	text, err := os.ReadFile("testdata/cloudtrail.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`[{"eventTime":"2026-01-01T00:00:00Z","eventName":"X","eventSource":"y"}]`))
	f.Add([]byte(`{"Records":[],"a":[1]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		malformed := 0
		events, counts, err := importAll(t, Options{Malformed: func(*RecordError) error { malformed++; return nil }}, string(text))
		if err != nil || counts.Events != len(events) || counts.Malformed != malformed {
			t.Fatalf("%v, counts %+v", err, counts)
		}
		for _, e := range events {
			valid(t, e)
		}
		var array []json.RawMessage
		if json.Unmarshal(text, &array) == nil && array != nil && counts.Events+counts.Malformed != len(array) {
			t.Fatalf("%d records, %d events, %d malformed", len(array), counts.Events, counts.Malformed)
		}
	})
}
