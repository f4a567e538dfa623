package samples

import (
	"fmt"
	"time"
)

// session is an escorted session being written.
type session struct {
	*script
	id     string
	ticket string
	escort person
	start  time.Time
	end    time.Time
	window obj

	approved obj // EventRef of session.approved
	began    obj // EventRef of session.started
	asked    int // instructions so far
	ran      int // commands so far
}

func (s *session) about(cause obj) about {
	return about{subject: "session/" + s.id, session: s.id, cause: cause}
}

// after plans something for a time since the session's start.
func (s *session) after(d time.Duration, do func(at time.Time)) { s.at(s.start.Add(d), do) }

// prepare plans the request, its approval and the escort.
func (s *session) prepare(requested time.Time, reason, justification string, privileges []string) {
	var request obj
	asks := obj{
		"session_id": s.id, "targets": []obj{storageNode}, "privileges": privileges, "window": s.window,
		"escort_required": true, "break_glass": false, "policy": policy, "ticket": s.ticket,
	}
	with := func(more obj) obj {
		data := obj{}
		for _, o := range []obj{asks, more} {
			for name, value := range o {
				data[name] = value
			}
		}
		return data
	}
	s.at(requested, func(at time.Time) {
		request = s.say("broker", "session.requested", at, s.about(nil), with(obj{
			"requester": engineer, "reason": reason, "justification": s.commit(s.id+" justification", justification),
		}))
	})
	s.after(-12*time.Minute, func(at time.Time) {
		s.approved = s.say("broker", "session.approved", at, s.about(request), with(obj{
			"approver": approver, "auto": false, "request": request,
		}))
	})
	s.after(-11*time.Minute, func(at time.Time) {
		s.say("broker", "escort.assigned", at, s.about(s.approved), obj{
			"session_id": s.id, "escort": s.escort, "assigned_by": nil, "auto": true, "required_skills": []string{"linux", "storage"},
		})
	})
}

// open plans the start, who joins, and the escort's presence every minute.
func (s *session) open(privileges []string) {
	s.after(0, func(at time.Time) {
		s.began = s.say("gateway", "session.started", at, s.about(s.approved), obj{
			"session_id": s.id, "approval": s.approved, "target": storageNode, "account": "svc-maint", "protocol": "ssh",
			"engineer": engineer, "engineer_mode": "relay", "escort": s.escort, "recording_mode": "strict",
			"privileges": privileges, "window": s.window,
		})
	})
	s.after(4*time.Second, func(at time.Time) {
		s.say("gateway", "participant.joined", at, s.about(s.began), obj{
			"session_id": s.id, "participant": s.escort, "mode": "interactive", "channel": "terminal", "connection_country": "US",
		})
	})
	s.after(9*time.Second, func(at time.Time) {
		s.say("gateway", "participant.joined", at, s.about(s.began), obj{
			"session_id": s.id, "participant": engineer, "mode": "relay", "channel": "chat", "connection_country": "IE",
		})
	})
	s.after(15*time.Second, func(at time.Time) {
		s.say("gateway", "screenshare.started", at, s.about(s.began), obj{
			"session_id": s.id, "share_id": s.id + "/share", "sharer": s.escort, "viewers": []person{engineer}, "scope": "terminal",
		})
	})
	for t := s.start.Add(2 * time.Second); t.Before(s.end); t = t.Add(time.Minute) {
		s.at(t, func(at time.Time) {
			s.say("console", "escort.presence", at, s.about(s.began), obj{
				"session_id": s.id, "escort": s.escort, "state": "active", "method": "input", "since_input_ms": 1200,
			})
		})
	}
}

// relay plans an instruction of the engineer, the escort's review, and, where
// it is accepted, the command as the gateway sees it run.
func (s *session) relay(d time.Duration, instruction, refusal, output, change string) {
	var received, reviewed obj
	var id string
	review := 6200 * time.Millisecond
	s.after(d, func(at time.Time) {
		s.asked++
		id = fmt.Sprintf("%s/ins-%d", s.id, s.asked)
		received = s.say("console", "instruction.received", at, s.about(s.began), obj{
			"session_id": s.id, "instruction_id": id, "from": engineer, "channel": "chat",
			"instruction": s.commit(id, instruction), "match_digest": matchDigest(instruction),
			"bytes": len(instruction), "lines": 1, "interpreter": "bash",
		})
	})
	s.after(d+review, func(at time.Time) {
		data := obj{
			"session_id": s.id, "instruction_id": id, "reviewer": s.escort, "decision": "accepted", "duration_ms": review.Milliseconds(),
			"method": "read", "reviewed_digest": matchDigest(instruction), "instruction": received,
		}
		if refusal != "" {
			data["decision"], data["reason"] = "rejected", refusal
		}
		reviewed = s.say("console", "instruction.reviewed", at, s.about(received), data)
	})
	if refusal != "" {
		return
	}
	s.after(d+review+3*time.Second, func(at time.Time) {
		s.ran++
		command := fmt.Sprintf("%s/cmd-%d", s.id, s.ran)
		data := obj{
			"session_id": s.id, "command_id": command, "instruction_ref": received,
			"command": s.commit(command, instruction), "match_digest": matchDigest(instruction), "bytes": len(instruction),
			"run_as": "svc-maint", "interpreter": "bash", "exit_code": 0, "output_digest": s.commit(command+" output", output),
			"typed_by": s.escort, "target": storageNode, "duration_ms": 310,
		}
		if change != "" {
			data["change_id"] = change
		}
		s.say("gateway", "command.executed", at, s.about(reviewed), data)
	})
}

// close plans the end and the gateway's counts.
func (s *session) close() {
	length := s.end.Sub(s.start)
	s.after(length-4*time.Second, func(at time.Time) {
		s.say("gateway", "participant.left", at, s.about(s.began), obj{
			"session_id": s.id, "participant": engineer, "duration_ms": (length - 13*time.Second).Milliseconds(),
		})
	})
	s.after(length-2*time.Second, func(at time.Time) {
		s.say("gateway", "screenshare.stopped", at, s.about(s.began), obj{
			"session_id": s.id, "share_id": s.id + "/share", "duration_ms": (length - 17*time.Second).Milliseconds(),
		})
	})
	s.after(length, func(at time.Time) {
		counts, last := s.counts("gateway", s.id)
		s.say("gateway", "session.ended", at, s.about(s.began), obj{
			"session_id": s.id, "reason": "completed", "ended_by": s.escort, "counts": counts,
			"last_sequence": last, "duration_ms": length.Milliseconds(),
		})
	})
}

// record plans the recording: segments of five minutes, each chained to the one
// before, over the whole session.
func (s *session) record() {
	const most = 5 * time.Minute
	recording := s.id + "/rec"
	var previous any
	segments, bytes := 0, 0
	for from := s.start; from.Before(s.end); from = from.Add(most) {
		to := from.Add(most)
		if to.After(s.end) {
			to = s.end
		}
		s.at(to.Add(700*time.Millisecond), func(at time.Time) {
			segments++
			size := int(to.Sub(from).Seconds()) * 18_000
			bytes += size
			artifact := obj{
				"digest": digest(fmt.Sprint(recording, segments)), "size": size, "media_type": "video/webm",
				"dataref": fmt.Sprintf("https://vault.operator.example/recordings/%s/%d", recording, segments),
			}
			s.say("recorder", "recording.segment_sealed", at, s.about(s.began), obj{
				"session_id": s.id, "recording_id": recording, "segment": segments, "interval": interval(from, to),
				"artifact": artifact, "prev_digest": previous,
			})
			previous = artifact["digest"]
		})
	}
	s.at(s.end.Add(3*time.Second), func(at time.Time) {
		s.say("recorder", "recording.finalized", at, s.about(s.began), obj{
			"session_id": s.id, "recording_id": recording, "segments": segments, "interval": interval(s.start, s.end),
			"covered_ms": s.end.Sub(s.start).Milliseconds(), "bytes": bytes, "last_digest": previous,
		})
	})
}
