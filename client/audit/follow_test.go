package audit

import (
	"context"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/rules"
)

// follow returns a follower of the log, and the server that serves it.
func follow(t *testing.T, l *fakeLog, dir string) *Follower {
	t.Helper()
	server := httptest.NewServer(l)
	t.Cleanup(server.Close)
	f, err := Follow(Config{
		Log:      &client.Fetcher{URL: server.URL, GiveUp: time.Nanosecond, HTTP: server.Client()},
		Policy:   parsePolicy(t, l.policyText()),
		StateDir: dir, Rules: rules.Default(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func mustFollow(t *testing.T, f *Follower, exit int, failing ...string) *Report {
	t.Helper()
	r, err := f.Audit(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	expect(t, r, exit, failing...)
	return r
}

// What a follower says is what a run from nothing says, and it reads only what
// is new.
func TestFollowerReadsWhatIsNew(t *testing.T) {
	l, dir := bigLog(t), t.TempDir()
	f := follow(t, l, dir)
	mustFollow(t, f, ExitProven)
	l.fetches()
	for range 3 {
		l.late()
		r := mustFollow(t, f, ExitFindings)
		if paths := l.fetches(); slices.Contains(paths, "tile/entries/000") {
			t.Errorf("entries were read again: %q", paths)
		}
		if got, want := asJSON(t, r.Rules), asJSON(t, mustAudit(t, l, withRules).Rules); got != want {
			t.Errorf("the rules say\n%s\nand a whole audit\n%s", got, want)
		}
		l.fetches()
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	// The next one begins where the first ended, and its rules see everything.
	r := mustFollow(t, follow(t, l, dir), ExitFindings)
	if v := ruled(t, r, rules.Time); v.Count != 3 || r.Previous == nil || r.Previous.Size != 603 {
		t.Errorf("%+v after %+v", v, r.Previous)
	}
}

// A log that fails is held against what passed, not against what failed.
func TestFollowerForgetsWhatFailed(t *testing.T) {
	l, dir := bigLog(t), t.TempDir()
	f := follow(t, l, dir)
	mustFollow(t, f, ExitProven)
	l.late()
	spoilt := true
	l.alter = func(path string, body []byte) []byte {
		if spoilt && strings.HasPrefix(path, "tile/entries/002") {
			body[len(body)-2] ^= 1
		}
		return body
	}
	mustFollow(t, f, ExitIntegrity, VerdictReplay)
	spoilt = false
	r := mustFollow(t, f, ExitFindings)
	if v := ruled(t, r, rules.Time); v.Count != 1 || v.Population != 599 {
		t.Errorf("a leaf was judged twice, or not: %+v", v)
	}
	l.refuse = func(path string) (int, bool) { return 404, path == "checkpoint" }
	mustFollow(t, f, ExitUnavailable)
	l.refuse = nil
	if v := ruled(t, mustFollow(t, f, ExitFindings), rules.Time); v.Count != 1 || v.Population != 599 {
		t.Errorf("a leaf was judged twice, or not: %+v", v)
	}
}
