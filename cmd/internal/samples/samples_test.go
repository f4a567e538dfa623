package samples

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/event"
)

func sessions(t *testing.T) *Sessions {
	t.Helper()
	s, err := NewSessions()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parse(t *testing.T, e Event) *event.Event {
	t.Helper()
	ev, err := event.Parse(e.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func TestSamplesAreTheSameEachTime(t *testing.T) {
	a, b := sessions(t), sessions(t)
	for i := range a.Good {
		if !bytes.Equal(a.Good[i].Payload, b.Good[i].Payload) {
			t.Fatalf("event %d differs:\n%s\n%s", i, a.Good[i].Payload, b.Good[i].Payload)
		}
	}
	for _, r := range sourceTable {
		a, err := Key(r.name, r.keyType)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := Key(r.name, r.keyType)
		pa, err := event.MarshalPrivateKeyPEM(a)
		if err != nil {
			t.Fatal(err)
		}
		if pb, _ := event.MarshalPrivateKeyPEM(b); !bytes.Equal(pa, pb) {
			t.Errorf("the key of %s differs", r.name)
		}
	}
}

// TestEverySourceCountsAndChains recomputes sequence and prevhash of each
// source over both sessions, and demands that every event is valid and that
// nothing is recorded before something that stands earlier in the files.
func TestEverySourceCountsAndChains(t *testing.T) {
	s := sessions(t)
	count, prev, last := map[string]int{}, map[string]string{}, ""
	for i, e := range slices.Concat(s.Good, s.Unattested) {
		ev := parse(t, e)
		if err := event.Validate(ev, false); err != nil {
			t.Errorf("event %d: %s: %v", i, ev.Type, err)
		}
		if ev.Source != e.Source.URI {
			t.Errorf("event %d says it comes from %s and is given to %s to sign", i, ev.Source, e.Source.URI)
		}
		count[ev.Source]++
		if want := fmt.Sprintf("%020d", count[ev.Source]); ev.Sequence != want || ev.PrevHash != prev[ev.Source] {
			t.Errorf("event %d of %s: sequence %s and prevhash %s, want %s and %s", i, ev.Source, ev.Sequence, ev.PrevHash, want, prev[ev.Source])
		}
		sum := sha256.Sum256(e.Payload)
		prev[ev.Source] = hex.EncodeToString(sum[:])
		recorded := ev.RecordedTime.Format("2006-01-02T15:04:05.000000000")
		if recorded < last {
			t.Errorf("event %d is recorded at %s, after one of %s", i, recorded, last)
		}
		last = recorded
	}
	if len(count) != len(sourceTable)-1 {
		t.Errorf("%d sources speak, want all of %d but one escort: %v", len(count), len(sourceTable), count)
	}
}

// TestSessionsSayWhatTheyAreFor looks for what the two sessions are samples of.
func TestSessionsSayWhatTheyAreFor(t *testing.T) {
	s := sessions(t)
	short := func(events []Event, session string) map[string]int {
		types := map[string]int{}
		for _, e := range events {
			if ev := parse(t, e); session == "" || bytes.Contains(ev.Data, []byte(`"session_id":"`+session+`"`)) {
				kind, _ := event.Lookup(ev.Type)
				types[kind.Short()]++
			}
		}
		return types
	}
	good := short(s.Good, GoodSession)
	for _, want := range []string{
		"session.requested", "session.approved", "escort.assigned", "session.started", "participant.joined", "instruction.received",
		"instruction.reviewed", "command.executed", "change.proposed", "change.reviewed", "change.approved", "change.applied",
		"change.verified", "escort.presence", "recording.segment_sealed", "recording.finalized", "session.ended", "session.attested",
	} {
		if good[want] == 0 {
			t.Errorf("the good session has no %s", want)
		}
	}
	if good["instruction.reviewed"] != good["instruction.received"] || good["command.executed"] != good["instruction.received"]-1 {
		t.Errorf("every instruction is reviewed and all but the refused one are run: %v", good)
	}
	registry := short(s.Good, "")
	for _, want := range []string{"system.registered", "person.enrolled", "escort.qualified", "authorization.granted"} {
		if registry[want] == 0 {
			t.Errorf("nothing comes before the session about %s", want)
		}
	}
	bad := short(s.Unattested, UnattestedSession)
	if bad["session.ended"] != 1 || bad["command.executed"] == 0 || bad["session.attested"] != 0 {
		t.Errorf("the other session ended, commands ran in it, and nobody attested it: %v", bad)
	}
	if totals := short(s.Unattested, ""); totals["period.closed"] != 5 {
		t.Errorf("%d sources state their totals, want 5", totals["period.closed"])
	}
}

// TestNothingIsDisclosed demands that no committed content stands in an event,
// that every commitment can be opened, and that each has a salt of its own.
func TestNothingIsDisclosed(t *testing.T) {
	s := sessions(t)
	var all strings.Builder
	for _, e := range slices.Concat(s.Good, s.Unattested) {
		all.Write(e.Payload)
	}
	salts := map[string]bool{}
	for _, d := range s.Disclosures {
		if !d.Commitment.Opens(d.Salt, d.Content) {
			t.Errorf("the commitment to %q does not open", d.Content)
		}
		if salts[string(d.Salt)] {
			t.Errorf("the salt of %q is used twice", d.Content)
		}
		salts[string(d.Salt)] = true
		if !strings.Contains(all.String(), d.Commitment.Digest) {
			t.Errorf("no event bears the commitment to %q", d.Content)
		}
		if len(d.Content) > 4 && strings.Contains(all.String(), strings.TrimSpace(string(d.Content))) {
			t.Errorf("%q stands in an event in the clear", d.Content)
		}
	}
	if n := strings.Count(all.String(), `"$commit"`); n != len(s.Disclosures) {
		t.Errorf("%d commitments in the events and %d disclosures", n, len(s.Disclosures))
	}
}
