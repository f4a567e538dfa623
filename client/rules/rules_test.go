package rules_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/event"
)

// base is the story that the cases change: nothing is wrong in it.
func base() story { return slices.Concat(registry(), session("1", 0), changed()) }

type test struct {
	name  string
	rule  int
	edits []edit
	want  int // findings
}

func inside(rule int, name string, edits ...edit) test  { return test{name, rule, edits, 0} }
func outside(rule int, name string, edits ...edit) test { return test{name, rule, edits, 1} }

// tests pair what is just inside a rule with what is just outside.
var tests = []test{
	inside(rules.SessionNoApproval, "approved"),
	outside(rules.SessionNoApproval, "not approved", without("approval"), set("start", "approval", nil)),
	outside(rules.SessionNoApproval, "approved afterwards in the log", logged("approval", 21*minute)),
	outside(rules.SessionNoApproval, "approved afterwards in t", at("approval", time.Second), set("start", "approval", nil)),
	outside(rules.SessionNoApproval, "another system", set("approval", "targets", []obj{system("sys-2", "IL2")})),
	outside(rules.SessionNoApproval, "another privilege", set("start", "privileges", []string{"read", "write"})),
	inside(rules.SessionNoApproval, "starts with its window", set("approval", "window", window(0, hour))),
	outside(rules.SessionNoApproval, "starts before its window", set("approval", "window", window(time.Millisecond, hour))),
	inside(rules.SessionNoApproval, "starts at the end of its window", set("approval", "window", window(-hour, 0))),
	outside(rules.SessionNoApproval, "starts after its window", set("approval", "window", window(-hour, -time.Millisecond))),
	outside(rules.SessionNoApproval, "denied after it", with(line{name: "no", at: -5 * minute, source: "broker", typ: "session.denied", data: obj{"session_id": "s-1", "request": absent}})),
	outside(rules.SessionNoApproval, "names another approval", set("start", "approval", "@request")),

	inside(rules.Overstay, "ends 5 min after its window", set("approval", "window", window(-hour, 55*minute))),
	outside(rules.Overstay, "ends more than 5 min after its window", set("approval", "window", window(-hour, 55*minute-time.Millisecond))),
	inside(rules.Overstay, "a command at the end of the window", set("approval", "window", window(-hour, 55*minute)), commandAt("last", 55*minute)),
	outside(rules.Overstay, "a command after the window", set("approval", "window", window(-hour, 55*minute)), commandAt("last", 55*minute+time.Millisecond)),

	inside(rules.ChangeOutsideSession, "applied when the session starts", at("application", 0)),
	outside(rules.ChangeOutsideSession, "applied before the session starts", at("application", -time.Millisecond)),
	inside(rules.ChangeOutsideSession, "applied when the session ends", at("application", hour)),
	outside(rules.ChangeOutsideSession, "applied after the session ended", at("application", hour+time.Millisecond)),
	outside(rules.ChangeOutsideSession, "applied on another system", set("application", "targets", []obj{system("sys-2", "IL2")})),
	outside(rules.ChangeOutsideSession, "applied in a session that never was", set("application", "session_id", "s-none")),
	inside(rules.ChangeOutsideSession, "applied by a pipeline", set("application", "session_id", absent), set("application", "pipeline_ref", "run-1")),

	inside(rules.ChangeUnapproved, "approved at the same moment", at("change approval", 10*minute), logged("application", time.Millisecond)),
	outside(rules.ChangeUnapproved, "approved after", at("change approval", 10*minute+time.Millisecond), logged("application", time.Second)),
	outside(rules.ChangeUnapproved, "approved after in the log", logged("change approval", 71*minute)),
	outside(rules.ChangeUnapproved, "never approved", without("change approval")),
	outside(rules.ChangeUnapproved, "approved for another system", set("change approval", "targets", []obj{system("sys-2", "IL2")})),
	outside(rules.ChangeUnapproved, "approved for another time", set("change approval", "window", window(-hour, 10*minute-time.Millisecond))),
	outside(rules.ChangeUnapproved, "rejected after it", with(line{name: "no", at: 0, source: "pipeline", typ: "change.rejected", data: obj{"change_id": "c-1"}})),
	inside(rules.ChangeUnapproved, "an emergency approved within 24 h", emergency, at("change approval", 24*hour+10*minute)),
	outside(rules.ChangeUnapproved, "an emergency approved later", emergency, at("change approval", 24*hour+10*minute+time.Millisecond)),
	outside(rules.ChangeUnapproved, "an emergency whose approval is logged much later", emergency, at("change approval", 24*hour), logged("change approval", 26*minute)),
	outside(rules.ChangeUnapproved, "an emergency never approved", emergency, without("change approval")),

	inside(rules.ChangeDigestDrift, "one digest"),
	outside(rules.ChangeDigestDrift, "reviewed is not approved", set("change review", "reviewed_digest", digest("x"))),
	outside(rules.ChangeDigestDrift, "approved is not applied", set("application", "applied_digest", digest("x"))),
	inside(rules.ChangeDigestDrift, "a comment is no review", set("change review", "reviewed_digest", digest("x")), set("change review", "decision", "commented")),
	inside(rules.ChangeDigestDrift, "drift that a change brought", drift(digest("c"))),
	outside(rules.ChangeDigestDrift, "drift that nobody brought", drift(digest("x"))),

	inside(rules.Separation, "five people"),
	outside(rules.Separation, "the escort is the engineer", everywhere(escort, engineer)),
	outside(rules.Separation, "the approver is the requester", set("request", "requester", approver)),
	outside(rules.Separation, "the approver is the engineer", set("start", "engineer", approver)),
	outside(rules.Separation, "the approver is the escort", set("approval", "approver", escort)),
	outside(rules.Separation, "the approval bears the escort's own key", key("approval", "p-escort")),
	outside(rules.Separation, "the author reviews", set("change review", "reviewer", author)),
	outside(rules.Separation, "the author approves", set("change approval", "approver", author)),
	outside(rules.Separation, "the escort reviews the session", sessionReview(escort)),
	inside(rules.Separation, "another reviews the session", sessionReview(reviewer)),

	inside(rules.EscortAbsent, "present 120 s before", at("command", 150*time.Second)),
	outside(rules.EscortAbsent, "present more than 120 s before", at("command", 150*time.Second+time.Millisecond)),
	outside(rules.EscortAbsent, "away", with(presenceAt("away", 59*time.Second, escort, "away"))),
	outside(rules.EscortAbsent, "idle", with(presenceAt("idle", 60*time.Second, escort, "idle"))),
	outside(rules.EscortAbsent, "another is present", set("presence", "escort", second)),
	outside(rules.EscortAbsent, "the escort handed over and stayed", handOff(55*time.Second)),
	inside(rules.EscortAbsent, "handed over and the other is present", handOff(55*time.Second), with(presenceAt("other", 56*time.Second, second, "active"))),
	outside(rules.EscortAbsent, "nobody escorts", set("start", "escort", nil)),

	inside(rules.EscortOverload, "two sessions at once", and(sessions(1, minute))),
	outside(rules.EscortOverload, "three sessions at once", and(sessions(2, minute))),
	{"four sessions at once", rules.EscortOverload, []edit{and(sessions(3, minute))}, 2},
	inside(rules.EscortOverload, "the third begins when the first ends", and(sessions(1, minute), session("9", hour))),
	outside(rules.EscortOverload, "the third begins before the first ends", and(sessions(1, minute), session("9", hour-time.Millisecond))),

	inside(rules.EscortUnqualified, "qualified and authorised"),
	outside(rules.EscortUnqualified, "not qualified", without("p-escort qualified")),
	outside(rules.EscortUnqualified, "qualified in something else", set("p-escort qualified", "skills", []string{"windows"})),
	outside(rules.EscortUnqualified, "qualified afterwards in the log", logged("p-escort qualified", 8*day)),
	inside(rules.EscortUnqualified, "qualified until the start", set("p-escort qualified", "validity", window(-day, 0))),
	outside(rules.EscortUnqualified, "qualified until before the start", set("p-escort qualified", "validity", window(-day, -time.Millisecond))),
	outside(rules.EscortUnqualified, "disqualified", with(line{name: "disqualified", at: -day, source: "registry", typ: "escort.disqualified", data: obj{"person_ref": "p-escort", "skills": []string{}}})),
	inside(rules.EscortUnqualified, "disqualified after the start", with(line{name: "disqualified", at: time.Millisecond, source: "registry", typ: "escort.disqualified", data: obj{"person_ref": "p-escort", "skills": []string{}}})),
	outside(rules.EscortUnqualified, "not authorised", without("p-escort authorised")),
	outside(rules.EscortUnqualified, "authorised as something else", set("p-escort authorised", "role", "auditor")),
	outside(rules.EscortUnqualified, "authorised for another level", set("p-escort authorised", "scope", obj{"systems": []string{}, "impact_levels": []string{"IL5"}})),
	outside(rules.EscortUnqualified, "the authorisation was revoked", revokedAuthorisation("p-escort", "p-escort", -time.Millisecond)),

	inside(rules.CitizenshipByLevel, "a foreigner with an escort at IL4"),
	{"two foreigners without an escort at IL4", rules.CitizenshipByLevel, []edit{set("start", "escort", nil), everywhere(escort, but(escort, "citizenship_class", "unknown"))}, 2},
	outside(rules.CitizenshipByLevel, "a foreigner without an escort at IL4", set("start", "escort", nil)),
	inside(rules.CitizenshipByLevel, "a permanent resident without an escort at IL4", set("start", "escort", nil), everywhere(engineer, but(engineer, "citizenship_class", "us_lpr"))),
	inside(rules.CitizenshipByLevel, "a foreigner without an escort at IL2", set("start", "escort", nil), target(system("sys-2", "IL2"))),
	outside(rules.CitizenshipByLevel, "a foreigner with an escort at IL6", target(system("sys-6", "IL6"))),
	outside(rules.CitizenshipByLevel, "a gateway that says IL2 of an IL6 system", target(system("sys-6", "IL2"))),
	outside(rules.CitizenshipByLevel, "an escort who is a foreigner", everywhere(escort, but(escort, "citizenship_class", "foreign"))),

	inside(rules.CoveredNation, "nobody there"),
	outside(rules.CoveredNation, "an engineer there", everywhere(engineer, but(engineer, "location_country", "RU"))),
	outside(rules.CoveredNation, "an engineer connected from there", set("engineer joins", "connection_country", "KP")),
	outside(rules.CoveredNation, "an approver there", set("approval", "approver", but(approver, "location_country", "CN"))),
	outside(rules.CoveredNation, "an author there", everywhere(author, but(author, "location_country", "IR"))),
	outside(rules.CoveredNation, "a viewer there", with(line{name: "share", at: minute, source: "gateway", typ: "screenshare.started", data: obj{"session_id": "s-1", "sharer": escort, "viewers": []obj{but(reviewer, "location_country", "RU")}}})),

	inside(rules.LocationWeak, "badge and device management"),
	outside(rules.LocationWeak, "unknown", everywhere(engineer, but(but(engineer, "location_country", absent), "location_source", absent))),
	outside(rules.LocationWeak, "self-attested", everywhere(engineer, but(engineer, "location_source", "attested"))),
	outside(rules.LocationWeak, "contradicted by the connection", set("engineer joins", "connection_country", "FR")),
	inside(rules.LocationWeak, "another country after 2 h", and(moved(2*hour+31*time.Second))),
	outside(rules.LocationWeak, "another country within 2 h", and(moved(2*hour+31*time.Second-time.Millisecond))),

	inside(rules.RelayUnreviewed, "reviewed at the moment of the command", at("review", 60*time.Second)),
	outside(rules.RelayUnreviewed, "reviewed after the command", at("review", 60*time.Second+time.Millisecond)),
	inside(rules.RelayUnreviewed, "a review that came within 15 min", logged("review", 15*minute)),
	outside(rules.RelayUnreviewed, "a review that came an hour later", logged("review", hour)),
	outside(rules.RelayUnreviewed, "rejected", set("review", "decision", "rejected")),
	outside(rules.RelayUnreviewed, "another digest", set("review", "reviewed_digest", match("other"))),
	outside(rules.RelayUnreviewed, "no instruction at all", without("instruction", "review"), set("command", "instruction_ref", nil)),
	inside(rules.RelayUnreviewed, "modified and reviewed", set("review", "decision", "modified")),

	inside(rules.ReviewTooFast, "1 s a line"),
	outside(rules.ReviewTooFast, "less than 1 s a line", set("review", "duration_ms", 2999)),
	inside(rules.ReviewTooFast, "rejecting is quick", set("review", "duration_ms", 1), set("review", "decision", "rejected")),
	inside(rules.ReviewTooFast, "12 commands a minute", commands(12, 20*minute, 59*time.Second)),
	inside(rules.ReviewTooFast, "13 commands in a full minute", commands(13, 20*minute, minute)),
	outside(rules.ReviewTooFast, "13 commands within a minute", commands(13, 20*minute, minute-time.Millisecond)),

	inside(rules.OpaqueScript, "staged, scanned, reviewed", script()),
	outside(rules.OpaqueScript, "not scanned", script(set("script", "scan", nil))),
	outside(rules.OpaqueScript, "suspicious", script(set("script", "scan.verdict", "suspicious"))),
	outside(rules.OpaqueScript, "something else was scanned", script(set("script", "scan.digest", digest("x")))),
	outside(rules.OpaqueScript, "not reviewed", script(set("script", "review", nil))),
	outside(rules.OpaqueScript, "rejected", script(set("review", "decision", "rejected"))),
	outside(rules.OpaqueScript, "names something else as review", script(set("script", "review", "@command"))),
	inside(rules.OpaqueScript, "staged again", script(like("script", "again"))),
	outside(rules.OpaqueScript, "one name, new digest", script(like("script", "again", set("again", "artifact.digest", digest("x")), set("again", "scan.digest", absent)))),
	inside(rules.OpaqueScript, "a file that was staged", script(transfer(digest("fix"), "text/x-shellscript"))),
	outside(rules.OpaqueScript, "a script that was not staged", transfer(digest("x"), "text/x-shellscript")),
	inside(rules.OpaqueScript, "a file that is no script", script(transfer(digest("x"), "text/plain"))),

	inside(rules.EscortShopping, "nobody else was asked"),
	outside(rules.EscortShopping, "rejected by another 7 days before", rejected(40*time.Second-7*day)),
	inside(rules.EscortShopping, "rejected by another longer before", rejected(40*time.Second-7*day-time.Millisecond)),
	inside(rules.EscortShopping, "rejected by another afterwards", rejected(41*time.Second)),
	inside(rules.EscortShopping, "the same escort thought again", rejected(-hour), set("rejection", "reviewer", escort)),
	outside(rules.EscortShopping, "the rejection is logged after", rejected(39*time.Second), logged("rejection", minute)),

	inside(rules.NoAttestation, "attested within 24 h", at("attestation", 25*hour)),
	outside(rules.NoAttestation, "attested later", at("attestation", 25*hour+time.Millisecond)),
	outside(rules.NoAttestation, "attested much later in the log", at("attestation", 24*hour), logged("attestation", 2*hour)),
	outside(rules.NoAttestation, "not attested", without("attestation")),
	outside(rules.NoAttestation, "attested by another", set("attestation", "attester", second)),
	outside(rules.NoAttestation, "attested with another's key", key("attestation", "p-second")),
	outside(rules.NoAttestation, "attested with a service's key", key("attestation", "service")),
	outside(rules.NoAttestation, "an anomaly that nobody reviewed", set("attestation", "unexplained_count", 1)),
	outside(rules.NoAttestation, "an anomaly reviewed by the escort", set("attestation", "observed_all", false), sessionReview(escort)),
	inside(rules.NoAttestation, "an anomaly reviewed within 72 h", set("attestation", "understood_all", false), sessionReview(reviewer), at("session review", 2*hour+72*hour)),
	outside(rules.NoAttestation, "an anomaly reviewed later", set("attestation", "understood_all", false), sessionReview(reviewer), at("session review", 2*hour+72*hour+time.Millisecond)),
	outside(rules.NoAttestation, "attested by whoever escorted first", handOff(30*minute)),

	inside(rules.RecordingGap, "covered"),
	inside(rules.RecordingGap, "98 % covered", set("segment 2", "interval", interval(30*minute, hour-72*time.Second))),
	outside(rules.RecordingGap, "less covered", set("segment 2", "interval", interval(30*minute, hour-72*time.Second-time.Millisecond))),
	outside(rules.RecordingGap, "a segment is missing", without("segment 1")),
	outside(rules.RecordingGap, "the last segment is missing", without("segment 2")),
	outside(rules.RecordingGap, "a broken chain", set("segment 2", "prev_digest", digest("x"))),
	outside(rules.RecordingGap, "a last digest that is not", set("finalized", "last_digest", digest("x"))),
	outside(rules.RecordingGap, "never finalized", without("finalized")),
	outside(rules.RecordingGap, "failed and went on", with(line{name: "failed", at: 5 * minute, source: "recorder", typ: "recording.failed", data: obj{"session_id": "s-1", "mode": "strict", "session_continued": true, "interval": nil}})),
	outside(rules.RecordingGap, "another recording without segments", like("finalized", "finalized too", set("finalized too", "recording_id", "r-none"))),
	outside(rules.RecordingGap, "switched off", set("start", "recording_mode", "off")),

	inside(rules.Lifecycle, "begun and ended"),
	outside(rules.Lifecycle, "no end", without("end")),
	outside(rules.Lifecycle, "no start", without("start")),
	outside(rules.Lifecycle, "neither", without("start", "end")),
	outside(rules.Lifecycle, "two ends", like("end", "end again")),
	outside(rules.Lifecycle, "two starts", like("start", "start again")),
	inside(rules.Lifecycle, "a command with the end", commandAt("last", hour)),
	outside(rules.Lifecycle, "a command after the end", commandAt("last", hour+time.Millisecond)),
	outside(rules.Lifecycle, "a command before the start", commandAt("first", -time.Millisecond)),
	inside(rules.Lifecycle, "counted", set("end", "counts", obj{"session.started": 1, "participant.joined": 1, "command.executed": 1})),
	outside(rules.Lifecycle, "one command too many counted", set("end", "counts", obj{"session.started": 1, "participant.joined": 1, "command.executed": 2})),
	outside(rules.Lifecycle, "one command not counted", set("end", "counts", obj{"session.started": 1, "participant.joined": 1})),
	inside(rules.Lifecycle, "the last number", set("end", "last_sequence", "00000000000000000003")),
	outside(rules.Lifecycle, "another last number", set("end", "last_sequence", "00000000000000000004")),

	inside(rules.Sequence, "numbered"),
	outside(rules.Sequence, "a gap", sequence("command", 4)),
	outside(rules.Sequence, "does not begin with 1", sequence("request", 2)),
	outside(rules.Sequence, "a repeat", like("command", "twin", at("twin", 61*time.Second), sequence("twin", 3))),
	outside(rules.Sequence, "a broken prevhash", previous("command", strings.Repeat("0", 64))),
	outside(rules.Sequence, "a missing prevhash", previous("command", "none")),
	outside(rules.Sequence, "one without a number", bare("command")),
	inside(rules.Sequence, "a gap explained", sequence("command", 4), explained(3, 3)),
	outside(rules.Sequence, "a gap explained in part", sequence("command", 5), explained(3, 3)),
	inside(rules.Sequence, "a gap filled late", late("command", 3, "late", 61*time.Second)),

	inside(rules.SourceSilent, "twice the period", with(beat("b1", 0), beat("b2", 20*minute)), till(40*minute)),
	outside(rules.SourceSilent, "more than twice the period", with(beat("b1", 0), beat("b2", 20*minute+time.Millisecond)), till(40*minute)),
	outside(rules.SourceSilent, "silent at the end", with(beat("b1", 0), beat("b2", 20*minute)), till(40*minute+time.Millisecond)),
	inside(rules.SourceSilent, "totals agree", with(beat("b1", 0), closed("p", 0, minute, obj{heartbeats: 1}, "first_sequence", "00000000000000000001", "last_sequence", "00000000000000000001")), till(15*minute)),
	outside(rules.SourceSilent, "totals too high", with(beat("b1", 0), closed("p", 0, minute, obj{heartbeats: 2})), till(15*minute)),
	outside(rules.SourceSilent, "totals without a type", with(beat("b1", 0), closed("p", 0, minute, obj{})), till(15*minute)),
	inside(rules.SourceSilent, "the end of a period is not in it", with(beat("b1", minute), closed("p", 0, minute, obj{})), till(15*minute)),
	outside(rules.SourceSilent, "another last number", with(beat("b1", 0), closed("p", 0, minute, obj{heartbeats: 1}, "last_sequence", "00000000000000000002")), till(15*minute)),

	inside(rules.Time, "logged after 15 min", logged("command", 15*minute)),
	outside(rules.Time, "logged later", logged("command", 15*minute+time.Millisecond)),
	inside(rules.Time, "recorded after 5 min", record("end", 5*minute)),
	outside(rules.Time, "recorded later", record("end", 5*minute+time.Millisecond)),
	inside(rules.Time, "30 s ahead", logged("end", -30*time.Second)),
	outside(rules.Time, "further ahead", logged("end", -30*time.Second-time.Millisecond)),
	outside(rules.Time, "recorded before the event before", at("end", 59*time.Second), logged("end", 2*time.Second)),
	inside(rules.Time, "happened when the period ended", with(beat("b1", 0), closed("p", 0, minute, obj{heartbeats: 1}), beat("b2", minute)), record("b2", 2*time.Second)),
	outside(rules.Time, "inserted into a closed period", with(beat("b1", 0), closed("p", 0, minute, obj{heartbeats: 1}), beat("b2", minute-time.Millisecond)), record("b2", 2*time.Second)),

	inside(rules.CorrectionAbuse, "words", correction("/data/reason")),
	outside(rules.CorrectionAbuse, "nobody else approved", correction("/data/reason", set("correction", "approved_by", escort))),
	outside(rules.CorrectionAbuse, "another source", correction("/data/reason", set("correction", "target", "@review"))),
	outside(rules.CorrectionAbuse, "an identity", correction("/data/typed_by/ref")),
	outside(rules.CorrectionAbuse, "a place", correction("/data/typed_by/location_country")),
	outside(rules.CorrectionAbuse, "a time", correction("/time")),
	outside(rules.CorrectionAbuse, "a digest", correction("/data/match_digest")),
	outside(rules.CorrectionAbuse, "a decision", correction("/data/decision")),
	outside(rules.CorrectionAbuse, "everything", correction("/data")),
	outside(rules.CorrectionAbuse, "a digest within a value", correction("/data/note", set("correction", "patch", []obj{{"op": "add", "path": "/data/note", "value": obj{"match_digest": "x"}}}))),
	outside(rules.CorrectionAbuse, "an identity moved", correction("/data/note", set("correction", "patch", []obj{{"op": "copy", "path": "/data/note", "from": "/data/typed_by"}}))),
	inside(rules.CorrectionAbuse, "a test changes nothing", correction("/data/note", set("correction", "patch", []obj{{"op": "test", "path": "/time", "value": "x"}}))),
	inside(rules.CorrectionAbuse, "retracted", retraction(approver)),
	outside(rules.CorrectionAbuse, "retracted alone", retraction(escort)),
	inside(rules.CorrectionAbuse, "redacted by two", redaction(escort, approver)),
	outside(rules.CorrectionAbuse, "redacted by one", redaction(escort, escort)),

	inside(rules.RevokedUse, "nothing revoked"),
	inside(rules.RevokedUse, "separated as the session ends", separation("p-engineer", hour)),
	inside(rules.RevokedUse, "separated at the last word", separation("p-engineer", 31*time.Second)),
	outside(rules.RevokedUse, "separated before the last word", separation("p-engineer", 31*time.Second-time.Millisecond)),
	outside(rules.RevokedUse, "an author who had left", separation("p-author", -3*hour-time.Millisecond), without("application")),
	inside(rules.RevokedUse, "enrolled again", separation("p-engineer", -2*day), with(line{name: "back", at: -day, source: "registry", typ: "person.enrolled", data: obj{"person": engineer}})),
	inside(rules.RevokedUse, "the grant ended with the last command", grantRevocation(60*time.Second)),
	outside(rules.RevokedUse, "a command after the grant ended", grantRevocation(60*time.Second-time.Millisecond)),
	inside(rules.RevokedUse, "the authorisation ended with the last word", revokedAuthorisation("p-engineer", "a-engineer", 31*time.Second)),
	outside(rules.RevokedUse, "the authorisation had ended", revokedAuthorisation("p-engineer", "a-engineer", 31*time.Second-time.Millisecond)),

	inside(rules.Undisclosed, "declared"),
	outside(rules.Undisclosed, "a country", set("plan", "countries", []string{"US"})),
	outside(rules.Undisclosed, "a kind of employment", everywhere(engineer, but(engineer, "employment", "contractor"))),
	outside(rules.Undisclosed, "a citizenship class", set("plan", "citizenship_classes", []string{"us_citizen"})),
	outside(rules.Undisclosed, "the escorts", set("plan", "escort_model", "none")),
	inside(rules.Undisclosed, "a plan that came later", with(line{name: "old plan", at: -8 * day, source: "registry", typ: "ssp.declared", data: obj{"ssp_id": "ssp-1", "systems": []string{"sys-7"}, "countries": []string{}, "employments": []string{}, "citizenship_classes": []string{}, "escort_model": "none", "validity": window(-9*day, 9*day)}})),
}

// TestBoundaries judges every case twice: while its sessions and changes are
// still open to the rules, and when they were settled long ago.
func TestBoundaries(t *testing.T) {
	perRule := map[int][2]int{}
	for _, tt := range tests {
		kinds := perRule[tt.rule]
		kinds[min(tt.want, 1)]++
		perRule[tt.rule] = kinds
		t.Run(rules.Catalogue()[tt.rule-1].Name+"/"+tt.name, func(t *testing.T) {
			s, end := base(), 6*day
			for _, e := range tt.edits {
				s = e(s)
			}
			settled := true
			if i := slices.IndexFunc(s, func(l line) bool { return l.name == "till" }); i >= 0 {
				end, settled = s[i].at, false
				s = slices.DeleteFunc(s, func(l line) bool { return l.at > end || l.name == "till" })
			}
			te := newTeller(t).tell(s)
			compare(t, "open", te.judge(nil, end)[tt.rule-1], tt.want)
			if settled && tt.rule != rules.SourceSilent {
				te.tell(story{{name: "long after", at: 200 * day, source: "other", typ: "drift.detected", data: obj{"target": system("sys-0", "IL2"), "observed_digest": digest("0")}}})
				want := tt.want
				if tt.rule == rules.ChangeDigestDrift {
					want++ // that drift
				}
				compare(t, "settled", te.judge(nil, 201*day)[tt.rule-1], want)
			}
		})
	}
	for number := 1; number <= 25; number++ {
		if kinds := perRule[number]; kinds[0] == 0 || kinds[1] == 0 {
			t.Errorf("rule %d has %d cases inside and %d outside", number, kinds[0], kinds[1])
		}
	}
}

func compare(t *testing.T, when string, v rules.Verdict, want int) {
	t.Helper()
	if int(v.Count) != want || len(v.Findings) != want {
		t.Errorf("%s: %d findings, want %d: %+v", when, v.Count, want, v.Findings)
	}
	status := rules.Pass
	if want > 0 {
		status = rules.Fail
	}
	if v.Status != status || v.Population == 0 && want == 0 {
		t.Errorf("%s: %s over %d, want %s (%s)", when, v.Status, v.Population, status, v.Reason)
	}
	for _, f := range v.Findings {
		if len(f.Refs) == 0 || f.Detail == "" || f.Subject == "" || f.Severity == "" || f.Time == 0 {
			t.Errorf("%s: a finding that says too little: %+v", when, f)
		}
	}
}

// TestNothingIsGreenOverNothing: an empty log, and one in which there is nothing
// that a rule looks at.
func TestNothingIsGreenOverNothing(t *testing.T) {
	for name, te := range map[string]*teller{"no leaf": {t: t}, "keys only": newTeller(t)} {
		for _, v := range te.judge(nil, day) {
			if v.Status != rules.NotEvaluable || v.Population != 0 || v.Reason == "" {
				t.Errorf("%s: %s is %s over %d: %q", name, v.Name, v.Status, v.Population, v.Reason)
			}
		}
	}
}

// TestCompromisedKey: the uses of a key since it was compromised are found, and
// those before are not.
func TestCompromisedKey(t *testing.T) {
	for since, want := range map[time.Duration]int{2 * hour: 1, 2*hour + time.Millisecond: 0} {
		te := newTeller(t).tell(base())
		payload, err := event.NewKeyRevoked(te.header("revocation", day), event.Revocation{KeyID: publicKey(t, "p-escort").KeyID(), Reason: event.Compromised, Since: noon.Add(since)})
		te.authority(payload, err, "admin")
		compare(t, since.String(), te.judge(nil, 6*day)[rules.RevokedUse-1], want)
	}
}

// TestRegisteredHeartbeat: a source that is registered with a heartbeat and never
// sends one is silent, until it is retired.
func TestRegisteredHeartbeat(t *testing.T) {
	te := newTeller(t)
	payload, err := event.NewSourceRegistered(te.header("registration", 0), event.SourceRegistration{Source: "urn:example:monitor", HeartbeatSeconds: 60})
	te.authority(payload, err, "admin")
	v := te.judge(nil, 2*minute)[rules.SourceSilent-1]
	compare(t, "twice its period", v, 0)
	compare(t, "later", te.judge(nil, 2*minute+time.Millisecond)[rules.SourceSilent-1], 1)
	payload, err = event.NewSourceRetired(te.header("retirement", 2*minute), event.SourceRetirement{Source: "urn:example:monitor", Reason: "gone"})
	te.authority(payload, err, "admin")
	compare(t, "retired", te.judge(nil, day)[rules.SourceSilent-1], 0)
}

// TestReportsChangeNothing: however the leaves are split over reports, the last
// report is the same.
func TestReportsChangeNothing(t *testing.T) {
	s := base()
	for _, e := range []edit{and(sessions(3, minute)), without("attestation-3", "end-2"), script(set("script", "scan", nil)), rejected(-day), separation("p-engineer", 0), emergency, drift(digest("x"))} {
		s = e(s)
	}
	te := newTeller(t).tell(s).tell(session("20", 50*day))
	want := te.judge(nil, 60*day)
	for _, every := range []int{1, 2, 7, 50} {
		e := rules.New(nil)
		for i, r := range te.records {
			e.Add(r)
			if i%every == 0 {
				e.Report(time.UnixMilli(r.LeafTime).Add(time.Duration(i) * hour))
			}
		}
		if got := e.Report(noon.Add(60 * day)); !reflect.DeepEqual(got, want) {
			t.Errorf("with a report every %d leaves the last one differs", every)
		}
	}
	failing := 0
	for _, v := range want {
		if v.Status == rules.Fail {
			failing++
		}
	}
	if failing < 7 {
		t.Errorf("the story makes only %d rules fail", failing)
	}
}

// TestYoungEventsWait: what other sources may still say about a moment is waited
// for.
func TestYoungEventsWait(t *testing.T) {
	te := newTeller(t).tell(slices.Concat(registry(), without("presence", "attestation", "finalized", "end", "segment 1", "segment 2")(session("1", 0))))
	command := 60 * time.Second
	if v := te.judge(nil, command+15*minute-time.Millisecond)[rules.EscortAbsent-1]; v.Status != rules.NotEvaluable {
		t.Errorf("judged at once: %+v", v)
	}
	compare(t, "after 15 min", te.judge(nil, command+15*minute)[rules.EscortAbsent-1], 1)
}

// TestDue: what is due is missed only once it is, and had its time to come in.
func TestDue(t *testing.T) {
	for name, tt := range map[string]struct {
		rule  int
		due   time.Duration // the last moment at which nothing is missed
		edits []edit
	}{
		"an attestation":          {rules.NoAttestation, 25*hour + 15*minute, []edit{without("attestation")}},
		"a second review":         {rules.NoAttestation, 74*hour + 15*minute, []edit{set("attestation", "observed_all", false)}},
		"an emergency's approval": {rules.ChangeUnapproved, 24*hour + 25*minute, []edit{emergency, without("change approval")}},
		"an end":                  {rules.Lifecycle, 26*hour + 15*minute, []edit{without("end", "attestation")}},
		"a recording":             {rules.RecordingGap, 2*hour + 15*minute - time.Millisecond, []edit{without("finalized")}},
		"a change for a drift":    {rules.ChangeDigestDrift, 2*hour + 15*minute - time.Millisecond, []edit{drift(digest("x"))}},
	} {
		s := base()
		for _, e := range tt.edits {
			s = e(s)
		}
		te := newTeller(t).tell(s)
		if v := te.judge(nil, tt.due)[tt.rule-1]; v.Count != 0 {
			t.Errorf("%s: missed too early: %+v", name, v)
		}
		compare(t, name+", then", te.judge(nil, tt.due+time.Millisecond)[tt.rule-1], 1)
	}
}

// TestNothingToCompare: one role alone is no population of SEPARATION, a session
// that never began none of the rules about sessions.
func TestNothingToCompare(t *testing.T) {
	te := newTeller(t).tell(session("1", 0)[:1])
	for _, v := range te.judge(nil, 6*day) {
		green := map[int]bool{rules.CoveredNation: true, rules.Sequence: true, rules.Time: true, rules.RevokedUse: true}
		if want := green[v.Number]; (v.Status == rules.Pass) != want {
			t.Errorf("%s: %s over %d", v.Name, v.Status, v.Population)
		}
	}
}
