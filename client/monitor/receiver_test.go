package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// spoilt is a log that serves another last leaf.
type spoilt struct {
	audit.Log
	leaf []byte
}

func (s spoilt) Bundle(ctx context.Context, t tile.Tile) ([][]byte, error) {
	entries, err := s.Log.Bundle(ctx, t)
	if err == nil {
		entries[len(entries)-1] = s.leaf
	}
	return entries, err
}

func (w *world) withHook(c *Config) { c.Webhook = w.server.URL + "/hook" }

// What the webhook does not take waits, also over a restart, and is sent once.
func TestWebhookFailsAndRecovers(t *testing.T) {
	w := newWorld(t)
	w.grow(3, time.Hour)
	w.publish()
	w.change(func() { w.down["hook"] = true })
	m := w.open(w.withHook)
	list := w.round(m, audit.ExitUnavailable)
	expect(t, list, "raised rule", "raised rule", "raised rule")
	must(t, m.Close())
	m = w.open(w.withHook)
	w.grow(1, time.Hour)
	w.publish()
	list = append(list, w.round(m, audit.ExitUnavailable)...)
	w.change(func() { w.down["hook"] = false })
	expect(t, w.round(m, audit.ExitFindings))
	var want []string
	for _, f := range list {
		want = append(want, f.ID)
	}
	if len(want) != 4 || !slices.Equal(w.hook, want) {
		t.Errorf("the webhook got %q, want %q", w.hook, want)
	}
	must(t, m.Close())
	w.round(w.open(w.withHook), audit.ExitFindings)
	if len(w.hook) != 4 {
		t.Errorf("the webhook got %q", w.hook)
	}
}

// A crash after the webhook took a finding and before that was kept sends the
// finding again, with the same id, and loses none.
func TestCrashBetweenDeliveryAndCursor(t *testing.T) {
	w := newWorld(t)
	w.grow(2, time.Hour)
	w.publish()
	m := w.open(w.withHook)
	hook := m.receivers[1]
	deliver := hook.deliver
	crash := errors.New("crash")
	hook.deliver = func(ctx context.Context, f *Finding, line []byte, at *cursor) error {
		return errors.Join(deliver(ctx, f, line, at), crash)
	}
	if _, err := m.Once(context.Background()); !errors.Is(err, crash) {
		t.Fatal(err)
	}
	must(t, m.Close())
	w.out.Reset()
	w.round(w.open(w.withHook), audit.ExitFindings)
	if len(w.hook) != 3 || w.hook[0] != w.hook[1] || w.hook[1] == w.hook[2] {
		t.Errorf("the webhook got %q", w.hook)
	}
}

func TestMetrics(t *testing.T) {
	w := newWorld(t)
	registry := prometheus.NewRegistry()
	m := w.open(func(c *Config) { c.Registerer = registry })
	w.grow(1, time.Hour)
	w.publish()
	w.change(func() { w.down["a"] = true })
	w.round(m, audit.ExitFindings)
	must(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP escortlog_monitor_checkpoint_size Leaves of the newest checkpoint that was verified.
# TYPE escortlog_monitor_checkpoint_size gauge
escortlog_monitor_checkpoint_size{log="log.example.org/monitor"} 3
# HELP escortlog_monitor_findings_total Findings raised since the start.
# TYPE escortlog_monitor_findings_total counter
escortlog_monitor_findings_total{kind="rule",log="log.example.org/monitor",severity="low"} 1
escortlog_monitor_findings_total{kind="witness-unavailable",log="log.example.org/monitor",severity="low"} 1
# HELP escortlog_monitor_rounds_total Rounds by outcome: proven, findings, integrity, incomplete, unavailable.
# TYPE escortlog_monitor_rounds_total counter
escortlog_monitor_rounds_total{log="log.example.org/monitor",outcome="findings"} 1
`), "escortlog_monitor_checkpoint_size", "escortlog_monitor_findings_total", "escortlog_monitor_rounds_total"))
}

// The event of a finding fits its type, and is the same each time.
func TestEventOfFinding(t *testing.T) {
	r := &raiser{m: &Monitor{cfg: Config{Source: "urn:example:monitor"}}, t: &Target{Origin: origin}}
	at := time.UnixMilli(1_750_000_000_123).UTC()
	f := &Finding{ID: identify("x"), Status: Raised, Kind: KindRule, Severity: "high", Log: origin, Rule: "OVERSTAY", Subject: "session/s-1", Summary: strings.Repeat("ü", 3000), Refs: []rules.Ref{{Index: 3, Source: source, ID: "e-1"}, {Index: 4}}, Population: 7, Head: &Head{Size: 9}, RulesDigest: rules.Default().Digest(), Time: at, At: at.UnixMilli()}
	for _, f := range []*Finding{f, {ID: identify("y"), Kind: KindStale, Severity: "high", Log: origin, Summary: "old", Time: at, At: at.UnixMilli()}} {
		first, err := r.raised(f, &cursor{})
		must(t, err)
		ev, err := event.Parse(first)
		must(t, err)
		must(t, event.Validate(ev, false))
		line, err := json.Marshal(f)
		must(t, err)
		again := new(Finding)
		must(t, json.Unmarshal(line, again))
		second, err := r.raised(again, &cursor{})
		must(t, err)
		if string(first) != string(second) {
			t.Errorf("%s\n%s", first, second)
		}
		if ev.SequenceNumber() != 1 || ev.PrevHash != "" {
			t.Errorf("%s", first)
		}
	}
	// What closes it names it, and the event that raised it.
	raised, err := r.raised(f, &cursor{})
	must(t, err)
	raisedEvent, err := event.Parse(raised)
	must(t, err)
	for continued, outcome := range map[string]string{"": "resolved", identify("z"): "duplicate"} {
		g := *f
		g.Status, g.Clears, g.RaisedAt, g.ID, g.At, g.Reason, g.Continued = Closed, f.ID, f.At, identify(Closed, f.ID), f.At+1, "it came late", continued
		payload, err := r.closed(&g, &cursor{Sequence: 4})
		must(t, err)
		ev, err := event.Parse(payload)
		must(t, err)
		must(t, event.Validate(ev, false))
		var data struct {
			ID      string    `json:"finding_id"`
			Outcome string    `json:"outcome"`
			Session string    `json:"session_id"`
			Raised  rules.Ref `json:"raised"`
		}
		must(t, json.Unmarshal(ev.Data, &data))
		if data.ID != f.ID || data.Outcome != outcome || data.Session != "s-1" || data.Raised.ID != raisedEvent.ID || ev.ID == raisedEvent.ID || ev.SequenceNumber() != 5 {
			t.Errorf("%s", payload)
		}
	}
	next, err := r.raised(f, &cursor{Sequence: 1, PrevHash: event.PrevHash([]byte("x"))})
	must(t, err)
	if ev, err := event.Parse(next); err != nil || ev.SequenceNumber() != 2 || ev.PrevHash != event.PrevHash([]byte("x")) {
		t.Errorf("%s: %v", next, err)
	}
	if !r.own([]rules.Ref{{Source: "urn:example:monitor"}}) || r.own(f.Refs) || r.own(nil) {
		t.Error("what is the monitor's own is not told from what is not")
	}
}

// Each attempt waits longer than the one before.
func TestWebhookBacksOff(t *testing.T) {
	w := newWorld(t)
	w.grow(1, time.Hour)
	w.publish()
	w.change(func() { w.down["hook"] = true })
	var waits []time.Duration
	m := w.open(w.withHook, func(c *Config) {
		c.Sleep = func(_ context.Context, d time.Duration) error {
			if waits = append(waits, d); len(waits) == 3 {
				w.change(func() { w.down["hook"] = false })
			}
			return nil
		}
	})
	expect(t, w.round(m, audit.ExitFindings), "raised rule")
	if want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}; !slices.Equal(waits, want) || len(w.hook) != 1 {
		t.Errorf("waited %v, want %v; the webhook got %q", waits, want, w.hook)
	}
}
