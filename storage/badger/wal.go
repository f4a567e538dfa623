package badger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage"
)

// savedEnding is that of a copy of a WAL, complete and durable.
const savedEnding = ".saved"

// While Badger opens it writes what a kill has left in WALs to tables, empties and
// removes the WALs, and makes no name durable. After it has opened a pin delays
// the removal; until then there is no way to do so. So the WALs are copied before, and
// the copies removed when the names of the tables are durable. An opening that does
// not come so far leaves them to the next one.

// restoreWALs puts back the WALs that an unfinished opening has left copies of. That
// they may be in a table already does no harm: nothing was committed since.
func restoreWALs(dir string) error {
	unfinished, err := withEnding(dir, savedEnding+".new")
	if err != nil {
		return err
	}
	for _, path := range unfinished {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	saved, err := withEnding(dir, savedEnding)
	if err != nil || len(saved) == 0 {
		return err
	}
	for _, path := range saved {
		if err := os.Rename(path, strings.TrimSuffix(path, savedEnding)); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

func withEnding(dir, ending string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ending) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

// saveWALs copies all WALs durably.
func saveWALs(dir string) error {
	files, err := listFiles(dir)
	if err != nil || len(files.wals) == 0 {
		return err
	}
	for _, f := range files.wals {
		if f.size == 0 {
			continue
		}
		if err := copyWAL(f.path, f.path+savedEnding); err != nil {
			return fmt.Errorf("copying %s: %w", f.path, err)
		}
	}
	return syncDir(dir)
}

func copyWAL(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	end, err := dataEnd(in)
	if err != nil {
		return err
	}
	info, err := in.Stat()
	if err != nil {
		return err
	}
	temporary := to + ".new"
	out, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(in, 0, end))
	if err = errors.Join(err, out.Truncate(info.Size()), out.Sync(), out.Close()); err != nil {
		return err
	}
	return os.Rename(temporary, to)
}

// dropSaved removes the copies, durably: they must never come back when there are
// newer commits.
func dropSaved(dir string) error {
	saved, err := withEnding(dir, savedEnding)
	if err != nil || len(saved) == 0 {
		return err
	}
	for _, path := range saved {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// rewrite writes the last commit of a WAL again. When the sync of that commit failed,
// it may be in the page cache and nowhere else, and no later sync would write it: what
// is read now, and built upon, could still be lost with the power. What it points to in
// a value log was synced before.
func rewrite(last place) error {
	if last.path == "" {
		return nil
	}
	f, err := os.OpenFile(last.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	end, err := dataEnd(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	commit := make([]byte, max(0, end-last.offset))
	if _, err = f.ReadAt(commit, last.offset); err == nil {
		_, err = f.WriteAt(commit, last.offset)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// forgetCached has the WALs read from the disk: after a write that failed the page
// cache may hold what the file system itself does not know of. It is advice.
func forgetCached(dir string) error {
	files, err := listFiles(dir)
	if err != nil {
		return err
	}
	for _, w := range files.wals {
		f, err := os.Open(w.path)
		if err != nil {
			return err
		}
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // where it cannot be given nothing breaks
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// walAhead is how much of the WAL is written in advance, in bytes.
const walAhead = 256 << 10

// writeAhead writes zeros where the next commits will stand in the WAL, which is
// sparse, before a commit of so many bytes. The sync of a small commit then writes one
// block, and not also the file system's journal, for a block that is allocated. Where
// it does not work nothing breaks.
func (s *Store) writeAhead(bytes int64) {
	if s.ahead -= bytes; s.ahead > 0 {
		return
	}
	files, err := listFiles(s.dir)
	if err != nil || len(files.wals) == 0 {
		return
	}
	f, err := os.OpenFile(files.wals[len(files.wals)-1].path, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	// No commit is under way: what has not been written now is zero, and stays so.
	hole, err := f.Seek(0, unix.SEEK_HOLE)
	if err != nil || hole+walAhead > memTableSize {
		return
	}
	if _, err := f.Seek(hole, unix.SEEK_DATA); !errors.Is(err, unix.ENXIO) {
		return // a file system that makes holes of zeros that are written
	}
	if _, err := f.WriteAt(make([]byte, walAhead), hole); err == nil {
		s.ahead = walAhead
	}
}

// walBytes returns how many bytes a batch takes in the WAL, at most.
func walBytes(b *storage.Batch) int64 {
	const perKey = 48                                            // prefix, version, lengths, checksums
	n := int64(2*perKey + len(storage.HeadKey) + len(b.NewHead)) // and the end
	for _, kv := range b.Put {
		n += perKey + int64(len(kv.Key)+min(len(kv.Value), valueThreshold))
	}
	for _, key := range b.Delete {
		n += perKey + int64(len(key))
	}
	return n
}
