package witness

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/conformance"
	"github.com/escortlog/escortlog/witness/journal"
)

// Requests that are wrong in several ways are answered for the first of them, in
// the order that the package comment gives.
func TestOrderOfChecks(t *testing.T) {
	w, l := newWitness(t)
	v, fork := l.Honest(), l.Forked()
	mustAdd(t, w, v.Request(0, 10))
	stranger := newLog(t, "stranger.example")
	badSig := func(v conformance.View, size int64) string {
		note := v.Note(size)
		return note[:len(note)-10] + "AAAAAAA==\n" // same length, other bytes
	}
	wrongEmpty := l.Honest().Checkpoint(0)
	wrongEmpty.Root[3] ^= 1
	junk := []tlog.Hash{{1}, {2}}
	for _, tc := range []struct {
		name string
		body string
		want int
	}{
		{"malformed, unknown origin", "old 01\n\n" + stranger.Honest().Note(5), 400},
		{"malformed, bad signature", "old 01\n\n" + badSig(v, 12), 400},
		{"unknown origin, old larger than size", conformance.AddBody(9, nil, stranger.Honest().Note(5)), 404},
		{"unknown origin, signed by a known log", conformance.AddBody(0, nil, l.Sign(stranger.Honest().Checkpoint(5).Text())), 404},
		{"unknown origin, no signature", conformance.AddBody(0, nil, stranger.Honest().Checkpoint(5).Text()+"\n"), 404},
		{"no signature, old larger than size", conformance.AddBody(9, nil, v.Checkpoint(5).Text()+"\n"), 403},
		{"bad signature, old larger than size", conformance.AddBody(9, nil, badSig(v, 5)), 403},
		{"bad signature, conflict", conformance.AddBody(3, nil, badSig(v, 12)), 403},
		{"bad signature, bad proof", conformance.AddBody(10, junk, badSig(v, 12)), 403},
		{"old larger than size, conflict", conformance.AddBody(9, nil, v.Note(5)), 400},
		{"old larger than size, bad proof", conformance.AddBody(10, junk, v.Note(5)), 400},
		{"old larger than size, wrong empty root", conformance.AddBody(10, nil, l.Sign(wrongEmpty.Text())), 400},
		{"conflict, bad proof", conformance.AddBody(5, junk, v.Note(12)), 409},
		{"conflict, proof from zero", conformance.AddBody(0, junk, v.Note(12)), 409},
		{"conflict, fork", conformance.AddBody(5, nil, fork.Note(10)), 409},
		{"conflict, wrong empty root", conformance.AddBody(0, nil, l.Sign(wrongEmpty.Text())), 409},
		{"bad proof", conformance.AddBody(10, junk, v.Note(12)), 422},
		{"same size, other root", conformance.AddBody(10, nil, fork.Note(10)), 422},
		{"same size, same root, a proof", conformance.AddBody(10, junk, v.Note(10)), 422},
		{"good", v.Request(10, 12), 200},
	} {
		_, err := w.AddCheckpoint([]byte(tc.body))
		if got := status(t, err); got != tc.want {
			t.Errorf("%s: %d (%v), want %d", tc.name, got, err, tc.want)
		}
	}
}

// Sizes of zero, before and after the first checkpoint.
func TestSizeZero(t *testing.T) {
	w, l := newWitness(t)
	v := l.Honest()
	wrong := v.Checkpoint(0)
	wrong.Root[0] ^= 1
	for _, step := range []struct {
		name, body string
		want       int
		known      int64
	}{
		{"wrong root first", conformance.AddBody(0, nil, l.Sign(wrong.Text())), 422, 0},
		{"a proof for nothing", conformance.AddBody(0, []tlog.Hash{{}}, v.Note(0)), 422, 0},
		{"empty tree", v.Request(0, 0), 200, 0},
		{"empty tree again", v.Request(0, 0), 200, 0},
		{"wrong root later", conformance.AddBody(0, nil, l.Sign(wrong.Text())), 422, 0},
		{"first leaves", v.Request(0, 3), 200, 3},
		{"empty tree after leaves", v.Request(0, 0), 409, 3},
	} {
		_, err := w.AddCheckpoint([]byte(step.body))
		if got := status(t, err); got != step.want {
			t.Fatalf("%s: %d (%v), want %d", step.name, got, err, step.want)
		}
		if refusal := new(Refusal); errors.As(err, &refusal) && refusal.Status == 409 && refusal.Known != step.known {
			t.Errorf("%s: known size %d, want %d", step.name, refusal.Known, step.known)
		}
	}
}

// What was cosigned survives closing and opening, and a copy of the process is refused.
func TestRemembersAfterReopening(t *testing.T) {
	dir := initDir(t)
	l := newLog(t, "log.example/one")
	addLog(t, dir, l)
	w := openDir(t, dir)
	mustAdd(t, w, l.Honest().Request(0, 10))
	before, _ := w.Checkpoint(originHash(l.Origin))
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, journal.ErrLocked) {
		t.Fatalf("second process: %v, want ErrLocked", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w = openDir(t, dir)
	after, ok := w.Checkpoint(originHash(l.Origin))
	if !ok || !bytes.Equal(before, after) {
		t.Errorf("after reopening: %q, want %q", after, before)
	}
	for _, tc := range []struct {
		body string
		want int
	}{
		{l.Forked().Request(0, 20), 409},
		{l.Forked().Request(10, 20), 422},
		{l.Forked().Request(10, 10), 422},
		{l.Honest().Request(5, 8), 409},
		{l.Honest().Request(10, 20), 200},
	} {
		_, err := w.AddCheckpoint([]byte(tc.body))
		if got := status(t, err); got != tc.want {
			t.Errorf("%.10q: %d (%v), want %d", tc.body, got, err, tc.want)
		}
	}
}

// Independent implementations verify both cosignatures: x/mod's note with the verifiers of
// github.com/transparency-dev/formats.
func TestForeignVerifiers(t *testing.T) {
	w, l := newWitness(t)
	cp := l.Honest().Checkpoint(7)
	cp.Extensions = []string{"an extension line"}
	lines := mustAdd(t, w, conformance.AddBody(0, nil, l.Sign(cp.Text())))
	signed := cp.Text() + "\n" + string(lines)
	ed, err := fnote.NewVerifierForCosignatureV1(w.VKeys()[0])
	if err != nil {
		t.Fatal(err)
	}
	pq, err := fnote.NewMLDSAVerifier(w.VKeys()[1])
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open([]byte(signed), note.VerifierList(ed, pq))
	if err != nil || len(n.Sigs) != 2 {
		t.Fatalf("%v, %v", n, err)
	}
	if got := strings.Count(string(lines), "\n"); got != 2 {
		t.Errorf("%d lines for 2 keys", got)
	}

	// Other extension lines: the Ed25519 cosignature covers them, the ML-DSA-44 one does not.
	cp.Extensions = []string{"another extension line"}
	changed := []byte(cp.Text() + "\n" + string(lines))
	if _, err := note.Open(changed, note.VerifierList(ed)); err == nil {
		t.Error("the Ed25519 cosignature does not cover extension lines")
	}
	if _, err := note.Open(changed, note.VerifierList(pq)); err != nil {
		t.Errorf("the ML-DSA-44 cosignature covers extension lines: %v", err)
	}
}

// All trusted keys that signed are kept, each once; what strangers signed is not.
func TestKeepsTheLogsSignatures(t *testing.T) {
	dir := initDir(t)
	l := newLog(t, "log.example/two", checkpoint.AlgEd25519, checkpoint.AlgMLDSA44, checkpoint.AlgEd25519)
	addLog(t, dir, l)
	w := openDir(t, dir)
	text := l.Honest().Checkpoint(5).Text()
	stranger := newLog(t, l.Origin)
	signed := l.Sign(text)
	_, lines, _ := strings.Cut(signed, "\n\n")
	_, strange, _ := strings.Cut(stranger.Sign(text), "\n\n")
	mustAdd(t, w, conformance.AddBody(0, nil, signed+lines+strange))
	got, _ := w.Checkpoint(originHash(l.Origin))
	gotText, sigs, err := checkpoint.ParseNote(got)
	if err != nil || gotText != text {
		t.Fatalf("%q, %v", got, err)
	}
	if len(sigs) != 5 {
		t.Errorf("%d signatures, want 3 of the log and 2 of the witness", len(sigs))
	}
	keys := w.Verifiers()
	for _, s := range l.Signers {
		keys = append(keys, s.Verifier())
	}
	if good, err := checkpoint.Verify(gotText, sigs, keys...); err != nil || len(good) != 5 {
		t.Errorf("%d verify, %v", len(good), err)
	}
}

func timesOf(t *testing.T, lines []byte) int64 {
	t.Helper()
	sigs, err := checkpoint.ParseSignatureLines(lines)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sigs {
		if s.Timestamp() != sigs[0].Timestamp() {
			t.Errorf("two times: %d and %d", s.Timestamp(), sigs[0].Timestamp())
		}
	}
	return sigs[0].Timestamp()
}

// The times of cosignatures are the clock's, do not go back for a small step of the clock, and are never zero.
func TestTimes(t *testing.T) {
	c := newClock()
	dir := initDir(t)
	l := newLog(t, "log.example/one")
	addLog(t, dir, l)
	w := openDir(t, dir, func(cfg *Config) { cfg.Now = c.Now })
	start := c.Now().Unix()
	for _, step := range []struct {
		move time.Duration
		want int64
	}{
		{0, start},
		{10 * time.Second, start + 10},
		{-5 * time.Second, start + 10},                 // small step back: the time stands still
		{-5 * time.Minute, start + 10},                 // still small
		{5*time.Minute + 6*time.Second, start + 11},    // caught up
		{-time.Hour, start + 11 - int64(60*60)},        // a clock that was wrong before is believed now
		{2 * time.Hour, start + 11 - 60*60 + 2*60*60},  // forward is always believed
		{-10 * time.Minute, start + 11 + 60*60},        // the largest step that is not believed
		{-time.Second, start + 11 + 60*60 - 10*60 - 1}, // one more
	} {
		c.add(step.move)
		size := int64(0)
		if h := w.state(l.Origin).head.Load(); h != nil {
			size = h.cp.Size
		}
		if got := timesOf(t, mustAdd(t, w, l.Honest().Request(size, size+1))); got != step.want {
			t.Fatalf("after %v: time %d, want %d", step.move, got-start, step.want-start)
		}
		// The time that counts is the stored one, so it survives a restart.
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		w = openDir(t, dir, func(cfg *Config) { cfg.Now = c.Now })
	}
	c.add(-time.Duration(c.Now().Unix()) * time.Second)
	_, err := w.AddCheckpoint([]byte(l.Honest().Request(9, 10)))
	if got := status(t, err); got != 503 {
		t.Errorf("at time zero: %d (%v), want 503", got, err)
	}
}

// Nothing is answered with a cosignature, or shown at the monitoring endpoint, that is not durable.
func TestMemoryFails(t *testing.T) {
	w, l := newWitness(t)
	mustAdd(t, w, l.Honest().Request(0, 3))
	if err := w.journal.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := w.AddCheckpoint([]byte(l.Honest().Request(3, 5)))
	if got := status(t, err); got != 503 {
		t.Errorf("%d (%v), want 503", got, err)
	}
	note, _ := w.Checkpoint(originHash(l.Origin))
	if !strings.HasPrefix(string(note), l.Origin+"\n3\n") {
		t.Errorf("monitoring endpoint shows %q", note)
	}
}

// Each budget is for itself: repeating a public checkpoint does not use up what growth needs.
func TestRate(t *testing.T) {
	c := newClock()
	w, l := newWitness(t, func(cfg *Config) { cfg.Rate, cfg.Now = 1, c.Now })
	v := l.Honest()
	mustAdd(t, w, v.Request(0, 1))
	for range 10 {
		mustAdd(t, w, v.Request(1, 1))
	}
	_, err := w.AddCheckpoint([]byte(v.Request(1, 1)))
	if got := status(t, err); got != 429 {
		t.Fatalf("11th repetition: %d, want 429", got)
	}
	for size := int64(1); size < 10; size++ {
		mustAdd(t, w, v.Request(size, size+1))
	}
	_, err = w.AddCheckpoint([]byte(v.Request(10, 11)))
	if got := status(t, err); got != 429 {
		t.Fatalf("11th growth: %d, want 429", got)
	}
	// Wrong requests cost nothing and are answered as ever.
	if _, err := w.AddCheckpoint([]byte(v.Request(3, 11))); status(t, err) != 409 {
		t.Errorf("conflict while limited: %v", err)
	}
	c.add(time.Second)
	mustAdd(t, w, v.Request(10, 11))
}

// qpd in the list goes before the configured rate.
func TestRateOfTheList(t *testing.T) {
	c := newClock()
	dir := initDir(t)
	l := newLog(t, "log.example/one")
	if err := writeLogs(dir, LogEntry{Key: l.Signers[0].Verifier(), Origin: l.Origin, QPD: 24}); err != nil {
		t.Fatal(err)
	}
	w := openDir(t, dir, func(cfg *Config) { cfg.Rate, cfg.Now = -1, c.Now })
	mustAdd(t, w, l.Honest().Request(0, 1))
	for range 10 {
		mustAdd(t, w, l.Honest().Request(1, 1))
	}
	if _, err := w.AddCheckpoint([]byte(l.Honest().Request(1, 1))); status(t, err) != 429 {
		t.Errorf("11th at once with 24 a day: %v", err)
	}
	c.add(time.Hour)
	mustAdd(t, w, l.Honest().Request(1, 1))
}

// writeLogs makes the log list hold just these entries.
func writeLogs(dir string, entries ...LogEntry) error {
	var b strings.Builder
	b.WriteString(emptyLogList)
	for _, e := range entries {
		b.WriteString(e.text())
	}
	return journal.WriteFile(logsPath(dir), []byte(b.String()), 0o644)
}

// Hundreds of logs, asked at once.
func TestManyLogs(t *testing.T) {
	dir := initDir(t)
	const logs = 300
	var all []*conformance.Log
	var entries []LogEntry
	for i := range logs {
		s, err := checkpoint.GenerateSigner(fmt.Sprintf("log.example/%d", i), checkpoint.AlgEd25519, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		l := conformance.NewLog(s)
		all = append(all, l)
		entries = append(entries, LogEntry{Key: s.Verifier(), Origin: l.Origin})
	}
	if err := writeLogs(dir, entries...); err != nil {
		t.Fatal(err)
	}
	w := openDir(t, dir)
	errs := make(chan error, logs)
	for _, l := range all {
		go func() {
			_, err := w.AddCheckpoint([]byte(l.Honest().Request(0, 3)))
			errs <- err
		}()
	}
	for range logs {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := len(w.Logs()); n != logs {
		t.Errorf("%d logs, want %d", n, logs)
	}
	_ = w.Close()
	w = openDir(t, dir)
	for _, l := range all {
		if _, ok := w.Checkpoint(originHash(l.Origin)); !ok {
			t.Errorf("%s is forgotten", l.Origin)
		}
	}
}

func TestRefusalIsAnError(t *testing.T) {
	r := refuse(http.StatusConflict, "size %d", 5)
	if r.Error() != "409: size 5" {
		t.Error(r.Error())
	}
}
