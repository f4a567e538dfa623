package view

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"golang.org/x/mod/sumdb/tlog"
)

// story writes leaves, as a log would have taken them.
type story struct {
	t      *testing.T
	leaves [][]byte
}

var began = time.Date(2025, time.June, 10, 14, 0, 0, 0, time.UTC)

type obj = map[string]any

// tell appends an event and returns an EventRef to it.
func (s *story) tell(source, typ, subject string, data obj) obj {
	s.t.Helper()
	n := len(s.leaves)
	at := began.Add(time.Duration(n) * time.Minute)
	attrs := event.Attributes{
		ID: event.NewUUIDv7(at.UnixMilli(), [10]byte{byte(n)}), Source: source, Type: typ, Subject: subject,
		Time: at, RecordedTime: at.Add(time.Second), DataSchema: "https://example.org/schema",
	}
	if _, known := event.Lookup(event.Prefix + typ + ".v1"); known {
		attrs.Type, attrs.DataSchema = event.Prefix+typ+".v1", ""
	}
	payload, err := event.Build(attrs, data)
	if err != nil {
		s.t.Fatal(err)
	}
	leaf, err := (&entry.Entry{Time: at.Add(2 * time.Second).UnixMilli(), PayloadType: entry.PayloadType, Payload: payload}).Marshal()
	if err != nil {
		s.t.Fatal(err)
	}
	s.leaves = append(s.leaves, leaf)
	return obj{"source": source, "id": attrs.ID}
}

func (s *story) correct(source string, target obj, path string, value any) obj {
	return s.tell(source, "record.corrected", "record/"+fmt.Sprint(target["id"]), obj{
		"target": target, "patch": []obj{{"op": "replace", "path": path, "value": value}}, "reason": "wrong",
		"corrected_by": obj{"ref": "p-2", "role": "clerk"}, "approved_by": obj{"ref": "p-3", "role": "officer"},
	})
}

func (s *story) retract(source string, target obj) obj {
	return s.tell(source, "record.retracted", "record/"+fmt.Sprint(target["id"]), obj{
		"target": target, "reason": "never happened", "retracted_by": obj{"ref": "p-2", "role": "clerk"}, "approved_by": obj{"ref": "p-3", "role": "officer"},
	})
}

// timeline folds the story so far.
func (s *story) timeline(kind Kind, id string) *Timeline {
	s.t.Helper()
	b := NewBuilder(kind, id)
	for i, leaf := range s.leaves {
		if err := b.Add(int64(i), leaf); err != nil {
			s.t.Fatal(err)
		}
	}
	if b.Leaves() != int64(len(s.leaves)) {
		s.t.Errorf("%d leaves counted of %d", b.Leaves(), len(s.leaves))
	}
	return b.Timeline()
}

func indexes(t *Timeline) (list []int64) {
	for _, l := range t.Lines {
		list = append(list, l.Index)
	}
	return list
}

const gateway, console = "urn:gateway", "urn:console"

func pause(session, reason string) obj {
	return obj{"session_id": session, "paused_by": nil, "reason": reason}
}

func TestAmendmentsStandBesideTheOriginal(t *testing.T) {
	s := &story{t: t}
	first := s.tell(gateway, "session.paused", "session/s-1", pause("s-1", "lunch"))
	s.tell(gateway, "session.paused", "session/s-2", pause("s-2", "other"))
	correction := s.correct(gateway, first, "/data/reason", "fire alarm") // 2
	s.correct(console, first, "/data/reason", "nothing")                  // 3: not its record
	s.correct(gateway, first, "/data/nowhere", "x")                       // 4: no such place
	pinned := obj{"source": gateway, "id": first["id"], "leaf_hash": strings.Repeat("0", 64)}
	s.correct(gateway, pinned, "/data/reason", "flood") // 5: another leaf hash
	s.tell("urn:officer", "record.redacted", "record/"+fmt.Sprint(first["id"]), obj{
		"target": first, "paths": []string{"/data/reason"}, "reason": "private", "legal_ref": "order-12",
		"authorised_by": []obj{{"ref": "p-4", "role": "officer"}, {"ref": "p-5", "role": "officer"}},
	}) // 6
	tl := s.timeline(Session, "s-1")
	if got := indexes(tl); !slices.Equal(got, []int64{0, 2, 3, 4, 5, 6}) {
		t.Fatalf("leaves %v", got)
	}
	line := tl.Lines[0]
	if line.Status != Corrected || !strings.Contains(line.Summary, "lunch") || !strings.Contains(line.EffectiveSummary, "fire alarm") {
		t.Errorf("%s: %q, now %q", line.Status, line.Summary, line.EffectiveSummary)
	}
	if !bytes.Contains(line.Payload, []byte("lunch")) || !bytes.Contains(line.Effective, []byte("fire alarm")) {
		t.Errorf("payload %s, now %s", line.Payload, line.Effective)
	}
	if len(line.Withheld) != 1 || line.Withheld[0] != (Withheld{Path: "/data/reason", Under: "order-12"}) {
		t.Errorf("withheld %v", line.Withheld)
	}
	want := []struct{ part string }{{""}, {"another source"}, {"no such place"}, {"another leaf hash"}, {""}}
	if len(line.Amendments) != len(want) {
		t.Fatalf("amendments %+v", line.Amendments)
	}
	for i, w := range want {
		if got := line.Amendments[i].NotApplied; (w.part == "") != (got == "") || !strings.Contains(got, w.part) {
			t.Errorf("amendment %d does not count because %q, want %q", i, got, w.part)
		}
	}
	if line.Time != "2025-06-10T14:00:00Z" || line.RecordedTime != "2025-06-10T14:00:01Z" || line.LogTime != "2025-06-10T14:00:02Z" {
		t.Errorf("times %s, %s, %s", line.Time, line.RecordedTime, line.LogTime)
	}

	// A correction that was taken back does not count any more.
	s.retract(gateway, correction)
	line = s.timeline(Session, "s-1").Lines[0]
	if line.Status != Redacted || line.Effective != nil || line.Amendments[0].NotApplied == "" {
		t.Errorf("after the correction was retracted: %s, %s, %+v", line.Status, line.Effective, line.Amendments[0])
	}
	// A record that was taken back has no effective view.
	s.retract(gateway, first)
	if line = s.timeline(Session, "s-1").Lines[0]; line.Status != Retracted || line.Effective != nil {
		t.Errorf("after it was retracted: %s, %s", line.Status, line.Effective)
	}
}

// TestAmendmentsLookBack: what a record says about a later one means nothing,
// so that no two records can be about each other.
func TestAmendmentsLookBack(t *testing.T) {
	s := &story{t: t}
	future := obj{"source": gateway, "id": event.NewUUIDv7(began.Add(time.Minute).UnixMilli(), [10]byte{1})}
	s.correct(gateway, future, "/data/reason", "x")
	s.tell(gateway, "session.paused", "session/s-1", pause("s-1", "lunch"))
	if line := s.timeline(Session, "s-1").Lines[0]; line.Status != AsRecorded {
		t.Errorf("%s by a record before it", line.Status)
	}
}

func TestTimelines(t *testing.T) {
	s := &story{t: t}
	engineer, escort := obj{"ref": "p-1", "role": "engineer", "location_country": "IE", "location_source": "mdm"}, obj{"ref": "p-2", "role": "escort"}
	system := obj{"id": "sys-1", "impact_level": "IL4"}
	s.tell(gateway, "session.started", "session/s-1", obj{"session_id": "s-1", "target": system, "engineer": engineer, "escort": escort})          // 0
	s.tell(gateway, "session.started", "session/s-2", obj{"session_id": "s-2", "target": obj{"id": "sys-2"}, "engineer": engineer})                // 1
	s.tell(console, "escort.presence", "session/s-1", obj{"session_id": "s-1", "escort": escort})                                                  // 2
	s.tell("urn:pipe", "change.applied", "change/c-1", obj{"change_id": "c-1", "session_id": "s-1", "targets": []obj{system}, "author": engineer}) // 3
	s.tell(gateway, "session.ended", "session/s-1", obj{"session_id": "s-1", "reason": "completed"})                                               // 4
	s.tell(gateway, "source.heartbeat", "source/"+gateway, obj{"period_s": 60, "open_sessions": []string{"s-2"}})                                  // 5
	s.tell("urn:other", "com.example.odd", "session/s-1", obj{"person_ref": "p-1", "ext": obj{"ref": "p-9"}})                                      // 6
	s.tell("urn:agency", "authorization.granted", "person/p-2", obj{"person_ref": "p-2", "scope": obj{"systems": []string{"sys-1"}}})              // 7
	for _, tt := range []struct {
		kind    Kind
		id      string
		want    []int64
		context []int64
	}{
		{Session, "s-1", []int64{0, 2, 3, 4, 6}, nil},
		{Session, "s-2", []int64{1, 5}, nil},
		{Change, "c-1", []int64{0, 3, 4}, []int64{0, 4}},
		{Person, "p-1", []int64{0, 1, 3, 6}, nil},
		{Person, "p-2", []int64{0, 2, 7}, nil},
		{Person, "p-9", nil, nil},
		{System, "sys-1", []int64{0, 3, 4, 7}, []int64{4}},
	} {
		tl := s.timeline(tt.kind, tt.id)
		var context []int64
		for _, l := range tl.Lines {
			if l.Context {
				context = append(context, l.Index)
			}
		}
		if got := indexes(tl); !slices.Equal(got, tt.want) || !slices.Equal(context, tt.context) {
			t.Errorf("%s %s: leaves %v, of which for context %v; want %v, %v", tt.kind, tt.id, got, context, tt.want, tt.context)
		}
	}
	if !s.timeline(Session, "s-1").Lines[4].Opaque {
		t.Error("a type that is not known is not called opaque")
	}
}

func TestSessionList(t *testing.T) {
	s := &story{t: t}
	started := s.tell(gateway, "session.started", "session/s-1", obj{"session_id": "s-1", "target": obj{"id": "sys-1"}, "engineer": obj{"ref": "p-1", "role": "engineer"}})
	s.tell(gateway, "command.executed", "session/s-1", obj{"session_id": "s-1"})
	s.tell(gateway, "session.ended", "session/s-1", obj{"session_id": "s-1", "reason": "completed"})
	s.tell(gateway, "session.started", "session/s-2", obj{"session_id": "s-2", "target": obj{"id": "sys-2"}, "escort": obj{"ref": "p-2", "role": "escort"}})
	s.correct(gateway, started, "/data/engineer/ref", "p-7")
	list := func(f Filter) (ids []string) {
		l := NewLister(f)
		for i, leaf := range s.leaves {
			if err := l.Add(int64(i), leaf); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range l.Sessions() {
			ids = append(ids, r.Session)
			if r.Session == "s-1" && (r.Commands != 1 || r.Amended != 1 || r.Ended != "2025-06-10T14:02:00Z" || !slices.Equal(r.Engineers, []string{"p-7"})) {
				t.Errorf("%+v", r)
			}
		}
		return ids
	}
	for name, tt := range map[string]struct {
		filter Filter
		want   []string
	}{
		"all":            {Filter{}, []string{"s-1", "s-2"}},
		"system":         {Filter{System: "sys-2"}, []string{"s-2"}},
		"person":         {Filter{Person: "p-2"}, []string{"s-1", "s-2"}}, // p-2 corrected a record of s-1
		"from":           {Filter{From: began.Add(2*time.Minute + time.Second)}, []string{"s-1", "s-2"}},
		"from the last":  {Filter{From: began.Add(time.Hour)}, nil},
		"to excluded":    {Filter{To: began.Add(3 * time.Minute)}, []string{"s-1"}},
		"to, just after": {Filter{To: began.Add(3*time.Minute + 1)}, []string{"s-1", "s-2"}},
		"both":           {Filter{System: "sys-1", Person: "nobody"}, nil},
	} {
		if got := list(tt.filter); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestCells(t *testing.T) {
	s := &story{t: t}
	s.tell(gateway, "session.paused", "session/=1+1", pause("=1+1", "a, \"b\"\r\nc\x1b[2J\u202e"))
	tl := s.timeline(Session, "=1+1")
	o := &Origin{Log: "@log", Size: 1, Root: tlog.Hash{1}}
	o.Claim(Claim{Name: "A log", Result: Pass, Population: 1, Unit: "leaves"}, 1)
	var b bytes.Buffer
	if err := tl.Write(&b, CSV, o); err != nil {
		t.Fatal(err)
	}
	// RFC 4180: lines end in CRLF, also within quotes here.
	if strings.Count(b.String(), "\n") != strings.Count(b.String(), "\r\n") {
		t.Errorf("a line ends without CR:\n%q", b.String())
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	row := map[string]string{}
	for i, name := range rows[0] {
		row[name] = rows[1][i]
	}
	if row["session_id"] != "'=1+1" || row["log_origin"] != "'@log" || row["claims"] != "A,B" || row["index"] != "0" {
		t.Errorf("%q", row)
	}
	for _, c := range []string{"=x", "+x", "-x", "@x", "\tx", "\rx"} {
		if got := safeCell(c); got != "'"+c {
			t.Errorf("safeCell(%q) = %q", c, got)
		}
	}
	if safeCell("x=1") != "x=1" || safeCell("") != "" {
		t.Error("safeCell changes what is safe")
	}
	b.Reset()
	if err := tl.Write(&b, Table, o); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\r\u202e") {
		t.Errorf("the table commands a terminal: %q", b.String())
	}
	b.Reset()
	if err := tl.Write(&b, JSON, o); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Log   Origin `json:"log"`
		Lines []Line `json:"lines"`
	}
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || len(back.Lines) != 1 || back.Log.proven() != "A,B" {
		t.Errorf("%v: %s", err, b.Bytes())
	}
}

// TestClaims: an answer is complete only where every leaf was asked.
func TestClaims(t *testing.T) {
	for _, tt := range []struct {
		log     string
		scanned int64
		want    string
	}{{Pass, 10, "A,B"}, {Pass, 9, "A"}, {NotEvaluable, 10, ""}, {Fail, 10, ""}} {
		o := &Origin{Size: 10}
		o.Claim(Claim{Name: "A log", Result: tt.log}, tt.scanned)
		if got := o.proven(); got != tt.want || len(o.Claims) != 4 {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}
