package event

import (
	"encoding/hex"
	"strings"
)

// NewUUIDv7 returns the UUIDv7 of RFC 9562 section 5.7 with the time ms,
// milliseconds since the epoch, and 74 of the 80 random bits given. A caller
// that needs the same id for the same record each time (an importer) passes the
// record's time and a digest of it instead of random bits.
func NewUUIDv7(ms int64, random [10]byte) string {
	b := [16]byte{byte(ms >> 40), byte(ms >> 32), byte(ms >> 24), byte(ms >> 16), byte(ms >> 8), byte(ms)}
	copy(b[6:], random[:])
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

func isUUIDv7(s string) bool {
	return len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' &&
		s[14] == '7' && strings.IndexByte("89ab", s[19]) >= 0 &&
		isHex(s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:], 32)
}

// isULID checks https://github.com/ulid/spec: 26 characters of Crockford's
// base32 in upper case, of which the first carries three bits.
func isULID(s string) bool {
	if len(s) != 26 || s[0] > '7' {
		return false
	}
	for _, c := range []byte(s) {
		if strings.IndexByte("0123456789ABCDEFGHJKMNPQRSTVWXYZ", c) < 0 {
			return false
		}
	}
	return true
}
