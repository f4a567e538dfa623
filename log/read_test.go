package log

import (
	"bytes"
	"testing"

	"github.com/escortlog/escortlog/log/tile"
)

// TestNodeCache: of a growing tile one state is kept, the widest, which serves
// narrower ones without reading.
func TestNodeCache(t *testing.T) {
	var c nodeCache
	reads := 0
	get := func(level int, n int64, width, want int) {
		t.Helper()
		nodes, err := c.get(tile.Tile{Level: level, N: n, W: width}, func() ([]byte, error) {
			reads++
			return bytes.Repeat([]byte{byte(level), byte(n)}, 16*width), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if nodes.Width() < width || reads != want {
			t.Fatalf("tile %d/%d of %d hashes is %d wide after %d reads, want %d", level, n, width, nodes.Width(), reads, want)
		}
	}
	get(0, 1, 3, 1)
	get(0, 1, 2, 1)
	get(0, 1, 9, 2)
	get(0, 1, 3, 2)
	get(1, 1, 3, 3) // another tile
	for n := range int64(maxNodes) {
		get(2, n, 1, int(4+n))
	}
	get(0, 1, 1, 4+maxNodes) // it had to make room
	if len(c.nodes) != maxNodes || len(c.order) != maxNodes {
		t.Errorf("%d tiles are kept in the order of %d, want %d", len(c.nodes), len(c.order), maxNodes)
	}
}
