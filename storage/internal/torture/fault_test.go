//go:build e2e && linux

package torture_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage/internal/powerfs"
)

// faultsFrom is how many syncs, and how many writes, of a start and the commits
// after it are made to fail, one in each run.
const faultsFrom = 60

// TestE2ETortureDiskFault makes one sync or write of escortlogd fail: the first of
// a start, the second, and so on. The log does not start, or it stops; it never
// acknowledges what a power cut would then take, and opens again without damage.
// With few runs the operations are drawn.
func TestE2ETortureDiskFault(t *testing.T) {
	runs := int(number(t, "ESCORTLOG_DISK_FAULTS", 12))
	w := newWorld(t, powerfs.Strict, false)
	outcomes := map[string]int{}
	for run := range runs {
		op, errno, at := powerfs.Sync, unix.EIO, 1+run/2%faultsFrom
		if run%2 == 1 {
			op = powerfs.Write
			if w.random.IntN(2) == 0 {
				errno = unix.ENOSPC // of a disk that was filled after it was asked
			}
		}
		if runs < 2*faultsFrom {
			at = 1 + w.random.IntN(faultsFrom)
		}
		what := fmt.Sprintf("%v on %v %d", errno, op, at)
		outcome := w.fault(what, op, at, errno)
		outcomes[outcome]++
		if w.random.IntN(2) == 0 {
			// Without a power cut the next start reads from the page cache what
			// the failed sync has lost.
			w.kill()
			if !w.serve(nil) {
				t.Fatal("it does not start")
			}
			w.check()
			stop := w.load()
			time.Sleep(time.Duration(w.random.IntN(100)) * time.Millisecond)
			w.kill()
			stop()
		}
		w.cut()
		if run%2 == 0 {
			w.fsck()
		}
		if !w.serve(nil) {
			t.Fatal("it does not start")
		}
		w.check()
		w.kill()
		if run%2 == 1 {
			w.fsck()
		}
	}
	t.Logf("%d runs: %v; %d acknowledged, size %d", runs, outcomes, len(w.ledger.leaves), w.ledger.newest.Size)
	if len(w.ledger.leaves) == 0 {
		t.Error("nothing was ever acknowledged")
	}
}

// fault runs the log until the fault has happened, and returns what it did.
func (w *world) fault(what string, op powerfs.Op, at int, errno unix.Errno) string {
	w.Helper()
	fired := w.disk.Count(op) + at
	w.disk.Fail(op, at, errno)
	var said string
	if w.log, said = w.start(nil, "escortlogd", w.serveLog()...); w.log == nil {
		if !strings.Contains(said, errno.Error()) {
			w.Fatalf("%s: it does not start, and does not say why: %s", what, said)
		}
		return "refused to start"
	}
	stop := w.load()
	for deadline := time.Now().Add(patience); w.disk.Count(op) < fired; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("%s never happened", what)
		}
		if w.log.gone() {
			w.Fatalf("%s: it ended before", what)
		}
	}
	stop()
	if w.submit(w.Context(), w.log.url, 0) {
		log := w.log
		w.kill()
		if said := log.said.String(); !strings.Contains(said, "not compacting") || !strings.Contains(said, errno.Error()) {
			w.Errorf("%s: it goes on acknowledging events\n%s", what, said)
		}
		return "went on without compacting"
	}
	return "stopped"
}

// TestE2ETortureFullDisk fills the disk under the running log: it refuses events
// and goes on once there is room.
func TestE2ETortureFullDisk(t *testing.T) {
	w := newWorld(t, powerfs.Journaled, false)
	if !w.serve(nil) {
		t.Fatal("it does not start")
	}
	for range 3 {
		if !w.submit(t.Context(), w.log.url, 0) {
			t.Fatal("an event is refused while there is room")
		}
		w.disk.Limit(1 << 20)
		if w.submit(t.Context(), w.log.url, 0) {
			t.Fatal("an event is acknowledged on a full disk")
		}
		w.check() // it is read as before
		w.disk.Limit(0)
	}
	w.disk.Limit(1 << 20)
	w.cut()
	if p, said := w.start(nil, "escortlogd", w.serveLog()...); p != nil || !strings.Contains(said, "free") {
		p.kill()
		t.Fatalf("it starts on a full disk: %s", said)
	}
	w.disk.Limit(0)
	w.fsck()
	if !w.serve(nil) {
		t.Fatal("it does not start when there is room again")
	}
	w.check()
}
