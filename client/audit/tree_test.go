package audit

import (
	"slices"
	"testing"

	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// The tree's root and tiles against the plain definition, at every shape up to
// three levels.
func TestTree(t *testing.T) {
	const most = 256*256 + 600
	want := [][]tlog.Hash{nil, nil, nil}
	tr := &tree{}
	got := map[tile.Tile][]tlog.Hash{}
	for i := range int64(most) {
		h := tlog.RecordHash([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
		for level := range want {
			want[level] = append(want[level], h)
			if len(want[level])%256 != 0 {
				break
			}
			h = tile.TileRoot(want[level][len(want[level])-256:])
		}
		tr.append(want[0][i], func(q tile.Tile, hashes []tlog.Hash) { got[q] = hashes })
		n := i + 1
		if n > 600 && n%256 > 2 && n != most {
			continue
		}
		if err := tr.check(); err != nil || tr.size != n {
			t.Fatal(err)
		}
		if n <= 1200 || n > 256*256-3 {
			if root := tr.root(); root != tile.TileRoot(want[0]) {
				t.Fatalf("root of %d leaves is %v", n, root)
			}
		}
	}
	tr.rest(func(q tile.Tile, hashes []tlog.Hash) { got[q] = hashes })
	count := 0
	for level := range want {
		for n := int64(0); ; n++ {
			w := tile.WidthAt(level, n, most)
			if w == 0 {
				break
			}
			count++
			if !slices.Equal(got[tile.Tile{Level: level, N: n, W: w}], want[level][n*256:][:w]) {
				t.Errorf("tile %d/%d is wrong", level, n)
			}
		}
	}
	if len(got) != count {
		t.Errorf("%d tiles, want %d", len(got), count)
	}
	if (&tree{}).root() != tile.TileRoot(nil) {
		t.Error("root of the empty tree")
	}
	tr.partial[0] = tr.partial[0][1:]
	if tr.check() == nil {
		t.Error("a hash is missing, and the tree thinks it is whole")
	}
}
