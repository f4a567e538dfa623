package badger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/badger"
)

func init() {
	children["fail-value-log"] = func(dir string) error {
		return childFault(dir, func() error { return failSync(dir, ".vlog") })
	}
	children["fail-wal"] = func(dir string) error {
		return childFault(dir, func() error { return failSync(dir, ".mem") })
	}
	children["fail-names"] = func(dir string) error {
		return childFault(dir, func() error {
			if err := os.WriteFile(filepath.Join(dir, "new file"), nil, 0o600); err != nil {
				return err
			}
			return failSyscall(unix.SYS_FSYNC, -1, 0)
		})
	}
	children["fail-closing"] = childClosing
	children["fail-new-value-log"] = childNewValueLog
	children["fail-compaction"] = func(dir string) error { return childCompaction(dir, step) }
	children["fail-part-of-compaction"] = func(dir string) error { return childCompaction(dir, wide) }
}

const faultAfter = 5

// childFault commits, breaks something, and expects the next commit to fail,
// the one after to fail likewise, and reads to go on as before.
func childFault(dir string, breakIt func() error) error {
	ctx := context.Background()
	s, err := badger.Open(dir, small)
	if err != nil {
		return err
	}
	for n := 1; n <= faultAfter; n++ {
		if err := s.Commit(ctx, step(n)); err != nil {
			return err
		}
	}
	if err := breakIt(); err != nil {
		return fmt.Errorf("breaking it: %w", err)
	}
	first := s.Commit(ctx, step(faultAfter+1))
	if first == nil {
		return errors.New("a commit that was not synced succeeded")
	}
	for _, known := range []error{storage.ErrHeadMoved, storage.ErrTooLarge, storage.ErrFull, context.Canceled} {
		if errors.Is(first, known) {
			return fmt.Errorf("an error that says not applied: %w", first)
		}
	}
	for _, n := range []int{faultAfter + 1, faultAfter + 2} {
		if err := s.Commit(ctx, step(n)); err != first {
			return fmt.Errorf("the commit after a failed one returns %w, not the same error", err)
		}
	}
	if got, err := content(s); err != nil || got != after(faultAfter) {
		return fmt.Errorf("reads after a failed commit show it: %w", err)
	}
	if err := s.Close(); !errors.Is(err, first) {
		return fmt.Errorf("closing says %w, not what has failed", err)
	}
	// In a table the commit that failed would be one that no WAL holds, should the
	// name of the table not come to stand in MANIFEST.
	if tables, err := filepath.Glob(filepath.Join(dir, "*.sst")); err != nil || len(tables) > 0 {
		return fmt.Errorf("closing wrote tables %v: %w", tables, err)
	}
	fmt.Println(faultAfter)
	return nil
}

// childClosing closes a healthy store on a disk that broke for good: the table is written, and
// MANIFEST cannot be made to name it.
func childClosing(dir string) error {
	s, err := badger.Open(dir, small)
	if err != nil {
		return err
	}
	for n := 1; n <= faultAfter; n++ {
		if err := s.Commit(context.Background(), step(n)); err != nil {
			return err
		}
	}
	if err := failSyscall(unix.SYS_FSYNC, -1, 0); err != nil {
		return err
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		if !errors.Is(err, unix.EIO) {
			return fmt.Errorf("closing on a broken disk says %w", err)
		}
		return nil
	case <-time.After(30 * time.Second):
		return errors.New("closing on a broken disk does not end")
	}
}

// TestCloseFails: what was acknowledged is there when closing could not write it to a table.
func TestCloseFails(t *testing.T) {
	dir := t.TempDir()
	runChild(t, "fail-closing", dir)
	if got, err := content(mustOpen(t, dir, small)); err != nil || got != after(faultAfter) {
		t.Fatalf("the store holds\n%.1000s, %v", got, err)
	}
}

// childNewValueLog fills a value log until there is a next one, of which the
// name cannot be made durable.
func childNewValueLog(dir string) error {
	ctx := context.Background()
	s, err := badger.Open(dir, small)
	if err != nil {
		return err
	}
	var head []byte
	commit := func(n int) error {
		next := fmt.Appendf(nil, "%d", n)
		value := bytes.Repeat([]byte("0123456789abcdef"), 400_000)
		err := s.Commit(ctx, &storage.Batch{OldHead: head, NewHead: next, Put: []storage.KV{{Key: next, Value: value}}})
		head = next
		return err
	}
	if err := commit(0); err != nil {
		return err
	}
	time.Sleep(100 * time.Millisecond) // else the directory is synced again in any case
	if err := commit(1); err != nil {
		return err
	}
	if err := failSyscall(unix.SYS_FSYNC, -1, 0); err != nil {
		return err
	}
	for n := 2; n < 30; n++ {
		if err := commit(n); err != nil {
			if !strings.Contains(err.Error(), "names") {
				return err
			}
			fmt.Println(n)
			os.Exit(0) // closing would fail too
		}
	}
	return errors.New("30 commits of 6 MB, and no new value log had its name synced")
}

// wide is step with short values that fill many blocks, of which a compaction makes
// several tables.
func wide(n int) *storage.Batch {
	b := step(n)
	for i := range 1500 {
		b.Put = append(b.Put, storage.KV{Key: fmt.Appendf(nil, "many/%d/%d", n, i), Value: bytes.Repeat([]byte("."), 900)})
	}
	return b
}

// childCompaction makes the first table that a compaction writes fail, and only that:
// Badger goes on without it, deletes the tables that went in, and reports
// success. The length of that table is that of one made of the same commits.
func childCompaction(dir string, step func(n int) *storage.Batch) error {
	ctx := context.Background()
	var length uint64
	for _, dir := range []string{filepath.Join(dir, "healthy"), filepath.Join(dir, "faulty")} {
		var s *badger.Store
		for n := 1; n <= faultAfter; n++ {
			if n == 1 || n == 4 { // commits 1 to 3 are in a table, the others in a WAL
				if s != nil {
					if err := s.Close(); err != nil {
						return err
					}
				}
				var err error
				if s, err = badger.Open(dir, small); err != nil {
					return err
				}
			}
			if err := s.Commit(ctx, step(n)); err != nil {
				return err
			}
		}
		if length > 0 {
			if err := failSyscall(unix.SYS_MSYNC, 1, length); err != nil {
				return err
			}
			for range 2 {
				if err := s.Reclaim(ctx); !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), "compaction lost a key") {
					return fmt.Errorf("a compaction that failed: %w", err)
				}
			}
			if err := s.Commit(ctx, step(faultAfter+1)); err == nil {
				return errors.New("a commit after keys were lost")
			}
			_ = s.Close()
			return nil
		}
		if err := s.Reclaim(ctx); err != nil {
			return err
		}
		tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
		if err != nil || len(tables) == 0 {
			return fmt.Errorf("%d tables after a compaction: %w", len(tables), err)
		}
		info, err := os.Stat(tables[len(tables)/2])
		if err != nil {
			return err
		}
		length = uint64(info.Size())
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

// TestCompactionFails: that a compaction lost keys is noticed, and opening the store again
// undoes it, also where the newest commit is in one of the tables that it made.
func TestCompactionFails(t *testing.T) {
	for _, name := range []string{"fail-compaction", "fail-part-of-compaction"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			runChild(t, name, dir)
			want, err := content(mustOpen(t, filepath.Join(dir, "healthy"), small))
			if err != nil {
				t.Fatal(err)
			}
			s := mustOpen(t, filepath.Join(dir, "faulty"), small)
			if got, err := content(s); err != nil || got != want {
				t.Fatalf("opened again: %v, it holds %d bytes, not %d", err, len(got), len(want))
			}
			if err := s.Reclaim(t.Context()); err != nil {
				t.Fatal(err)
			}
			mustClose(t, s)
			if got, err := content(mustOpen(t, filepath.Join(dir, "faulty"), small)); err != nil || got != want {
				t.Fatalf("compacted and opened again: %v, it holds %d bytes, not %d", err, len(got), len(want))
			}
		})
	}
}

func TestDiskFaults(t *testing.T) {
	for _, name := range []string{"fail-value-log", "fail-wal", "fail-names"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			runChild(t, name, dir)
			// Whether the commit that failed is there is not known. Others are.
			got, err := content(mustOpen(t, dir, small))
			if err != nil {
				t.Fatal(err)
			}
			// But when its values are not on the disk, it must not be there.
			if got != after(faultAfter) && (name == "fail-value-log" || got != after(faultAfter+1)) {
				t.Fatalf("the store holds\n%.1000s", got)
			}
		})
	}
	t.Run("fail-new-value-log", func(t *testing.T) { runChild(t, "fail-new-value-log", t.TempDir()) })
}

func runChild(t *testing.T, name, dir string) {
	t.Helper()
	cmd, lines := child(t, name, dir)
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		if strings.Contains(strings.Join(said, " "), errNoFilter.Error()) {
			t.Skip(said)
		}
		t.Fatalf("%v: %q", err, said)
	}
}

// failSync makes each sync of the newest file with that ending fail with EIO.
func failSync(dir, ending string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*"+ending))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no %s file: %w", ending, err)
	}
	newest := slices.Max(files)
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	failing := 0
	for _, fd := range open {
		if path, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())); err != nil || path != newest {
			continue
		}
		n, err := strconv.ParseUint(fd.Name(), 10, 64)
		if err != nil {
			return err
		}
		if err := failSyscall(unix.SYS_FDATASYNC, 0, n); err != nil {
			return err
		}
		failing++
	}
	if failing == 0 {
		return fmt.Errorf("%s is not open", newest)
	}
	return nil
}

var errNoFilter = errors.New("system calls cannot be filtered here")

// failSyscall makes a system call fail with EIO from now on in all threads of
// this process: those of these calls whose nth argument is v, or all for n < 0.
func failSyscall(number uint32, n int, v uint64) error {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	// unless skips the next n instructions when what is loaded is not v.
	unless := func(v uint32, n uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: n, K: v}
	}
	ret := func(v uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: v} }
	// struct seccomp_data: number, architecture, instruction pointer, arguments
	// of 8 bytes (little-endian) from offset 16.
	var filter []unix.SockFilter
	if n < 0 {
		filter = []unix.SockFilter{load(0), unless(number, 1)}
	} else {
		filter = []unix.SockFilter{
			load(0), unless(number, 5),
			load(16 + 8*uint32(n)), unless(uint32(v), 3),
			load(20 + 8*uint32(n)), unless(uint32(v>>32), 1),
		}
	}
	filter = append(filter, ret(unix.SECCOMP_RET_ERRNO|uint32(unix.EIO)), ret(unix.SECCOMP_RET_ALLOW))
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("%w: %w", errNoFilter, err)
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("%w: %w", errNoFilter, errno)
	}
	return nil
}

// TestSmallDisk fills a disk of 96 MiB for real, where root may mount one.
func TestSmallDisk(t *testing.T) {
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=96m"); err != nil {
		t.Skip("cannot mount: ", err)
	}
	defer func() { _ = unix.Unmount(disk, unix.MNT_DETACH) }()
	dir := filepath.Join(disk, "store")
	s := mustOpen(t, dir, badger.Options{MinFree: 16 << 20, ReclaimAfter: -1})
	value := bytes.Repeat([]byte("payload "), 100_000)
	var head []byte
	n := 0
	for ; ; n++ {
		next := fmt.Appendf(nil, "%04d", n)
		err := s.Commit(t.Context(), &storage.Batch{OldHead: head, NewHead: next, Put: []storage.KV{{Key: next, Value: value}}})
		if errors.Is(err, storage.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		head = next
	}
	if n < 50 {
		t.Fatalf("full after %d commits of 800 kB", n)
	}
	check := func() {
		t.Helper()
		for i := range n {
			v, err := s.Get(t.Context(), fmt.Appendf(nil, "%04d", i))
			if err != nil || !bytes.Equal(v, value) {
				t.Fatalf("value %d: %v", i, err)
			}
		}
	}
	check()
	mustClose(t, s)
	s = mustOpen(t, dir, badger.Options{MinFree: 16 << 20, ReclaimAfter: -1})
	check()
	if err := s.Commit(t.Context(), &storage.Batch{OldHead: head, NewHead: []byte("more"), Put: []storage.KV{{Key: []byte("x"), Value: value}}}); !errors.Is(err, storage.ErrFull) {
		t.Fatalf("Commit after reopening: %v, want ErrFull", err)
	}
	mustClose(t, s)
}
