package month

import (
	"fmt"
	"slices"
	"time"

	"github.com/escortlog/escortlog/log/event"
)

// Planting plants violations of one rule.
type Planting struct {
	Rule  string // whose violations they are
	Name  string // what is done
	plant func(*world)
	edge  bool // it plants none: see Edges
}

// Plantings returns all of them, by the number of their rules.
func Plantings() []Planting {
	return slices.Concat(
		approvalPlantings, changePlantings, peoplePlantings, placePlantings,
		relayPlantings, evidencePlantings, sourcePlantings, wordPlantings,
	)
}

// plantSession plans an unremarkable session to be broken: an engineer from
// abroad on an IL4 system, with an escort who is an employee.
func (w *world) plantSession(from time.Time) *session {
	s := w.newSession(from)
	for w.err == nil && s.escort.Employment != "employee" {
		// The slot is used for an ordinary session.
		s = w.newSession(from)
	}
	s.engineer = w.engineers[(s.slot.start.Day()+s.slot.turn*(len(w.engineers)/sessionsAtOnce))%len(w.engineers)]
	s.target = w.systems[0]
	return s
}

// eachSession plants one violation in a session of its own for each function
// given, which a rule has to find there.
func eachSession(rule string, breakIt ...func(*session)) func(*world) {
	return func(w *world) {
		for _, f := range breakIt {
			s := w.plantSession(time.Time{})
			f(s)
			w.expect(rule, s.ref())
		}
	}
}

// eachChange does the same with changes that no session makes.
func eachChange(rule string, breakIt ...func(*change)) func(*world) {
	return func(w *world) {
		for i, f := range breakIt {
			c := w.changeByPipeline(firstDay.AddDate(0, 0, 1+i).Add(7*time.Hour + time.Duration(len(w.planned))*time.Minute))
			f(c)
			w.planned = append(w.planned, c)
			w.expect(rule, c.ref())
		}
	}
}

// set returns an edit that changes members of the data.
func set(data obj) func(*happening) {
	return func(h *happening) { h.data = merge(h.data, data) }
}

// last is the last relay of a session.
func (s *session) last() *relay { return s.relays[len(s.relays)-1] }

// ofLast limits an edit of instruction.received or instruction.reviewed to the
// last instruction.
func (s *session) ofLast(edit func(*happening)) func(*happening) {
	id := fmt.Sprintf("%s/ins-%d", s.id, len(s.relays))
	return func(h *happening) {
		if h.data["instruction_id"] == id {
			edit(h)
		}
	}
}

// ran is when the last command of a session is run.
func (s *session) ran() time.Time {
	r := s.last()
	return s.start.Add(r.after + r.review + r.pause)
}

var approvalPlantings = []Planting{
	{Rule: "SESSION_NO_APPROVAL", Name: "none, for another system, for fewer privileges, or afterwards", plant: eachSession("SESSION_NO_APPROVAL",
		func(s *session) {
			s.without("session.approved")
			s.on("session.started", set(obj{"approval": nil}))
		},
		func(s *session) { s.on("session.approved", set(obj{"targets": []system{s.systems[3]}})) },
		func(s *session) { s.on("session.approved", set(obj{"privileges": []string{"service.read"}})) },
		func(s *session) {
			s.on("session.approved", func(h *happening) { h.move(s.start.Add(time.Minute)) })
			s.on("session.started", set(obj{"approval": nil}))
			s.on("escort.assigned", func(h *happening) { h.move(s.start.Add(-time.Minute)) })
		},
		func(s *session) { s.from = s.start.Add(30 * time.Second) },
	)},
	{Rule: "OVERSTAY", Name: "a command after the window, an end long after it", plant: eachSession("OVERSTAY",
		func(s *session) { s.to = s.ran().Add(-time.Second) },
		func(s *session) {
			s.to = s.ran().Add(time.Second)
			s.length = s.ran().Sub(s.start) + 6*time.Minute
		},
	)},
}

var changePlantings = []Planting{
	{Rule: "CHANGE_OUTSIDE_SESSION", Name: "on another system than the session's, or after its end", plant: func(w *world) {
		for _, f := range []func(*session, *change){
			func(_ *session, c *change) { c.target = w.systems[3] },
			func(s *session, c *change) { c.applied = s.end().Add(10 * time.Minute) },
		} {
			s := w.plantSession(time.Time{})
			c := w.changeIn(s)
			f(s, c)
			c.afters = append(c.afters, func() { w.expect("CHANGE_OUTSIDE_SESSION", "event/"+c.application.id) })
		}
	}},
	{Rule: "CHANGE_OUTSIDE_SESSION", Name: "by a pipeline that nobody allowed", plant: eachChange("CHANGE_OUTSIDE_SESSION",
		func(c *change) {
			for _, typ := range []string{"change.proposed", "change.applied", "change.verified"} {
				c.on(typ, set(obj{"pipeline_ref": "laptop/" + c.id}))
			}
		},
	)},
	{Rule: "CHANGE_UNAPPROVED", Name: "never, afterwards, or an emergency approved late or never", plant: eachChange("CHANGE_UNAPPROVED",
		func(c *change) { c.without("change.approved") },
		func(c *change) {
			c.on("change.approved", func(h *happening) { h.move(c.applied.Add(time.Hour)) })
		},
		func(c *change) { c.emergency = 25 * time.Hour },
		func(c *change) {
			c.emergency = time.Hour
			c.without("change.approved")
		},
	)},
	{Rule: "CHANGE_DIGEST_DRIFT", Name: "reviewed, approved and applied differ", plant: eachChange("CHANGE_DIGEST_DRIFT",
		func(c *change) { c.on("change.reviewed", set(obj{"reviewed_digest": digest("another text")})) },
		func(c *change) {
			c.on("change.applied", set(obj{"applied_digest": digest("another text")}))
			c.on("change.verified", set(obj{"verified_digest": digest("another text")}))
		},
	)},
	{Rule: "CHANGE_DIGEST_DRIFT", Name: "a system drifts without a change", plant: func(w *world) {
		target := w.systems[5]
		w.drift(firstDay.AddDate(0, 0, 4).Add(8*time.Hour), target, digest("nobody's"), "")
		w.expect("CHANGE_DIGEST_DRIFT", "system/"+target.ID)
	}},
}

var peoplePlantings = []Planting{
	{Rule: "SEPARATION", Name: "one person in two roles of a session", plant: eachSession("SEPARATION",
		func(s *session) { s.engineer = s.escort.as("engineer") },
		func(s *session) { s.on("session.requested", set(obj{"requester": s.approver.as("requester")})) },
		func(s *session) { s.approver = s.escort.as("approver") },
		func(s *session) {
			s.engineer = s.citizens[s.slot.turn]
			s.approver = s.engineer.as("approver")
			s.on("session.requested", set(obj{"requester": s.officers[0].as("requester")}))
		},
		func(s *session) {
			s.afters = append(s.afters, func() {
				s.tell(s.console, "session.reviewed", s.end().Add(20*time.Hour), s.began, obj{
					"reviewer": s.escort.as("reviewer"), "attestation": nil, "outcome": "confirmed", "method": "records", "notes": nil,
				})
			})
		},
	)},
	{Rule: "SEPARATION", Name: "one person in two roles of a change", plant: eachChange("SEPARATION",
		func(c *change) { c.reviewer = c.author.as("reviewer") },
		func(c *change) { c.approver = c.author.as("approver") },
	)},
	{Rule: "ESCORT_ABSENT", Name: "no word for more than 120 s, or away", plant: eachSession("ESCORT_ABSENT",
		func(s *session) {
			s.last().after += 140 * time.Second // so that no other command is near
			s.on("escort.presence", func(h *happening) { h.drop = h.at.After(s.ran().Add(-130*time.Second)) && h.at.Before(s.ran()) })
		},
		func(s *session) {
			s.last().after += 100 * time.Second
			s.on("escort.presence", func(h *happening) {
				if h.at.After(s.ran().Add(-91*time.Second)) && h.at.Before(s.ran()) {
					h.data["state"] = "away"
				}
			})
		},
	)},
	{Rule: "ESCORT_OVERLOAD", Name: "a third session at once", plant: func(w *world) {
		first := w.plantSession(time.Time{})
		for i := range 2 {
			s := w.plantSession(time.Time{})
			s.slot, s.escort, s.start, s.from, s.to = first.slot, first.escort, first.start.Add(time.Duration(i+1)*time.Minute), first.from, first.to
			s.engineer = w.engineers[(slices.Index(w.engineers, first.engineer)+1+i)%len(w.engineers)]
			if i == 1 {
				w.expect("ESCORT_OVERLOAD", s.ref())
			}
		}
	}},
	{Rule: "ESCORT_UNQUALIFIED", Name: "a skill that is missing, one that has lapsed, no authorisation", plant: func(w *world) {
		s := w.plantSession(time.Time{})
		s.target = w.newSystem("IL4", []string{"linux", "windows"}, declared, s)
		w.expect("ESCORT_UNQUALIFIED", s.ref())

		s = w.plantSession(time.Time{})
		s.escort = w.newEscort(false)
		w.qualifyFor(s.escort, skills[:4], window(founded.AddDate(-1, 0, 0), firstDay.Add(-time.Hour)))
		w.authorize(s.escort, nil)
		w.expect("ESCORT_UNQUALIFIED", s.ref())

		s = w.plantSession(time.Time{})
		s.escort = w.newEscort(true)
		w.expect("ESCORT_UNQUALIFIED", s.ref())
	}},
	{Rule: "CITIZENSHIP_BY_LEVEL", Name: "without an escort, or on IL6", plant: eachSession("CITIZENSHIP_BY_LEVEL",
		func(s *session) { s.escorted, s.mode, s.relays = false, "view", nil },
		func(s *session) { s.target = s.secret[0] },
	)},
}

// newSystem registers a system with a plan of its own, on which the people of a
// session may work.
func (w *world) newSystem(level string, required []string, p plan, s *session) system {
	w.extra++
	x := system{fmt.Sprintf("sys-x%02d", w.extra), level, "gov-west", "agency-b", required}
	w.registerSystem(x)
	w.declare("ssp-"+x.ID, []system{x}, p)
	w.authorize(s.escort, []system{x})
	w.authorize(s.engineer, []system{x})
	return x
}

// newEscort enrolls an escort with a card, qualified or not, and without an
// authorisation.
func (w *world) newEscort(qualified bool) person {
	w.extra++
	p := w.escorts[0]
	p.Ref = fmt.Sprintf("p-x%02d", w.extra)
	w.enroll(p, w.officers[0])
	w.card(p, event.RoleEscort)
	if qualified {
		w.qualify(p, skills[:4])
	}
	return p
}

// newEngineer enrolls and authorises an engineer who is somewhere. One of whom
// nobody knows where cannot be enrolled.
func (w *world) newEngineer(country, how string) person {
	w.extra++
	p := w.engineers[0].in(country, how)
	p.Ref = fmt.Sprintf("p-x%02d", w.extra)
	if country != "" {
		w.enroll(p, w.officers[0])
	}
	w.authorize(p, nil)
	return p
}
