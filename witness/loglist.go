package witness

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/escortlog/escortlog/log/checkpoint"
)

// logListHeader is the first line of a log list that is neither empty nor a comment.
const logListHeader = "logs/v0"

// emptyLogList is what Init writes.
const emptyLogList = `# The logs this witness cosigns, in the log list format of the witness network.
# A log with several keys has several entries of the same origin; each of its
# keys alone is enough to sign a checkpoint. Changes take effect at the next request.
logs/v0
`

// LogEntry is one key of a log. The log list format of the witness network
// (https://witness-network.org) has one entry a key:
//
//	logs/v0
//
//	# a comment
//	vkey example.com/log+a0b1c2d3+AZ…
//	origin example.com/log
//	qpd 86400
//	contact ops@example.com
//
// The origin defaults to the key's name. qpd is how many add-checkpoint
// requests a day the log announced. Some lines are additions of this witness: url, where the
// log's checkpoint and tiles are; "mirror yes" for a log of which a full copy
// is kept; and token-file, ca-file, tls-cert and tls-key, files that reading it takes. Other
// lines are ignored.
type LogEntry struct {
	Key     *checkpoint.Verifier
	Origin  string
	URL     string // may be empty
	Contact string // may be empty
	QPD     int64  // 0: not said
	Mirror  bool   // keep a full copy
	Access  Access

	first, last int // lines of the file, counted from zero, last is after the entry
}

// Access is files by which a mirror reads a log that is not open to everybody, each as in
// mirror.Remote. All may be empty.
type Access struct{ TokenFile, CAFile, TLSCert, TLSKey string }

// ParseLogList reads a log list. Entries whose key cannot be used are left
// out and reported in skipped, a wrong line is an error.
func ParseLogList(data []byte) (entries []LogEntry, skipped []error, err error) {
	var header bool
	var cur *LogEntry // nil before the first vkey line and after one that was skipped
	var sawKey bool
	number := 0
	for line := range strings.Lines(string(data)) {
		at := number
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if !header {
			if line != logListHeader {
				return nil, nil, fmt.Errorf("line %d: a log list begins with %q, not %.60q", at+1, logListHeader, line)
			}
			header = true
			continue
		}
		key, value, _ := strings.Cut(line, " ")
		value = strings.TrimSpace(value)
		if key == "vkey" {
			sawKey = true
			cur = nil
			v, err := checkpoint.ParseVKey(value)
			if err != nil {
				skipped = append(skipped, fmt.Errorf("line %d: %w", at+1, err))
				continue
			}
			entries = append(entries, LogEntry{Key: v, Origin: v.Name(), first: at, last: number})
			cur = &entries[len(entries)-1]
			continue
		}
		if !sawKey {
			return nil, nil, fmt.Errorf("line %d: an entry begins with a vkey line, not %.60q", at+1, line)
		}
		if cur == nil {
			continue
		}
		if err := cur.set(key, value); err != nil {
			return nil, nil, fmt.Errorf("line %d: %w", at+1, err)
		}
		cur.last = number
	}
	if !header {
		return nil, nil, fmt.Errorf("a log list begins with the line %q; this one is empty", logListHeader)
	}
	return entries, skipped, nil
}

func (e *LogEntry) set(key, value string) error {
	switch key {
	case "origin":
		if len(value) == 0 || len(value) > checkpoint.MaxName {
			return fmt.Errorf("an origin has 1 to %d bytes, not %d", checkpoint.MaxName, len(value))
		}
		e.Origin = value
	case "qpd":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 1 {
			return fmt.Errorf("qpd %.40q is not a number of requests a day", value)
		}
		e.QPD = n
	case "url":
		u, err := url.Parse(value)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return fmt.Errorf("url %.100q is not an http or https URL", value)
		}
		e.URL = value
	case "contact":
		e.Contact = value
	case "token-file":
		e.Access.TokenFile = value
	case "ca-file":
		e.Access.CAFile = value
	case "tls-cert":
		e.Access.TLSCert = value
	case "tls-key":
		e.Access.TLSKey = value
	case "mirror":
		if value != "yes" && value != "no" {
			return fmt.Errorf("mirror %.40q is neither yes nor no", value)
		}
		e.Mirror = value == "yes"
	}
	return nil
}

// text returns the entry as a log list has it.
func (e LogEntry) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nvkey %s\n", e.Key.VKey())
	if e.Origin != e.Key.Name() {
		fmt.Fprintf(&b, "origin %s\n", e.Origin)
	}
	if e.URL != "" {
		fmt.Fprintf(&b, "url %s\n", e.URL)
	}
	if e.QPD != 0 {
		fmt.Fprintf(&b, "qpd %d\n", e.QPD)
	}
	if e.Contact != "" {
		fmt.Fprintf(&b, "contact %s\n", e.Contact)
	}
	if e.Mirror {
		b.WriteString("mirror yes\n")
	}
	for _, file := range []struct{ key, path string }{
		{"token-file", e.Access.TokenFile}, {"ca-file", e.Access.CAFile}, {"tls-cert", e.Access.TLSCert}, {"tls-key", e.Access.TLSKey},
	} {
		if file.path != "" {
			fmt.Fprintf(&b, "%s %s\n", file.key, file.path)
		}
	}
	return b.String()
}

// ErrKnownKey says that a log list has that key already.
var ErrKnownKey = errors.New("the log list has this key already")

// ErrOtherLog says that it has it as a key of another log. It wraps ErrKnownKey.
var ErrOtherLog = fmt.Errorf("%w, of another log", ErrKnownKey)

// ErrUnknownLog says that a log list has no such log.
var ErrUnknownLog = errors.New("the log list has no such log")

// addEntry returns the list with one more entry; what it held stays as it was.
func addEntry(list []byte, e LogEntry) ([]byte, error) {
	entries, skipped, err := ParseLogList(list)
	if err = errors.Join(append(skipped, err)...); err != nil {
		return nil, err
	}
	for _, old := range entries {
		if old.Key.VKey() == e.Key.VKey() {
			known := ErrKnownKey
			if old.Origin != e.Origin {
				known = ErrOtherLog
			}
			return nil, fmt.Errorf("%w: %s (origin %q)", known, e.Key, old.Origin)
		}
	}
	out := string(list)
	if !strings.HasSuffix(out, "\n") {
		out += "\n"
	}
	out += e.text()
	// What is written is read back first: a line break in a contact must not become an entry.
	if again, skipped, err := ParseLogList([]byte(out)); err != nil || len(skipped) != 0 || len(again) != len(entries)+1 {
		return nil, errors.Join(fmt.Errorf("the entry of %s cannot be written", e.Key), err)
	}
	return []byte(out), nil
}

// removeEntries returns the list without the entries that match, which are given by origin or by vkey.
func removeEntries(list []byte, originOrVKey string) ([]byte, int, error) {
	entries, _, err := ParseLogList(list)
	if err != nil {
		return nil, 0, err
	}
	lines := strings.SplitAfter(string(list), "\n")
	removed := 0
	for _, e := range entries {
		if e.Origin != originOrVKey && e.Key.VKey() != originOrVKey {
			continue
		}
		removed++
		for i := e.first; i < e.last; i++ {
			lines[i] = ""
		}
	}
	if removed == 0 {
		return nil, 0, fmt.Errorf("%w: %.100q", ErrUnknownLog, originOrVKey)
	}
	return []byte(strings.Join(lines, "")), removed, nil
}
