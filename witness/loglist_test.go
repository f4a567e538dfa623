package witness

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
)

func vkeyOf(t testing.TB, name string) *checkpoint.Verifier {
	t.Helper()
	s, err := checkpoint.GenerateSigner(name, checkpoint.AlgEd25519, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s.Verifier()
}

func TestParseLogList(t *testing.T) {
	a, b := vkeyOf(t, "log.example/a"), vkeyOf(t, "log.example/b")
	entries, skipped, err := ParseLogList([]byte(strings.Join([]string{
		"# comment", "", "  logs/v0  ", "",
		"vkey " + a.VKey(), "qpd 24", "  # indented comment", "contact someone at example", "unknown line", "",
		"vkey bad+key", "origin ignored", "qpd nonsense that belongs to an entry passed over",
		"vkey " + b.VKey(), "origin log.example/other with space", "url https://log.example/b/",
	}, "\n")))
	if err != nil || len(entries) != 2 || len(skipped) != 1 {
		t.Fatalf("%v, %v, %v", entries, skipped, err)
	}
	e := entries[0]
	if e.Key.VKey() != a.VKey() || e.Origin != "log.example/a" || e.QPD != 24 || e.Contact != "someone at example" || e.URL != "" {
		t.Errorf("%+v", e)
	}
	e = entries[1]
	if e.Key.VKey() != b.VKey() || e.Origin != "log.example/other with space" || e.URL != "https://log.example/b/" || e.QPD != 0 {
		t.Errorf("%+v", e)
	}
	for name, list := range map[string]string{
		"empty":         "",
		"no header":     "vkey " + a.VKey() + "\n",
		"other version": "logs/v1\n",
		"no vkey first": "logs/v0\nqpd 5\n",
		"bad qpd":       "logs/v0\nvkey " + a.VKey() + "\nqpd 0\n",
		"bad url":       "logs/v0\nvkey " + a.VKey() + "\nurl ftp://x\n",
		"empty origin":  "logs/v0\nvkey " + a.VKey() + "\norigin\n",
		"long origin":   "logs/v0\nvkey " + a.VKey() + "\norigin " + strings.Repeat("x", 256) + "\n",
	} {
		if _, _, err := ParseLogList([]byte(list)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if entries, _, err := ParseLogList([]byte(emptyLogList)); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// Adding and removing leaves everything else in the file as it was.
func TestEditsKeepTheRest(t *testing.T) {
	a, b := vkeyOf(t, "log.example/a"), vkeyOf(t, "log.example/b")
	list := []byte("# mine\nlogs/v0\n\n# about a\nvkey " + a.VKey() + "\nfuture line\nqpd 5\n\n# the end")
	added, err := addEntry(list, LogEntry{Key: b, Origin: "log.example/b", URL: "https://b.example"})
	if err != nil {
		t.Fatal(err)
	}
	if want := string(list) + "\n\nvkey " + b.VKey() + "\nurl https://b.example\n"; string(added) != want {
		t.Errorf("%q, want %q", added, want)
	}
	if _, err := addEntry(added, LogEntry{Key: b, Origin: "elsewhere"}); !errors.Is(err, ErrKnownKey) {
		t.Errorf("the same key again: %v, want ErrKnownKey", err)
	}
	removed, n, err := removeEntries(added, "log.example/b")
	if err != nil || n != 1 || string(removed) != string(list)+"\n\n" {
		t.Errorf("%q, %d, %v", removed, n, err)
	}
	removed, n, err = removeEntries(added, a.VKey())
	if want := "# mine\nlogs/v0\n\n# about a\n\n# the end\n\nvkey "; err != nil || n != 1 || !strings.HasPrefix(string(removed), want) {
		t.Errorf("%q, %d, %v", removed, n, err)
	}
	if _, _, err := removeEntries(added, "nobody"); !errors.Is(err, ErrUnknownLog) {
		t.Errorf("%v, want ErrUnknownLog", err)
	}
	// A value with a line break would be lines of its own.
	if _, err := addEntry(list, LogEntry{Key: b, Origin: "log.example/b", Contact: "x\nvkey " + vkeyOf(t, "evil.example").VKey()}); err == nil {
		t.Error("an entry was smuggled in")
	}
}

// A running witness sees a change at the next request, keeps what it knew when the file is broken, and never forgets.
func TestLogListChanges(t *testing.T) {
	dir := initDir(t)
	l := newLog(t, "log.example/one")
	w := openDir(t, dir)
	v := l.Honest()
	expect := func(name string, want int, body string) {
		t.Helper()
		_, err := w.AddCheckpoint([]byte(body))
		if got := status(t, err); got != want {
			t.Fatalf("%s: %d (%v), want %d", name, got, err, want)
		}
	}
	expect("before it is added", 404, v.Request(0, 5))
	addLog(t, dir, l)
	expect("after it was added", 200, v.Request(0, 5))
	if err := os.WriteFile(logsPath(dir), []byte("logs/v0\nvkey nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("with a broken list", 200, v.Request(5, 6))
	if err := w.Reload(); err == nil {
		t.Error("reloading a broken list is no error")
	}
	if err := os.Remove(logsPath(dir)); err != nil {
		t.Fatal(err)
	}
	expect("without a list", 200, v.Request(6, 7))
	expect("without a list, again", 200, v.Request(7, 8))
	if err := writeLogs(dir); err != nil {
		t.Fatal(err)
	}
	expect("after it was removed", 404, v.Request(8, 9))
	if _, ok := w.Checkpoint(originHash(l.Origin)); !ok {
		t.Error("a removed log's checkpoint is not served any more")
	}
	logs := w.Logs()
	if len(logs) != 1 || len(logs[0].Keys) != 0 || logs[0].Size != 8 {
		t.Errorf("%+v", logs)
	}
	addLog(t, dir, l)
	expect("added again, from zero", 409, l.Forked().Request(0, 9))
	expect("added again, a fork", 422, l.Forked().Request(8, 9))
	expect("added again", 200, v.Request(8, 9))
	fromFiles, err := ReadLogs(dir)
	if err != nil || fmt.Sprint(fromFiles) != fmt.Sprint(w.Logs()) {
		t.Errorf("%v, %v, want %v", fromFiles, err, w.Logs())
	}
}

// A key that is taken away stops counting at once; the other goes on.
func TestRemoveKey(t *testing.T) {
	dir := initDir(t)
	l := newLog(t, "log.example/two", checkpoint.AlgEd25519, checkpoint.AlgEd25519)
	addLog(t, dir, l)
	w := openDir(t, dir)
	mustAdd(t, w, l.Honest().Request(0, 5))
	if n, err := RemoveLog(dir, l.Signers[0].VKey()); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	only := func(s *checkpoint.Signer) []byte {
		text := l.Honest().Checkpoint(6).Text()
		line, err := s.Sign(text, 0)
		if err != nil {
			t.Fatal(err)
		}
		body := l.Honest().Request(5, 6)
		return append([]byte(body[:strings.Index(body, "\n— ")+1]), line...)
	}
	if _, err := w.AddCheckpoint(only(l.Signers[0])); status(t, err) != 403 {
		t.Errorf("removed key: %v, want 403", err)
	}
	if _, err := w.AddCheckpoint(only(l.Signers[1])); err != nil {
		t.Errorf("remaining key: %v", err)
	}
}

func TestOwnKeyIsNoLog(t *testing.T) {
	dir := initDir(t)
	vkeys, err := VKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := checkpoint.ParseVKey(vkeys[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := writeLogs(dir, LogEntry{Key: v, Origin: v.Name()}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "key of this witness") {
		t.Errorf("%v", err)
	}
}

// Commands at the same time lose nothing.
func TestConcurrentAdds(t *testing.T) {
	dir := initDir(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			v := vkeyOf(t, fmt.Sprintf("log.example/%d", i))
			if _, err := AddLogs(dir, []LogEntry{{Key: v, Origin: v.Name()}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if logs, err := ReadLogs(dir); err != nil || len(logs) != 20 {
		t.Errorf("%d logs, %v", len(logs), err)
	}
}

// Somebody else's list adds logs, and neither keys to a known one nor takes anything away.
func TestAddNewLogs(t *testing.T) {
	dir := initDir(t)
	mine := vkeyOf(t, "log.example/mine")
	if _, err := AddLogs(dir, []LogEntry{{Key: mine, Origin: "log.example/mine"}}); err != nil {
		t.Fatal(err)
	}
	intruder, other, second := vkeyOf(t, "log.example/mine"), vkeyOf(t, "log.example/other"), vkeyOf(t, "log.example/other")
	added, err := AddNewLogs(dir, []LogEntry{
		{Key: intruder, Origin: "log.example/mine"}, {Key: mine, Origin: "renamed.example"},
		{Key: other, Origin: "log.example/other"}, {Key: second, Origin: "log.example/other"},
	})
	if err != nil || len(added) != 2 {
		t.Fatalf("%v, %v", added, err)
	}
	entries, err := ReadLogList(dir)
	if err != nil || len(entries) != 3 || entries[0].Key.VKey() != mine.VKey() {
		t.Errorf("%v, %v", entries, err)
	}
}
