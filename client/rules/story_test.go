package rules_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// A story is what happened, line by line, in words that a test can change. Its
// data begins as the sample of the type in log/event/testdata and is then set
// member by member; everything told is held against its schema.

// noon is when the session of the story begins.
var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const (
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * time.Hour
)

type obj = map[string]any

// line is one event.
type line struct {
	name   string        // unique in the story
	at     time.Duration // t, since noon
	source string        // the word after "urn:example:"
	typ    string        // short
	data   obj           // members by path, such as "target.id"; "@name" as a value refers to a line

	recorded time.Duration // r-t
	logged   time.Duration // L-r
	key      string        // whose own key signs; "": a service's
	seq      int64         // where it is not the next
	prev     string        // where it is not the hash of the payload before; "none": absent
	bare     bool          // without a number
}

type story []line

func id(name string) string {
	sum := sha256.Sum256([]byte(name))
	return event.NewUUIDv7(noon.UnixMilli(), [10]byte(sum[:10]))
}

func person(ref, class, country, source string) obj {
	return obj{"ref": ref, "role": "someone", "org": "operator", "employment": "employee", "citizenship_class": class,
		"location_country": country, "location_source": source, "screening": "T5", "clearance": "secret"}
}

// The people of the story.
var (
	engineer = person("p-engineer", "foreign", "IE", "mdm")
	escort   = person("p-escort", "us_citizen", "US", "badge")
	second   = person("p-second", "us_citizen", "US", "badge") // another escort
	approver = person("p-approver", "us_citizen", "US", "badge")
	reviewer = person("p-reviewer", "us_citizen", "US", "badge")
	author   = person("p-author", "us_citizen", "US", "badge")
)

func stamp(d time.Duration) string { return noon.Add(d).Format(time.RFC3339Nano) }

func window(from, to time.Duration) obj {
	return obj{"not_before": stamp(from), "not_after": stamp(to)}
}

func interval(from, to time.Duration) obj { return obj{"start": stamp(from), "end": stamp(to)} }

func digest(s string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s))) }

func match(s string) string { return "hmac-" + digest(s) }

func system(id, level string) obj {
	return obj{"id": id, "impact_level": level, "boundary": "gov", "mission_owner": "agency", "required_skills": []string{"linux"}}
}

var sys7 = system("sys-7", "IL4")

// registry is what an agency said a week before.
func registry() (s story) {
	say := func(name, typ string, data obj) {
		s = append(s, line{name: name, at: -7*day + time.Duration(len(s))*time.Second, source: "registry", typ: typ, data: data})
	}
	always := window(-30*day, 300*day)
	for _, sys := range []obj{sys7, system("sys-6", "IL6"), system("sys-2", "IL2")} {
		say(sys["id"].(string), "system.registered", obj{"system": sys})
	}
	say("plan", "ssp.declared", obj{"ssp_id": "ssp-1", "systems": []string{"sys-7"}, "countries": []string{"IE", "US"}, "employments": []string{"employee"},
		"citizenship_classes": []string{"us_citizen", "foreign"}, "escort_model": "escorted", "validity": always, "effective_at": stamp(-7 * day)})
	for _, p := range []obj{escort, second} {
		ref := p["ref"].(string)
		say(ref+" qualified", "escort.qualified", obj{"person_ref": ref, "skills": []string{"linux"}, "validity": always, "effective_at": stamp(-7 * day)})
		say(ref+" authorised", "authorization.granted", obj{"authorization_id": ref, "person_ref": ref, "role": "escort",
			"scope": obj{"systems": []string{}, "impact_levels": []string{"IL4", "IL6", "IL2"}}, "validity": always, "effective_at": stamp(-7 * day)})
	}
	say("engineer authorised", "authorization.granted", obj{"authorization_id": "a-engineer", "person_ref": "p-engineer", "role": "engineer",
		"scope": obj{"systems": []string{"sys-7"}, "impact_levels": []string{}}, "validity": always, "effective_at": stamp(-7 * day)})
	return s
}

// session is an escorted hour in which all is well: one instruction, reviewed
// and executed, recorded and attested. Its lines bear names that end in -id for
// every id but "1".
func session(number string, begin time.Duration) story {
	n := func(name string) string {
		if number == "1" {
			return name
		}
		return name + "-" + number
	}
	sid := "s-" + number
	ref := func(name string) string { return "@" + n(name) }
	open := window(begin-10*minute, begin+2*hour)
	text := "uptime " + number
	s := story{
		{name: "request", at: begin - 30*minute, source: "broker", typ: "session.requested", data: obj{"requester": engineer, "targets": []obj{sys7}, "privileges": []string{"read"}, "window": open, "escort_required": true}},
		{name: "approval", at: begin - 20*minute, source: "broker", typ: "session.approved", data: obj{"approver": approver, "targets": []obj{sys7}, "privileges": []string{"read"}, "window": open, "escort_required": true, "request": ref("request")}},
		{name: "start", at: begin, source: "gateway", typ: "session.started", data: obj{"approval": ref("approval"), "target": sys7, "engineer": engineer, "engineer_mode": "relay", "escort": escort, "recording_mode": "strict", "privileges": []string{"read"}, "window": open}},
		{name: "engineer joins", at: begin + 1*time.Second, source: "gateway", typ: "participant.joined", data: obj{"participant": engineer, "connection_country": "IE"}},
		{name: "presence", at: begin + 30*time.Second, source: "console", typ: "escort.presence", data: obj{"escort": escort, "state": "active"}},
		{name: "instruction", at: begin + 31*time.Second, source: "console", typ: "instruction.received", data: obj{"instruction_id": "i-" + number, "from": engineer, "match_digest": match(text), "lines": 3}},
		{name: "review", at: begin + 40*time.Second, source: "console", typ: "instruction.reviewed", data: obj{"instruction_id": "i-" + number, "reviewer": escort, "decision": "accepted", "duration_ms": 3000, "reviewed_digest": match(text), "instruction": ref("instruction")}},
		{name: "command", at: begin + 60*time.Second, source: "gateway", typ: "command.executed", data: obj{"instruction_ref": ref("instruction"), "match_digest": match(text), "typed_by": escort, "target": sys7}},
		{name: "segment 1", at: begin + 30*minute, source: "recorder", typ: "recording.segment_sealed", data: obj{"recording_id": "r-" + number, "segment": 1, "interval": interval(begin, begin+30*minute), "artifact.digest": digest("1"), "prev_digest": nil}},
		{name: "segment 2", at: begin + hour, source: "recorder", typ: "recording.segment_sealed", data: obj{"recording_id": "r-" + number, "segment": 2, "interval": interval(begin+30*minute, begin+hour), "artifact.digest": digest("2"), "prev_digest": digest("1")}},
		{name: "end", at: begin + hour, source: "gateway", typ: "session.ended", data: obj{"ended_by": escort, "counts": nil, "last_sequence": nil}},
		{name: "finalized", at: begin + hour + time.Second, source: "recorder", typ: "recording.finalized", data: obj{"recording_id": "r-" + number, "segments": 2, "interval": interval(begin, begin+hour), "covered_ms": 3_600_000, "last_digest": digest("2")}},
		{name: "attestation", at: begin + 2*hour, source: "escort", typ: "session.attested", key: "p-escort", data: obj{"attester": escort, "observed_all": true, "understood_all": true, "unexplained_count": 0, "anomalies": nil}},
	}
	for i := range s {
		s[i].name = n(s[i].name)
		s[i].data["session_id"] = sid
	}
	return s
}

// changed is a change that all is well with, applied in the first session.
func changed() story {
	targets := []obj{sys7}
	s := story{
		{name: "proposal", at: -3 * hour, source: "pipeline", typ: "change.proposed", data: obj{"author": author, "targets": targets, "proposed_digest": digest("c"), "pipeline_ref": "run-1"}},
		{name: "change review", at: -2 * hour, source: "pipeline", typ: "change.reviewed", data: obj{"reviewer": reviewer, "decision": "accepted", "reviewed_digest": digest("c")}},
		{name: "change approval", at: -1 * hour, source: "pipeline", typ: "change.approved", data: obj{"approver": approver, "auto": false, "approved_digest": digest("c"), "targets": targets, "window": nil}},
		{name: "application", at: 10 * minute, source: "pipeline", typ: "change.applied", data: obj{"author": author, "applied_by": escort, "targets": targets, "applied_digest": digest("c"), "session_id": "s-1", "pipeline_ref": absent}},
	}
	for i := range s {
		s[i].data["change_id"] = "c-1"
	}
	return s
}

// absent as a value takes a member away.
const absent = "\x00absent"

// edit changes a story.
type edit func(story) story

func (s story) line(name string) *line {
	i := slices.IndexFunc(s, func(l line) bool { return l.name == name })
	if i < 0 {
		panic("no line " + name)
	}
	return &s[i]
}

// set sets a member of a line's data.
func set(name, path string, value any) edit {
	return func(s story) story {
		l := s.line(name)
		l.data = maps.Clone(l.data)
		l.data[path] = value
		return s
	}
}

// without takes lines away.
func without(names ...string) edit {
	return func(s story) story {
		for _, name := range names {
			s.line(name)
		}
		return slices.DeleteFunc(s, func(l line) bool { return slices.Contains(names, l.name) })
	}
}

// at moves a line in t.
func at(name string, when time.Duration) edit {
	return func(s story) story { s.line(name).at = when; return s }
}

// logged sets how long a line took into the log.
func logged(name string, took time.Duration) edit {
	return func(s story) story { s.line(name).logged = took; return s }
}

// with adds lines.
func with(lines ...line) edit { return func(s story) story { return append(s, lines...) } }

// like adds a copy of a line under another name.
func like(name, as string, edits ...edit) edit {
	return func(s story) story {
		l := *s.line(name)
		l.name, l.data = as, maps.Clone(l.data)
		s = append(s, l)
		for _, e := range edits {
			s = e(s)
		}
		return s
	}
}

// and adds whole stories.
func and(more ...story) edit {
	return func(s story) story { return append(s, slices.Concat(more...)...) }
}

// everywhere replaces a person in all lines.
func everywhere(who obj, as obj) edit {
	return func(s story) story {
		for i := range s {
			s[i].data = maps.Clone(s[i].data)
			for path, v := range s[i].data {
				if p, ok := v.(obj); ok && p["ref"] == who["ref"] {
					s[i].data[path] = as
				}
			}
		}
		return s
	}
}

// but returns a person changed in one member.
func but(p obj, member string, value any) obj {
	p = maps.Clone(p)
	if p[member] = value; value == absent {
		delete(p, member)
	}
	return p
}

func sample(t testing.TB, typ string) obj {
	b, err := os.ReadFile("../../log/event/testdata/samples/" + typ + ".v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Data obj }
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v.Data
}

// put sets a member by its path.
func put(data obj, path string, value any) {
	head, rest, deeper := strings.Cut(path, ".")
	switch {
	case deeper:
		put(data[head].(obj), rest, value)
	case value == absent:
		delete(data, path)
	default:
		data[path] = value
	}
}

// teller turns stories into records.
type teller struct {
	t       testing.TB
	records []rules.Record
	chains  map[string]*chain
	dir     *event.Directory
	told    map[string]string // source by line
}

type chain struct {
	next int64
	prev string
}

func newTeller(t testing.TB) *teller {
	te := &teller{t: t, chains: map[string]*chain{}, dir: event.NewDirectory(), told: map[string]string{}}
	admin := publicKey(t, "admin")
	payload, err := event.NewLogCreated(id("log"), noon.Add(-9*day), event.Genesis{Origin: "log.example/rules", Threshold: 1, Administrators: []event.Administrator{{Key: admin}}})
	te.authority(payload, err)
	for _, owner := range []string{"p-escort", "p-second", "p-reviewer", "p-approver", "p-engineer", "service"} {
		r := event.KeyRegistration{Key: publicKey(t, owner), Source: "urn:example:escort"}
		if owner != "service" {
			r.PersonRef = owner
		}
		payload, err := event.NewKeyRegistered(te.header("key of "+owner, -8*day), r)
		te.authority(payload, err, "admin")
	}
	return te
}

func publicKey(t testing.TB, name string) *event.PublicKey {
	seed := sha256.Sum256([]byte(name))
	k, err := event.NewPublicKey(ed25519.NewKeyFromSeed(seed[:]).Public())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (te *teller) header(name string, at time.Duration) event.Header {
	return event.Header{ID: id(name), Time: noon.Add(at), Origin: "log.example/rules", Prev: te.dir.Prev()}
}

// authority adds an authority event; nobody verifies its signatures here.
func (te *teller) authority(payload []byte, err error, signers ...string) {
	te.t.Helper()
	if err != nil {
		te.t.Fatal(err)
	}
	ev, err := event.Parse(payload)
	if err != nil {
		te.t.Fatal(err)
	}
	r := te.record(payload, ev.Time, signers...)
	if err := te.dir.Apply(r.Index, r.LeafHash, r.Entry, ev); err != nil {
		te.t.Fatal(err)
	}
}

func (te *teller) record(payload []byte, logged time.Time, signers ...string) rules.Record {
	te.t.Helper()
	e := &entry.Entry{Time: logged.UnixMilli(), PayloadType: entry.PayloadType, Payload: payload}
	for _, name := range signers {
		e.Signatures = append(e.Signatures, entry.Signature{KeyID: publicKey(te.t, name).KeyID(), Sig: []byte("not verified")})
	}
	leaf, err := e.Marshal()
	if err != nil {
		te.t.Fatal(err)
	}
	ev, err := event.Parse(payload)
	if err != nil {
		te.t.Fatal(err)
	}
	r := rules.Record{Index: int64(len(te.records)), LeafTime: e.Time, LeafHash: entry.LeafHash(leaf), Entry: e, Event: ev}
	te.records = append(te.records, r)
	return r
}

// tell logs a story, each line when it reaches the log.
func (te *teller) tell(s story) *teller {
	te.t.Helper()
	s = slices.Clone(s)
	reaches := func(l line) time.Duration { return l.at + l.recorded + l.logged }
	slices.SortStableFunc(s, func(a, b line) int { return int(reaches(a) - reaches(b)) })
	for _, l := range s {
		te.told[l.name] = l.source
	}
	for _, l := range s {
		te.line(l, noon.Add(reaches(l)))
	}
	return te
}

func (te *teller) line(l line, when time.Time) {
	te.t.Helper()
	data := sample(te.t, l.typ)
	delete(data, "effective_at")
	for _, path := range slices.Sorted(maps.Keys(l.data)) {
		value := l.data[path]
		if name, ok := value.(string); ok && strings.HasPrefix(name, "@") {
			value = obj{"source": "urn:example:" + te.told[name[1:]], "id": id(name[1:])}
		}
		put(data, path, value)
	}
	if _, had := sample(te.t, l.typ)["effective_at"]; had && data["effective_at"] == nil {
		data["effective_at"] = noon.Add(l.at).Format(time.RFC3339Nano)
	}
	a := event.Attributes{ID: id(l.name), Source: "urn:example:" + l.source, Type: event.Prefix + l.typ + ".v1", Subject: subject(l, data),
		Time: noon.Add(l.at), RecordedTime: noon.Add(l.at + l.recorded)}
	c := te.chains[l.source]
	if c == nil {
		c = &chain{next: 1}
		te.chains[l.source] = c
	}
	if !l.bare {
		a.Sequence, a.PrevHash = c.next, c.prev
		if l.seq != 0 {
			a.Sequence = l.seq
		}
		if l.prev != "" {
			a.PrevHash = strings.TrimSuffix(l.prev, "none")
		}
	}
	payload, err := event.Build(a, data)
	if err != nil {
		te.t.Fatalf("%s: %v", l.name, err)
	}
	if !l.bare && a.Sequence >= c.next { // what repeats a number or comes late is not built upon
		c.next, c.prev = a.Sequence+1, event.PrevHash(payload)
	}
	key := l.key
	if key == "" {
		key = "service"
	}
	r := te.record(payload, when, key)
	if err := event.Validate(r.Event, false); err != nil {
		te.t.Fatalf("%s: %v\n%s", l.name, err, payload)
	}
}

func subject(l line, data obj) string {
	t, _ := event.Lookup(event.Prefix + l.typ + ".v1")
	if t.SubjectField == "@source" {
		return t.SubjectKind + "/urn:example:" + l.source
	}
	var v any = data
	for _, member := range strings.Split(t.SubjectField, ".") {
		v = v.(obj)[member]
	}
	return fmt.Sprintf("%s/%v", t.SubjectKind, v)
}

// judge reports on everything told.
func (te *teller) judge(cfg *rules.Config, at time.Duration) []rules.Verdict {
	e := rules.New(cfg)
	for _, r := range te.records {
		e.Add(r)
	}
	return e.Report(noon.Add(at))
}
