//go:build !unix

package outbox

import (
	"os"
	"path/filepath"
)

// lockDir makes the file; on this system nothing keeps two writers of one
// outbox apart.
func lockDir(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
}
