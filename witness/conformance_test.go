package witness

import (
	"testing"

	"github.com/escortlog/escortlog/witness/conformance"
)

// The whole black-box suite, twice on one witness: the second run finds the logs
// grown, and only the checks of a first contact are skipped.
func TestConformance(t *testing.T) {
	dir := initDir(t)
	keys, err := conformance.GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	if keys, err = conformance.ParseKeys(keys.Marshal()); err != nil {
		t.Fatal(err)
	}
	entries, skipped, err := ParseLogList([]byte(keys.LogList()))
	if err != nil || len(skipped) != 0 {
		t.Fatal(err, skipped)
	}
	if _, err := AddLogs(dir, entries); err != nil {
		t.Fatal(err)
	}
	w := openDir(t, dir, func(c *Config) { c.Rate = 0 }) // with the default limits
	s := serve(t, w)
	config := conformance.Config{URL: s.URL, Keys: keys, Witness: w.Verifiers()}
	for _, mayBeSkipped := range []int{0, 6} {
		skips := 0
		results, err := conformance.Run(t.Context(), config, func(r conformance.Result) {
			switch r.Verdict {
			case conformance.Fail:
				t.Errorf("%s: %s\n%s", r.ID, r.Detail, r.Sentence)
			case conformance.Skip:
				skips++
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(results) < 90 {
			t.Errorf("only %d checks", len(results))
		}
		if skips != mayBeSkipped {
			t.Errorf("%d checks skipped, want %d", skips, mayBeSkipped)
		}
		seen := map[string]bool{}
		for _, r := range results {
			if seen[r.ID] {
				t.Errorf("two checks are called %s", r.ID)
			}
			seen[r.ID] = true
		}
	}
}
