package checkpoint

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"
)

// decodeBase64 accepts the one canonical encoding of RFC 4648 section 4. The
// decoder of the standard library would skip line breaks.
func decodeBase64(s string) ([]byte, bool) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, false
	}
	b, err := strictBase64.DecodeString(s)
	return b, err == nil
}

var strictBase64 = base64.StdEncoding.Strict()

func encodeBase64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func decodeHash(s string) (h tlog.Hash, ok bool) {
	b, ok := decodeBase64(s)
	if !ok || len(b) != tlog.HashSize {
		return h, false
	}
	return tlog.Hash(b), true
}

// parseDecimal reads "the ASCII decimal representation … with no leading
// zeroes", up to 2^63 - 1.
func parseDecimal(s string) (int64, bool) {
	if s == "" || (s[0] == '0' && s != "0") {
		return 0, false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// validText applies signed-note: "valid UTF-8 and MUST NOT contain any ASCII
// control characters (those below U+0020) other than newline".
func validText(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x20 && c != '\n' {
			return false
		}
	}
	return utf8.ValidString(s)
}

// validKeyName applies signed-note: "Key names MUST be non-empty and MUST NOT
// contain any Unicode spaces or plus (U+002B) characters".
func validKeyName(s string) bool {
	return s != "" && validText(s) && !strings.ContainsRune(s, '+') && strings.IndexFunc(s, unicode.IsSpace) < 0
}
