//go:build e2e && linux

package torture_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage/internal/powerfs"
	"github.com/escortlog/escortlog/witness/journal"
)

// TestE2ETortureJournalLasting breaks the disk of a witness's memory that is rewritten again
// and again, once or for good, or cuts its power.
func TestE2ETortureJournalLasting(t *testing.T) {
	rounds := int(number(t, "ESCORTLOG_DISK_FAULTS", 12))
	seed := number(t, "ESCORTLOG_TORTURE_SEED", rand.Uint64())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, mode := range []powerfs.Mode{powerfs.Journaled, powerfs.Strict} {
		disk, dir := powerfs.New(mode, seed), t.TempDir()
		mountJournals(t, disk, dir)
		path := filepath.Join(dir, "journal")
		if err := errors.Join(journal.Create(path), disk.CutKeeping(0, 1)); err != nil {
			t.Fatal(err)
		}
		mountJournals(t, disk, dir)
		var acked [3]int
		for round := range rounds {
			what := "a power cut"
			lost := disk.CutAt(1 + random.IntN(150))
			if round%3 > 0 {
				disk.CutAt(0)
				f := powerfs.Fault{Op: powerfs.Op(random.IntN(3)), At: 1 + random.IntN(30), Lasts: random.IntN(2) == 0, Errno: unix.EIO}
				what = fmt.Sprintf("%+v", f)
				disk.Break(f)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				j, err := journal.Open(path, journal.Options{CompactAt: 3000})
				if err != nil {
					return
				}
				for n := range 200 {
					value := acked[n%3] + 1
					if j.Put(fmt.Sprint(n%3), []byte(strings.Repeat("v", 100)+fmt.Sprint(value))) != nil {
						break
					}
					acked[n%3] = value
				}
				_ = j.Close()
			}()
			select {
			case <-ended:
			case <-lost:
				disk.PowerOff()
				<-ended
			}
			cut := round%3 == 0 || random.IntN(2) == 0
			for range 2 {
				disk.Repair()
				if cut {
					if err := disk.Cut(random.Uint64()); err != nil {
						t.Fatal(err)
					}
					mountJournals(t, disk, dir)
				}
				j, err := journal.Open(path, journal.Options{})
				if err != nil {
					t.Fatalf("round %d, %s, cut %v: %v", round, what, cut, err)
				}
				for i := range acked {
					value, _ := j.Get(fmt.Sprint(i))
					held, _ := strconv.Atoi(strings.TrimLeft(string(value), "v"))
					if held != acked[i] && held != acked[i]+1 {
						t.Fatalf("round %d, %s, cut %v: it acknowledged %d and holds %d", round, what, cut, acked[i], held)
					}
					acked[i] = held // which is durable now
				}
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				cut = true
			}
		}
		t.Logf("%v: %d", mode, acked)
	}
}

func mountJournals(t *testing.T, disk *powerfs.FS, dir string) {
	t.Helper()
	if err := disk.Mount(dir); errors.Is(err, powerfs.ErrUnavailable) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		disk.PowerOff()
		_ = disk.Unmount()
	})
}

// TestE2ETortureJournal makes a sync of a witness's memory fail. What it holds when it
// is opened again, which the page cache may have alone, is durable then.
func TestE2ETortureJournal(t *testing.T) {
	for round := range uint64(30) {
		disk, dir := powerfs.New(powerfs.Strict, round), t.TempDir()
		mount := func() { t.Helper(); mountJournals(t, disk, dir) }
		mount()
		path := filepath.Join(dir, "journal")
		if err := journal.Create(path); err != nil {
			t.Fatal(err)
		}
		open := func() *journal.Journal {
			t.Helper()
			j, err := journal.Open(path, journal.Options{})
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			return j
		}
		j := open()
		put := func(key string) error { return j.Put(key, []byte(strings.Repeat("v", 1000+int(round)*300))) }
		for i := range 3 {
			if err := put(fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		disk.Fail(powerfs.Sync, 1, unix.EIO)
		if err := put("failed"); !errors.Is(err, unix.EIO) {
			t.Fatalf("a put that is not durable: %v", err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = open()
		_, held := j.Get("failed")
		if round%2 == 0 {
			if err := put("more"); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if err := disk.CutKeeping(0, round); err != nil {
			t.Fatal(err)
		}
		mount()
		j = open()
		if _, holds := j.Get("failed"); holds != held || len(j.All()) < 3 {
			t.Errorf("round %d: it held the value: %v; after a power cut: %v, of %d", round, held, holds, len(j.All()))
		}
		if err := errors.Join(j.Close(), disk.Unmount()); err != nil {
			t.Fatal(err)
		}
	}
}
