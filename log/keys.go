package log

import (
	"encoding/binary"
	"fmt"

	"github.com/escortlog/escortlog/storage"
)

// What the log keeps in the store, by the first byte of the key. Numbers are
// big-endian, so that Scan goes in the order of the log.
//
//	r <index>        run: the entries that one commit added to one bundle, each
//	                 behind its uint16 length; the runs of a bundle in order are
//	                 the bundle
//	b <N>            sealed bundle N, gzip; replaces the runs of a complete bundle,
//	                 as a rule in the commit that completes it
//	i <index>        identities, 32 bytes each, of the entries from index on;
//	                 split as the runs are, one key for all when sealed
//	t <level> <N>    hash tile, complete: 8,192 bytes; partial tiles are not
//	                 stored, since they follow from what is
//	a <index>        the leaf again, for each authority leaf
//	c                the published checkpoint, when it took a quorum to make
//	e <slot>         evidence ring
//	head             see Head
const (
	prefixRun       = 'r'
	prefixBundle    = 'b'
	prefixIdentity  = 'i'
	prefixTile      = 't'
	prefixAuthority = 'a'
	prefixEvidence  = 'e'
)

var keyPublished = []byte("c")

func numberKey(prefix byte, n int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, uint64(n))
}

func tileKey(level int, n int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixTile, byte(level)}, uint64(n))
}

// keyNumber returns the number at the end of a key that numberKey or tileKey
// made.
func keyNumber(key []byte) (int64, error) {
	want := 9
	if len(key) > 0 && key[0] == prefixTile {
		want = 10
	}
	if len(key) != want {
		return 0, fmt.Errorf("log: key %x has %d bytes, want %d: %w", key, len(key), want, storage.ErrCorrupt)
	}
	return int64(binary.BigEndian.Uint64(key[want-8:])), nil
}

// describeKey names a key for people.
func describeKey(key []byte) string {
	names := map[byte]string{
		prefixRun: "entries from index", prefixBundle: "sealed bundle", prefixIdentity: "identities from index",
		prefixAuthority: "authority leaf", prefixEvidence: "evidence slot",
	}
	n, err := keyNumber(key)
	switch {
	case err != nil || len(key) == 0:
		return fmt.Sprintf("key %x", key)
	case key[0] == prefixTile:
		return fmt.Sprintf("hash tile %d/%d", key[1], n)
	case names[key[0]] != "":
		return fmt.Sprintf("%s %d", names[key[0]], n)
	default:
		return fmt.Sprintf("key %x", key)
	}
}
