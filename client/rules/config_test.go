package rules_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client/rules"
)

func TestDefaults(t *testing.T) {
	printed, err := rules.Parse(rules.DefaultFile())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := rules.Default().Digest(), fmt.Sprintf("sha256:%x", sha256.Sum256(rules.DefaultFile())); got != want || printed.Digest() != want {
		t.Errorf("digest %s, and %s once printed; want %s", got, printed.Digest(), want)
	}
	empty, err := rules.Parse(nil)
	if err != nil || empty.EscortSessions != 2 || empty.Late != printed.Late {
		t.Errorf("an empty file gives %+v, %v", empty, err)
	}
	other, err := rules.Parse([]byte("version: 1\nescort_sessions: 5\ncitizenship: {IL5: [us_citizen]}\n"))
	if err != nil || other.EscortSessions != 5 || len(other.Citizenship) != 1 || other.Late != printed.Late {
		t.Errorf("a file that says a little gives %+v, %v", other, err)
	}
	if other.Digest() == printed.Digest() {
		t.Error("two files have one digest")
	}
}

func TestWrongFiles(t *testing.T) {
	own := func(rest string) string { return "rules:\n  - id: MINE\n    " + rest + "\n" }
	for name, tt := range map[string]struct{ file, want string }{
		"an unknown key":              {"lates: 1m\n", "lates"},
		"an unknown key of a rule":    {own("fail_when: 'true'\n    fail: x"), "fail"},
		"another version":             {"version: 2\n", "version 2"},
		"a number for a duration":     {"late: 15\n", "no duration"},
		"a negative duration":         {"late: -1s\n", "below zero"},
		"more than all":               {"recording_coverage: 101\n", "percentage"},
		"less than one heartbeat":     {"heartbeats: 0.5\n", "at least 1"},
		"a rule that is not":          {"disable: [NONE]\n", `no rule "NONE"`},
		"no expression":               {own("severity: low"), "MINE: it has no fail_when"},
		"a severity that is not":      {own("fail_when: 'true'\n    severity: huge"), `MINE: severity "huge"`},
		"a type that is not":          {own("fail_when: 'true'\n    types: [nothing]"), `MINE: types: no type "nothing"`},
		"an expression that is none":  {own("fail_when: data.a =="), "MINE: fail_when: ERROR: <input>:1:"},
		"an unknown name":             {own("fail_when: dat.a == 1"), "undeclared reference to 'dat'"},
		"a where that gives a number": {own("where: 1 + 1\n    fail_when: 'true'"), "MINE: where gives int"},
		"a small id":                  {"rules:\n  - id: mine\n    fail_when: 'true'\n", `rule "mine"`},
		"the id of one built in":      {"rules:\n  - id: TIME\n    fail_when: 'true'\n", "TIME: there is another"},
		"the id of another":           {own("fail_when: 'true'\n  - id: MINE\n    fail_when: 'true'"), "MINE: there is another"},
		"no YAML":                     {"\t- x", ""},
	} {
		if _, err := rules.Parse([]byte(tt.file)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// own judges the story by rules of one's own.
func own(t *testing.T, file string) []rules.Verdict {
	t.Helper()
	cfg, err := rules.Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return newTeller(t).tell(base()).judge(cfg, 6*day)[len(rules.Catalogue()):]
}

func TestOwnRules(t *testing.T) {
	verdicts := own(t, `
rules:
  - id: NAMED_ACCOUNTS
    description: Commands run under named accounts.
    severity: high
    types: [command.executed]
    where: has(data.target) && data.target.impact_level == "IL4"
    fail_when: data.run_as != "named"
  - id: ALL_FINE
    types: [dev.escortlog.session.started.v1]
    fail_when: event.time > leaf.time + duration("1h") || source != event.source || leaf.index < 0 || leaf.keyids.size() != 1
  - id: NOT_THERE
    types: [hold.placed]
    fail_when: "true"
  - id: BREAKS
    types: [session.started]
    fail_when: data.nothing.at.all == 1
  - id: EVERYTHING
    fail_when: event.type == "dev.escortlog.log.created.v1"
`)
	type short struct {
		name                string
		status              rules.Status
		population, finding int64
	}
	var got []short
	for _, v := range verdicts {
		got = append(got, short{v.Name, v.Status, v.Population, v.Count})
	}
	all := int64(len(base()) + 7)
	want := []short{{"NAMED_ACCOUNTS", rules.Fail, 1, 1}, {"ALL_FINE", rules.Pass, 1, 0}, {"NOT_THERE", rules.NotEvaluable, 0, 0},
		{"BREAKS", rules.NotEvaluable, 0, 0}, {"EVERYTHING", rules.Fail, all, 1}}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if f := verdicts[0].Findings[0]; f.Severity != "high" || f.Subject != "session/s-1" || f.Detail != "Commands run under named accounts." || f.Refs[0].ID != id("command") {
		t.Errorf("%+v", f)
	}
	if !strings.Contains(verdicts[3].Reason, "1 not judged: fail_when could not be evaluated: no such key") {
		t.Errorf("reason %q", verdicts[3].Reason)
	}
}

// TestOwnRulesAreBounded: an expression that costs too much is cut off, and the
// report says so.
func TestOwnRulesAreBounded(t *testing.T) {
	list := "[" + strings.Repeat("1,", 60) + "1]"
	v := own(t, fmt.Sprintf(`
cel_cost: 1000
rules:
  - id: ENDLESS
    types: [session.started]
    fail_when: '%[1]s.all(a, %[1]s.all(b, %[1]s.all(c, a == b && b == c)))'
`, list))[0]
	if v.Status != rules.NotEvaluable || !strings.Contains(v.Reason, "cost limit exceeded") {
		t.Errorf("%+v", v)
	}
}

// TestLists: findings beyond max_findings are counted; a rule that is switched
// off says so.
func TestLists(t *testing.T) {
	cfg, err := rules.Parse([]byte("max_findings: 3\ndisable: [LIFECYCLE]\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := base()
	for i := range s {
		s[i].logged = hour
	}
	verdicts := newTeller(t).tell(s).judge(cfg, 6*day)
	late := verdicts[rules.Time-1]
	if late.Count != int64(len(s)) || len(late.Findings) != 3 || !strings.Contains(late.Reason, "more findings are not listed") {
		t.Errorf("%d findings, %d listed: %s", late.Count, len(late.Findings), late.Reason)
	}
	if off := verdicts[rules.Lifecycle-1]; off.Status != rules.NotEvaluable || off.Reason != "switched off by the rules file" {
		t.Errorf("%+v", off)
	}
}

// TestClaimC: complete only where every source numbers its events and has stated
// totals that agree.
func TestClaimC(t *testing.T) {
	stated := []line{beat("b", 0), closed("p", 0, minute, obj{heartbeats: 1})}
	for name, tt := range map[string]struct {
		story story
		want  rules.Status
	}{
		"nothing":                {nil, rules.NotEvaluable},
		"numbered and stated":    {stated, rules.Pass},
		"numbered, not stated":   {stated[:1], rules.NotEvaluable},
		"one that is not stated": {slices.Concat(stated, base()), rules.NotEvaluable},
		"not numbered":           {bare("p")(bare("b")(slices.Clone(stated))), rules.NotEvaluable},
		"a gap":                  {sequence("p", 3)(slices.Clone(stated)), rules.Fail},
		"totals that differ":     {story{stated[0], closed("p", 0, minute, obj{})}, rules.Fail},
		"number 1 is missing":    {sequence("b", 2)(slices.Clone(stated)), rules.Fail},
	} {
		e := rules.New(nil)
		for _, r := range newTeller(t).tell(tt.story).records {
			e.Add(r)
		}
		if c := e.Sources(); c.Status != tt.want {
			t.Errorf("%s: %+v, want %s", name, c, tt.want)
		}
	}
}

// TestSettledIsForgotten: what is kept does not grow with the leaves. A year of sessions
// leaves as much behind as five weeks.
func TestSettledIsForgotten(t *testing.T) {
	e := rules.New(nil)
	te := newTeller(t).tell(registry())
	var begin []int
	for week := range 60 {
		begin = append(begin, len(te.records))
		te.tell(session(fmt.Sprint(week+1), 7*day*time.Duration(week)))
	}
	var kept []int
	for i, r := range te.records {
		if slices.Contains(begin, i) {
			kept = append(kept, rules.Kept(e))
		}
		e.Add(r)
	}
	if first, last := kept[5], kept[len(kept)-1]; last > first {
		t.Errorf("%d facts were kept after 5 weeks, %d after a year", first, last)
	}
}

func BenchmarkEngine(b *testing.B) {
	te := newTeller(b).tell(registry())
	for i := range 200 {
		te.tell(session(fmt.Sprint(i+1), hour*time.Duration(i)))
	}
	b.ReportAllocs()
	for b.Loop() {
		e := rules.New(nil)
		for _, r := range te.records {
			e.Add(r)
		}
		e.Report(noon.Add(20 * day))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(te.records)), "ns/leaf")
}
