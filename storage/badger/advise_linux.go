package badger

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mapping is the value log that is being written, as it is mapped, with the
// advice that the kernel was given last.
type mapping struct {
	start, end uintptr
	advice     int // -1: not known
}

// largeCommit is from how many bytes on a commit is written faster when the kernel
// reads around the pages that are touched.
const largeCommit = 1 << 20

// advise tells the kernel whether it shall read around the pages of the value log
// that the next commit touches, which has so many bytes. If so, the neighbours of a
// page come with it as one piece: a large commit takes half of the time. But all of
// the piece is written at each sync, so that small commits, with reads in between,
// write many times their size.
//
// It is advice: where it cannot be given nothing breaks.
func (m *mapping) advise(bytes int64) {
	advice := unix.MADV_RANDOM
	if bytes >= largeCommit {
		advice = unix.MADV_NORMAL
	}
	if m.advice != advice {
		m.give(advice)
	}
}

func (m *mapping) give(advice int) {
	if m.start < m.end {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, uintptr(advice))
	}
	m.advice = advice
}

// findMapping finds where the newest value log in dir is mapped. The finished ones
// are read in order, by an audit for instance, and get reading around back.
func findMapping(dir string) mapping {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return mapping{}
	}
	found := make(map[string]mapping)
	newest := ""
	for line := range bytes.Lines(maps) {
		// start-end permissions offset device inode path
		fields := bytes.Fields(line)
		if len(fields) < 6 {
			continue
		}
		path := string(fields[len(fields)-1])
		if filepath.Dir(path) != dir || !strings.HasSuffix(path, ".vlog") {
			continue
		}
		m := mapping{advice: -1}
		if _, err := fmt.Sscanf(string(fields[0]), "%x-%x", &m.start, &m.end); err == nil {
			found[path], newest = m, max(newest, path) // numbers of six digits
		}
	}
	for path, m := range found {
		if path != newest {
			m.give(unix.MADV_NORMAL)
		}
	}
	return found[newest]
}
