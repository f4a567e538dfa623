package month

import (
	"fmt"
	"time"
)

var relayPlantings = []Planting{
	{Rule: "RELAY_UNREVIEWED", Name: "no review, of another text, a rejection, afterwards", plant: eachSession("RELAY_UNREVIEWED",
		func(s *session) { s.on("instruction.reviewed", s.ofLast(func(h *happening) { h.drop = true })) },
		func(s *session) {
			s.on("instruction.reviewed", s.ofLast(set(obj{"reviewed_digest": matchDigest("another text of " + s.id)})))
		},
		func(s *session) {
			s.on("instruction.reviewed", s.ofLast(set(obj{"decision": "rejected", "reason": "Not in the ticket."})))
		},
		func(s *session) {
			s.on("instruction.reviewed", s.ofLast(func(h *happening) { h.move(s.ran().Add(10 * time.Second)) }))
		},
	)},
	{Rule: "REVIEW_TOO_FAST", Name: "30 lines in 5 s, 13 commands a minute", plant: eachSession("REVIEW_TOO_FAST",
		func(s *session) { s.last().lines, s.last().review = 30, 5*time.Second },
		func(s *session) {
			begin := s.last().after + 80*time.Second
			for i := range 13 {
				r := s.ask(fmt.Sprintf("systemctl restart worker@%s-%02d", s.id, i))
				r.after, r.review = begin+time.Duration(i)*4*time.Second, 2*time.Second
			}
		},
	)},
	{Rule: "OPAQUE_SCRIPT", Name: "no scan, no review, a finding of the scanner, not staged", plant: eachSession("OPAQUE_SCRIPT",
		func(s *session) {
			s.script()
			s.on("script.staged", set(obj{"scan": nil}))
		},
		func(s *session) {
			s.script()
			s.on("script.staged", set(obj{"review": nil}))
		},
		func(s *session) {
			s.script()
			s.on("script.staged", set(obj{"scan": obj{"tool": "scanner 4.2", "verdict": "suspicious"}}))
		},
		func(s *session) {
			s.script()
			s.without("script.staged")
		},
	)},
	{Rule: "OPAQUE_SCRIPT", Name: "one name, new digest", plant: func(w *world) {
		first := w.plantSession(time.Time{})
		first.script()
		second := w.plantSession(first.slot.start.Add(24 * time.Hour))
		second.script()
		second.gateway = first.gateway // whose name it is
		second.on("script.staged", set(obj{"script_id": "script-" + first.id}))
		w.expect("OPAQUE_SCRIPT", second.ref())
	}},
	{Rule: "ESCORT_SHOPPING", Name: "rejected by one, accepted by another two days later", plant: func(w *world) {
		text := "iptables -F # for good"
		first := w.plantSession(time.Time{})
		first.ask(text).refusal = "Opens the system."
		second := w.plantSession(first.slot.start.Add(48 * time.Hour))
		for w.err == nil && second.escort.Ref == first.escort.Ref {
			second = w.plantSession(first.slot.start.Add(48 * time.Hour))
		}
		second.ask(text)
		w.expect("ESCORT_SHOPPING", second.ref())
	}},
}

// script has the session's engineer ask for a script.
func (s *session) script() {
	r := s.ask("#!/bin/sh\n# " + s.id + "\nset -eu\nsystemctl restart worker\n")
	r.lines, r.script = 4, true
}
