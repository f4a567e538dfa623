package view

// Picked is the kind of a timeline of leaves that somebody else chose.
const Picked Kind = "records"

// NewPick returns a builder for the timeline of chosen leaves and what speaks
// about them. id says what they were chosen for.
func NewPick(id string, indexes []int64) *Builder {
	b := NewBuilder(Picked, id)
	b.picked = map[int64]bool{}
	for _, i := range indexes {
		b.picked[i] = true
	}
	return b
}
