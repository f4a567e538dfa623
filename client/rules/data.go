package rules

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/escortlog/escortlog/log/event"
)

// The members of events' data that rules read; the schemas of log/event say
// what they mean.

// person is a Person of the schemas, with what the registry knew beside it.
type person struct {
	Ref           string `json:"ref"`
	Employment    string `json:"employment"`
	Citizenship   string `json:"citizenship_class"`
	Country       string `json:"location_country"`
	CountrySource string `json:"location_source"`

	registry *person // what the registry had said when the event came; nil: nothing
}

type system struct {
	ID     string   `json:"id"`
	Level  string   `json:"impact_level"`
	Skills []string `json:"required_skills"`
}

type window struct {
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

func (w window) holds(t time.Time) bool { return !t.Before(w.NotBefore) && !t.After(w.NotAfter) }

type interval struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

type eventRef struct {
	Source string `json:"source"`
	ID     string `json:"id"`
}

// role is what somebody does in an event.
type role string

const (
	asRequester   role = "requester"
	asApprover    role = "approver"
	asEngineer    role = "engineer"
	asEscort      role = "escort"
	asParticipant role = "participant"
	asViewer      role = "viewer"
	asActor       role = "actor" // did something in a session
	asReviewer    role = "reviewer"
	asAuthor      role = "author"
	asOther       role = "other" // decided something about a change or a session
)

// access reports whether somebody in this role touches or sees the system.
func (r role) access() bool {
	switch r {
	case asEngineer, asEscort, asParticipant, asViewer, asActor:
		return true
	}
	return false
}

// named is a person in a role.
type named struct {
	role   role
	person *person
}

// people leaves out those that are not known.
func people(list ...named) []named {
	out := list[:0]
	for _, n := range list {
		if n.person != nil {
			out = append(out, n)
		}
	}
	return out
}

// payload is the decoded data of an event that rules read.
type payload interface{ people() []named }

// nobody is a payload, or a part of one, in which rules look for no people.
type nobody struct{}

func (nobody) people() []named { return nil }

// Sessions.

type requested struct {
	Requester *person `json:"requester"`
}

func (d *requested) people() []named { return people(named{asRequester, d.Requester}) }

type approved struct {
	Approver       *person  `json:"approver"`
	Targets        []system `json:"targets"`
	Privileges     []string `json:"privileges"`
	Window         window   `json:"window"`
	EscortRequired bool     `json:"escort_required"`
}

func (d *approved) people() []named { return people(named{asApprover, d.Approver}) }

type denied struct {
	Approver *person `json:"approver"`
}

func (d *denied) people() []named { return people(named{asOther, d.Approver}) }

type grantRevoked struct {
	nobody
	Approval    eventRef  `json:"approval"`
	EffectiveAt time.Time `json:"effective_at"`
}

type assigned struct {
	nobody
	Skills []string `json:"required_skills"`
}

type started struct {
	Approval      *eventRef `json:"approval"`
	Target        system    `json:"target"`
	Engineer      *person   `json:"engineer"`
	EngineerMode  string    `json:"engineer_mode"`
	Escort        *person   `json:"escort"`
	RecordingMode string    `json:"recording_mode"`
	Privileges    []string  `json:"privileges"`
	Window        *window   `json:"window"`
}

func (d *started) people() []named {
	return people(named{asEngineer, d.Engineer}, named{asEscort, d.Escort})
}

type ended struct {
	nobody
	Counts       map[string]int64 `json:"counts"`
	LastSequence string           `json:"last_sequence"`
}

type elevated struct {
	Person *person `json:"person"`
}

func (d *elevated) people() []named { return people(named{asActor, d.Person}) }

type joined struct {
	Participant       *person `json:"participant"`
	ConnectionCountry string  `json:"connection_country"`
}

func (d *joined) people() []named { return people(named{asParticipant, d.Participant}) }

type shared struct {
	Sharer  *person  `json:"sharer"`
	Viewers []person `json:"viewers"`
}

func (d *shared) people() []named {
	list := people(named{asActor, d.Sharer})
	for i := range d.Viewers {
		list = append(list, named{asViewer, &d.Viewers[i]})
	}
	return list
}

type presence struct {
	Escort *person `json:"escort"`
	State  string  `json:"state"`
}

func (d *presence) people() []named { return nil } // a sensor's word, which escort it looks for

type handedOff struct {
	From     *person `json:"from"`
	To       *person `json:"to"`
	Accepted bool    `json:"accepted"`
}

func (d *handedOff) people() []named {
	if !d.Accepted {
		return people(named{asEscort, d.From})
	}
	return people(named{asEscort, d.From}, named{asEscort, d.To})
}

type received struct {
	InstructionID string  `json:"instruction_id"`
	From          *person `json:"from"`
	Lines         int64   `json:"lines"`
}

func (d *received) people() []named { return people(named{asActor, d.From}) }

type reviewed struct {
	InstructionID  string  `json:"instruction_id"`
	Reviewer       *person `json:"reviewer"`
	Decision       string  `json:"decision"`
	DurationMS     int64   `json:"duration_ms"`
	ReviewedDigest string  `json:"reviewed_digest"`
}

func (d *reviewed) people() []named { return people(named{asActor, d.Reviewer}) }

// accepts reports whether the instruction may be executed, perhaps changed.
func (d *reviewed) accepts() bool { return d.Decision != "rejected" }

type executed struct {
	InstructionRef *eventRef `json:"instruction_ref"`
	MatchDigest    string    `json:"match_digest"`
	TypedBy        *person   `json:"typed_by"`
	Target         *system   `json:"target"`
}

func (d *executed) people() []named { return people(named{asActor, d.TypedBy}) }

type artifact struct {
	Digest    string `json:"digest"`
	MediaType string `json:"media_type"`
}

type scan struct {
	Verdict string `json:"verdict"`
	Digest  string `json:"digest"`
}

type staged struct {
	ScriptID string    `json:"script_id"`
	Artifact artifact  `json:"artifact"`
	StagedBy *person   `json:"staged_by"`
	Scan     *scan     `json:"scan"`
	Review   *eventRef `json:"review"`
}

func (d *staged) people() []named { return people(named{asActor, d.StagedBy}) }

type fileMoved struct {
	Direction string   `json:"direction"`
	Artifact  artifact `json:"artifact"`
	Actor     *person  `json:"actor"`
}

func (d *fileMoved) people() []named { return people(named{asActor, d.Actor}) }

type clipboardMoved struct {
	Actor *person `json:"actor"`
}

func (d *clipboardMoved) people() []named { return people(named{asActor, d.Actor}) }

type segment struct {
	nobody
	RecordingID string   `json:"recording_id"`
	Segment     int64    `json:"segment"`
	Interval    interval `json:"interval"`
	Artifact    artifact `json:"artifact"`
	PrevDigest  string   `json:"prev_digest"`
}

type finalized struct {
	nobody
	RecordingID string `json:"recording_id"`
	Segments    int64  `json:"segments"`
	CoveredMS   int64  `json:"covered_ms"`
	LastDigest  string `json:"last_digest"`
}

type recordingFailed struct {
	nobody
	Mode      string `json:"mode"`
	Continued bool   `json:"session_continued"`
}

type attested struct {
	Attester      *person         `json:"attester"`
	ObservedAll   bool            `json:"observed_all"`
	UnderstoodAll bool            `json:"understood_all"`
	Unexplained   int64           `json:"unexplained_count"`
	Anomalies     json.RawMessage `json:"anomalies"`
}

func (d *attested) people() []named { return nil } // the escort, after the session

// odd reports whether a second person has to look.
func (d *attested) odd() bool {
	return !d.ObservedAll || !d.UnderstoodAll || d.Unexplained > 0 || len(d.Anomalies) > 0 && string(d.Anomalies) != "null"
}

type sessionReviewed struct {
	Reviewer *person `json:"reviewer"`
}

func (d *sessionReviewed) people() []named { return people(named{asReviewer, d.Reviewer}) }

// belongs says which state an event is part of.
type belongs int

const (
	toLog belongs = iota
	toSession
	toChange
)

// kinds holds the types that rules read, by short name; a session's events that
// no rule reads are there too, since they are counted.
var kinds = map[string]struct {
	belongs belongs
	make    func() payload
}{
	"session.requested":         {toSession, func() payload { return new(requested) }},
	"session.approved":          {toSession, func() payload { return new(approved) }},
	"session.denied":            {toSession, func() payload { return new(denied) }},
	"session.grant_revoked":     {toSession, func() payload { return new(grantRevoked) }},
	"escort.assigned":           {toSession, func() payload { return new(assigned) }},
	"session.started":           {toSession, func() payload { return new(started) }},
	"session.paused":            {toSession, func() payload { return new(nobody) }},
	"session.resumed":           {toSession, func() payload { return new(nobody) }},
	"session.ended":             {toSession, func() payload { return new(ended) }},
	"privilege.elevated":        {toSession, func() payload { return new(elevated) }},
	"participant.joined":        {toSession, func() payload { return new(joined) }},
	"participant.left":          {toSession, func() payload { return new(nobody) }},
	"screenshare.started":       {toSession, func() payload { return new(shared) }},
	"screenshare.stopped":       {toSession, func() payload { return new(nobody) }},
	"escort.presence":           {toSession, func() payload { return new(presence) }},
	"escort.handed_off":         {toSession, func() payload { return new(handedOff) }},
	"instruction.received":      {toSession, func() payload { return new(received) }},
	"instruction.reviewed":      {toSession, func() payload { return new(reviewed) }},
	"command.executed":          {toSession, func() payload { return new(executed) }},
	"command.blocked":           {toSession, func() payload { return new(nobody) }},
	"script.staged":             {toSession, func() payload { return new(staged) }},
	"file.transferred":          {toSession, func() payload { return new(fileMoved) }},
	"clipboard.transferred":     {toSession, func() payload { return new(clipboardMoved) }},
	"recording.segment_sealed":  {toSession, func() payload { return new(segment) }},
	"recording.finalized":       {toSession, func() payload { return new(finalized) }},
	"recording.failed":          {toSession, func() payload { return new(recordingFailed) }},
	"session.attested":          {toSession, func() payload { return new(attested) }},
	"session.reviewed":          {toSession, func() payload { return new(sessionReviewed) }},
	"change.proposed":           {toChange, func() payload { return new(proposed) }},
	"change.reviewed":           {toChange, func() payload { return new(changeReviewed) }},
	"change.approved":           {toChange, func() payload { return new(changeApproved) }},
	"change.rejected":           {toChange, func() payload { return new(changeRejected) }},
	"change.emergency_declared": {toChange, func() payload { return new(emergency) }},
	"change.applied":            {toChange, func() payload { return new(applied) }},
	"change.rolled_back":        {toChange, func() payload { return new(rolledBack) }},
	"change.verified":           {toChange, func() payload { return new(verified) }},
	"drift.detected":            {toLog, func() payload { return new(drifted) }},
	"person.enrolled":           {toLog, func() payload { return new(personSaid) }},
	"person.updated":            {toLog, func() payload { return new(personSaid) }},
	"person.separated":          {toLog, func() payload { return new(separated) }},
	"escort.qualified":          {toLog, func() payload { return new(qualified) }},
	"escort.disqualified":       {toLog, func() payload { return new(disqualified) }},
	"authorization.granted":     {toLog, func() payload { return new(authorized) }},
	"authorization.revoked":     {toLog, func() payload { return new(authorizationRevoked) }},
	"system.registered":         {toLog, func() payload { return new(systemSaid) }},
	"system.reclassified":       {toLog, func() payload { return new(systemSaid) }},
	"ssp.declared":              {toLog, func() payload { return new(planDeclared) }},
	"source.heartbeat":          {toLog, func() payload { return new(heartbeat) }},
	"period.closed":             {toLog, func() payload { return new(periodClosed) }},
	"source.gap":                {toLog, func() payload { return new(gap) }},
	"record.corrected":          {toLog, func() payload { return new(corrected) }},
	"record.retracted":          {toLog, func() payload { return new(retracted) }},
	"record.redacted":           {toLog, func() payload { return new(redacted) }},
}

// shortType returns the name of a type of version 1 without prefix and version,
// or the type itself.
func shortType(typ string) string {
	s, ok := strings.CutPrefix(typ, event.Prefix)
	if !ok {
		return typ
	}
	if s, ok = strings.CutSuffix(s, ".v1"); !ok {
		return typ
	}
	return s
}
