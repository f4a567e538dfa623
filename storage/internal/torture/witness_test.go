//go:build e2e && linux

package torture_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage/internal/powerfs"
)

// TestE2ETortureWitness breaks the disk of a witness, once or for good, while a log grows and
// shows it forks of itself. It never cosigns one, nor forgets what it has cosigned.
func TestE2ETortureWitness(t *testing.T) {
	runs := int(number(t, "ESCORTLOG_DISK_FAULTS", 8))
	for _, mode := range []powerfs.Mode{powerfs.Journaled, powerfs.Strict} {
		t.Run(mode.String(), func(t *testing.T) {
			w := newWorld(t, mode, true)
			probe := newProbe(w)
			w.must(w.disk.CutKeeping(0, 1))
			w.must(w.disk.Mount(w.dir))
			outcomes := map[string]int{}
			for range (runs + 1) / 2 {
				fault := powerfs.Fault{
					Op: []powerfs.Op{powerfs.Sync, powerfs.Write}[w.random.IntN(2)], At: 1 + w.random.IntN(12),
					Lasts: w.random.IntN(2) == 0, Errno: unix.EIO,
				}
				outcomes[w.witnessFault(probe, fault)]++
				if w.random.IntN(2) == 0 {
					w.disk.Repair() // what the failed sync has lost is in the page cache alone
					w.startWitness()
					probe.check()
					w.kill()
				}
				w.cut()
				w.startWitness()
				probe.check()
				w.kill()
			}
			if probe.acked == 0 {
				t.Error("nothing was ever cosigned")
			}
			t.Logf("%d runs: %v; size %d was cosigned", runs, outcomes, probe.acked)
		})
	}
}

func (w *world) startWitness() {
	w.Helper()
	var said string
	if w.witness, said = w.start(nil, "escortwitness", w.serveWitness()...); w.witness == nil {
		w.Fatalf("the witness does not start: %s", said)
	}
}

// witnessFault runs the witness until the fault has happened, and ends it in one of several ways.
func (w *world) witnessFault(probe *probe, fault powerfs.Fault) string {
	w.Helper()
	failed := w.disk.Failed()
	w.disk.Break(fault)
	if w.witness, _ = w.start(nil, "escortwitness", w.serveWitness()...); w.witness == nil {
		return "refused to start"
	}
	stop := probe.load()
	for deadline := time.Now().Add(patience); w.disk.Failed() == failed; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("%+v never happened", fault)
		}
	}
	time.Sleep(time.Duration(w.random.IntN(20)) * time.Millisecond)
	gently := w.random.IntN(2) == 0
	if gently {
		_ = w.witness.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-w.witness.ended:
		case <-time.After(patience):
			w.Error("it does not end")
		}
	}
	w.kill()
	stop()
	return fmt.Sprintf("ended gently: %v", gently)
}
