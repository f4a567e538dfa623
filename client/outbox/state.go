package outbox

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// record is the body of one frame: what became true at once.
type record struct {
	State   *state    `json:"state,omitempty"` // only in the first frame
	Events  []stored  `json:"events,omitempty"`
	Logged  []logged  `json:"logged,omitempty"`
	Refused []refused `json:"refused,omitempty"`
	// Resigned are pending events under another signature; see Outbox.resign.
	Resigned []stored   `json:"resigned,omitempty"`
	Period   *time.Time `json:"period,omitempty"` // a new open period begins
}

type stored struct {
	Sequence int64           `json:"sequence"`
	Envelope json.RawMessage `json:"envelope"` // DSSE
}

type logged struct {
	Sequence int64 `json:"sequence"`
	Index    int64 `json:"index"`
}

type refused struct {
	Sequence int64  `json:"sequence"`
	Slug     string `json:"slug"`
}

// state is everything that must be known of the events before a frame, apart
// from those that are still pending.
type state struct {
	Source   string    `json:"source"`
	Next     int64     `json:"next"`               // sequence of the next event, from 1
	PrevHash string    `json:"prevhash,omitempty"` // of the next event
	Recorded time.Time `json:"recorded"`           // recordedtime of the newest event
	Logged   int64     `json:"logged"`             // how many events ever
	Refused  int64     `json:"refused"`            // how many events ever
	Sessions []string  `json:"sessions,omitempty"` // open by the events appended, sorted
	// Period is when the open period began; zero: none is counted. Minutes are
	// the logged events since, by the minute of their time.
	Period  time.Time         `json:"period,omitzero"`
	Minutes map[int64]*minute `json:"minutes,omitempty"`
}

// minute counts logged events.
type minute struct {
	Types       map[string]int64 `json:"types"` // by full name
	First, Last int64            // sequences
}

// item is one pending event.
type item struct {
	sequence int64
	id, typ  string
	at       time.Time
	place    place
	index    int   // in the frame's events
	mark     int64 // durable when Outbox.synced has reached it
}

// remembered is an event that was appended lately.
type remembered struct {
	ticket  Ticket
	content [sha256.Size]byte
}

// contentOf is what must be the same for two events of one id to be the same
// event: everything the caller decides but the time, which may be left to Append.
func contentOf(ev *event.Event) [sha256.Size]byte {
	text, err := json.Marshal([]any{ev.Type, ev.Subject, ev.DataSchema, ev.Extensions, string(ev.Data)})
	if err != nil {
		panic(err) // strings and a map of strings
	}
	return sha256.Sum256(text)
}

// maxRemembered is how many ids of events are remembered so that a caller's
// retry is recognised.
const maxRemembered = 4096

// apply takes a record that is in the file at p; mark is reached by the sync
// that makes it durable.
func (o *Outbox) apply(r *record, p place, mark int64) error {
	if r.State != nil {
		if o.state.Source != "" {
			return errors.New("a second state")
		}
		o.state = *r.State
	}
	if o.state.Source == "" {
		return errors.New("no state comes first")
	}
	for i, s := range r.Events {
		if err := o.applyEvent(s, p, i, mark); err != nil {
			return err
		}
	}
	for _, s := range r.Resigned {
		if err := o.applyResigned(s, p, mark); err != nil {
			return err
		}
	}
	for _, l := range r.Logged {
		it := o.take(l.Sequence)
		if it == nil {
			return fmt.Errorf("event %d was logged and is not pending", l.Sequence)
		}
		o.state.Logged++
		o.state.count(it)
	}
	for _, l := range r.Refused {
		if o.take(l.Sequence) == nil {
			return fmt.Errorf("event %d was refused and is not pending", l.Sequence)
		}
		o.state.Refused++
	}
	if len(r.Logged)+len(r.Refused) > 0 {
		o.pending = slices.DeleteFunc(o.pending, func(it *item) bool { return o.bySequence[it.sequence] == nil })
	}
	if r.Period != nil {
		o.state.Period = *r.Period
		from := r.Period.Unix() / 60
		maps.DeleteFunc(o.state.Minutes, func(at int64, _ *minute) bool { return at < from })
	}
	return nil
}

func (o *Outbox) applyEvent(s stored, p place, i int, mark int64) error {
	v, err := entry.ParseEnvelope(s.Envelope)
	if err != nil {
		return err
	}
	ev, err := event.Parse(v.Payload)
	if err != nil {
		return err
	}
	if ev.Source != o.state.Source || ev.SequenceNumber() != s.Sequence {
		return fmt.Errorf("event %d is number %d of %s", s.Sequence, ev.SequenceNumber(), ev.Source)
	}
	// Events behind a state are those that were pending, and older than it.
	if s.Sequence >= o.state.Next {
		if s.Sequence != o.state.Next || ev.PrevHash != o.state.PrevHash {
			return fmt.Errorf("event %d does not follow the one before", s.Sequence)
		}
		o.state.Next++
		o.state.PrevHash = event.PrevHash(v.Payload)
		o.state.Recorded = ev.RecordedTime
		o.state.session(ev)
	}
	it := &item{sequence: s.Sequence, id: ev.ID, typ: ev.Type, at: ev.Time, place: p, index: i, mark: mark}
	o.pending = append(o.pending, it)
	o.bySequence[it.sequence] = it
	o.bytes += int64(p.length)
	o.remember(ev, it)
	return nil
}

func (o *Outbox) applyResigned(s stored, p place, mark int64) error {
	v, err := entry.ParseEnvelope(s.Envelope)
	if err != nil {
		return err
	}
	ev, err := event.Parse(v.Payload)
	if err != nil {
		return err
	}
	it := o.bySequence[s.Sequence]
	if it == nil || it.id != ev.ID || ev.SequenceNumber() != s.Sequence {
		return fmt.Errorf("event %d was signed again and is not pending", s.Sequence)
	}
	o.bytes += int64(p.length - it.place.length)
	it.place, it.index, it.mark = p, 0, mark
	return nil
}

// take removes an event from those that are pending.
func (o *Outbox) take(sequence int64) *item {
	it := o.bySequence[sequence]
	if it != nil {
		delete(o.bySequence, sequence)
		o.bytes -= int64(it.place.length)
	}
	return it
}

func (o *Outbox) remember(ev *event.Event, it *item) {
	if _, known := o.recent[ev.ID]; !known {
		o.recentIDs = append(o.recentIDs, ev.ID)
	}
	o.recent[ev.ID] = remembered{ticket: Ticket{Sequence: it.sequence, ID: ev.ID}, content: contentOf(ev)}
	// The oldest are forgotten, but for those that are pending.
	for len(o.recentIDs) > maxRemembered {
		oldest := o.recent[o.recentIDs[0]].ticket
		if o.bySequence[oldest.Sequence] != nil {
			break
		}
		delete(o.recent, oldest.ID)
		o.recentIDs = o.recentIDs[1:]
	}
}

// count takes a logged event into the totals of the open period.
func (s *state) count(it *item) {
	if s.Period.IsZero() || it.at.Before(s.Period) {
		return
	}
	if s.Minutes == nil {
		s.Minutes = make(map[int64]*minute)
	}
	at := it.at.Unix() / 60
	m := s.Minutes[at]
	if m == nil {
		m = &minute{Types: make(map[string]int64), First: it.sequence, Last: it.sequence}
		s.Minutes[at] = m
	}
	m.Types[it.typ]++
	m.First, m.Last = min(m.First, it.sequence), max(m.Last, it.sequence)
}

// totals sums the minutes of the open period before end.
func (s *state) totals(end time.Time) (totals map[string]int64, first, last int64) {
	totals = make(map[string]int64)
	for at, m := range s.Minutes {
		if at >= end.Unix()/60 {
			continue
		}
		for typ, n := range m.Types {
			totals[typ] += n
		}
		if first == 0 || m.First < first {
			first = m.First
		}
		last = max(last, m.Last)
	}
	return totals, first, last
}

// session follows which sessions are open.
func (s *state) session(ev *event.Event) {
	if ev.Type != typeStarted && ev.Type != typeEnded {
		return
	}
	var data struct {
		SessionID string `json:"session_id"`
	}
	if json.Unmarshal(ev.Data, &data) != nil || data.SessionID == "" {
		return
	}
	i, open := slices.BinarySearch(s.Sessions, data.SessionID)
	switch {
	case ev.Type == typeStarted && !open:
		s.Sessions = slices.Insert(s.Sessions, i, data.SessionID)
	case ev.Type == typeEnded && open:
		s.Sessions = slices.Delete(s.Sessions, i, i+1)
	}
}
