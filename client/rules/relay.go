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
	for _, f := range v.events {
		if f.t.After(command.t) {
			break
		}
		if d, ok := f.data.(*reviewed); ok && d.ReviewedDigest == digest && !f.leaf.After(command.leaf.Add(e.cfg.Late.of())) {
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
			if !v.stagedDigest(d.Artifact.Digest) {
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
	for _, f := range v.facts {
		if r, ok := f.data.(*reviewed); ok && f.is(d.Review) {
			if !r.accepts() {
				says = append(says, "was rejected")
			}
			return says
		}
	}
	return append(says, "names a review that is none of this session")
}

func (v *view) stagedDigest(digest string) bool {
	for _, f := range v.facts {
		if d, ok := f.data.(*staged); ok && d.Artifact.Digest == digest {
			return true
		}
	}
	return false
}

// shopping remembers reviews for rule 16.
type shopping struct {
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

func newShopping() *shopping { return &shopping{byDigest: map[string][]*opinion{}} }

// shop is rule 16: rejected by one escort, accepted by another within 7 days. It
// does not see an instruction that was changed in between.
func (e *Engine) shop(s *session, f *fact, d *reviewed) {
	e.shopping.forget(e.now, e.cfg.Shopping.of()+e.cfg.Late.of())
	e.board.look(EscortShopping)
	o := &opinion{session: s.id, fact: f}
	list := e.shopping.byDigest[d.ReviewedDigest]
	for _, other := range list {
		rejected, accepted := other, o
		if d.Decision == "rejected" {
			rejected, accepted = o, other
		}
		if rejected.of().accepts() || !accepted.of().accepts() || accepted.found || rejected.of().Reviewer.Ref == accepted.of().Reviewer.Ref {
			continue
		}
		if gap := accepted.fact.t.Sub(rejected.fact.t); gap < 0 || gap > e.cfg.Shopping.of() {
			continue
		}
		accepted.found = true
		e.board.find(EscortShopping, "session/"+accepted.session, fmt.Sprintf("%s rejected in session %s at %s what %s accepted at %s",
			rejected.of().Reviewer.Ref, rejected.session, stamp(rejected.fact.t), accepted.of().Reviewer.Ref, stamp(accepted.fact.t)), rejected.fact, accepted.fact)
	}
	e.shopping.byDigest[d.ReviewedDigest] = append(list, o)
	e.shopping.order = append(e.shopping.order, o)
}

// forget drops opinions that came longer ago than keep.
func (s *shopping) forget(now time.Time, keep time.Duration) {
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
