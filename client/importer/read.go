package importer

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/escortlog/escortlog/log/event"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// readRecord reads what a system's table needs of a record. Lone surrogates are
// the record's own affair, as long as nobody reads them.
func readRecord(record jsontext.Value, into any) error {
	return jsonv2.Unmarshal(record, into, jsontext.AllowInvalidUTF8(true))
}

// readTime reads an RFC 3339 time, in any zone, since the epoch.
func readTime(s string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || at.UnixMilli() < 0 {
		return time.Time{}, fmt.Errorf("%q is not a time", s)
	}
	return at.UTC(), nil
}

// observed is a draft that states no more than that there is a record.
func observed(at time.Time, kind, recordID, category, outcome string) *draft {
	return &draft{
		typ: event.TypeRecordObserved, time: at, kind: kindName(kind), recordID: recordID,
		data: map[string]any{}, ext: map[string]any{"category": category, "outcome": outcome},
	}
}

// kindName is a text as data.imported.kind can hold it; the whole stands in the
// record.
func kindName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	for utf8.RuneCountInString(s) > 128 {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// firstID returns the first of the texts that can be an identifier.
func firstID(texts ...string) string {
	for _, s := range texts {
		if isID(s) {
			return s
		}
	}
	return ""
}

// principal is somebody of whom a record does not say which part they have in
// the work, or nil where the record names nobody.
func principal(texts ...string) any {
	if id := firstID(texts...); id != "" {
		return map[string]any{"ref": id, "role": "principal"}
	}
	return nil
}

// started makes a session.started of a draft: of a session on a target, of which
// the record states nothing else.
func (d *draft) started(session, target, protocol string) {
	d.typ, d.subject = event.Prefix+"session.started.v1", "session/"+session
	for _, unknown := range []string{"approval", "account", "engineer", "engineer_mode", "escort", "recording_mode"} {
		d.data[unknown] = nil
	}
	d.data["session_id"] = session
	d.data["target"] = map[string]any{"id": target}
	d.data["protocol"] = protocol
}

// ended makes a session.ended of a draft.
func (d *draft) ended(session, reason string) {
	d.typ, d.subject = event.Prefix+"session.ended.v1", "session/"+session
	d.data["session_id"] = session
	d.data["reason"] = reason
	d.data["ended_by"], d.data["counts"], d.data["last_sequence"] = nil, nil, nil
}

// observe fills a record.observed; target and session may be empty.
func (d *draft) observe(actor any, target, session string) {
	d.data["actor"] = actor
	if isID(target) {
		d.data["target"] = map[string]any{"id": target}
	}
	if isID(session) {
		d.data["session_id"] = session
	}
}
