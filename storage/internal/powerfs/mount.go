//go:build linux

package powerfs

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// ErrUnavailable says that this machine does not let this process mount a FUSE
// file system: a test that needs one is skipped.
var ErrUnavailable = errors.New("powerfs: no FUSE file system can be mounted here (it takes /dev/fuse and root)")

// Mount shows the file system at dir. Its errors wrap ErrUnavailable when that
// is the machine's doing.
func (fs *FS) Mount(dir string) error {
	// Not through go-fuse's own direct mount: its descriptor would be inherited
	// by every process started, and keep the mount alive after a cut.
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%w: opening /dev/fuse: %w", ErrUnavailable, err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,allow_other", fd, os.Geteuid(), os.Getegid())
	if err := unix.Mount("powerfs", dir, "fuse.powerfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return errors.Join(fmt.Errorf("%w: mounting at %s: %w", ErrUnavailable, dir, err), unix.Close(fd))
	}
	fs.mu.Lock()
	fs.power = powered
	fs.dir = dir
	fs.mu.Unlock()
	answers := &ops{RawFileSystem: fuse.NewDefaultRawFileSystem(), FS: fs, listings: make(map[uint64][]fuse.DirEntry)}
	server, err := fuse.NewServer(answers, fmt.Sprintf("/dev/fd/%d", fd), &fuse.MountOptions{
		Name:          "powerfs",
		MaxWrite:      1 << 20,
		DisableXAttrs: true,
		// The kernel has the only copy of what it caches.
		ExplicitDataCacheControl: true,
		DisableReadDirPlus:       true,
		Logger:                   log.New(io.Discard, "", 0),
	})
	if err != nil {
		return errors.Join(fmt.Errorf("%w: %w", ErrUnavailable, err), unix.Unmount(dir, unix.MNT_DETACH))
	}
	fs.server = server
	go server.Serve()
	if err := refusePolling(dir); err != nil {
		return errors.Join(err, fs.Unmount())
	}
	return nil
}

// refusePolling has the kernel learn, from a first poll, that polling is not
// supported here. Otherwise the Go runtime would poll from epoll_ctl whenever this
// process opens a file, without letting other goroutines run: the server of this
// process could not answer. The name is known to go-fuse, which answers itself.
func refusePolling(dir string) error {
	fd, err := unix.Open(filepath.Join(dir, ".go-fuse-epoll-hack"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("powerfs: %w", err)
	}
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return errors.Join(err, unix.Close(fd))
}

// Unmount ends the mount and loses nothing but what the kernel has not written.
// No process may have a file open.
func (fs *FS) Unmount() error {
	if fs.server == nil {
		return nil
	}
	var err error
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err = unix.Unmount(fs.dir, 0)
		if err == nil || !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("powerfs: unmounting %s: %w", fs.dir, err)
	}
	fs.server.Wait()
	fs.server = nil
	return nil
}
