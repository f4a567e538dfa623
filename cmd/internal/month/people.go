package month

import (
	"fmt"
	"slices"
	"time"
)

// obj is a JSON object. encoding/json writes its members in the order of their
// names, so that it has one encoding.
type obj map[string]any

// person is a Person of the event schemas. Location is where the person says, or
// something else says, the person is.
type person struct {
	Ref             string `json:"ref"`
	Role            string `json:"role"`
	Org             string `json:"org"`
	Employment      string `json:"employment"`
	Citizenship     string `json:"citizenship_class"`
	LocationCountry string `json:"location_country,omitempty"`
	LocationSource  string `json:"location_source,omitempty"`
	Screening       string `json:"screening"`
	Clearance       string `json:"clearance"`
}

// as returns the person in another role.
func (p person) as(role string) person {
	p.Role = role
	return p
}

// in returns the person elsewhere.
func (p person) in(country, how string) person {
	p.LocationCountry, p.LocationSource = country, how
	return p
}

// system is a System of the event schemas.
type system struct {
	ID       string   `json:"id"`
	Level    string   `json:"impact_level"`
	Boundary string   `json:"boundary"`
	Owner    string   `json:"mission_owner"`
	Skills   []string `json:"required_skills"`
}

var skills = []string{"linux", "storage", "network", "database", "windows"}

// cast is everybody and everything that works as it should.
type cast struct {
	engineers []person // some of them foreign, abroad
	citizens  []person // engineers who may work on every level
	escorts   []person
	approvers []person
	reviewers []person // of changes and sessions
	officers  []person // of records
	systems   []system // of all levels but IL6
	secret    []system // IL6
}

func newCast() cast {
	var c cast
	abroad := []string{"IE", "IN", "DE", "PL"}
	for i := range 24 {
		p := person{fmt.Sprintf("p-e%02d", i+1), "engineer", "vendor", "contractor", "foreign", abroad[i%len(abroad)], "mdm", "none", "none"}
		c.engineers = append(c.engineers, p)
	}
	for i := range 8 {
		p := person{fmt.Sprintf("p-c%02d", i+1), "engineer", "cloud-operator", "employee", "us_citizen", "US", "badge", "T5", "secret"}
		c.citizens = append(c.citizens, p)
	}
	for i := range 12 {
		org, employment := "cloud-operator", "employee"
		if i%3 == 2 {
			org, employment = "escort-agency", "contractor"
		}
		c.escorts = append(c.escorts, person{fmt.Sprintf("p-s%02d", i+1), "escort", org, employment, "us_citizen", "US", "badge", "T5", "secret"})
	}
	agency := func(prefix, role string, i int) person {
		return person{fmt.Sprintf("p-%s%02d", prefix, i+1), role, "agency-a", "agency", "us_citizen", "US", "badge", "T5", "secret"}
	}
	for i := range 6 {
		c.approvers = append(c.approvers, agency("a", "approver", i))
	}
	for i := range 5 {
		c.reviewers = append(c.reviewers, agency("r", "reviewer", i))
	}
	for i := range 3 {
		c.officers = append(c.officers, agency("o", "records officer", i))
	}
	levels := []string{"IL4", "IL2", "IL5", "IL4", "none", "IL5"}
	for i := range 14 {
		c.systems = append(c.systems, system{fmt.Sprintf("sys-%02d", i+1), levels[i%len(levels)], "gov-east", "agency-a", []string{skills[i%4], skills[(i+1)%4]}})
	}
	for i := range 2 {
		c.secret = append(c.secret, system{fmt.Sprintf("sys-s%d", i+1), "IL6", "gov-secret", "agency-a", []string{"linux"}})
	}
	return c
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func window(from, to time.Time) obj { return obj{"not_before": stamp(from), "not_after": stamp(to)} }

func interval(from, to time.Time) obj { return obj{"start": stamp(from), "end": stamp(to)} }

// register has the registry say, before the month, who and what there is.
func (w *world) register() {
	w.clock = founded.Add(6 * time.Hour)
	for _, s := range slices.Concat(w.systems, w.secret) {
		w.registerSystem(s)
	}
	w.declare("ssp-main", slices.Concat(w.systems, w.secret), declared)
	official := w.officers[0]
	for _, p := range slices.Concat(w.engineers, w.citizens, w.escorts, w.approvers, w.reviewers, w.officers) {
		w.enroll(p, official)
	}
	for _, p := range w.escorts {
		w.qualify(p, skills[:4])
		w.authorize(p, nil)
	}
	for _, p := range slices.Concat(w.engineers, w.citizens) {
		w.authorize(p, nil)
	}
}

// plan is what a system security plan declares.
type plan struct {
	countries, employments, classes []string
	escorts                         string
}

var declared = plan{
	[]string{"DE", "IE", "IN", "PL", "US"}, []string{"employee", "contractor", "agency"},
	[]string{"us_citizen", "us_national", "us_lpr", "foreign"}, "escorted",
}

// validity is that of everything granted for long.
func (w *world) validity() obj { return window(w.clock, w.clock.AddDate(1, 0, 0)) }

// tick returns the next moment of the registry's own day.
func (w *world) tick() time.Time {
	w.clock = w.clock.Add(20 * time.Second)
	return w.clock
}

func (w *world) registerSystem(s system) {
	at := w.tick()
	w.say(w.registry, "system.registered", at, about{subject: "system/" + s.ID}, obj{"system": s, "effective_at": stamp(at)})
}

func (w *world) declare(id string, systems []system, p plan) {
	var ids []string
	for _, s := range systems {
		ids = append(ids, s.ID)
	}
	at := w.tick()
	w.say(w.registry, "ssp.declared", at, about{subject: "ssp/" + id}, obj{
		"ssp_id": id, "version": "2025.1", "systems": ids, "validity": w.validity(), "effective_at": stamp(at),
		"document":  obj{"digest": digest("plan " + id), "size": 412_809, "media_type": "application/pdf"},
		"countries": p.countries, "employments": p.employments, "citizenship_classes": p.classes, "escort_model": p.escorts,
	})
}

func (w *world) enroll(p, sponsor person) {
	at := w.tick()
	w.say(w.registry, "person.enrolled", at, about{subject: "person/" + p.Ref}, obj{"person": p, "effective_at": stamp(at), "sponsor": sponsor.as("sponsor")})
}

func (w *world) qualify(p person, in []string) { w.qualifyFor(p, in, w.validity()) }

func (w *world) qualifyFor(p person, in []string, validity obj) {
	at := w.tick()
	w.say(w.registry, "escort.qualified", at, about{subject: "person/" + p.Ref}, obj{
		"person_ref": p.Ref, "skills": in, "validity": validity, "basis": "Practical examination.",
		"assessed_by": w.officers[0].as("assessor"), "effective_at": stamp(at),
	})
}

// newest is the id of the newest authorisation.
func (w *world) newest() string { return fmt.Sprintf("auth-%03d", w.grants) }

// authorize lets a person work on some systems, by default on all of the cast's.
func (w *world) authorize(p person, systems []system) {
	if systems == nil {
		systems = slices.Concat(w.systems, w.secret)
	}
	var ids, levels []string
	for _, s := range systems {
		ids = append(ids, s.ID)
		if !slices.Contains(levels, s.Level) {
			levels = append(levels, s.Level)
		}
	}
	w.grants++
	id := w.newest()
	at := w.tick()
	w.say(w.registry, "authorization.granted", at, about{subject: "person/" + p.Ref}, obj{
		"authorization_id": id, "person_ref": p.Ref, "role": p.Role, "scope": obj{"systems": ids, "impact_levels": levels},
		"validity": w.validity(), "granted_by": w.officers[0], "effective_at": stamp(at),
	})
}
