package rules_test

import (
	"fmt"
	"time"
)

func presenceAt(name string, when time.Duration, who obj, state string) line {
	return line{name: name, at: when, source: "console", typ: "escort.presence", data: obj{"session_id": "s-1", "escort": who, "state": state}}
}

func commandAt(name string, when time.Duration) edit {
	return like("command", name, at(name, when))
}

// commands adds n commands, evenly within a time, and presence for them.
func commands(n int, from, within time.Duration) edit {
	return func(s story) story {
		for i := range n {
			s = commandAt(fmt.Sprint("burst ", i), from+time.Duration(i)*within/time.Duration(n-1))(s)
		}
		return append(s, presenceAt("burst presence", from-time.Second, escort, "active"))
	}
}

func handOff(when time.Duration) edit {
	return with(
		line{name: "hand-over", at: when, source: "console", typ: "escort.handed_off", data: obj{"session_id": "s-1", "from": escort, "to": second, "accepted": true}},
	)
}

func script(edits ...edit) edit {
	return func(s story) story {
		s = append(s, line{name: "script", at: 50 * time.Second, source: "gateway", typ: "script.staged", data: obj{
			"session_id": "s-1", "script_id": "fix.sh", "artifact": obj{"digest": digest("fix"), "size": 10, "media_type": "text/x-shellscript"},
			"staged_by": escort, "scan": obj{"tool": "scanner 1", "verdict": "clean", "digest": digest("fix")}, "review": "@review"}})
		for _, e := range edits {
			s = e(s)
		}
		return s
	}
}

func correction(member string, edits ...edit) edit {
	return func(s story) story {
		s = append(s, line{name: "correction", at: 3 * hour, source: "gateway", typ: "record.corrected", data: obj{
			"target": "@command", "patch": []obj{{"op": "replace", "path": member, "value": "other"}}, "session_id": "s-1",
			"reason": "A slip.", "corrected_by": escort, "approved_by": approver}})
		for _, e := range edits {
			s = e(s)
		}
		return s
	}
}

// beat is a heartbeat of a source that promises one every 10 minutes.
func beat(name string, when time.Duration) line {
	return line{name: name, at: when, source: "monitor", typ: "source.heartbeat", data: obj{"period_s": 600, "last_sequence": nil, "open_sessions": []string{}}}
}

func closed(name string, from, to time.Duration, totals obj, edits ...any) line {
	data := obj{"period": interval(from, to), "totals": totals, "first_sequence": nil, "last_sequence": nil}
	for i := 0; i < len(edits); i += 2 {
		data[edits[i].(string)] = edits[i+1]
	}
	return line{name: name, at: to + time.Second, source: "monitor", typ: "period.closed", data: data}
}

// rejected is another escort's rejection, in another session, of what the first
// session's escort accepts.
func rejected(when time.Duration) edit {
	return with(line{name: "rejection", at: when, source: "console", typ: "instruction.reviewed", data: obj{
		"session_id": "s-0", "instruction_id": "i-0", "reviewer": second, "decision": "rejected", "duration_ms": 9000, "reviewed_digest": match("uptime 1"), "instruction": absent}})
}

// sessions are n more of the same escort, each beginning a minute after the other.
func sessions(n int, begin time.Duration) (s story) {
	for i := range n {
		s = append(s, session(fmt.Sprint(i+2), begin+time.Duration(i)*minute)...)
	}
	return s
}

const heartbeats = "dev.escortlog.source.heartbeat.v1"

func emergency(s story) story {
	s.line("change approval").at = day
	return append(s, line{name: "emergency", at: 0, source: "pipeline", typ: "change.emergency_declared", data: obj{"change_id": "c-1", "declared_by": escort, "targets": []obj{sys7}}})
}

func drift(observed string) edit {
	return with(line{name: "drift", at: 2 * hour, source: "drifts", typ: "drift.detected", data: obj{"target": sys7, "observed_digest": observed, "expected_digest": nil}})
}

func key(name, owner string) edit {
	return func(s story) story { s.line(name).key = owner; return s }
}

func sessionReview(by obj) edit {
	return with(line{name: "session review", at: 3 * hour, source: "reviews", typ: "session.reviewed", data: obj{"session_id": "s-1", "reviewer": by}})
}

func target(sys obj) edit {
	return func(s story) story {
		for _, e := range []edit{set("start", "target", sys), set("command", "target", sys), set("approval", "targets", []obj{sys})} {
			s = e(s)
		}
		return without("application")(s)
	}
}

// moved is a word of the engineer from France, in another session.
func moved(when time.Duration) story {
	return story{{name: "moved", at: when, source: "console", typ: "instruction.received", data: obj{"session_id": "s-moved", "from": but(engineer, "location_country", "FR")}}}
}

func transfer(content, mediaType string) edit {
	return with(line{name: "transfer", at: 45 * time.Second, source: "gateway", typ: "file.transferred", data: obj{"session_id": "s-1", "direction": "in",
		"artifact": obj{"digest": content, "size": 10, "media_type": mediaType}, "actor": escort}})
}

func sequence(name string, n int64) edit {
	return func(s story) story { s.line(name).seq = n; return s }
}

func previous(name, prev string) edit {
	return func(s story) story { s.line(name).prev = prev; return s }
}

func bare(name string) edit {
	return func(s story) story { s.line(name).bare = true; return s }
}

func record(name string, took time.Duration) edit {
	return func(s story) story { s.line(name).recorded = took; return s }
}

func explained(first, last int) edit {
	return with(line{name: "explanation", at: hour + minute, source: "gateway", typ: "source.gap", data: obj{
		"first_sequence": fmt.Sprintf("%020d", first), "last_sequence": fmt.Sprintf("%020d", last), "cause": "refused", "event_ids": absent}})
}

// late gives the number n of one line to another that comes after it.
func late(name string, n int64, other string, when time.Duration) edit {
	return func(s story) story {
		s.line(name).seq, s.line(name).prev = n+1, "none"
		s = like(name, other, at(other, when))(s)
		s.line(other).seq, s.line(other).prev = n, "none"
		return s
	}
}

// till ends the report of a case before its usual time.
func till(when time.Duration) edit {
	return func(s story) story { return append(s, line{name: "till", at: when}) }
}

func retraction(approvedBy obj) edit {
	return with(line{name: "retraction", at: 3 * hour, source: "gateway", typ: "record.retracted", data: obj{"target": "@command", "retracted_by": escort, "approved_by": approvedBy, "replacement": absent, "session_id": "s-1"}})
}

func redaction(by ...obj) edit {
	by[1] = but(by[1], "role", "authoriser")
	return with(line{name: "redaction", at: 3 * hour, source: "officer", typ: "record.redacted", data: obj{"target": "@command", "authorised_by": by, "session_id": "s-1"}})
}

func separation(ref string, when time.Duration) edit {
	return with(line{name: "separation", at: 2 * hour, source: "registry", typ: "person.separated", data: obj{"person_ref": ref, "effective_at": stamp(when)}})
}

func grantRevocation(when time.Duration) edit {
	return with(line{name: "revocation", at: 30 * minute, source: "broker", typ: "session.grant_revoked", data: obj{"session_id": "s-1", "approval": "@approval", "effective_at": stamp(when)}})
}

func revokedAuthorisation(ref, authorisation string, when time.Duration) edit {
	return with(line{name: "revoked authorisation", at: 30 * minute, source: "registry", typ: "authorization.revoked", data: obj{"person_ref": ref, "authorization_id": authorisation, "effective_at": stamp(when)}})
}
