package month

import (
	"time"

	"github.com/escortlog/escortlog/log/event"
)

var evidencePlantings = []Planting{
	{Rule: "NO_ATTESTATION", Name: "none, late, with another's key, with a service's, an anomaly that nobody reviews", plant: eachSession("NO_ATTESTATION",
		func(s *session) { s.without("session.attested") },
		func(s *session) {
			s.on("session.attested", func(h *happening) { h.move(s.end().Add(25 * time.Hour)) })
		},
		func(s *session) {
			s.on("session.attested", func(h *happening) { h.by(s.personal[s.escorts[s.slot.free].Ref]) })
		},
		func(s *session) { s.on("session.attested", func(h *happening) { h.by(s.console) }) },
		func(s *session) {
			s.on("session.attested", set(obj{"understood_all": false, "unexplained_count": 1, "anomalies": s.commit(s.id+" anomaly", "A second window.")}))
		},
	)},
	{Rule: "RECORDING_GAP", Name: "a segment missing, one that does not follow, 97 %, nothing, failed", plant: eachSession("RECORDING_GAP",
		func(s *session) {
			s.length = 12 * time.Minute
			s.on("recording.segment_sealed", func(h *happening) { h.drop = h.data["segment"] == 2 })
		},
		func(s *session) {
			s.length = 12 * time.Minute
			s.on("recording.segment_sealed", func(h *happening) {
				if h.data["segment"] == 2 {
					h.data["prev_digest"] = digest("another segment")
				}
			})
		},
		func(s *session) { s.recorded = s.duration() * 97 / 100 },
		func(s *session) {
			s.without("recording.segment_sealed")
			s.without("recording.finalized")
		},
		func(s *session) {
			s.afters = append(s.afters, func() {
				s.tell(s.recorder, "recording.failed", s.start.Add(70*time.Second), s.began, obj{
					"recording_id": s.id + "/rec", "mode": "strict", "session_continued": true, "reason": "The disk was full.", "interval": nil,
				})
			})
		},
	)},
	{Rule: "LIFECYCLE", Name: "no end, no start, counts unlike the leaves", plant: eachSession("LIFECYCLE",
		func(s *session) { s.without("session.ended") },
		func(s *session) {
			s.relays = nil
			s.without("session.started")
		},
		func(s *session) {
			s.on("session.ended", func(h *happening) {
				h.fill = func(h *happening) {
					counts, _ := h.data["counts"].(obj)
					n, _ := counts["command.executed"].(int)
					counts["command.executed"] = n + 1
				}
			})
		},
	)},
	{Rule: "REVOKED_USE", Name: "a person who has left, a grant, an authorisation", plant: func(w *world) {
		for _, f := range []func(*session){
			func(s *session) {
				s.engineer = w.newEngineer("IE", "mdm")
				at := s.slot.start.Add(-3 * time.Hour)
				s.afters = append(s.afters, func() {
					w.say(w.registry, "person.separated", at, about{subject: "person/" + s.engineer.Ref}, obj{
						"person_ref": s.engineer.Ref, "reason": "End of the contract.", "effective_at": stamp(at),
					})
				})
			},
			func(s *session) {
				s.afters = append(s.afters, func() {
					at := s.ran().Add(-20 * time.Second)
					s.tell(s.broker, "session.grant_revoked", at, s.approved, obj{
						"approval": s.approved.ref(), "revoked_by": s.approver, "auto": false, "reason": "The ticket was closed.", "effective_at": stamp(at),
					})
				})
			},
		} {
			s := w.plantSession(firstDay.AddDate(0, 0, 2))
			f(s)
			w.expect("REVOKED_USE", s.ref())
		}
		s := w.plantSession(firstDay.AddDate(0, 0, 2))
		s.engineer = w.newEngineer("IE", "mdm")
		id := w.newest()
		at := s.slot.start.Add(-3 * time.Hour)
		s.afters = append(s.afters, func() {
			w.say(w.registry, "authorization.revoked", at, about{subject: "person/" + s.engineer.Ref}, obj{
				"authorization_id": id, "person_ref": s.engineer.Ref, "reason": "No need to know.", "revoked_by": w.officers[1], "effective_at": stamp(at),
			})
		})
		w.expect("REVOKED_USE", s.ref())
	}},
	{Rule: "REVOKED_USE", Name: "a key that was compromised before it signed", plant: func(w *world) {
		s := w.plantSession(time.Time{})
		s.escort = w.newEscort(true)
		w.authorize(s.escort, nil)
		card := w.personal[s.escort.Ref]
		w.authority(s.slot.start.Add(26*time.Hour), nil, func(h event.Header) ([]byte, error) {
			return event.NewKeyRevoked(h, event.Revocation{KeyID: card.public.KeyID(), Reason: event.Compromised, Since: s.start.Add(-time.Hour)})
		})
		w.expect("REVOKED_USE", "key/"+card.public.KeyID())
	}},
}
