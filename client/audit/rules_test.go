package audit

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/event"
)

func withRules(c *Config) { c.Rules = rules.Default() }

// ruled returns what a rule says.
func ruled(t *testing.T, r *Report, rule int) rules.Verdict {
	t.Helper()
	if r.Rules == nil || len(r.Rules.Verdicts) < rule {
		t.Fatalf("no verdict of rule %d:\n%s", rule, text(t, r))
	}
	return r.Rules.Verdicts[rule-1]
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// late is an event that was logged an hour after it was recorded.
func (l *fakeLog) late() {
	l.note = nil
	l.add(l.leaf(l.heartbeat(func(a *event.Attributes) { a.Time = time.UnixMilli(l.clock).Add(-time.Hour) }), "gateway"))
}

func TestRulesAreFindings(t *testing.T) {
	l := newLog(t)
	l.grow(3)
	r := mustAudit(t, l, withRules)
	expect(t, r, ExitProven)
	if v := ruled(t, r, rules.Time); v.Status != rules.Pass || v.Population != 3 {
		t.Errorf("%+v", v)
	}
	if r.Rules.Digest != rules.Default().Digest() || r.Rules.At != time.UnixMilli(startTime).UTC().Format(time.RFC3339Nano) || r.Rules.AtFrom != "cosignature" {
		t.Errorf("%+v", r.Rules)
	}
	if c := r.Claims[2]; c.Result != NotEvaluable || c.Population != 1 {
		t.Errorf("%+v", c)
	}
	l.late()
	r = mustAudit(t, l, withRules)
	expect(t, r, ExitFindings)
	if v := ruled(t, r, rules.Time); v.Status != rules.Fail || v.Count != 1 || v.Findings[0].Refs[1].Index != 5 {
		t.Errorf("%+v", v)
	}
	if !strings.Contains(text(t, r), "  TIME (low) source/"+testSource+": logged 1h0m0s after it was recorded, and recorded ") {
		t.Error(text(t, r))
	}
}

// A gap in a source's numbers is a finding about the source, and no failure of
// the log.
func TestClaimCFails(t *testing.T) {
	l := newLog(t)
	l.add(l.leaf(l.heartbeat(func(a *event.Attributes) { a.Sequence = 2 }), "gateway"))
	r := mustAudit(t, l, withRules)
	expect(t, r, ExitFindings)
	if c := r.Claims[2]; c.Result != Fail {
		t.Errorf("%+v", c)
	}
	if v := ruled(t, r, rules.Sequence); v.Status != rules.Fail {
		t.Errorf("%+v", v)
	}
}

// The rules see the whole history also where a run goes on from a state.
func TestRulesGoOnFromState(t *testing.T) {
	l, dir := bigLog(t), t.TempDir()
	l.late()
	mustAudit(t, l, inState(dir)) // without rules
	all := int64(599)             // events of the source
	for _, more := range []int{0, 1, 300} {
		all += int64(more)
		l.grow(more)
		l.note = nil
		r, fresh := mustAudit(t, l, inState(dir), withRules), mustAudit(t, l, withRules)
		expect(t, r, ExitFindings)
		if asJSON(t, r.Rules) != asJSON(t, fresh.Rules) || asJSON(t, r.Claims) != asJSON(t, fresh.Claims) {
			t.Errorf("%d leaves more: from the state\n%s\nand from the start\n%s", more, text(t, r), text(t, fresh))
		}
		if v := ruled(t, r, rules.Time); v.Population != all {
			t.Errorf("the rules looked at %d events", v.Population)
		}
	}
}

// What was verified and is served with other bytes now is no history for rules.
func TestRulesOverChangedHistory(t *testing.T) {
	for _, path := range []string{"tile/entries/000", "tile/entries/002.p/88"} {
		l, dir := bigLog(t), t.TempDir()
		mustAudit(t, l, inState(dir))
		l.alter = func(asked string, body []byte) []byte {
			if asked == path {
				body[len(body)-2] ^= 1
			}
			return body
		}
		r := mustAudit(t, l, inState(dir), withRules)
		expect(t, r, ExitIntegrity, VerdictReplay)
		if r.Rules == nil || len(r.Rules.Verdicts) > 0 || r.Rules.NotRun == "" || r.Claims[2].Result != NotEvaluable {
			t.Errorf("%s: %+v", path, r.Rules)
		}
		if r.Failures[0].Index == nil && r.Failures[1].Index == nil {
			t.Errorf("%s: the leaf is not named: %+v", path, r.Failures)
		}
	}
}

func TestRulesAsOf(t *testing.T) {
	l := newLog(t)
	l.grow(1)
	at := time.UnixMilli(startTime).Add(time.Hour)
	r := mustAudit(t, l, withRules, func(c *Config) { c.At = at })
	expect(t, r, ExitFindings) // no heartbeat for an hour
	if r.Rules.AtFrom != "given" || ruled(t, r, rules.SourceSilent).Status != rules.Fail {
		t.Error(text(t, r))
	}
	alone := parsePolicy(t, "log "+l.signers[0].VKey()+"\nquorum none\n")
	l.note = l.sign(l.checkpoint(len(l.leaves)), l.signers[0])
	r = mustAudit(t, l, withRules, func(c *Config) { c.Policy = alone })
	if r.Rules.AtFrom != "leaf" || r.Rules.At != time.UnixMilli(l.clock-10).UTC().Format(time.RFC3339Nano) {
		t.Errorf("%+v", r.Rules)
	}
}

// Since leaves findings out of the list and nothing out of the verdicts, and
// says so.
func TestRulesSince(t *testing.T) {
	l := newLog(t)
	l.late()
	l.late()
	for after, listed := range map[time.Duration]int{0: 1, time.Millisecond: 0} {
		since := time.UnixMilli(l.clock - 10).Add(after)
		r := mustAudit(t, l, withRules, func(c *Config) { c.Since = since })
		expect(t, r, ExitFindings)
		v := ruled(t, r, rules.Time)
		if v.Status != rules.Fail || v.Count != 2 || len(v.Findings) != listed || r.Rules.Hidden < int64(2-listed) {
			t.Errorf("since %s: %+v", since, r.Rules)
		}
		if !strings.Contains(text(t, r), "are not listed; the verdicts are about the whole log") {
			t.Error(text(t, r))
		}
	}
}

func TestRulesOfABrokenLog(t *testing.T) {
	l := newLog(t)
	l.grow(3)
	l.leaves[3] = spoilSignature(t, l.leaves[3])
	r := mustAudit(t, l, withRules)
	expect(t, r, ExitIntegrity, VerdictSignatures)
	if len(r.Rules.Verdicts) > 0 || !strings.Contains(r.Rules.NotRun, "not proven to be intact") {
		t.Errorf("%+v", r.Rules)
	}
}
