package monitor

import (
	"os"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/event"
)

// number adds an event with a number.
func (w *world) number(n int64) {
	w.t.Helper()
	w.clock = w.clock.Add(time.Second)
	payload, err := event.Build(event.Attributes{ID: w.id(), Source: source, Type: event.Prefix + "source.heartbeat.v1", Subject: "source/" + source, Time: w.clock, Sequence: n},
		map[string]any{"period_s": 86400, "last_sequence": nil, "open_sessions": []string{}})
	must(w.t, err)
	w.add(payload, "gateway")
}

// A finding is closed once, when leaves that come later explain it or make another
// of it; not by other rules, not after a restart, and not where the rule does not
// list all that it finds.
func TestFindingsClose(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	w.number(1)
	w.number(5) // 2 to 4 are missing
	w.publish()
	raised := w.round(m, audit.ExitFindings)
	expect(t, raised, "raised rule")

	w.number(3) // in the middle: two gaps are left
	w.publish()
	list := w.round(m, audit.ExitFindings)
	expect(t, list, "raised rule", "raised rule", "closed rule")
	if g := list[0]; g.Clears != raised[0].ID || g.RaisedAt != raised[0].At || g.Continued == "" || g.Rule != "SEQUENCE" || g.Head.Size != 5 {
		t.Errorf("%+v", g)
	}
	expect(t, w.round(m, audit.ExitFindings))

	// Other rules find nothing, which says nothing about these.
	must(t, m.Close())
	silent, err := rules.Parse([]byte("version: 1\ndisable: [SEQUENCE]\n"))
	must(t, err)
	m = w.open(func(c *Config) { c.Rules = silent })
	w.number(6)
	w.publish()
	expect(t, w.round(m, audit.ExitFindings))
	must(t, m.Close())
	m = w.open()
	expect(t, w.round(m, audit.ExitFindings))

	w.number(2)
	w.publish()
	before, err := os.ReadFile(m.file(fileFindings))
	must(t, err)
	list = w.round(m, audit.ExitFindings)
	expect(t, list, "closed rule")
	if g := list[0]; g.Continued != "" || g.Clears == "" {
		t.Errorf("%+v", g)
	}
	first := list[0]

	// Killed before the journal grew, or in the middle of the line: the same again.
	must(t, m.Close())
	must(t, os.WriteFile(m.file(fileFindings), append(before, `{"version":1,"id`...), 0o644))
	for _, name := range []string{"output.sent"} {
		must(t, os.Remove(m.file(name)))
	}
	m = w.open(func(c *Config) { c.Output = nil })
	w.round(m, audit.ExitFindings)
	must(t, m.Close())
	var last *Finding
	j, err := openJournal(m.file(fileFindings))
	must(t, err)
	must(t, j.each(0, func(f *Finding, _ []byte, _ int64) error {
		last = f
		return nil
	}))
	must(t, j.file.Close())
	if last.Status != Closed || last.ID != first.ID || last.Clears != first.Clears {
		t.Errorf("%+v, not %+v", last, first)
	}
}
