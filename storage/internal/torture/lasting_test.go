//go:build e2e && linux

package torture_test

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage/internal/powerfs"
)

// drawFault draws what goes wrong with a log or its store: of all files or some, once or for
// good.
func drawFault(random *rand.Rand) powerfs.Fault {
	f := powerfs.Fault{
		Op:    []powerfs.Op{powerfs.Sync, powerfs.Sync, powerfs.Sync, powerfs.Write, powerfs.Write, powerfs.Name, powerfs.Name, powerfs.Read}[random.IntN(8)],
		At:    1 + random.IntN(60),
		Lasts: random.IntN(2) == 0,
		Errno: []unix.Errno{unix.EIO, unix.ENOSPC}[random.IntN(2)],
	}
	if files := []string{".mem", ".vlog", ".sst", "MANIFEST", "guard", "db", "DISCARD"}; random.IntN(10) >= 3 {
		f.Suffix, f.At = files[random.IntN(len(files))], 1+random.IntN(4)
	}
	return f
}

// TestE2ETortureLasting breaks the disk of a log once, twice or for good, from before its start
// or under load, and ends it: with SIGKILL, with SIGTERM, with both, or with a power cut while it
// closes. A healthy one is ended in the same ways.
func TestE2ETortureLasting(t *testing.T) {
	runs := int(number(t, "ESCORTLOG_DISK_FAULTS", 6))
	for _, mode := range []powerfs.Mode{powerfs.Journaled, powerfs.Strict} {
		t.Run(mode.String(), func(t *testing.T) {
			w := newWorld(t, mode, false)
			outcomes := map[string]int{}
			for range (runs + 5) / 6 {
				for range 1 + w.random.IntN(4)/3 {
					outcomes[w.lasting()]++
				}
				if w.random.IntN(2) == 0 {
					w.disk.Repair() // without a cut: what was lost is in the page cache
					w.mustServe()
					w.check()
					stop := w.load()
					time.Sleep(time.Duration(w.random.IntN(100)) * time.Millisecond)
					outcomes["healthy, "+w.end()]++
					stop()
				}
				w.cut()
				if w.random.IntN(2) == 0 {
					w.fsck()
				}
				w.mustServe()
				w.check()
				w.kill()
				w.fsck()
			}
			t.Logf("%v; %d acknowledged, size %d", outcomes, len(w.ledger.leaves), w.ledger.newest.Size)
		})
	}
}

// lasting lets faults happen to a log that is starting or running, and ends it.
func (w *world) lasting() string {
	w.Helper()
	breakIt := func() {
		for range 1 + w.random.IntN(3)/2 {
			f := drawFault(w.random)
			w.Logf("%+v", f)
			w.disk.Break(f)
		}
	}
	early := w.random.IntN(2) == 0
	if early {
		breakIt()
	}
	failed := w.disk.Failed()
	var said string
	if w.log, said = w.start(nil, "escortlogd", w.serveLog()...); w.log == nil {
		if w.disk.Failed() == failed {
			w.Fatalf("it does not start: %s", said)
		}
		return "refused to start"
	}
	stop := w.load()
	defer stop()
	if !early {
		time.Sleep(time.Duration(w.random.IntN(50)) * time.Millisecond)
		breakIt()
	}
	// What breaks may never be used.
	for deadline := time.Now().Add(300 * time.Millisecond); w.disk.Failed() == failed && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(time.Duration(w.random.IntN(20)) * time.Millisecond)
	return w.end()
}

// end ends the log in one of several ways, and says which.
func (w *world) end() string {
	w.Helper()
	var lost <-chan struct{}
	var impatient <-chan time.Time
	switch w.random.IntN(4) {
	case 0:
		w.kill()
		return "killed"
	case 1:
		impatient = time.After(time.Duration(w.random.IntN(30)) * time.Millisecond)
	case 2:
		lost = w.disk.CutAt(1 + w.random.IntN(60))
	}
	_ = w.log.cmd.Process.Signal(syscall.SIGTERM)
	how := "ended"
	select {
	case <-w.log.ended:
	case <-impatient:
		how = "ended and killed"
	case <-lost:
		how = "ended and cut"
		w.disk.PowerOff()
	case <-time.After(patience):
		w.Error("it does not end")
	}
	w.disk.CutAt(0)
	w.kill()
	if how == "ended and cut" {
		w.cut()
	}
	return how
}
