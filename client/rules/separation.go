package rules

import (
	"maps"
	"slices"
	"strings"
)

// part is a role that rule 6 keeps apart from others.
type part string

// inParts collects who was in which part, and in which events.
type inParts map[part]map[string][]*fact

func (p inParts) add(as part, f *fact, refs ...string) {
	for _, ref := range refs {
		if p[as] == nil {
			p[as] = map[string][]*fact{}
		}
		p[as][ref] = append(p[as][ref], f)
	}
}

func (p inParts) addPerson(as part, f *fact, who *person) {
	if who != nil {
		p.add(as, f, who.Ref)
	}
}

// judge looks for people in two parts that are kept apart.
func (p inParts) judge(b *board, subject string, apart [][2]part) {
	compared := false
	says, on := map[string][]string{}, map[string][]*fact{}
	for _, pair := range apart {
		one, other := p[pair[0]], p[pair[1]]
		compared = compared || len(one) > 0 && len(other) > 0
		for ref, facts := range one {
			if also := other[ref]; len(also) > 0 {
				says[ref] = append(says[ref], string(pair[0])+" and "+string(pair[1]))
				on[ref] = append(append(on[ref], facts...), also...)
			}
		}
	}
	if compared {
		b.look(Separation)
	}
	for _, ref := range slices.Sorted(maps.Keys(says)) {
		b.findOf(Separation, subject, ref, ref+" is "+strings.Join(says[ref], ", "), on[ref]...)
	}
}

var (
	apartInSession = [][2]part{{"escort", "engineer"}, {"approver", "requester"}, {"approver", "engineer"}, {"approver", "escort"}, {"reviewer", "escort"}}
	apartInChange  = [][2]part{{"author", "reviewer"}, {"author", "approver"}}
)

// separationInSession is rule 6 for sessions: escort = engineer, approver in
// {requester, engineer, escort}, reviewer = escort. A personal key that signs an
// approval or review puts its owner in that role too. It does not see one person
// behind two pseudonyms.
func (e *Engine) separationInSession(b *board, v *view) {
	p := inParts{}
	for _, sh := range v.shifts {
		p.add("escort", sh.fact, sh.escort)
	}
	for _, f := range v.facts {
		switch d := f.data.(type) {
		case *requested:
			p.addPerson("requester", f, d.Requester)
		case *approved:
			p.addPerson("approver", f, d.Approver)
			p.add("approver", f, f.signers...)
		case *started:
			p.addPerson("engineer", f, d.Engineer)
		case *received:
			p.addPerson("engineer", f, d.From)
		case *sessionReviewed:
			p.addPerson("reviewer", f, d.Reviewer)
			p.add("reviewer", f, f.signers...)
		}
	}
	p.judge(b, v.subject(), apartInSession)
}

// separationInChange is rule 6 for changes: author in {reviewer, approver}.
func (e *Engine) separationInChange(b *board, c *change) {
	p := inParts{}
	for _, f := range c.facts {
		switch d := f.data.(type) {
		case *proposed:
			p.addPerson("author", f, d.Author)
			p.add("author", f, f.signers...)
		case *applied:
			p.addPerson("author", f, d.Author)
		case *changeReviewed:
			p.addPerson("reviewer", f, d.Reviewer)
			p.add("reviewer", f, f.signers...)
		case *changeApproved:
			p.addPerson("approver", f, d.Approver)
			p.add("approver", f, f.signers...)
		}
	}
	p.judge(b, c.subject(), apartInChange)
}
