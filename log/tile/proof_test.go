package tile_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/escortlog/escortlog/log/tile"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

const largest = 600

// sizes are those around which trees and tiles change shape, and some between.
func sizes() []int {
	s := []int{}
	for n := 1; n <= largest; n++ {
		near := func(m int) bool { d := n % m; return d <= 1 || d == m-1 }
		if n <= 40 || near(128) || n%37 == 0 {
			s = append(s, n)
		}
	}
	return s
}

func checkReads(t *testing.T, reads map[tile.Tile]int, size int) {
	t.Helper()
	for q, n := range reads {
		if n != 1 {
			t.Errorf("size %d: %s was read %d times", size, q.Path(), n)
		}
		if want := tile.WidthAt(q.Level, q.N, int64(size)); q.W != want {
			t.Errorf("size %d: %s read with a width other than %d", size, q.Path(), want)
		}
	}
}

func TestAgainstReference(t *testing.T) {
	ctx := context.Background()
	ref := newReferenceTree(largest)
	for _, n := range sizes() {
		reads := map[tile.Tile]int{}
		root, err := tile.Root(ctx, ref.reader(reads), int64(n))
		if err != nil || root != ref.mth(0, n) {
			t.Fatalf("Root(%d) = %v, %v; want %v", n, root, err, ref.mth(0, n))
		}
		checkReads(t, reads, n)
		for _, m := range append([]int{0}, sizes()...) {
			if m > n {
				break
			}
			reads := map[tile.Tile]int{}
			got, err := tile.Consistency(ctx, ref.reader(reads), int64(m), int64(n))
			if want := ref.proof(m, n); err != nil || !slices.Equal(got, want) {
				t.Fatalf("Consistency(%d, %d) = %v, %v; want %v", m, n, got, err, want)
			}
			checkReads(t, reads, n)
			if m == n {
				break
			}
			reads = map[tile.Tile]int{}
			got, err = tile.Inclusion(ctx, ref.reader(reads), int64(m), int64(n))
			if want := ref.path(m, 0, n); err != nil || !slices.Equal(got, want) {
				t.Fatalf("Inclusion(%d, %d) = %v, %v; want %v", m, n, got, err, want)
			}
			checkReads(t, reads, n)
			fromNodes, err := tile.InclusionFromNodes(ctx, ref.nodes, int64(m), int64(n))
			if err != nil || !slices.Equal(fromNodes, got) {
				t.Fatalf("InclusionFromNodes(%d, %d) = %v, %v; want %v", m, n, fromNodes, err, got)
			}
		}
	}
}

// nodes gives the nodes of a tile as wide as it is in the largest tree, made from
// those of half of what was asked for.
func (t *referenceTree) nodes(ctx context.Context, q tile.Tile) (*tile.Nodes, error) {
	asked := q.W
	q.W = tile.WidthAt(q.Level, q.N, largest)
	data, err := t.reader(map[tile.Tile]int{})(ctx, q)
	if err != nil {
		return nil, err
	}
	nodes := new(tile.Nodes)
	if first := asked / 2 * tlog.HashSize; first > 0 {
		if nodes, err = tile.NewNodes(data[:first]); err != nil {
			return nil, err
		}
	}
	if nodes, err = nodes.Extend(data); err == nil && nodes.Width() != q.W {
		err = fmt.Errorf("nodes of %d hashes are %d wide", q.W, nodes.Width())
	}
	return nodes, err
}

func TestEmptyTree(t *testing.T) {
	ref := newReferenceTree(0)
	root, err := tile.Root(context.Background(), ref.reader(map[tile.Tile]int{}), 0)
	if err != nil || root != ref.mth(0, 0) {
		t.Fatalf("Root(0) = %v, %v", root, err)
	}
}

// A large tree has three levels of tiles; only its right edge is made up.
func TestLargeTree(t *testing.T) {
	ctx := context.Background()
	const size = 70_000
	leaf := func(i int64) tlog.Hash { return tlog.RecordHash([]byte{byte(i), byte(i >> 8), byte(i >> 16)}) }
	levels := [][]tlog.Hash{nil}
	for i := range int64(size) {
		levels[0] = append(levels[0], leaf(i))
	}
	for l := 0; len(levels[l]) >= 256; l++ {
		var up []tlog.Hash
		for i := 0; i+256 <= len(levels[l]); i += 256 {
			up = append(up, tile.TileRoot(levels[l][i:i+256]))
		}
		levels = append(levels, up)
	}
	read := func(_ context.Context, q tile.Tile) ([]byte, error) {
		var out []byte
		for _, h := range levels[q.Level][q.N*256 : q.N*256+int64(q.W)] {
			out = append(out, h[:]...)
		}
		return out, nil
	}
	root, err := tile.Root(ctx, read, size)
	if err != nil {
		t.Fatal(err)
	}
	if want := tile.TileRoot(levels[0]); root != want {
		t.Fatalf("root %v, want %v", root, want)
	}
	bytesOf := func(p []tlog.Hash) (out [][]byte) {
		for _, h := range p {
			out = append(out, slices.Clone(h[:]))
		}
		return out
	}
	for _, i := range []int64{0, 1, 255, 256, 65_535, 65_536, 69_887, 69_888, 69_999} {
		p, err := tile.Inclusion(ctx, read, i, size)
		if err != nil {
			t.Fatal(err)
		}
		h := leaf(i)
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(i), size, h[:], bytesOf(p), root[:]); err != nil {
			t.Errorf("inclusion of %d: %v", i, err)
		}
		if i == 0 {
			continue
		}
		p, err = tile.Consistency(ctx, read, i, size)
		if err != nil {
			t.Fatal(err)
		}
		old := tile.TileRoot(levels[0][:i])
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(i), size, bytesOf(p), old[:], root[:]); err != nil {
			t.Errorf("consistency from %d: %v", i, err)
		}
	}
}

func TestBadArguments(t *testing.T) {
	ctx := context.Background()
	never := func(context.Context, tile.Tile) ([]byte, error) {
		t.Error("a tile was read")
		return nil, errors.New("unreachable")
	}
	for _, a := range [][2]int64{{-1, 5}, {5, 5}, {6, 5}, {0, 0}, {0, -1}} {
		if _, err := tile.Inclusion(ctx, never, a[0], a[1]); err == nil {
			t.Errorf("Inclusion(%d, %d): no error", a[0], a[1])
		}
	}
	for _, a := range [][2]int64{{-1, 5}, {6, 5}, {-2, -1}} {
		if _, err := tile.Consistency(ctx, never, a[0], a[1]); err == nil {
			t.Errorf("Consistency(%d, %d): no error", a[0], a[1])
		}
	}
	if _, err := tile.Root(ctx, never, -1); err == nil {
		t.Error("Root(-1): no error")
	}
}

func TestReaderErrors(t *testing.T) {
	ctx := context.Background()
	boom := errors.New("boom")
	fails := func(context.Context, tile.Tile) ([]byte, error) { return nil, boom }
	if _, err := tile.Inclusion(ctx, fails, 3, 7); !errors.Is(err, boom) {
		t.Errorf("Inclusion lost the reader's error: %v", err)
	}
	if _, err := tile.Consistency(ctx, fails, 3, 7); !errors.Is(err, boom) {
		t.Errorf("Consistency lost the reader's error: %v", err)
	}
	if _, err := tile.Root(ctx, fails, 7); !errors.Is(err, boom) {
		t.Errorf("Root lost the reader's error: %v", err)
	}
	for name, n := range map[string]int{"empty": 0, "short": 6 * 32, "long": 8 * 32, "ragged": 7*32 - 1} {
		wrong := func(context.Context, tile.Tile) ([]byte, error) { return make([]byte, n), nil }
		if _, err := tile.Root(ctx, wrong, 7); !errors.Is(err, tile.ErrBundle) {
			t.Errorf("%s tile: %v", name, err)
		}
	}
}
