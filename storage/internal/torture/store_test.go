//go:build e2e && linux

package torture_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

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
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *storeDir == "" {
		os.Exit(m.Run())
	}
	if err := useStore(*storeDir, *commits); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// useStore commits until that fails, prints the head that was there before, and
// ends without closing.
func useStore(dir string, commits int) error {
	ctx := context.Background()
	s, err := badger.Open(dir, badger.Options{MinFree: 1, ReclaimAfter: -1})
	if err != nil {
		return err
	}
	head, err := s.Get(ctx, storage.HeadKey)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	fmt.Printf("%s\n", head)
	n, _ := strconv.Atoi(string(head)) // none is 0
	for range commits {
		n++
		next := fmt.Appendf(nil, "%d", n)
		var put []storage.KV
		for i, size := range []int{100, 2000, 30_000} {
			put = append(put, storage.KV{Key: fmt.Appendf(nil, "%d/%d", n, i), Value: bytes.Repeat([]byte{'v'}, size)})
		}
		if err := s.Commit(ctx, &storage.Batch{OldHead: head, NewHead: next, Put: put}); err != nil {
			break
		}
		head = next
	}
	return unix.Kill(unix.Getpid(), unix.SIGKILL)
}

// TestE2ETortureReopen makes one sync of a store after the other fail. The head that
// is read when the store is opened again, which the page cache may have alone, is
// durable from then on, with all that belongs to it.
func TestE2ETortureReopen(t *testing.T) {
	disk, dir := powerfs.New(powerfs.Strict, 1), t.TempDir()
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
		if err := disk.Unmount(); err != nil {
			t.Error(err)
		}
	})
	// use returns the head that the store had.
	use := func(commits int) (int, error) {
		cmd := exec.Command(os.Args[0], "-store", filepath.Join(dir, "db"), "-commits", strconv.Itoa(commits))
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); stderr.Len() > 0 {
			return 0, fmt.Errorf("%w: %s", err, &stderr)
		}
		n, _ := strconv.Atoi(string(bytes.TrimSpace(stdout.Bytes())))
		return n, nil
	}
	if _, err := use(3); err != nil {
		t.Fatal(err)
	}
	for n := range 24 {
		disk.Fail(powerfs.Sync, 1+n, unix.EIO)
		_, _ = use(20) // it may not even open
		before, err := use(n % 2)
		if err != nil {
			t.Fatalf("sync %d: opening again: %v", n, err)
		}
		if err := disk.CutKeeping(0, uint64(n)); err != nil {
			t.Fatal(err)
		}
		mount()
		if after, err := use(0); err != nil || after < before+n%2 {
			t.Fatalf("sync %d: the head was %d, after a power cut it is %d: %v", n, before, after, err)
		}
	}
}
