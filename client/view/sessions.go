package view

import (
	"cmp"
	"slices"
	"time"
)

// Filter chooses sessions. The zero Filter chooses all.
type Filter struct {
	System string    // it touched this system
	Person string    // this person took part or decided
	From   time.Time // it was open, or asked for, at this time or later; zero: any
	To     time.Time // it was open, or asked for, before this time; zero: any
}

// SessionRow is one session in a list, as the records of the log show it. Times
// are those of the events, RFC 3339, UTC; empty where there is no such event.
// Where records were corrected, the row shows the effective view and says so.
type SessionRow struct {
	Session   string   `json:"session_id"`
	First     int64    `json:"first_index"`
	Last      int64    `json:"last_index"`
	Events    int64    `json:"events"` // its leaves; not those that name it in a list, such as heartbeats
	Requested string   `json:"requested"`
	Approved  string   `json:"approved"`
	Started   string   `json:"started"`
	Ended     string   `json:"ended"`
	Attested  string   `json:"attested"`
	FirstLog  string   `json:"first_log_time"` // when the log took its first event
	LastLog   string   `json:"last_log_time"`
	Systems   []string `json:"systems"`
	Engineers []string `json:"engineers"` // pseudonyms
	Escorts   []string `json:"escorts"`
	Approvers []string `json:"approvers"`
	Commands  int64    `json:"commands"` // executed
	Blocked   int64    `json:"blocked"`
	Changes   []string `json:"changes"`
	Amended   int64    `json:"amended"` // corrections, retractions and redactions among its events

	begin, end time.Time
	persons    map[string]bool
	systems    map[string]bool
}

// Lister folds leaves into the list of sessions. It keeps a row a session and
// the few records that a row is made of.
type Lister struct {
	filter Filter
	leaves int64
	book   *book
	rows   map[string]*SessionRow
}

// NewLister returns a lister of the sessions that the filter chooses.
func NewLister(f Filter) *Lister {
	return &Lister{filter: f, book: newBook(), rows: map[string]*SessionRow{}}
}

// Add takes the next leaf; see [Builder.Add].
func (s *Lister) Add(index int64, raw []byte) error {
	s.leaves++
	l, err := parseLeaf(index, raw)
	if err != nil {
		return err
	}
	r := s.book.add(l, l.session != "" && isMilestone(l.short))
	session := l.session
	if session == "" && r != nil {
		session = r.about[0].session
	}
	if session == "" {
		return nil
	}
	row := s.rows[session]
	if row == nil {
		row = &SessionRow{
			Session: session, First: index, FirstLog: stamp(l.logTime()), Systems: []string{}, Engineers: []string{}, Escorts: []string{},
			Approvers: []string{}, Changes: []string{}, persons: map[string]bool{}, systems: map[string]bool{},
		}
		s.rows[session] = row
	}
	row.take(l)
	return nil
}

// Leaves returns how many leaves were added.
func (s *Lister) Leaves() int64 { return s.leaves }

// take counts a leaf into its session's row.
func (row *SessionRow) take(l *leaf) {
	row.Last, row.LastLog = l.index, stamp(l.logTime())
	row.Events++
	row.Changes = appendNew(row.Changes, l.change)
	for p := range l.persons {
		row.persons[p] = true
	}
	for id := range l.systems {
		row.systems[id] = true
	}
	switch l.short {
	case "command.executed":
		row.Commands++
	case "command.blocked":
		row.Blocked++
	case "record.corrected", "record.retracted", "record.redacted":
		row.Amended++
	}
	if row.begin.IsZero() || l.event.Time.Before(row.begin) {
		row.begin = l.event.Time
	}
	if l.event.Time.After(row.end) {
		row.end = l.event.Time
	}
}

// fill reads the effective view of a session's milestone into its row.
func (row *SessionRow) fill(r *record) {
	e := r.effective()
	if e.status == Retracted {
		return
	}
	data := objectAt(e.payload, "data")
	at := stamp(r.event.Time)
	person := func(member string) string { return text(objectAt(data, member)["ref"]) }
	switch r.short {
	case "session.requested":
		row.Requested = cmp.Or(row.Requested, at)
		row.Engineers = appendNew(row.Engineers, person("requester"))
	case "session.approved":
		row.Approved = cmp.Or(row.Approved, at)
		row.Approvers = appendNew(row.Approvers, person("approver"))
	case "escort.assigned":
		row.Escorts = appendNew(row.Escorts, person("escort"))
	case "escort.handed_off":
		row.Escorts = appendNew(row.Escorts, person("to"))
	case "session.started":
		row.Started = cmp.Or(row.Started, at)
		row.Engineers = appendNew(row.Engineers, person("engineer"))
		row.Escorts = appendNew(row.Escorts, person("escort"))
	case "session.ended":
		row.Ended = at
	case "session.attested":
		row.Attested = cmp.Or(row.Attested, at)
	}
}

// Sessions returns the rows, by the index of each session's first leaf.
func (s *Lister) Sessions() []SessionRow {
	for _, r := range s.book.records {
		if row := s.rows[r.session]; row != nil && isMilestone(r.short) {
			row.fill(r)
		}
	}
	list := []SessionRow{}
	for _, row := range s.rows {
		for id := range row.systems {
			row.Systems = appendNew(row.Systems, id)
		}
		slices.Sort(row.Systems)
		if s.filter.chooses(row) {
			list = append(list, *row)
		}
	}
	slices.SortFunc(list, func(a, b SessionRow) int { return cmp.Compare(a.First, b.First) })
	return list
}

func (f Filter) chooses(row *SessionRow) bool {
	switch {
	case f.System != "" && !row.systems[f.System],
		f.Person != "" && !row.persons[f.Person],
		!f.From.IsZero() && row.end.Before(f.From),
		!f.To.IsZero() && !row.begin.Before(f.To):
		return false
	}
	return true
}
