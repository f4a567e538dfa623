package event

import (
	"slices"
	"strings"
	"sync"
)

// Prefix begins every type of this project.
const Prefix = "dev.escortlog."

// Roles: which kind of source may send a type. A source registered with
// roles sends only types of those roles; see source.registered.
const (
	RoleBroker        = "broker"        // grants access just in time
	RoleConsole       = "console"       // where escort and engineer work
	RoleGateway       = "gateway"       // sees the session's bytes
	RoleRecorder      = "recorder"      // keeps recordings
	RoleEscort        = "escort"        // a person, with a key of that person
	RoleReviewer      = "reviewer"      // a second person, with a key of that person
	RolePipeline      = "pipeline"      // applies changes
	RoleMonitor       = "monitor"       // watches configuration or the log
	RoleRegistry      = "registry"      // knows people and systems
	RoleAgency        = "agency"        // owns the mission and authorises people
	RoleAdministrator = "administrator" // of the log; signs authority events only
	RoleLogService    = "log_service"   // computes the verifiable index
	RoleAuditor       = "auditor"       // reads and reports
	RoleImporter      = "importer"      // brings in the records of other systems
	RoleAny           = "source"        // every source about itself
	RoleAuthoriser    = "authoriser"    // may have content withheld or held
)

// Type is one row of the table of event types.
type Type struct {
	Name     string   // full name, such as "dev.escortlog.session.started.v1"
	Family   string   // the word after the prefix
	Emitters []string // which roles send it

	// SubjectKind and SubjectField say what the attribute subject is: the kind,
	// a slash and the string at SubjectField, a path of member names in data
	// ("session_id", "person.ref"), or the event's source where the field is
	// "source" and the type is the source's report about itself.
	SubjectKind, SubjectField string

	// Named: only a key registered for this very type by name may sign it.
	Named bool

	// Authority: an event about who may sign, signed by administrators and
	// chained; see Directory.
	Authority bool
}

// Version returns the last word of the name, such as "v1".
func (t Type) Version() string { return t.Name[strings.LastIndexByte(t.Name, '.')+1:] }

// Short returns the name without Prefix and version, such as
// "session.started".
func (t Type) Short() string {
	return strings.TrimSuffix(strings.TrimPrefix(t.Name, Prefix), "."+t.Version())
}

// The flags of a row.
const (
	named = 1 << iota
	authority
)

// row is a line of the table: emitters are separated by spaces.
type row struct {
	name, emitters, kind, field string
	flags                       int
}

// table holds every type; each has a schema in the folder schemas, named by
// the type. To add one, add a row here, a schema there and a sample in
// testdata.
var table = []row{
	// Session request.
	{"session.requested.v1", "broker", "session", "session_id", 0},
	{"session.approved.v1", "broker", "session", "session_id", 0},
	{"session.denied.v1", "broker", "session", "session_id", 0},
	{"session.grant_revoked.v1", "broker", "session", "session_id", 0},
	{"escort.assigned.v1", "broker console", "session", "session_id", 0},

	// Session.
	{"session.started.v1", "gateway", "session", "session_id", 0},
	{"session.paused.v1", "gateway", "session", "session_id", 0},
	{"session.resumed.v1", "gateway", "session", "session_id", 0},
	{"session.ended.v1", "gateway", "session", "session_id", 0},
	{"privilege.elevated.v1", "gateway", "session", "session_id", 0},
	{"participant.joined.v1", "gateway", "session", "session_id", 0},
	{"participant.left.v1", "gateway", "session", "session_id", 0},
	{"screenshare.started.v1", "gateway", "session", "session_id", 0},
	{"screenshare.stopped.v1", "gateway", "session", "session_id", 0},
	{"escort.presence.v1", "console", "session", "session_id", 0},
	{"escort.handed_off.v1", "console", "session", "session_id", 0},

	// Relay. What was executed comes from the gateway, never from the console.
	{"instruction.received.v1", "console", "session", "session_id", 0},
	{"instruction.reviewed.v1", "console", "session", "session_id", 0},
	{"command.executed.v1", "gateway", "session", "session_id", 0},
	{"command.blocked.v1", "gateway", "session", "session_id", 0},
	{"script.staged.v1", "gateway", "session", "session_id", 0},
	{"file.transferred.v1", "gateway", "session", "session_id", 0},
	{"clipboard.transferred.v1", "gateway", "session", "session_id", 0},

	// Recording and attestation.
	{"recording.segment_sealed.v1", "recorder", "session", "session_id", 0},
	{"recording.finalized.v1", "recorder", "session", "session_id", 0},
	{"recording.failed.v1", "recorder", "session", "session_id", 0},
	{"recording.accessed.v1", "recorder", "session", "session_id", 0},
	{"session.attested.v1", "escort console", "session", "session_id", 0},
	{"session.reviewed.v1", "reviewer console", "session", "session_id", 0},

	// Change.
	{"change.proposed.v1", "pipeline gateway", "change", "change_id", 0},
	{"change.reviewed.v1", "pipeline gateway", "change", "change_id", 0},
	{"change.approved.v1", "pipeline gateway", "change", "change_id", 0},
	{"change.rejected.v1", "pipeline gateway", "change", "change_id", 0},
	{"change.emergency_declared.v1", "pipeline gateway", "change", "change_id", 0},
	{"change.applied.v1", "pipeline gateway", "change", "change_id", 0},
	{"change.rolled_back.v1", "pipeline gateway", "change", "change_id", 0},
	{"change.verified.v1", "pipeline gateway", "change", "change_id", 0},
	{"drift.detected.v1", "monitor", "system", "target.id", 0},

	// People and systems: facts that rules trust, so a key must name them.
	{"person.enrolled.v1", "registry agency", "person", "person.ref", named},
	{"person.updated.v1", "registry agency", "person", "person.ref", named},
	{"person.separated.v1", "registry agency", "person", "person_ref", named},
	{"escort.qualified.v1", "registry agency", "person", "person_ref", named},
	{"escort.disqualified.v1", "registry agency", "person", "person_ref", named},
	{"authorization.granted.v1", "registry agency", "person", "person_ref", named},
	{"authorization.revoked.v1", "registry agency", "person", "person_ref", named},
	{"system.registered.v1", "registry agency", "system", "system.id", named},
	{"system.reclassified.v1", "registry agency", "system", "system.id", named},
	{"ssp.declared.v1", "registry agency", "ssp", "ssp_id", named},

	// Authority, and the log's own index.
	{"log.created.v1", "administrator", "log", "log", authority},
	{"admins.changed.v1", "administrator", "log", "log", authority},
	{"key.registered.v1", "administrator", "key", "keyid", authority},
	{"key.revoked.v1", "administrator", "key", "keyid", authority},
	{"source.registered.v1", "administrator", "source", "source", authority},
	{"source.retired.v1", "administrator", "source", "source", authority},
	{"index.published.v1", "log_service", "log", "log", named},

	// Integrity.
	{"source.heartbeat.v1", "source", "source", selfSource, 0},
	{"period.closed.v1", "source", "source", selfSource, 0},
	{"source.gap.v1", "source", "source", selfSource, 0},
	{"record.corrected.v1", "source", "record", "target.id", 0},
	{"record.retracted.v1", "source", "record", "target.id", 0},
	{"record.redacted.v1", "authoriser", "record", "target.id", 0},
	{"hold.placed.v1", "authoriser", "hold", "hold_id", 0},
	{"hold.released.v1", "authoriser", "hold", "hold_id", 0},
	{"audit.exported.v1", "auditor", "export", "export_id", 0},
	{"finding.raised.v1", "auditor monitor", "finding", "finding_id", 0},
	{"finding.closed.v1", "auditor monitor", "finding", "finding_id", 0},

	// Records of other systems that have no meaning here.
	{"record.observed.v1", "importer", "record", "record_id", 0},
}

// selfSource as a subject field stands for the event's own source.
const selfSource = "@source"

// Names of the types that this package itself acts on.
const (
	TypeLogCreated       = Prefix + "log.created.v1"
	TypeAdminsChanged    = Prefix + "admins.changed.v1"
	TypeKeyRegistered    = Prefix + "key.registered.v1"
	TypeKeyRevoked       = Prefix + "key.revoked.v1"
	TypeSourceRegistered = Prefix + "source.registered.v1"
	TypeSourceRetired    = Prefix + "source.retired.v1"
	TypeIndexPublished   = Prefix + "index.published.v1"
	TypeRecordObserved   = Prefix + "record.observed.v1"
)

// reservedFamilies never hold an opaque type: a later version of this package
// would give it a power that an earlier one did not see.
var reservedFamilies = []string{"log", "admins", "key", "source", "person", "authorization", "index", "escort", "system", "ssp"}

var typesByName = sync.OnceValue(func() map[string]Type {
	m := make(map[string]Type, len(table))
	for _, r := range table {
		family, _, _ := strings.Cut(r.name, ".")
		m[Prefix+r.name] = Type{
			Name: Prefix + r.name, Family: family, Emitters: strings.Fields(r.emitters),
			SubjectKind: r.kind, SubjectField: r.field,
			Named: r.flags&named != 0, Authority: r.flags&authority != 0,
		}
	}
	return m
})

// Lookup returns the row of a type by its full name; false when the type is
// unknown, in which case its events are opaque where leaf 0 allows them at all.
func Lookup(typ string) (Type, bool) {
	t, ok := typesByName()[typ]
	return t, ok
}

// Types returns every known type in the order of the table.
func Types() []Type {
	all := make([]Type, 0, len(table))
	for _, r := range table {
		all = append(all, typesByName()[Prefix+r.name])
	}
	return all
}

// IsAuthority reports whether events of this type change the key directory.
func IsAuthority(typ string) bool { return typesByName()[typ].Authority }

// isReserved reports whether an unknown type stands in a family whose types
// carry authority.
func isReserved(typ string) bool {
	if _, known := Lookup(typ); known || !strings.HasPrefix(typ, Prefix) {
		return false
	}
	family, _, _ := strings.Cut(strings.TrimPrefix(typ, Prefix), ".")
	return slices.Contains(reservedFamilies, family)
}
