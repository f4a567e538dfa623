package badger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	engine "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	sst "github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage"
)

// moveWALs writes what a kill has left in WALs to a table, has MANIFEST name it, but
// not the tables that are gone, and removes the WALs: each step is durable before the
// next. Badger would remove the WALs before the name of the table is durable; and what
// a failed sync has left in the page cache alone, read now and built upon, it would not
// write again.
//
// A kill between the steps leaves a table that is not named, which Badger removes, or a
// WAL with what is in a table already, which does no harm: nothing was committed since.
//
// A compaction that was not finished is undone for good.
func moveWALs(dir string, gone []uint64) error {
	files, err := listFiles(dir)
	if err != nil {
		return err
	}
	m, err := readManifest(dir, files)
	if err != nil {
		return err
	}
	made, err := tableOf(files.wals)
	if err != nil {
		return err
	}
	if made != nil {
		id := m.unused(files.tables)
		if err := replaceFile(filepath.Join(dir, fmt.Sprintf("%06d.sst", id)), made); err != nil {
			return err
		}
		for _, id := range gone {
			delete(m.tables, id)
		}
		m.tables[id] = engine.TableManifest{} // level 0, not compressed
	}
	if made != nil || m.unfinished {
		if err := m.write(); err != nil {
			return err
		}
	}
	for _, f := range files.wals {
		if err := os.Remove(f.path); err != nil {
			return err
		}
	}
	return afterCompaction(dir)
}

// tableOf returns a table of what WALs hold, or nil when that is nothing.
func tableOf(wals []fileInfo) (made []byte, err error) {
	var logs [][]byte
	for _, f := range wals {
		data, unmap, err := mapFile(f.path, -1)
		if err != nil {
			return nil, err
		}
		defer unmap()
		logs = append(logs, data)
	}
	err = guarded(func() error {
		var all []record
		for _, data := range logs {
			all = append(all, wholeCommits(data)...)
		}
		if len(all) > 0 {
			made = makeTable(all)
		}
		return nil
	})
	return made, err
}

// wholeCommits returns the records of a WAL up to where it is torn, without the ends.
func wholeCommits(data []byte) []record {
	var all, commit []record
	for pos := logHeaderSize; pos < len(data); {
		r := parseRecord(data[pos:])
		if r.size == 0 {
			break
		}
		if pos += r.size; r.endOf() == 0 {
			commit = append(commit, r)
			continue
		}
		all, commit = append(all, commit...), commit[:0]
	}
	return all
}

// makeTable returns a sorted table of the engine.
func makeTable(records []record) []byte {
	slices.SortFunc(records, func(a, b record) int { return y.CompareKeys(a.key, b.key) })
	// What stood in two WALs is the same: a version of a key is written once.
	records = slices.CompactFunc(records, func(a, b record) bool { return bytes.Equal(a.key, b.key) })
	d := engine.DefaultOptions("")
	b := sst.NewTableBuilder(sst.Options{
		TableSize: uint64(d.BaseTableSize), BlockSize: d.BlockSize, BloomFalsePositive: d.BloomFalsePositive,
		Compression: options.None,
	})
	defer b.Close()
	for _, r := range records {
		var inLog uint32 // a pointer is the number of a value log, the length there, the offset
		if r.meta&metaPointer != 0 && len(r.value) == 12 {
			inLog = binary.NativeEndian.Uint32(r.value[4:])
		}
		b.Add(r.key, y.ValueStruct{Meta: r.meta, Value: r.value}, inLog)
	}
	return b.Finish()
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
const walAhead = 64 << 10

const pageSize = 4 << 10 // at most that of the page cache

// writeAhead writes zeros where the next commits will stand in the WAL, which is
// sparse, before a commit of so many bytes. The sync of a small commit then writes one
// block, and not also the file system's journal, for a block that is allocated. Where
// the file system cannot tell where that is, nothing is written; an error is one of
// writing.
func (s *Store) writeAhead(bytes int64) error {
	if s.ahead -= bytes; s.ahead > 0 {
		return nil
	}
	s.ahead = walAhead // also where nothing is written, so that not each commit looks again
	files, err := listFiles(s.dir)
	if err != nil || len(files.wals) == 0 {
		return err
	}
	f, err := os.OpenFile(files.wals[len(files.wals)-1].path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	// No commit is under way: what has not been written now is zero, and stays so.
	hole, err := f.Seek(0, unix.SEEK_HOLE)
	if err != nil || hole+walAhead > memTableSize {
		return nil
	}
	if _, err := f.Seek(hole, unix.SEEK_DATA); !errors.Is(err, unix.ENXIO) {
		return nil // a file system that makes holes of zeros that are written
	}
	// A page at a time: what one call writes Linux caches as one piece, and each
	// later sync of a byte in it writes all of it.
	zeros := make([]byte, pageSize)
	for at := hole; at < hole+walAhead; at += pageSize {
		if _, err := f.WriteAt(zeros, at); err != nil {
			return fmt.Errorf("writing the WAL ahead: %w", err)
		}
	}
	return nil
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
