package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// sessionNoApproval is rule 1: started without an earlier approval that covers
// target, privileges and time. Earlier is both in t and in the log. It does not
// see whether the approver was entitled, nor privileges that no start names.
func (e *Engine) sessionNoApproval(b *board, v *view) {
	for _, start := range v.starts {
		if !e.old(start.t, v.at) {
			continue
		}
		b.look(SessionNoApproval)
		if problem, on := v.approvalProblem(start); problem != "" {
			b.find(SessionNoApproval, v.subject(), problem, append(on, start)...)
		}
	}
}

// approvalProblem says why no approval covers a start; "" where one does.
func (v *view) approvalProblem(start *fact) (problem string, on []*fact) {
	d := start.data.(*started)
	problem = "started without an approval"
	covers, named := false, d.Approval == nil
	for _, f := range v.grants {
		a := f.data.(*approved)
		if covers && named {
			break
		}
		if f.ref.Index > start.ref.Index || f.t.After(start.t) {
			problem, on = "started before its approval", []*fact{f}
			continue
		}
		named = named || f.is(d.Approval)
		switch no := v.deniedBetween(f, start); {
		case no != nil:
			problem, on = "denied after the approval", []*fact{f, no}
		case !slices.ContainsFunc(a.Targets, func(s system) bool { return s.ID == d.Target.ID }):
			problem, on = "the approval does not cover the system "+d.Target.ID, []*fact{f}
		case !a.Window.holds(start.t):
			problem, on = fmt.Sprintf("the approval is for %s to %s, and the session started at %s", stamp(a.Window.NotBefore), stamp(a.Window.NotAfter), stamp(start.t)), []*fact{f}
		case len(beyond(d.Privileges, a.Privileges)) > 0:
			problem, on = "the approval does not cover the privileges "+strings.Join(beyond(d.Privileges, a.Privileges), ", "), []*fact{f}
		default:
			covers = true
		}
	}
	switch {
	case covers && named:
		return "", nil
	case covers:
		return "names an approval that is not one of this session before its start", nil
	}
	return problem, on
}

func (v *view) deniedBetween(approval, start *fact) *fact {
	for _, f := range v.facts {
		if _, no := f.data.(*denied); no && f.ref.Index > approval.ref.Index && f.ref.Index < start.ref.Index {
			return f
		}
	}
	return nil
}

// beyond returns what is wanted and not granted.
func beyond(wanted, granted []string) (list []string) {
	for _, w := range wanted {
		if !slices.Contains(granted, w) {
			list = append(list, w)
		}
	}
	return list
}

// overstay is rule 2: a command after the granted window, or an end more than 5
// min after it. It does not see a session that never ends; LIFECYCLE does.
func (e *Engine) overstay(b *board, v *view) {
	start := v.first("session.started")
	if start == nil || !e.old(start.t, v.at) {
		return
	}
	if _, ok := v.granted(start.ref.Index); !ok {
		b.skip(Overstay, "sessions without a granted window")
		return
	}
	b.look(Overstay)
	var on []*fact
	var says []string
	commands := 0
	for _, f := range v.events {
		until, _ := v.granted(f.ref.Index)
		over := f.t.Sub(until)
		if over <= 0 || !e.old(f.t, v.at) {
			continue
		}
		switch f.data.(type) {
		case *executed:
			commands++
			on = append(on, f)
		case *ended:
			if over > e.cfg.Overstay.of() {
				says = append(says, "ended "+over.String()+" after its window")
				on = append(on, f)
			}
		}
	}
	if commands > 0 {
		says = append(says, fmt.Sprintf("%d commands after its window", commands))
	}
	if len(on) > 0 {
		b.find(Overstay, v.subject(), strings.Join(says, ", "), on...)
	}
}

// revokedInSession is the part of rule 24 about sessions: a person at work after
// separation, or without the authorisation that was revoked, and a grant used
// after its revocation.
func (e *Engine) revokedInSession(b *board, v *view) {
	for _, m := range v.members {
		b.look(RevokedUse)
		e.personRevoked(b, v, m)
	}
	var revoked *fact
	var since time.Time
	left := false // another grant goes on
	for _, f := range v.grants {
		end := v.revocationOf(f)
		if end == nil {
			left = true
			continue
		}
		if at := end.data.(*grantRevoked).EffectiveAt; revoked == nil || at.After(since) {
			revoked, since = end, at
		}
	}
	if revoked == nil {
		return
	}
	b.look(RevokedUse)
	if left {
		return
	}
	var on []*fact
	for _, f := range v.events {
		switch f.data.(type) {
		case *started, *executed, *elevated, *fileMoved, *staged:
			if f.t.After(since) && e.old(f.t, v.at) {
				on = append(on, f)
			}
		}
	}
	if len(on) > 0 {
		b.find(RevokedUse, v.subject(), fmt.Sprintf("the grant was revoked at %s and used %d times after", stamp(since), len(on)), append(on, revoked)...)
	}
}

func (v *view) revocationOf(approval *fact) *fact {
	for _, f := range v.facts {
		if d, ok := f.data.(*grantRevoked); ok && approval.is(&d.Approval) {
			return f
		}
	}
	return nil
}

// personRevoked finds a person of a session who may not take part any more.
func (e *Engine) personRevoked(b *board, v *view, m *member) {
	rec := e.registry.of(m.ref)
	for _, s := range m.seen {
		if !e.old(s.fact.t, v.at) {
			continue
		}
		if f := rec.separatedAt(s.fact.t); f != nil {
			b.findOf(RevokedUse, v.subject(), m.ref, fmt.Sprintf("%s was separated at %s and took part as %s at %s", m.ref,
				stamp(f.data.(*separated).EffectiveAt), s.role, stamp(s.fact.t)), s.fact, f)
			return
		}
		if !s.role.access() || v.escorts(m.ref) {
			continue
		}
		for _, sys := range v.systems {
			if valid, end := rec.authorisation(nil, sys, s.fact.t, s.fact.ref.Index); valid == nil && end != nil {
				b.findOf(RevokedUse, v.subject(), m.ref, fmt.Sprintf("the authorisation of %s for %s was revoked at %s, and used as %s at %s", m.ref, sys.ID,
					stamp(end.data.(*authorizationRevoked).EffectiveAt), s.role, stamp(s.fact.t)), s.fact, end)
				return
			}
		}
	}
}

// escorts reports whether somebody escorts the session at some time.
func (v *view) escorts(ref string) bool {
	return slices.ContainsFunc(v.shifts, func(s shift) bool { return s.escort == ref })
}
