package outbox

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

const testSource = "urn:example:gateway"

var testKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// fakeLog takes events like a log and remembers every attempt.
type fakeLog struct {
	mu       sync.Mutex
	attempts map[int64][]string // envelopes as sent, by sequence
	leaves   []*event.Event
	index    map[string]int64 // by id
	// answer decides in place of the log when it returns something.
	answer func(n int, ev *event.Event) *client.Result
	calls  int
}

func newFakeLog() *fakeLog {
	return &fakeLog{attempts: make(map[int64][]string), index: make(map[string]int64)}
}

func (f *fakeLog) Submit(_ context.Context, events ...*entry.Envelope) ([]client.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	var failed error
	results := make([]client.Result, len(events))
	for i, v := range events {
		ev, err := event.Parse(v.Payload)
		if err != nil {
			return nil, err
		}
		n := ev.SequenceNumber()
		f.attempts[n] = append(f.attempts[n], string(v.Marshal()))
		if f.answer != nil {
			if r := f.answer(f.calls, ev); r != nil {
				results[i] = *r
				if r.Err != nil {
					if _, refused := r.Err.(*client.RefusedError); !refused {
						failed = r.Err
					}
				}
				continue
			}
		}
		at, known := f.index[ev.ID]
		if !known {
			at = int64(len(f.leaves))
			f.index[ev.ID] = at
			f.leaves = append(f.leaves, ev)
		}
		leaf, err := v.Entry(1000 + at).Marshal()
		if err != nil {
			return nil, err
		}
		results[i].Receipt = &client.Receipt{
			Index: at, Time: 1000 + at, Leaf: leaf, LeafHash: entry.LeafHash(leaf), Existing: known,
			Proof: &checkpoint.Proof{Extra: checkpoint.LeafTimeExtra(1000 + at), Index: at}, Verified: &checkpoint.Verified{},
		}
	}
	return results, failed
}

// logged returns the events that the log holds.
func (f *fakeLog) logged() []*event.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*event.Event(nil), f.leaves...)
}

func refusal422() *client.Result {
	return &client.Result{Err: &client.RefusedError{Problem: client.Problem{
		Type: "urn:escortlog:problem:schema-violation", Status: 422, Detail: "the detail quotes the event",
	}}}
}

func openTest(t *testing.T, dir string, f Log, change ...func(*Config)) *Outbox {
	t.Helper()
	c := Config{Dir: dir, Source: testSource, Key: testKey, Log: f}
	for _, f := range change {
		f(&c)
	}
	o, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	o.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	t.Cleanup(func() {
		if err := o.Close(); err != nil && o.failed == nil {
			t.Error(err)
		}
	})
	return o
}

// paused is an event of the test's source.
func paused(reason string) Event {
	return Event{
		Type: event.Prefix + "session.paused.v1", Subject: "session/s-1",
		Data: map[string]any{"session_id": "s-1", "paused_by": nil, "reason": reason},
	}
}

func mustAppend(t *testing.T, o *Outbox, e Event) Ticket {
	t.Helper()
	ticket, err := o.Append(e)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

// drain runs the outbox until nothing is pending.
func drain(t *testing.T, o *Outbox) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- o.deliver(ctx) }()
	if err := o.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
}

// chained checks that events are those of one source, numbered from 1 without a
// gap, each with the hash of the one before.
func chained(t *testing.T, f *fakeLog, count int) {
	t.Helper()
	leaves := f.logged()
	if len(leaves) != count {
		t.Errorf("%d events were logged, want %d", len(leaves), count)
	}
	prev := ""
	for i, ev := range leaves {
		if ev.SequenceNumber() != int64(i+1) || ev.PrevHash != prev || ev.Source != testSource {
			t.Fatalf("leaf %d: source %s sequence %s prevhash %s, want prevhash %s", i, ev.Source, ev.Sequence, ev.PrevHash, prev)
		}
		prev = event.PrevHash(payload(t, f, ev.SequenceNumber()))
	}
}

// payload returns the bytes that were sent for a number, the same each time and
// signed by the test's key.
func payload(t *testing.T, f *fakeLog, sequence int64) []byte {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.attempts[sequence]
	for _, a := range all {
		if a != all[0] {
			t.Fatalf("number %d was sent with other bytes:\n%s\n%s", sequence, all[0], a)
		}
	}
	v, err := entry.ParseEnvelope([]byte(all[0]))
	if err != nil {
		t.Fatal(err)
	}
	if !ed25519.Verify(testKey.Public().(ed25519.PublicKey), entry.PAE(v.PayloadType, v.Payload), v.Signatures[0].Sig) {
		t.Fatalf("number %d bears a wrong signature", sequence)
	}
	return v.Payload
}

// dataOf decodes the data of an event.
func dataOf(t *testing.T, ev *event.Event) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(ev.Data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// files lists a folder of an outbox.
func files(t *testing.T, o *Outbox, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(o.config.Dir, dir))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// crash leaves the outbox as a killed process does, and returns a copy of its
// directory.
func crash(t *testing.T, o *Outbox) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(o.config.Dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}
