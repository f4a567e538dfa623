// Package durable writes files and directories that survive a crash of the program, of the
// system, and the loss of power: the content is synced, and so is the name, which a file
// system need not keep before its directory was synced (fsync(2)).
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// WriteFile replaces a file so that after a crash the old content is there or the new one,
// whole.
func WriteFile(name string, content []byte) error {
	if err := Replace(name, content); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(name))
}

// Replace is WriteFile for many files of one directory: the names are durable only after
// SyncDir.
func Replace(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".tmp-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// MakeDir makes a directory and what is missing above it, and makes all their names durable:
// also of those that were there, for a try before may have made them and broken off.
func MakeDir(dir string, mode fs.FileMode) error {
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for above := filepath.Dir(dir); above != dir; dir, above = above, filepath.Dir(above) {
		// What this process may not read, or some special file system shows, it has not made.
		if err := SyncDir(above); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EINVAL) {
			return err
		}
	}
	return nil
}
