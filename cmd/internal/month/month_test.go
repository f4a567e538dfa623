package month

import (
	"bytes"
	"crypto"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/escortlog/escortlog/cmd/internal/samples"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"golang.org/x/mod/sumdb/tlog"
)

// clean is a clean month, made once.
var clean = sync.OnceValues(func() (*Month, error) { return New(Config{Seed: 1}) })

func cleanMonth(t *testing.T) *Month {
	t.Helper()
	m, err := clean()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func make1(t testing.TB, cfg Config) *Month {
	t.Helper()
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// signed is for months whose signatures need not be verified once more: who makes
// one verifies it, and the clean month's are.
func signed(event.SigJob) error { return nil }

// check repeats for every leaf what a log and an auditor check, and returns the
// events. Where sigs is nil, it verifies the signatures.
func check(t *testing.T, m *Month, sigs event.SigChecker) []*event.Event {
	t.Helper()
	d := event.NewDirectory()
	var events []*event.Event
	last := int64(0)
	seen := map[[32]byte]bool{}
	for i, leaf := range m.Leaves {
		e, err := entry.Parse(leaf)
		if err != nil {
			t.Fatalf("leaf %d: %v", i, err)
		}
		if e.Time < last {
			t.Fatalf("leaf %d: its time is before that of the leaf before it", i)
		}
		last = e.Time
		ev, err := d.CheckLeaf(int64(i), e, sigs)
		if err != nil {
			t.Fatalf("leaf %d: %v\n%s", i, err, e.Payload)
		}
		id := entry.Identity(ev.Source, ev.ID)
		if seen[id] {
			t.Fatalf("leaf %d: %s of %s is there already", i, ev.ID, ev.Source)
		}
		seen[id] = true
		// The door refuses what is more than five minutes ahead.
		if err := event.CheckClock(ev, e.Time); err != nil {
			t.Fatalf("leaf %d: %v", i, err)
		}
		events = append(events, ev)
	}
	return events
}

func short(ev *event.Event) string {
	k, _ := event.Lookup(ev.Type)
	return k.Short()
}

// TestCleanMonth: a log would have taken every leaf, and the month is as large
// and as varied as it says.
func TestCleanMonth(t *testing.T) {
	t.Parallel()
	m := cleanMonth(t)
	if len(m.Expected) != 0 {
		t.Fatalf("a clean month expects %v", m.Expected)
	}
	types, people, systems := map[string]int{}, map[string]bool{}, 0
	for _, ev := range check(t, m, nil) {
		types[short(ev)]++
		if short(ev) == "person.enrolled" {
			people[ev.Subject] = true
		}
		if short(ev) == "system.registered" {
			systems++
		}
	}
	if m.Sessions != 300 || types["session.started"] != 300 || types["session.ended"] != 300 || len(people) < 50 || systems < 12 {
		t.Errorf("%d sessions, %d starts, %d people, %d systems", m.Sessions, types["session.started"], len(people), systems)
	}
	for _, typ := range strings.Fields(`session.requested session.approved escort.assigned session.paused session.resumed escort.handed_off
		participant.joined participant.left screenshare.started screenshare.stopped escort.presence instruction.received instruction.reviewed
		command.executed script.staged file.transferred recording.segment_sealed recording.finalized session.attested session.reviewed
		change.proposed change.reviewed change.approved change.emergency_declared change.applied change.rolled_back change.verified
		drift.detected person.updated person.separated escort.qualified authorization.granted ssp.declared source.heartbeat period.closed
		session.denied command.blocked privilege.elevated clipboard.transferred recording.accessed change.rejected hold.placed hold.released
		source.gap record.corrected record.redacted key.registered key.revoked source.registered`) {
		if types[typ] == 0 {
			t.Errorf("no %s in a whole month", typ)
		}
	}
}

func TestSameSeedSameMonth(t *testing.T) {
	t.Parallel()
	cfg := Config{Seed: 7, Sessions: 1, Plant: Plantings()}
	a, b := make1(t, cfg), make1(t, cfg)
	if !slices.EqualFunc(a.Leaves, b.Leaves, bytes.Equal) || !slices.Equal(a.Expected, b.Expected) {
		t.Error("two months of one seed differ")
	}
	cfg = Config{Seed: 8, Sessions: 1}
	if c := make1(t, cfg); slices.EqualFunc(a.Leaves, c.Leaves, bytes.Equal) {
		t.Error("two seeds make one month")
	}
}

// TestJSONL: another log takes every line, once it has registered the sources.
func TestJSONL(t *testing.T) {
	t.Parallel()
	m := make1(t, Config{Seed: 1, Sessions: 3, Plant: Plantings()[:1]})
	text, err := m.JSONL()
	if err != nil {
		t.Fatal(err)
	}
	d, prev, index := event.NewDirectory(), tlog.Hash{}, int64(0)
	take := func(payload []byte, err error, keys ...crypto.Signer) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		e := &entry.Entry{Time: 1, PayloadType: entry.PayloadType, Payload: payload}
		for _, k := range keys {
			s, err := event.Sign(k, e.PayloadType, payload)
			if err != nil {
				t.Fatal(err)
			}
			e.Signatures = append(e.Signatures, s)
		}
		if _, err := d.CheckLeaf(index, e, nil); err != nil {
			t.Fatal(err)
		}
		leaf, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		prev, index = entry.LeafHash(leaf), index+1
	}
	admins, err := samples.Admins()
	if err != nil {
		t.Fatal(err)
	}
	genesis, err := samples.Genesis("log.example/another", admins)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := event.NewLogCreated(authorityID(end, 0), end, genesis)
	take(payload, err)
	header := func() event.Header {
		return event.Header{ID: authorityID(end, int(index)), Time: end, Origin: genesis.Origin, Prev: prev}
	}
	for _, s := range m.Sources {
		payload, err := event.NewSourceRegistered(header(), s.Registration)
		take(payload, err, admins[0].Key, admins[1].Key)
		for _, k := range s.Keys {
			payload, err := event.NewKeyRegistered(header(), k.Registration)
			take(payload, err, admins[0].Key, admins[1].Key, k.Key)
		}
	}
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	for i, line := range lines {
		v, err := entry.ParseEnvelope(line)
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		if _, err := d.CheckLeaf(index, v.Entry(1), signed); err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		index++
	}
	if len(lines) < 1000 {
		t.Errorf("%d lines", len(lines))
	}
}

func TestTooManySessions(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{Sessions: 1000}); err == nil {
		t.Error("a month holds a thousand sessions")
	}
	if _, err := New(Config{Sessions: 1, Plant: []Planting{{Rule: "X", plant: func(*world) {}}}}); err == nil || !strings.Contains(err.Error(), "plants nothing") {
		t.Errorf("a planting that plants nothing: %v", err)
	}
	if _, err := New(Config{Sessions: 1, Plant: []Planting{{Rule: "X", plant: func(w *world) { w.fail(errors.New("x")) }}}}); err == nil {
		t.Error("an error of a planting is lost")
	}
	if !end.After(closing) || !closing.After(lastDay.Add(24*time.Hour)) {
		t.Error("the month is looked at before everything in it was due")
	}
}
