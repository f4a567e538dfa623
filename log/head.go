package log

import (
	"encoding/binary"
	"fmt"

	"github.com/escortlog/escortlog/storage"
	"golang.org/x/mod/sumdb/tlog"
)

// Head is the committed state of the log in a few numbers. The store compares
// and swaps it with every commit, and the guard remembers it.
type Head struct {
	Size int64     // leaves
	Root tlog.Hash // RFC 6962 root over them
	Time int64     // time of the newest leaf, ms since the epoch
	// Covered is the index after the newest authority leaf: the number of
	// leaves a directory must cover to be current.
	Covered int64
}

const (
	headMagic = "ELH1"
	headSize  = len(headMagic) + 8 + 32 + 8 + 8
)

func (h Head) marshal() []byte {
	b := make([]byte, 0, headSize)
	b = append(b, headMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Size))
	b = append(b, h.Root[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Time))
	return binary.BigEndian.AppendUint64(b, uint64(h.Covered))
}

func parseHead(b []byte) (Head, error) {
	if len(b) != headSize || string(b[:len(headMagic)]) != headMagic {
		return Head{}, fmt.Errorf("log: head of %d bytes does not begin with %q: %w", len(b), headMagic, storage.ErrCorrupt)
	}
	b = b[len(headMagic):]
	h := Head{
		Size:    int64(binary.BigEndian.Uint64(b)),
		Root:    tlog.Hash(b[8:40]),
		Time:    int64(binary.BigEndian.Uint64(b[40:])),
		Covered: int64(binary.BigEndian.Uint64(b[48:])),
	}
	if h.Size < 1 || h.Time < 0 || h.Covered < 1 || h.Covered > h.Size {
		return Head{}, fmt.Errorf("log: head %+v makes no sense: %w", h, storage.ErrCorrupt)
	}
	return h, nil
}
