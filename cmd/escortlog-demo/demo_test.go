package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"
)

// patience is how long anything may take on a busy machine.
const patience = 2 * time.Minute

// output is read while the demo writes it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// TestTour runs the whole demo, sends it what its last scene asks for, and ends
// it as Ctrl-C does.
func TestTour(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	defer http.DefaultClient.CloseIdleConnections()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errs output
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"--stay", "--listen", "127.0.0.1:0"}, &out, &errs) }()

	dir := waitFor(t, filepath.Join(tmp, "escortlog-demo-*", "log.url"), code, &errs)
	submitLate(t, dir)
	cancel()
	if got := <-code; got != 0 {
		t.Fatalf("exit code %d: %s\n%s", got, errs.String(), out.String())
	}
	checkOutput(t, out.String(), errs.String())
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
		t.Errorf("%v is left behind (%v)", left, err)
	}
}

// waitFor returns the directory of the file that the pattern matches once it is
// there.
func waitFor(t *testing.T, pattern string, ended chan int, errs *output) (dir string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if len(names) == 1 {
			return filepath.Dir(names[0])
		}
		select {
		case code := <-ended:
			t.Fatalf("the demo ended with %d: %s", code, errs.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatalf("no %s in %v", pattern, patience)
	return ""
}

// submitLate does what the curl command of the last scene does.
func submitLate(t *testing.T, dir string) {
	t.Helper()
	url, err := os.ReadFile(filepath.Join(dir, "log.url"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(filepath.Join(dir, "late-attestation.json"))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, strings.TrimSpace(string(url))+"/v1/events", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/vnd.dsse+json")
	req.Header.Set("Accept", "text/plain")
	req.Header.Set("Prefer", "wait=60")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusCreated || !bytes.HasPrefix(answer, []byte("c2sp.org/tlog-proof@v1\n")) {
		t.Errorf("the late attestation is answered %d (%v): %s", resp.StatusCode, err, answer)
	}
}

// checkOutput looks for the lines that the demo is for.
func checkOutput(t *testing.T, out, errs string) {
	t.Helper()
	if errs != "" {
		t.Errorf("on standard error: %s", errs)
	}
	text := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{
		"log.created, leaf hash",
		"refused, 403 threshold-not-met",
		"refused, 401 unknown-key",
		"s-2025-0610-01: 61 events by 7 sources",
		"c2sp.org/tlog-proof@v1",
		"refused, the proof does not hold",
		"exit code 0, nothing is wrong",
		"C source not evaluated here",
		"s-2025-0610-01 present, leaf 77",
		"s-2025-0611-01 ABSENT",
		"caught by the log itself:",
		"caught by every witness:",
		"caught by the auditor:",
		"exit code 2, integrity failure: history was rewritten",
		"caught by the guard:",
		"caught by that witness: 422",
		"verify exit code 2:",
		"caught by the policy:",
		"audit exit code 0: size 109",
		"curl -sS",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the output has no %q", want)
		}
	}
	if n := strings.Count(text, "caught by the witnesses' memory:"); n != 2 {
		t.Errorf("the witnesses' memory catches %d attacks, want 2", n)
	}
	for line := range strings.SplitSeq(out, "\n") {
		if strings.ContainsAny(line, "\x1b\r\t") {
			t.Errorf("control codes without a terminal: %q", line)
		}
		// Paths and the command to be copied stay in one piece.
		if utf8.RuneCountInString(line) > width && !strings.Contains(line, os.TempDir()) {
			t.Errorf("longer than %d columns: %s", width, line)
		}
	}
}

// TestNobodyCatchesIt takes away what catches each of two attacks and demands
// that the demo says so: its claims are not just printed.
func TestNobodyCatchesIt(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	d := &demo{printer: &printer{w: io.Discard}, dir: dir}
	defer func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	for _, scene := range []func(context.Context) error{d.sceneCreate, d.sceneRegister, d.sceneSubmit} {
		if err := scene(ctx); err != nil {
			t.Fatal(err)
		}
	}
	honest := filepath.Join(dir, "as-it-was")
	if err := d.operator.backup(ctx, honest); err != nil {
		t.Fatal(err)
	}

	t.Run("a guard that forgets", func(t *testing.T) {
		if err := d.operator.stop(); err != nil {
			t.Fatal(err)
		}
		if err := copyFile(filepath.Join(d.yesterday, "guard"), d.operator.guardFile()); err != nil {
			t.Fatal(err)
		}
		if err := d.restoreDatabase(ctx); !errors.Is(err, errNotCaught) {
			t.Errorf("the database is restored, the guard knows nothing, and the demo says %v", err)
		}
	})
	t.Run("witnesses that are away", func(t *testing.T) {
		if err := d.operator.stop(); err != nil {
			t.Fatal(err)
		}
		defer d.witnessesAway()()
		if err := d.restoreEverything(ctx); !errors.Is(err, errNotCaught) {
			t.Errorf("everything is restored, no witness answers, and the demo says %v", err)
		}
	})
}

func TestKeepRefusesWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	if got, err := stageDir(options{keep: filepath.Join(dir, "new")}); err != nil || got != filepath.Join(dir, "new") {
		t.Errorf("a new directory: %q, %v", got, err)
	}
	if _, err := stageDir(options{keep: dir}); err == nil {
		t.Error("a directory with something in it is used")
	}
	var out, errs output
	if code := run(t.Context(), []string{"--keep", dir}, &out, &errs); code != 1 || !strings.Contains(errs.String(), "not empty") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
	if code := run(t.Context(), []string{"extra"}, &out, &errs); code != exitUsage {
		t.Errorf("an argument: exit code %d", code)
	}
}

func TestWrap(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		"a  b":                    "a  b",
		"one two three four":      "one two|three four",
		"averylongwordindeed":     "averylongwordindeed",
		"a averylongwordindeed b": "a|averylongwordindeed|b",
	} {
		if got := strings.Join(wrap(text, 10), "|"); got != want {
			t.Errorf("wrap(%q) = %q, want %q", text, got, want)
		}
	}
	var b bytes.Buffer
	(&printer{w: &b, styled: true}).caught("x", "y")
	if !strings.HasPrefix(b.String(), "\x1b[") || !strings.Contains(b.String(), "\x1b[0m\n") {
		t.Errorf("on a terminal: %q", b.String())
	}
}
