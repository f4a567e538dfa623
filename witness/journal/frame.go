package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	// fileMagic opens every journal file.
	fileMagic = "escortwitness journal 1\n"
	magic     = "EWJ1"
	headerLen = 4 + 8 + 4 + 4
	sumLen    = sha256.Size
	endByte   = 0xA5
	trailLen  = sumLen + 1

	// maxPayload bounds one frame, so that a length is never a reason to allocate gigabytes.
	maxPayload = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendFrame appends one frame to dst and returns it with the frame's sum.
func appendFrame(dst []byte, seq uint64, prev [sumLen]byte, payload []byte) ([]byte, [sumLen]byte) {
	start := len(dst)
	dst = append(dst, magic...)
	dst = binary.BigEndian.AppendUint64(dst, seq)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(payload)))
	dst = binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
	dst = append(dst, payload...)
	sum := frameSum(prev, dst[start:])
	dst = append(dst, sum[:]...)
	return append(dst, endByte), sum
}

func frameSum(prev [sumLen]byte, headerAndPayload []byte) (sum [sumLen]byte) {
	h := sha256.New()
	h.Write(prev[:])
	h.Write(headerAndPayload)
	h.Sum(sum[:0])
	return sum
}

func appendRecord(dst []byte, key string, value []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(key)))
	dst = append(dst, key...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(value)))
	return append(dst, value...)
}

// position is where the next frame goes and what it is chained to.
type position struct {
	offset int64
	last   int64 // where the frame before begins; offset when there is none
	seq    uint64
	sum    [sumLen]byte
}

// replay reads a whole journal file, calls put for every record in order and
// returns the position after the last complete frame. Bytes after that position are
// a torn tail. Errors wrap ErrCorrupt and name the byte where the damage shows.
func replay(data []byte, put func(key string, value []byte)) (position, error) {
	if !bytes.HasPrefix(data, []byte(fileMagic)) {
		return position{}, fmt.Errorf("%w: it does not begin as a journal of this version does", ErrCorrupt)
	}
	pos := position{offset: int64(len(fileMagic)), last: int64(len(fileMagic))}
	// No complete frame ends in a zero byte, so zeros at the end are space that a crash left unwritten.
	data = bytes.TrimRight(data, "\x00")
	for {
		rest := data[min(pos.offset, int64(len(data))):]
		n, sum, err := checkFrame(rest, pos)
		if err != nil && unwritten(rest, pos) {
			return pos, nil
		}
		if err != nil {
			return position{}, fmt.Errorf("%w: frame %d at byte %d: %w", ErrCorrupt, pos.seq+1, pos.offset, err)
		}
		if n == 0 {
			return pos, nil
		}
		if err := eachRecord(rest[headerLen:n-trailLen], put); err != nil {
			return position{}, fmt.Errorf("%w: frame %d at byte %d: %w", ErrCorrupt, pos.seq+1, pos.offset, err)
		}
		pos = position{offset: pos.offset + int64(n), last: pos.offset, seq: pos.seq + 1, sum: sum}
	}
}

// checkFrame returns the length of the complete frame that rest begins with, or
// 0 if rest is empty or a frame cut short.
func checkFrame(rest []byte, pos position) (n int, sum [sumLen]byte, err error) {
	if len(rest) < headerLen {
		return 0, sum, nil
	}
	if !soundHeader(rest) {
		return 0, sum, errors.New("damaged header")
	}
	if seq := binary.BigEndian.Uint64(rest[4:]); seq != pos.seq+1 {
		return 0, sum, fmt.Errorf("it is numbered %d: frames are missing or out of order", seq)
	}
	length := binary.BigEndian.Uint32(rest[12:])
	if length > maxPayload {
		return 0, sum, fmt.Errorf("impossible length %d", length)
	}
	n = headerLen + int(length) + trailLen
	if len(rest) < n {
		return 0, sum, nil
	}
	sum = frameSum(pos.sum, rest[:n-trailLen])
	if !bytes.Equal(rest[n-trailLen:n-1], sum[:]) || rest[n-1] != endByte {
		return 0, sum, errors.New("its checksum does not match")
	}
	return n, sum, nil
}

// sector is the least that a disk writes whole, in bytes.
const sector = 512

// unwritten reports whether rest is the one frame that was being written when the
// power went, of which a later part reached the disk and an earlier one did not: a
// sector of it is zero. No frame begins or ends with a zero byte, and each frame waits
// for the one before, so none follows.
func unwritten(rest []byte, pos position) bool {
	hole := false
	for from := int64(0); from < int64(len(rest)); {
		to := min(int64(len(rest)), from+sector-(pos.offset+from)%sector)
		hole = hole || len(bytes.Trim(rest[from:to], "\x00")) == 0
		from = to
	}
	if !hole {
		return false
	}
	for at := 1; ; at++ {
		i := bytes.Index(rest[min(at, len(rest)):], []byte(magic))
		if i < 0 {
			return true
		}
		at += i
		if header := rest[at:]; len(header) >= headerLen && soundHeader(header) {
			return false
		}
	}
}

func soundHeader(b []byte) bool {
	return string(b[:4]) == magic && crc32.Checksum(b[:headerLen-4], castagnoli) == binary.BigEndian.Uint32(b[headerLen-4:])
}

func eachRecord(payload []byte, put func(key string, value []byte)) error {
	next := func() ([]byte, bool) {
		if len(payload) < 4 {
			return nil, false
		}
		n := binary.BigEndian.Uint32(payload)
		if uint64(n) > uint64(len(payload)-4) {
			return nil, false
		}
		field := payload[4 : 4+n]
		payload = payload[4+n:]
		return field, true
	}
	for len(payload) > 0 {
		key, ok := next()
		value, ok2 := next()
		if !ok || !ok2 {
			return errors.New("a record does not fit its frame")
		}
		put(string(key), bytes.Clone(value))
	}
	return nil
}
