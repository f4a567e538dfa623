package rules_test

import (
	"os"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
)

// TestSampleLog judges the log of testdata: two sessions in which everything is
// as it should be, but that nobody attests the second.
func TestSampleLog(t *testing.T) {
	data, err := os.ReadFile("../../testdata/log/tile/entries/000.p/109")
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := tile.SplitBundle(data, 109)
	if err != nil {
		t.Fatal(err)
	}
	e := rules.New(nil)
	var newest int64
	for i, leaf := range leaves {
		en, err := entry.Parse(leaf)
		if err != nil {
			t.Fatal(err)
		}
		ev, err := event.Parse(en.Payload)
		if err != nil {
			t.Fatal(err)
		}
		e.Add(rules.Record{Index: int64(i), LeafTime: en.Time, LeafHash: entry.LeafHash(leaf), Entry: en, Event: ev})
		newest = en.Time
	}
	for _, v := range e.Report(time.UnixMilli(newest).Add(48 * time.Hour)) {
		want := rules.Pass
		switch v.Number {
		case rules.NoAttestation:
			want = rules.Fail
		case rules.OpaqueScript, rules.CorrectionAbuse:
			want = rules.NotEvaluable // none in it
		}
		if v.Status != want {
			t.Errorf("%s: %s, want %s: %+v", v.Name, v.Status, want, v.Findings)
		}
	}
	if c := e.Sources(); c.Status != rules.NotEvaluable || c.Sources != 7 {
		t.Errorf("claim C: %+v", c)
	}
}
