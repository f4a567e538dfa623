package outbox

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/log/event"
)

func session(kind, id string) Event {
	e := Event{Type: event.Prefix + "session." + kind + ".v1", Subject: "session/" + id}
	if kind == "started" {
		e.Data = map[string]any{"session_id": id, "approval": nil, "target": map[string]any{"id": "sys-1"}, "account": nil, "protocol": "ssh",
			"engineer": nil, "engineer_mode": nil, "escort": nil, "recording_mode": nil}
	} else {
		e.Data = map[string]any{"session_id": id, "reason": "completed", "ended_by": nil, "counts": nil, "last_sequence": nil}
	}
	return e
}

func TestHeartbeat(t *testing.T) {
	f := newFakeLog()
	beats := func(c *Config) { c.Heartbeat = 30 * time.Second }
	o := openTest(t, t.TempDir(), f, beats)
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	o.now = func() time.Time { return at }
	var beat time.Time
	due := func(o *Outbox) {
		t.Helper()
		if next, err := o.due(&beat); err != nil || !next.Equal(beat) {
			t.Fatalf("next at %v, %v", next, err)
		}
	}
	due(o)
	due(o) // not yet again
	mustAppend(t, o, session("started", "s-2"))
	mustAppend(t, o, session("started", "s-1"))
	mustAppend(t, o, session("started", "s-3"))
	mustAppend(t, o, session("ended", "s-3"))
	at = at.Add(30 * time.Second)
	due(o)
	// A restart forgets no open session.
	again := openTest(t, crash(t, o), f, beats)
	again.now = func() time.Time { return at }
	mustAppend(t, again, session("ended", "s-2"))
	beat = time.Time{}
	due(again)
	again.config.OpenSessions = func() []string { return []string{"b", "a", "b"} }
	at = at.Add(30 * time.Second)
	due(again)
	drain(t, again)
	var got []map[string]any
	for _, ev := range f.logged() {
		if ev.Type == typeHeartbeat {
			got = append(got, dataOf(t, ev))
		}
	}
	want := []map[string]any{
		{"period_s": 30.0, "last_sequence": nil, "open_sessions": []any{}, "pending": 0.0},
		{"period_s": 30.0, "last_sequence": sequence(5), "open_sessions": []any{"s-1", "s-2"}, "pending": 5.0},
		{"period_s": 30.0, "last_sequence": sequence(7), "open_sessions": []any{"s-1"}, "pending": 7.0},
		{"period_s": 30.0, "last_sequence": sequence(8), "open_sessions": []any{"a", "b"}, "pending": 8.0},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
}

func TestManyOpenSessions(t *testing.T) {
	f := newFakeLog()
	o := openTest(t, t.TempDir(), f, func(c *Config) {
		c.Heartbeat = time.Second
		c.OpenSessions = func() (all []string) {
			for i := range 1234 {
				all = append(all, fmt.Sprint("s-", i))
			}
			return all
		}
	})
	if err := o.heartbeat(); err != nil {
		t.Fatal(err)
	}
	drain(t, o)
	d := dataOf(t, f.logged()[0])
	if n := len(d["open_sessions"].([]any)); n != 1000 || !reflect.DeepEqual(d["ext"], map[string]any{"more_open_sessions": 234.0}) {
		t.Errorf("%d sessions, %v", n, d["ext"])
	}
}

// TestFullHasNoHeartbeat: heartbeats do not fill the disk while the log is away.
func TestFullHasNoHeartbeat(t *testing.T) {
	o := openTest(t, t.TempDir(), newFakeLog(), func(c *Config) { c.Heartbeat, c.MaxBytes = time.Second, 4000 })
	for range 50 {
		if err := o.heartbeat(); err != nil {
			t.Fatal(err)
		}
	}
	if s := o.Status(); s.Pending == 0 || s.PendingBytes > 4000 {
		t.Errorf("status %+v", s)
	}
}

// TestPeriod: totals count what is in the log, when all of the period is decided,
// over restarts.
func TestPeriod(t *testing.T) {
	f := newFakeLog()
	hourly := func(c *Config) { c.Period = time.Hour }
	o := openTest(t, t.TempDir(), f, hourly)
	at := time.Date(2026, 3, 1, 9, 20, 30, 0, time.UTC)
	clock := func() time.Time { return at }
	o.now = clock
	tick := func(o *Outbox) {
		t.Helper()
		var beat time.Time
		if next, err := o.due(&beat); err != nil || !next.Equal(at.Truncate(time.Hour).Add(time.Hour)) {
			t.Fatalf("next at %v, %v", next, err)
		}
	}
	closed := func() (all []map[string]any) {
		for _, ev := range f.logged() {
			if ev.Type == typePeriod {
				all = append(all, dataOf(t, ev))
			}
		}
		return all
	}
	tick(o)
	f.answer = func(_ int, ev *event.Event) *client.Result {
		if ev.SequenceNumber() == 2 {
			return refusal422()
		}
		return nil
	}
	mustAppend(t, o, paused("counted"))
	mustAppend(t, o, paused("refused"))
	mustAppend(t, o, session("started", "s-1"))
	drain(t, o) // and a gap, number 4
	mustAppend(t, o, paused("pending"))
	at = at.Add(time.Hour)
	mustAppend(t, o, paused("in the next period"))
	tick(o)
	if o.Status().Pending != 2 {
		t.Error("the period was closed while one of its events was undecided")
	}
	again := openTest(t, crash(t, o), f, hourly)
	again.now = clock
	again.mu.Lock()
	err := again.rewrite() // the counts are kept
	again.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	drain(t, again)
	tick(again)
	tick(again) // only once
	drain(t, again)
	last := openTest(t, crash(t, again), f, hourly)
	last.now = clock
	tick(last)
	at = at.Add(3 * time.Hour)
	tick(last) // covers three hours
	drain(t, last)
	want := []map[string]any{{
		"period":         map[string]any{"start": "2026-03-01T09:20:00Z", "end": "2026-03-01T10:00:00Z"},
		"totals":         map[string]any{event.Prefix + "session.paused.v1": 2.0, event.Prefix + "session.started.v1": 1.0, typeGap: 1.0},
		"first_sequence": sequence(1), "last_sequence": sequence(5),
	}, {
		"period":         map[string]any{"start": "2026-03-01T10:00:00Z", "end": "2026-03-01T13:00:00Z"},
		"totals":         map[string]any{event.Prefix + "session.paused.v1": 1.0, typePeriod: 1.0},
		"first_sequence": sequence(6), "last_sequence": sequence(7),
	}}
	if got := closed(); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
}

// TestPeriodOfOldSource: what was logged before totals were kept is in none.
func TestPeriodOfOldSource(t *testing.T) {
	f := newFakeLog()
	o := openTest(t, t.TempDir(), f)
	at := time.Date(2026, 3, 1, 9, 20, 30, 0, time.UTC)
	o.now = func() time.Time { return at }
	mustAppend(t, o, paused("before"))
	drain(t, o)
	again := openTest(t, crash(t, o), f, func(c *Config) { c.Period = time.Hour })
	if err := again.closePeriod(at); err != nil {
		t.Fatal(err)
	}
	if err := again.closePeriod(at.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	drain(t, again)
	leaves := f.logged()
	d := dataOf(t, leaves[len(leaves)-1])
	if !reflect.DeepEqual(d["period"], map[string]any{"start": "2026-03-01T09:21:00Z", "end": "2026-03-01T10:00:00Z"}) || d["first_sequence"] != nil {
		t.Errorf("%v", d)
	}
}

// TestRun: heartbeats come by themselves, and Run ends with its context.
func TestRun(t *testing.T) {
	f := newFakeLog()
	o := openTest(t, t.TempDir(), f, func(c *Config) { c.Heartbeat, c.Period = time.Second, time.Hour })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- o.Run(ctx) }()
	for deadline := time.Now().Add(time.Minute); len(f.logged()) < 2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no heartbeats")
		}
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	leaves := f.logged()
	if leaves[0].Type != typeHeartbeat || leaves[1].Type != typeHeartbeat {
		t.Errorf("%s, %s", leaves[0].Type, leaves[1].Type)
	}
}
