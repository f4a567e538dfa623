package rules

import (
	"cmp"
	"slices"
	"time"
)

// session is what is known of a session that is not settled.
type session struct {
	id     string
	facts  []*fact // in the order of the log; of changes only change.applied
	grants []*fact // those of them that are session.approved
	roster []*fact // those that begin or end shifts
	last   time.Time
	queued bool
}

func (s *session) subject() string { return "session/" + s.id }

// first returns the first fact of a type in the order of the log.
func (s *session) first(typ string) *fact {
	for _, f := range s.facts {
		if f.typ == typ {
			return f
		}
	}
	return nil
}

func (e *Engine) sessionOf(id string) *session {
	s, ok := e.sessions[id]
	if !ok {
		s = &session{id: id}
		e.sessions[id] = s
	}
	return s
}

// closing types come after a session and do not open one that is settled.
var closing = []string{"session.attested", "session.reviewed", "recording.finalized", "recording.failed", "recording.segment_sealed"}

// addToSession takes an event of a session.
func (e *Engine) addToSession(id string, f *fact) {
	if _, open := e.sessions[id]; !open && slices.Contains(closing, f.typ) {
		return
	}
	s := e.sessionOf(id)
	switch d := f.data.(type) {
	case *started:
		e.registry.complete(&d.Target)
		if d.Escort != nil {
			e.work.open(d.Escort.Ref, s)
		}
	case *executed:
		if d.Target != nil {
			e.registry.complete(d.Target)
		}
	case *handedOff:
		if d.Accepted {
			e.work.open(d.To.Ref, s)
		}
	case *reviewed:
		e.shop(s, f, d)
	case *staged:
		e.nameScript(s, f, d)
	}
	s.remember(f)
	s.last = f.leaf
	if !s.queued {
		s.queued = true
		e.due.push(dueItem{at: e.settled(s), session: true, id: id})
	}
}

func (s *session) remember(f *fact) {
	s.facts = append(s.facts, f)
	switch f.data.(type) {
	case *approved:
		s.grants = append(s.grants, f)
	case *started, *handedOff, *ended:
		s.roster = append(s.roster, f)
	}
}

// settled returns when, by the log's clock, nothing is expected any more that
// could change what the rules say of a session.
func (e *Engine) settled(s *session) time.Time {
	late := e.cfg.Late.of()
	end, start := s.first("session.ended"), s.first("session.started")
	at := s.last.Add(late)
	switch {
	case end != nil:
		wait := max(e.cfg.Attestation, e.cfg.RecordingFinal).of()
		at = latest(at, later(end).Add(wait+late))
		for _, f := range s.facts {
			if d, ok := f.data.(*attested); ok && d.odd() {
				at = latest(at, later(f).Add(e.cfg.SecondReview.of()+late))
			}
		}
	case start != nil:
		at = latest(at, s.last.Add(e.cfg.SessionMemory.of()+e.cfg.SessionOpen.of()))
		if until, ok := s.granted(start.ref.Index); ok {
			at = latest(at, earliest(until, s.last.AddDate(1, 0, 0)).Add(e.cfg.SessionOpen.of()+late))
		}
	default:
		at = latest(at, s.last.Add(24*time.Hour+late))
		for _, f := range s.grants {
			until := f.data.(*approved).Window.NotAfter
			at = latest(at, earliest(until, s.last.AddDate(1, 0, 0)).Add(24*time.Hour+late))
		}
	}
	return at.Add(time.Millisecond)
}

// later returns the later of when something happened and when it was logged.
func later(f *fact) time.Time { return latest(f.t, f.leaf) }

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// settleSession judges a session for good, or puts it back.
func (e *Engine) settleSession(d dueItem) {
	s := e.sessions[d.id]
	if at := e.settled(s); at.After(d.at) {
		d.at = at
		e.due.push(d)
		return
	}
	e.judgeSession(e.board, s, d.at)
	e.settleWork(s, d.at)
	for _, f := range s.facts {
		if f.typ != "change.applied" {
			e.leave(s.subject(), f)
		}
	}
	delete(e.sessions, s.id)
}

// leave remembers who took part in what is settled.
func (e *Engine) leave(subject string, f *fact) {
	if f.data == nil {
		return
	}
	for _, n := range f.data.people() {
		rec := e.registry.of(n.person.Ref)
		if rec.left == nil || f.t.After(rec.left.fact.t) {
			rec.left = &sighting{role: n.role, person: n.person, fact: f, subject: subject}
		}
	}
}

// view is a session laid out to be judged as of a time.
type view struct {
	*session
	at      time.Time
	events  []*fact // in the order of t
	starts  []*fact
	ends    []*fact
	shifts  []shift
	members []*member
	systems []system // that were worked on

	presences map[string][]*fact // escort.presence by escort, in the order of t
	reviews   map[string][]*fact // instruction.reviewed by digest, in the order of t
	reviewed  map[eventRef]*fact // the same by what names it
	staged    map[string]bool    // digests of scripts
}

// member is a person in a session or change, with everything seen of them.
type member struct {
	ref  string
	seen []sighting
}

func (m *member) facts() (list []*fact) {
	for _, s := range m.seen {
		list = append(list, s.fact)
	}
	return list
}

// access reports whether the person touches or sees systems.
func (m *member) access() bool {
	return slices.ContainsFunc(m.seen, func(s sighting) bool { return s.role.access() })
}

// shift is the time in which somebody escorts a session; to is zero while it
// goes on.
type shift struct {
	escort   string
	session  string
	from, to time.Time
	fact     *fact // session.started or escort.handed_off
}

func (s *session) view(at time.Time) *view {
	v := &view{session: s, at: at, events: byTime(s.facts), shifts: s.shifts(),
		presences: map[string][]*fact{}, reviews: map[string][]*fact{}, reviewed: map[eventRef]*fact{}, staged: map[string]bool{}}
	for _, f := range v.events {
		switch d := f.data.(type) {
		case *started:
			v.starts = append(v.starts, f)
			v.worksOn(d.Target)
		case *executed:
			if d.Target != nil {
				v.worksOn(*d.Target)
			}
		case *ended:
			v.ends = append(v.ends, f)
		case *presence:
			v.presences[d.Escort.Ref] = append(v.presences[d.Escort.Ref], f)
		case *reviewed:
			v.reviews[d.ReviewedDigest] = append(v.reviews[d.ReviewedDigest], f)
			v.reviewed[eventRef{f.ref.Source, f.ref.ID}] = f
		case *staged:
			v.staged[d.Artifact.Digest] = true
		}
	}
	// Who is named in a change is judged with the change.
	v.members = membersOf(slices.DeleteFunc(slices.Clone(v.events), func(f *fact) bool { return f.typ == "change.applied" }))
	return v
}

// byTime returns facts in the order of t.
func byTime(facts []*fact) []*fact {
	list := slices.Clone(facts)
	slices.SortStableFunc(list, func(a, b *fact) int { return a.t.Compare(b.t) })
	return list
}

// lastAt returns the last of facts in the order of t that is not after t.
func lastAt(facts []*fact, t time.Time) *fact {
	n, _ := slices.BinarySearchFunc(facts, t, func(f *fact, t time.Time) int {
		if f.t.After(t) {
			return 1
		}
		return -1
	})
	if n == 0 {
		return nil
	}
	return facts[n-1]
}

// shifts returns who escorted when.
func (s *session) shifts() (list []shift) {
	finish := func(t time.Time) {
		if n := len(list); n > 0 && list[n-1].to.IsZero() {
			list[n-1].to = t
		}
	}
	began := false
	for _, f := range byTime(s.roster) {
		switch d := f.data.(type) {
		case *started:
			if !began && d.Escort != nil {
				list = append(list, shift{escort: d.Escort.Ref, session: s.id, from: f.t, fact: f})
			}
			began = true
		case *handedOff:
			if d.Accepted {
				finish(f.t)
				list = append(list, shift{escort: d.To.Ref, session: s.id, from: f.t, fact: f})
			}
		case *ended:
			finish(f.t)
		}
	}
	return list
}

// membersOf collects the people in events, ordered by pseudonym.
func membersOf(events []*fact) (list []*member) {
	by := map[string]*member{}
	for _, f := range events {
		if f.data == nil {
			continue
		}
		for _, n := range f.data.people() {
			m, ok := by[n.person.Ref]
			if !ok {
				m = &member{ref: n.person.Ref}
				by[m.ref] = m
				list = append(list, m)
			}
			m.seen = append(m.seen, sighting{role: n.role, person: n.person, fact: f})
		}
	}
	slices.SortFunc(list, func(a, b *member) int { return cmp.Compare(a.ref, b.ref) })
	return list
}

// escorted reports whether the session is to be escorted or is.
func (v *view) escorted() bool {
	return len(v.shifts) > 0 || slices.ContainsFunc(v.grants, func(f *fact) bool { return f.data.(*approved).EscortRequired })
}

// escortAt returns who escorts at t, or "".
func (v *view) escortAt(t time.Time) (ref string) {
	for _, s := range v.shifts {
		if !s.from.After(t) && (s.to.IsZero() || !s.to.Before(t)) {
			ref = s.escort
		}
	}
	return ref
}

// granted returns the last instant of the windows granted before a leaf, or of
// the one that the gateway enforces where the log holds no approval.
func (s *session) granted(index int64) (until time.Time, ok bool) {
	for _, f := range s.grants {
		if f.ref.Index < index {
			until, ok = latest(until, f.data.(*approved).Window.NotAfter), true
		}
	}
	if ok {
		return until, true
	}
	for _, f := range s.roster {
		if d, is := f.data.(*started); is && d.Window != nil {
			return d.Window.NotAfter, true
		}
	}
	return until, false
}

// worksOn notes a system that was worked on.
func (v *view) worksOn(s system) {
	if !slices.ContainsFunc(v.systems, func(x system) bool { return x.ID == s.ID }) {
		v.systems = append(v.systems, s)
	}
}

// judgeSession runs every rule on one session.
func (e *Engine) judgeSession(b *board, s *session, at time.Time) {
	v := s.view(at)
	e.sessionNoApproval(b, v)
	e.overstay(b, v)
	e.changeOutsideSession(b, v)
	e.separationInSession(b, v)
	e.escortAbsent(b, v)
	e.escortUnqualified(b, v)
	e.citizenshipByLevel(b, v)
	e.coveredNation(b, v.subject(), v.members)
	e.locationWeak(b, v)
	e.relayUnreviewed(b, v)
	e.reviewTooFast(b, v)
	e.opaqueScript(b, v)
	e.noAttestation(b, v)
	e.recordingGap(b, v)
	e.lifecycle(b, v)
	e.revokedInSession(b, v)
	e.undisclosed(b, v)
}
