package audit

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/event"
)

// An audit that goes on from a state verifies the signatures of what is new, and
// none that an earlier one verified; its rules too begin where they were.
func TestGoesOnWhereItWas(t *testing.T) {
	l, dir := bigLog(t), t.TempDir()
	var signatures atomic.Int64
	counting := func(c *Config) {
		c.verify = func(j event.SigJob) error {
			signatures.Add(1)
			return j.Verify()
		}
	}
	for _, more := range []int{0, 0, 1, 200, 0} {
		l.grow(more)
		l.note = nil
		first := !exists(filepath.Join(dir, fileState))
		signatures.Store(0)
		l.fetches()
		r := mustAudit(t, l, inState(dir), withRules, counting)
		paths := l.fetches()
		want := int64(more)
		if first {
			want = int64(len(l.leaves) - 2) // without the authority events, whose signatures the directory verifies
		}
		if got := signatures.Load(); got != want {
			t.Errorf("%d leaves more: %d signatures were verified, not %d", more, got, want)
		}
		if again := slices.Contains(paths, "tile/entries/000"); again != first {
			t.Errorf("%d leaves more: the first leaves were read: %t; %q", more, again, paths)
		}
		if fresh := mustAudit(t, l, withRules); asJSON(t, r.Rules) != asJSON(t, fresh.Rules) || asJSON(t, r.Claims) != asJSON(t, fresh.Claims) {
			t.Errorf("%d leaves more: from the state\n%s\nand from the start\n%s", more, text(t, r), text(t, fresh))
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// A snapshot of the rules that is not the one of what was verified is said to be so,
// and the rules see the whole log again. One that is only older is gone on from.
func TestSnapshotOfTheRules(t *testing.T) {
	other, err := rules.Parse([]byte("version: 1\nmax_findings: 7\n"))
	must(t, err)
	forge := func(change func(body string) string) func(t *testing.T, dir string, l *fakeLog) {
		return func(t *testing.T, dir string, _ *fakeLog) {
			name := filepath.Join(dir, fileRules)
			content, err := os.ReadFile(name)
			must(t, err)
			body, err := unseal(rulesHeader, content)
			must(t, err)
			must(t, os.WriteFile(name, seal(rulesHeader, []byte(change(string(body)))), 0o644))
		}
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string, l *fakeLog)
		rules  *rules.Config
		notice string
		reads  bool // the first leaves again
	}{
		"as it was": {},
		"missing":   {damage: func(t *testing.T, dir string, _ *fakeLog) { must(t, os.Remove(filepath.Join(dir, fileRules))) }, reads: true},
		"cut off":   {damage: func(t *testing.T, dir string, _ *fakeLog) { must(t, os.Truncate(filepath.Join(dir, fileRules), 100)) }, notice: "was changed", reads: true},
		"a bit": {damage: func(t *testing.T, dir string, _ *fakeLog) {
			content, err := os.ReadFile(filepath.Join(dir, fileRules))
			must(t, err)
			content[len(content)/2] ^= 1
			must(t, os.WriteFile(filepath.Join(dir, fileRules), content, 0o644))
		}, notice: "was changed", reads: true},
		"of other rules":      {rules: other, notice: "it is of other rules", reads: true},
		"of another program":  {damage: forge(func(s string) string { return strings.Replace(s, `"tool":"`, `"tool":"x`, 1) }), notice: "another version of this program", reads: true},
		"of another encoding": {damage: forge(func(s string) string { return strings.Replace(s, `"version":2,`, `"version":3,`, 1) }), notice: "it is of version 3", reads: true},
		"of a tree of no size": {damage: forge(func(s string) string {
			return strings.Replace(s, `"tree":[[`, `"tree":[["`+strings.Repeat("A", 43)+`=",`, 1)
		}), notice: "hashes, not", reads: true},
		"of another tree": {damage: forge(func(s string) string {
			at := strings.Index(s, `"tree":[["`) + len(`"tree":[["`)
			return s[:at] + strings.Repeat("A", 43) + "=" + s[at+44:]
		}), notice: "of another tree", reads: true},
		"older": {damage: func(t *testing.T, dir string, l *fakeLog) {
			content, err := os.ReadFile(filepath.Join(dir, fileRules))
			must(t, err)
			l.grow(30)
			l.note = nil
			mustAudit(t, l, inState(dir), withRules)
			must(t, os.WriteFile(filepath.Join(dir, fileRules), content, 0o644))
		}},
		"older, of another tree": {damage: func(t *testing.T, dir string, l *fakeLog) {
			forge(func(s string) string {
				at := strings.Index(s, `"tree":[["`) + len(`"tree":[["`)
				return s[:at] + strings.Repeat("A", 43) + "=" + s[at+44:]
			})(t, dir, l)
			content, err := os.ReadFile(filepath.Join(dir, fileRules))
			must(t, err)
			l.grow(30)
			l.note = nil
			mustAudit(t, l, inState(dir), withRules)
			must(t, os.WriteFile(filepath.Join(dir, fileRules), content, 0o644))
		}, notice: "of another tree", reads: true},
		"newer": {damage: func(t *testing.T, dir string, l *fakeLog) {
			content, err := os.ReadFile(filepath.Join(dir, fileState))
			must(t, err)
			l.grow(30)
			l.note = nil
			mustAudit(t, l, inState(dir), withRules)
			must(t, os.WriteFile(filepath.Join(dir, fileState), content, 0o644))
		}, notice: "of 631 leaves of another tree", reads: true},
	} {
		t.Run(name, func(t *testing.T) {
			l, dir := bigLog(t), t.TempDir()
			l.late()
			l.note = nil
			mustAudit(t, l, inState(dir), withRules)
			if c.damage != nil {
				c.damage(t, dir, l)
			}
			l.late()
			l.note = nil
			notices := ""
			judging := func(cfg *Config) {
				if withRules(cfg); c.rules != nil {
					cfg.Rules = c.rules
				}
				cfg.Notice = func(s string) { notices += s }
			}
			l.fetches()
			r := mustAudit(t, l, inState(dir), judging)
			if reads := slices.Contains(l.fetches(), "tile/entries/000"); reads != c.reads {
				t.Errorf("the first leaves were read again: %t", reads)
			}
			if (notices == "") != (c.notice == "") || !strings.Contains(notices, c.notice) {
				t.Errorf("told: %q, not %q", notices, c.notice)
			}
			notices = ""
			if fresh := mustAudit(t, l, judging); asJSON(t, r.Rules) != asJSON(t, fresh.Rules) || asJSON(t, r.Claims) != asJSON(t, fresh.Claims) {
				t.Errorf("from the state\n%s\nand from the start\n%s", text(t, r), text(t, fresh))
			}
			l.fetches()
			mustAudit(t, l, inState(dir), judging)
			if notices != "" || slices.Contains(l.fetches(), "tile/entries/000") {
				t.Errorf("the next audit reads it again: %q", notices)
			}
		})
	}
}
