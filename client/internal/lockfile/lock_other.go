//go:build !unix

// Package lockfile keeps two processes from writing to one directory.
package lockfile

import "os"

// Take makes the file; on this system nothing keeps two processes apart.
func Take(path string, _ error) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}
