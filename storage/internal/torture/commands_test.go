//go:build e2e && linux

package torture_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage/internal/powerfs"
)

// TestE2ETortureCommands breaks the disk under the commands that make a log, a copy of it,
// and a log of a copy, or cuts its power. They say why they end; a second try works, and
// nothing that was acknowledged is lost, nor is the copy changed.
func TestE2ETortureCommands(t *testing.T) {
	runs := int(number(t, "ESCORTLOG_DISK_FAULTS", 4))
	w := newWorld(t, powerfs.Strict, false)
	outcomes := map[string]int{}
	for run := range runs {
		what := []string{"backup", "recover", "init", "init of a witness"}[run%4]
		failed := false
		switch what {
		case "backup":
			failed = w.backupFault()
		case "recover":
			failed = w.recoverFault()
		case "init":
			dir := w.data(fmt.Sprintf("new%d/log", run))
			failed = w.initFault(dir, "escortlogd", "init", "--data", dir, "--origin", "new.example.org")
			if out := w.run(w.bin("escortlogd"), "fsck", "--data", dir); !strings.HasSuffix(out, "ok\n") {
				w.Errorf("fsck of a new log: %s", out)
			}
		case "init of a witness":
			dir := w.data(fmt.Sprintf("new%d/witness", run))
			failed = w.initFault(dir, "escortwitness", "init", "--data", dir, "--name", "new.example.org/1")
			w.run(w.bin("escortwitness"), "list-logs", "--data", dir)
		}
		outcomes[fmt.Sprintf("%s failed: %v", what, failed)]++
	}
	w.mustServe()
	w.check()
	t.Logf("%d runs: %v; %d acknowledged, size %d", runs, outcomes, len(w.ledger.leaves), w.ledger.newest.Size)
}

// tryOnBroken runs a command on a disk that breaks, or loses its power, at most at the n-th
// operation. It reports whether the command has failed.
func (w *world) tryOnBroken(n int, program string, args ...string) (said string, failed bool) {
	w.Helper()
	var lost <-chan struct{}
	fault := powerfs.Fault{Op: []powerfs.Op{powerfs.Sync, powerfs.Write, powerfs.Name}[w.random.IntN(3)],
		At: 1 + w.random.IntN(n), Lasts: w.random.IntN(2) == 0, Errno: unix.EIO}
	if w.random.IntN(2) == 0 {
		lost = w.disk.CutAt(1 + w.random.IntN(3*n))
	} else {
		w.disk.Break(fault)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(w.bin(program), args...)
	cmd.Stderr = &stderr
	w.must(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	select {
	case err = <-ended:
		if err != nil && lost == nil && !strings.Contains(stderr.String(), fault.Errno.Error()) {
			w.Errorf("%v: %v does not say why it ends: %v, %s", fault, args, err, &stderr)
		}
	case <-lost:
		w.disk.PowerOff()
		_ = cmd.Process.Kill()
		err = <-ended
	}
	w.disk.CutAt(0)
	if lost != nil || w.random.IntN(2) == 0 {
		w.cut()
	} else {
		w.kill()
		w.disk.Repair()
	}
	return stderr.String(), err != nil
}

func (w *world) backupFault() bool {
	w.Helper()
	w.mustServe()
	for n := range 5 {
		w.submit(w.Context(), w.log.url, n)
	}
	w.check()
	backup := func() []string {
		return []string{"backup", "--data", w.data("log"), "--log", w.log.url, "--to", w.data("copy")}
	}
	_, failed := w.tryOnBroken(15, "escortlogd", backup()...)
	w.mustServe()
	w.check()
	w.run(w.bin("escortlogd"), backup()...)
	w.kill()
	// What it holds is all of the log, durably.
	w.must(w.disk.CutKeeping(0, 0))
	w.must(w.disk.Mount(w.dir))
	proof := filepath.Join(w.aside, "proof")
	w.must(os.RemoveAll(proof))
	w.must(os.MkdirAll(proof, 0o700))
	w.must(os.CopyFS(filepath.Join(proof, "keys"), os.DirFS(w.data("log/keys"))))
	for _, key := range []string{"ed25519.skey", "mldsa44.skey"} {
		w.must(os.Chmod(filepath.Join(proof, "keys", key), 0o600))
	}
	w.run(w.bin("escortlogd"), "restore", "--data", proof, "--from", w.data("copy"))
	if out := w.run(w.bin("escortlogd"), "fsck", "--data", proof); !strings.Contains(out, fmt.Sprintf("size       %d\n", w.ledger.newest.Size)) {
		w.Errorf("size %d was published, and the copy gives %s", w.ledger.newest.Size, out)
	}
	return failed
}

func (w *world) recoverFault() bool {
	w.Helper()
	before := w.sizes("copy")
	recover := []string{"recover", "--data", w.data("log"), "--from", w.data("copy")}
	_, failed := w.tryOnBroken(80, "escortlogd", recover...)
	if failed {
		w.run(w.bin("escortlogd"), recover...)
	}
	w.fsck()
	w.mustServe()
	w.check()
	w.checkLeaves(0, w.ledger.newest.Size)
	w.kill()
	if after := w.sizes("copy"); after != before {
		w.Errorf("the copy was\n%sit is\n%s", before, after)
	}
	return failed
}

// sizes lists the files in a directory, with their sizes.
func (w *world) sizes(name string) string {
	w.Helper()
	var list strings.Builder
	w.must(filepath.Walk(w.data(name), func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			fmt.Fprintln(&list, path, info.Size())
		}
		return err
	}))
	return list.String()
}

// initFault makes a log or a witness in dir, which is durable then.
func (w *world) initFault(dir, program string, args ...string) bool {
	w.Helper()
	if w.random.IntN(2) == 0 {
		w.must(os.MkdirAll(dir, 0o700)) // by somebody who broke off
	}
	said, failed := w.tryOnBroken(40, program, args...)
	if failed {
		again, err := exec.Command(w.bin(program), args...).CombinedOutput()
		switch {
		case err == nil:
		case strings.Contains(string(again), "another directory"): // after a kill, or where even removing fails
			w.must(os.RemoveAll(dir))
			w.run(w.bin(program), args...)
		default:
			w.Errorf("after %s init says %s", said, again)
		}
	}
	w.must(w.disk.CutKeeping(0, 0))
	w.must(w.disk.Mount(w.dir))
	return failed
}
