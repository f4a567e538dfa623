package view

import (
	"encoding/json"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// Kind is what a timeline is about.
type Kind string

// The kinds there are.
const (
	Session Kind = "session"
	Change  Kind = "change"
	Person  Kind = "person"
	System  Kind = "system"
)

// Line is one leaf in a timeline.
type Line struct {
	Index    int64     `json:"index"`     // in the log, from 0
	LeafHash tlog.Hash `json:"leaf_hash"` // RFC 6962

	Time         string `json:"time"`          // when it happened, RFC 3339, UTC
	RecordedTime string `json:"recorded_time"` // when its source recorded it
	LogTime      string `json:"log_time"`      // when the log took it

	Type    string `json:"type"` // without prefix and version; in full where the type is not known
	Source  string `json:"source"`
	ID      string `json:"id"`
	Subject string `json:"subject"`
	Session string `json:"session_id,omitempty"`
	Change  string `json:"change_id,omitempty"`

	// Context: the line does not name what was asked for. It is here because it
	// says what a session was in which that happened, or speaks about a line here.
	Context bool `json:"context,omitempty"`
	// Opaque: the type is not known here, and nobody has judged its data.
	Opaque bool `json:"opaque,omitempty"`

	Status     Status      `json:"status"`
	Amendments []Amendment `json:"amendments,omitempty"` // in the order of the log
	Withheld   []Withheld  `json:"withheld,omitempty"`   // what is no longer disclosed

	Summary string `json:"summary"`
	// EffectiveSummary is that of the effective view; empty where it is the same.
	EffectiveSummary string `json:"effective_summary,omitempty"`

	Payload json.RawMessage `json:"payload"` // as it was signed
	// Effective is the payload after its corrections; absent where there are
	// none that count, and where the record was retracted.
	Effective json.RawMessage `json:"effective,omitempty"`
}

// Timeline is everything in the log about one thing, in the order of the log.
type Timeline struct {
	Kind Kind   `json:"kind"`
	ID   string `json:"id"`
	// Sessions and Changes that the lines belong to, without repetition.
	Sessions []string `json:"sessions"`
	Changes  []string `json:"changes"`
	Lines    []Line   `json:"lines"`
}

// Builder folds leaves into a timeline. What it keeps grows with the answer
// and, for changes and systems, with the number of sessions, never with the
// whole log.
type Builder struct {
	kind Kind
	id   string

	leaves  int64
	book    *book
	touched map[string]bool // sessions that belong to the change or system
	picked  map[int64]bool  // indexes, where others chose them
}

// NewBuilder returns a builder for the timeline of one thing.
func NewBuilder(kind Kind, id string) *Builder {
	return &Builder{kind: kind, id: id, book: newBook(), touched: map[string]bool{}}
}

// Add takes the next leaf. The leaves come in the order of the log, from the
// first on. The error says that this leaf is no event, which no log with honest
// software holds.
func (b *Builder) Add(index int64, raw []byte) error {
	b.leaves++
	l, err := parseLeaf(index, raw)
	if err != nil {
		return err
	}
	keep := b.direct(l)
	if keep && (b.kind == Change || b.kind == System) && l.session != "" {
		b.touched[l.session] = true
	}
	// What a session that belongs here was, is known only when it is over, so the
	// milestones of every session are kept until then.
	keep = keep || l.session != "" && (b.kind == Change || b.kind == System) && isMilestone(l.short)
	b.book.add(l, keep)
	return nil
}

// Leaves returns how many leaves were added.
func (b *Builder) Leaves() int64 { return b.leaves }

// direct reports whether a leaf names what the timeline is about.
func (b *Builder) direct(l *leaf) bool {
	switch b.kind {
	case Session:
		return l.session == b.id || l.sessions[b.id] || l.opaque && l.event.Extensions["correlationid"] == b.id
	case Change:
		return l.change == b.id || l.changes[b.id]
	case Person:
		return l.persons[b.id]
	case System:
		return l.systems[b.id]
	case Picked:
		return b.picked[l.index]
	}
	return false
}

// isMilestone: the events that say what a session was.
func isMilestone(short string) bool {
	switch short {
	case "session.requested", "session.approved", "session.denied", "session.grant_revoked", "escort.assigned", "escort.handed_off",
		"session.started", "session.ended", "session.attested", "session.reviewed", "recording.finalized", "recording.failed":
		return true
	}
	return false
}

// Timeline returns the timeline of the leaves added so far.
func (b *Builder) Timeline() *Timeline {
	t := &Timeline{Kind: b.kind, ID: b.id, Sessions: []string{}, Changes: []string{}, Lines: []Line{}}
	chosen := map[*record]bool{}
	for _, r := range b.book.records {
		direct := b.direct(r.leaf)
		context := b.touched[r.session] && isMilestone(r.short)
		// A record about a chosen one is chosen with it, and so on.
		for _, about := range r.about {
			context = context || chosen[about]
		}
		if !direct && !context {
			continue
		}
		chosen[r] = true
		line := r.line()
		line.Context = !direct
		t.Lines = append(t.Lines, line)
		t.Sessions = appendNew(t.Sessions, r.session)
		t.Changes = appendNew(t.Changes, r.change)
	}
	return t
}

func appendNew(list []string, s string) []string {
	if s == "" || slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

func (r *record) line() Line {
	ev := r.event
	line := Line{
		Index: r.index, LeafHash: r.hash, Time: stamp(ev.Time), RecordedTime: stamp(ev.RecordedTime), LogTime: stamp(r.logTime()),
		Type: r.short, Source: ev.Source, ID: ev.ID, Subject: ev.Subject, Session: r.session, Change: r.change, Opaque: r.opaque,
		Summary: summary(r.data), Payload: r.entry.Payload,
	}
	e := r.effective()
	line.Status, line.Amendments, line.Withheld = e.status, e.amendments, e.withheld
	if e.status != Corrected {
		return line
	}
	// A map of what encoding/json decoded is always encodable.
	line.Effective, _ = json.Marshal(e.payload)
	if after := summary(objectAt(e.payload, "data")); after != line.Summary {
		line.EffectiveSummary = after
	} else {
		line.EffectiveSummary = strings.Join(changedPaths(e.ops), ", ") + " corrected"
	}
	return line
}

func objectAt(v any, name string) map[string]any {
	o, _ := v.(map[string]any)
	inner, _ := o[name].(map[string]any)
	return inner
}

func changedPaths(ops []operation) (paths []string) {
	for _, op := range ops {
		if op.op != "test" {
			paths = append(paths, op.path)
		}
	}
	return paths
}
