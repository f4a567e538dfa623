package month

import (
	"fmt"
	"time"
)

// change is a change to come, in a session or by a pipeline.
type change struct {
	*world
	id        string
	session   *session // nil: by the pipeline itself
	target    system
	author    person
	reviewer  person
	approver  person
	content   string
	proposed  time.Time
	applied   time.Time
	emergency time.Duration // approved only so long after; 0: before, as it should be

	edits  map[string][]func(*happening)
	afters []func()

	proposal, review, approval, application *happening
}

// newChange plans a change; the caller says where and when.
func (w *world) newChange(target system, author person) *change {
	w.changes++
	c := &change{
		world: w, id: fmt.Sprintf("chg-%03d", w.changes), target: target, author: author, edits: map[string][]func(*happening){},
		reviewer: pick(w, w.reviewers), approver: pick(w, w.approvers),
	}
	c.content = "workers: 8 # " + c.id + "\n"
	return c
}

// changeIn plans a change that a session makes with its last command.
func (w *world) changeIn(s *session) *change {
	c := w.newChange(s.target, s.engineer)
	c.session, s.change = s, c
	r := s.ask("storagectl apply --file /srv/changes/" + c.id + ".yaml")
	r.change = c
	c.proposed = s.slot.start.Add(2 * time.Minute)
	// 5 s after the command that makes it.
	c.applied = s.start.Add(r.after + r.review + r.pause + 5*time.Second)
	return c
}

// changeByPipeline plans a change that no session makes.
func (w *world) changeByPipeline(at time.Time) *change {
	c := w.newChange(pick(w, w.systems), pick(w, w.citizens))
	c.proposed, c.applied = at, at.Add(w.between(50*time.Minute, 90*time.Minute))
	return c
}

func (c *change) ref() string { return "change/" + c.id }

func (c *change) on(typ string, edit func(*happening)) { c.edits[typ] = append(c.edits[typ], edit) }

func (c *change) without(typ string) { c.on(typ, func(h *happening) { h.drop = true }) }

func (c *change) tell(typ string, at time.Time, cause *happening, data obj) *happening {
	a := about{subject: c.ref()}
	where := obj{"change_id": c.id}
	switch {
	case c.session != nil:
		a.session, where["session_id"] = c.session.id, c.session.id
	case typ == "change.proposed" || typ == "change.applied" || typ == "change.verified" || typ == "change.rolled_back":
		where["pipeline_ref"] = "deploy/" + c.id
	}
	if cause != nil && !cause.drop {
		a.cause = cause.id
	}
	h := c.say(c.pipeline, typ, at, a, merge(where, data))
	for _, edit := range c.edits[typ] {
		edit(h)
	}
	return h
}

func (c *change) artifacts() []obj {
	return []obj{{"digest": digest(c.content), "size": len(c.content), "media_type": "application/yaml"}}
}

// decide tells the proposal, the review and the approval.
func (c *change) decide() {
	author := c.author.as("author")
	c.proposal = c.tell("change.proposed", c.proposed, nil, obj{
		"kind": "configuration", "author": author, "artifacts": c.artifacts(), "targets": []system{c.target},
		"proposed_digest": digest(c.content), "ticket": "INC-" + c.id,
	})
	c.review = c.tell("change.reviewed", c.proposed.Add(6*time.Minute), c.proposal, obj{
		"reviewer": c.reviewer, "decision": "accepted", "reviewed_digest": digest(c.content), "duration_ms": 184_000,
	})
	at := c.proposed.Add(10 * time.Minute)
	if c.emergency > 0 {
		c.tell("change.emergency_declared", at, c.review, obj{
			"declared_by": c.officers[2].as("duty officer"), "reason": "An outage.", "targets": []system{c.target}, "approval_due": stamp(at.Add(24 * time.Hour)),
		})
		at = c.applied.Add(c.emergency)
	}
	c.approval = c.tell("change.approved", at, c.review, obj{
		"approver": c.approver, "auto": false, "approved_digest": digest(c.content), "targets": []system{c.target},
		"window": window(c.proposed, c.proposed.Add(48*time.Hour)), "policy": accessPolicy,
	})
}

// carryOut tells the application and its verification.
func (c *change) carryOut() {
	by := any(nil)
	if c.session != nil {
		by = c.session.escort
	}
	c.application = c.tell("change.applied", c.applied, c.approval, obj{
		"kind": "configuration", "author": c.author.as("author"), "applied_by": by, "artifacts": c.artifacts(), "targets": []system{c.target},
		"applied_digest": digest(c.content), "outcome": "succeeded",
	})
	c.tell("change.verified", c.applied.Add(15*time.Second), c.application, obj{
		"verifier": c.reviewer.as("verifier"), "method": "test", "verified_digest": digest(c.content), "outcome": "passed",
	})
	for _, f := range c.afters {
		f()
	}
}
