package event

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/strict"
	"github.com/go-json-experiment/json/jsontext"
)

// SpecVersion is the only CloudEvents version accepted.
const SpecVersion = "1.0"

// ContentType is the only datacontenttype accepted, and what an absent one
// means.
const ContentType = "application/json"

// Event is a parsed payload. Strings are as written; nothing is normalised.
type Event struct {
	SpecVersion     string // always "1.0"
	ID              string // UUIDv7 or ULID, unique within Source for ever
	Source          string // absolute URI, compared byte by byte
	Type            string // such as "dev.escortlog.session.started.v1"
	Subject         string // such as "session/s-1"
	DataContentType string // "application/json", or empty when absent
	DataSchema      string // absolute URI; for a known type its SchemaID

	Time         time.Time // when it happened, UTC
	RecordedTime time.Time // when the source recorded it, UTC

	// Sequence is the place of the event in its source, from 1, 20 digits;
	// empty when the source does not number its events. PrevHash is the hex
	// SHA-256 of the source's payload before this one, empty on the first.
	Sequence, PrevHash string

	// Extensions are all other attributes. A JSON boolean or integer is held
	// as its canonical string ("true", "-7"; CloudEvents 1.0 section 2.4).
	Extensions map[string]string

	// Data is the object, exactly as written. It aliases the payload.
	Data json.RawMessage
}

// SequenceNumber returns Sequence as a number from 1, or 0 when there is none.
func (ev *Event) SequenceNumber() int64 {
	n, _ := strconv.ParseInt(ev.Sequence, 10, 64) // Parse let only numbers that fit through
	return n
}

// Parse reads a payload. Its error is an *Error of kind Malformed, whose
// pointer names the attribute at fault. Parse says nothing about the contents
// of data beyond that it is an object with numbers of sane size; see
// [Validate].
func Parse(payload []byte) (*Event, error) {
	if len(payload) > entry.MaxPayload {
		return nil, malformed("", "the payload has %d bytes, at most %d are allowed", len(payload), entry.MaxPayload)
	}
	if err := strict.Check(payload); err != nil {
		return nil, malformed("", "%v", err)
	}
	ev := &Event{}
	seen := map[string]bool{}
	err := members(payload, func(name string, value json.RawMessage) error {
		if value[0] == 'n' && name != "data" {
			return nil // "a null value MUST be treated as unset" (JSON format 2.2)
		}
		seen[name] = true
		return ev.set(name, value)
	})
	if err != nil {
		return nil, err
	}
	for _, name := range required {
		if !seen[name] {
			return nil, malformed("/"+name, "the event has no %s", name)
		}
	}
	if err := ev.checkChain(); err != nil {
		return nil, err
	}
	return ev, nil
}

var required = [...]string{"specversion", "id", "source", "type", "subject", "time", "recordedtime", "dataschema", "data"}

// members calls fn with each member of the JSON object in payload, which has
// passed strict.Check. The values alias payload.
func members(payload []byte, fn func(name string, value json.RawMessage) error) error {
	// Duplicate names were refused before; not looking for them again is faster.
	d := jsontext.NewDecoder(bytes.NewBuffer(payload), jsontext.AllowDuplicateNames(true))
	if d.PeekKind() != jsontext.KindBeginObject {
		return malformed("", "the payload is not a JSON object")
	}
	if _, err := d.ReadToken(); err != nil {
		return malformed("", "%v", err)
	}
	for d.PeekKind() != jsontext.KindEndObject {
		name, err := d.ReadToken()
		if err != nil {
			return malformed("", "%v", err)
		}
		n := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return malformed("", "%v", err)
		}
		end := d.InputOffset()
		if err := fn(n, json.RawMessage(payload[end-int64(len(value)):end:end])); err != nil {
			return err
		}
	}
	return nil
}

// set stores one member of the event after checking it.
func (ev *Event) set(name string, value json.RawMessage) error {
	switch name {
	case "data":
		if value[0] != '{' {
			return malformed("/data", "data must be a JSON object")
		}
		ev.Data = value
		return checkNumbers(value)
	case "data_base64":
		return malformed("/data_base64", "binary data is not accepted: put a JSON object into data, and large or binary content behind a digest")
	}
	if err := checkName(name); err != nil {
		return err
	}
	s, isString, err := attribute(name, value)
	if err != nil {
		return err
	}
	check, ours := attributes[name]
	if !ours {
		if ev.Extensions == nil {
			ev.Extensions = map[string]string{}
		}
		ev.Extensions[name] = s
		return nil
	}
	if !isString {
		return malformed("/"+name, "%s must be a string", name)
	}
	if problem := check(ev, s); problem != "" {
		return malformed("/"+name, "%s %s", name, problem)
	}
	return nil
}

// checkChain holds sequence and prevhash against each other. Gaps are the
// auditor's: a source whose event was refused has one, and explains it with
// source.gap.
func (ev *Event) checkChain() error {
	if ev.PrevHash == "" {
		return nil
	}
	if ev.Sequence == "" {
		return malformed("/prevhash", "prevhash without a sequence: a source that chains its events also numbers them")
	}
	if ev.SequenceNumber() == 1 {
		return malformed("/prevhash", "the first event of a source has no prevhash")
	}
	return nil
}

// CheckClock refuses an event whose time or recordedtime is more than five
// minutes after nowMS, milliseconds since the epoch. The past is never refused:
// a service may have been down for a week. The error is an *Error of kind
// Invalid.
func CheckClock(ev *Event, nowMS int64) error {
	const tolerance = 5 * time.Minute
	limit := time.UnixMilli(nowMS).Add(tolerance)
	for _, t := range []struct {
		name string
		at   time.Time
	}{{"time", ev.Time}, {"recordedtime", ev.RecordedTime}} {
		if t.at.After(limit) {
			return invalid(SlugFuture, "/"+t.name, "%s is %s, more than %v ahead of the log's clock: set the clock of the source right",
				t.name, t.at.Format(time.RFC3339Nano), tolerance)
		}
	}
	return nil
}

// checkNumbers refuses numbers that readers would round, overflow or choke on
// in different ways: longer than 64 characters, beyond the range of an IEEE 754
// double, or with an exponent of more than three digits (RFC 8259 section 6).
func checkNumbers(data []byte) error {
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			i = stringEnd(data, i)
		case c == '-' || c >= '0' && c <= '9':
			n := 1
			for i+n < len(data) && strings.IndexByte("0123456789+-.eE", data[i+n]) >= 0 {
				n++
			}
			if !saneNumber(string(data[i : i+n])) {
				return malformed("/data", "the number %.70s is out of range", data[i:i+n])
			}
			i += n - 1
		}
	}
	return nil
}

// stringEnd returns the index of the quote that closes the string opened at i.
func stringEnd(data []byte, i int) int {
	for i++; i < len(data) && data[i] != '"'; i++ {
		if data[i] == '\\' {
			i++
		}
	}
	return i
}

func saneNumber(s string) bool {
	if len(s) <= 15 && !strings.ContainsAny(s, "eE") {
		return true
	}
	if len(s) > 64 {
		return false
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 && len(strings.TrimLeft(s[i+1:], "+-")) > 3 {
		return false
	}
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}
