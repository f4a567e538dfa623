package fixedbase

import (
	"encoding/binary"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// A table holds multiples of one point, by which any multiple of it is a sum: for window i of a scalar, of width bits,
// and each digit d from 1 to 2^(width-1), the point d * 2^(i*width) * P. It is the method of section 4 of "High-speed
// high-security signatures" (https://ed25519.cr.yp.to/ed25519-20110926.pdf), with all windows in the table and
// none of its constant time: what is verified is public.
type table struct {
	width  int
	points []affine // 2^(width-1) of each window
}

// newTable computes the table of p. A width of 5 makes 832 points in 100 KB, one of 8 makes 4,096 in 480 KB.
func newTable(p *edwards25519.Point, width int) *table {
	perWindow := 1 << (width - 1)
	windows := 255/width + 1
	multiples := make([]edwards25519.Point, windows*perWindow)
	base := new(edwards25519.Point).Set(p)
	for i := range windows {
		row := multiples[i*perWindow:][:perWindow]
		row[0].Set(base)
		for d := 1; d < perWindow; d++ {
			row[d].Add(&row[d-1], base)
		}
		half := &row[perWindow-1]
		base.Add(half, half)
	}
	return &table{width: width, points: affinePoints(multiples)}
}

// addMultiple adds k * P to s. Digits run from 1-2^(width-1) to 2^(width-1), so that half a table is enough: what is
// above that is written as itself less 2^width, and one more in the next window.
func (t *table) addMultiple(s *sum, k *edwards25519.Scalar) {
	var bits [40]byte // 32 bytes, and zeros for the windows that reach beyond
	copy(bits[:], k.Bytes())
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
			s.add(&row[digit-1])
		case digit < 0:
			s.subtract(&row[-digit-1])
		}
	}
}

// affine is a point as it is added: y-x, y+x and 2dxy, where d is that of the curve.
type affine struct{ minus, plus, xy2d field.Element }

// d2 is 2d, -2 * 121665/121666 (RFC 8032 section 5.1).
var d2 = func() *field.Element {
	one := new(field.Element).One()
	inverse := new(field.Element).Invert(new(field.Element).Mult32(one, 121666))
	return inverse.Negate(inverse.Mult32(inverse, 2*121665))
}()

// affinePoints divides all coordinates by their Z, with one inversion for all: that of the product, from which each
// factor is taken off in turn.
func affinePoints(points []edwards25519.Point) []affine {
	before := make([]field.Element, len(points)) // the product of those before
	product := new(field.Element).One()
	for i := range points {
		before[i].Set(product)
		_, _, z, _ := points[i].ExtendedCoordinates()
		product.Multiply(product, z)
	}
	inverse := product.Invert(product) // of the product up to the point that is at hand
	result := make([]affine, len(points))
	for i := len(points) - 1; i >= 0; i-- {
		x, y, z, _ := points[i].ExtendedCoordinates()
		zInverse := before[i].Multiply(&before[i], inverse)
		x.Multiply(x, zInverse)
		y.Multiply(y, zInverse)
		inverse.Multiply(inverse, z)
		a := &result[i]
		a.minus.Subtract(y, x)
		a.plus.Add(y, x)
		a.xy2d.Multiply(a.xy2d.Multiply(x, y), d2)
	}
	return result
}

// sum is a point in extended coordinates: x = X/Z, y = Y/Z, xy = T/Z.
type sum struct{ x, y, z, t field.Element }

func newSum() *sum {
	s := new(sum) // the neutral element, (0, 1)
	s.y.One()
	s.z.One()
	return s
}

// add is https://hyperelliptic.org/EFD/g1p/auto-twisted-extended-1.html#addition-madd-2008-hwcd-3, which holds for any
// two points of this curve.
func (s *sum) add(p *affine) {
	var c, d field.Element
	c.Multiply(&s.t, &p.xy2d)
	d.Add(&s.z, &s.z)
	s.combine(&p.minus, &p.plus, new(field.Element).Subtract(&d, &c), new(field.Element).Add(&d, &c))
}

// subtract adds -p, of which the x is that of p with the other sign.
func (s *sum) subtract(p *affine) {
	var c, d field.Element
	c.Multiply(&s.t, &p.xy2d)
	d.Add(&s.z, &s.z)
	s.combine(&p.plus, &p.minus, new(field.Element).Add(&d, &c), new(field.Element).Subtract(&d, &c))
}

// combine is the rest of both: y-x and y+x of what is added, F and G.
func (s *sum) combine(minus, plus, f, g *field.Element) {
	var a, b, e, h field.Element
	a.Multiply(a.Subtract(&s.y, &s.x), minus)
	b.Multiply(b.Add(&s.y, &s.x), plus)
	e.Subtract(&b, &a)
	h.Add(&b, &a)
	s.x.Multiply(&e, f)
	s.y.Multiply(g, &h)
	s.t.Multiply(&e, &h)
	s.z.Multiply(f, g)
}

// encode returns the encoding of the point (RFC 8032 section 5.1.2).
func (s *sum) encode() []byte {
	var x, y, zInverse field.Element
	zInverse.Invert(&s.z)
	x.Multiply(&s.x, &zInverse)
	b := y.Multiply(&s.y, &zInverse).Bytes()
	b[31] |= byte(x.IsNegative() << 7)
	return b
}
