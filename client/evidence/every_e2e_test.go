//go:build e2e

package evidence

import "testing"

// TestReallyEveryByte changes every byte of a small pack, and, with the zip file
// mended around it, every 64th byte of the manifest, which no digest in the pack
// covers.
func TestReallyEveryByte(t *testing.T) {
	pack := smallPack(t)
	for _, p := range placesOf(t, pack) {
		for offset := p.from; offset < p.to; offset++ {
			spoil(t, pack, offset, 1<<(offset%8), p)
		}
	}
	list, _ := unpack(pack)
	for _, f := range list {
		for offset := 0; f.name == nameManifest && offset < len(f.content); offset += 64 {
			forgeByte(t, pack, f.name, offset)
		}
	}
}
