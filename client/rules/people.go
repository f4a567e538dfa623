package rules

import (
	"slices"
	"strings"
)

// levels in their order.
var levels = []string{"none", "IL2", "IL4", "IL5", "IL6"}

// level returns the highest impact level of what a session worked on; "" where
// it is not known of any.
func (v *view) level() (level string) {
	for _, s := range v.systems {
		if s.Level != "" && slices.Index(levels, s.Level) >= slices.Index(levels, level) {
			level = s.Level
		}
	}
	return level
}

// citizenshipByLevel is rule 10: a person below the level's bar without an
// escort; at IL6 always. Of what the events and the registry say, the worse
// counts. It does not see an escort who is named but absent; ESCORT_ABSENT does.
func (e *Engine) citizenshipByLevel(b *board, v *view) {
	start := v.first("session.started")
	if start == nil || !e.old(start.t, v.at) {
		return
	}
	level := v.level()
	if level == "" {
		b.skip(CitizenshipByLevel, "sessions on systems of unknown impact level")
		return
	}
	bar := e.cfg.Citizenship[level]
	for _, m := range v.members {
		if !m.access() {
			continue
		}
		b.look(CitizenshipByLevel)
		if len(bar) == 0 {
			continue
		}
		class := m.below(bar)
		others := slices.ContainsFunc(v.shifts, func(s shift) bool { return s.escort != m.ref })
		if class == "" || others && !slices.Contains(e.cfg.NeverEscorted, level) {
			continue
		}
		how := "without an escort"
		if others {
			how = "where an escort does not help"
		}
		b.findOf(CitizenshipByLevel, v.subject(), m.ref, m.ref+" ("+class+") works on "+level+" "+how, append(m.facts(), start)...)
	}
}

// below returns the citizenship class of a person that is not in the bar; ""
// where all that is known are.
func (m *member) below(bar []string) string {
	known := false
	for _, s := range m.seen {
		for _, p := range []*person{s.person, s.person.registry} {
			if p == nil || p.Citizenship == "" {
				continue
			}
			known = true
			if !slices.Contains(bar, p.Citizenship) {
				return p.Citizenship
			}
		}
	}
	if !known {
		return "citizenship not known"
	}
	return ""
}

// countries returns where a person was said to be, by the events or else by the
// registry.
func (m *member) countries() (list []string) {
	for _, s := range m.seen {
		if c := s.person.Country; c != "" && !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	if len(list) > 0 {
		return list
	}
	for _, s := range m.seen {
		if r := s.person.registry; r != nil && r.Country != "" && !slices.Contains(list, r.Country) {
			list = append(list, r.Country)
		}
	}
	return list
}

// connections returns the countries from which a person connected.
func (m *member) connections() (list []string) {
	for _, s := range m.seen {
		if d, ok := s.fact.data.(*joined); ok && d.ConnectionCountry != "" && !slices.Contains(list, d.ConnectionCountry) {
			list = append(list, d.ConnectionCountry)
		}
	}
	return list
}

// coveredNation is rule 11: any participant, viewer, author or approver located
// in a listed country. It does not see a location that is false.
func (e *Engine) coveredNation(b *board, subject string, members []*member) {
	for _, m := range members {
		countries, connections := m.countries(), m.connections()
		if len(countries)+len(connections) == 0 {
			b.skip(CoveredNation, "people whose location is not known")
			continue
		}
		b.look(CoveredNation)
		var says []string
		for _, c := range e.cfg.CoveredCountries {
			if slices.Contains(countries, c) {
				says = append(says, "located in "+c)
			}
			if slices.Contains(connections, c) {
				says = append(says, "connected from "+c)
			}
		}
		if len(says) > 0 {
			b.findOf(CoveredNation, subject, m.ref, m.ref+" ("+m.roles()+") is "+strings.Join(says, " and "), m.facts()...)
		}
	}
}

func (m *member) roles() string {
	var list []string
	for _, s := range m.seen {
		if !slices.Contains(list, string(s.role)) {
			list = append(list, string(s.role))
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// locationWeak is the part of rule 12 about one session: unknown, only
// self-attested, or contradicted by the connection. Whoever moved impossibly
// fast is found when the events come; see registry.meet. It sees countries only,
// no distances.
func (e *Engine) locationWeak(b *board, v *view) {
	for _, m := range v.members {
		if !m.access() || !e.old(m.seen[0].fact.t, v.at) {
			continue
		}
		b.look(LocationWeak)
		if problem := m.weakness(); problem != "" {
			b.findOf(LocationWeak, v.subject(), m.ref, m.ref+" "+problem, m.facts()...)
		}
	}
}

func (m *member) weakness() string {
	countries := m.countries()
	if len(countries) == 0 {
		return "is at an unknown place"
	}
	var says []string
	if !m.located() {
		says = append(says, "is in "+strings.Join(countries, ", ")+" by nothing but the own word")
	}
	for _, c := range m.connections() {
		if !slices.Contains(countries, c) {
			says = append(says, "is said to be in "+strings.Join(countries, ", ")+" and connected from "+c)
		}
	}
	return strings.Join(says, ", and ")
}

// located reports whether more than the person's word says where that is.
func (m *member) located() bool {
	for _, s := range m.seen {
		for _, p := range []*person{s.person, s.person.registry} {
			if p != nil && p.Country != "" && p.CountrySource != "" && p.CountrySource != "attested" {
				return true
			}
		}
	}
	return false
}

// undisclosed is rule 25: a country, employment or escort model seen that the
// plan in force does not declare. It does not see systems without a plan.
func (e *Engine) undisclosed(b *board, v *view) {
	for _, start := range v.starts {
		if !e.old(start.t, v.at) {
			continue
		}
		target := start.data.(*started).Target.ID
		f := e.registry.plan(target, start.t, start.ref.Index)
		if f == nil {
			b.skip(Undisclosed, "sessions on systems without a plan in force")
			continue
		}
		d := f.data.(*planDeclared)
		if len(v.shifts) > 0 && d.EscortModel == "none" {
			b.find(Undisclosed, v.subject(), "the session is escorted, which the plan "+d.ID+" does not disclose", start, f)
		}
		for _, m := range v.members {
			if !m.access() {
				continue
			}
			b.look(Undisclosed)
			if list := m.undeclared(d); len(list) > 0 {
				b.findOf(Undisclosed, v.subject(), m.ref, m.ref+" took part, and the plan "+d.ID+" does not declare: "+strings.Join(list, ", "), append(m.facts(), f)...)
			}
		}
		return
	}
}

func (m *member) undeclared(plan *planDeclared) (list []string) {
	check := func(what, value string, declared []string) {
		if value != "" && !slices.Contains(declared, value) && !slices.Contains(list, what+" "+value) {
			list = append(list, what+" "+value)
		}
	}
	for _, c := range m.countries() {
		check("country", c, plan.Countries)
	}
	for _, s := range m.seen {
		for _, p := range []*person{s.person, s.person.registry} {
			if p != nil {
				check("employment", p.Employment, plan.Employments)
				check("citizenship class", p.Citizenship, plan.Classes)
			}
		}
	}
	slices.Sort(list)
	return list
}
