package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// escortAbsent is rule 7: a command with no active escort, or last presence
// older than 120 s. The presence is that of whoever escorts at that moment. It
// does not see whether the escort looks at the screen.
func (e *Engine) escortAbsent(b *board, v *view) {
	if !v.escorted() {
		return
	}
	for _, f := range v.events {
		if _, ok := f.data.(*executed); !ok || !e.old(f.t, v.at) {
			continue
		}
		b.look(EscortAbsent)
		if problem, on := e.absence(v, f); problem != "" {
			b.find(EscortAbsent, v.subject(), problem, append(on, f)...)
		}
	}
}

func (e *Engine) absence(v *view, command *fact) (problem string, on []*fact) {
	escort := v.escortAt(command.t)
	if escort == "" {
		return "a command while nobody escorts", nil
	}
	last := lastAt(v.presences[escort], command.t)
	if last == nil {
		return "a command without any sign of presence of " + escort, nil
	}
	if state := last.data.(*presence).State; state != "active" {
		return "a command while " + escort + " is " + state, []*fact{last}
	}
	if age := command.t.Sub(last.t); age > e.cfg.Presence.of() {
		return "a command " + age.String() + " after the last sign of presence of " + escort, []*fact{last}
	}
	return "", nil
}

// pastWork remembers who escorted when, beside the sessions that are not
// settled, as long as one of those may overlap it.
type pastWork struct {
	at   map[string]map[string]*session // by escort and session, not settled
	done map[string][]shift             // by escort
}

func newPastWork() *pastWork {
	return &pastWork{at: map[string]map[string]*session{}, done: map[string][]shift{}}
}

func (w *pastWork) open(escort string, s *session) {
	if w.at[escort] == nil {
		w.at[escort] = map[string]*session{}
	}
	w.at[escort][s.id] = s
}

// close forgets a session for everybody who was said to escort it, also by a
// second start, which makes no shift.
func (w *pastWork) close(s *session) {
	for _, f := range s.roster {
		escort := ""
		switch d := f.data.(type) {
		case *started:
			if d.Escort != nil {
				escort = d.Escort.Ref
			}
		case *handedOff:
			escort = d.To.Ref
		}
		delete(w.at[escort], s.id)
		if len(w.at[escort]) == 0 {
			delete(w.at, escort)
		}
	}
}

// all returns every shift of an escort that is remembered.
func (w *pastWork) all(escort string) []shift {
	list := slices.Clone(w.done[escort])
	for _, id := range sortedKeys(w.at[escort]) {
		for _, s := range w.at[escort][id].shifts() {
			if s.escort == escort {
				list = append(list, s)
			}
		}
	}
	return list
}

// settleWork judges the shifts of a session that is settled (rule 8).
func (e *Engine) settleWork(s *session, at time.Time) {
	shifts := s.shifts()
	for _, sh := range shifts {
		e.overload(e.board, sh, e.work.all(sh.escort), at)
	}
	e.work.close(s)
	for _, sh := range shifts {
		open := e.work.at[sh.escort]
		oldest := e.now.Add(-e.cfg.Late.of())
		for _, o := range open {
			for _, f := range o.facts {
				oldest = earliest(oldest, f.t)
			}
		}
		done := slices.DeleteFunc(append(e.work.done[sh.escort], sh), func(x shift) bool { return !x.to.IsZero() && x.to.Before(oldest) })
		if e.work.done[sh.escort] = done; len(done) == 0 {
			delete(e.work.done, sh.escort)
		}
	}
}

// judgeOverload is rule 8 for what is not settled.
func (e *Engine) judgeOverload(b *board, at time.Time) {
	for _, escort := range sortedKeys(e.work.at) {
		all := e.work.all(escort)
		for _, sh := range all {
			if _, open := e.work.at[escort][sh.session]; open {
				e.overload(b, sh, all, at)
			}
		}
	}
}

// overload is rule 8: one escort in more than k sessions at once. It judges the
// beginning of one shift; all are the escort's shifts. It does not see sessions
// outside this log.
func (e *Engine) overload(b *board, sh shift, all []shift, at time.Time) {
	if !e.old(sh.from, at) {
		return
	}
	b.look(EscortOverload)
	on := []*fact{sh.fact}
	others := map[string]bool{}
	for _, o := range all {
		earlier := o.from.Before(sh.from) || o.from.Equal(sh.from) && o.fact.ref.Index < sh.fact.ref.Index
		if o.session == sh.session || !earlier || !o.to.IsZero() && !o.to.After(sh.from) || others[o.session] {
			continue
		}
		others[o.session] = true
		on = append(on, o.fact)
	}
	if n := len(others) + 1; n > e.cfg.EscortSessions {
		b.findOf(EscortOverload, "session/"+sh.session, sh.escort, fmt.Sprintf("%s escorts %d sessions at once from %s on, %d are allowed",
			sh.escort, n, stamp(sh.from), e.cfg.EscortSessions), on...)
	}
}

// escortUnqualified is rule 9: required skills not covered by valid
// qualifications, or no authorisation. Both must have been logged before the
// escort began. It does not see whether a qualification is worth anything.
func (e *Engine) escortUnqualified(b *board, v *view) {
	for _, sh := range v.shifts {
		if !e.old(sh.from, v.at) {
			continue
		}
		b.look(EscortUnqualified)
		rec := e.registry.of(sh.escort)
		var says []string
		if missing := rec.missing(v.skills(), sh.from, sh.fact.ref.Index); len(missing) > 0 {
			says = append(says, "is not qualified in "+strings.Join(missing, ", "))
		}
		on := []*fact{sh.fact}
		for _, sys := range v.systems {
			valid, revoked := rec.authorisation(e.cfg.EscortRoles, sys, sh.from, sh.fact.ref.Index)
			switch {
			case valid != nil:
			case revoked != nil:
				says = append(says, "has only a revoked authorisation for "+sys.ID)
				on = append(on, revoked)
			default:
				says = append(says, "has no authorisation for "+sys.ID)
			}
		}
		if len(says) > 0 {
			b.findOf(EscortUnqualified, v.subject(), sh.escort, sh.escort+" "+strings.Join(says, ", and "), on...)
		}
	}
}

// skills returns what the session's escort must be qualified in.
func (v *view) skills() (list []string) {
	for _, s := range v.systems {
		list = append(list, s.Skills...)
	}
	for _, f := range v.facts {
		if d, ok := f.data.(*assigned); ok {
			list = append(list, d.Skills...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
