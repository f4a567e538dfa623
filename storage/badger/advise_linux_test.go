package badger

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage"
)

// TestAdvice: the kernel is told to read around pages for large commits only, and of
// the value log that is being written.
func TestAdvice(t *testing.T) {
	s := openSmall(t)
	var head []byte
	for i, c := range []struct{ size, advice int }{{10, unix.MADV_RANDOM}, {largeCommit, unix.MADV_NORMAL}, {2000, unix.MADV_RANDOM}} {
		next := []byte{byte(i + 1)}
		put := []storage.KV{{Key: next, Value: make([]byte, c.size)}}
		if err := s.Commit(t.Context(), &storage.Batch{OldHead: head, NewHead: next, Put: put}); err != nil {
			t.Fatal(err)
		}
		head = next
		if s.mapped.end-s.mapped.start != 2*valueLogFileSize {
			t.Errorf("after a commit of %d bytes: %+v", c.size, s.mapped)
		}
		if randomly := readRandomly(t, s.dir); randomly != (c.advice == unix.MADV_RANDOM) {
			t.Errorf("after a commit of %d bytes the kernel thinks that pages are touched at random: %v", c.size, randomly)
		}
	}
}

// readRandomly reports whether a value log in dir is mapped with the flag "rr".
func readRandomly(t *testing.T, dir string) bool {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	ours := false
	for line := range strings.Lines(string(maps)) {
		switch {
		case strings.Contains(line, dir):
			ours = strings.HasSuffix(strings.TrimSpace(line), ".vlog")
		case ours && strings.HasPrefix(line, "VmFlags:"):
			if strings.Contains(line, " rr") {
				return true
			}
			ours = false
		}
	}
	return false
}
