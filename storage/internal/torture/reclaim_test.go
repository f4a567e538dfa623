//go:build e2e && linux

package torture_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage/internal/powerfs"
)

// TestE2ETortureReclaimFault breaks the disk while tables are merged: Badger goes on where a
// table cannot be written, and says nothing but a warning where MANIFEST cannot.
func TestE2ETortureReclaimFault(t *testing.T) {
	s := newStoreDisk(t, powerfs.Strict)
	newest, failed := 0, 0
	for _, suffix := range []string{"MANIFEST", ".sst"} {
		for _, op := range []powerfs.Op{powerfs.Sync, powerfs.Name} {
			for n := range 4 {
				fault := powerfs.Fault{Op: op, At: 1 + n/2, Lasts: n%2 == 1, Suffix: suffix, Errno: unix.EIO}
				before := s.disk.Failed()
				s.disk.Break(fault)
				// What cannot be opened has not come so far.
				if _, acked, err := s.use(3, nil, "-reclaim", "after", "-close"); err == nil {
					newest = max(newest, acked)
				}
				failed += s.disk.Failed() - before
				s.disk.Repair()
				for i := range 2 { // without a power cut, and with one of what that opening has made of it
					if i > 0 {
						s.cut(0, 0)
					}
					if head, _, err := s.use(0, nil); err != nil || head < newest || head > newest+1 {
						t.Fatalf("%+v: the head was %d, it is %d: %v", fault, newest, head, err)
					}
				}
			}
		}
	}
	if failed < 8 || newest < 30 {
		t.Errorf("only %d operations failed, and %d commits were made: nothing was put to the test", failed, newest)
	}
}
