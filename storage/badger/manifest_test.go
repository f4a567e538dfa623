package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4/pb"
	"google.golang.org/protobuf/proto"

	"github.com/escortlog/escortlog/storage"
)

// TestTableWrittenAnew: Badger names a table, cannot sync MANIFEST and removes the
// table. It may have written it before, when a kill left the WAL there, or write it
// anew under the next number: MANIFEST names both then. That is sound as long as the
// WAL is there.
func TestTableWrittenAnew(t *testing.T) {
	for _, is := range []struct {
		wal   bool
		there uint64
	}{{true, 1}, {true, 2}, {false, 1}, {false, 2}} {
		t.Run(fmt.Sprintf("wal %v, table %d is there", is.wal, is.there), func(t *testing.T) {
			s := openSmall(t)
			var head []byte
			for n := range 5 {
				next := fmt.Appendf(nil, "head %d", n)
				if err := s.Commit(t.Context(), &storage.Batch{OldHead: head, NewHead: next}); err != nil {
					t.Fatal(err)
				}
				head = next
			}
			files, err := listFiles(s.dir)
			if err != nil {
				t.Fatal(err)
			}
			kept := files.wals[0].path
			data, err := os.ReadFile(kept)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil { // which writes table 1
				t.Fatal(err)
			}
			if is.wal {
				if err := os.WriteFile(kept, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Rename(filepath.Join(s.dir, "000001.sst"), filepath.Join(s.dir, fmt.Sprintf("%06d.sst", is.there))); err != nil {
				t.Fatal(err)
			}
			nameTables(t, s.dir, 1, 2)

			found, err := checkFiles(s.dir)
			if !is.wal {
				if !errors.Is(err, storage.ErrCorrupt) {
					t.Fatalf("without the WAL: %v", err)
				}
				return
			}
			if err != nil || !slices.Equal(found.nameless, []uint64{3 - is.there}) {
				t.Fatalf("%+v, %v", found, err)
			}
			if s, err = Open(s.dir, Options{MinFree: 1, ReclaimAfter: -1}); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if got, err := s.Get(t.Context(), storage.HeadKey); err != nil || string(got) != string(head) {
				t.Errorf("the head is %q, %v", got, err)
			}
		})
	}
}

// nameTables has MANIFEST name these tables, in level 0, and no others.
func nameTables(t *testing.T, dir string, ids ...uint64) {
	t.Helper()
	m, err := readManifest(dir, &files{})
	if err != nil {
		t.Fatal(err)
	}
	var set pb.ManifestChangeSet
	for _, id := range ids {
		set.Changes = append(set.Changes, &pb.ManifestChange{Id: id, Op: pb.ManifestChange_CREATE})
	}
	changes, err := proto.Marshal(&set)
	if err != nil {
		t.Fatal(err)
	}
	data := binary.BigEndian.AppendUint32(m.magic, uint32(len(changes)))
	data = binary.BigEndian.AppendUint32(data, crc32.Checksum(changes, castagnoli))
	if err := replaceFile(m.path, append(data, changes...)); err != nil {
		t.Fatal(err)
	}
}
