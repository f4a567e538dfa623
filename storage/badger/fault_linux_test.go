package badger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
		return childFault(dir, func() error { return failMsync(dir, ".vlog") })
	}
	children["fail-wal"] = func(dir string) error {
		return childFault(dir, func() error { return failMsync(dir, ".mem") })
	}
	children["fail-names"] = func(dir string) error {
		return childFault(dir, func() error {
			if err := os.WriteFile(filepath.Join(dir, "new file"), nil, 0o600); err != nil {
				return err
			}
			return failSyscall(unix.SYS_FSYNC, 0)
		})
	}
	children["fail-new-value-log"] = childNewValueLog
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
	s.SetCloseWait(100 * time.Millisecond)
	_ = s.Close() // it may fail, and must return
	fmt.Println(faultAfter)
	return nil
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
	if err := failSyscall(unix.SYS_FSYNC, 0); err != nil {
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
			if got != after(faultAfter) && got != after(faultAfter+1) {
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

// failMsync makes each msync of the newest file with that ending fail with EIO.
func failMsync(dir, ending string) error {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	newest, address := "", uint64(0)
	for line := range strings.Lines(string(maps)) {
		fields := strings.Fields(line)
		path := fields[len(fields)-1]
		if filepath.Dir(path) == dir && strings.HasSuffix(path, ending) && path > newest {
			newest = path
			if _, err := fmt.Sscanf(fields[0], "%x-", &address); err != nil {
				return err
			}
		}
	}
	if address == 0 {
		return fmt.Errorf("no mapping of a %s file", ending)
	}
	return failSyscall(unix.SYS_MSYNC, address)
}

var errNoFilter = errors.New("system calls cannot be filtered here")

// failSyscall makes a system call fail with EIO from now on in all threads of
// this process: all of these calls, or those with that first argument.
func failSyscall(number uint32, firstArgument uint64) error {
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
	if firstArgument == 0 {
		filter = []unix.SockFilter{load(0), unless(number, 1)}
	} else {
		filter = []unix.SockFilter{
			load(0), unless(number, 5),
			load(16), unless(uint32(firstArgument), 3),
			load(20), unless(uint32(firstArgument>>32), 1),
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
