package importer

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/escortlog/escortlog/log/event"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// AWS CloudTrail records, as described in the AWS CloudTrail User Guide,
// "CloudTrail record contents for management, data, and network activity events"
// (https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html).
//
// What each becomes:
//
//	record (eventSource, eventName)               event type         ext.category
//	ssm StartSession, answered with a sessionId   session.started    session.start
//	ssm ResumeSession, succeeded                  session.resumed    session.resume
//	ssm TerminateSession, succeeded               session.ended      session.end
//	any of these that failed                      record.observed    as above
//	ssm SendCommand, StartAutomationExecution,
//	  ecs ExecuteCommand                          record.observed    command.send
//	ec2-instance-connect Send*SSHPublicKey,
//	  OpenTunnel                                  record.observed    access.open
//	sts AssumeRole*, GetFederationToken,
//	  GetSessionToken                             record.observed    role.assume
//	signin ConsoleLogin, SwitchRole,
//	  GetSigninToken and the like                 record.observed    login
//	StopLogging, DeleteTrail, UpdateTrail,
//	  PutEventSelectors … (see recordKeepers)     record.observed    audit.change
//	readOnly is false                             record.observed    configuration.change
//	readOnly is true                              record.observed    read
//	anything else                                 record.observed    other
//
// Why not more of them map to types of their own: SendCommand asks for a
// command, and the record neither shows its bytes nor that it ran, so it is no
// command.executed. A change.applied names the escorted session or the pipeline
// and a digest of what was applied, a privilege.elevated the session; AWS records
// know none of these. In session.started, the engineer, the escort, the approval
// and the recording stay null: not known.
//
// The principal of the call is the actor (or who ended or resumed the session),
// with role "principal": CloudTrail does not say which person that is.
// ext.outcome is "failed" where the record has an errorCode, errorMessage or a
// failed console login, else "succeeded".

// cloudTrailRecord is what is read of a record. All else stays in it.
type cloudTrailRecord struct {
	EventID           string         `json:"eventID"`
	EventTime         string         `json:"eventTime"`
	EventSource       string         `json:"eventSource"`
	EventName         string         `json:"eventName"`
	ErrorCode         string         `json:"errorCode"`
	ErrorMessage      string         `json:"errorMessage"`
	ReadOnly          jsontext.Value `json:"readOnly"` // a boolean, or one in a string
	UserIdentity      jsontext.Value `json:"userIdentity"`
	RequestParameters jsontext.Value `json:"requestParameters"`
	ResponseElements  jsontext.Value `json:"responseElements"`
	Resources         jsontext.Value `json:"resources"`
}

// recordKeepers are the calls that change what is recorded about everybody's
// calls, by service. An attacker, or an operator with something to hide, begins
// here.
var recordKeepers = map[string][]string{
	"cloudtrail": {"StopLogging", "StartLogging", "DeleteTrail", "UpdateTrail", "CreateTrail", "PutEventSelectors",
		"PutInsightSelectors", "DeleteEventDataStore", "UpdateEventDataStore", "StopEventDataStoreIngestion"},
	"config":    {"StopConfigurationRecorder", "DeleteConfigurationRecorder", "DeleteDeliveryChannel", "PutConfigurationRecorder"},
	"guardduty": {"DeleteDetector", "UpdateDetector"},
	"ec2":       {"DeleteFlowLogs"},
	"logs":      {"DeleteLogGroup", "DeleteLogStream", "PutRetentionPolicy"},
}

func convertCloudTrail(record jsontext.Value) (*draft, error) {
	var r cloudTrailRecord
	// Lone surrogates are the record's own affair, as long as we do not read them.
	if err := jsonv2.Unmarshal(record, &r, jsontext.AllowInvalidUTF8(true)); err != nil {
		return nil, fmt.Errorf("not a CloudTrail record: %w", err)
	}
	at, err := time.Parse("2006-01-02T15:04:05Z", r.EventTime)
	if err != nil || at.UnixMilli() < 0 {
		return nil, fmt.Errorf("not a CloudTrail record: eventTime %q is not a UTC time", r.EventTime)
	}
	if r.EventName == "" || r.EventSource == "" {
		return nil, errors.New("not a CloudTrail record: it has no eventName and eventSource")
	}
	service := strings.TrimSuffix(r.EventSource, ".amazonaws.com")
	d := &draft{
		typ: event.TypeRecordObserved, time: at, kind: r.EventName, recordID: r.EventID,
		data: map[string]any{}, ext: map[string]any{"category": r.category(service), "outcome": r.outcome()},
	}
	if service == "ssm" && r.session(d) {
		return d, nil
	}
	r.observe(d, service)
	return d, nil
}

// session makes a session event of a call to the AWS Session Manager, where the
// record says that it took effect.
func (r *cloudTrailRecord) session(d *draft) bool {
	id := stringIn(r.ResponseElements, "sessionId")
	if !isID(id) || r.outcome() != "succeeded" {
		return false
	}
	switch r.EventName {
	case "StartSession":
		target := stringIn(r.RequestParameters, "target")
		if !isID(target) {
			return false
		}
		d.typ = event.Prefix + "session.started.v1"
		for _, unknown := range []string{"approval", "account", "engineer", "engineer_mode", "escort", "recording_mode"} {
			d.data[unknown] = nil
		}
		d.data["target"] = map[string]any{"id": target}
		d.data["protocol"] = "other"
		if stringIn(r.RequestParameters, "documentName") == "AWS-StartSSHSession" {
			d.data["protocol"] = "ssh"
		}
	case "ResumeSession":
		d.typ = event.Prefix + "session.resumed.v1"
		d.data["resumed_by"] = r.principal()
	case "TerminateSession":
		d.typ = event.Prefix + "session.ended.v1"
		d.data["reason"] = "terminated"
		d.data["ended_by"] = r.principal()
		d.data["counts"], d.data["last_sequence"] = nil, nil
	default:
		return false
	}
	d.data["session_id"] = id
	d.subject = "session/" + id
	return true
}

// observe fills a record.observed with what the record states.
func (r *cloudTrailRecord) observe(d *draft, service string) {
	d.data["actor"] = r.principal()
	if target := r.target(); isID(target) {
		d.data["target"] = map[string]any{"id": target}
	}
	if id := stringIn(r.RequestParameters, "sessionId"); service == "ssm" && isID(id) {
		d.data["session_id"] = id
	}
}

// principal is who made the call, or nil where that is a service of AWS or
// nobody that could be named.
func (r *cloudTrailRecord) principal() any {
	id := stringIn(r.UserIdentity, "principalId")
	if !isID(id) {
		id = stringIn(r.UserIdentity, "arn")
	}
	if !isID(id) || stringIn(r.UserIdentity, "type") == "AWSService" {
		return nil
	}
	return map[string]any{"ref": id, "role": "principal"}
}

// target is the one thing the call was about, or empty where the record names
// none or several.
func (r *cloudTrailRecord) target() string {
	for _, name := range []string{"target", "instanceId"} {
		if id := stringIn(r.RequestParameters, name); id != "" {
			return id
		}
	}
	var parameters struct {
		InstanceIDs []string `json:"instanceIds"`
	}
	if decode(r.RequestParameters, &parameters) && len(parameters.InstanceIDs) == 1 {
		return parameters.InstanceIDs[0]
	}
	var resources []struct {
		ARN string `json:"ARN"`
	}
	if decode(r.Resources, &resources) && len(resources) == 1 {
		return resources[0].ARN
	}
	return ""
}

func (r *cloudTrailRecord) outcome() string {
	if r.ErrorCode != "" || r.ErrorMessage != "" || stringIn(r.ResponseElements, "ConsoleLogin") == "Failure" {
		return "failed"
	}
	return "succeeded"
}

// category says in one word what kind of call it was.
func (r *cloudTrailRecord) category(service string) string {
	for _, name := range recordKeepers[service] {
		if r.EventName == name {
			return "audit.change"
		}
	}
	switch service + " " + r.EventName {
	case "ssm StartSession":
		return "session.start"
	case "ssm ResumeSession":
		return "session.resume"
	case "ssm TerminateSession":
		return "session.end"
	case "ssm SendCommand", "ssm StartAutomationExecution", "ecs ExecuteCommand":
		return "command.send"
	case "ec2-instance-connect SendSSHPublicKey", "ec2-instance-connect SendSerialConsoleSSHPublicKey", "ec2-instance-connect OpenTunnel":
		return "access.open"
	case "sts GetFederationToken", "sts GetSessionToken":
		return "role.assume"
	}
	switch {
	case service == "sts" && strings.HasPrefix(r.EventName, "AssumeRole"):
		return "role.assume"
	case service == "signin":
		return "login"
	}
	switch strings.Trim(string(r.ReadOnly), `"`) {
	case "false":
		return "configuration.change"
	case "true":
		return "read"
	}
	return "other"
}

// stringIn returns the string member of an object, or empty where there is no
// object, no such member, or no string.
func stringIn(object jsontext.Value, name string) string {
	var members map[string]jsontext.Value
	var s string
	if !decode(object, &members) || !decode(members[name], &s) {
		return ""
	}
	return s
}

func decode(v jsontext.Value, into any) bool {
	return len(v) > 0 && jsonv2.Unmarshal(v, into) == nil
}
