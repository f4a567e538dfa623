package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/cmd/internal/samples"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// sceneAudit has a stranger read the whole log.
func (d *demo) sceneAudit(ctx context.Context) error {
	d.scene("An auditor reads the whole log and believes nothing the server says")
	r, _, err := d.audit(ctx, d.operator.front.url, d.auditState())
	if err != nil {
		return err
	}
	if err := unless(r.ExitCode() == audit.ExitProven && r.Head.Size == d.size, "the audit of an honest log ends with exit code %d: %+v", r.ExitCode(), r); err != nil {
		return err
	}
	d.showVerdicts(r)
	d.fact("exit code", "%d, nothing is wrong; the auditor keeps size %d and root %v for the next time", r.ExitCode(), r.Head.Size, r.Head.Root)
	d.say("What this audit did not check, in its own words:")
	for _, c := range r.Claims {
		if c.Result != audit.Pass {
			d.fact(c.Name, "%s", c.Detail)
		}
	}
	return nil
}

// sceneMissing asks the verified leaves what no checkpoint can say: whether the
// escorts attested.
func (d *demo) sceneMissing(ctx context.Context) error {
	d.scene("What the leaves do not hold")
	// Without a state it reads everything again, so that every leaf passes by.
	r, leaves, err := d.audit(ctx, d.operator.front.url, "")
	if err != nil {
		return err
	}
	if err := unless(r.ExitCode() == audit.ExitProven && int64(len(leaves)) == d.size, "the audit read %d leaves and ends with exit code %d", len(leaves), r.ExitCode()); err != nil {
		return err
	}
	index, err := attestations(leaves)
	if err != nil {
		return err
	}
	good, present := index[samples.GoodSession]
	_, attested := index[samples.UnattestedSession]
	if err := unless(present && !attested, "attestations are at %v", index); err != nil {
		return err
	}
	d.say("The log is intact, and that is all that the verdicts above say. Scanning the %d leaves just verified for session.attested:", len(leaves))
	d.fact(samples.GoodSession, "present, leaf %d, signed by that escort's own key", good)
	d.fact(samples.UnattestedSession, "ABSENT: the session ended, and in all %d leaves its escort attests nothing", len(leaves))
	d.say("Absence is proven by having read everything that the checkpoint commits to: nobody can add it later without the time in the leaf saying so.")
	return nil
}

// attestations returns the index of session.attested by session.
func attestations(leaves [][]byte) (map[string]int, error) {
	found := map[string]int{}
	for i, leaf := range leaves {
		e, err := entry.Parse(leaf)
		if err != nil {
			return nil, fmt.Errorf("leaf %d: %w", i, err)
		}
		ev, err := event.Parse(e.Payload)
		if err != nil {
			return nil, fmt.Errorf("leaf %d: %w", i, err)
		}
		if ev.Type != samples.FullType("session.attested") {
			continue
		}
		var data struct {
			Session string `json:"session_id"`
		}
		if err := json.Unmarshal(ev.Data, &data); err != nil {
			return nil, fmt.Errorf("leaf %d: %w", i, err)
		}
		found[data.Session] = i
	}
	return found, nil
}
