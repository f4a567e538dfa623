package rules

import (
	"maps"
	"slices"
	"time"
)

// registry is what the log says about people, systems and plans.
type registry struct {
	people  map[string]*record
	systems map[string]*system
	plans   map[string][]*fact // planDeclared, by system, in the order of the log
}

// record is what is known of one person.
type record struct {
	said      *person // by person.enrolled or person.updated; replaced, never changed
	enrolled  []*fact
	separated []*fact
	qualified []*fact // qualified and disqualified
	granted   []*fact // authorized and authorizationRevoked

	place *sighting // newest place that an event told
	left  *sighting // newest appearance in what is settled
}

// sighting is a person in an event.
type sighting struct {
	role    role
	person  *person
	fact    *fact
	subject string
}

func newRegistry() *registry {
	return &registry{people: map[string]*record{}, systems: map[string]*system{}, plans: map[string][]*fact{}}
}

func (g *registry) of(ref string) *record {
	p, ok := g.people[ref]
	if !ok {
		p = &record{}
		g.people[ref] = p
	}
	return p
}

// meet takes a person seen in an event: it adds what the registry says now, and
// holds the place against where the person was seen before (LOCATION_WEAK).
func (g *registry) meet(e *Engine, f *fact, n named) {
	rec := g.of(n.person.Ref)
	n.person.registry = rec.said
	if n.person.Country == "" {
		return
	}
	now := &sighting{role: n.role, person: n.person, fact: f}
	last := rec.place
	if last == nil || !f.t.Before(last.fact.t) {
		rec.place = now
	}
	if last == nil || last.person.Country == n.person.Country {
		return
	}
	if took := f.t.Sub(last.fact.t).Abs(); took < e.cfg.Travel.of() {
		e.board.find(LocationWeak, "person/"+n.person.Ref, "in "+last.person.Country+" at "+stamp(last.fact.t)+" and in "+
			n.person.Country+" at "+stamp(f.t)+", "+took.String()+" apart", last.fact, f)
	}
}

// take takes what a registry or an agency says.
func (g *registry) take(e *Engine, f *fact) {
	switch d := f.data.(type) {
	case *personSaid:
		rec := g.of(d.Person.Ref)
		rec.said = &d.Person
		if f.typ == "person.enrolled" {
			rec.enrolled = append(rec.enrolled, f)
		}
	case *separated:
		rec := g.of(d.PersonRef)
		rec.separated = append(rec.separated, f)
		if s := rec.left; s != nil && s.fact.t.After(d.EffectiveAt) {
			e.board.findOf(RevokedUse, s.subject, d.PersonRef, d.PersonRef+" was separated at "+stamp(d.EffectiveAt)+", as was logged later, and took part as "+
				string(s.role)+" at "+stamp(s.fact.t), s.fact, f)
		}
	case *qualified:
		rec := g.of(d.PersonRef)
		rec.qualified = append(g.current(e, rec.qualified), f)
	case *disqualified:
		rec := g.of(d.PersonRef)
		rec.qualified = append(rec.qualified, f)
	case *authorized:
		rec := g.of(d.PersonRef)
		rec.granted = append(g.current(e, rec.granted), f)
	case *authorizationRevoked:
		rec := g.of(d.PersonRef)
		rec.granted = append(rec.granted, f)
	case *systemSaid:
		g.systems[d.System.ID] = &d.System
	case *planDeclared:
		for _, id := range d.Systems {
			g.plans[id] = append(g.current(e, g.plans[id]), f)
		}
	}
}

// current leaves out what no session that is open can rest upon any more.
func (g *registry) current(e *Engine, list []*fact) []*fact {
	keep := e.cfg.SessionMemory.of() + e.cfg.Attestation.of() + e.cfg.SecondReview.of() + e.cfg.Late.of()
	return slices.DeleteFunc(list, func(f *fact) bool {
		var until time.Time
		switch d := f.data.(type) {
		case *qualified:
			until = d.Validity.NotAfter
		case *authorized:
			until = d.Validity.NotAfter
		case *planDeclared:
			until = d.Validity.NotAfter
		default:
			return false
		}
		return until.Add(keep).Before(e.now)
	})
}

// separatedAt returns the separation after which the person appeared at t, if
// there is one that no later enrolment undid.
func (rec *record) separatedAt(t time.Time) *fact {
	for i := len(rec.separated) - 1; i >= 0; i-- {
		f := rec.separated[i]
		since := f.data.(*separated).EffectiveAt
		again := slices.ContainsFunc(rec.enrolled, func(en *fact) bool {
			back := en.data.(*personSaid).EffectiveAt
			return !back.Before(since) && !back.After(t)
		})
		if t.After(since) && !again {
			return f
		}
	}
	return nil
}

// missing returns the skills that no qualification logged before the leaf index
// covered at t.
func (rec *record) missing(skills []string, t time.Time, index int64) (list []string) {
	for _, skill := range skills {
		if !rec.skilled(skill, t, index) {
			list = append(list, skill)
		}
	}
	return list
}

func (rec *record) skilled(skill string, t time.Time, index int64) bool {
	var since time.Time
	found := false
	for _, f := range rec.qualified {
		d, ok := f.data.(*qualified)
		if ok && f.ref.Index < index && slices.Contains(d.Skills, skill) && d.Validity.holds(t) && !d.EffectiveAt.After(t) && !d.EffectiveAt.Before(since) {
			since, found = d.EffectiveAt, true
		}
	}
	return found && !slices.ContainsFunc(rec.qualified, func(f *fact) bool {
		d, ok := f.data.(*disqualified)
		return ok && (len(d.Skills) == 0 || slices.Contains(d.Skills, skill)) && !d.EffectiveAt.After(t) && !d.EffectiveAt.Before(since)
	})
}

// authorisation returns the valid authorisation that covers the system at t,
// and, where there is none, the revocation of one that would. No roles: any.
func (rec *record) authorisation(roles []string, sys system, t time.Time, index int64) (valid, revoked *fact) {
	for _, f := range rec.granted {
		d, ok := f.data.(*authorized)
		if !ok || f.ref.Index >= index || !d.Validity.holds(t) || d.EffectiveAt.After(t) {
			continue
		}
		if len(roles) > 0 && !slices.Contains(roles, d.Role) {
			continue
		}
		if !slices.Contains(d.Scope.Systems, sys.ID) && !slices.Contains(d.Scope.Levels, sys.Level) {
			continue
		}
		end := rec.revocation(d.ID, t)
		if end == nil {
			return f, nil
		}
		revoked = end
	}
	return nil, revoked
}

func (rec *record) revocation(id string, t time.Time) *fact {
	for _, f := range rec.granted {
		if d, ok := f.data.(*authorizationRevoked); ok && d.ID == id && t.After(d.EffectiveAt) {
			return f
		}
	}
	return nil
}

// complete adds what the registry knows of a system; its level counts before
// what an event says, and its skills are required beside those of the event.
func (g *registry) complete(s *system) {
	known, ok := g.systems[s.ID]
	if !ok {
		return
	}
	if known.Level != "" {
		s.Level = known.Level
	}
	for _, skill := range known.Skills {
		if !slices.Contains(s.Skills, skill) {
			s.Skills = append(s.Skills, skill)
		}
	}
}

// plan returns the newest plan in force for a system at t, logged before index.
func (g *registry) plan(systemID string, t time.Time, index int64) *fact {
	var newest *fact
	for _, f := range g.plans[systemID] {
		d := f.data.(*planDeclared)
		if f.ref.Index >= index || d.EffectiveAt.After(t) || !d.Validity.holds(t) {
			continue
		}
		if newest == nil || !d.EffectiveAt.Before(newest.data.(*planDeclared).EffectiveAt) {
			newest = f
		}
	}
	return newest
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
