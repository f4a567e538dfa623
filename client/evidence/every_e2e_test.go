//go:build e2e

package evidence

import (
	"bytes"
	"slices"
	"testing"
)

// TestReallyEveryByte changes every byte of a small pack, and, with the zip file
// mended around it, every 64th byte of the manifest, which no digest in the pack
// covers.
func TestReallyEveryByte(t *testing.T) {
	t.Run("changed", func(t *testing.T) {
		t.Parallel()
		pack := smallPack(t)
		whole, problems := readArchive(bytes.NewReader(pack), int64(len(pack)))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		changed := 0
		for _, p := range placesOf(t, pack) {
			// The files before the one that is changed are read as before: once is enough.
			before, from := whole.members[:p.before], p.from
			if p.content {
				from = int(whole.members[p.before].at) // its header
			}
			for offset := p.from; offset < p.to; offset++ {
				bits := byte(1) << (offset % 8)
				pack[offset] ^= bits
				r := newArchiveReader(bytes.NewReader(pack), bytes.NewReader(pack[from:]), slices.Clone(before), int64(from))
				r.read()
				pack[offset] ^= bits
				p.wantNamed(t, offset, bits, r.problems)
				changed++
			}
		}
		if changed != len(pack) {
			t.Errorf("%d bytes changed of %d", changed, len(pack))
		}
	})
	t.Run("forged", func(t *testing.T) {
		t.Parallel()
		pack := smallPack(t)
		list, _ := unpack(pack)
		for _, f := range list {
			for offset := 0; f.name == nameManifest && offset < len(f.content); offset += 64 {
				forgeByte(t, pack, f.name, offset)
			}
		}
	})
}
