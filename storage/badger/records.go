package badger

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strconv"
)

// WALs and value logs are sequences of records:
//
//	meta, user meta     one byte each
//	key length, value length, expiry   unsigned varints
//	key, with the inverted version in its last 8 bytes
//	value
//	CRC-32C of all that, big-endian
//
// In a WAL every transaction ends with a record under endKey, whose value is
// its version in decimal.
const (
	metaPointer = 1 << 1 // the value is in a value log, and its place here
	metaInTxn   = 1 << 6
	metaEndTxn  = 1 << 7
)

var endKey = []byte("!badger!txn")

// record is one record of a log, or the zero record where there is none.
type record struct {
	meta       byte
	key, value []byte
	size       int
}

// parseRecord returns the record that data begins with, if it is whole.
func parseRecord(data []byte) record {
	if len(data) < 2 {
		return record{}
	}
	r := record{meta: data[0]}
	pos := 2
	var lengths [3]uint64 // key, value, expiry
	for i := range lengths {
		v, n := binary.Uvarint(data[pos:])
		if n <= 0 {
			return record{}
		}
		lengths[i], pos = v, pos+n
	}
	keyLen, valueLen := lengths[0], lengths[1]
	if keyLen == 0 || keyLen > 1<<16 || valueLen > 1<<32 || uint64(pos)+keyLen+valueLen+4 > uint64(len(data)) {
		return record{}
	}
	r.key = data[pos : pos+int(keyLen)]
	r.value = data[pos+int(keyLen):][:valueLen]
	end := pos + int(keyLen+valueLen)
	if crc32.Checksum(data[:end], castagnoli) != binary.BigEndian.Uint32(data[end:]) {
		return record{}
	}
	r.size = end + 4
	return r
}

// endOf returns the version of the transaction that r ends, or 0.
func (r record) endOf() uint64 {
	if r.meta&metaEndTxn == 0 {
		return 0
	}
	v, err := strconv.ParseUint(string(r.value), 10, 64)
	if err != nil {
		return 0
	}
	return v
}

// endsIn returns the versions of all transactions whose end stands in data, at
// any offset.
func endsIn(data []byte) []uint64 {
	const before = 5 // meta, user meta, key length, value length, no expiry
	var ends []uint64
	for pos := 0; ; {
		i := bytes.Index(data[pos:], endKey)
		if i < 0 {
			return ends
		}
		pos += i
		if pos >= before {
			if v := parseRecord(data[pos-before:]).endOf(); v > 0 {
				ends = append(ends, v)
			}
		}
		pos += len(endKey)
	}
}
