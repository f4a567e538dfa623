package evidence

import (
	"bytes"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/client/view"
	"github.com/escortlog/escortlog/log/event"
)

// TestReportIsPrintable: what stands in a log commands no terminal, turns no
// writing around, and is no markup, wherever the page shows it.
func TestReportIsPrintable(t *testing.T) {
	const evil = "<i>\x1b[2J\u202e"
	m := &Manifest{Query: Query{Kind: view.Session, ID: evil}, Origin: evil, Tool: evil, Claims: []view.Claim{{Detail: evil}}}
	r := &audit.Report{
		Cosigners: []audit.Cosigner{{Witness: evil}}, Notes: []string{evil}, Verdicts: []audit.Verdict{{Detail: evil}}, Findings: []audit.Finding{{Detail: evil}},
		Rules: &audit.RulesReport{NotRun: evil, Verdicts: []rules.Verdict{{Reason: evil, Findings: []rules.Finding{{Subject: evil, Detail: evil}}}}},
	}
	tl := &view.Timeline{Lines: []view.Line{{
		Type: evil, Source: evil, Summary: evil, EffectiveSummary: evil, Withheld: []view.Withheld{{Under: evil, Path: evil}},
		Amendments: []view.Amendment{{By: []string{evil}, Approve: evil, Reason: evil}, {NotApplied: evil}},
	}}}
	for _, f := range peopleFiles(m, r, tl, event.NewDirectory()) {
		if f.name != nameReport {
			continue
		}
		var out bytes.Buffer
		if err := f.write(&out); err != nil {
			t.Fatal(err)
		}
		text, shown := out.String(), strings.Count(out.String(), "&lt;i&gt;\ufffd[2J\ufffd")
		if shown != 23 || strings.ContainsAny(text, "\x1b\u202e") || strings.Contains(text, "<i>") {
			t.Errorf("%d of these words are shown: %q", shown, text)
		}
	}
}
