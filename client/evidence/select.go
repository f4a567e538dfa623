package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/client/view"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// Selector is fed with every leaf of a log, in order, and finds those that
// answer a question. It keeps what package view keeps, and the indexes of the
// authority leaves.
type Selector struct {
	query     Query
	from, to  time.Time
	builder   *view.Builder        // nil: a rule's findings choose
	amends    map[[32]byte][]int64 // indexes of what speaks about an event; for rules only
	identity  map[int64][32]byte   // of the leaves in amends
	authority []int64
	leaves    int64
}

// NewSelector returns a selector for a question about a session, a change, a
// person, a system or a rule.
func NewSelector(q Query) (*Selector, error) {
	s := &Selector{query: q, amends: map[[32]byte][]int64{}, identity: map[int64][32]byte{}}
	var err error
	if s.from, s.to, err = q.bounds(); err != nil {
		return nil, fmt.Errorf("the question's bounds: %w", err)
	}
	bounded := !s.from.IsZero() || !s.to.IsZero()
	switch {
	case q.ID == "":
		return nil, errors.New("the question names nothing")
	case !s.to.IsZero() && !s.from.Before(s.to):
		return nil, fmt.Errorf("%s is not before %s", q.From, q.To)
	case q.Kind == Rule && bounded:
		return nil, errors.New("what a rule found is not bounded by time")
	case q.Kind == Rule:
	case q.Kind == view.Session, q.Kind == view.Change, q.Kind == view.Person, q.Kind == view.System:
		s.builder = view.NewBuilder(q.Kind, q.ID)
	default:
		return nil, fmt.Errorf("nobody can be asked about a %q", q.Kind)
	}
	return s, nil
}

// Add takes the next leaf.
func (s *Selector) Add(index int64, leaf []byte) error {
	s.leaves++
	e, err := entry.Parse(leaf)
	if err != nil {
		return fmt.Errorf("leaf %d: %w", index, err)
	}
	ev, err := event.Parse(e.Payload)
	if err != nil {
		return fmt.Errorf("leaf %d: %w", index, err)
	}
	if event.IsAuthority(ev.Type) {
		s.authority = append(s.authority, index)
	}
	if s.builder != nil {
		return s.builder.Add(index, leaf)
	}
	if strings.HasPrefix(ev.Type, event.Prefix+"record.") {
		s.amendment(index, ev)
	}
	return nil
}

// Leaves returns how many leaves were added.
func (s *Selector) Leaves() int64 { return s.leaves }

// amendment remembers which record a correction, retraction or redaction is about.
func (s *Selector) amendment(index int64, ev *event.Event) {
	var data struct {
		Target struct {
			Source string `json:"source"`
			ID     string `json:"id"`
		} `json:"target"`
	}
	if json.Unmarshal(ev.Data, &data) != nil || data.Target.ID == "" {
		return
	}
	about := entry.Identity(data.Target.Source, data.Target.ID)
	s.amends[about] = append(s.amends[about], index)
	s.identity[index] = entry.Identity(ev.Source, ev.ID)
}

// about returns the indexes of everything that speaks about the event of a leaf
// before it, and about that, and so on.
func (s *Selector) about(index int64, identity [32]byte) (indexes []int64) {
	for _, i := range s.amends[identity] {
		if i > index {
			indexes = append(append(indexes, i), s.about(i, s.identity[i])...)
		}
	}
	return indexes
}

// Timeline returns the timeline that answers a question about a session, a
// change, a person or a system.
func (s *Selector) Timeline() *view.Timeline {
	t := s.builder.Timeline()
	narrow(t, s.from, s.to)
	return t
}

// newBuilder returns what makes the timeline of a question from the leaves of a
// pack. chosen are the indexes that answer a question about a rule.
func newBuilder(q Query, chosen []int64) *view.Builder {
	if q.Kind != Rule {
		return view.NewBuilder(q.Kind, q.ID)
	}
	return view.NewPick(q.ID, chosen)
}

// chosen are the leaves that a manifest says were asked for.
func (m *Manifest) chosen() (indexes []int64) {
	for _, l := range m.Leaves {
		if slices.Contains(l.For, ForQuery) {
			indexes = append(indexes, l.Index)
		}
	}
	return indexes
}

// timelineOf is what a builder has made of the leaves of a pack.
func timelineOf(b *view.Builder, q Query) (*view.Timeline, error) {
	from, to, err := q.bounds()
	if err != nil {
		return nil, err
	}
	t := b.Timeline()
	narrow(t, from, to)
	return t, nil
}

// narrow keeps the lines of what happened in a time: those about what was asked
// for, the context of their sessions, and whatever later speaks about a line
// that is kept.
func narrow(t *view.Timeline, from, to time.Time) {
	if from.IsZero() && to.IsZero() {
		return
	}
	within := func(l *view.Line) bool {
		at, err := time.Parse(time.RFC3339Nano, l.Time)
		return err == nil && !l.Context && !at.Before(from) && (to.IsZero() || at.Before(to))
	}
	sessions, about := map[string]bool{}, map[int64]bool{}
	for i := range t.Lines {
		if l := &t.Lines[i]; within(l) && l.Session != "" {
			sessions[l.Session] = true
		}
	}
	kept := []view.Line{}
	t.Sessions, t.Changes = []string{}, []string{}
	for i := range t.Lines {
		l := t.Lines[i]
		direct := within(&l)
		if !direct && !(l.Context && sessions[l.Session]) && !about[l.Index] {
			continue
		}
		l.Context = !direct
		for _, a := range l.Amendments {
			about[a.Index] = true
		}
		kept = append(kept, l)
		t.Sessions, t.Changes = appendNew(t.Sessions, l.Session), appendNew(t.Changes, l.Change)
	}
	t.Lines = kept
}

func appendNew(list []string, s string) []string {
	if s == "" || slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// relevant keeps the findings about the leaves of an answer; those of the rule
// that was asked for are all kept. It returns the leaves on which they rest.
func relevant(q Query, verdicts []rules.Verdict, answer map[int64]bool) (kept []rules.Verdict, on []int64, count int64) {
	kept = slices.Clone(verdicts)
	for i := range kept {
		v := &kept[i]
		findings := []rules.Finding{}
		for _, f := range v.Findings {
			in := q.Kind == Rule && q.ID == v.Name
			for _, ref := range f.Refs {
				in = in || answer[ref.Index]
			}
			if !in || q.Kind == Rule && q.ID != v.Name {
				continue
			}
			findings = append(findings, f)
			count++
			for _, ref := range f.Refs {
				on = append(on, ref.Index)
			}
		}
		v.Findings = findings
	}
	slices.Sort(on)
	return kept, slices.Compact(on), count
}
