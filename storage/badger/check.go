package badger

import (
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

// checkFiles looks for damage that Badger would answer by dropping or deleting,
// without changing anything, and returns the newest commit on the disk.
//
// Commits are numbered without gaps, and each is durable before the next is
// begun. So the numbers in the tables that MANIFEST names and in the WALs must
// join, and at most the last commit may be there in part. What cannot be seen
// from here is that the end of everything is missing: Guard sees that, which
// keeps the head outside.
func checkFiles(dir string) (newest uint64, err error) {
	files, err := listFiles(dir)
	if err != nil {
		return 0, err
	}
	named, err := readManifest(dir, files)
	if err != nil {
		return 0, err
	}
	var orphan fileInfo
	var orphanVersion uint64
	for _, f := range files.tables {
		t, err := openTable(f.path)
		if err == nil {
			err = errors.Join(t.checkAll(), t.close())
		}
		switch {
		case !named[f.id] && err == nil && t.maxVersion > orphanVersion:
			orphan, orphanVersion = f, t.maxVersion
		case !named[f.id]: // a table that was not finished
		case err != nil:
			return 0, err
		default:
			newest = max(newest, t.maxVersion)
			delete(named, f.id)
		}
	}
	for id := range named {
		return 0, corrupt(filepath.Join(dir, fmt.Sprintf("%06d.sst", id)), "MANIFEST names this table, and it is missing")
	}
	for i, f := range files.wals {
		if newest, err = checkWAL(f, newest, i == len(files.wals)-1); err != nil {
			return 0, err
		}
	}
	if orphanVersion > newest {
		return 0, corrupt(filepath.Join(dir, engine.ManifestFilename),
			fmt.Sprintf("it does not name table %s, which holds commit %d; all else ends at %d", filepath.Base(orphan.path), orphanVersion, newest))
	}
	for _, f := range files.values {
		if err := checkHeader(f); err != nil {
			return 0, err
		}
	}
	return newest, nil
}

func corrupt(path, how string) error {
	return fmt.Errorf("%w: %s: %s. Keep the directory as it is, and restore it or recover the log from a mirror",
		storage.ErrCorrupt, path, how)
}

// readManifest returns the numbers of the tables that MANIFEST names. Without a
// MANIFEST Badger starts an empty database and deletes all tables.
func readManifest(dir string, files *files) (map[uint64]bool, error) {
	path := filepath.Join(dir, engine.ManifestFilename)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		for _, f := range slices.Concat(files.tables, files.wals, files.values) {
			if f.size > 0 {
				return nil, corrupt(path, "it is missing, and there is "+filepath.Base(f.path))
			}
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	manifest, _, err := engine.ReplayManifestFile(f, 0, engine.Options{})
	if err != nil {
		return nil, corrupt(path, err.Error())
	}
	named := make(map[uint64]bool)
	for id := range manifest.Tables {
		named[id] = true
	}
	return named, nil
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

// checkWAL checks one WAL that goes on from commit newest, and returns the
// commit it reaches. Badger drops what follows a damaged record, and cuts the
// file there.
func checkWAL(f fileInfo, newest uint64, last bool) (uint64, error) {
	if err := checkHeader(f); err != nil || f.size == 0 {
		return newest, err
	}
	data, unmap, err := mapFile(f.path, -1)
	if err != nil {
		return 0, err
	}
	defer unmap()
	var tornAt, reaches = 0, newest
	err = guarded(func() error {
		pos := logHeaderSize
		for pos < len(data) {
			r := parseRecord(data[pos:])
			if r.size == 0 {
				break
			}
			if end := r.endOf(); end > reaches+1 {
				return corrupt(f.path, fmt.Sprintf("at offset %d it holds commit %d after commit %d", pos, end, reaches))
			} else if end > 0 {
				reaches = max(reaches, end)
			}
			pos += r.size
		}
		if pos >= len(data) {
			return nil
		}
		// What follows is the commit that was being written when the process
		// or the power went, in part: never acknowledged. Unless later commits
		// follow, for each waits for the one before.
		tornAt = pos
		beyond := endsIn(data[pos:])
		if len(beyond) > 1 || len(beyond) == 1 && beyond[0] > reaches+1 {
			return corrupt(f.path, fmt.Sprintf("damaged at offset %d, after commit %d; commit %d follows", pos, reaches, slices.Max(beyond)))
		}
		return nil
	})
	if err == nil && tornAt > 0 && !last {
		err = corrupt(f.path, fmt.Sprintf("damaged at offset %d, after commit %d; another WAL follows", tornAt, reaches))
	}
	return reaches, err
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
