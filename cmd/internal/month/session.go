package month

import (
	"fmt"
	"time"
)

// session is an escorted session to come. What it says is decided only when it
// is told, so that a planting can change anything about it before.
type session struct {
	*world
	id         string
	slot       slot
	target     system
	engineer   person
	escort     person
	approver   person
	escorted   bool
	mode       string // engineer_mode
	privileges []string
	gateway    *source
	start      time.Time
	length     time.Duration // 0: as long as its relays take
	from, to   time.Time     // the window granted
	relays     []*relay
	change     *change
	recorded   time.Duration // how much of it the recording covers; 0: all
	viewers    []person      // of the shared screen
	next       person        // who takes over as escort half-way; no ref: nobody

	edits  map[string][]func(*happening) // by short type: what a planting changes
	afters []func()                      // called when everything else is told

	requested, approved, began *happening
}

// relay is an instruction, its review, and what was run.
type relay struct {
	after    time.Duration // since the session's start
	text     string
	lines    int
	review   time.Duration // how long it is read
	refusal  string        // why it is rejected; empty: it is accepted
	pause    time.Duration // from the review to the command
	change   *change       // that the command belongs to
	script   bool          // a script to be staged
	blocked  bool          // the gateway does not let the command through
	received *happening
	reviewed *happening
	executed *happening
}

// commands are what engineers ask for. Each is told apart by its session, as
// real ones are by their arguments.
var commands = []string{
	"systemctl status worker@%s", "journalctl -u worker@%s --since -1h", "df -h /var/lib/%s", "ss -tlnp | grep %s",
	"storagectl health --volume %s", "psql -c 'select count(*) from jobs' %s", "tail -n 200 /var/log/%s.log", "netctl show --route %s",
}

// newSession plans an ordinary session in the next free slot from a time on.
func (w *world) newSession(from time.Time) *session {
	at, err := w.slots.take(from)
	if err != nil {
		w.fail(err)
		// Planning goes on, so that the caller need not ask; nothing comes of it.
		at = w.slots.slots[0]
	}
	n := len(w.sessions) + 1
	s := &session{
		world: w, id: fmt.Sprintf("s-%04d", n), slot: at, escorted: true, mode: "relay", escort: w.escorts[at.escort],
		approver: pick(w, w.approvers), target: pick(w, w.systems), gateway: pick(w, w.gateways), edits: map[string][]func(*happening){},
		start: at.start.Add(30*time.Minute + w.between(0, 4*time.Minute)), privileges: []string{"service.read", "service.restart"},
	}
	// Everybody who directs work at one time is somebody else.
	if n%8 == 0 {
		s.engineer = w.citizens[at.turn]
		if n%16 == 0 {
			s.target = pick(w, w.secret)
		}
	} else {
		all := len(w.engineers)
		s.engineer = w.engineers[(at.start.Day()+at.turn*(all/sessionsAtOnce))%all]
	}
	s.from, s.to = at.start.Add(15*time.Minute), at.start.Add(100*time.Minute)
	for range 2 + w.chance.IntN(3) {
		s.ask(fmt.Sprintf(pick(w, commands), fmt.Sprintf("%s-%d", s.id, len(s.relays))))
	}
	w.sessions = append(w.sessions, s)
	return s
}

// ask adds an instruction behind the last.
func (s *session) ask(text string) *relay {
	r := &relay{after: 60 * time.Second, text: text, lines: 1, review: s.between(4*time.Second, 15*time.Second), pause: 3 * time.Second}
	if n := len(s.relays); n > 0 {
		r.after = s.relays[n-1].after + s.between(70*time.Second, 110*time.Second)
	}
	s.relays = append(s.relays, r)
	return r
}

// end is when the session is over.
func (s *session) end() time.Time { return s.start.Add(s.duration()) }

func (s *session) duration() time.Duration {
	if s.length > 0 {
		return s.length
	}
	last := 60 * time.Second
	if n := len(s.relays); n > 0 {
		last = s.relays[n-1].after
	}
	return last + 90*time.Second
}

// on has a function change every event of a type.
func (s *session) on(typ string, edit func(*happening)) { s.edits[typ] = append(s.edits[typ], edit) }

// without leaves every event of a type out.
func (s *session) without(typ string) { s.on(typ, func(h *happening) { h.drop = true }) }

func (s *session) ref() string { return "session/" + s.id }

func (s *session) about(cause *happening) about {
	a := about{subject: s.ref(), session: s.id}
	if cause != nil && !cause.drop {
		a.cause = cause.id
	}
	return a
}

// tell is say for an event of this session.
func (s *session) tell(from *source, typ string, at time.Time, cause *happening, data obj) *happening {
	h := s.say(from, typ, at, s.about(cause), merge(obj{"session_id": s.id}, data))
	for _, edit := range s.edits[typ] {
		edit(h)
	}
	return h
}

func (w *world) emitSessions() {
	for _, s := range w.sessions {
		s.emit()
	}
}

// emit tells the session.
func (s *session) emit() {
	s.prepare()
	if s.change != nil {
		s.change.decide()
	}
	s.open()
	for _, r := range s.relays {
		s.relay(r)
	}
	if s.change != nil {
		s.change.carryOut()
	}
	s.close()
	s.record()
	s.attest()
	for _, f := range s.afters {
		f()
	}
}

// prepare tells the request, its approval and the assignment of the escort.
func (s *session) prepare() {
	asks := obj{
		"targets": []system{s.target}, "privileges": s.privileges, "window": window(s.from, s.to), "escort_required": s.escorted,
		"break_glass": false, "policy": accessPolicy, "ticket": "INC-" + s.id,
	}
	asked := s.slot.start.Add(s.between(0, 2*time.Minute))
	s.requested = s.tell(s.broker, "session.requested", asked, nil, merge(asks, obj{
		"requester": s.engineer, "reason": "A service reports errors.", "justification": s.commit(s.id, "Errors of "+s.target.ID),
	}))
	s.approved = s.tell(s.broker, "session.approved", asked.Add(s.between(5*time.Minute, 12*time.Minute)), s.requested, merge(asks, obj{
		"approver": s.approver, "auto": false, "request": s.requested.ref(),
	}))
	if s.escorted {
		s.tell(s.broker, "escort.assigned", s.approved.at.Add(20*time.Second), s.approved, obj{
			"escort": s.escort, "assigned_by": nil, "auto": true, "required_skills": s.target.Skills,
		})
	}
}

// accessPolicy is the policy under which the broker and the pipeline decide.
var accessPolicy = obj{"id": "jit-3", "digest": digest("the just-in-time policy of the month")}

// open tells the start, who joins, and the escort's presence.
func (s *session) open() {
	data := obj{
		"approval": s.approved.ref(), "target": s.target, "account": "svc-maint", "protocol": "ssh", "engineer": s.engineer,
		"engineer_mode": s.mode, "escort": nil, "recording_mode": "strict", "privileges": s.privileges, "window": window(s.from, s.to),
	}
	if s.escorted {
		data["escort"] = s.escort
	}
	s.began = s.tell(s.gateway, "session.started", s.start, s.approved, data)
	join := func(after time.Duration, p person, mode, channel string) {
		h := s.tell(s.gateway, "participant.joined", s.start.Add(after), s.began, obj{"participant": p, "mode": mode, "channel": channel})
		if p.LocationCountry != "" && h.data["connection_country"] == nil {
			h.data["connection_country"] = p.LocationCountry
		}
	}
	if s.escorted {
		join(4*time.Second, s.escort, "interactive", "terminal")
	}
	join(9*time.Second, s.engineer, map[string]string{"relay": "relay", "view": "view", "interactive": "interactive"}[s.mode], "chat")
	sharer := s.escort
	if !s.escorted {
		sharer = s.engineer
	}
	s.tell(s.gateway, "screenshare.started", s.start.Add(15*time.Second), s.began, obj{
		"share_id": s.id + "/share", "sharer": sharer, "viewers": append([]person{s.engineer}, s.viewers...), "scope": "terminal",
	})
	if s.escorted {
		s.presence()
	}
}

// presence tells every 90 s that the escort is there, and who that is.
func (s *session) presence() {
	handOver := s.start.Add(s.duration() / 2)
	for at := s.start.Add(2 * time.Second); at.Before(s.end()); at = at.Add(90 * time.Second) {
		who := s.escort
		if s.next.Ref != "" && at.After(handOver) {
			who = s.next
		}
		s.tell(s.console, "escort.presence", at, s.began, obj{"escort": who, "state": "active", "method": "input", "since_input_ms": 1200})
	}
	if s.next.Ref == "" {
		return
	}
	s.tell(s.console, "escort.handed_off", handOver, s.began, obj{"from": s.escort, "to": s.next, "reason": "End of the shift.", "accepted": true})
	s.tell(s.gateway, "participant.joined", handOver.Add(-2*time.Second), s.began, obj{
		"participant": s.next, "mode": "interactive", "channel": "terminal", "connection_country": s.next.LocationCountry,
	})
	// Who takes over is there before the other goes.
	s.tell(s.console, "escort.presence", handOver.Add(-time.Second), s.began, obj{"escort": s.next, "state": "active", "method": "input", "since_input_ms": 300})
}

// escortAt is who escorts at a time.
func (s *session) escortAt(at time.Time) person {
	if s.next.Ref != "" && at.After(s.start.Add(s.duration()/2)) {
		return s.next
	}
	return s.escort
}

// relay tells an instruction, its review, and the command as the gateway saw it.
func (s *session) relay(r *relay) {
	n := 0
	for i, x := range s.relays {
		if x == r {
			n = i + 1
		}
	}
	at := s.start.Add(r.after)
	id := fmt.Sprintf("%s/ins-%d", s.id, n)
	r.received = s.tell(s.console, "instruction.received", at, s.began, obj{
		"instruction_id": id, "from": s.engineer, "channel": "chat", "instruction": s.commit(id, r.text), "match_digest": matchDigest(r.text),
		"bytes": len(r.text), "lines": r.lines, "interpreter": "bash",
	})
	review := obj{
		"instruction_id": id, "reviewer": s.escortAt(at), "decision": "accepted", "duration_ms": r.review.Milliseconds(), "method": "read",
		"reviewed_digest": matchDigest(r.text), "instruction": r.received.ref(),
	}
	if r.refusal != "" {
		review["decision"], review["reason"] = "rejected", r.refusal
	}
	r.reviewed = s.tell(s.console, "instruction.reviewed", at.Add(r.review), r.received, review)
	if r.refusal != "" {
		return
	}
	if r.script {
		s.stage(r)
	}
	command := fmt.Sprintf("%s/cmd-%d", s.id, n)
	data := obj{
		"command_id": command, "instruction_ref": r.received.ref(), "command": s.commit(command, r.text), "match_digest": matchDigest(r.text),
		"bytes": len(r.text), "run_as": "svc-maint", "interpreter": "bash", "exit_code": 0, "output_digest": s.commit(command+" output", "ok\n"),
		"typed_by": s.escortAt(at), "target": s.target, "duration_ms": 310,
	}
	if r.change != nil {
		data["change_id"] = r.change.id
	}
	if !s.escorted {
		data["typed_by"] = s.engineer
	}
	if r.blocked {
		s.block(r, data)
		return
	}
	r.executed = s.tell(s.gateway, "command.executed", at.Add(r.review+r.pause), r.reviewed, data)
}

// block tells that the gateway let a command not through.
func (s *session) block(r *relay, command obj) {
	data := obj{"rule": "no-firewall", "reason": "Changes packet filters.", "policy": accessPolicy}
	for _, name := range []string{"command_id", "instruction_ref", "command", "match_digest", "bytes", "run_as", "interpreter"} {
		data[name] = command[name]
	}
	s.tell(s.gateway, "command.blocked", s.start.Add(r.after+r.review+r.pause), r.reviewed, data)
}

// stage tells how a script that was read and accepted comes to the target.
func (s *session) stage(r *relay) {
	at := r.reviewed.at.Add(time.Second)
	artifact := obj{"digest": digest(r.text), "size": len(r.text), "media_type": "text/x-shellscript"}
	scan := obj{"tool": "scanner 4.2", "verdict": "clean", "digest": digest(r.text)}
	s.tell(s.gateway, "script.staged", at, r.reviewed, obj{
		"script_id": "script-" + s.id, "artifact": artifact, "lines": r.lines, "interpreter": "bash", "staged_by": s.escortAt(at),
		"scan": scan, "review": r.reviewed.ref(),
	})
	s.tell(s.gateway, "file.transferred", at.Add(500*time.Millisecond), r.reviewed, obj{
		"transfer_id": s.id + "/file-1", "direction": "in", "artifact": artifact, "name": s.commit(s.id+" file", "fix.sh"), "actor": s.escortAt(at), "scan": scan,
	})
}

// close tells the end and the gateway's counts.
func (s *session) close() {
	length := s.duration()
	s.tell(s.gateway, "participant.left", s.start.Add(length-4*time.Second), s.began, obj{"participant": s.engineer, "duration_ms": (length - 13*time.Second).Milliseconds()})
	s.tell(s.gateway, "screenshare.stopped", s.start.Add(length-2*time.Second), s.began, obj{"share_id": s.id + "/share", "duration_ms": (length - 17*time.Second).Milliseconds()})
	by := s.escortAt(s.end())
	if !s.escorted {
		by = s.engineer
	}
	h := s.tell(s.gateway, "session.ended", s.end(), s.began, obj{"reason": "completed", "ended_by": by, "duration_ms": length.Milliseconds()})
	edit := h.fill
	h.fill = func(h *happening) {
		h.data["counts"], h.data["last_sequence"] = s.gateway.counts(s.id)
		if edit != nil {
			edit(h)
		}
	}
}

// record tells the recording: segments of five minutes, each chained to the one
// before.
func (s *session) record() {
	const most = 5 * time.Minute
	recording := s.id + "/rec"
	until := s.end()
	covered := s.duration()
	if s.recorded > 0 {
		until, covered = s.start.Add(s.recorded), s.recorded
	}
	var previous any
	segments, size := 0, 0
	for from := s.start; from.Before(until); from = from.Add(most) {
		to := from.Add(most)
		if to.After(until) {
			to = until
		}
		segments++
		bytes := int(to.Sub(from).Seconds()) * 18_000
		size += bytes
		artifact := obj{"digest": digest(fmt.Sprint(recording, segments)), "size": bytes, "media_type": "video/webm"}
		s.tell(s.recorder, "recording.segment_sealed", to.Add(700*time.Millisecond), s.began, obj{
			"recording_id": recording, "segment": segments, "interval": interval(from, to), "artifact": artifact, "prev_digest": previous,
		})
		previous = artifact["digest"]
	}
	s.tell(s.recorder, "recording.finalized", s.end().Add(3*time.Second), s.began, obj{
		"recording_id": recording, "segments": segments, "interval": interval(s.start, until), "covered_ms": covered.Milliseconds(),
		"bytes": size, "last_digest": previous,
	})
}

// attest tells what the escorts saw.
func (s *session) attest() {
	if !s.escorted {
		return
	}
	at := s.end().Add(s.between(6*time.Minute, 14*time.Minute))
	for _, p := range []person{s.escort, s.next} {
		if p.Ref == "" {
			continue
		}
		s.tell(s.personal[p.Ref], "session.attested", at, s.began, obj{
			"attester": p, "observed_all": true, "understood_all": true, "unexplained_count": 0, "anomalies": nil, "present_ms": s.duration().Milliseconds(),
		})
		at = at.Add(time.Minute)
	}
}

// reviewLater has a second person look at the session.
func (s *session) reviewLater(by person, after time.Duration) {
	s.afters = append(s.afters, func() {
		s.tell(s.personal[by.Ref], "session.reviewed", s.end().Add(after), s.began, obj{
			"reviewer": by, "attestation": nil, "outcome": "confirmed", "method": "both", "notes": nil,
		})
	})
}
