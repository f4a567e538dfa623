package importer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Events of the Open Cybersecurity Schema Framework 1.x
// (https://schema.ocsf.io), as JSON, one a line or in an array.
//
// What each becomes:
//
//	record (class_uid, activity_id)                 event type         ext.category
//	4007 SSH Activity: 1 Open, with a session
//	  and dst_endpoint                              session.started    session.start
//	4007 SSH Activity: 2 Close, with a session      session.ended      session.end
//	either of these that failed or states less      record.observed    as above
//	1007 Process Activity: 1 Launch                 record.observed    command.run
//	3001 Account Change                             record.observed    account.change
//	3002 Authentication: 2 Logoff; others           record.observed    logout; login
//	3003 Authorize Session                          record.observed    role.assume
//	3005 User Access, 3006 Group Management         record.observed    access.change
//	3004 Entity Management, 6003 API Activity:
//	  1 Create, 3 Update, 4 Delete                  record.observed    configuration.change
//	  2 Read                                        record.observed    read
//	anything else                                   record.observed    other
//
// Why not more of them map to types of their own: a logon is no session on a
// system that somebody was granted, a launched process has no commitment to its
// command line (and an importer which makes the same bytes each time cannot draw
// a salt for one), and an account or access change names neither the escorted
// session nor a digest of what was applied.
//
// The time is time, or where that is not in milliseconds since the epoch time_dt, or
// time as RFC 3339.
// The actor is actor.user, in authentications the user, with role "principal".
// The target is the one resource, else dst_endpoint, else device. session_id is
// that of connection_info, of the event, or of its actor. ext.outcome is
// "failed" for status_id 2, "succeeded" for 1, else "unknown", which opens and
// closes sessions too: SSH activity often has no status.

// ocsfEvent is what is read of a record. All else stays in it.
type ocsfEvent struct {
	ClassUID   int64          `json:"class_uid"`
	ActivityID int64          `json:"activity_id"`
	TypeName   string         `json:"type_name"`
	StatusID   int64          `json:"status_id"`
	Time       jsontext.Value `json:"time"`    // ms since the epoch
	TimeDT     string         `json:"time_dt"` // the same, RFC 3339; of the datetime profile
	Metadata   struct {
		Version string `json:"version"`
		UID     string `json:"uid"`
	} `json:"metadata"`
	Actor struct {
		User    ocsfUser    `json:"user"`
		Session ocsfSession `json:"session"`
	} `json:"actor"`
	User           ocsfUser    `json:"user"`
	Session        ocsfSession `json:"session"`
	ConnectionInfo struct {
		Session ocsfSession `json:"session"`
	} `json:"connection_info"`
	DstEndpoint ocsfEndpoint   `json:"dst_endpoint"`
	Device      ocsfEndpoint   `json:"device"`
	Resources   []ocsfResource `json:"resources"`
}

type ocsfUser struct {
	UID  string `json:"uid"`
	Name string `json:"name"`
}

type ocsfSession struct {
	UID string `json:"uid"`
}

type ocsfResource struct {
	UID  string `json:"uid"`
	Name string `json:"name"`
}

type ocsfEndpoint struct {
	UID         string `json:"uid"`
	InstanceUID string `json:"instance_uid"`
	Hostname    string `json:"hostname"`
}

func (e ocsfEndpoint) id() string { return firstID(e.UID, e.InstanceUID, e.Hostname) }

// The classes of the table.
const (
	ocsfProcess        = 1007
	ocsfAccount        = 3001
	ocsfAuthentication = 3002
	ocsfAuthorize      = 3003
	ocsfEntity         = 3004
	ocsfUserAccess     = 3005
	ocsfGroup          = 3006
	ocsfSSH            = 4007
	ocsfAPI            = 6003
)

func convertOCSF(record jsontext.Value) (*draft, error) {
	var r ocsfEvent
	if err := readRecord(record, &r); err != nil {
		return nil, fmt.Errorf("not an OCSF event: %w", err)
	}
	if !strings.HasPrefix(r.Metadata.Version, "1.") {
		return nil, fmt.Errorf("not an OCSF 1.x event: its metadata.version is %q", r.Metadata.Version)
	}
	if r.ClassUID <= 0 || r.Time == nil {
		return nil, errors.New("not an OCSF event: it has no class_uid and time")
	}
	at, err := r.at()
	if err != nil {
		return nil, fmt.Errorf("not an OCSF event: %w", err)
	}
	kind := r.TypeName
	if kind == "" {
		kind = fmt.Sprint(r.ClassUID*100 + r.ActivityID) // what type_uid is defined to be
	}
	d := observed(at, kind, r.Metadata.UID, r.category(), r.outcome())
	session := firstID(r.ConnectionInfo.Session.UID, r.Session.UID, r.Actor.Session.UID)
	if r.ClassUID == ocsfSSH && session != "" && r.outcome() != "failed" {
		switch target := r.DstEndpoint.id(); {
		case r.ActivityID == 1 && target != "":
			d.started(session, target, "ssh")
			return d, nil
		case r.ActivityID == 2:
			d.ended(session, "other") // the record does not say why
			return d, nil
		}
	}
	d.observe(r.principal(), r.target(), session)
	return d, nil
}

// at is when it happened. Some producers write time in microseconds; then time_dt
// says what it was meant to be. Some write it as time_dt is to be written.
func (r *ocsfEvent) at() (time.Time, error) {
	ms, err := strconv.ParseInt(string(r.Time), 10, 64)
	// The last instant that RFC 3339 can write.
	if err == nil && ms >= 0 && ms <= time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).UnixMilli() {
		return time.UnixMilli(ms).UTC(), nil
	}
	text, _ := jsontext.AppendUnquote(nil, r.Time) // what is no string gives none
	for _, s := range []string{r.TimeDT, string(text)} {
		if at, err := readTime(s); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("time %.40s is not in milliseconds since the epoch, and there is no time_dt", r.Time)
}

func (r *ocsfEvent) principal() any {
	if r.ClassUID == ocsfAuthentication {
		return principal(r.User.UID, r.User.Name, r.Actor.User.UID, r.Actor.User.Name)
	}
	return principal(r.Actor.User.UID, r.Actor.User.Name)
}

// target is the one thing the record is about, or empty.
func (r *ocsfEvent) target() string {
	if len(r.Resources) == 1 {
		if id := firstID(r.Resources[0].UID, r.Resources[0].Name); id != "" {
			return id
		}
	}
	return firstID(r.DstEndpoint.id(), r.Device.id())
}

func (r *ocsfEvent) outcome() string {
	switch r.StatusID {
	case 1:
		return "succeeded"
	case 2:
		return "failed"
	}
	return "unknown"
}

func (r *ocsfEvent) category() string {
	switch r.ClassUID {
	case ocsfSSH:
		switch r.ActivityID {
		case 1:
			return "session.start"
		case 2:
			return "session.end"
		}
	case ocsfProcess:
		if r.ActivityID == 1 {
			return "command.run"
		}
	case ocsfAccount:
		return "account.change"
	case ocsfAuthentication:
		if r.ActivityID == 2 {
			return "logout"
		}
		return "login"
	case ocsfAuthorize:
		return "role.assume"
	case ocsfUserAccess, ocsfGroup:
		return "access.change"
	case ocsfEntity, ocsfAPI:
		switch r.ActivityID {
		case 1, 3, 4:
			return "configuration.change"
		case 2:
			return "read"
		}
	}
	return "other"
}
