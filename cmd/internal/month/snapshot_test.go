package month

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// records parses a month's leaves; authority are the authority events among them.
func records(t *testing.T, m *Month) (list, authority []rules.Record) {
	t.Helper()
	for i, leaf := range m.Leaves {
		e, err := entry.Parse(leaf)
		if err != nil {
			t.Fatal(err)
		}
		ev, err := event.Parse(e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		r := rules.Record{Index: int64(i), LeafTime: e.Time, LeafHash: entry.LeafHash(leaf), Entry: e, Event: ev}
		if list = append(list, r); event.IsAuthority(ev.Type) {
			authority = append(authority, r)
		}
	}
	return list, authority
}

// TestRulesGoOnFromSnapshots: a month of everything that can be planted, cut at
// random places and taken up again from snapshots, gives the report and the last
// snapshot of one that was never cut, to the byte.
func TestRulesGoOnFromSnapshots(t *testing.T) {
	t.Parallel()
	m := make1(t, Config{Seed: 3, Sessions: 10, Plant: Plantings()})
	list, authority := records(t, m)
	cfg, err := rules.Parse([]byte(RulesFile))
	if err != nil {
		t.Fatal(err)
	}
	save := func(e *rules.Engine) []byte {
		t.Helper()
		s, err := e.Snapshot("test")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	// conclude is all that is said at the end.
	conclude := func(e *rules.Engine) (report, snapshot []byte) {
		report, err := json.Marshal([]any{e.Report(m.End), e.Sources()})
		if err != nil {
			t.Fatal(err)
		}
		return report, save(e)
	}
	whole := rules.New(cfg)
	for _, r := range list {
		whole.Add(r)
	}
	wantReport, wantSnapshot := conclude(whole)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 3 {
		cuts := map[int]bool{}
		for range 12 {
			cuts[r.IntN(len(list))] = true
		}
		e := rules.New(cfg)
		for i, x := range list {
			if cuts[i] {
				s := save(e)
				if e, err = rules.Restore(cfg, "test", s, authority); err != nil {
					t.Fatalf("seed %d, cut at %d: %v", seed, i, err)
				}
				if again := save(e); !bytes.Equal(s, again) {
					t.Fatalf("seed %d, cut at %d: the snapshot of a snapshot is another", seed, i)
				}
				if r.IntN(2) == 0 {
					e.Report(m.End)
				}
			}
			e.Add(x)
		}
		report, snapshot := conclude(e)
		if !bytes.Equal(report, wantReport) {
			t.Errorf("seed %d, cuts %v: another report:\n%s\n%s", seed, cuts, report, wantReport)
		}
		if !bytes.Equal(snapshot, wantSnapshot) {
			t.Errorf("seed %d, cuts %v: another snapshot", seed, cuts)
		}
	}
	for name, c := range map[string]struct {
		cfg      *rules.Config
		tool     string
		snapshot []byte
	}{
		"other rules":     {rules.Default(), "test", wantSnapshot},
		"another program": {cfg, "other", wantSnapshot},
		"another version": {cfg, "test", bytes.Replace(wantSnapshot, []byte(`"version":2,`), []byte(`"version":99,`), 1)},
		"no snapshot":     {cfg, "test", []byte("{")},
	} {
		if _, err := rules.Restore(c.cfg, c.tool, c.snapshot, authority); !errors.Is(err, rules.ErrSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
