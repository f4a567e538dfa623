//go:build e2e

package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestE2ETortureEveryFile damages every file of a log in every way, one at a
// time. ESCORTLOG_DAMAGES says how many pages and bits of each file; every
// fortieth damage is shown to the real program too. ESCORTLOG_DAMAGE_SEED
// repeats a run, as far as keys and times, which are new, let it.
func TestE2ETortureEveryFile(t *testing.T) {
	number := func(variable string, otherwise int) int {
		if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
			return n
		}
		return otherwise
	}
	each := number("ESCORTLOG_DAMAGES", 1)
	seed := number("ESCORTLOG_DAMAGE_SEED", int(time.Now().UnixNano()))
	t.Logf("seed %d", seed)
	binary := filepath.Join(t.TempDir(), "escortlogd")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d := newDamagedLog(t, uint64(seed))
	count := 0
	for _, name := range d.names() {
		for _, x := range d.damages(name, each, each) {
			if count%40 == 0 {
				d.program(x, binary)
			}
			d.judge(x)
			count++
		}
	}
	t.Logf("%d damages", count)
	d.report()
}

// program has the real program check and serve the damaged log: it ends with the
// code for damage or for a wrong file, and a message, or it listens.
func (d *damagedLog) program(x damage, binary string) {
	d.Helper()
	for _, args := range [][]string{{"fsck", "--data", d.dir}, append([]string{"serve", "--listen", "127.0.0.1:0", "--listen-file", d.parked + ".listen"}, d.serveArgs()...)} {
		d.apply(x)
		ctx, cancel := context.WithTimeout(d.Context(), patience)
		cmd := exec.CommandContext(ctx, binary, args...)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		d.must(cmd.Start())
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		err := d.listening(cmd, done)
		cancel()
		var exit *exec.ExitError
		switch {
		case err == nil:
		case errors.As(err, &exit) && (exit.ExitCode() == exitIntegrity || exit.ExitCode() == exitUsage) && names(said.String(), x.name):
		default:
			d.Errorf("%v: %s: %v\n%s", x, args[0], err, &said)
		}
		if strings.Contains(said.String(), "panic") || strings.Contains(said.String(), "goroutine ") {
			d.Errorf("%v: %s panics:\n%s", x, args[0], &said)
		}
	}
}

// listening waits until the program ends by itself, or answers; then it ends it.
func (d *damagedLog) listening(cmd *exec.Cmd, done chan error) error {
	d.Helper()
	listen := d.parked + ".listen"
	defer os.Remove(listen)
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(5 * time.Millisecond):
		}
		address, err := os.ReadFile(listen)
		if err != nil {
			continue
		}
		resp, err := http.Get("http://" + strings.TrimSpace(string(address)) + "/healthz")
		if err == nil {
			err = resp.Body.Close()
		}
		return errors.Join(err, cmd.Process.Signal(os.Interrupt), <-done)
	}
}
