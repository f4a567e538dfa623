//go:build e2e && linux

package torture_test

import (
	"testing"
	"time"

	"github.com/escortlog/escortlog/storage/internal/powerfs"
)

// TestE2ETorturePowerCut cuts the power at random moments: at a random time, where
// the kernel's dirty pages may still reach the disk, before a random change on the
// disk under load, or before one during the start.
func TestE2ETorturePowerCut(t *testing.T) {
	cuts := number(t, "ESCORTLOG_POWER_CUTS", 20)
	for _, mode := range []powerfs.Mode{powerfs.Journaled, powerfs.Strict} {
		t.Run(mode.String(), func(t *testing.T) {
			w := newWorld(t, mode, true)
			probe := newProbe(w)
			// What init and add-log have made is durable when they end.
			w.must(w.disk.CutKeeping(0, 1))
			w.must(w.disk.Mount(w.dir))
			var kinds [3]int
			for n := range int(cuts+1) / 2 {
				if n%2 == 0 { // the others recover in serve
					w.fsck()
				}
				kinds[w.round(probe)]++
				w.cut()
			}
			w.fsck()
			if !w.serve(nil) {
				t.Fatal("it does not start")
			}
			w.check()
			probe.check()
			w.checkLeaves(0, w.ledger.newest.Size)
			if w.ledger.accepted == 0 || len(w.ledger.leaves) < int(cuts) || probe.acked == 0 {
				t.Errorf("only %d events were acknowledged, %d by 202, and %d sizes cosigned: the load never came about",
					len(w.ledger.leaves), w.ledger.accepted, probe.acked)
			}
			t.Logf("%d cuts at a time, %d before a change, %d during the start; %d acknowledged, %d of them by 202; size %d; %d checkpoints",
				kinds[0], kinds[1], kinds[2], len(w.ledger.leaves), w.ledger.accepted, w.ledger.newest.Size, len(w.ledger.roots))
		})
	}
}

// round starts the programs, checks them, and brings them to the moment of the
// cut. It returns the kind of the cut.
func (w *world) round(probe *probe) int {
	w.Helper()
	kind := w.random.IntN(3)
	if kind == 2 {
		lost := w.disk.CutAt(1 + w.random.IntN(60))
		if !w.serve(lost) {
			return kind
		}
		// The start was over before: the power goes under load.
		w.underLoad(probe, lost)
		return kind
	}
	if !w.serve(nil) {
		w.Fatal("it does not start")
	}
	w.check()
	probe.check()
	if kind == 1 {
		w.underLoad(probe, w.disk.CutAt(1+w.random.IntN(400)))
		return kind
	}
	// The moment is what is random here: nothing is waited for.
	after := time.NewTimer(time.Duration(w.random.IntN(500)) * time.Millisecond)
	stop, stopProbe := w.load(), probe.load()
	<-after.C
	w.kill()
	stop()
	stopProbe()
	return kind
}

// underLoad runs the load until the power goes.
func (w *world) underLoad(probe *probe, lost <-chan struct{}) {
	w.Helper()
	stop, stopProbe := w.load(), probe.load()
	select {
	case <-lost:
	case <-time.After(patience):
		w.Error("the load makes no changes on the disk")
	}
	w.disk.PowerOff()
	w.kill()
	stop()
	stopProbe()
}
