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

// TestE2ETortureGuard makes a sync of the guard fail. What the log publishes when it is
// started again the guard remembers durably, though the page cache had it already.
func TestE2ETortureGuard(t *testing.T) {
	w := newWorld(t, powerfs.Strict, false)
	for range 4 {
		w.mustServe()
		failed := w.disk.Failed()
		w.disk.Break(powerfs.Fault{Op: powerfs.Sync, At: 1 + w.random.IntN(4), Suffix: "guard", Errno: unix.EIO})
		stop := w.load()
		for deadline := time.Now().Add(patience); w.disk.Failed() == failed; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the guard is never synced")
			}
		}
		stop()
		if w.submit(t.Context(), w.log.url, 0) {
			t.Fatal("it goes on acknowledging events")
		}
		w.kill()
		w.mustServe()
		w.check()
		w.kill()
		w.must(w.disk.CutKeeping(0, w.random.Uint64()))
		w.must(w.disk.Mount(w.dir))
		var remembered int64
		for line := range strings.Lines(w.run(w.bin("escortlogd"), "fsck", "--data", w.data("log"))) {
			_, _ = fmt.Sscanf(line, "guard %d", &remembered)
		}
		if remembered < w.ledger.newest.Size {
			t.Fatalf("size %d was published, and the guard remembers %d", w.ledger.newest.Size, remembered)
		}
	}
}
