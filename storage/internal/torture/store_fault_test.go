//go:build e2e && linux

package torture_test

import (
	"math/rand/v2"
	"testing"

	"github.com/escortlog/escortlog/storage/internal/powerfs"
)

// TestE2ETortureStoreFault breaks the disk of a store while it opens, commits, reclaims and
// closes, or cuts its power there, or both.
func TestE2ETortureStoreFault(t *testing.T) {
	runs := min(60, int(number(t, "ESCORTLOG_DISK_FAULTS", 3))) // what is committed stays, in memory
	seed := number(t, "ESCORTLOG_TORTURE_SEED", rand.Uint64())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	cut := func(s *storeDisk) { s.cut([]float64{0, 0.1, 0.5, 0.9, 1}[random.IntN(5)], random.Uint64()) }
	for _, mode := range []powerfs.Mode{powerfs.Journaled, powerfs.Strict} {
		s := newStoreDisk(t, mode)
		newest, failed := 0, 0
		for n := range runs {
			faults, power := random.IntN(3), random.IntN(2) == 0
			for range faults {
				f := drawFault(random)
				t.Logf("%v %d: %+v", mode, n, f)
				s.disk.Break(f)
			}
			var lost <-chan struct{}
			if power {
				lost = s.disk.CutAt(1 + random.IntN(400))
			}
			how := [][]string{nil, {"-reclaim", "meanwhile"}, {"-reclaim", "after"}}[random.IntN(3)]
			if random.IntN(2) == 0 {
				how = append(how, "-close")
			}
			commits := []int{0, 3, 30, 300}[random.IntN(4)]
			t.Logf("%v %d: %d commits, %q, power goes: %v", mode, n, commits, how, power)
			before := s.disk.Failed()
			opened, acked, err := s.use(commits, lost, how...)
			failed += s.disk.Failed() - before
			s.disk.CutAt(0)
			if opened >= 0 && (opened < newest || opened > newest+1) {
				t.Fatalf("after head %d was acknowledged it is %d", newest, opened)
			}
			if opened < 0 && err != nil && faults == 0 {
				t.Fatalf("it does not open: %v", err)
			}
			newest = max(newest, acked)
			if power || random.IntN(2) == 0 {
				cut(s)
			}
			// The second opening finds what the first has made of it.
			for i := range 2 {
				s.disk.Repair()
				if opened, acked, err = s.use(random.IntN(2), nil); err != nil || opened < newest || opened > newest+1 {
					t.Fatalf("opening %d: after head %d was acknowledged it is %d: %v", i, newest, opened, err)
				}
				newest = max(newest, acked)
				s.cut(0, 0)
			}
		}
		t.Logf("%v: head %d, %d operations failed", mode, newest, failed)
	}
}
