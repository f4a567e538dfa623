//go:build e2e && linux

package torture_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/badger"
	"github.com/escortlog/escortlog/storage/internal/powerfs"
)

// These make the test program a child that opens a store: the store maps files,
// which the process that serves the file system must not do.
var (
	storeDir = flag.String("store", "", "")
	commits  = flag.Int("commits", 0, "")
	reclaim  = flag.String("reclaim", "", "")
	large    = flag.Bool("large", false, "")
	closes   = flag.Bool("close", false, "")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *storeDir == "" {
		os.Exit(m.Run())
	}
	if err := useStore(*storeDir, *commits, *reclaim); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// valueSizes are those of the values of a commit, in bytes: enough short ones for many
// pages of the WAL, so that a power cut tears it.
var valueSizes = append(slices.Repeat([]int{900}, 20), 100, 2000, 30_000)

// useStore prints the head, having read what was committed with it, commits until that
// fails, prints each new head, and ends without closing. Space is reclaimed meanwhile, or
// after the last commit, or not; where it is, there is some: of the commits older than
// the last ten the values of each tenth are kept.
func useStore(dir string, commits int, reclaim string) error {
	ctx := context.Background()
	if *large { // ten commits, and a value log is about full
		valueSizes = slices.Repeat([]int{600_000}, 10)
	}
	s, err := badger.Open(dir, badger.Options{MinFree: 1, ReclaimAfter: -1})
	if err != nil {
		return err
	}
	head, err := s.Get(ctx, storage.HeadKey)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	n, _ := strconv.Atoi(string(head)) // none is 0
	for old := 10; old < n; old += 10 {
		if err := holds(s, old); err != nil {
			return err
		}
	}
	if err := holds(s, n); n > 0 && err != nil {
		return err
	}
	fmt.Println(n)
	if reclaim == "meanwhile" {
		go func() {
			for s.Reclaim(ctx) == nil { // it fails with the disk; what that did is seen later
			}
		}()
	}
	for range commits {
		n++
		next := fmt.Appendf(nil, "%d", n)
		b := &storage.Batch{OldHead: head, NewHead: next}
		for i, size := range valueSizes {
			b.Put = append(b.Put, storage.KV{Key: valueKey(n, i), Value: bytes.Repeat([]byte{'v'}, size)})
			if old := n - 10; reclaim != "" && old > 0 && old%10 != 0 {
				b.Delete = append(b.Delete, valueKey(old, i))
			}
		}
		if err := s.Commit(ctx, b); err != nil {
			break
		}
		head = next
		fmt.Println(n)
	}
	if reclaim == "after" {
		_ = s.Reclaim(ctx)
	}
	if *closes {
		_ = s.Close()
		return nil
	}
	return unix.Kill(unix.Getpid(), unix.SIGKILL)
}

func valueKey(n, i int) []byte { return fmt.Appendf(nil, "%d/%d", n, i) }

// holds returns nil if all values of commit n are there.
func holds(s *badger.Store, n int) error {
	for i, size := range valueSizes {
		if v, err := s.Get(context.Background(), valueKey(n, i)); err != nil || len(v) != size {
			return fmt.Errorf("commit %d, value %d has %d bytes: %w", n, i, len(v), err)
		}
	}
	return nil
}

// storeDisk is a disk with a store, used by one child after the other.
type storeDisk struct {
	*testing.T
	disk *powerfs.FS
	dir  string
}

func newStoreDisk(t *testing.T, mode powerfs.Mode) *storeDisk {
	t.Helper()
	s := &storeDisk{t, powerfs.New(mode, 1), t.TempDir()}
	s.mount()
	t.Cleanup(func() {
		s.disk.PowerOff()
		if err := s.disk.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *storeDisk) mount() {
	s.Helper()
	if err := s.disk.Mount(s.dir); errors.Is(err, powerfs.ErrUnavailable) {
		s.Skip(err)
	} else if err != nil {
		s.Fatal(err)
	}
}

func (s *storeDisk) cut(p float64, seed uint64) {
	s.Helper()
	if err := s.disk.CutKeeping(p, seed); err != nil {
		s.Fatal(err)
	}
	s.mount()
}

// use returns the head that the store had when it was opened, and the last one that
// was acknowledged, or -1 for both when it did not come so far. It kills the child when the
// power is lost.
func (s *storeDisk) use(commits int, lost <-chan struct{}, more ...string) (opened, acked int, err error) {
	cmd := exec.Command(os.Args[0], append(more, "-store", filepath.Join(s.dir, "db"), "-commits", strconv.Itoa(commits))...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return -1, -1, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-lost:
		_ = cmd.Process.Kill()
		s.disk.PowerOff()
		err = <-ended
	case <-time.After(patience):
		_ = cmd.Process.Signal(unix.SIGQUIT)
		err = <-ended
		s.Fatalf("it does not end: %v\n%s", err, &stderr)
	}
	if stderr.Len() > 0 {
		err = fmt.Errorf("%w: %s", err, &stderr)
	} else {
		err = nil // it kills itself
	}
	opened, acked = -1, -1
	for line := range strings.Lines(stdout.String()) {
		head, notNumber := strconv.Atoi(strings.TrimSpace(line))
		if notNumber != nil {
			return -1, -1, errors.Join(err, notNumber)
		}
		if acked = head; opened < 0 {
			opened = acked
		}
	}
	return opened, acked, err
}

// TestE2ETortureReopen makes one sync of a store after the other fail. The head that
// is read when the store is opened again, which the page cache may have alone, is
// durable from then on, with all that belongs to it.
func TestE2ETortureReopen(t *testing.T) {
	s := newStoreDisk(t, powerfs.Strict)
	if _, _, err := s.use(3, nil); err != nil {
		t.Fatal(err)
	}
	for n := range 24 {
		s.disk.Fail(powerfs.Sync, 1+n, unix.EIO)
		_, _, _ = s.use(20, nil) // it may not even open
		_, before, err := s.use(n%2, nil)
		if err != nil {
			t.Fatalf("sync %d: opening again: %v", n, err)
		}
		s.cut(0, uint64(n))
		if after, _, err := s.use(0, nil); err != nil || after < before {
			t.Fatalf("sync %d: the head was %d, after a power cut it is %d: %v", n, before, after, err)
		}
	}
}

// TestE2ETortureOpening cuts the power before one change after the other that opening
// a store makes which was killed, and commits to it: where the WAL becomes a table.
func TestE2ETortureOpening(t *testing.T) {
	s := newStoreDisk(t, powerfs.Strict)
	for n := range 60 {
		_, before, err := s.use(3, nil)
		if err != nil {
			t.Fatalf("change %d: %v", n, err)
		}
		_, _, _ = s.use(3, s.disk.CutAt(1+n))
		s.cut([]float64{0, 0.5, 0.9}[n%3], uint64(n))
		if after, _, err := s.use(0, nil); err != nil || after < before {
			t.Fatalf("change %d: the head was %d, after a power cut it is %d: %v", n, before, after, err)
		}
	}
}

// TestE2ETortureOpenings cuts the power in the middle of commits, and then again and
// again in the openings that follow, each of which finds what the ones before have left.
func TestE2ETortureOpenings(t *testing.T) {
	cuts := int(number(t, "ESCORTLOG_POWER_CUTS", 20))
	seed := number(t, "ESCORTLOG_TORTURE_SEED", rand.Uint64())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := newStoreDisk(t, powerfs.Strict)
	newest, kinds := 0, [2]int{}
	for n := range cuts {
		kind, in := 1, 1+random.IntN(60)
		if n%3 == 0 {
			kind, in = 0, 60+random.IntN(200)
		}
		opened, acked, err := s.use(1000, s.disk.CutAt(in))
		if err != nil || opened >= 0 && (opened < newest || opened > newest+1) {
			t.Fatalf("cut %d: after head %d was acknowledged it is %d: %v", n, newest, opened, err)
		}
		newest = max(newest, acked)
		kinds[kind]++
		s.cut([]float64{0, 0.1, 0.5, 0.9, 1}[random.IntN(5)], random.Uint64())
	}
	if opened, _, err := s.use(0, nil); err != nil || opened < newest || opened > newest+1 || newest < cuts {
		t.Fatalf("after head %d was acknowledged it is %d: %v", newest, opened, err)
	}
	t.Logf("%d cuts under load, %d in the opening; head %d", kinds[0], kinds[1], newest)
}

// TestE2ETortureReclaim cuts the power while values that still count are moved from one
// value log to another, tables are merged, and what is dead is removed.
func TestE2ETortureReclaim(t *testing.T) {
	cuts := int(number(t, "ESCORTLOG_POWER_CUTS", 20))
	seed := number(t, "ESCORTLOG_TORTURE_SEED", rand.Uint64())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := newStoreDisk(t, powerfs.Strict)
	newest, collected := 0, 0
	for n := range cuts {
		before := s.valueLogs()
		commits, when := 1000, "meanwhile"
		if n%2 == 1 {
			commits, when = 15, "after" // no commit syncs what is moved
		}
		opened, acked, err := s.use(commits, s.disk.CutAt(1+random.IntN(1000)), "-reclaim", when)
		if err != nil || opened >= 0 && (opened < newest || opened > newest+1) {
			t.Fatalf("cut %d: after head %d was acknowledged it is %d: %v", n, newest, opened, err)
		}
		newest = max(newest, acked)
		s.cut([]float64{0, 0.1, 0.5, 0.9, 1}[random.IntN(5)], random.Uint64())
		after := s.valueLogs()
		for _, log := range before {
			if !slices.Contains(after, log) {
				collected++
			}
		}
	}
	if opened, _, err := s.use(0, nil); err != nil || opened < newest || opened > newest+1 || newest < cuts {
		t.Fatalf("after head %d was acknowledged it is %d: %v", newest, opened, err)
	}
	if collected == 0 {
		t.Error("no value log was ever collected: nothing was put to the test")
	}
	t.Logf("head %d, %d value logs collected", newest, collected)
}

// TestE2ETortureFullValueLog cuts the power while what is moved from one value log fills
// another, and goes on in a third, of which the name is new.
func TestE2ETortureFullValueLog(t *testing.T) {
	cuts := min(40, int(number(t, "ESCORTLOG_POWER_CUTS", 20))) // what is collected stays, in memory
	seed := number(t, "ESCORTLOG_TORTURE_SEED", rand.Uint64())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := newStoreDisk(t, powerfs.Strict)
	newest := 0
	for n := range cuts {
		var lost <-chan struct{}
		if n >= 2 {
			lost = s.disk.CutAt(100 + random.IntN(200))
		}
		opened, acked, err := s.use(10, lost, "-reclaim", "after", "-large")
		if err != nil || opened >= 0 && (opened < newest || opened > newest+1) {
			t.Fatalf("cut %d: after head %d was acknowledged it is %d: %v", n, newest, opened, err)
		}
		newest = max(newest, acked)
		s.cut(0, 0)
	}
	if opened, _, err := s.use(0, nil, "-large"); err != nil || opened < newest || opened > newest+1 {
		t.Fatalf("after head %d was acknowledged it is %d: %v", newest, opened, err)
	}
	t.Logf("head %d", newest)
}

func (s *storeDisk) valueLogs() []string {
	s.Helper()
	logs, err := filepath.Glob(filepath.Join(s.dir, "db", "*.vlog"))
	if err != nil {
		s.Fatal(err)
	}
	return logs
}
