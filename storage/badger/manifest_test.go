package badger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

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

// TestUnfinishedCompaction: while a compaction is not known to be sound MANIFEST may be
// torn in what it says of it. What was there before counts, and tables that came since.
func TestUnfinishedCompaction(t *testing.T) {
	s := openSmall(t)
	var head []byte
	commit := func() {
		t.Helper()
		next := fmt.Appendf(head[:len(head):len(head)], "+")
		if err := s.Commit(t.Context(), &storage.Batch{OldHead: head, NewHead: next}); err != nil {
			t.Fatal(err)
		}
		head = next
	}
	reopen := func() {
		t.Helper()
		if err := s.Close(); err != nil { // which writes a table
			t.Fatal(err)
		}
		var err error
		if s, err = Open(s.dir, s.opts); err != nil {
			t.Fatal(err)
		}
	}
	commit()
	reopen()
	commit()
	if err := s.Reclaim(t.Context()); err != nil { // of which MANIFEST tells, too
		t.Fatal(err)
	}
	if kept, err := beforeCompaction(s.dir, s.db.Tables()); err != nil || !kept {
		t.Fatal(kept, err)
	}
	commit()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "MANIFEST"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(append([]byte{0, 0, 0, 20, 1, 2, 3, 4}, make([]byte, 20)...))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if s, err = Open(s.dir, s.opts); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(t.Context(), storage.HeadKey); err != nil || string(got) != string(head) {
			t.Fatalf("the head is %q, not %q: %v", got, head, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnfinishedCompactionDamaged: what MANIFEST was is refused where it is damaged, however it
// is, and made of nothing that a damaged MANIFEST says.
func TestUnfinishedCompactionDamaged(t *testing.T) {
	s := openSmall(t)
	if err := s.Commit(t.Context(), &storage.Batch{NewHead: []byte("head")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kept, err := beforeCompaction(s.dir, s.db.Tables()); err != nil || !kept {
		t.Fatal(kept, err)
	}
	if err := s.Commit(t.Context(), &storage.Batch{OldHead: []byte("head"), NewHead: []byte("next")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // what is newest is in a table now that MANIFEST names
		t.Fatal(err)
	}
	damage := func(name string, bad []byte) error {
		t.Helper()
		if err := os.WriteFile(filepath.Join(s.dir, name), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := checkFiles(s.dir)
		return err
	}
	before, err := os.ReadFile(filepath.Join(s.dir, beforeName))
	if err != nil {
		t.Fatal(err)
	}
	for at := range before {
		if err := damage(beforeName, before[:at]); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("cut at %d of %d: %v", at, len(before), err)
		}
		for bit := range 8 {
			bad := bytes.Clone(before)
			bad[at] ^= 1 << bit
			if err := damage(beforeName, bad); !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("bit %d of byte %d of %d: %v", bit, at, len(before), err)
			}
		}
	}
	if err := damage(beforeName, before); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(filepath.Join(s.dir, "MANIFEST"))
	if err != nil {
		t.Fatal(err)
	}
	now[0] ^= 1
	if err := damage("MANIFEST", now); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(s.dir, s.opts); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), storage.HeadKey); err != nil || string(got) != "next" {
		t.Errorf("the head is %q, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCompactionAwaitsTables: a table that MANIFEST names already, and no iterator can hold
// yet, would be removed while the compaction may still be undone.
func TestCompactionAwaitsTables(t *testing.T) {
	s := openSmall(t)
	if err := s.Commit(t.Context(), &storage.Batch{NewHead: []byte("head")}); err != nil {
		t.Fatal(err)
	}
	// The engine keeps the file open that it writes to.
	path, written := filepath.Join(s.dir, "MANIFEST"), filepath.Join(s.dir, "written")
	if err := os.Link(path, written); err != nil {
		t.Fatal(err)
	}
	nameTables(t, s.dir, 1)
	done := make(chan error, 1)
	go func() { done <- s.Reclaim(t.Context()) }()
	select {
	case err := <-done:
		t.Fatalf("compacted while a table was being written: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := errors.Join(os.Rename(written, path), <-done); err != nil {
		t.Fatal(err)
	}

	// It may never come.
	nameTables(t, s.dir, 9)
	go func() { done <- s.Reclaim(t.Context()) }()
	time.Sleep(10 * time.Millisecond)
	broken := errors.New("it could not be written")
	s.tripped.trip(broken)
	if err := <-done; !errors.Is(err, broken) {
		t.Fatalf("waiting for a table that could not be written ended with %v", err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, beforeName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what names that table has been kept: %v", err)
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
