package event

import (
	"strconv"
	"strings"
	"time"
)

const (
	maxName   = 20   // characters of an attribute name (CloudEvents 1.0 section 2.2 recommends it)
	maxURI    = 1024 // bytes of source and dataschema
	maxString = 2048 // bytes of any other attribute
	maxType   = 128  // bytes of a type
)

// attributes are those that must be strings, each with what it must look like:
// the check stores the value and returns what is wrong with it, or "". All
// other attributes are free, within the CloudEvents type system.
var attributes = map[string]func(ev *Event, s string) string{
	"specversion": func(ev *Event, s string) string {
		ev.SpecVersion = s
		return unless(s == SpecVersion, `must be "1.0"`)
	},
	"id": func(ev *Event, s string) string {
		ev.ID = s
		return unless(isUUIDv7(s) || isULID(s), "must be a UUIDv7 in lower case or a ULID in upper case")
	},
	"source": func(ev *Event, s string) string {
		ev.Source = s
		return unless(isAbsoluteURI(s), "must be an absolute URI without a fragment, at most 1024 bytes")
	},
	"type": func(ev *Event, s string) string {
		ev.Type = s
		return unless(isTypeName(s), "must look like dev.escortlog.<family>.<past-tense>.v1, in lower case")
	},
	"subject": func(ev *Event, s string) string {
		ev.Subject = s
		return unless(s != "", "must not be empty")
	},
	"datacontenttype": func(ev *Event, s string) string {
		ev.DataContentType = s
		return unless(s == ContentType, `must be "application/json" when present`)
	},
	"dataschema": func(ev *Event, s string) string {
		ev.DataSchema = s
		return unless(isAbsoluteURI(s), "must be an absolute URI without a fragment, at most 1024 bytes")
	},
	"time": func(ev *Event, s string) (problem string) {
		ev.Time, problem = parseTime(s)
		return problem
	},
	"recordedtime": func(ev *Event, s string) (problem string) {
		ev.RecordedTime, problem = parseTime(s)
		return problem
	},
	"sequence": func(ev *Event, s string) string {
		ev.Sequence = s
		return unless(isSequence(s), "must be 20 digits, zero-padded, from 1 to 2^63-1")
	},
	"prevhash": func(ev *Event, s string) string {
		ev.PrevHash = s
		return unless(isHex(s, 64), "must be the 64 lower-case hex digits of a SHA-256")
	},
	"correlationid": extension("correlationid", notEmpty),
	"causationid":   extension("causationid", notEmpty),
	"partitionkey":  extension("partitionkey", notEmpty),
	"traceparent":   extension("traceparent", traceParent),
	"tracestate":    extension("tracestate", notEmpty),
}

func extension(name string, check func(string) string) func(*Event, string) string {
	return func(ev *Event, s string) string {
		ev.setExtension(name, s)
		return check(s)
	}
}

func unless(ok bool, problem string) string {
	if ok {
		return ""
	}
	return problem
}

func notEmpty(s string) string { return unless(s != "", "must not be empty") }

// traceParent checks the W3C Trace Context header value, version 00
// (https://www.w3.org/TR/trace-context/#traceparent-header).
func traceParent(s string) string {
	parts := strings.Split(s, "-")
	ok := len(parts) == 4 && parts[0] == "00" &&
		isHex(parts[1], 32) && strings.Trim(parts[1], "0") != "" &&
		isHex(parts[2], 16) && strings.Trim(parts[2], "0") != "" &&
		isHex(parts[3], 2)
	return unless(ok, "must be a W3C traceparent, version 00")
}

// checkName: "attribute names MUST consist of lower-case letters ('a' to 'z')
// or digits" (CloudEvents 1.0 section 2.2).
func checkName(name []byte) error {
	ok := len(name) > 0 && len(name) <= maxName
	for _, c := range name {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9')
	}
	if !ok {
		return malformed("/"+escapePointer(string(name)), "attribute names are 1 to %d characters of a to z and 0 to 9", maxName)
	}
	return nil
}

// attributeValue reads the JSON value of an attribute: a string, a boolean or a
// 32-bit integer (CloudEvents 1.0 section 2.4, JSON format section 2.2). The
// latter two are returned in their canonical string form.
func attributeValue(name []byte, t *tape, value int) (string, error) {
	switch t.tokens[value].kind {
	case '"':
		s := string(t.str(value))
		if len(s) > maxString || hasForbiddenRune(s) {
			return "", malformed("/"+string(name), "%s must be at most %d bytes without control characters and noncharacters", name, maxString)
		}
		return s, nil
	case '{', '[':
		return "", malformed("/"+string(name), "%s must be a string, a boolean or an integer", name)
	case '0':
		raw := string(t.raw(value))
		n, err := strconv.ParseInt(raw, 10, 32)
		if err != nil || strconv.FormatInt(n, 10) != raw {
			return "", malformed("/"+string(name), "%s is a number, but not an integer of 32 bits in its shortest form", name)
		}
	}
	return string(t.raw(value)), nil
}

// hasForbiddenRune: the CloudEvents type String excludes control characters,
// and code points that Unicode calls noncharacters. (Lone surrogates cannot
// reach it.)
func hasForbiddenRune(s string) bool {
	ascii := 0
	for ascii < len(s) && s[ascii] >= 0x20 && s[ascii] < 0x7f {
		ascii++
	}
	for _, r := range s[ascii:] {
		switch {
		case r <= 0x1f, r >= 0x7f && r <= 0x9f, r >= 0xfdd0 && r <= 0xfdef, r&0xfffe == 0xfffe:
			return true
		}
	}
	return false
}

// parseTime reads an RFC 3339 time in UTC, written with an upper-case T and Z
// and at most nine digits of a second. A leap second (:60) is refused, since
// hardly any reader knows it.
func parseTime(s string) (t time.Time, problem string) {
	const shape = "0000-00-00T00:00:00"
	problem = "must be an RFC 3339 time in UTC, such as 2026-01-31T09:30:00.123Z"
	if len(s) <= len(shape) || len(s) > len(shape)+len(".999999999Z") {
		return time.Time{}, problem
	}
	// time.Parse by itself takes an hour of one digit and a comma for a dot.
	for i, c := range []byte(s[:len(shape)]) {
		if digit := c >= '0' && c <= '9'; digit != (shape[i] == '0') || !digit && c != shape[i] {
			return time.Time{}, problem
		}
	}
	t, err := time.Parse("2006-01-02T15:04:05Z", s)
	if err != nil || strings.Contains(s, ",") {
		return time.Time{}, problem
	}
	return t, ""
}

// formatTime writes t so that parseTime reads it back.
func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999999999Z") }

func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isSequence(s string) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	return err == nil && len(s) == 20 && n > 0 && s[0] == '0' // 2^63 has 19 digits; s[0] is no sign
}

// isAbsoluteURI reports whether s is an absolute-URI of RFC 3986 section 4.3:
// a scheme, and no fragment.
func isAbsoluteURI(s string) bool {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || scheme == "" || rest == "" || len(s) > maxURI {
		return false
	}
	for i, c := range []byte(scheme) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c|0x20 >= 'a' && c|0x20 <= 'z', c >= '0' && c <= '9':
		case strings.IndexByte("-._~:/?[]@!$&'()*+,;=", c) >= 0:
		case c == '%' && i+2 < len(rest) && isHex(strings.ToLower(rest[i+1:i+3]), 2):
			i += 2
		default:
			return false
		}
	}
	return true
}

// isTypeName reports whether s is a type name: dotted lower-case words, and of
// the form dev.escortlog.<family>.<name>.v<N> where it begins like ours.
func isTypeName(s string) bool {
	words := strings.Split(s, ".")
	if len(s) > maxType || len(words) < 2 {
		return false
	}
	for _, w := range words {
		if w == "" || w[0] < 'a' || w[0] > 'z' {
			return false
		}
		for _, c := range []byte(w) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
				return false
			}
		}
	}
	if words[0] != "dev" || words[1] != "escortlog" {
		return true
	}
	if len(words) != 5 || strings.Contains(s, "-") {
		return false
	}
	version, err := strconv.ParseUint(words[4][1:], 10, 16)
	return err == nil && version > 0 && words[4] == "v"+strconv.FormatUint(version, 10)
}

// escapePointer escapes a reference token of RFC 6901 section 3.
func escapePointer(token string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(token)
}
