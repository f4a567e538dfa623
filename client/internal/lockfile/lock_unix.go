//go:build unix

// Package lockfile keeps two processes from writing to one directory.
package lockfile

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Take makes the file, where it is missing, and takes a lock on it that ends when it
// is closed, or with the process. The error is taken, with the path, where another has
// the lock.
func Take(path string, taken error) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("%w: %s", taken, path)
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
