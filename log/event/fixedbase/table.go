package fixedbase

import (
	"encoding/binary"

	"filippo.io/edwards25519"
)

// A table holds multiples of one point, by which any multiple of it is a sum: for window i of a scalar, of width bits,
// and each digit d from 1 to 2^(width-1), the point d * 2^(i*width) * P. It is the method of section 4 of "High-speed
// high-security signatures" (https://ed25519.cr.yp.to/ed25519-20110926.pdf), with all windows in the table and
// none of its constant time: what is verified is public.
type table struct {
	width  int
	points []edwards25519.Point // 2^(width-1) of each window
}

// newTable computes the table of p. A width of 5 makes 832 points in 130 KB, one of 8 makes 4,096 in 640 KB.
func newTable(p *edwards25519.Point, width int) *table {
	perWindow := 1 << (width - 1)
	windows := 255/width + 1
	t := &table{width: width, points: make([]edwards25519.Point, windows*perWindow)}
	base := new(edwards25519.Point).Set(p)
	for i := range windows {
		row := t.points[i*perWindow:][:perWindow]
		row[0].Set(base)
		for d := 1; d < perWindow; d++ {
			row[d].Add(&row[d-1], base)
		}
		half := &row[perWindow-1]
		base.Add(half, half)
	}
	return t
}

// addMultiple adds s * P to v. Digits run from 1-2^(width-1) to 2^(width-1), so that half a table is enough: what is
// above that is written as itself less 2^width, and one more in the next window.
func (t *table) addMultiple(v *edwards25519.Point, s *edwards25519.Scalar) {
	var bits [40]byte // 32 bytes, and zeros for the windows that reach beyond
	copy(bits[:], s.Bytes())
	perWindow := 1 << (t.width - 1)
	carry := 0
	for i := range len(t.points) / perWindow {
		at := i * t.width
		digit := int(binary.LittleEndian.Uint32(bits[at/8:])>>(at%8))&(2*perWindow-1) + carry
		carry = 0
		if digit > perWindow {
			digit -= 2 * perWindow
			carry = 1
		}
		row := t.points[i*perWindow:][:perWindow]
		switch {
		case digit > 0:
			v.Add(v, &row[digit-1])
		case digit < 0:
			v.Subtract(v, &row[-digit-1])
		}
	}
}
