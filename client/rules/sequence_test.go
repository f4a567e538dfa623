package rules_test

import (
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/event"
)

// number tells a heartbeat with a number and a prevhash, and returns its hash.
func (te *teller) number(name string, n int64, prev string) string {
	te.t.Helper()
	when := noon.Add(time.Duration(len(te.records)) * time.Minute)
	payload, err := event.Build(event.Attributes{ID: id(name), Source: "urn:example:gateway", Type: event.Prefix + "source.heartbeat.v1", Subject: "source/urn:example:gateway",
		Time: when, Sequence: n, PrevHash: prev}, obj{"period_s": 3600, "last_sequence": nil, "open_sessions": []string{}})
	if err != nil {
		te.t.Fatal(err)
	}
	te.record(payload, when, "service")
	return event.PrevHash(payload)
}

// TestAfterARepeat: a number that is repeated is one finding, whichever of its
// payloads the next event names, also when that comes late; one that names neither
// is another.
func TestAfterARepeat(t *testing.T) {
	for name, c := range map[string]struct {
		next func(first, second string) string
		late bool
		want int64
	}{
		"the first":               {func(first, _ string) string { return first }, false, 1},
		"the second":              {func(_, second string) string { return second }, false, 1},
		"neither":                 {func(_, _ string) string { return strings.Repeat("0", 64) }, false, 2},
		"the second, late":        {func(_, second string) string { return second }, true, 1},
		"neither, and comes late": {func(_, _ string) string { return strings.Repeat("0", 64) }, true, 2},
	} {
		te := newTeller(t)
		one := te.number("one", 1, "")
		first, second := te.number("first", 2, one), te.number("second", 2, one)
		if c.late {
			te.number("four", 4, "")
		}
		three := te.number("three", 3, c.next(first, second))
		if !c.late {
			te.number("four", 4, three)
		}
		if v := te.judge(nil, day)[rules.Sequence-1]; v.Count != c.want {
			t.Errorf("%s: %d findings, not %d: %+v", name, v.Count, c.want, v.Findings)
		}
	}
}
