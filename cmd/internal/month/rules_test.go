package month

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// judge has all rules judge a month, and returns the verdicts by name.
func judge(t *testing.T, m *Month) map[string]rules.Verdict {
	t.Helper()
	cfg, err := rules.Parse([]byte(RulesFile))
	if err != nil {
		t.Fatal(err)
	}
	engine := rules.New(cfg)
	for i, leaf := range m.Leaves {
		e, err := entry.Parse(leaf)
		if err != nil {
			t.Fatal(err)
		}
		ev, err := event.Parse(e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		engine.Add(rules.Record{Index: int64(i), LeafTime: e.Time, LeafHash: entry.LeafHash(leaf), Entry: e, Event: ev})
	}
	verdicts := map[string]rules.Verdict{}
	for _, v := range engine.Report(m.End) {
		verdicts[v.Name] = v
	}
	for _, r := range rules.Catalogue() {
		if _, ok := verdicts[r.Name]; !ok {
			t.Errorf("the report says nothing of %s", r.Name)
		}
	}
	return verdicts
}

// differences says where a rule did not find what was expected, each once, and
// nothing else.
func differences(v rules.Verdict, expected []Expected) (list []string) {
	open := slices.Clone(expected)
	for _, f := range v.Findings {
		i := slices.IndexFunc(open, func(e Expected) bool { return e.Rule == v.Name && found(f, e.Ref) })
		if i < 0 {
			list = append(list, fmt.Sprintf("%s finds what was not planted: %s: %s", v.Name, f.Subject, f.Detail))
			continue
		}
		open = slices.Delete(open, i, i+1)
	}
	for _, e := range open {
		if e.Rule == v.Name {
			list = append(list, fmt.Sprintf("%s does not find what was planted: %s", v.Name, e.Ref))
		}
	}
	if int(v.Count) != len(v.Findings) {
		list = append(list, fmt.Sprintf("%s counts %d findings and lists %d", v.Name, v.Count, len(v.Findings)))
	}
	return list
}

// found reports whether a finding is about a reference.
func found(f rules.Finding, ref string) bool {
	if id, ok := strings.CutPrefix(ref, "event/"); ok {
		return slices.ContainsFunc(f.Refs, func(r rules.Ref) bool { return r.ID == id })
	}
	return f.Subject == ref
}

// TestRulesFindNothingInTheCleanMonth: every rule has something to look at, and
// nothing to find.
func TestRulesFindNothingInTheCleanMonth(t *testing.T) {
	t.Parallel()
	m := cleanMonth(t)
	for _, v := range judge(t, m) {
		for _, d := range differences(v, nil) {
			t.Error(d)
		}
		if v.Status != rules.Pass {
			t.Errorf("%s: %s over %d %s: %s", v.Name, v.Status, v.Population, v.Unit, v.Reason)
		}
	}
}

// TestRulesFindNothingAtTheEdges: what is just within a rule's bounds is not
// found.
func TestRulesFindNothingAtTheEdges(t *testing.T) {
	t.Parallel()
	m := make1(t, Config{Seed: 3, Sessions: 10, Plant: Edges()})
	check(t, m, signed)
	if len(m.Expected) != 0 {
		t.Errorf("the edges expect %v", m.Expected)
	}
	for _, v := range judge(t, m) {
		for _, d := range differences(v, nil) {
			t.Error(d)
		}
	}
}

// TestRulesFindWhatWasPlanted plants every violation into one month of hundreds
// of sessions. Every rule that is registered has to have a planting.
func TestRulesFindWhatWasPlanted(t *testing.T) {
	t.Parallel()
	planted := map[string]int{}
	m := make1(t, Config{Seed: 2, Sessions: 90, Plant: Plantings()})
	check(t, m, signed)
	for _, e := range m.Expected {
		planted[e.Rule]++
	}
	verdicts := judge(t, m)
	for _, r := range rules.Catalogue() {
		t.Run(r.Name, func(t *testing.T) {
			if planted[r.Name] == 0 {
				t.Fatal("nobody plants a violation of this rule")
			}
			for _, d := range differences(verdicts[r.Name], m.Expected) {
				t.Error(d)
			}
			t.Logf("%d planted, %d found among %d %s", planted[r.Name], verdicts[r.Name].Count, verdicts[r.Name].Population, r.Unit)
		})
		delete(planted, r.Name)
	}
	for name := range planted {
		t.Errorf("%s is planted, and is no rule", name)
	}
}

// TestDifferencesAreSeen: what the tests above rest on.
func TestDifferencesAreSeen(t *testing.T) {
	t.Parallel()
	v := rules.Verdict{Name: "OVERSTAY", Count: 2, Findings: []rules.Finding{{Subject: "session/a"}, {Subject: "x", Refs: []rules.Ref{{ID: "1"}, {ID: "2"}}}}}
	a, two := Expected{"OVERSTAY", "session/a"}, Expected{"OVERSTAY", "event/2"}
	for name, tt := range map[string]struct {
		expected []Expected
		want     int
	}{
		"all":             {[]Expected{a, two, {"TIME", "session/b"}}, 0},
		"one not planted": {[]Expected{two}, 1},
		"one not found":   {[]Expected{a, two, a}, 1},
		"another event":   {[]Expected{a, {"OVERSTAY", "event/3"}}, 2},
		"another rule's":  {[]Expected{a, {"TIME", "event/2"}}, 1},
	} {
		if got := differences(v, tt.expected); len(got) != tt.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	v.Count = 3
	if len(differences(v, []Expected{a, two})) != 1 {
		t.Error("a finding that is counted and not listed goes unseen")
	}
}
