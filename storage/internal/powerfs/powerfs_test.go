//go:build linux

package powerfs_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage/internal/powerfs"
)

// mapped names a file of which a child process maps the first 16 pages and
// writes to each: this process serves the file system, and must not map it.
var mapped = flag.String("mapped", "", "")

func TestMain(m *testing.M) {
	flag.Parse()
	if *mapped == "" {
		os.Exit(m.Run())
	}
	if err := writeMapped(*mapped, os.Getenv("MSYNC") != ""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func writeMapped(path string, sync bool) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, 16*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	for i := range 16 {
		data[i*4096] = 'm'
	}
	if sync {
		return unix.Msync(data, unix.MS_SYNC)
	}
	return unix.Kill(unix.Getpid(), unix.SIGKILL)
}

func runMapped(path string, sync bool) error {
	cmd := exec.Command(os.Args[0], "-mapped", path)
	if sync {
		cmd.Env = append(os.Environ(), "MSYNC=1")
	}
	out, err := cmd.CombinedOutput()
	if len(out) > 0 {
		return fmt.Errorf("%w: %s", err, out)
	}
	return err
}

// mount mounts a new file system for the time of the test.
func mount(t *testing.T, mode powerfs.Mode) (*powerfs.FS, string) {
	t.Helper()
	dir := t.TempDir()
	disk := powerfs.New(mode, 1)
	remount(t, disk, dir)
	t.Cleanup(func() {
		disk.PowerOff()
		if err := disk.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return disk, dir
}

func remount(t *testing.T, disk *powerfs.FS, dir string) {
	t.Helper()
	if err := disk.Mount(dir); errors.Is(err, powerfs.ErrUnavailable) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
}

func cut(t *testing.T, disk *powerfs.FS, dir string, seed uint64) {
	t.Helper()
	if err := disk.Cut(seed); err != nil {
		t.Fatal(err)
	}
	remount(t, disk, dir)
}

// write writes a file and makes durable what is asked for.
func write(t *testing.T, path string, data []byte, sync bool) {
	t.Helper()
	f, err := os.Create(path)
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil && sync {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func syncDir(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// seeds is how many outcomes a test looks at where chance decides.
const seeds = 60

func modes(t *testing.T, test func(t *testing.T, mode powerfs.Mode)) {
	for _, mode := range []powerfs.Mode{powerfs.Journaled, powerfs.Strict} {
		t.Run(mode.String(), func(t *testing.T) { test(t, mode) })
	}
}

func TestSyncedSurvives(t *testing.T) {
	modes(t, func(t *testing.T, mode powerfs.Mode) {
		disk, dir := mount(t, mode)
		data := bytes.Repeat([]byte("durable "), 5000)
		if err := os.MkdirAll(filepath.Join(dir, "a/b"), 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "a/b/file")
		write(t, path, data, true)
		syncDir(t, filepath.Join(dir, "a/b"))
		syncDir(t, filepath.Join(dir, "a"))
		syncDir(t, dir)
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(seeds) {
			cut(t, disk, dir, seed)
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("seed %d: %d bytes, %v", seed, len(got), err)
			}
		}
		if after, err := os.Stat(path); err != nil || before.Sys().(*syscall.Stat_t).Ino != after.Sys().(*syscall.Stat_t).Ino {
			t.Errorf("another inode: %v", err)
		}
	})
}

// TestUnsyncedMayVanish: of an overwrite that was not synced everything may
// survive, nothing, or some pages: a torn write.
func TestUnsyncedMayVanish(t *testing.T) {
	modes(t, func(t *testing.T, mode powerfs.Mode) {
		disk, dir := mount(t, mode)
		const pages = 8
		path := filepath.Join(dir, "file")
		outcomes := map[string]int{}
		for seed := range uint64(seeds) {
			write(t, path, bytes.Repeat([]byte{'o'}, pages*4096), true)
			syncDir(t, dir)
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt(bytes.Repeat([]byte{'n'}, (pages+1)*4096), 0)
			}
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			cut(t, disk, dir, seed)
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			news := 0
			for i := 0; i < len(got); i += 4096 {
				page := got[i : i+4096]
				if bytes.Count(page, page[:1]) != 4096 {
					t.Fatalf("page %d is torn within", i/4096)
				}
				if page[0] == 'n' {
					news++
				}
			}
			switch {
			case news == 0:
				outcomes["none"]++
			case news == pages+1:
				outcomes["all"]++
			default:
				outcomes["torn"]++
			}
			if len(got) == pages*4096 {
				outcomes["short"]++
			}
		}
		for _, o := range []string{"none", "all", "torn", "short"} {
			if outcomes[o] == 0 {
				t.Errorf("%s never happened in %d cuts: %v", o, seeds, outcomes)
			}
		}
	})
}

// TestNames: what a sync of the file, and one of the directory, do for names.
func TestNames(t *testing.T) {
	modes(t, func(t *testing.T, mode powerfs.Mode) {
		disk, dir := mount(t, mode)
		created, renamed, never := 0, 0, 0
		for seed := range uint64(seeds) {
			old, replaced, fresh := filepath.Join(dir, "old"), filepath.Join(dir, "replaced"), filepath.Join(dir, "fresh")
			write(t, old, []byte("new"), true)
			write(t, replaced, []byte("old"), true)
			_ = os.Remove(fresh)
			syncDir(t, dir)

			if err := os.Rename(old, replaced); err != nil {
				t.Fatal(err)
			}
			write(t, fresh, []byte("fresh"), true) // which syncs the rename too, on ext4
			write(t, filepath.Join(dir, "never"), []byte("synced"), false)
			cut(t, disk, dir, seed)

			content, err := os.ReadFile(replaced)
			if err != nil || exists(t, old) != (string(content) == "old") {
				t.Fatalf("seed %d: a rename happened in part: %q, %v", seed, content, err)
			}
			if string(content) == "new" {
				renamed++
			}
			if exists(t, fresh) {
				created++
			}
			if exists(t, filepath.Join(dir, "never")) {
				never++
			}
			_ = os.Remove(filepath.Join(dir, "never"))
		}
		if never == 0 || never == seeds {
			t.Errorf("a name that nothing was synced after survived %d of %d cuts", never, seeds)
		}
		for what, n := range map[string]int{"created": created, "renamed": renamed} {
			if always := n == seeds; always != (mode == powerfs.Journaled) || n == 0 {
				t.Errorf("%s names survived %d of %d cuts", what, n, seeds)
			}
		}
	})
}

// TestStrictOrder: in Strict mode a later name may survive an earlier one, in
// Journaled mode never.
func TestStrictOrder(t *testing.T) {
	modes(t, func(t *testing.T, mode powerfs.Mode) {
		disk, dir := mount(t, mode)
		outOfOrder := 0
		for seed := range uint64(seeds) {
			for _, name := range []string{"1", "2", "3"} {
				write(t, filepath.Join(dir, name), nil, false)
			}
			cut(t, disk, dir, seed)
			if one, three := exists(t, filepath.Join(dir, "1")), exists(t, filepath.Join(dir, "3")); three && !one {
				outOfOrder++
			}
			for _, name := range []string{"1", "2", "3"} {
				_ = os.Remove(filepath.Join(dir, name))
			}
			syncDir(t, dir)
		}
		if (outOfOrder > 0) != (mode == powerfs.Strict) {
			t.Errorf("the third name survived without the first in %d of %d cuts", outOfOrder, seeds)
		}
	})
}

// TestTruncate: a file that was cut and grew again reads as zeros, not as what
// was there; durably only after a sync.
func TestTruncate(t *testing.T) {
	disk, dir := mount(t, powerfs.Journaled)
	path := filepath.Join(dir, "file")
	write(t, path, bytes.Repeat([]byte{'x'}, 3*4096), true)
	for _, size := range []int64{100, 3 * 4096} {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
	want := append(bytes.Repeat([]byte{'x'}, 100), make([]byte, 3*4096-100)...)
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("before the cut: %v", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	cut(t, disk, dir, 3)
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("after it: %v", err)
	}
	if got, err := disk.ReadFile("file"); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("without the mount: %v", err)
	}
	f, err = os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if hole, err := f.Seek(0, unix.SEEK_HOLE); err != nil || hole != 4096 {
		t.Errorf("the hole is at %d, %v", hole, err)
	}
	if _, err := f.Seek(4096, unix.SEEK_DATA); !errors.Is(err, unix.ENXIO) {
		t.Errorf("data in the hole: %v", err)
	}
}

func TestMapped(t *testing.T) {
	modes(t, func(t *testing.T, mode powerfs.Mode) {
		disk, dir := mount(t, mode)
		path := filepath.Join(dir, "file")
		for _, sync := range []bool{true, false} {
			torn := 0
			for seed := range uint64(12) {
				write(t, path, make([]byte, 16*4096), true)
				syncDir(t, dir)
				if err := runMapped(path, sync); sync && err != nil {
					t.Fatal(err)
				}
				cut(t, disk, dir, seed)
				got, err := os.ReadFile(path)
				if err != nil || len(got) != 16*4096 {
					t.Fatalf("%d bytes: %v", len(got), err)
				}
				switch n := bytes.Count(got, []byte{'m'}); {
				case sync && n != 16:
					t.Fatalf("seed %d: %d of 16 pages survived msync", seed, n)
				case n > 0 && n < 16:
					torn++
				}
			}
			if !sync && torn == 0 {
				t.Error("what was not msynced was never torn")
			}
		}
	})
}

// TestStop: from the moment the power stops nothing is answered, and nothing of
// it reaches the disk.
func TestStop(t *testing.T) {
	disk, dir := mount(t, powerfs.Journaled)
	lost := disk.CutAt(4) // create, write, sync, create
	done := make(chan error, 1)
	go func() {
		for i := range 10 {
			f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
			if err == nil {
				_, err = f.WriteString("content")
			}
			if err == nil {
				err = f.Sync()
			}
			if f != nil {
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	<-lost
	disk.PowerOff()
	if err := <-done; !errors.Is(err, unix.EIO) {
		t.Fatalf("a write without power: %v", err)
	}
	cut(t, disk, dir, 1)
	if !exists(t, filepath.Join(dir, "0")) || exists(t, filepath.Join(dir, "1")) {
		t.Error("the disk holds something else than was done before the cut")
	}
}

func TestFaults(t *testing.T) {
	disk, dir := mount(t, powerfs.Journaled)
	path := filepath.Join(dir, "file")
	write(t, path, make([]byte, 16*4096), true)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	fill := func(b byte) error {
		_, err := f.WriteAt(bytes.Repeat([]byte{b}, 16*4096), 0)
		return err
	}
	disk.Fail(powerfs.Write, 2, unix.EIO)
	if first, second, third := fill(1), fill(2), fill(3); first != nil || !errors.Is(second, unix.EIO) || third != nil {
		t.Errorf("the second write fails: %v, %v, %v", first, second, third)
	}
	// A sync that succeeds after one that failed does not help: no rewrite, no
	// durability.
	disk.Fail(powerfs.Sync, 1, unix.EIO)
	if first, second := f.Sync(), f.Sync(); !errors.Is(first, unix.EIO) || second != nil {
		t.Errorf("the first sync fails: %v, %v", first, second)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	cut(t, disk, dir, 4)
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(got, []byte{3}) / 4096; n == 0 || n == 16 {
		t.Errorf("%d of 16 pages survived the failed sync", n)
	}

	disk.Fail(powerfs.Sync, 1, unix.EIO)
	if err := runMapped(path, true); err == nil || !strings.Contains(err.Error(), unix.EIO.Error()) {
		t.Errorf("msync: %v", err)
	}
	disk.Fail(powerfs.Write, 1, unix.EIO)
	if err := runMapped(path, true); err == nil || !strings.Contains(err.Error(), unix.EIO.Error()) {
		t.Errorf("msync whose write fails: %v", err)
	}
}

// TestLasting: a fault that lasts is of the files that it says, until it is repaired.
func TestLasting(t *testing.T) {
	disk, dir := mount(t, powerfs.Journaled)
	try := func(name string) error {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		_, err = f.WriteString("content")
		return errors.Join(err, f.Sync(), f.Close())
	}
	disk.Break(powerfs.Fault{Op: powerfs.Sync, At: 2, Lasts: true, Suffix: ".bad", Errno: unix.EIO})
	disk.Break(powerfs.Fault{Op: powerfs.Name, At: 1, Suffix: ".new", Errno: unix.ENOSPC})
	for i, is := range []struct {
		name string
		want error
	}{{"1.bad", nil}, {"1", nil}, {"2.bad", unix.EIO}, {"2", nil}, {"1.new", unix.ENOSPC}, {"3.bad", unix.EIO}, {"1.new", nil}} {
		if err := try(is.name); !errors.Is(err, is.want) {
			t.Errorf("file %d, %s: %v, want %v", i, is.name, err, is.want)
		}
	}
	if n := disk.Failed(); n != 3 {
		t.Errorf("%d operations failed", n)
	}
	cut(t, disk, dir, 4) // which repairs it, too
	disk.Break(powerfs.Fault{Op: powerfs.Read, At: 1, Lasts: true, Errno: unix.EIO})
	if _, err := os.ReadFile(filepath.Join(dir, "1")); !errors.Is(err, unix.EIO) {
		t.Errorf("reading: %v", err)
	}
	disk.Repair()
	if err := errors.Join(try("4.bad"), try("5.bad")); err != nil {
		t.Error(err)
	}
	if _, err := os.ReadFile(filepath.Join(dir, "1")); err != nil {
		t.Errorf("reading when it is repaired: %v", err)
	}
}

// TestReadDir: names that come while a directory is being read make no other
// name appear twice.
func TestReadDir(t *testing.T) {
	_, dir := mount(t, powerfs.Strict)
	const names = 2000
	for i := range names {
		write(t, filepath.Join(dir, fmt.Sprintf("m%04d", i)), nil, false)
	}
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	seen := map[string]bool{}
	for i := 0; ; i++ {
		some, err := d.Readdirnames(50)
		for _, name := range some {
			if seen[name] {
				t.Fatalf("%s appears twice", name)
			}
			seen[name] = true
		}
		if err != nil {
			break
		}
		write(t, filepath.Join(dir, fmt.Sprintf("a%04d", i)), nil, false)
	}
	for i := range names {
		if name := fmt.Sprintf("m%04d", i); !seen[name] {
			t.Fatalf("%s is missing", name)
		}
	}
}

func TestFull(t *testing.T) {
	disk, dir := mount(t, powerfs.Journaled)
	disk.Limit(64 << 10)
	path := filepath.Join(dir, "file")
	write(t, path, make([]byte, 40<<10), true)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Bavail*uint64(st.Bsize) != 24<<10 {
		t.Errorf("%d bytes free: %v", st.Bavail*uint64(st.Bsize), err)
	}
	f, err := os.Create(filepath.Join(dir, "more"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 40<<10)); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a write to a full disk: %v", err)
	}
	if err := errors.Join(f.Close(), os.Truncate(path, 0)); err != nil {
		t.Fatal(err)
	}
	write(t, path, make([]byte, 60<<10), true)
}
