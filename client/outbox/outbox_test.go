package outbox

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// TestDelivery: everything arrives once, in order, chained, with its receipt.
func TestDelivery(t *testing.T) {
	f := newFakeLog()
	o := openTest(t, t.TempDir(), f)
	const count = 300 // more than a batch
	for i := range count {
		if ticket := mustAppend(t, o, paused(fmt.Sprint(i))); ticket.Sequence != int64(i+1) || ticket.ID == "" {
			t.Fatalf("ticket %+v", ticket)
		}
	}
	drain(t, o)
	chained(t, f, count)
	if s := o.Status(); s.Pending != 0 || s.PendingBytes != 0 || s.Logged != count || *s.LastIndex != count-1 || s.Trouble != "" {
		t.Errorf("status %+v", s)
	}
	if names := files(t, o, receiptsDir); len(names) != 2*count {
		t.Errorf("%d receipt files", len(names))
	}
	leaf, err := os.ReadFile(filepath.Join(o.config.Dir, receiptsDir, "7.leaf"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := entry.Parse(leaf)
	if err != nil || string(e.Payload) != string(payload(t, f, 8)) {
		t.Errorf("the leaf that was kept is another (%v)", err)
	}
	proof, err := os.ReadFile(filepath.Join(o.config.Dir, receiptsDir, "7.tlog-proof"))
	if err != nil || !strings.Contains(string(proof), "index 7\n") {
		t.Errorf("the proof that was kept is %q (%v)", proof, err)
	}
}

// TestConcurrentWriters: whoever appends, the source is one serial writer.
func TestConcurrentWriters(t *testing.T) {
	f := newFakeLog()
	o := openTest(t, t.TempDir(), f)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 20 {
				if _, err := o.Append(paused(fmt.Sprint(w, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- o.Run(ctx) }()
	wg.Wait()
	if err := o.Drain(ctx); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	chained(t, f, 160)
}

// TestLogDown: while the log is away the same bytes are sent again, more and
// more rarely, and nothing is lost or overtaken.
func TestLogDown(t *testing.T) {
	f := newFakeLog()
	f.answer = func(n int, _ *event.Event) *client.Result {
		switch {
		case n <= 6:
			return &client.Result{Err: fmt.Errorf("%w: no route", client.ErrUnavailable)}
		case n <= 8:
			return &client.Result{Receipt: &client.Receipt{}, Err: fmt.Errorf("%w: still", checkpoint.ErrQuorum)}
		}
		return nil
	}
	o := openTest(t, t.TempDir(), f)
	var pauses []time.Duration
	o.pause = func(ctx context.Context, d time.Duration) error {
		pauses = append(pauses, d)
		if s := o.Status(); s.Trouble == "" || s.Pending != 3 || s.Logged != 0 {
			t.Errorf("status %+v", s)
		}
		return ctx.Err()
	}
	for i := range 3 {
		mustAppend(t, o, paused(fmt.Sprint(i)))
	}
	drain(t, o)
	chained(t, f, 3)
	if got := len(f.attempts[2]); got != 9 {
		t.Errorf("%d attempts", got)
	}
	if len(pauses) != 8 || pauses[7] <= pauses[0] || pauses[7] > maxPause {
		t.Errorf("pauses %v", pauses)
	}
}

// TestRestart: what was appended before a crash is sent after it, and the source
// goes on where it was.
func TestRestart(t *testing.T) {
	f := newFakeLog()
	first := openTest(t, t.TempDir(), f)
	for i := range 5 {
		mustAppend(t, first, paused(fmt.Sprint(i)))
	}
	// Logged, but the process dies before it notes that.
	batch, err := first.batch()
	if err != nil || len(batch) != 5 {
		t.Fatalf("%d events, %v", len(batch), err)
	}
	if _, err := f.Submit(t.Context(), batch[0].envelope, batch[1].envelope); err != nil {
		t.Fatal(err)
	}
	second := openTest(t, crash(t, first), f)
	mustAppend(t, second, paused("after the crash"))
	drain(t, second)
	chained(t, f, 6)
	if got := len(f.attempts[1]); got != 2 {
		t.Errorf("%d attempts", got)
	}
	// And again, with nothing pending.
	third := openTest(t, crash(t, second), f)
	if s := third.Status(); s.Pending != 0 || s.LastSequence != 6 || s.Logged != 6 {
		t.Errorf("status %+v", s)
	}
	mustAppend(t, third, paused("at last"))
	drain(t, third)
	chained(t, f, 7)
}

// TestRefused: a refused event is set aside with its problem, the others go on,
// and the log is told which numbers are missing.
func TestRefused(t *testing.T) {
	f := newFakeLog()
	f.answer = func(_ int, ev *event.Event) *client.Result {
		if n := ev.SequenceNumber(); n == 2 || n == 3 || n == 5 {
			return refusal422()
		}
		return nil
	}
	o := openTest(t, t.TempDir(), f)
	var ids []string
	for i := range 6 {
		ids = append(ids, mustAppend(t, o, paused(fmt.Sprint(i))).ID)
	}
	drain(t, o)
	leaves := f.logged()
	if len(leaves) != 5 {
		t.Fatalf("%d leaves", len(leaves))
	}
	for i, want := range []struct {
		first, last string
		ids         []any
	}{{sequence(2), sequence(3), []any{ids[1], ids[2]}}, {sequence(5), sequence(5), []any{ids[4]}}} {
		ev := leaves[3+i]
		d := dataOf(t, ev)
		if ev.Type != typeGap || ev.SequenceNumber() != int64(7+i) || d["first_sequence"] != want.first || d["last_sequence"] != want.last ||
			d["cause"] != "refused" || d["reason"] != "the log refused it: 422 schema-violation" || !slices.Equal(d["event_ids"].([]any), want.ids) {
			t.Errorf("%s %s %v", ev.Sequence, ev.Type, d)
		}
	}
	// The chain goes on over the missing numbers.
	if leaves[1].PrevHash != event.PrevHash(payload(t, f, 3)) {
		t.Error("the event after a refused one is not chained to it")
	}
	if names := files(t, o, refusedDir); !slices.Equal(names, []string{sequence(2) + ".json", sequence(3) + ".json", sequence(5) + ".json"}) {
		t.Errorf("set aside: %v", names)
	}
	text, err := os.ReadFile(filepath.Join(o.config.Dir, refusedDir, sequence(2)+".json"))
	if err != nil || !strings.Contains(string(text), "the detail quotes the event") || !strings.Contains(string(text), ids[1]) {
		t.Errorf("set aside: %s (%v)", text, err)
	}
	if s := o.Status(); s.Refused != 3 || s.Logged != 5 || s.Pending != 0 {
		t.Errorf("status %+v", s)
	}
	again := openTest(t, crash(t, o), f)
	if s := again.Status(); s.Refused != 3 || s.Logged != 5 || s.Pending != 0 || s.LastSequence != 8 {
		t.Errorf("status after a restart %+v", s)
	}
}

// TestHeld: a refusal of the source and not of the event loses nothing.
func TestHeld(t *testing.T) {
	for _, p := range []client.Problem{
		{Type: "urn:escortlog:problem:unknown-key", Status: 401},
		{Type: "urn:escortlog:problem:not-registered", Status: 403},
		{Type: "urn:escortlog:problem:source-retired", Status: 403},
		{Type: "urn:escortlog:problem:time-in-future", Status: 422},
		{Type: "urn:escortlog:problem:something-new", Status: 404},
	} {
		t.Run(p.Slug(), func(t *testing.T) {
			f := newFakeLog()
			f.answer = func(n int, _ *event.Event) *client.Result {
				if n < 3 {
					return &client.Result{Err: &client.RefusedError{Problem: p}}
				}
				return nil
			}
			o := openTest(t, t.TempDir(), f)
			mustAppend(t, o, paused("a"))
			mustAppend(t, o, paused("b"))
			drain(t, o)
			chained(t, f, 2)
			if names := files(t, o, refusedDir); len(names) != 0 {
				t.Errorf("set aside: %v", names)
			}
		})
	}
}

// TestNewKey: what waits under a key that was revoked goes out under the next,
// with the same payload; what the log holds already stays as it is.
func TestNewKey(t *testing.T) {
	f := newFakeLog()
	public, err := event.NewPublicKey(testKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	f.answer = func(n int, ev *event.Event) *client.Result {
		all := f.attempts[ev.SequenceNumber()]
		if _, held := f.index[ev.ID]; n == 1 || held || !strings.Contains(all[len(all)-1], public.KeyID()) {
			return nil
		}
		return &client.Result{Err: &client.RefusedError{Problem: client.Problem{Type: "urn:escortlog:problem:key-revoked", Status: 403}}}
	}
	old := openTest(t, t.TempDir(), f)
	for i := range 3 {
		mustAppend(t, old, paused(fmt.Sprint(i)))
	}
	batch, err := old.batch()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Submit(t.Context(), batch[0].envelope); err != nil { // logged, and not noted
		t.Fatal(err)
	}
	if _, err := old.submit(t.Context(), batch[1:]); err == nil || len(f.logged()) != 1 {
		t.Fatalf("under the revoked key: %v", err)
	}
	next := ed25519.NewKeyFromSeed(slices.Repeat([]byte{1}, ed25519.SeedSize))
	o := openTest(t, crash(t, old), f, func(c *Config) { c.Key = next })
	batch, err = o.batch()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.submit(t.Context(), batch); err == nil {
		t.Fatal("taken under the revoked key")
	}
	// The new signatures survive a crash and a rewrite.
	again := openTest(t, crash(t, o), f, func(c *Config) { c.Key = next })
	again.mu.Lock()
	err = again.rewrite()
	again.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, again, paused("new"))
	drain(t, again)
	leaves := f.logged()
	if len(leaves) != 4 || len(files(t, again, refusedDir)) != 0 {
		t.Fatalf("%d leaves", len(leaves))
	}
	prev := ""
	for i, ev := range leaves {
		all := f.attempts[int64(i+1)]
		v, err := entry.ParseEnvelope([]byte(all[len(all)-1]))
		if err != nil {
			t.Fatal(err)
		}
		if own := v.Signatures[0].KeyID == public.KeyID(); ev.SequenceNumber() != int64(i+1) || ev.PrevHash != prev || own != (i == 0) {
			t.Errorf("leaf %d: number %s, prevhash %s, by %s", i, ev.Sequence, ev.PrevHash, v.Signatures[0].KeyID)
		}
		prev = event.PrevHash(v.Payload)
	}
}

// TestNewKeyGoesOn: one run finds that the old key is refused, and delivers.
func TestNewKeyGoesOn(t *testing.T) {
	f := newFakeLog()
	old := openTest(t, t.TempDir(), f)
	mustAppend(t, old, paused("waiting"))
	f.answer = func(n int, _ *event.Event) *client.Result {
		if n == 1 {
			return &client.Result{Err: &client.RefusedError{Problem: client.Problem{Type: "urn:escortlog:problem:unknown-key", Status: 401}}}
		}
		return nil
	}
	next := ed25519.NewKeyFromSeed(slices.Repeat([]byte{1}, ed25519.SeedSize))
	drain(t, openTest(t, crash(t, old), f, func(c *Config) { c.Key = next }))
	if all := f.attempts[1]; len(all) != 2 || all[0] == all[1] {
		t.Errorf("%d attempts: %s", len(all), all)
	}
}

func TestWhatARefusalIsAbout(t *testing.T) {
	now := time.Now()
	ofType := func(typ string, at time.Time) outgoing { return outgoing{item: &item{typ: typ, at: at}} }
	for _, c := range []struct {
		slug   string
		status int
		of     outgoing
		want   bool
	}{
		{"malformed-event", 400, ofType(typeStarted, now), true},
		{"conflict", 409, ofType(typeStarted, now), true},
		{"too-large", 413, ofType(typeStarted, now), true},
		{"schema-violation", 422, ofType(typeStarted, now), true},
		{"type-not-allowed", 403, ofType(typeStarted, now), true},
		{"type-not-allowed", 403, ofType(typeGap, now), false},
		{"key-revoked", 403, ofType(typeStarted, now), false},
		{"bad-signature", 401, ofType(typeStarted, now), false},
		// Its clock was wrong, and has been set right.
		{"time-in-future", 422, ofType(typeStarted, now.Add(time.Hour)), true},
		{"time-in-future", 422, ofType(typeStarted, now), false},
	} {
		if got := aboutTheEvent(c.of, client.Problem{Type: "urn:escortlog:problem:" + c.slug, Status: c.status}, now); got != c.want {
			t.Errorf("%s of %s: %v", c.slug, c.of.typ, got)
		}
	}
}

// TestFalseReceipt: the event stays, and so does what the log said.
func TestFalseReceipt(t *testing.T) {
	f := newFakeLog()
	f.answer = func(n int, ev *event.Event) *client.Result {
		switch {
		case n == 1 && ev.SequenceNumber() == 1:
			return &client.Result{Err: &client.ReceiptError{Index: 7, Err: errors.New("another root"), Evidence: []byte("answer")}}
		case n == 2 && ev.SequenceNumber() == 1:
			return &client.Result{Receipt: &client.Receipt{Proof: &checkpoint.Proof{}}} // that no policy has seen
		}
		return nil
	}
	o := openTest(t, t.TempDir(), f)
	mustAppend(t, o, paused("a"))
	mustAppend(t, o, paused("b"))
	drain(t, o)
	if len(f.attempts[1]) != 3 || len(f.attempts[2]) != 1 {
		t.Errorf("attempts %d and %d", len(f.attempts[1]), len(f.attempts[2]))
	}
	text, err := os.ReadFile(filepath.Join(o.config.Dir, evidenceDir, sequence(1)+".json"))
	if err != nil || !strings.Contains(string(text), "another root") {
		t.Errorf("evidence %s (%v)", text, err)
	}
}

// TestFull: the outbox is bounded; who waits goes on when there is room.
func TestFull(t *testing.T) {
	f := newFakeLog()
	o := openTest(t, t.TempDir(), f, func(c *Config) { c.MaxBytes = 4000 })
	n := 0
	for ; ; n++ {
		if _, err := o.Append(paused("fill")); errors.Is(err, ErrFull) {
			break
		} else if err != nil || n > 100 {
			t.Fatal(n, err)
		}
	}
	if s := o.Status(); n == 0 || s.Pending != n || s.PendingBytes > 4000 {
		t.Errorf("status %+v after %d", s, n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.AppendWait(ctx, paused("no time")); !errors.Is(err, ErrFull) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	waited := make(chan error, 1)
	go func() {
		_, err := o.AppendWait(t.Context(), paused("patient"))
		waited <- err
	}()
	drain(t, o)
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	drain(t, o)
	chained(t, f, n+1)
}

// TestCallersRetry: an id that comes twice is one event; other content is another.
func TestCallersRetry(t *testing.T) {
	f := newFakeLog()
	o := openTest(t, t.TempDir(), f)
	e := paused("once")
	e.ID = "019ca8a0-3e80-7000-8000-000000000000"
	first := mustAppend(t, o, e)
	mustAppend(t, o, paused("between"))
	if again := mustAppend(t, o, e); again != first {
		t.Errorf("%+v, then %+v", first, again)
	}
	again := openTest(t, crash(t, o), f)
	if got := mustAppend(t, again, e); got != first {
		t.Errorf("%+v, after a restart %+v", first, got)
	}
	drain(t, again)
	if got := mustAppend(t, again, e); got != first {
		t.Errorf("%+v, when logged %+v", first, got)
	}
	e.Data = map[string]any{"session_id": "s-1", "paused_by": nil, "reason": "twice"}
	if _, err := again.Append(e); !errors.Is(err, ErrDuplicate) {
		t.Errorf("error %v", err)
	}
	chained(t, f, 2)
}

// TestRefusedHere: what no log would take uses up no number.
func TestRefusedHere(t *testing.T) {
	o := openTest(t, t.TempDir(), newFakeLog())
	for name, change := range map[string]func(*Event){
		"no data":     func(e *Event) { e.Data = nil },
		"schema":      func(e *Event) { e.Data = map[string]any{"session_id": 7} },
		"type":        func(e *Event) { e.Type = "org.example.other.v1" },
		"subject":     func(e *Event) { e.Subject = "session/s-2" },
		"id":          func(e *Event) { e.ID = "7" },
		"too large":   func(e *Event) { e.Extensions = map[string]string{"x": strings.Repeat("x", 50<<10)} },
		"the future":  func(e *Event) { e.Time = time.Now().Add(time.Hour) },
		"the chain":   func(e *Event) { e.Extensions = map[string]string{"sequence": sequence(9)} },
		"no such ext": func(e *Event) { e.Extensions = map[string]string{"Not Allowed": "x"} },
	} {
		e := paused("x")
		change(&e)
		if ticket, err := o.Append(e); err == nil {
			t.Errorf("%s: %+v", name, ticket)
		}
	}
	if ticket := mustAppend(t, o, paused("x")); ticket.Sequence != 1 {
		t.Errorf("%+v", ticket)
	}
}

// TestClockBack: a source's events are never recorded before those before them,
// unless the clock was far ahead.
func TestClockBack(t *testing.T) {
	f := newFakeLog()
	o := openTest(t, t.TempDir(), f)
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	for _, d := range []time.Duration{0, -time.Minute, 10 * time.Minute, -time.Minute} {
		o.now = func() time.Time { return at.Add(d) }
		mustAppend(t, o, paused("x"))
	}
	drain(t, o)
	for i, want := range []time.Duration{0, 0, 10 * time.Minute, -time.Minute} {
		if ev := f.logged()[i]; !ev.RecordedTime.Equal(at.Add(want)) || ev.Time.After(ev.RecordedTime) {
			t.Errorf("event %d recorded at %v", i+1, ev.RecordedTime)
		}
	}
}

func TestUnusable(t *testing.T) {
	f := newFakeLog()
	dir := t.TempDir()
	o := openTest(t, dir, f)
	good := Config{Dir: t.TempDir(), Source: testSource, Key: testKey, Log: f}
	for name, change := range map[string]func(*Config){
		"no key":        func(c *Config) { c.Key = nil },
		"no log":        func(c *Config) { c.Log = nil },
		"no policy":     func(c *Config) { c.Log = &client.Submitter{URL: "http://127.0.0.1:1"} },
		"no source":     func(c *Config) { c.Source = "no uri" },
		"odd heartbeat": func(c *Config) { c.Heartbeat = time.Millisecond },
		"odd period":    func(c *Config) { c.Period = time.Second },
		"negative":      func(c *Config) { c.MaxBytes = -1 },
	} {
		c := good
		change(&c)
		if _, err := Open(c); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	c := good
	c.Dir = dir
	if _, err := Open(c); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	mustAppend(t, o, paused("x"))
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Append(paused("y")); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	c.Source = "urn:example:other"
	if _, err := Open(c); err == nil || !strings.Contains(err.Error(), testSource) {
		t.Errorf("another source: %v", err)
	}
}
