package month

import (
	"crypto"
	"fmt"
	"time"

	"github.com/escortlog/escortlog/cmd/internal/samples"
	"github.com/escortlog/escortlog/log/event"
)

// ordinary plans a month in which everybody does as they should, with what
// happens in any month beside: rejected instructions, scripts, hand-overs,
// emergencies, corrections, a key that is replaced, somebody who leaves.
func (w *world) ordinary(sessions int) {
	w.slots.spread(min(sessions, len(w.slots.slots)))
	for n := range sessions {
		s := w.newSession(time.Time{})
		switch {
		case n%3 == 0:
			c := w.changeIn(s)
			if n%27 == 0 {
				c.emergency = 3 * time.Hour
			}
		case n%10 == 1:
			s.ask("rm -rf /var/log/" + s.id).refusal = "Deletes logs, which the ticket does not ask for."
		case n%10 == 4:
			r := s.ask("#!/bin/sh\n# " + s.id + "\nset -eu\nsystemctl restart worker\n")
			r.lines, r.script = 4, true
		case n%10 == 7:
			s.pause()
		case n%10 == 2:
			s.ask("nft list ruleset; nft flush ruleset # " + s.id).blocked = true
		case n%10 == 8:
			s.aside()
		}
		if n%15 == 5 {
			s.next = w.escorts[s.slot.free]
		}
		if n%5 == 2 {
			s.reviewLater(pick(w, w.reviewers), 20*time.Hour)
		}
		if n%40 == 8 {
			w.laterWords(s)
		}
	}
	w.pipelineChanges()
	w.refusals()
	w.incidents()
}

// aside has a session do what few do: get more rights, carry something over the
// clipboard, and be looked at later in its recording.
func (s *session) aside() {
	s.afters = append(s.afters, func() {
		at := s.start.Add(30 * time.Second)
		s.tell(s.gateway, "privilege.elevated", at, s.began, obj{
			"person": s.escort, "from": "service.read", "to": "service.restart", "method": "sudo", "target": s.target,
			"approval": s.approved.ref(), "window": window(s.from, s.to),
		})
		text := "worker@" + s.id
		s.tell(s.gateway, "clipboard.transferred", at.Add(5*time.Second), s.began, obj{
			"direction": "in", "content": s.commit(s.id+" clipboard", text), "match_digest": matchDigest(text), "bytes": len(text), "actor": s.escort,
		})
		s.tell(s.recorder, "recording.accessed", s.end().Add(4*time.Hour), s.began, obj{
			"recording_id": s.id + "/rec", "accessor": pick(s.world, s.reviewers), "purpose": "Second review.", "exported": false,
		})
	})
}

// refusals are requests and changes that come to nothing.
func (w *world) refusals() {
	for n := range 6 {
		at := firstDay.AddDate(0, 0, 7*(n%3)+n/3).Add(8*time.Hour + time.Duration(n)*time.Minute)
		id := fmt.Sprintf("s-refused-%d", n+1)
		a := about{subject: "session/" + id, session: id}
		request := w.say(w.broker, "session.requested", at, a, obj{
			"session_id": id, "requester": w.engineers[n], "targets": []system{w.systems[n]}, "ticket": nil, "reason": "To look around.",
			"justification": nil, "privileges": []string{"service.read"}, "window": window(at, at.Add(time.Hour)), "escort_required": true, "break_glass": false,
		})
		w.say(w.broker, "session.denied", at.Add(3*time.Minute), a, obj{
			"session_id": id, "approver": w.approvers[n%len(w.approvers)], "auto": false, "reason": "There is no ticket.", "policy": accessPolicy, "request": request.ref(),
		})
		c := w.changeByPipeline(at.Add(10 * time.Minute))
		for _, typ := range []string{"change.reviewed", "change.approved", "change.applied", "change.verified"} {
			c.without(typ)
		}
		c.afters = append(c.afters, func() {
			c.tell("change.rejected", c.proposed.Add(30*time.Minute), c.proposal, obj{
				"rejected_by": c.reviewer, "auto": false, "rejected_digest": digest(c.content), "reason": "Not tested.",
			})
		})
		w.planned = append(w.planned, c)
	}
}

// pause has a session rest before its last instruction.
func (s *session) pause() {
	s.afters = append(s.afters, func() {
		at := s.start.Add(s.relays[len(s.relays)-1].after)
		s.tell(s.gateway, "session.paused", at.Add(-15*time.Second), s.began, obj{"reason": "A question to the owner.", "paused_by": s.escort})
		s.tell(s.gateway, "session.resumed", at.Add(-5*time.Second), s.began, obj{"resumed_by": s.escort})
	})
}

// laterWords has the sources correct and redact, as they may.
func (w *world) laterWords(s *session) {
	s.afters = append(s.afters, func() {
		at := s.end().Add(50 * time.Minute)
		w.correct(s.broker, s.requested, at, obj{"op": "replace", "path": "/data/reason", "value": "A service reports timeouts."}, w.officers[1], w.officers[2])
		command := s.relays[0].executed
		w.say(w.officer, "record.redacted", at.Add(time.Minute), about{subject: "record/" + command.id, session: s.id}, obj{
			"target": command.ref(), "paths": []string{"/data/command"}, "reason": "Personal data.", "legal_ref": "order-7",
			"authorised_by": []person{w.officers[0], w.officers[1]}, "session_id": s.id,
		})
	})
}

// correct tells a correction of something told about a session.
func (w *world) correct(from *source, target *happening, at time.Time, patch obj, by, approved person) *happening {
	return w.say(from, "record.corrected", at, about{subject: "record/" + target.id, session: target.about.session}, obj{
		"target": target.ref(), "patch": []obj{patch}, "reason": "A slip of the pen.", "corrected_by": by, "approved_by": approved,
		"session_id": target.about.session,
	})
}

// pipelineChanges plans changes that no session makes, the last of which were
// undone or came to the notice of a monitor.
func (w *world) pipelineChanges() {
	for n := range 30 {
		day := firstDay.AddDate(0, 0, n%19)
		if wd := day.Weekday(); wd == time.Saturday || wd == time.Sunday {
			continue
		}
		c := w.changeByPipeline(day.Add(9 * time.Hour).Add(time.Duration(n) * time.Minute))
		if n%10 == 4 {
			c.afters = append(c.afters, func() {
				c.tell("change.rolled_back", c.applied.Add(20*time.Minute), c.application, obj{
					"rolled_back_by": c.reviewer.as("operator"), "targets": []system{c.target}, "reason": "Slower than before.",
					"restored_digest": digest("before " + c.id), "outcome": "succeeded",
				})
			})
		}
		if n%10 == 5 {
			c.afters = append(c.afters, func() { w.drift(c.applied.Add(3*time.Minute), c.target, digest(c.content), c.id) })
		}
		w.planned = append(w.planned, c)
	}
}

// drift has a monitor see that a system is not what it was; of which change that
// comes, it says where it knows.
func (w *world) drift(at time.Time, target system, observed, change string) {
	data := obj{"target": target, "expected_digest": digest("baseline " + target.ID), "observed_digest": observed, "kind": "configuration", "summary": nil}
	if change != "" {
		data["change_id"] = change
	}
	w.say(w.monitors[5], "drift.detected", at, about{subject: "system/" + target.ID}, data)
}

// incidents are what happens once: a number that is explained, a new key, a
// person who moves and one who leaves.
func (w *world) incidents() {
	day := firstDay.AddDate(0, 0, 8)
	// The log refused an event of the recorder, whose number nobody will see.
	gap := w.say(w.recorder, "source.gap", day.Add(10*time.Hour), about{subject: "source/" + w.recorder.uri}, obj{"cause": "refused", "reason": "It was malformed."})
	gap.gap = 1
	gap.fill = func(h *happening) {
		missing := sequenceText(w.recorder.sequence + 1)
		h.data["first_sequence"], h.data["last_sequence"] = missing, missing
	}
	w.say(w.officer, "hold.placed", day.Add(10*time.Hour), about{subject: "hold/hold-1"}, obj{
		"hold_id": "hold-1", "scope": obj{"session_ids": []string{w.sessions[0].id}}, "reason": "An inquiry.", "placed_by": w.officers[0], "until": nil,
	})
	w.say(w.officer, "hold.released", day.Add(100*time.Hour), about{subject: "hold/hold-1"}, obj{
		"hold_id": "hold-1", "reason": "The inquiry is over.", "released_by": w.officers[0],
	})
	w.replaceKey(w.monitors[4], day.Add(11*time.Hour))

	leaving := person{"p-e99", "engineer", "vendor", "contractor", "foreign", "IE", "mdm", "none", "none"}
	w.enroll(leaving, w.officers[0])
	moving := w.approvers[5]
	w.clock = day.Add(7 * time.Hour)
	at := w.tick()
	w.say(w.registry, "person.separated", at, about{subject: "person/" + leaving.Ref}, obj{"person_ref": leaving.Ref, "reason": "End of the contract.", "effective_at": stamp(at)})
	at = w.tick()
	moving.Screening = "T3"
	w.say(w.registry, "person.updated", at, about{subject: "person/" + moving.Ref}, obj{"person": moving, "changed": []string{"screening"}, "effective_at": stamp(at)})
	w.clock = founded.Add(9 * time.Hour) // back to the registry's first day, for what plantings bring
}

// replaceKey has the administrators register a new key of a source and revoke
// the old one.
func (w *world) replaceKey(s *source, at time.Time) {
	key, err := samples.Key("month "+s.name+", second", event.Ed25519)
	if err != nil {
		w.fail(err)
		return
	}
	public, err := event.NewPublicKey(key.Public())
	w.fail(err)
	s.newKeys = append(s.newKeys, key)
	w.authority(at, key, func(h event.Header) ([]byte, error) { return event.NewKeyRegistered(h, s.keyRegistration(public)) }).then = func(r *renderer) { r.keys[s] = key }
	w.authority(at.Add(time.Minute), nil, func(h event.Header) ([]byte, error) {
		return event.NewKeyRevoked(h, event.Revocation{KeyID: s.public.KeyID(), Reason: event.Superseded})
	})
}

// authority plans an authority event, signed by a key's holder too where there
// is one.
func (w *world) authority(at time.Time, holder crypto.Signer, decide func(event.Header) ([]byte, error)) *happening {
	h := &happening{typ: "authority", at: at, recorded: at, logged: at, order: len(w.happened), decide: decide, holder: holder}
	w.happened = append(w.happened, h)
	return h
}
