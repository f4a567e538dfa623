package badger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	engine "github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage"
)

// fileInfo is a file of the engine. Its name is its number.
type fileInfo struct {
	path string
	id   uint64
	size int64
}

// files are the engine's files by kind, in the order of their numbers.
type files struct{ tables, wals, values []fileInfo }

func listFiles(dir string) (*files, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	all := &files{}
	kinds := map[string]*[]fileInfo{".sst": &all.tables, ".mem": &all.wals, ".vlog": &all.values}
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		kind, ok := kinds[ext]
		id, err := strconv.ParseUint(strings.TrimSuffix(e.Name(), ext), 10, 32)
		if !ok || err != nil {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // the engine has removed it meanwhile
		}
		if err != nil {
			return nil, err
		}
		*kind = append(*kind, fileInfo{filepath.Join(dir, e.Name()), id, info.Size()})
	}
	for _, kind := range kinds {
		slices.SortFunc(*kind, func(a, b fileInfo) int { return int(a.id) - int(b.id) })
	}
	return all, nil
}

// found is what checkFiles found.
type found struct {
	newest   uint64   // the newest commit on the disk
	nameless []uint64 // tables that MANIFEST names, and that a WAL replaces
}

// checkFiles looks for damage that Badger would answer by dropping or deleting,
// without changing anything.
//
// Commits are numbered without gaps, and each is durable before the next is
// begun. So the numbers in the tables that MANIFEST names and in the WALs must
// join, and at most the last commit may be there in part. What cannot be seen
// from here is that the end of everything is missing: the guard of the log sees
// that, which keeps the head outside.
func checkFiles(dir string) (*found, error) {
	files, err := listFiles(dir)
	if err != nil {
		return nil, err
	}
	m, err := readManifest(dir, files)
	if err != nil {
		return nil, err
	}
	orphan, err := m.checkTables(files.tables)
	if err != nil {
		return nil, err
	}
	newest := m.newest
	for _, f := range files.wals {
		if newest, _, err = checkWAL(f, newest); err != nil {
			break
		}
	}
	// A table that was finished and not yet named when the process died holds
	// what a WAL still holds.
	if orphan.newest > m.newest && (err != nil || orphan.newest > newest) {
		return nil, errors.Join(corrupt(m.path, fmt.Sprintf("it does not name table %s, which holds commit %d",
			filepath.Base(orphan.path), orphan.newest)), err)
	}
	// Nor need a table that is named be there: its name may have been lost with
	// the power, or Badger removed it because MANIFEST could not be synced, and
	// perhaps wrote it anew under the next number. Then the WAL it was made of
	// has not been removed.
	nameless := m.missing()
	if len(nameless) > 0 && (err != nil || !m.replaced(nameless[0], files.wals)) {
		path := filepath.Join(dir, fmt.Sprintf("%06d.sst", nameless[0]))
		return nil, errors.Join(corrupt(path, "MANIFEST names this table, and it is missing"), err)
	}
	if err != nil {
		return nil, err
	}
	for _, f := range files.values {
		if err := checkHeader(f); err != nil {
			return nil, err
		}
	}
	return &found{newest, nameless}, checkKeyRegistry(dir)
}

// checkKeyRegistry checks that there are no encryption keys: the file is a nonce
// and a text. Badger makes a missing one.
func checkKeyRegistry(dir string) error {
	path := filepath.Join(dir, engine.KeyRegistryFileName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && (len(data) != 28 || string(data[16:]) != "Hello Badger") {
		err = corrupt(path, "it is damaged")
	}
	return err
}

func corrupt(path, how string) error {
	return fmt.Errorf("%w: %s: %s. Keep the directory as it is, and restore it or recover the log from a mirror",
		storage.ErrCorrupt, path, how)
}

// checkHeader checks that a log is not said to be encrypted.
func checkHeader(f fileInfo) error {
	if f.size == 0 {
		return nil
	}
	data, unmap, err := mapFile(f.path, logHeaderSize)
	if err != nil {
		return err
	}
	defer unmap()
	if len(data) < logHeaderSize || string(data[:8]) != string(make([]byte, 8)) {
		return corrupt(f.path, "its header is damaged")
	}
	return nil
}

// checkWAL checks one WAL that goes on from commit newest, and returns the commit it
// reaches, and whether it holds a whole one.
//
// Any WAL may end in a torn commit, not only the newest: Badger, opening, makes a new
// one while the torn one is there. Whether the torn commit had been acknowledged is seen
// from the number of the first that follows, here or in the next WAL: each goes on from
// the one before.
func checkWAL(f fileInfo, newest uint64) (reaches uint64, whole bool, err error) {
	if err := checkHeader(f); err != nil || f.size == 0 {
		return newest, false, err
	}
	data, unmap, err := mapFile(f.path, -1)
	if err != nil {
		return 0, false, err
	}
	defer unmap()
	reaches = newest
	err = guarded(func() error {
		pos := logHeaderSize
		goesOn := uint64(1) // 0 for the marker of reclaim, which has the number of the commit before it
		for pos < len(data) {
			r := parseRecord(data[pos:])
			if r.size == 0 {
				break
			}
			end := r.endOf()
			if end == 0 {
				goesOn = 1
				if r.key[0] == prefixFlush {
					goesOn = 0
				}
			}
			if end > reaches+goesOn {
				return corrupt(f.path, fmt.Sprintf("at offset %d it holds commit %d after commit %d", pos, end, reaches))
			} else if end > 0 {
				reaches, whole = max(reaches, end), true
			}
			pos += r.size
		}
		if len(bytes.Trim(data[min(pos, len(data)):], "\x00")) == 0 {
			return nil
		}
		// What follows is the commit that was being written when the process
		// or the power went, in part: never acknowledged. Unless later commits
		// follow, for each waits for the one before.
		beyond := endsIn(data[pos:])
		if len(beyond) > 1 || len(beyond) == 1 && beyond[0] > reaches+1 {
			return corrupt(f.path, fmt.Sprintf("damaged at offset %d, after commit %d; commit %d follows", pos, reaches, slices.Max(beyond)))
		}
		return nil
	})
	return reaches, whole, err
}

// mapFile maps the first n bytes of a file for reading, or with a negative n
// all of it but the zeros at its end. The memory may fault: see guarded.
func mapFile(path string, n int64) (data []byte, unmap func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if n < 0 {
		if n, err = dataEnd(f); err != nil {
			return nil, nil, err
		}
		n += 4 // the checksum of the last record may end in zeros
	}
	if n = min(n, info.Size()); n == 0 {
		return nil, func() {}, nil
	}
	data, err = unix.Mmap(int(f.Fd()), 0, int(n), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, &fs.PathError{Op: "mmap", Path: path, Err: err}
	}
	return data, func() { _ = unix.Munmap(data) }, nil
}
