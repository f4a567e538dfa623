package samples

import (
	"crypto"
	"fmt"
	"slices"

	"github.com/escortlog/escortlog/log/event"
)

// Source is a sample source with the key that signs for it.
type Source struct {
	Name        string // its file name in testdata/keys
	URI         string
	Roles       []string // as in source.registered
	Expected    []string // types an auditor should see from it, full names
	KeyTypes    []string // what its key may sign, full names; empty: all that needs no name
	PersonRef   string   // whose personal key it is; empty: a service's
	Description string
	Key         crypto.Signer
	Public      *event.PublicKey
}

// sourceRow is a line of the table of sources. Types are short names.
type sourceRow struct {
	name, uri, keyType, role, personRef, description string
	named                                            bool // the key is registered for the expected types only
	expected                                         []string
}

var sourceTable = []sourceRow{
	{"registry", "https://registry.agency-a.example/people", event.ECDSAP384, event.RoleRegistry, "", "people and systems, key in an HSM", true,
		[]string{"person.enrolled", "escort.qualified", "authorization.granted", "system.registered", "ssp.declared"}},
	{"broker", "https://broker.operator.example/jit", event.Ed25519, event.RoleBroker, "", "just-in-time access broker", false,
		[]string{"session.requested", "session.approved", "escort.assigned"}},
	{"console", "https://console.operator.example/escort", event.Ed25519, event.RoleConsole, "", "escort console", false,
		[]string{"instruction.received", "instruction.reviewed", "escort.presence"}},
	{"gateway", "https://gateway.operator.example/ssh/2", event.Ed25519, event.RoleGateway, "", "session gateway", false,
		[]string{"session.started", "participant.joined", "command.executed", "session.ended"}},
	{"recorder", "https://recorder.operator.example/vault", event.Ed25519, event.RoleRecorder, "", "session recorder", false,
		[]string{"recording.segment_sealed", "recording.finalized"}},
	{"pipeline", "https://pipeline.operator.example/changes", event.ECDSAP256, event.RolePipeline, "", "change pipeline", false,
		[]string{"change.proposed", "change.reviewed", "change.approved", "change.applied", "change.verified"}},
	{"escort-p-c21d", "https://escorts.operator.example/p-c21d", event.ECDSAP256, event.RoleEscort, escort.Ref, "an escort's smart card", true,
		[]string{"session.attested"}},
	{"escort-p-41aa", "https://escorts.operator.example/p-41aa", event.ECDSAP256, event.RoleEscort, secondEscort.Ref, "an escort's smart card", true,
		[]string{"session.attested"}},
}

// Sources returns the sources in the order in which they are registered.
func Sources() ([]*Source, error) {
	var list []*Source
	for _, r := range sourceTable {
		s := &Source{Name: r.name, URI: r.uri, Roles: []string{r.role}, PersonRef: r.personRef, Description: r.description}
		for _, short := range r.expected {
			s.Expected = append(s.Expected, FullType(short))
		}
		if r.named {
			s.KeyTypes = slices.Clone(s.Expected)
		}
		var err error
		if s.Key, err = Key(r.name, r.keyType); err != nil {
			return nil, err
		}
		if s.Public, err = event.NewPublicKey(s.Key.Public()); err != nil {
			return nil, fmt.Errorf("sample source %s: %w", r.name, err)
		}
		list = append(list, s)
	}
	return list, nil
}

// FullType returns the full name of a type of version 1, such as
// "dev.escortlog.session.started.v1" for "session.started".
func FullType(short string) string { return event.Prefix + short + ".v1" }

// Registration returns what registers the source, and then its key.
func (s *Source) Registration() (event.SourceRegistration, event.KeyRegistration) {
	return event.SourceRegistration{Source: s.URI, Roles: s.Roles, ExpectedTypes: s.Expected, Description: s.Description},
		event.KeyRegistration{Key: s.Public, Source: s.URI, Types: s.KeyTypes, PersonRef: s.PersonRef, Description: s.Description}
}

// Threshold is how many of the sample administrators must sign together.
const Threshold = 2

// Admin is a sample administrator of the log.
type Admin struct {
	Name string // its file name in testdata/keys
	Who  string // as in log.created
	Key  crypto.Signer
}

// Admins returns the administrators: Threshold of these three decide.
func Admins() ([]Admin, error) {
	admins := []Admin{
		{Name: "admin-agency", Who: "agency-a, information security"},
		{Name: "admin-operator", Who: "cloud-operator, compliance"},
		{Name: "admin-assessor", Who: "independent assessor"},
	}
	for i, keyType := range []string{event.Ed25519, event.ECDSAP256, event.ECDSAP384} {
		var err error
		if admins[i].Key, err = Key(admins[i].Name, keyType); err != nil {
			return nil, err
		}
	}
	return admins, nil
}

// Genesis returns the content of the sample log's leaf 0.
func Genesis(origin string, admins []Admin) (event.Genesis, error) {
	g := event.Genesis{Origin: origin, Threshold: Threshold}
	for _, a := range admins {
		key, err := event.NewPublicKey(a.Key.Public())
		if err != nil {
			return event.Genesis{}, fmt.Errorf("sample administrator %s: %w", a.Name, err)
		}
		g.Administrators = append(g.Administrators, event.Administrator{Name: a.Who, Key: key})
	}
	return g, nil
}
