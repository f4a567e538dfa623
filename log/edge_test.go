package log

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// slowRoot is RFC 6962 section 2.1 as it is written.
func slowRoot(hashes []tlog.Hash) tlog.Hash {
	switch n := len(hashes); n {
	case 0:
		return emptyRoot
	case 1:
		return hashes[0]
	default:
		k := 1
		for 2*k < n {
			k *= 2
		}
		return tlog.NodeHash(slowRoot(hashes[:k]), slowRoot(hashes[k:]))
	}
}

func testLeaf(i int) []byte { return fmt.Appendf(nil, "leaf %d", i) }

// TestEdge grows a tree leaf by leaf and demands, at every size, the root of
// the specification, the partial tiles of the specification, and that an edge
// rebuilt from them is the same.
func TestEdge(t *testing.T) {
	const size = 3*256 + 20
	var (
		e      edge
		hashes []tlog.Hash
		full   = make(map[string][]byte)
	)
	for i := range size {
		leaf := testLeaf(i)
		hashes = append(hashes, entry.LeafHash(leaf))
		e.appendLeaf(leaf, hashes[i], func(level int, n int64, data []byte) {
			full[fmt.Sprint(level, "/", n)] = bytes.Clone(data)
		})
		if i%7 != 0 && i%256 > 1 && i%256 < 254 {
			continue // every seventh, and all around the ends of tiles
		}
		if got, want := e.root(), slowRoot(hashes); got != want {
			t.Fatalf("root of size %d = %v, want %v", i+1, got, want)
		}
		if got, want := len(e.tiles[0]), (i+1)%256*hashSize; got != want {
			t.Fatalf("partial tile at size %d has %d bytes, want %d", i+1, got, want)
		}
		rebuilt, err := newEdge(int64(i+1), e.tiles, e.bundle)
		if err != nil {
			t.Fatal(err)
		}
		if rebuilt.root() != e.root() {
			t.Fatalf("the edge of size %d rebuilt has another root", i+1)
		}
		rebuilt.appendLeaf(testLeaf(-1), tlog.Hash{1}, func(int, int64, []byte) {})
		if got, want := rebuilt.root(), slowRoot(append(hashes[:i+1:i+1], tlog.Hash{1})); got != want {
			t.Fatalf("the edge of size %d rebuilt grows wrong", i+1)
		}
	}
	for n := range size / 256 {
		got := full[fmt.Sprint(0, "/", n)]
		for i := range 256 {
			if !bytes.Equal(got[i*hashSize:(i+1)*hashSize], hashes[n*256+i][:]) {
				t.Fatalf("hash %d of tile 0/%d is wrong", i, n)
			}
		}
		if h := slowRoot(hashes[n*256 : (n+1)*256]); !bytes.Equal(e.tiles[1][n*hashSize:(n+1)*hashSize], h[:]) {
			t.Errorf("hash %d of the partial tile 1/0 is wrong", n)
		}
	}
}

// TestEdgeIsAValue: appending to a copy leaves the original as it was, and a
// second try writes over the first. That is what a failed commit relies on.
func TestEdgeIsAValue(t *testing.T) {
	ignore := func(int, int64, []byte) {}
	for _, size := range []int{1, 100, 255, 256, 257, 511} {
		var e edge
		var hashes []tlog.Hash
		for i := range size {
			hashes = append(hashes, entry.LeafHash(testLeaf(i)))
			e.appendLeaf(testLeaf(i), hashes[i], ignore)
		}
		root, bundle := e.root(), bytes.Clone(e.bundle)
		abandoned := e
		for i := range 300 {
			abandoned.appendLeaf(testLeaf(1000+i), tlog.Hash{2}, ignore)
		}
		if e.root() != root || !bytes.Equal(e.bundle, bundle) {
			t.Fatalf("size %d: appending to a copy changed the original", size)
		}
		again := e
		for i := range 300 {
			hashes = append(hashes, entry.LeafHash(testLeaf(2000+i)))
			again.appendLeaf(testLeaf(2000+i), hashes[size+i], ignore)
		}
		if again.root() != slowRoot(hashes) {
			t.Fatalf("size %d: a second try after an abandoned one gives a wrong root", size)
		}
		width := again.size % 256
		if want := hashes[again.size-width:]; !bytes.Equal(again.tiles[0], flatten(want)) {
			t.Fatalf("size %d: a second try leaves hashes of the first", size)
		}
		entries, err := tile.SplitBundle(again.bundle, int(width))
		if err != nil {
			t.Fatal(err)
		}
		for i, leaf := range entries {
			if entry.LeafHash(leaf) != hashes[again.size-width+int64(i)] {
				t.Fatalf("size %d: a second try leaves entries of the first", size)
			}
		}
	}
}

func flatten(hashes []tlog.Hash) []byte {
	var b []byte
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

func TestIdentityIndex(t *testing.T) {
	var x identityIndex
	identity := func(i int) [32]byte { return entry.Identity("source", fmt.Sprint(i)) }
	const n = 5000
	for i := range n {
		x.add(identity(i), int64(i))
	}
	// Two identities that share their first eight bytes are both candidates.
	twin := identity(17)
	twin[31] ^= 1
	x.add(twin, n)
	for i := range n {
		got := x.candidates(identity(i))
		if i == 17 {
			if len(got) != 2 || got[0] != 17 || got[1] != n {
				t.Fatalf("candidates of twins = %v", got)
			}
		} else if len(got) != 1 || got[0] != int64(i) {
			t.Fatalf("candidates of %d = %v", i, got)
		}
	}
	for i := range n {
		if got := x.candidates(identity(n + 1 + i)); got != nil {
			t.Fatalf("candidates of an unknown identity = %v", got)
		}
	}
	var empty identityIndex
	if empty.candidates(identity(0)) != nil {
		t.Error("the empty index has candidates")
	}
}
