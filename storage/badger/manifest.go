package badger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	engine "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"google.golang.org/protobuf/proto"
)

// manifest is the file that names the tables which count. It begins with a
// magic of 8 bytes; then follow sets of changes (protobuf), each behind its
// length and its CRC-32C, 4 bytes each, big-endian.
type manifest struct {
	path   string
	magic  []byte
	tables map[uint64]engine.TableManifest
	there  map[uint64]uint64 // tables that have been found intact, with their newest commit
	newest uint64            // the newest commit in those

	// unfinished: nobody knows whether the last compaction kept all keys. The tables are
	// those of before it then.
	unfinished bool
}

const magicSize = 8

// beforeName is MANIFEST as it was before a compaction, until that has been checked, and its
// CRC-32C: where it ends early tables would be missing, and nothing else would show it.
const beforeName = engine.ManifestFilename + ".before"

// readManifest reads the MANIFEST. Without one Badger starts an empty database
// and deletes all tables.
func readManifest(dir string, files *files) (*manifest, error) {
	m := &manifest{path: filepath.Join(dir, engine.ManifestFilename), there: make(map[uint64]uint64)}
	f, err := os.Open(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		for _, f := range slices.Concat(files.tables, files.wals, files.values) {
			if f.size > 0 {
				return nil, corrupt(m.path, "it is missing, and there is "+filepath.Base(f.path))
			}
		}
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m.tables, err = replayManifest(f)
	before, beforeErr := os.Open(filepath.Join(dir, beforeName))
	counts := f
	if beforeErr == nil {
		defer before.Close()
		counts = before
		err = m.undo(f, before)
	} else if !errors.Is(beforeErr, fs.ErrNotExist) {
		err = beforeErr
	}
	if err != nil {
		return nil, err
	}
	m.magic = make([]byte, magicSize)
	_, err = counts.ReadAt(m.magic, 0)
	return m, err
}

func replayManifest(f *os.File) (map[uint64]engine.TableManifest, error) {
	replayed, _, err := engine.ReplayManifestFile(f, 0, engine.Options{})
	if err != nil {
		return nil, corrupt(f.Name(), err.Error())
	}
	return replayed.Tables, nil
}

// undo undoes a compaction that has not been checked: Badger makes MANIFEST name what it
// wrote also where a table could not be written. All files of before are there still.
//
// What is in level 0 was not written by a compaction, and its WAL may be gone.
func (m *manifest) undo(now, before *os.File) (err error) {
	kept, err := os.ReadFile(before.Name())
	if err != nil {
		return err
	}
	end := max(0, len(kept)-crc32.Size)
	if !bytes.Equal(kept[end:], binary.BigEndian.AppendUint32(nil, crc32.Checksum(kept[:end], castagnoli))) {
		return corrupt(before.Name(), "it is damaged")
	}
	if m.tables, err = replayManifest(before); err != nil {
		return err
	}
	data, err := os.ReadFile(now.Name())
	if err != nil {
		return err
	}
	level0 := make(map[uint64]engine.TableManifest)
	for _, c := range wholeChanges(data) {
		if c.Op == pb.ManifestChange_DELETE {
			delete(level0, c.Id)
		} else if c.Level == 0 {
			level0[c.Id] = engine.TableManifest{}
		}
	}
	maps.Copy(m.tables, level0)
	m.unfinished = true
	return nil
}

// wholeChanges returns the changes in a MANIFEST up to where it is torn: those of a
// compaction are many pages, of which a power cut leaves some.
func wholeChanges(data []byte) []*pb.ManifestChange {
	var all []*pb.ManifestChange
	for at := magicSize; at+8 <= len(data); {
		n, sum := binary.BigEndian.Uint32(data[at:]), binary.BigEndian.Uint32(data[at+4:])
		if at += 8; uint64(n) > uint64(len(data)-at) {
			break
		}
		var set pb.ManifestChangeSet
		if crc32.Checksum(data[at:at+int(n)], castagnoli) != sum || proto.Unmarshal(data[at:at+int(n)], &set) != nil {
			break
		}
		all, at = append(all, set.Changes...), at+int(n)
	}
	return all
}

// beforeCompaction keeps MANIFEST, from which opening goes on until afterCompaction. It keeps
// none that names other tables than the engine has.
func beforeCompaction(dir string, tables []engine.TableInfo) (kept bool, err error) {
	data, err := os.ReadFile(filepath.Join(dir, engine.ManifestFilename))
	if err != nil {
		return false, err
	}
	named := make(map[uint64]bool)
	for _, c := range wholeChanges(data) {
		named[c.Id] = c.Op == pb.ManifestChange_CREATE
	}
	for _, t := range tables {
		named[t.ID] = false
	}
	for _, missing := range named {
		if missing {
			return false, nil
		}
	}
	data = binary.BigEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
	return true, replaceFile(filepath.Join(dir, beforeName), data)
}

// afterCompaction is called before the files of before are removed.
func afterCompaction(dir string) error {
	if err := os.Remove(filepath.Join(dir, beforeName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(dir)
}

// tableFile is a table and the newest commit in it.
type tableFile struct {
	fileInfo
	newest uint64
}

// checkTables checks every table that is named and there, and returns the
// newest of those that are there and not named.
func (m *manifest) checkTables(tables []fileInfo) (orphan tableFile, err error) {
	for _, f := range tables {
		t, err := openTable(f.path)
		if err == nil {
			err = errors.Join(t.checkAll(), t.close())
		}
		if _, named := m.tables[f.id]; !named {
			// One that is damaged was not finished.
			if err == nil && t.maxVersion > orphan.newest {
				orphan = tableFile{f, t.maxVersion}
			}
			continue
		}
		if err != nil {
			return orphan, err
		}
		m.there[f.id] = t.maxVersion
		m.newest = max(m.newest, t.maxVersion)
	}
	return orphan, nil
}

// missing returns the numbers of the tables that are named and not there.
func (m *manifest) missing() []uint64 {
	var ids []uint64
	for id := range m.tables {
		if _, there := m.there[id]; !there {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// replaced reports whether the WALs hold all that can be in the table with this
// number and in newer ones: a WAL is removed only when the name of its table is
// durable. What it holds may also be in an older table, when it was not removed in
// time and is being written a second time. All the tables are in level 0 then: what a
// compaction writes is older than its number.
func (m *manifest) replaced(id uint64, wals []fileInfo) bool {
	var older uint64
	for other, t := range m.tables {
		switch {
		case other < id:
			older = max(older, m.there[other])
		case t.Level != 0:
			return false
		}
	}
	reaches, some := older, false
	for _, f := range wals {
		var whole bool
		var err error
		if reaches, whole, err = checkWAL(f, reaches); err != nil {
			return false
		}
		some = some || whole
	}
	return some && reaches >= m.newest
}

// unused returns a number for a new table.
func (m *manifest) unused(tables []fileInfo) uint64 {
	id := uint64(1)
	for other := range m.tables {
		id = max(id, other+1)
	}
	for _, f := range tables {
		id = max(id, f.id+1)
	}
	return id
}

// write makes m the MANIFEST.
func (m *manifest) write() error {
	var set pb.ManifestChangeSet
	for id, t := range m.tables {
		set.Changes = append(set.Changes, &pb.ManifestChange{
			Id: id, Op: pb.ManifestChange_CREATE, Level: uint32(t.Level), Compression: uint32(t.Compression),
		})
	}
	changes, err := proto.Marshal(&set)
	if err != nil {
		return err
	}
	data := binary.BigEndian.AppendUint32(m.magic, uint32(len(changes)))
	data = binary.BigEndian.AppendUint32(data, crc32.Checksum(changes, castagnoli))
	return replaceFile(m.path, append(data, changes...))
}

// replaceFile writes a file so that a crash leaves the old or the new one.
func replaceFile(path string, data []byte) error {
	temporary := path + ".new"
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
