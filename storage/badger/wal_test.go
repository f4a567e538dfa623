package badger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4/y"

	"github.com/escortlog/escortlog/storage"
)

// walOf returns the header of a WAL, and the bytes of each of its commits, of which
// there are n. Commit i is commits[i].
func walOf(t *testing.T, n int) (header []byte, commits [][]byte) {
	t.Helper()
	s := openSmall(t)
	var head []byte
	for i := 1; i <= n; i++ {
		next := fmt.Appendf(nil, "head %d", i)
		put := []storage.KV{{Key: []byte("key"), Value: next}, {Key: next, Value: bytes.Repeat(next, 20)}}
		if err := s.Commit(t.Context(), &storage.Batch{OldHead: head, NewHead: next, Put: put}); err != nil {
			t.Fatal(err)
		}
		head = next
	}
	files, err := listFiles(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(files.wals[0].path)
	if err != nil {
		t.Fatal(err)
	}
	header, data = data[:logHeaderSize], data[logHeaderSize:]
	commits = [][]byte{nil}
	for at := 0; len(commits) <= n; {
		r := parseRecord(data[at:])
		if r.size == 0 {
			t.Fatalf("no record at offset %d", at)
		}
		if at += r.size; r.endOf() > 0 {
			commits = append(commits, data[:at])
			data, at = data[at:], 0
		}
	}
	return header, commits
}

// TestTornWALs: any WAL may end in a commit that was never acknowledged, also when
// another follows. One that was acknowledged, and is damaged, is noticed from what
// follows.
func TestTornWALs(t *testing.T) {
	header, commits := walOf(t, 6)
	changed := func(b []byte, f func([]byte)) []byte {
		b = bytes.Clone(b)
		f(b)
		return b
	}
	// The records of a commit come in no certain order, but for its end.
	whole := bytes.Join(commits[1:4], nil) // 1 to 3
	later := bytes.Join(commits[4:], nil)  // 4 to 6
	cut := commits[4][:len(commits[4])-20]
	hole := changed(commits[4], func(b []byte) { clear(b[30:60]) })
	flipped := func(at int) []byte { return changed(whole, func(b []byte) { b[at] ^= 1 }) }
	first, last := len(commits[1])/2, len(whole)-1
	inCommit3 := func(key []byte) string { return string(y.KeyWithTs(key, 3)) }
	marker := slices.Concat(makeRecord(metaInTxn, inCommit3([]byte{prefixFlush}), ""), makeRecord(metaEndTxn, inCommit3(endKey), "3"))
	for _, test := range []struct {
		name string
		wals [][]byte // what follows their headers
		want string   // the head, or nothing when it is refused
	}{
		{"whole", [][]byte{whole, later}, "head 6"},
		{"cut, then nothing", [][]byte{slices.Concat(whole, cut), nil}, "head 3"},
		{"hole, then nothing", [][]byte{slices.Concat(whole, hole), nil, nil}, "head 3"},
		{"cut, and gone on", [][]byte{slices.Concat(whole, cut), later}, "head 6"},
		{"hole, and gone on", [][]byte{slices.Concat(whole, hole), later}, "head 6"},
		{"torn twice, then nothing", [][]byte{slices.Concat(whole, cut), hole, nil}, "head 3"},
		{"torn twice, and gone on", [][]byte{slices.Concat(whole, hole), cut, nil, later}, "head 6"},
		{"torn, gone on, torn", [][]byte{slices.Concat(whole, hole), slices.Concat(commits[4], commits[5][:40])}, "head 4"},
		{"a marker", [][]byte{slices.Concat(whole, marker), slices.Concat(marker, later)}, "head 6"},

		{"bit of the first commit, gone on", [][]byte{flipped(first), later}, ""},
		{"bit of the first commit, then nothing", [][]byte{flipped(first), nil}, ""},
		{"bit of the last commit", [][]byte{flipped(last), later}, ""},
		{"bit of the last commit, gone on later", [][]byte{flipped(last), nil, later}, ""},
		{"bit of the last commit, a marker", [][]byte{flipped(last), marker}, ""},
		{"last commit cut off", [][]byte{whole[:len(whole)-len(commits[3])], later}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := FastDir(t)
			s, err := Open(dir, Options{MinFree: 1, ReclaimAfter: -1})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for i, wal := range test.wals {
				path := filepath.Join(dir, fmt.Sprintf("%05d.mem", 50+i))
				if err := os.WriteFile(path, slices.Concat(header, wal), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(path, 2*memTableSize); err != nil {
					t.Fatal(err)
				}
			}
			s, err = Open(dir, Options{MinFree: 1, ReclaimAfter: -1})
			if test.want == "" {
				if !errors.Is(err, storage.ErrCorrupt) {
					t.Fatalf("got %v, want ErrCorrupt", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for _, key := range []string{string(storage.HeadKey), "key"} {
				if got, err := s.Get(t.Context(), []byte(key)); err != nil || string(got) != test.want {
					t.Errorf("%s is %q, %v, want %q", key, got, err, test.want)
				}
			}
		})
	}
}
