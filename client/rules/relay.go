package rules

import (
	"fmt"
	"strings"
	"time"
)

// relayed reports whether a command is one that an engineer dictated: the engineer
// relays in this session, or the gateway says from which instruction it came.
func (v *view) relayed(d *executed) bool {
	if d.InstructionRef != nil {
		return true
	}
	for _, f := range v.starts {
		if f.data.(*started).EngineerMode == "relay" {
			return true
		}
	}
	return false
}

// relayUnreviewed is rule 13: executed without an accepted review of the same
// digest. The newest review before the command counts, so that an acceptance
// that was taken back does not. It does not see commands without a digest.
func (e *Engine) relayUnreviewed(b *board, v *view) {
	for _, f := range v.events {
		d, ok := f.data.(*executed)
		if !ok || !v.relayed(d) || !e.old(f.t, v.at) {
			continue
		}
		if d.MatchDigest == "" {
			b.skip(RelayUnreviewed, "commands without a match digest")
			continue
		}
		b.look(RelayUnreviewed)
		review := e.reviewOf(v, d.MatchDigest, f)
		switch {
		case review == nil:
			b.find(RelayUnreviewed, v.subject(), "a command without an earlier review of the same digest", f)
		case !review.data.(*reviewed).accepts():
			b.find(RelayUnreviewed, v.subject(), "a command whose digest was rejected", f, review)
		}
	}
}

// reviewOf returns the newest review of a digest at the time of a command, that
// did not come into the log too late to be believed.
func (e *Engine) reviewOf(v *view, digest string, command *fact) (newest *fact) {
	for _, f := range v.reviews[digest] {
		if f.t.After(command.t) {
			break
		}
		if !f.leaf.After(command.leaf.Add(e.cfg.Late.of())) {
			newest = f
		}
	}
	return newest
}

// reviewTooFast is rule 14: duration below 1 s per line, or more than 12
// commands a minute. It does not see whether anybody read.
func (e *Engine) reviewTooFast(b *board, v *view) {
	lines := map[string]int64{}
	for _, f := range v.facts {
		if d, ok := f.data.(*received); ok {
			lines[d.InstructionID] = d.Lines
		}
	}
	for _, f := range v.events {
		d, ok := f.data.(*reviewed)
		if !ok || !d.accepts() || !e.old(f.t, v.at) {
			continue
		}
		b.look(ReviewTooFast)
		n := max(lines[d.InstructionID], 1)
		took := time.Duration(d.DurationMS) * time.Millisecond
		if float64(took) < float64(n)*float64(e.cfg.ReviewPerLine) {
			b.find(ReviewTooFast, v.subject(), fmt.Sprintf("%d lines reviewed in %s", n, took), f)
		}
	}
	if v.escorted() {
		e.commandRate(b, v)
	}
}

// commandRate finds each burst of too many commands once.
func (e *Engine) commandRate(b *board, v *view) {
	var recent []*fact
	burst := false
	for _, f := range v.events {
		if _, ok := f.data.(*executed); !ok || !e.old(f.t, v.at) {
			continue
		}
		b.look(ReviewTooFast)
		recent = append(recent, f)
		for f.t.Sub(recent[0].t) >= time.Minute {
			recent = recent[1:]
		}
		over := len(recent) > e.cfg.CommandsPerMinute
		if over && !burst {
			b.find(ReviewTooFast, v.subject(), fmt.Sprintf("%d commands within a minute, up to %s", len(recent), stamp(f.t)), recent...)
		}
		burst = over
	}
}

// script is the newest version of a script of one name.
type script struct {
	digest string
	fact   *fact
}

// nameScript is the part of rule 15 about names: one name, new digest.
func (e *Engine) nameScript(s *session, f *fact, d *staged) {
	name := f.ref.Source + "\x00" + d.ScriptID
	old := e.scripts[name]
	e.scripts[name] = &script{digest: d.Artifact.Digest, fact: f}
	if old == nil || old.digest == d.Artifact.Digest || f.leaf.Sub(old.fact.leaf) > e.cfg.ScriptMemory.of() {
		return
	}
	e.board.find(OpaqueScript, s.subject(), "the script "+d.ScriptID+" has a new digest", old.fact, f)
}

// forgetScripts drops names that were not used for long.
func (e *Engine) forgetScripts() {
	for name, s := range e.scripts {
		if e.now.Sub(s.fact.leaf) > e.cfg.ScriptMemory.of() {
			delete(e.scripts, name)
		}
	}
}

// opaqueScript is rule 15: a script without staging, scan and review. It does
// not see scripts that are typed, or fetched by the target itself.
func (e *Engine) opaqueScript(b *board, v *view) {
	for _, f := range v.events {
		if !e.old(f.t, v.at) {
			continue
		}
		switch d := f.data.(type) {
		case *staged:
			b.look(OpaqueScript)
			if says := v.opaque(d); len(says) > 0 {
				b.find(OpaqueScript, v.subject(), "the script "+d.ScriptID+" "+strings.Join(says, ", and "), f)
			}
		case *fileMoved:
			if d.Direction != "in" || !matchesAny(e.cfg.ScriptMediaTypes, strings.ToLower(d.Artifact.MediaType)) {
				continue
			}
			b.look(OpaqueScript)
			if !v.staged[d.Artifact.Digest] {
				b.find(OpaqueScript, v.subject(), "a file of type "+d.Artifact.MediaType+" was transferred to the target and never staged", f)
			}
		}
	}
}

func (v *view) opaque(d *staged) (says []string) {
	switch {
	case d.Scan == nil:
		says = append(says, "was not scanned")
	case d.Scan.Verdict != "clean":
		says = append(says, "was scanned as "+d.Scan.Verdict)
	case d.Scan.Digest != "" && d.Scan.Digest != d.Artifact.Digest:
		says = append(says, "is not what was scanned")
	}
	if d.Review == nil {
		return append(says, "was not reviewed")
	}
	f, ok := v.reviewed[*d.Review]
	switch {
	case !ok:
		says = append(says, "names a review that is none of this session")
	case !f.data.(*reviewed).accepts():
		says = append(says, "was rejected")
	}
	return says
}

// shopping remembers reviews for rule 16: rejections for as long as an
// acceptance may follow, and acceptances for as long as a rejection of before may
// take into the log.
type shopping struct{ rejected, accepted opinions }

// opinions are reviews of a kind.
type opinions struct {
	byDigest map[string][]*opinion
	order    []*opinion // as they came
}

// opinion is what an escort said of a digest.
type opinion struct {
	session string
	fact    *fact
	found   bool
}

func (o *opinion) of() *reviewed { return o.fact.data.(*reviewed) }

func newShopping() *shopping {
	return &shopping{opinions{byDigest: map[string][]*opinion{}}, opinions{byDigest: map[string][]*opinion{}}}
}

// shop is rule 16: rejected by one escort, accepted by another within 7 days. It
// does not see an instruction that was changed in between.
func (e *Engine) shop(s *session, f *fact, d *reviewed) {
	shop, late := e.shopping, e.cfg.Late.of()
	shop.rejected.forget(e.now, e.cfg.Shopping.of()+late)
	shop.accepted.forget(e.now, late)
	e.board.look(EscortShopping)
	o := &opinion{session: s.id, fact: f}
	if d.accepts() {
		for _, rejection := range shop.rejected.byDigest[d.ReviewedDigest] {
			e.shopped(rejection, o)
		}
		shop.accepted.add(o)
		return
	}
	for _, acceptance := range shop.accepted.byDigest[d.ReviewedDigest] {
		e.shopped(o, acceptance)
	}
	shop.rejected.add(o)
}

// shopped finds one acceptance after another's rejection, once.
func (e *Engine) shopped(rejection, acceptance *opinion) {
	no, yes := rejection.of(), acceptance.of()
	gap := acceptance.fact.t.Sub(rejection.fact.t)
	if acceptance.found || no.Reviewer.Ref == yes.Reviewer.Ref || gap < 0 || gap > e.cfg.Shopping.of() {
		return
	}
	acceptance.found = true
	e.board.find(EscortShopping, "session/"+acceptance.session, fmt.Sprintf("%s rejected in session %s at %s what %s accepted at %s",
		no.Reviewer.Ref, rejection.session, stamp(rejection.fact.t), yes.Reviewer.Ref, stamp(acceptance.fact.t)), rejection.fact, acceptance.fact)
}

func (s *opinions) add(o *opinion) {
	digest := o.of().ReviewedDigest
	s.byDigest[digest] = append(s.byDigest[digest], o)
	s.order = append(s.order, o)
}

// forget drops opinions that came longer ago than keep.
func (s *opinions) forget(now time.Time, keep time.Duration) {
	n := 0
	for n < len(s.order) && now.Sub(s.order[n].fact.leaf) > keep {
		digest := s.order[n].of().ReviewedDigest
		if list := s.byDigest[digest][1:]; len(list) == 0 {
			delete(s.byDigest, digest)
		} else {
			s.byDigest[digest] = list
		}
		n++
	}
	s.order = s.order[n:]
}
