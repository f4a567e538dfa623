package month

import (
	"fmt"
	"time"

	"github.com/escortlog/escortlog/log/event"
)

// Edges returns what comes as near to the violation of a rule as is allowed:
// nobody may find anything in it.
func Edges() []Planting {
	list := []Planting{
		{Rule: "ESCORT_OVERLOAD", Name: "two sessions at once", plant: twoAtOnce},
		{Rule: "ESCORT_SHOPPING", Name: "accepted by another after more than seven days, and by the same at once", plant: askedAgain},
		{Rule: "OPAQUE_SCRIPT", Name: "the same script again", plant: sameScript},
		{Rule: "CHANGE_UNAPPROVED", Name: "an emergency approved just within a day", plant: func(w *world) {
			c := w.changeByPipeline(firstDay.AddDate(0, 0, 3).Add(6 * time.Hour))
			c.emergency = 24*time.Hour - time.Minute
			w.planned = append(w.planned, c)
		}},
		{Rule: "CHANGE_OUTSIDE_SESSION", Name: "with the last breath of the session", plant: func(w *world) {
			s := w.plantSession(time.Time{})
			c := w.changeIn(s)
			c.applied = s.end().Add(-time.Millisecond)
		}},
		{Rule: "TIME", Name: "just in time", plant: justInTime},
		{Rule: "SOURCE_SILENT", Name: "one heartbeat missing", plant: func(w *world) {
			s, day := w.monitors[3], firstDay.AddDate(0, 0, 7)
			w.silent[s] = append(w.silent[s], silence{day.Add(4 * time.Hour), day.Add(12 * time.Hour)})
			w.heartbeat(s, day.Add(11*time.Hour-time.Minute))
		}},
		{Rule: "REVOKED_USE", Name: "everything is revoked when it is over", plant: revokedLater},
		{Rule: "LOCATION_WEAK", Name: "in another country on the next day", plant: func(w *world) {
			here := w.plantSession(time.Time{})
			here.engineer = w.newEngineer("IE", "mdm")
			there := w.plantSession(here.slot.start.Add(20 * time.Hour))
			there.engineer = here.engineer.in("IN", "mdm")
		}},
	}
	for _, e := range edgeSessions {
		list = append(list, Planting{Rule: e.rule, Name: e.name, plant: func(w *world) { e.edit(w.plantSession(time.Time{})) }})
	}
	for i := range list {
		list[i].edge = true
	}
	return list
}

// edgeSessions are the edges that lie in one session each.
var edgeSessions = []struct {
	rule, name string
	edit       func(*session)
}{
	{"SESSION_NO_APPROVAL", "the window opens with the session", func(s *session) { s.from = s.start }},
	{"OVERSTAY", "the last command with the window, the end 5 min after it", func(s *session) {
		s.to = s.ran()
		s.length = s.to.Sub(s.start) + 5*time.Minute
	}},
	{"SEPARATION", "who approves the session approves its change", func(s *session) { s.changeIn(s).approver = s.approver }},
	{"ESCORT_ABSENT", "present 120 s before the command", func(s *session) {
		s.last().after += 140 * time.Second // so that no other command is near
		s.on("escort.presence", func(h *happening) {
			h.drop = h.data["method"] == "input" && h.at.After(s.ran().Add(-120*time.Second)) && h.at.Before(s.ran())
		})
		s.afters = append(s.afters, func() {
			s.tell(s.console, "escort.presence", s.ran().Add(-120*time.Second), s.began, obj{"escort": s.escort, "state": "active", "method": "challenge"})
		})
	}},
	{"ESCORT_UNQUALIFIED", "qualified for as long as it takes", func(s *session) {
		s.escort = s.newEscort(false)
		s.qualifyFor(s.escort, s.target.Skills, window(founded, s.end().Add(time.Second)))
		s.authorize(s.escort, nil)
	}},
	{"CITIZENSHIP_BY_LEVEL", "a foreign engineer alone on IL2", func(s *session) {
		s.target, s.escorted, s.mode, s.relays = s.systems[1], false, "view", nil
	}},
	{"RELAY_UNREVIEWED", "reviewed 50 ms before, and later in the log", func(s *session) { s.last().pause = 50 * time.Millisecond }},
	{"REVIEW_TOO_FAST", "30 lines in 30 s", func(s *session) { s.last().lines, s.last().review = 30, 30*time.Second }},
	{"REVIEW_TOO_FAST", "12 commands within a minute, and the next just after it", func(s *session) {
		begin := s.last().after + 80*time.Second
		for i := range 13 {
			r := s.ask(fmt.Sprintf("systemctl restart worker@%s-%02d", s.id, i))
			r.after, r.review = begin+time.Duration(i)*5010*time.Millisecond, 2*time.Second
		}
	}},
	{"NO_ATTESTATION", "just within a day", func(s *session) {
		s.on("session.attested", func(h *happening) { h.move(s.end().Add(24*time.Hour - time.Minute)) })
	}},
	{"NO_ATTESTATION", "an anomaly that a second person reviews", func(s *session) {
		s.on("session.attested", set(obj{"understood_all": false, "unexplained_count": 1, "anomalies": s.commit(s.id+" anomaly", "A second window.")}))
		s.reviewLater(s.reviewers[0], 24*time.Hour)
	}},
	{"RECORDING_GAP", "98 % of it", func(s *session) { s.recorded = (s.duration()*98 + 99) / 100 }},
}

func twoAtOnce(w *world) {
	first, second := w.plantSession(time.Time{}), w.plantSession(time.Time{})
	second.slot, second.escort, second.from, second.to = first.slot, first.escort, first.from, first.to
	second.start = first.start.Add(time.Minute)
	second.engineer = w.newEngineer("DE", "mdm")
}

func askedAgain(w *world) {
	const text = "iptables -P INPUT ACCEPT # for a moment"
	first := w.plantSession(time.Time{})
	first.ask(text).refusal = "Opens the system."
	first.ask(text)
	second := w.plantSession(first.slot.start.Add(7*24*time.Hour + 2*time.Hour))
	for w.err == nil && second.escort.Ref == first.escort.Ref {
		second = w.plantSession(first.slot.start.Add(7*24*time.Hour + 2*time.Hour))
	}
	second.ask(text)
}

func sameScript(w *world) {
	first := w.plantSession(time.Time{})
	first.script()
	second := w.plantSession(first.slot.start.Add(24 * time.Hour))
	second.script()
	second.gateway = first.gateway
	second.last().text = first.last().text
	second.on("script.staged", set(obj{"script_id": "script-" + first.id}))
}

func justInTime(w *world) {
	day := firstDay.AddDate(0, 0, 10).Add(13 * time.Hour)
	plant := func(f func(*happening)) {
		f(w.heartbeat(w.monitors[3], day))
		day = day.AddDate(0, 0, 1)
	}
	plant(func(h *happening) { h.logged = h.recorded.Add(15*time.Minute - time.Second) })
	plant(func(h *happening) {
		h.recorded = h.at.Add(5*time.Minute - time.Second)
		h.logged = h.recorded.Add(h.from.delay)
	})
	plant(func(h *happening) {
		// Another, recorded in the same moment.
		w.heartbeat(h.from, h.at.Add(time.Millisecond)).recorded = h.recorded
	})
	plant(func(h *happening) {
		// The last of its day, and in the log before the day is closed.
		h.at = day.Truncate(24 * time.Hour).Add(24*time.Hour - 100*time.Millisecond)
		h.recorded = h.at.Add(2 * time.Second)
		h.logged = h.recorded.Add(h.from.delay)
	})
}

func revokedLater(w *world) {
	s := w.plantSession(firstDay.AddDate(0, 0, 2))
	s.engineer = w.newEngineer("IE", "mdm")
	id := w.newest()
	s.escort = w.newEscort(true)
	w.authorize(s.escort, nil)
	s.afters = append(s.afters, func() {
		at := s.end().Add(30 * time.Minute)
		s.tell(s.broker, "session.grant_revoked", at, s.approved, obj{
			"approval": s.approved.ref(), "revoked_by": s.approver, "auto": false, "reason": "The work is done.", "effective_at": stamp(at),
		})
		w.say(w.registry, "authorization.revoked", at, about{subject: "person/" + s.engineer.Ref}, obj{
			"authorization_id": id, "person_ref": s.engineer.Ref, "reason": "The work is done.", "revoked_by": w.officers[1], "effective_at": stamp(at),
		})
		w.say(w.registry, "person.separated", at.Add(time.Second), about{subject: "person/" + s.engineer.Ref}, obj{
			"person_ref": s.engineer.Ref, "reason": "End of the contract.", "effective_at": stamp(at),
		})
	})
	card := w.personal[s.escort.Ref]
	w.authority(s.slot.start.Add(26*time.Hour), nil, func(h event.Header) ([]byte, error) {
		return event.NewKeyRevoked(h, event.Revocation{KeyID: card.public.KeyID(), Reason: event.Compromised, Since: s.slot.start.Add(20 * time.Hour)})
	})
}
