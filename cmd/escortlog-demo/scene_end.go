package main

import (
	"context"

	"github.com/escortlog/escortlog/client/audit"
)

// sceneEnd audits the honest log once more and sums up.
func (d *demo) sceneEnd(ctx context.Context) error {
	d.scene("The honest log, audited again")
	r, _, err := d.audit(ctx, d.operator.front.url, d.auditState())
	if err != nil {
		return err
	}
	if err := unless(r.ExitCode() == audit.ExitProven && r.Verdict(audit.VerdictConsistency).Result == audit.Pass,
		"the honest log is refused after the attacks: exit code %d, %+v", r.ExitCode(), r.Failures); err != nil {
		return err
	}
	d.fact("audit", "exit code %d: size %d, %s", r.ExitCode(), r.Head.Size, r.Verdict(audit.VerdictConsistency).Detail)
	d.say("")
	for _, v := range d.verdicts {
		d.fact("caught", "%-34s by %s", v.attack, v.by)
	}
	return nil
}
