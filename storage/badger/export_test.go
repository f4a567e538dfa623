package badger

import (
	"os"
	"testing"

	engine "github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// DataEnd is dataEnd, for tests that copy sparse files.
var DataEnd = dataEnd

// MoveWALs is moveWALs, where all tables are there.
func MoveWALs(dir string) error { return moveWALs(dir, nil) }

// OpenEngine opens the engine alone, which then syncs what it writes by itself.
func OpenEngine(dir string) (*engine.DB, error) {
	return openEngine(engineOptions(dir, nil).WithSyncWrites(true))
}

// FastDir returns a temporary directory, in memory where that can be had: for
// tests that do not depend on what fsync does.
func FastDir(t testing.TB) string {
	t.Helper()
	const memory, enough = "/dev/shm", 1 << 30
	var st unix.Statfs_t
	if err := unix.Statfs(memory, &st); err != nil || int64(st.Bavail)*int64(st.Bsize) < enough {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "escortlog-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
