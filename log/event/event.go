package event

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/strict"
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
	t := newTape(payload)
	if t == nil {
		return nil, malformed("", "the payload is not JSON") // strict.Check let it pass, so never
	}
	defer t.free()
	if t.tokens[0].kind != '{' {
		return nil, malformed("", "the payload is not a JSON object")
	}
	ev := &Event{}
	var seen [len(required)]bool
	for m := 1; m < len(t.tokens); m = t.tokens[m+1].next {
		name, value := t.str(m), m+1
		if t.tokens[value].kind == 'n' && string(name) != "data" {
			continue // "a null value MUST be treated as unset" (JSON format 2.2)
		}
		if err := ev.set(name, t, value); err != nil {
			return nil, err
		}
		if i := slices.Index(required[:], string(name)); i >= 0 {
			seen[i] = true
		}
	}
	for i, name := range required {
		if !seen[i] {
			return nil, malformed("/"+name, "the event has no %s", name)
		}
	}
	if err := ev.checkChain(); err != nil {
		return nil, err
	}
	return ev, nil
}

var required = [...]string{"specversion", "id", "source", "type", "subject", "time", "recordedtime", "dataschema", "data"}

// set stores one member of the event after checking it.
func (ev *Event) set(name []byte, t *tape, value int) error {
	switch string(name) {
	case "data":
		if t.tokens[value].kind != '{' {
			return malformed("/data", "data must be a JSON object")
		}
		raw := t.raw(value)
		ev.Data = raw[:len(raw):len(raw)] // so that nobody appends to the payload
		return checkNumbers(t, value)
	case "data_base64":
		return malformed("/data_base64", "binary data is not accepted: put a JSON object into data, and large or binary content behind a digest")
	}
	if err := checkName(name); err != nil {
		return err
	}
	s, err := attributeValue(name, t, value)
	if err != nil {
		return err
	}
	check, ours := attributes[string(name)]
	if !ours {
		ev.setExtension(string(name), s)
		return nil
	}
	if t.tokens[value].kind != '"' {
		return malformed("/"+string(name), "%s must be a string", name)
	}
	if problem := check(ev, s); problem != "" {
		return malformed("/"+string(name), "%s %s", name, problem)
	}
	return nil
}

func (ev *Event) setExtension(name, value string) {
	if ev.Extensions == nil {
		ev.Extensions = map[string]string{}
	}
	ev.Extensions[name] = value
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
func checkNumbers(t *tape, data int) error {
	for i := data; i < t.tokens[data].next; i++ {
		if t.tokens[i].kind == '0' && !saneNumber(string(t.raw(i))) {
			return malformed("/data", "the number %.70s is out of range", t.raw(i))
		}
	}
	return nil
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
