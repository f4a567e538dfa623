//go:build e2e && linux

package torture_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage/internal/powerfs"
	"github.com/escortlog/escortlog/witness/journal"
)

// TestE2ETortureJournal makes a sync of a witness's memory fail. What it holds when it
// is opened again, which the page cache may have alone, is durable then.
func TestE2ETortureJournal(t *testing.T) {
	for round := range uint64(30) {
		disk, dir := powerfs.New(powerfs.Strict, round), t.TempDir()
		mount := func() {
			t.Helper()
			if err := disk.Mount(dir); errors.Is(err, powerfs.ErrUnavailable) {
				t.Skip(err)
			} else if err != nil {
				t.Fatal(err)
			}
		}
		mount()
		t.Cleanup(func() {
			disk.PowerOff()
			_ = disk.Unmount()
		})
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
