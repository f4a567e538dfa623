package rules_test

import (
	"testing"

	"github.com/escortlog/escortlog/client/rules"
)

// The id of a finding is the same however it is worded, and another for each finding.
func TestFindingIDs(t *testing.T) {
	te := newTeller(t)
	te.number("one", 1, "") // promises a heartbeat every hour
	early, late := te.judge(nil, 5*hour)[rules.SourceSilent-1].Findings, te.judge(nil, 9*hour)[rules.SourceSilent-1].Findings
	if len(early) != 1 || len(late) != 1 || early[0].Detail == late[0].Detail || early[0].ID != late[0].ID || len(early[0].ID) != 64 {
		t.Errorf("%+v and %+v", early, late)
	}
	te.number("nine", 9, "") // 2 to 8 are missing
	te.number("five", 5, "") // and then 2 to 4, and 6 to 8, known by the same leaf
	v := te.judge(nil, day)[rules.Sequence-1]
	seen := map[string]bool{}
	for _, f := range v.Findings {
		seen[f.ID] = true
	}
	if len(v.Findings) < 2 || len(seen) != len(v.Findings) {
		t.Errorf("%d ids of %+v", len(seen), v.Findings)
	}
	refs := []rules.Ref{{Index: 1, Source: "s", ID: "i"}}
	id := rules.FindingID("log", "RULE", "subject", "", refs)
	for name, other := range map[string]string{
		"another log":  rules.FindingID("log2", "RULE", "subject", "", refs),
		"another rule": rules.FindingID("log", "RULE2", "subject", "", refs),
		"other leaves": rules.FindingID("log", "RULE", "subject", "", []rules.Ref{{Index: 2, Source: "s", ID: "i"}}),
		"another part": rules.FindingID("log", "RULE", "subjec", "t", refs),
	} {
		if other == id {
			t.Errorf("%s has the same id", name)
		}
	}
}
