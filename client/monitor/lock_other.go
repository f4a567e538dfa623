//go:build !unix

package monitor

import "os"

// lockFile makes the file; on this system nothing keeps two monitors of one state
// directory apart.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
}
