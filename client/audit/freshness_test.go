package audit

import (
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
)

// A checkpoint is as old as the quorum's newest agreement on it, at a time that is
// given or at the clock's, and a stale one is a finding and no integrity failure.
func TestFreshness(t *testing.T) {
	l := newLog(t)
	cosigned := time.Unix(1_750_000_000, 0)
	for name, c := range map[string]struct {
		at, now time.Time
		max     time.Duration
		exit    int
		result  Result
		says    string
	}{
		"fresh by the clock":    {now: cosigned.Add(time.Hour), max: time.Hour, exit: ExitProven, result: Pass, says: "1h0m0s ago by this computer's clock"},
		"stale by the clock":    {now: cosigned.Add(time.Hour + time.Second), max: time.Hour, exit: ExitFindings, result: Fail, says: "1h0m1s ago by"},
		"stale at a time given": {at: cosigned.Add(25 * time.Hour), now: cosigned, max: 24 * time.Hour, exit: ExitFindings, result: Fail, says: "25h0m0s ago as of 2025-06-16T"},
		"fresh at a time given": {at: cosigned, now: cosigned.Add(25 * time.Hour), max: 24 * time.Hour, exit: ExitProven, result: Pass, says: "0s ago as of"},
		"not asked for":         {now: cosigned.Add(1e6 * time.Hour), exit: ExitProven, result: NotEvaluable},
	} {
		r := mustAudit(t, l, func(cfg *Config) {
			cfg.At, cfg.MaxAge, cfg.Now = c.at, c.max, func() time.Time { return c.now }
		})
		v := r.Verdict(VerdictFreshness)
		if r.Exit != c.exit || v.Result != c.result || !strings.Contains(v.Detail, c.says) {
			t.Errorf("%s: exit %d, %s: %s", name, r.Exit, v.Result, v.Detail)
		}
		if got := len(r.Findings) == 1 && r.Findings[0].Kind == FindingStale; got != (c.result == Fail) {
			t.Errorf("%s: findings %+v", name, r.Findings)
		}
	}
}

// What one witness of a quorum goes on cosigning is as old as the other's last word.
func TestQuorumTime(t *testing.T) {
	l := newLog(t)
	text := l.checkpoint(len(l.leaves))
	const early, late = startTime / 1000, startTime/1000 + 3600
	for name, c := range map[string]struct {
		policy string
		want   int64
	}{"of both": {l.policyText(), early}, "of one": {strings.Replace(l.policyText(), "all", "any", 1), late}} {
		var lines [][]byte
		for i, at := range []int64{early, early, early, late} {
			line, err := l.signers[i].Sign(text, at)
			must(t, err)
			lines = append(lines, line)
		}
		policy := parsePolicy(t, c.policy)
		v, err := policy.Verify(checkpoint.Join(text, lines...))
		must(t, err)
		if got, ok := quorumTime(policy, v); !ok || got != c.want {
			t.Errorf("quorum %s: %d, not %d", name, got, c.want)
		}
	}
}
