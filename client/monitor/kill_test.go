package monitor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/checkpoint"
)

// Variables by which a test starts a monitor in a process of its own.
const (
	childDir    = "MONITOR_TEST_DIR"
	childURL    = "MONITOR_TEST_URL"
	childPolicy = "MONITOR_TEST_POLICY"
	childNow    = "MONITOR_TEST_NOW"
)

func TestMain(m *testing.M) {
	if os.Getenv(childDir) == "" {
		os.Exit(m.Run())
	}
	if err := child(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child makes one round.
func child() error {
	policy, err := checkpoint.ParsePolicy([]byte(os.Getenv(childPolicy)))
	if err != nil {
		return err
	}
	now, err := strconv.ParseInt(os.Getenv(childNow), 10, 64)
	if err != nil {
		return err
	}
	url := os.Getenv(childURL)
	m, err := Open(Config{
		Policy: policy, StateDir: os.Getenv(childDir), Rules: rules.Default(), Webhook: url + "/hook",
		Targets: []Target{{Origin: origin, URL: url + "/log", Log: &client.Fetcher{URL: url + "/log"}}},
		Now:     func() time.Time { return time.UnixMilli(now) },
	})
	if err != nil {
		return err
	}
	_, err = m.Once(context.Background())
	return err
}

// A monitor that is killed again and again while the webhook takes its findings
// loses none, and sends none again but the one that it was sending.
func TestKilled(t *testing.T) {
	w := newWorld(t)
	w.grow(5, time.Hour)
	w.publish()
	var process *os.Process
	w.hookTaken = func() { // under the world's lock
		if len(w.hook) < 8 {
			if err := process.Kill(); err != nil {
				t.Error(err)
			}
			// The answer must not come before the end.
			<-w.ended
		}
	}
	for runs := 1; ; runs++ {
		if runs > 20 {
			t.Fatal("it does not come to an end")
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+w.dir, childURL+"="+w.server.URL, childPolicy+"="+w.policyText, childNow+"="+strconv.FormatInt(w.clock.UnixMilli(), 10))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		ended := make(chan struct{})
		w.change(func() {
			w.ended = ended
			must(t, cmd.Start())
			process = cmd.Process
		})
		err := cmd.Wait()
		close(ended)
		if err == nil {
			break
		}
		if cmd.ProcessState.ExitCode() > 0 {
			t.Fatalf("%v\n%s", err, out.Bytes())
		}
	}
	if ids := slices.Compact(slices.Clone(w.hook)); len(ids) != 5 || len(w.hook) < 8 {
		t.Errorf("the webhook got %q", w.hook)
	}
	w.hookTaken = nil
	expectKnown(t, w)
}

// expectKnown demands that a later monitor has nothing new to say.
func expectKnown(t *testing.T, w *world) {
	t.Helper()
	m := w.open(func(c *Config) { c.Output = nil })
	before, _ := m.journal.state()
	w.round(m, audit.ExitFindings)
	if after, _ := m.journal.state(); after != before {
		t.Errorf("the journal grew from %d to %d bytes", before, after)
	}
}
