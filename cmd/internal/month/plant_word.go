package month

import "time"

var wordPlantings = []Planting{
	{Rule: "CORRECTION_ABUSE", Name: "approved by who corrects; identity, place, time, digest, decision; a retraction that nobody approves", plant: func(w *world) {
		one, two := w.officers[1], w.officers[2]
		replace := func(path string, value any) obj { return obj{"op": "replace", "path": path, "value": value} }
		for _, f := range []func(s *session, at time.Time) *happening{
			func(s *session, at time.Time) *happening {
				return w.correct(s.broker, s.requested, at, replace("/data/reason", "Another reason."), one, one)
			},
			func(s *session, at time.Time) *happening {
				return w.correct(s.broker, s.requested, at, replace("/data/requester/ref", "p-e01"), one, two)
			},
			func(s *session, at time.Time) *happening {
				return w.correct(s.broker, s.requested, at, replace("/data/targets/0/id", "sys-02"), one, two)
			},
			func(s *session, at time.Time) *happening {
				return w.correct(s.broker, s.approved, at, replace("/data/window/not_after", stamp(at)), one, two)
			},
			func(s *session, at time.Time) *happening {
				return w.correct(s.gateway, s.relays[0].executed, at, replace("/data/match_digest", matchDigest("another text")), one, two)
			},
			func(s *session, at time.Time) *happening {
				return w.correct(s.console, s.relays[0].reviewed, at, replace("/data/decision", "rejected"), one, two)
			},
			func(s *session, at time.Time) *happening {
				target := s.relays[0].received
				return w.say(s.console, "record.retracted", at, about{subject: "record/" + target.id, session: s.id}, obj{
					"target": target.ref(), "reason": "Told twice.", "retracted_by": one, "approved_by": one, "session_id": s.id,
				})
			},
		} {
			s := w.plantSession(time.Time{})
			s.afters = append(s.afters, func() { w.expect("CORRECTION_ABUSE", "event/"+f(s, s.end().Add(50*time.Minute)).id) })
		}
	}},
}
