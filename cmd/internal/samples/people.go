package samples

import "time"

// obj is a JSON object. encoding/json writes its members in the order of their
// names, so that it has one encoding.
type obj map[string]any

// person is a Person of the event schemas.
type person struct {
	Ref             string `json:"ref"`
	Role            string `json:"role"`
	Org             string `json:"org"`
	Employment      string `json:"employment"`
	Citizenship     string `json:"citizenship_class"`
	LocationCountry string `json:"location_country"`
	LocationSource  string `json:"location_source"`
	Screening       string `json:"screening"`
	Clearance       string `json:"clearance"`
}

// as returns the person in another role.
func (p person) as(role string) person {
	p.Role = role
	return p
}

// The people of the sample sessions, by pseudonym only.
var (
	engineer       = person{"p-7f3a", "engineer", "storage-vendor", "contractor", "foreign", "IE", "mdm", "none", "none"}
	secondEngineer = person{"p-e55c", "reviewer", "cloud-operator", "employee", "us_citizen", "US", "mdm", "T3", "none"}
	official       = person{"p-0d11", "authorising official", "agency-a", "agency", "us_citizen", "US", "badge", "T5", "secret"}
	approver       = person{"p-9b40", "approver", "agency-a", "agency", "us_citizen", "US", "badge", "T5", "secret"}
	escort         = person{"p-c21d", "escort", "cloud-operator", "employee", "us_citizen", "US", "badge", "T5", "secret"}
	secondEscort   = person{"p-41aa", "escort", "escort-agency", "contractor", "us_citizen", "US", "badge", "T5", "secret"}
)

// storageNode is the System that is worked on.
var storageNode = obj{
	"id": "sys-storage-7", "impact_level": "IL4", "boundary": "gov-east", "mission_owner": "agency-a",
	"required_skills": []string{"linux", "storage"},
}

// policy is the Policy under which the broker and the pipeline decide.
var policy = obj{"id": "jit-il4", "digest": digest("the just-in-time policy of the sample, version 3")}

// The days of the samples. They lie in the past of every clock that is set.
var (
	registryDay   = time.Date(2025, time.June, 2, 13, 0, 0, 0, time.UTC)
	goodDay       = time.Date(2025, time.June, 10, 13, 30, 0, 0, time.UTC)
	unattestedDay = time.Date(2025, time.June, 11, 15, 10, 0, 0, time.UTC)
)

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func window(from, to time.Time) obj {
	return obj{"not_before": stamp(from), "not_after": stamp(to)}
}

func interval(from, to time.Time) obj { return obj{"start": stamp(from), "end": stamp(to)} }
