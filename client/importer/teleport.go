package importer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Teleport audit events (https://goteleport.com/docs/reference/audit-events/),
// one a line as Teleport writes them, or in an array as it exports them.
//
// What each becomes:
//
//	record (event)                                  event type         ext.category
//	session.start, db.session.start,
//	  windows.desktop.session.start,
//	  app.session.start, with sid and target        session.started    session.start
//	session.end and the like, with sid              session.ended      session.end
//	any of these that failed, may have, or
//	  states less                                   record.observed    as above
//	session.join, session.leave                     record.observed    participant.join, participant.leave
//	exec, session.command, db.session.query,
//	  kube.request                                  record.observed    command.run
//	sftp, scp                                       record.observed    file.transfer
//	access_request.create, .update, .review         record.observed    access.request, access.review
//	user.login                                      record.observed    login
//	session_recording_config.update                 record.observed    audit.change
//	other ….create(d), .update(d), .delete(d) …     record.observed    configuration.change
//	anything else                                   record.observed    other
//
// The target is the server (its id), the Kubernetes cluster, the database, the
// desktop (its name, or where older versions give none its address) or the
// application. The login is the account. Teleport knows users,
// not who of them is an engineer and who an escort: both stay null, and in other
// records the user is the actor, with role "principal". recording_mode is off
// where session_recording says so, else not known: strict and best_effort are of
// the role, not of the record. session.ended gives no reason but "other".
//
// Why not more of them map to types of their own: an exec or a session.command
// has no salted commitment to its command, and an importer which makes the same
// bytes each time cannot draw one; an sftp states no digest of the file; a
// session.join not what the participant may do; a review neither the systems nor
// the window that it grants.
//
// ext.outcome is "failed" where success is false, there is an error, or the code
// ends in E; "unknown" where the code ends in W, a warning, and there is no
// success: session.rejected, say, did not succeed; else "succeeded".

// teleportEvent is what is read of a record. All else stays in it.
type teleportEvent struct {
	Event             string `json:"event"`
	Code              string `json:"code"`
	UID               string `json:"uid"`
	Time              string `json:"time"`
	User              string `json:"user"`
	Login             string `json:"login"`
	SID               string `json:"sid"`
	Success           *bool  `json:"success"`
	Error             string `json:"error"`
	ServerID          string `json:"server_id"`
	ServerHostname    string `json:"server_hostname"`
	KubernetesCluster string `json:"kubernetes_cluster"`
	DBService         string `json:"db_service"`
	DBUser            string `json:"db_user"`
	DesktopName       string `json:"desktop_name"`
	DesktopAddr       string `json:"desktop_addr"`
	WindowsUser       string `json:"windows_user"`
	AppName           string `json:"app_name"`
	SessionRecording  string `json:"session_recording"`
	SessionStart      string `json:"session_start"`
	SessionStop       string `json:"session_stop"`
}

// The kinds of sessions that Teleport knows, by what stands before session.start.
var teleportProtocols = map[string]string{"": "ssh", "db.": "database", "windows.desktop.": "rdp", "app.": "https"}

func convertTeleport(record jsontext.Value) (*draft, error) {
	var r teleportEvent
	if err := readRecord(record, &r); err != nil {
		return nil, fmt.Errorf("not a Teleport audit event: %w", err)
	}
	if r.Event == "" || r.Code == "" {
		return nil, errors.New("not a Teleport audit event: it has no event and code")
	}
	at, err := readTime(r.Time)
	if err != nil {
		return nil, fmt.Errorf("not a Teleport audit event: %w", err)
	}
	d := observed(at, r.Event, r.UID, r.category(), r.outcome())
	if r.session(d) {
		return d, nil
	}
	d.observe(principal(r.User), r.target(), r.SID)
	return d, nil
}

// session makes a session event where the record states one.
func (r *teleportEvent) session(d *draft) bool {
	if !isID(r.SID) || r.outcome() != "succeeded" {
		return false
	}
	if kind, ok := strings.CutSuffix(r.Event, "session.start"); ok {
		protocol, known := teleportProtocols[kind]
		if !known || !isID(r.target()) {
			return false
		}
		if r.KubernetesCluster != "" {
			protocol = "kubernetes"
		}
		d.started(r.SID, r.target(), protocol)
		for _, account := range []string{r.Login, r.DBUser, r.WindowsUser} {
			if account != "" && account == kindName(account) {
				d.data["account"] = account
				break
			}
		}
		if r.SessionRecording == "off" {
			d.data["recording_mode"] = "off"
		}
		return true
	}
	if kind, ok := strings.CutSuffix(r.Event, "session.end"); ok && teleportProtocols[kind] != "" {
		d.ended(r.SID, "other")
		start, err := readTime(r.SessionStart)
		if stop, err2 := readTime(r.SessionStop); err == nil && err2 == nil && !stop.Before(start) {
			d.data["duration_ms"] = int64(stop.Sub(start) / time.Millisecond)
		}
		return true
	}
	return false
}

// target is the system that the record is about, or empty.
func (r *teleportEvent) target() string {
	return firstID(r.KubernetesCluster, r.DBService, r.DesktopName, r.DesktopAddr, r.AppName, r.ServerID, r.ServerHostname)
}

func (r *teleportEvent) outcome() string {
	if r.Success != nil && !*r.Success || r.Error != "" || strings.HasSuffix(r.Code, "E") {
		return "failed"
	}
	if r.Success == nil && strings.HasSuffix(r.Code, "W") {
		return "unknown"
	}
	return "succeeded"
}

func (r *teleportEvent) category() string {
	for _, c := range []struct {
		suffix, category string
	}{{"session.start", "session.start"}, {"session.end", "session.end"}} {
		if kind, ok := strings.CutSuffix(r.Event, c.suffix); ok && teleportProtocols[kind] != "" {
			return c.category
		}
	}
	switch r.Event {
	case "session.join":
		return "participant.join"
	case "session.leave":
		return "participant.leave"
	case "exec", "session.command", "db.session.query", "kube.request":
		return "command.run"
	case "sftp", "scp":
		return "file.transfer"
	case "access_request.create", "access_request.update":
		return "access.request"
	case "access_request.review":
		return "access.review"
	case "user.login":
		return "login"
	case "session_recording_config.update":
		return "audit.change"
	}
	verb := r.Event[strings.LastIndexByte(r.Event, '.')+1:]
	if slices.Contains([]string{"create", "created", "update", "updated", "delete", "deleted", "upsert"}, verb) {
		return "configuration.change"
	}
	return "other"
}
