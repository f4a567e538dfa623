package evidence

import (
	"encoding/hex"
	"slices"
	"testing"
)

func TestDraw(t *testing.T) {
	// From another program: printf 'escortlog sample v1\n\0\0\0\0\0\0\0\4seed\0\0\0\0\0\0\0\7' | sha256sum
	rank := Rank("seed", 7)
	if got := hex.EncodeToString(rank[:]); got != "0735c5fd3479187a0d5a4bdf873014d825424cb5c9f77da5db70dfe7f0790315" {
		t.Errorf("rank %s", got)
	}
	var population []int64
	for i := range int64(1000) {
		population = append(population, i)
	}
	ten, all := Draw("seed", population, 10), Draw("seed", population, 2000)
	if len(ten) != 10 || len(all) != 1000 || !slices.Equal(all[:10], ten) {
		t.Errorf("%v is not the beginning of %v", ten, all[:10])
	}
	slices.Reverse(population)
	if again := Draw("seed", population, 10); !slices.Equal(again, ten) {
		t.Errorf("%v and %v with one seed", ten, again)
	}
	if other := Draw("another", population, 10); slices.Equal(other, ten) {
		t.Error("another seed draws the same")
	}
	slices.Sort(all)
	if all[0] != 0 || all[999] != 999 || len(slices.Compact(all)) != 1000 {
		t.Error("not each leaf once")
	}
	if none := Draw("seed", nil, 3); len(none) != 0 {
		t.Errorf("%v from nothing", none)
	}
}
