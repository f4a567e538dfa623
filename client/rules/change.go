package rules

import (
	"fmt"
	"slices"
	"time"
)

// change is what is known of a change that is not settled.
type change struct {
	id     string
	facts  []*fact // in the order of the log
	said   []*fact // those of them that approve, reject or declare an emergency
	last   time.Time
	queued bool
}

func (c *change) subject() string { return "change/" + c.id }

// addToChange takes an event of a change.
func (e *Engine) addToChange(id string, f *fact) {
	c, ok := e.changes[id]
	if !ok {
		c = &change{id: id}
		e.changes[id] = c
	}
	c.remember(f)
	c.last = f.leaf
	if !c.queued {
		c.queued = true
		e.due.push(dueItem{at: e.forgotten(c), id: id})
	}
	switch d := f.data.(type) {
	case *applied:
		e.bringInto(d.Targets, d.Digest)
		if d.SessionID != "" {
			e.addToSession(d.SessionID, f)
		}
	case *rolledBack:
		if d.Restored != "" {
			e.bringInto(d.Targets, d.Restored)
		}
	}
}

func (c *change) remember(f *fact) {
	c.facts = append(c.facts, f)
	switch f.data.(type) {
	case *changeApproved, *changeRejected, *emergency:
		c.said = append(c.said, f)
	}
}

// forgotten returns when, by the log's clock, a change is judged for good.
func (e *Engine) forgotten(c *change) time.Time {
	return c.last.Add(max(e.cfg.ChangeMemory, e.cfg.EmergencyApproval+2*e.cfg.Late).of() + time.Millisecond)
}

// settleChange judges a change for good, or puts it back.
func (e *Engine) settleChange(d dueItem) {
	c := e.changes[d.id]
	if at := e.forgotten(c); at.After(d.at) {
		d.at = at
		e.due.push(d)
		return
	}
	e.judgeChange(e.board, c, d.at)
	for _, f := range c.facts {
		e.leave(c.subject(), f)
	}
	delete(e.changes, c.id)
}

// judgeChange runs every rule on one change.
func (e *Engine) judgeChange(b *board, c *change, at time.Time) {
	members := membersOf(c.facts)
	e.changeOutsideSessionAt(b, c, at)
	e.changeUnapproved(b, c, at)
	e.digestDrift(b, c)
	e.separationInChange(b, c)
	e.coveredNation(b, c.subject(), members)
	for _, m := range members {
		b.look(RevokedUse)
		for _, s := range m.seen {
			if f := e.registry.of(m.ref).separatedAt(s.fact.t); f != nil {
				b.findOf(RevokedUse, c.subject(), m.ref, fmt.Sprintf("%s was separated at %s and took part as %s at %s", m.ref,
					stamp(f.data.(*separated).EffectiveAt), s.role, stamp(s.fact.t)), s.fact, f)
				break
			}
		}
	}
}

// changeOutsideSession is rule 3 for changes applied in a session: it was not
// open on that target then, and no allowed pipeline applied it.
func (e *Engine) changeOutsideSession(b *board, v *view) {
	for _, f := range v.events {
		d, ok := f.data.(*applied)
		if !ok || !e.old(f.t, v.at) {
			continue
		}
		b.look(ChangeOutsideSession)
		if problem := v.notOpen(d, f.t); problem != "" && !e.allowedPipeline(d, f) {
			b.find(ChangeOutsideSession, v.subject(), "a change applied at "+stamp(f.t)+": "+problem, append(append(slices.Clone(v.starts), v.ends...), f)...)
		}
	}
}

// changeOutsideSessionAt is rule 3 for changes that no session is named for.
func (e *Engine) changeOutsideSessionAt(b *board, c *change, at time.Time) {
	for _, f := range c.facts {
		d, ok := f.data.(*applied)
		if !ok || d.SessionID != "" || !e.old(f.t, at) {
			continue
		}
		b.look(ChangeOutsideSession)
		if !e.allowedPipeline(d, f) {
			b.find(ChangeOutsideSession, c.subject(), "applied without a session by a pipeline that is not allowed: "+d.PipelineRef, f)
		}
	}
}

func (e *Engine) allowedPipeline(d *applied, f *fact) bool {
	return d.PipelineRef != "" && (matchesAny(e.cfg.AllowedPipelines, d.PipelineRef) || matchesAny(e.cfg.AllowedPipelines, f.ref.Source))
}

// notOpen says why the session was not open on a change's targets at t.
func (v *view) notOpen(d *applied, t time.Time) string {
	open := false
	systems := map[string]bool{}
	for _, start := range v.starts {
		if start.t.After(t) {
			continue
		}
		ended := slices.ContainsFunc(v.ends, func(end *fact) bool { return !end.t.Before(start.t) && end.t.Before(t) })
		if !ended {
			open = true
			systems[start.data.(*started).Target.ID] = true
		}
	}
	switch {
	case len(v.starts) == 0:
		return "the session never started"
	case !open:
		return "the session was not open"
	}
	for _, f := range v.grants {
		for _, s := range f.data.(*approved).Targets {
			systems[s.ID] = true
		}
	}
	for _, s := range d.Targets {
		if !systems[s.ID] {
			return "the session was not open on " + s.ID
		}
	}
	return ""
}

// changeUnapproved is rule 4: applied without an earlier approval; in a declared
// emergency the approval is due in 24 h. It does not see what was approved.
func (e *Engine) changeUnapproved(b *board, c *change, at time.Time) {
	for _, f := range c.facts {
		d, ok := f.data.(*applied)
		if !ok {
			continue
		}
		problem, on := c.unapproved(f, d, func(a *fact) bool { return a.ref.Index < f.ref.Index && !a.t.After(f.t) })
		if problem == "" {
			b.look(ChangeUnapproved)
			continue
		}
		if declared := c.emergencyBefore(f); declared != nil {
			within := e.cfg.EmergencyApproval.of()
			problem, on = c.unapproved(f, d, func(a *fact) bool {
				return a.t.Sub(f.t) <= within && a.leaf.Sub(f.leaf) <= within+e.cfg.Late.of()
			})
			if problem != "" && at.Sub(f.t) <= within+e.cfg.Late.of() {
				continue // it may still come
			}
			if problem != "" {
				problem, on = "in an emergency, and within "+e.cfg.EmergencyApproval.String()+" "+problem, append(on, declared)
			}
		}
		b.look(ChangeUnapproved)
		if problem != "" {
			b.find(ChangeUnapproved, c.subject(), problem, append(on, f)...)
		}
	}
}

func (c *change) emergencyBefore(f *fact) *fact {
	for _, x := range c.said {
		if _, ok := x.data.(*emergency); ok && x.ref.Index < f.ref.Index && !x.t.After(f.t) {
			return x
		}
	}
	return nil
}

// unapproved says why no approval of those that count covers an application.
func (c *change) unapproved(f *fact, d *applied, counts func(*fact) bool) (problem string, on []*fact) {
	problem = "applied without an approval"
	for _, x := range c.said {
		a, ok := x.data.(*changeApproved)
		if !ok || !counts(x) {
			continue
		}
		rejection := slices.IndexFunc(c.said, func(r *fact) bool {
			_, no := r.data.(*changeRejected)
			return no && r.ref.Index > x.ref.Index && r.ref.Index < f.ref.Index
		})
		missing := slices.IndexFunc(d.Targets, func(s system) bool {
			return !slices.ContainsFunc(a.Targets, func(t system) bool { return t.ID == s.ID })
		})
		switch {
		case rejection >= 0:
			problem, on = "rejected after the approval", []*fact{x, c.said[rejection]}
		case missing >= 0:
			problem, on = "the approval does not cover the system "+d.Targets[missing].ID, []*fact{x}
		case a.Window != nil && !a.Window.holds(f.t):
			problem, on = "applied outside the window that was approved", []*fact{x}
		default:
			return "", nil
		}
	}
	return problem, on
}

// digestDrift is the part of rule 5 about one change: reviewed ≠ approved, or
// approved ≠ applied. The newest review or approval before counts. It does not
// see whether a digest is that of what was looked at.
func (e *Engine) digestDrift(b *board, c *change) {
	var review, approval *fact
	for _, f := range c.facts {
		switch d := f.data.(type) {
		case *changeReviewed:
			if d.Decision == "accepted" {
				review = f
			}
		case *changeApproved:
			approval = f
			if review == nil {
				continue
			}
			b.look(ChangeDigestDrift)
			if was := review.data.(*changeReviewed).Digest; was != d.Digest {
				b.find(ChangeDigestDrift, c.subject(), "reviewed "+was+", approved "+d.Digest, review, f)
			}
		case *applied:
			by := approval
			if by == nil { // an emergency is approved afterwards
				by = c.approvalAfter(f)
			}
			if by == nil {
				continue
			}
			b.look(ChangeDigestDrift)
			if was := by.data.(*changeApproved).Digest; was != d.Digest {
				b.find(ChangeDigestDrift, c.subject(), "approved "+was+", applied "+d.Digest, by, f)
			}
		}
	}
}

func (c *change) approvalAfter(f *fact) *fact {
	for _, x := range c.said {
		if _, ok := x.data.(*changeApproved); ok && x.ref.Index > f.ref.Index {
			return x
		}
	}
	return nil
}

// newest remembers the newest digests of a system.
type newest struct{ digests []string }

// maxInPlace bounds the digests remembered of a system.
const maxInPlace = 256

// bringInto notes that a digest is in place on systems.
func (e *Engine) bringInto(targets []system, digest string) {
	for _, s := range targets {
		n := e.inPlace[s.ID]
		if n == nil {
			n = &newest{}
			e.inPlace[s.ID] = n
		}
		n.digests = append(n.digests, digest)
		if len(n.digests) > maxInPlace {
			n.digests = n.digests[1:]
		}
	}
}

// settleDrifts judges drifts whose change has had time to come in.
func (e *Engine) settleDrifts(b *board, at time.Time) {
	n := 0
	for ; n < len(e.drifts) && e.old(e.drifts[n].leaf, at); n++ {
		e.drift(b, e.drifts[n])
	}
	e.drifts = e.drifts[n:]
}

// reportDrifts judges the rest: drifts that a change explains now, and the others
// only where it had time to come in.
func (e *Engine) reportDrifts(b *board, at time.Time) {
	for _, f := range e.drifts {
		if e.explained(f) || e.old(f.t, at) {
			e.drift(b, f)
		}
	}
}

// drift is the part of rule 5 about systems: drift without a change, which is
// one that brought what was found.
func (e *Engine) drift(b *board, f *fact) {
	b.look(ChangeDigestDrift)
	if !e.explained(f) {
		d := f.data.(*drifted)
		b.find(ChangeDigestDrift, "system/"+d.Target.ID, "no change brought what was found in place, "+d.Observed, f)
	}
}

func (e *Engine) explained(f *fact) bool {
	d := f.data.(*drifted)
	n := e.inPlace[d.Target.ID]
	return n != nil && slices.Contains(n.digests, d.Observed)
}
