package audit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
)

// expect checks the results of the verdicts named; all others must be a pass or
// not evaluable.
func expect(t *testing.T, r *Report, exit int, failing ...string) {
	t.Helper()
	for _, v := range r.Verdicts {
		if (v.Result == Fail) != slices.Contains(failing, v.Name) {
			t.Errorf("verdict %s: %s: %s", v.Name, v.Result, v.Detail)
		}
	}
	if r.Exit != exit || r.ExitCode() != exit {
		t.Errorf("exit code %d, want %d", r.Exit, exit)
	}
	if t.Failed() {
		t.Log(text(t, r))
	}
}

func TestIntactLog(t *testing.T) {
	l := bigLog(t)
	genesis := l.hashes()[0]
	r := mustAudit(t, l, func(c *Config) { c.Genesis = &genesis })
	expect(t, r, ExitProven)
	for name, population := range map[string]int64{
		VerdictCheckpoint: 1, VerdictQuorum: 2, VerdictGenesis: 1, VerdictReplay: 600,
		VerdictSignatures: 599, VerdictEvents: 600, VerdictTimes: 600, VerdictIdentities: 600,
	} {
		if v := r.Verdict(name); v.Result != Pass || v.Population != population {
			t.Errorf("%s: %s over %d, want a pass over %d", name, v.Result, v.Population, population)
		}
	}
	if v := r.Verdict(VerdictConsistency); v.Result != NotEvaluable {
		t.Errorf("first contact: consistency is %s", v.Result)
	}
	for i, want := range []Result{Pass, NotEvaluable, NotEvaluable, NotEvaluable} {
		if c := r.Claims[i]; c.Result != want {
			t.Errorf("claim %s: %s", c.Name, c.Result)
		}
	}
	// Every bundle, every tile of both levels, the checkpoint: each once.
	want := []string{"checkpoint", "tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2",
		"tile/entries/000", "tile/entries/001", "tile/entries/002.p/88"}
	got := l.fetches()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("fetched %q", got)
	}
	if len(r.Failures) > 0 || len(r.Findings) > 0 || len(r.Notes) > 0 || r.Evidence != "" {
		t.Error(text(t, r))
	}
}

// The report depends on the log, the policy and the state, and on nothing else.
func TestReportIsDeterministic(t *testing.T) {
	l := bigLog(t)
	// Signatures are verified at once, unknown keys are found one after another.
	for i := 20; i < 100; i += 2 {
		l.leaves[i] = spoilSignature(t, l.leaves[i])
		l.leaves[i+1] = l.leaf(l.heartbeat(), "stranger")
	}
	l.leaves[599] = spoilSignature(t, l.leaves[599])
	var first string
	for _, workers := range []int{1, 2, 8} {
		r := mustAudit(t, l, func(c *Config) { c.Workers, c.Fetches = workers, workers })
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		both := string(b) + text(t, r)
		if first == "" {
			first = both
			if len(r.Failures) < 81 || !slices.IsSortedFunc(r.Failures, func(a, b Failure) int { return cmp.Compare(*a.Index, *b.Index) }) {
				t.Errorf("%d failures, in this order: %+v", len(r.Failures), r.Failures)
			}
		}
		if both != first {
			t.Errorf("%d workers report\n%s\nand not\n%s", workers, both, first)
		}
	}
}

// spoilSignature returns the leaf with a bit of its signature flipped.
func spoilSignature(t *testing.T, leaf []byte) []byte {
	t.Helper()
	e, err := entry.Parse(leaf)
	if err != nil {
		t.Fatal(err)
	}
	e.Signatures[0].Sig[9] ^= 1
	out, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestGoesOnFromState(t *testing.T) {
	l, dir := bigLog(t), t.TempDir()
	expect(t, mustAudit(t, l, inState(dir)), ExitProven)
	l.fetches()
	r := mustAudit(t, l, inState(dir))
	expect(t, r, ExitProven)
	if v := r.Verdict(VerdictConsistency); v.Result != Pass || v.Population != 600 {
		t.Errorf("unchanged: consistency is %s over %d", v.Result, v.Population)
	}
	for _, p := range l.fetches() {
		if strings.HasPrefix(p, "tile/entries/00") && p != "tile/entries/002.p/88" {
			t.Errorf("unchanged, and yet %s was read again", p)
		}
	}

	l.register("second", "https://gateway.example.org/two")
	l.grow(299)
	l.note = nil
	r = mustAudit(t, l, inState(dir))
	expect(t, r, ExitProven)
	if r.Previous == nil || r.Previous.Size != 600 || r.Head.Size != 900 {
		t.Errorf("from %+v to %+v", r.Previous, r.Head)
	}
	if v := r.Verdict(VerdictSignatures); v.Population != 899 {
		t.Errorf("%d signatures, want those of both runs", v.Population)
	}
	for _, p := range l.fetches() {
		if p == "tile/entries/000" || p == "tile/entries/001" {
			t.Errorf("%s was read again", p)
		}
	}
	// A run from nothing says the same about the log as the run that went on.
	fresh := mustAudit(t, l)
	for _, v := range fresh.Verdicts {
		if w := r.Verdict(v.Name); v.Name != VerdictConsistency && (v.Result != w.Result || v.Population != w.Population) {
			t.Errorf("%s: %+v from the start, %+v from the state", v.Name, v, w)
		}
	}
}

// Small steps, so that every alignment of the state with tiles is met.
func TestGoesOnInSmallSteps(t *testing.T) {
	l, dir := newLog(t), t.TempDir()
	for _, step := range []int{0, 1, 252, 1, 1, 1, 254, 1, 3} {
		l.grow(step)
		l.note = nil
		r := mustAudit(t, l, inState(dir))
		expect(t, r, ExitProven)
		if r.Head.Size != int64(len(l.leaves)) || r.Verdict(VerdictReplay).Population != r.Head.Size {
			t.Fatalf("size %d: %s", len(l.leaves), text(t, r))
		}
	}
}

func TestSpoiltBytes(t *testing.T) {
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[len(b)-1-at] ^= 1; return b }
	}
	none := func([]byte) []byte { return nil }
	for name, c := range map[string]struct {
		path   string
		change func([]byte) []byte
		exit   int
		fail   []string
	}{
		"a byte of a payload":    {"tile/entries/001", flip(3), ExitIntegrity, []string{VerdictReplay}},
		"a byte of a length":     {"tile/entries/001", func(b []byte) []byte { b[0] ^= 1; return b }, ExitIntegrity, []string{VerdictReplay}},
		"an entry less":          {"tile/entries/002.p/88", func(b []byte) []byte { return b[:len(b)-600] }, ExitIntegrity, []string{VerdictReplay}},
		"a byte more":            {"tile/entries/000", func(b []byte) []byte { return append(b, 0) }, ExitIntegrity, []string{VerdictReplay}},
		"nothing in a bundle":    {"tile/entries/000", func(b []byte) []byte { return []byte{} }, ExitIntegrity, []string{VerdictReplay}},
		"a hash of a leaf":       {"tile/0/001", flip(77), ExitIntegrity, []string{VerdictReplay}},
		"a hash at the edge":     {"tile/0/002.p/88", flip(0), ExitIntegrity, []string{VerdictReplay}},
		"a hash above":           {"tile/1/000.p/2", flip(0), ExitIntegrity, []string{VerdictReplay}},
		"a short tile":           {"tile/1/000.p/2", func(b []byte) []byte { return b[:63] }, ExitIntegrity, []string{VerdictReplay}},
		"a byte of the origin":   {"checkpoint", func(b []byte) []byte { b[0] ^= 1; return b }, ExitIntegrity, []string{VerdictCheckpoint}},
		"a byte of the root":     {"checkpoint", func(b []byte) []byte { return bytes.Replace(b, []byte("=\n\n"), []byte("=\nx\n\n"), 1) }, ExitIntegrity, []string{VerdictCheckpoint}},
		"a byte of a signature":  {"checkpoint", flip(20), ExitIntegrity, []string{VerdictCheckpoint}},
		"no note at all":         {"checkpoint", func([]byte) []byte { return []byte("hello") }, ExitIntegrity, []string{VerdictCheckpoint}},
		"an endless checkpoint":  {"checkpoint", func([]byte) []byte { return make([]byte, 3<<20) }, ExitIntegrity, []string{VerdictCheckpoint}},
		"missing bundle":         {"tile/entries/001", none, ExitUnavailable, nil},
		"missing partial bundle": {"tile/entries/002.p/88", none, ExitUnavailable, nil},
		"missing tile":           {"tile/0/000", none, ExitUnavailable, nil},
		"missing tile above":     {"tile/1/000.p/2", none, ExitUnavailable, nil},
		"missing checkpoint":     {"checkpoint", none, ExitUnavailable, nil},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			l, evidence := bigLog(t), t.TempDir()
			l.alter = func(path string, body []byte) []byte {
				if path == c.path {
					return c.change(body)
				}
				return body
			}
			r := mustAudit(t, l, func(cfg *Config) { cfg.EvidenceDir = evidence })
			expect(t, r, c.exit, c.fail...)
			if (r.Unavailable != "") != (c.exit == ExitUnavailable) {
				t.Errorf("unavailable: %q", r.Unavailable)
			}
			if (r.Evidence != "") != (len(c.fail) > 0) {
				t.Errorf("evidence: %q", r.Evidence)
			}
			if r.Claims[0].Result == Pass {
				t.Error("claims to have read everything")
			}
		})
	}
}

// An entry that was changed after it was signed is told from a spoilt tile.
func TestSaysWhoChanged(t *testing.T) {
	l := bigLog(t)
	l.alter = func(path string, body []byte) []byte {
		if path == "tile/entries/000" {
			body[len(body)-2] ^= 1
		}
		return body
	}
	r := mustAudit(t, l)
	var all []string
	for _, f := range r.Failures {
		all = append(all, f.Detail)
	}
	if !strings.Contains(strings.Join(all, "\n"), "entries were changed after they were signed") || r.Failures[0].Index == nil || *r.Failures[0].Index != 255 {
		t.Error(text(t, r))
	}
}

// Leaves that an honest log would never have taken, under a root that fits.
func TestDishonestLeaves(t *testing.T) {
	broken := func(leaf []byte, payload string) []byte {
		e, err := entry.Parse(leaf)
		if err != nil {
			t.Fatal(err)
		}
		e.Payload = []byte(payload)
		b, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		add     func(l *fakeLog)
		verdict string
		says    string
	}{
		"a broken signature": {func(l *fakeLog) {
			l.add(spoilSignature(t, l.leaf(l.heartbeat(), "gateway")))
		}, VerdictSignatures, event.SlugBadSignature},
		"another payload": {func(l *fakeLog) { l.add(broken(l.leaf(l.heartbeat(), "gateway"), string(l.heartbeat()))) }, VerdictSignatures, event.SlugBadSignature},
		"an unknown key":  {func(l *fakeLog) { l.add(l.leaf(l.heartbeat(), "stranger")) }, VerdictSignatures, event.SlugUnknownKey},
		"no signature":    {func(l *fakeLog) { l.add(l.leaf(l.heartbeat())) }, VerdictSignatures, event.SlugUnsigned},
		"an admin's key":  {func(l *fakeLog) { l.add(l.leaf(l.heartbeat(), "admin")) }, VerdictEvents, event.SlugAdminKey},
		"a revoked key":   {func(l *fakeLog) { l.revoke("gateway", time.UnixMilli(l.clock)); l.grow(1) }, VerdictEvents, event.SlugKeyRevoked},
		"another source": {func(l *fakeLog) {
			l.add(l.leaf(l.heartbeat(func(a *event.Attributes) {
				a.Source = "https://other.example/"
				a.Subject = "source/https://other.example/"
			}), "gateway"))
		}, VerdictEvents, event.SlugNotRegistered},
		"an unknown type": {func(l *fakeLog) {
			l.add(l.leaf(l.heartbeat(func(a *event.Attributes) { a.Type = "org.example.thing.v1"; a.DataSchema = "https://example.org/thing" }), "gateway"))
		}, VerdictEvents, event.SlugUnknownType},
		"a subject that lies": {func(l *fakeLog) {
			l.add(l.leaf(l.heartbeat(func(a *event.Attributes) { a.Subject = "source/https://other.example/" }), "gateway"))
		}, VerdictEvents, event.SlugSchema},
		"not an event":      {func(l *fakeLog) { l.add(l.leaf([]byte(`{"hello":"world"}`), "gateway")) }, VerdictEvents, event.SlugMalformed},
		"not a leaf":        {func(l *fakeLog) { l.add([]byte("hello")) }, VerdictEvents, "EL01"},
		"an empty leaf":     {func(l *fakeLog) { l.add(nil) }, VerdictEvents, "EL01"},
		"a second founding": {func(l *fakeLog) { l.add(l.leaves[0]) }, VerdictEvents, event.SlugReservedType},
		"a time going back": {func(l *fakeLog) { l.clock -= 11; l.grow(1) }, VerdictTimes, "before that of the leaf before it"},
		"an identity twice": {func(l *fakeLog) { l.ids--; l.grow(1) }, VerdictIdentities, "are those of leaf 3"},
		"a leaf twice":      {func(l *fakeLog) { l.add(l.leaves[3]) }, VerdictIdentities, "are those of leaf 3"},
		"a stale authority": {func(l *fakeLog) {
			old := l.prev
			l.register("second", "https://two.example/")
			l.prev = old
			l.register("third", "https://three.example/")
		}, VerdictEvents, event.SlugStaleAuthority},
		"a registration by nobody": {func(l *fakeLog) {
			payload, err := event.NewKeyRegistered(l.header(), event.KeyRegistration{Key: public(t, key("evil")), Source: testSource})
			if err != nil {
				t.Fatal(err)
			}
			l.add(l.leaf(payload, "gateway"))
		}, VerdictEvents, event.SlugNotAdmin},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			l, dir := newLog(t), t.TempDir()
			l.grow(2)
			c.add(l)
			at := int64(len(l.leaves) - 1)
			l.clock += 100
			if c.verdict != VerdictSignatures && name != "a revoked key" {
				l.grow(1)
			}
			r := mustAudit(t, l, inState(dir))
			failing := []string{c.verdict}
			if name == "a second founding" { // older than what comes before it, and known
				failing = append(failing, VerdictTimes, VerdictIdentities)
			}
			expect(t, r, ExitIntegrity, failing...)
			i := slices.IndexFunc(r.Failures, func(f Failure) bool { return f.Verdict == c.verdict && strings.Contains(f.Detail, c.says) })
			if i < 0 || *r.Failures[i].Index != at {
				t.Fatalf("no failure of leaf %d says %q:\n%s", at, c.says, text(t, r))
			}
			checkEvidence(t, l, r, at)
			if _, err := os.Stat(filepath.Join(dir, fileState)); !errors.Is(err, os.ErrNotExist) {
				t.Error("what failed was kept as verified")
			}
		})
	}
}

// checkEvidence reads the evidence as a stranger would, who has the policy only:
// the leaf at fault is proven to be in the log.
func checkEvidence(t *testing.T, l *fakeLog, r *Report, index int64) {
	t.Helper()
	e := readEvidence(t, r)
	for _, x := range e.Leaves {
		if x.Index != index {
			continue
		}
		p, err := checkpoint.ParseProof([]byte(x.Proof))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Verify(entry.LeafHash(x.Leaf), parsePolicy(t, l.policyText())); err != nil || p.Index != index {
			t.Errorf("the proof in the evidence is of leaf %d: %v", p.Index, err)
		}
		return
	}
	t.Errorf("leaf %d is not in the evidence", index)
}

func readEvidence(t *testing.T, r *Report) *Evidence {
	t.Helper()
	b, err := os.ReadFile(r.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	var e Evidence
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}
	return &e
}

func TestTwoHistories(t *testing.T) {
	rewritten := func(n int) *fakeLog {
		f := bigLog(t)
		f.leaves = f.leaves[:400]
		f.clock += 1000 // other times, other leaves
		f.grow(n - 400)
		return f
	}
	l, verified := bigLog(t), t.TempDir()
	expect(t, mustAudit(t, l, inState(verified)), ExitProven)
	before := snapshot(t, verified)
	for name, c := range map[string]struct {
		then func() *fakeLog
		says string
	}{
		"smaller":                     {func() *fakeLog { l := bigLog(t); l.leaves = l.leaves[:599]; return l }, "gone back"},
		"smaller and another":         {func() *fakeLog { return rewritten(500) }, "gone back"},
		"smaller, on a tile":          {func() *fakeLog { l := bigLog(t); l.leaves = l.leaves[:512]; return l }, "gone back"},
		"same size, another root":     {func() *fakeLog { return rewritten(600) }, "two roots for size 600"},
		"larger, but does not extend": {func() *fakeLog { return rewritten(700) }, "history was rewritten"},
		"a little larger, does not":   {func() *fakeLog { return rewritten(601) }, "history was rewritten"},
		"empty":                       {func() *fakeLog { l := bigLog(t); l.leaves = nil; return l }, "gone back"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			fork, dir := c.then(), t.TempDir()
			restore(t, dir, before)
			for range 2 { // and it stays a failure
				r := mustAudit(t, fork, inState(dir))
				expect(t, r, ExitIntegrity, VerdictConsistency)
				if len(r.Failures) != 1 || !strings.Contains(r.Failures[0].Detail, c.says) {
					t.Errorf("%+v", r.Failures)
				}
				if !strings.HasPrefix(r.Evidence, dir) || !strings.Contains(text(t, r), r.Evidence) {
					t.Errorf("evidence in %q", r.Evidence)
				}
				e := readEvidence(t, r)
				// Both checkpoints bear the signatures that the policy demands.
				policy := parsePolicy(t, l.policyText())
				seen, err := policy.Verify([]byte(e.Seen))
				if err != nil || seen.Size != 600 {
					t.Errorf("seen: %v", err)
				}
				offered, err := policy.Verify([]byte(e.Offered))
				if err != nil || offered.Size != int64(len(fork.leaves)) {
					t.Errorf("offered: %v", err)
				}
				if offered.Size > 600 && (len(e.Consistency) == 0 || len(e.Resources) == 0) {
					t.Error("what was fetched is not in the evidence")
				}
			}
			if !maps.Equal(snapshot(t, dir), before) {
				t.Error("the state was changed")
			}
			if name == "same size, another root" { // the state still knows the true log
				expect(t, mustAudit(t, l, inState(dir)), ExitProven)
			}
		})
	}
}

// Hash tiles that fit neither the checkpoint nor what was seen prove no second
// history; they are spoilt.
func TestSpoiltTilesAreNoFork(t *testing.T) {
	l, dir := bigLog(t), t.TempDir()
	expect(t, mustAudit(t, l, inState(dir)), ExitProven)
	l.grow(300)
	l.note = nil
	l.alter = func(path string, body []byte) []byte {
		if path == "tile/1/000.p/3" {
			body[0] ^= 1
		}
		return body
	}
	r := mustAudit(t, l, inState(dir))
	expect(t, r, ExitIntegrity, VerdictReplay)
}

// An entry verified earlier is still what it was.
func TestOldEntryChanges(t *testing.T) {
	l, dir := bigLog(t), t.TempDir()
	expect(t, mustAudit(t, l, inState(dir)), ExitProven)
	l.alter = func(path string, body []byte) []byte {
		if path == "tile/entries/002.p/88" {
			body[len(body)-2] ^= 1
		}
		return body
	}
	r := mustAudit(t, l, inState(dir))
	expect(t, r, ExitIntegrity, VerdictReplay)
	if len(r.Failures) == 0 || *r.Failures[0].Index != 599 {
		t.Error(text(t, r))
	}
}

// Also where the hash tile was changed with it: what was verified is remembered.
func TestOldEntryAndTileChange(t *testing.T) {
	l, dir := bigLog(t), t.TempDir()
	expect(t, mustAudit(t, l, inState(dir)), ExitProven)
	l.alter = func(path string, body []byte) []byte {
		switch path {
		case "tile/entries/002.p/88":
			body[len(body)-2] ^= 1
		case "tile/0/002.p/88":
			entries, err := tile.SplitBundle(l.alter("tile/entries/002.p/88", first(l.body("tile/entries/002.p/88"))), 88)
			if err != nil {
				t.Error(err)
			}
			h := entry.LeafHash(entries[87])
			copy(body[87*32:], h[:])
		}
		return body
	}
	r := mustAudit(t, l, inState(dir))
	expect(t, r, ExitIntegrity, VerdictReplay)
	if len(r.Failures) == 0 || !strings.Contains(r.Failures[0].Detail, "when it was verified earlier") {
		t.Error(text(t, r))
	}
}

func first(b []byte, _ bool) []byte { return b }

// What was found before the log went away is reported.
func TestFailureBeforeUnavailable(t *testing.T) {
	l := bigLog(t)
	l.leaves[5] = spoilSignature(t, l.leaves[5])
	l.refuse = func(path string) (int, bool) { return 404, path == "tile/entries/001" }
	r := mustAudit(t, l)
	expect(t, r, ExitUnavailable, VerdictSignatures)
	if len(r.Failures) != 1 || *r.Failures[0].Index != 5 {
		t.Error(text(t, r))
	}
}

func TestQuorum(t *testing.T) {
	l, dir := newLog(t), t.TempDir()
	l.grow(3)
	l.note = l.sign(l.checkpoint(5), l.signers[0], l.signers[2])
	r := mustAudit(t, l, inState(dir))
	expect(t, r, ExitIntegrity, VerdictQuorum)
	if r.Claims[0].Result != NotEvaluable || r.Verdict(VerdictReplay).Result != Pass || r.Verdict(VerdictQuorum).Population != 1 {
		t.Error(text(t, r))
	}
	if _, err := os.Stat(filepath.Join(dir, fileState)); !errors.Is(err, os.ErrNotExist) {
		t.Error("a checkpoint without its quorum was kept as verified")
	}
	none := parsePolicy(t, "log "+l.signers[0].VKey()+"\nquorum none\n")
	r = mustAudit(t, l, func(c *Config) { c.Policy = none })
	expect(t, r, ExitProven)
	if r.Verdict(VerdictQuorum).Result != NotEvaluable {
		t.Errorf("no witness demanded: %+v", r.Verdict(VerdictQuorum))
	}
}

func TestGenesis(t *testing.T) {
	l := newLog(t)
	right, wrong := l.hashes()[0], l.hashes()[1]
	expect(t, mustAudit(t, l, func(c *Config) { c.Genesis = &right }), ExitProven)
	dir := t.TempDir()
	r := mustAudit(t, l, inState(dir), func(c *Config) { c.Genesis = &wrong })
	expect(t, r, ExitIntegrity, VerdictGenesis)
	checkEvidence(t, l, r, 0)
	// Pinned later, it is compared with what was verified.
	dir = t.TempDir()
	expect(t, mustAudit(t, l, inState(dir)), ExitProven)
	l.grow(300)
	l.note = nil
	expect(t, mustAudit(t, l, inState(dir), func(c *Config) { c.Genesis = &wrong }), ExitIntegrity, VerdictGenesis)
	expect(t, mustAudit(t, l, inState(dir), func(c *Config) { c.Genesis = &right }), ExitProven)

	other := newLog(t, func(g *event.Genesis) { g.Origin = "other.example/log" })
	expect(t, mustAudit(t, other), ExitIntegrity, VerdictGenesis)
}

func TestEmptyLog(t *testing.T) {
	l := newLog(t)
	l.leaves = nil
	r := mustAudit(t, l)
	expect(t, r, ExitIncomplete)
	for _, v := range r.Verdicts[2:] {
		if v.Result != NotEvaluable {
			t.Errorf("%s is %s over nothing", v.Name, v.Result)
		}
	}
	if r.Claims[0].Result != NotEvaluable {
		t.Errorf("complete over nothing: %+v", r.Claims[0])
	}
}

func TestOneLeaf(t *testing.T) {
	l := newLog(t)
	l.leaves = l.leaves[:1]
	r := mustAudit(t, l)
	expect(t, r, ExitProven)
	if r.Verdict(VerdictSignatures).Result != NotEvaluable || r.Verdict(VerdictTimes).Result != NotEvaluable {
		t.Error(text(t, r))
	}
}

func TestFindings(t *testing.T) {
	dir := t.TempDir()
	l := newLog(t, func(g *event.Genesis) { g.AllowOpaque, g.AllowUnsigned, g.Trial = true, true, true })
	l.grow(3)
	r := mustAudit(t, l, inState(dir))
	expect(t, r, ExitProven)
	if len(r.Notes) != 3 {
		t.Errorf("notes %q", r.Notes)
	}
	opaque := func(a *event.Attributes) { a.Type, a.DataSchema = "org.example.thing.v1", "https://example.org/thing" }
	l.add(l.leaf(l.heartbeat(opaque), "gateway")) // 5
	l.grow(1)
	l.add(l.leaf(l.heartbeat(opaque), "gateway")) // 7
	since := time.UnixMilli(l.clock)
	l.grow(4) // 8 to 11
	l.note = nil
	r = mustAudit(t, l, inState(dir))
	expect(t, r, ExitFindings)
	if len(r.Findings) != 1 || r.Findings[0].Kind != FindingOpaque || r.Findings[0].Count != 2 || *r.Findings[0].First != 5 || *r.Findings[0].Last != 7 {
		t.Errorf("%+v", r.Findings)
	}
	// The compromise becomes known in a later run than the uses were seen in.
	l.revoke("gateway", since)
	l.note = nil
	for _, change := range []func(*Config){inState(dir), inState(""), inState(dir)} {
		r = mustAudit(t, l, change)
		expect(t, r, ExitFindings)
		f := r.Findings[0]
		if len(r.Findings) != 2 || f.Kind != FindingCompromised || f.Count != 4 || *f.First != 8 || *f.Last != 11 {
			t.Errorf("%+v", r.Findings)
		}
	}
	double := parsePolicy(t, fmt.Sprintf("log %s\nwitness a %s\nwitness a2 %s\nwitness b %s\ngroup q 2 a a2 b\nquorum q\n", l.signers[0].VKey(),
		l.signers[2].VKey(), noteSigner(t, "a.example/w", checkpoint.AlgMLDSA44).VKey(), l.signers[3].VKey()))
	plain := newLog(t)
	r = mustAudit(t, plain, func(c *Config) { c.Policy = double })
	expect(t, r, ExitFindings)
	if len(r.Findings) != 1 || r.Findings[0].Kind != FindingPolicy {
		t.Errorf("%+v", r.Findings)
	}
}

func TestManyFailures(t *testing.T) {
	l := newLog(t)
	for range 250 {
		l.add([]byte("not a leaf"))
	}
	r := mustAudit(t, l)
	expect(t, r, ExitIntegrity, VerdictEvents)
	if len(r.Failures) != maxFailures || r.Omitted != 150 || *r.Failures[0].Index != 2 {
		t.Errorf("%d listed, %d omitted", len(r.Failures), r.Omitted)
	}
}

func TestUnavailableKeepsState(t *testing.T) {
	l, dir := bigLog(t), t.TempDir()
	expect(t, mustAudit(t, l, inState(dir)), ExitProven)
	before := snapshot(t, dir)
	l.grow(300)
	l.note = nil
	for _, path := range []string{"checkpoint", "tile/entries/002", "tile/entries/003.p/132", "tile/0/003.p/132", "tile/1/000.p/3"} {
		l.refuse = func(p string) (int, bool) { return 503, p == path }
		r := mustAudit(t, l, inState(dir))
		expect(t, r, ExitUnavailable)
		if r.Unavailable == "" || !maps.Equal(snapshot(t, dir), before) {
			t.Errorf("%s: %s", path, text(t, r))
		}
	}
	l.refuse = nil
	expect(t, mustAudit(t, l, inState(dir)), ExitProven)
}

// An audit that is interrupted says so, and keeps nothing.
func TestInterrupted(t *testing.T) {
	l, dir := bigLog(t), t.TempDir()
	for _, path := range []string{"checkpoint", "tile/entries/001", "tile/0/002.p/88", "tile/1/000.p/2"} {
		ctx, cancel := context.WithCancel(t.Context())
		server := httptest.NewServer(l)
		l.refuse = func(p string) (int, bool) {
			if p == path {
				cancel()
			}
			return 503, p == path
		}
		r, err := Run(ctx, Config{Log: &client.Fetcher{URL: server.URL, HTTP: server.Client()}, Policy: parsePolicy(t, l.policyText()), StateDir: dir})
		if r != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", path, err)
		}
		server.Close()
		cancel()
	}
	if _, err := os.Stat(filepath.Join(dir, fileState)); !errors.Is(err, os.ErrNotExist) {
		t.Error("an interrupted run kept a state")
	}
}

func TestProgress(t *testing.T) {
	var last, calls int64
	mustAudit(t, bigLog(t), func(c *Config) {
		c.Progress = func(done, total int64) {
			if done <= last || total != 600 {
				t.Errorf("%d of %d after %d", done, total, last)
			}
			last = done
			calls++
		}
	})
	if last != 600 || calls != 3 {
		t.Errorf("%d calls, up to %d", calls, last)
	}
}

var _ Log = (*client.Fetcher)(nil)
