package view

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"golang.org/x/mod/sumdb/tlog"
)

// leaf is one event of the log and what views look for in it.
type leaf struct {
	index  int64
	hash   tlog.Hash
	entry  *entry.Entry
	event  *event.Event
	short  string // its type without prefix and version; the full name where it is not known
	opaque bool

	session, change string
	persons         map[string]bool // pseudonyms of everybody it names
	systems         map[string]bool
	sessions        map[string]bool // named in lists, such as the open sessions of a heartbeat
	changes         map[string]bool
	targets         []ref // the records it is about: target, refs
	data            map[string]any
}

// ref is an EventRef.
type ref struct {
	source, id string
	leafHash   string
}

func parseLeaf(index int64, raw []byte) (*leaf, error) {
	e, err := entry.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("leaf %d: %w", index, err)
	}
	ev, err := event.Parse(e.Payload)
	if err != nil {
		return nil, fmt.Errorf("leaf %d: %w", index, err)
	}
	l := &leaf{
		index: index, hash: entry.LeafHash(raw), entry: e, event: ev, short: ev.Type,
		persons: map[string]bool{}, systems: map[string]bool{}, sessions: map[string]bool{}, changes: map[string]bool{},
	}
	if t, known := event.Lookup(ev.Type); known {
		l.short = t.Short()
	} else {
		l.opaque = true
	}
	if l.data, err = decodeObject(ev.Data); err != nil {
		return nil, fmt.Errorf("leaf %d: %w", index, err)
	}
	l.ids()
	return l, nil
}

// decodeObject decodes a JSON object and keeps its numbers as they are written.
func decodeObject(raw []byte) (map[string]any, error) {
	v, err := decodeAny(raw)
	if err != nil {
		return nil, err
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("not a JSON object")
	}
	return o, nil
}

func decodeAny(raw []byte) (v any, err error) {
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}

// ids finds everything that the leaf names.
func (l *leaf) ids() {
	l.session, l.change = text(l.data["session_id"]), text(l.data["change_id"])
	kind, name, _ := strings.Cut(l.event.Subject, "/")
	switch {
	case kind == "session" && l.session == "":
		l.session = name
	case kind == "change" && l.change == "":
		l.change = name
	case kind == "person":
		l.persons[name] = true
	case kind == "system":
		l.systems[name] = true
	}
	for name, value := range l.data {
		if name != "ext" && name != "imported" { // names of the source's own mean nothing here
			l.walk(name, value)
		}
	}
	l.targets = append(l.targets, eventRefs(l.data["target"])...)
	l.targets = append(l.targets, eventRefs(l.data["refs"])...)
}

func (l *leaf) walk(name string, value any) {
	switch v := value.(type) {
	case map[string]any:
		if ref := text(v["ref"]); ref != "" {
			l.persons[ref] = true
		}
		if id := text(v["id"]); id != "" && (name == "target" || name == "targets" || name == "system") && v["source"] == nil {
			l.systems[id] = true
		}
		for member, inner := range v {
			l.walk(member, inner)
		}
	case []any:
		for _, inner := range v {
			l.walk(name, inner)
		}
	case string:
		switch name {
		case "person_ref", "person_refs":
			l.persons[v] = true
		case "systems", "system_ids":
			l.systems[v] = true
		case "open_sessions", "session_ids":
			l.sessions[v] = true
		case "change_ids":
			l.changes[v] = true
		}
	}
}

// eventRefs returns the EventRefs in a member that holds one or a list.
func eventRefs(value any) (refs []ref) {
	switch v := value.(type) {
	case map[string]any:
		r := ref{text(v["source"]), text(v["id"]), text(v["leaf_hash"])}
		if r.source != "" && r.id != "" {
			refs = append(refs, r)
		}
	case []any:
		for _, inner := range v {
			refs = append(refs, eventRefs(inner)...)
		}
	}
	return refs
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func (l *leaf) identity() [32]byte { return entry.Identity(l.event.Source, l.event.ID) }

func (r ref) identity() [32]byte { return entry.Identity(r.source, r.id) }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// logTime is when the log took the leaf.
func (l *leaf) logTime() time.Time { return time.UnixMilli(l.entry.Time) }
