package monitor

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client/audit"
)

func TestHonestLog(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	expect(t, w.round(m, audit.ExitProven))
	for range 3 {
		w.grow(2, 0)
		w.publish()
		expect(t, w.round(m, audit.ExitProven))
	}
	// An unchanged checkpoint costs one request to each.
	w.change(func() { w.paths = nil })
	expect(t, w.round(m, audit.ExitProven))
	if len(w.paths) != 3 {
		t.Errorf("asked for %q", w.paths)
	}
	// A witness may be behind, and before the log, as long as it is the same tree.
	w.grow(2, 0)
	w.change(func() { w.held["a"], w.held["b"] = w.sign(9, 1), w.sign(10, 2); w.note = w.sign(9, 1, 2) })
	expect(t, w.round(m, audit.ExitProven))
	w.change(func() { w.held["a"] = w.sign(4, 1); w.note = w.sign(10, 1, 2) })
	expect(t, w.round(m, audit.ExitProven))
}

// Each of these is a history other than the one that the monitor saw.
func TestForksAreCaught(t *testing.T) {
	for name, rewrite := range map[string]func(w *world, other *tree){
		"same size":   func(w *world, other *tree) { w.tree = other; w.grow(1, 0) },
		"larger":      func(w *world, other *tree) { w.tree = other; w.grow(5, 0) },
		"gone back":   func(w *world, other *tree) { w.tree = other },
		"same leaves": func(w *world, _ *tree) { w.tree.leaves = w.tree.leaves[:len(w.tree.leaves)-1] },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.grow(3, 0)
			other := w.tree.clone()
			w.grow(1, 0)
			w.publish()
			m := w.open()
			expect(t, w.round(m, audit.ExitProven))
			seen := string(w.note)
			w.change(func() { w.clock = w.clock.Add(time.Second) })
			rewrite(w, other)
			w.publish()
			list := w.round(m, audit.ExitIntegrity)
			expect(t, list, "raised integrity")
			if e := evidence(t, list[0]); e.Held != seen || e.Shown != string(w.note) || list[0].Rule != audit.VerdictConsistency || list[0].Severity != "critical" {
				t.Errorf("%+v\n%+v", list[0], e)
			}
			// It stays so, and is said and proven once; also after a restart, and when
			// the other history goes on.
			expect(t, w.round(m, audit.ExitIntegrity))
			w.change(func() { w.clock = w.clock.Add(time.Second) })
			w.publish()
			expect(t, w.round(m, audit.ExitIntegrity))
			if files, err := os.ReadDir(m.file(dirEvidence)); err != nil || len(files) != 1 {
				t.Errorf("%d files of evidence: %v", len(files), err)
			}
			must(t, m.Close())
			expect(t, w.round(w.open(), audit.ExitIntegrity))
		})
	}
}

// A checkpoint without its quorum binds the log all the same.
func TestForkWithoutQuorum(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	expect(t, w.round(m, audit.ExitProven))
	other := w.tree.clone()
	w.grow(1, 0)
	w.change(func() { w.note, w.paths = w.sign(3), nil })
	expect(t, w.round(m, audit.ExitIntegrity), "raised quorum", "raised stale")
	if slices.ContainsFunc(w.paths, func(p string) bool { return strings.Contains(p, "entries") }) {
		t.Errorf("read under a checkpoint without quorum: %q", w.paths)
	}
	must(t, m.Close())
	m = w.open()
	w.change(func() { w.tree, w.clock = other, w.clock.Add(time.Second) })
	w.grow(1, 0)
	w.publish()
	expect(t, w.round(m, audit.ExitIntegrity), "raised integrity")
}

func TestQuorumComesBack(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	w.change(func() { w.note = w.sign(2) })
	expect(t, w.round(m, audit.ExitIntegrity), "raised quorum", "raised stale")
	w.publish()
	expect(t, w.round(m, audit.ExitProven), "cleared quorum", "cleared stale")
}

func TestStale(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	expect(t, w.round(m, audit.ExitProven))
	w.change(func() { w.clock = w.clock.Add(15 * time.Minute) })
	expect(t, w.round(m, audit.ExitProven))
	w.change(func() { w.clock = w.clock.Add(time.Second) })
	raised := w.round(m, audit.ExitFindings)
	expect(t, raised, "raised stale", "raised witness-stale a", "raised witness-stale b")
	expect(t, w.round(m, audit.ExitFindings))
	must(t, m.Close())
	m = w.open()
	w.publish()
	cleared := w.round(m, audit.ExitProven)
	expect(t, cleared, "cleared stale", "cleared witness-stale a", "cleared witness-stale b")
	if cleared[0].Clears != raised[0].ID || cleared[0].ID == raised[0].ID {
		t.Errorf("%+v after %+v", cleared[0], raised[0])
	}
	// The next time is another finding.
	w.change(func() { w.clock = w.clock.Add(time.Hour) })
	if again := w.round(m, audit.ExitFindings); len(again) != 3 || again[0].ID == raised[0].ID {
		t.Errorf("%+v", again)
	}
}

// The log showed witness b another history.
func TestSplitView(t *testing.T) {
	for name, size := range map[string]int{"same size": 4, "smaller": 3, "larger": 6} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ours := w.tree.clone()
			w.grow(4, time.Second)
			held := w.sign(size, 2)
			w.tree = ours
			w.grow(2, 0)
			w.publish()
			if size > 4 { // whatever the tiles are, they cannot fit both
				w.grow(2, 0)
				w.change(func() { w.note = w.sign(4, 1, 2) })
			}
			w.change(func() { w.held["b"] = held })
			m := w.open()
			list := w.round(m, audit.ExitIntegrity)
			expect(t, list, "raised split-view b")
			must(t, m.Close())
			expect(t, w.round(w.open(), audit.ExitIntegrity))
			if e := evidence(t, list[0]); e.Witness != "b" || e.Held != string(held) || e.Shown != string(w.note) {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestWitnessTrouble(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	w.change(func() { w.down["a"] = true; delete(w.held, "b") })
	expect(t, w.round(m, audit.ExitFindings), "raised witness-unavailable a", "raised witness-unavailable b")
	w.change(func() { w.down["a"] = false; w.held["b"] = []byte("hello") })
	expect(t, w.round(m, audit.ExitFindings), "cleared witness-unavailable a")
	// The log signed three leaves for b and shows two.
	w.grow(1, 0)
	w.change(func() { w.held["b"] = w.sign(3, 2); w.tree.leaves = w.tree.leaves[:2] })
	expect(t, w.round(m, audit.ExitFindings), "cleared witness-unavailable b", "raised witness-ahead b")
	// A checkpoint that the witness itself has not cosigned says nothing of its age.
	w.change(func() { w.held["b"] = w.sign(2) })
	expect(t, w.round(m, audit.ExitFindings), "cleared witness-ahead b", "raised witness-stale b")
}

func TestUnavailable(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	w.change(func() { w.down["log"] = true })
	expect(t, w.round(m, audit.ExitUnavailable), "raised unavailable")
	expect(t, w.round(m, audit.ExitUnavailable))
	w.change(func() { w.down["log"] = false })
	expect(t, w.round(m, audit.ExitProven), "cleared unavailable")
}

// A leaf that is not what was signed.
func TestChangedLeaf(t *testing.T) {
	w := newWorld(t)
	w.grow(2, 0)
	w.publish()
	leaf := slices.Clone(w.tree.leaves[3])
	leaf[len(leaf)-1] ^= 1
	hash := w.tree.leaves[3]
	m := w.open(func(c *Config) { c.Targets[0].Log = spoilt{c.Targets[0].Log, leaf} })
	list := w.round(m, audit.ExitIntegrity)
	if len(list) == 0 || list[0].Kind != KindIntegrity || list[0].Evidence == "" || list[0].Refs[0].Index != 3 {
		t.Errorf("%+v (leaf %x)", list, hash[:4])
	}
}

func TestRulesAndRestart(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	w.grow(2, time.Hour)
	w.publish()
	first := w.round(m, audit.ExitFindings)
	expect(t, first, "raised rule", "raised rule")
	if f := first[0]; f.Rule != "TIME" || f.Subject != "source/"+source || f.Head.Size != 4 || f.At != w.clock.UnixMilli() || f.RulesDigest == "" {
		t.Errorf("%+v", f)
	}
	w.grow(1, time.Hour)
	w.publish()
	expect(t, w.round(m, audit.ExitFindings), "raised rule")
	must(t, m.Close())
	// Also where the last line was cut off.
	file, err := os.OpenFile(m.file(fileFindings), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = file.WriteString(`{"version":1,"id":"` + strings.Repeat("ab", 5000))
	must(t, errors.Join(err, file.Close()))
	m = w.open()
	expect(t, w.round(m, audit.ExitFindings))
	w.grow(1, time.Hour)
	w.publish()
	expect(t, w.round(m, audit.ExitFindings), "raised rule")
}

func TestLocked(t *testing.T) {
	w := newWorld(t)
	w.open()
	if _, err := Open(w.config()); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
}

func TestDamagedState(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	w.grow(2, time.Hour)
	w.publish()
	w.round(m, audit.ExitFindings)
	must(t, m.Close())
	for _, name := range []string{fileFindings, "output.sent", identify(origin, w.server.URL+"/log")[:16] + "/" + fileLast} {
		path := m.file(name)
		before, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, append([]byte("x"), before...), 0o644))
		if m, err := Open(w.config()); !errors.Is(err, errState) {
			t.Errorf("%s: %v", name, err)
			if m != nil {
				m.Close()
			}
		}
		must(t, os.WriteFile(path, before, 0o644))
	}
}

// Run goes on until it is stopped, round after round.
func TestRun(t *testing.T) {
	w := newWorld(t)
	slept, wake := make(chan struct{}), make(chan struct{})
	m := w.open(func(c *Config) {
		c.Webhook = w.server.URL + "/hook"
		c.Sleep = func(ctx context.Context, _ time.Duration) error {
			select {
			case slept <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case <-wake:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	<-slept
	w.grow(1, time.Hour)
	w.publish()
	wake <- struct{}{}
	<-slept
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		n := len(w.hook)
		w.mu.Unlock()
		if n == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the webhook was not told")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	must(t, m.Close())
	w.out.Reset()
	expect(t, w.round(w.open(), audit.ExitFindings))
}

// Several logs are followed beside each other, and one that is away hides nothing
// of the other.
func TestSeveralLogs(t *testing.T) {
	w := newWorld(t)
	m := w.open(func(c *Config) {
		c.Targets = append(c.Targets, Target{Origin: "other.example", URL: w.server.URL + "/other", Log: c.Targets[0].Log})
	})
	// What is shown at the second place is the first log's.
	list := w.round(m, audit.ExitIntegrity)
	expect(t, list, "raised integrity")
	if f := list[0]; f.Log != "other.example" || f.Rule != audit.VerdictCheckpoint || !strings.Contains(f.Summary, origin) {
		t.Errorf("%+v", f)
	}
	w.grow(1, time.Hour)
	w.publish()
	expect(t, w.round(m, audit.ExitIntegrity), "raised rule")
	w.change(func() { w.down["log"] = true })
	expect(t, w.round(m, audit.ExitUnavailable), "raised unavailable", "raised unavailable")
}
