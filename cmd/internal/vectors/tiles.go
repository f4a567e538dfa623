package vectors

import (
	"fmt"
)

// fullNote is the checkpoint of the whole sample log with every signature there
// is.
func (f *files) fullNote(s *sampleLog) string {
	h := s.head(len(s.leaves))
	var signed []string
	for _, k := range s.log {
		signed = append(signed, f.sign(k, h, s.cosigned()))
	}
	for _, w := range witnesses {
		for _, k := range s.by[w.name] {
			signed = append(signed, f.sign(k, h, s.cosigned()))
		}
	}
	return note(h.text(), signed...)
}

func (f *files) sign(k *noteKey, h head, unix uint64) string {
	line, err := k.sign(h, unix)
	f.fail(err)
	return line
}

// tiles writes the sample log as c2sp.org/tlog-tiles serves it. It is smaller
// than one tile.
func (f *files) tiles(s *sampleLog) {
	size := len(s.leaves)
	if size >= 256 {
		f.fail(fmt.Errorf("the sample log has %d leaves, and only one partial tile is written", size))
		return
	}
	var bundle, hashes []byte
	for i, leaf := range s.leaves {
		// "a big-endian uint16 length prefix" before each entry.
		bundle = append(bundle, opaque16(leaf)...)
		hashes = append(hashes, s.hashes[i][:]...)
	}
	f.bytes(fmt.Sprintf("log/tile/entries/000.p/%d", size), bundle)
	f.bytes(fmt.Sprintf("log/tile/0/000.p/%d", size), hashes)
	f.text("log/checkpoint", f.fullNote(s))
}
