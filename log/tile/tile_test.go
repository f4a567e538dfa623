package tile_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

func TestPath(t *testing.T) {
	for path, want := range map[string]tile.Tile{
		"tile/0/000":                               {Level: 0, N: 0, W: 256},
		"tile/0/x001/067.p/12":                     {Level: 0, N: 1067, W: 12},
		"tile/entries/000":                         {Level: -1, N: 0, W: 256},
		"tile/entries/999.p/1":                     {Level: -1, N: 999, W: 1},
		"tile/1/x001/000":                          {Level: 1, N: 1000, W: 256},
		"tile/2/x001/x234/067.p/255":               {Level: 2, N: 1234067, W: 255},
		"tile/63/000":                              {Level: 63, N: 0, W: 256},
		"tile/0/x036/x028/x797/x018/x963/966":      {Level: 0, N: math.MaxInt64>>8 - 1, W: 256},
		"tile/entries/x036/x028/x797/x018/963.p/9": {Level: -1, N: 36028797018963, W: 9},
	} {
		got, err := tile.ParsePath(path)
		if err != nil || got != want {
			t.Errorf("ParsePath(%q) = %+v, %v; want %+v", path, got, err, want)
		}
		if p := want.Path(); p != path {
			t.Errorf("%+v.Path() = %q, want %q", want, p, path)
		}
	}
}

func TestParsePathRefuses(t *testing.T) {
	for name, path := range map[string]string{
		"empty":                     "",
		"leading slash":             "/tile/0/000",
		"trailing slash":            "tile/0/000/",
		"no level":                  "tile//000",
		"no index":                  "tile/0/",
		"nothing after tile":        "tile/",
		"level with leading zero":   "tile/00/000",
		"level with sign":           "tile/+1/000",
		"negative level":            "tile/-1/000",
		"level 64":                  "tile/64/000",
		"level of letters":          "tile/data/000",
		"entries in capitals":       "tile/Entries/000",
		"index of two digits":       "tile/0/00",
		"index of four digits":      "tile/0/0000",
		"index with x at the end":   "tile/0/x000",
		"group without x":           "tile/0/001/000",
		"needless zero group":       "tile/0/x000/001",
		"capital X":                 "tile/0/X001/000",
		"index with sign":           "tile/0/+01",
		"index with space":          "tile/0/ 01",
		"non-ASCII digits":          "tile/0/٠٠١",
		"width 0":                   "tile/0/000.p/0",
		"width 256":                 "tile/0/000.p/256",
		"width with leading zero":   "tile/0/000.p/01",
		"width with sign":           "tile/0/000.p/+1",
		"no width":                  "tile/0/000.p/",
		"width twice":               "tile/0/000.p/1.p/1",
		"width without p":           "tile/0/000/1",
		"path after width":          "tile/0/000.p/1/2",
		"query":                     "tile/0/000?x",
		"index beyond any tree":     "tile/0/x036/x028/x797/x018/x963/967",
		"index that overflows":      "tile/0/x999/x999/x999/x999/x999/x999/999",
		"index that wraps to small": "tile/0/x018/x446/x744/x073/x709/x551/617",
	} {
		if got, err := tile.ParsePath(path); !errors.Is(err, tile.ErrPath) {
			t.Errorf("%s: ParsePath(%q) = %+v, %v", name, path, got, err)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"tile/0/000", "tile/entries/x001/234.p/7", "tile/63/x001/x000/000.p/255", "tile/00/000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := tile.ParsePath(s)
		if err != nil {
			return
		}
		if p := q.Path(); p != s {
			t.Fatalf("accepted %q, which is %q", s, p)
		}
		if q.W < 1 || q.W > 256 || q.N < 0 || q.Level < -1 || q.Level > 63 {
			t.Fatalf("accepted %q as %+v", s, q)
		}
	})
}

func TestWidthAt(t *testing.T) {
	for _, c := range []struct {
		level   int
		n, size int64
		want    int
	}{
		// The example of tlog-tiles: a tree of size 70,000.
		{0, 0, 70_000, 256}, {0, 272, 70_000, 256}, {0, 273, 70_000, 112}, {0, 274, 70_000, 0},
		{1, 0, 70_000, 256}, {1, 1, 70_000, 17}, {1, 2, 70_000, 0},
		{2, 0, 70_000, 1}, {2, 1, 70_000, 0}, {3, 0, 70_000, 0},
		// And of size 256: "a full level 0 tile and a partial level 1 tile of width 1".
		{0, 0, 256, 256}, {0, 1, 256, 0}, {1, 0, 256, 1}, {1, 0, 255, 0},
		{-1, 0, 256, 256}, {-1, 1, 257, 1}, {-1, 2, 257, 0},
		{0, 0, 0, 0}, {0, 0, -1, 0}, {0, -1, 10, 0}, {-2, 0, 10, 0}, {64, 0, math.MaxInt64, 0},
		{7, 0, math.MaxInt64, 127}, {7, 0, 1 << 56, 1}, {8, 0, math.MaxInt64, 0},
		{0, math.MaxInt64, math.MaxInt64, 0}, {0, math.MaxInt64>>8 - 1, math.MaxInt64, 256},
	} {
		if got := tile.WidthAt(c.level, c.n, c.size); got != c.want {
			t.Errorf("WidthAt(%d, %d, %d) = %d, want %d", c.level, c.n, c.size, got, c.want)
		}
	}
}

func TestBundle(t *testing.T) {
	leaves := [][]byte{{}, []byte("a"), bytes.Repeat([]byte{7}, tile.MaxEntry)}
	var b []byte
	for _, l := range leaves {
		b = tile.AppendEntry(b, l)
	}
	got, err := tile.SplitBundle(b, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range leaves {
		if !bytes.Equal(got[i], leaves[i]) {
			t.Errorf("entry %d differs", i)
		}
	}
	// Appending to one entry must not reach into the next.
	_ = append(got[0], 0xff, 0xff, 0xff)
	if !bytes.Equal(got[1], leaves[1]) {
		t.Error("entries of a bundle overlap")
	}
	for name, c := range map[string]struct {
		data  []byte
		width int
	}{
		"too few entries":    {b, 4},
		"too many entries":   {b, 2},
		"half a length":      {[]byte{0}, 1},
		"no length":          {nil, 1},
		"cut entry":          {[]byte{0, 2, 'x'}, 1},
		"trailing byte":      {[]byte{0, 1, 'x', 0}, 1},
		"width zero":         {nil, 0},
		"width negative":     {nil, -1},
		"width beyond a row": {make([]byte, 2*257), 257},
	} {
		if _, err := tile.SplitBundle(c.data, c.width); !errors.Is(err, tile.ErrBundle) {
			t.Errorf("%s: %v", name, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("AppendEntry took an entry of 65,536 bytes")
		}
	}()
	tile.AppendEntry(nil, make([]byte, tile.MaxEntry+1))
}

func FuzzSplitBundle(f *testing.F) {
	f.Add([]byte{0, 1, 'x', 0, 0}, 2)
	f.Add([]byte{0, 1}, 1)
	f.Fuzz(func(t *testing.T, data []byte, width int) {
		entries, err := tile.SplitBundle(data, width)
		if err != nil {
			return
		}
		var again []byte
		for _, e := range entries {
			again = tile.AppendEntry(again, e)
		}
		if len(entries) != width || !bytes.Equal(again, data) {
			t.Fatalf("accepted %x as %d entries, which encode to %x", data, len(entries), again)
		}
	})
}

func TestHashes(t *testing.T) {
	a, b := tlog.RecordHash([]byte("a")), tlog.RecordHash([]byte("b"))
	got, err := tile.Hashes(append(a[:], b[:]...))
	if err != nil || len(got) != 2 || got[0] != a || got[1] != b {
		t.Errorf("Hashes = %v, %v", got, err)
	}
	for _, n := range []int{0, 1, 31, 33, 257 * 32} {
		if _, err := tile.Hashes(make([]byte, n)); !errors.Is(err, tile.ErrBundle) {
			t.Errorf("Hashes of %d bytes: %v", n, err)
		}
	}
}
