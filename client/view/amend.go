package view

import (
	"fmt"
	"slices"

	"github.com/escortlog/escortlog/log/event"
)

// Status says what later records made of one.
type Status string

// The statuses there are. A record that was both corrected and redacted is
// corrected; what is withheld stands beside it.
const (
	AsRecorded Status = "as recorded"
	Corrected  Status = "corrected"
	Retracted  Status = "retracted" // its source takes it back: there is no effective view
	Redacted   Status = "redacted"  // some of its content is no longer disclosed
)

// Amendment is a later record about a record.
type Amendment struct {
	Index   int64    `json:"index"` // of the later record
	LogTime string   `json:"log_time"`
	Type    string   `json:"type"` // record.corrected, record.retracted, record.redacted
	Reason  string   `json:"reason"`
	By      []string `json:"by"`              // pseudonyms of who corrects, retracts or authorises
	Approve string   `json:"approved_by"`     // pseudonym; empty for a redaction
	Under   string   `json:"under,omitempty"` // what a redaction rests on: a law, a court's order
	// NotApplied says why it does not count; empty where it does.
	NotApplied string `json:"not_applied,omitempty"`
}

// record is a leaf that is kept, with what later ones say about it.
type record struct {
	*leaf
	about  []*record // the kept records that it is about
	amends []*record // later corrections, retractions and redactions of it, in the order of the log
}

// book keeps records and finds them again by source and id.
type book struct {
	records []*record // in the order of the log
	byName  map[[32]byte]*record
}

func newBook() *book { return &book{byName: map[[32]byte]*record{}} }

// add keeps a leaf where that is wanted, or where it is about one that is kept.
func (b *book) add(l *leaf, keep bool) *record {
	r := &record{leaf: l}
	for _, t := range l.targets {
		if about := b.byName[t.identity()]; about != nil {
			r.about = append(r.about, about)
		}
	}
	if !keep && len(r.about) == 0 {
		return nil
	}
	switch l.short {
	case "record.corrected", "record.retracted", "record.redacted":
		for _, about := range r.about {
			about.amends = append(about.amends, r)
		}
	}
	b.records = append(b.records, r)
	// The first of a name stays: an audit refuses a log with a second one.
	if name := l.identity(); b.byName[name] == nil {
		b.byName[name] = r
	}
	return r
}

// effect is what is left of a record.
type effect struct {
	status     Status
	payload    any // after corrections
	ops        []operation
	amendments []Amendment
	withheld   []Withheld
}

// Withheld is content that its submitter no longer discloses. The leaf, and the
// commitment in it, stay.
type Withheld struct {
	Path  string `json:"path"`  // JSON pointer into the payload
	Under string `json:"under"` // what the redaction rests on
}

// effective applies everything that was said about a record later. Records are
// about earlier ones only, so this ends.
func (r *record) effective() effect {
	e := effect{status: AsRecorded}
	// Parse took it for an object.
	e.payload, _ = decodeAny(r.entry.Payload)
	redacted := false
	for _, a := range r.amends {
		am := a.amendment()
		am.NotApplied = r.refuses(a)
		if am.NotApplied == "" {
			am.NotApplied = e.apply(a)
		}
		redacted = redacted || am.NotApplied == "" && a.short == "record.redacted"
		e.amendments = append(e.amendments, am)
	}
	if redacted && e.status == AsRecorded {
		e.status = Redacted
	}
	return e
}

// apply lets one amendment count and returns why it does not.
func (e *effect) apply(a *record) string {
	// The amendment itself may have been corrected.
	self := a.effective()
	if self.status == Retracted {
		return "it was retracted itself"
	}
	data := objectAt(self.payload, "data")
	switch a.short {
	case "record.redacted":
		paths, _ := data["paths"].([]any)
		for _, p := range paths {
			e.withheld = append(e.withheld, Withheld{Path: text(p), Under: text(data["legal_ref"])})
		}
	case "record.retracted":
		e.status = Retracted
	case "record.corrected":
		if e.status == Retracted {
			return "the record had been retracted"
		}
		ops, err := patchOf(data)
		if err != nil {
			return err.Error()
		}
		after, err := applyPatch(e.payload, ops)
		if err != nil {
			return err.Error()
		}
		e.payload, e.status, e.ops = after, Corrected, append(e.ops, ops...)
	}
	return ""
}

// refuses says why an amendment has no power over this record.
func (r *record) refuses(a *record) string {
	for _, t := range a.targets {
		if t.identity() == r.identity() && t.leafHash != "" && t.leafHash != fmt.Sprintf("%x", r.hash[:]) {
			return "it names another leaf hash than that of this record"
		}
	}
	if a.short != "record.redacted" && a.event.Source != r.event.Source {
		return "it comes from another source than the record"
	}
	if event.IsAuthority(r.event.Type) {
		return "who may sign is changed by authority events only"
	}
	return ""
}

func (r *record) amendment() Amendment {
	am := Amendment{Index: r.index, LogTime: stamp(r.logTime()), Type: r.short, Reason: text(r.data["reason"]), Under: text(r.data["legal_ref"]), By: []string{}}
	for _, member := range []string{"corrected_by", "retracted_by"} {
		if by := text(objectAt(r.data, member)["ref"]); by != "" {
			am.By = append(am.By, by)
		}
	}
	if list, ok := r.data["authorised_by"].([]any); ok {
		for _, v := range list {
			if o, ok := v.(map[string]any); ok {
				am.By = append(am.By, text(o["ref"]))
			}
		}
	}
	slices.Sort(am.By)
	am.Approve = text(objectAt(r.data, "approved_by")["ref"])
	return am
}
