package tile

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

const (
	// Height is the number of tree levels a tile spans.
	Height = 8
	// Width is the number of hashes in a full tile, and of entries in a full bundle.
	Width = 1 << Height
	// Entries is the level of entry bundles.
	Entries = -1
	// MaxLevel is the highest level a tile path can name.
	MaxLevel = 63

	// maxN bounds tile indexes so that N*Width+Width never overflows an int64.
	maxN = math.MaxInt64>>Height - 1
)

// ErrPath is the error of every path that ParsePath refuses.
var ErrPath = errors.New("not a tile path")

// Tile names one hash tile, or one entry bundle when Level is -1.
type Tile struct {
	Level int   // -1 for an entry bundle, otherwise 0 to 63
	N     int64 // index of the tile within its level
	W     int   // how many hashes or entries it holds: 1 to 256
}

// Full reports whether the tile holds all 256 hashes or entries.
func (t Tile) Full() bool { return t.W == Width }

// Path returns the tile's path relative to the log's URL prefix, without a
// leading slash: "tile/0/x001/067.p/12", "tile/entries/000".
// The Tile must be one that ParsePath could have returned.
func (t Tile) Path() string {
	var b strings.Builder
	b.WriteString("tile/")
	if t.Level == Entries {
		b.WriteString("entries")
	} else {
		b.WriteString(strconv.Itoa(t.Level))
	}
	b.WriteByte('/')
	b.WriteString(formatIndex(t.N))
	if !t.Full() {
		b.WriteString(".p/")
		b.WriteString(strconv.Itoa(t.W))
	}
	return b.String()
}

// formatIndex writes n in path elements of three digits, all but the last
// beginning with an x: 1234067 is x001/x234/067.
func formatIndex(n int64) string {
	s := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		s = fmt.Sprintf("x%03d/%s", n%1000, s)
	}
	return s
}

// ParsePath is the inverse of Path. Each tile has exactly one spelling: other
// paths to the same tile (leading zeroes, a width of 256, a needless group of
// three digits, a leading slash) are refused with ErrPath.
func ParsePath(p string) (Tile, error) {
	t, ok := parsePath(p)
	// "with no additional leading zeroes" holds for the level, the index and
	// the width alike; comparing with the one spelling checks all of them.
	if !ok || t.Path() != p {
		return Tile{}, fmt.Errorf("%w: %q", ErrPath, p)
	}
	return t, nil
}

func parsePath(p string) (t Tile, ok bool) {
	rest, ok := strings.CutPrefix(p, "tile/")
	if !ok {
		return t, false
	}
	level, rest, ok := strings.Cut(rest, "/")
	if !ok {
		return t, false
	}
	t.Level = Entries
	if level != "entries" {
		if t.Level, ok = parseUint(level, MaxLevel); !ok {
			return t, false
		}
	}
	index, width, partial := strings.Cut(rest, ".p/")
	t.W = Width
	if partial {
		if t.W, ok = parseUint(width, Width-1); !ok || t.W == 0 {
			return t, false
		}
	}
	t.N, ok = parseIndex(index)
	return t, ok
}

func parseIndex(s string) (int64, bool) {
	elements := strings.Split(s, "/")
	var n int64
	for i, e := range elements {
		if i < len(elements)-1 {
			var ok bool
			if e, ok = strings.CutPrefix(e, "x"); !ok {
				return 0, false
			}
		}
		if len(e) != 3 {
			return 0, false
		}
		d, ok := parseUint(e, 999)
		if !ok || n > (maxN-int64(d))/1000 {
			return 0, false
		}
		n = n*1000 + int64(d)
	}
	return n, true
}

// parseUint reads ASCII digits only (no sign) up to a small maximum.
func parseUint(s string, maximum int) (int, bool) {
	if s == "" || len(s) > 3 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, n <= maximum
}

// WidthAt returns how many hashes the tile (level, n) holds in a tree of the
// given size: 256 where it is full, fewer at the right edge, 0 where it does
// not exist. Level -1 (entry bundles) is as level 0.
func WidthAt(level int, n, size int64) int {
	if level == Entries {
		level = 0
	}
	// At levels of 8 and more no tree with an int64 size has a hash.
	if level < 0 || level*Height >= 63 || n < 0 || n > maxN || size <= 0 {
		return 0
	}
	// "The partial tile at level l for a tree of size s has
	// floor(s / 256**l) mod 256 entries."
	hashes := size >> (level * Height)
	if hashes <= n*Width {
		return 0
	}
	return int(min(hashes-n*Width, Width))
}
