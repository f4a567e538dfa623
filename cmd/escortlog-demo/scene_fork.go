package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/cmd/internal/samples"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/witness"
)

// sceneFork lets the operator keep two histories at once and show each to whom
// it suits.
func (d *demo) sceneFork(ctx context.Context) (err error) {
	d.scene("Third attack: the operator shows a fork")
	leaves, err := d.honestLeaves(ctx)
	if err != nil {
		return err
	}
	forged, dropped := d.forkedLeaves(leaves)
	f, err := d.forge(ctx, "fork", forged)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	d.attack("keeps a second history of the same %d leaves: one command of the second session (leaf %d) never happened, and its escort did attest. Every signature in it is genuine, and so is every hash", f.log.Head().Size, dropped)
	if err := unless(f.log.Head().Size == d.size && f.log.Head().Root != d.operator.log.Head().Root, "the fork is none: %+v", f.log.Head()); err != nil {
		return err
	}
	if err := d.forkToWitness(ctx, f); err != nil {
		return err
	}
	return d.splitView(ctx, f)
}

// forkedLeaves leaves out one command of the second session and puts in the
// attestation that the escort signed late, so that the size is the same.
func (d *demo) forkedLeaves(leaves [][]byte) (forged [][]byte, dropped int) {
	dropped = -1
	command := []byte(`"type":"` + samples.FullType("command.executed") + `"`)
	for i, leaf := range leaves {
		if dropped < 0 && bytes.Contains(leaf, command) && bytes.Contains(leaf, []byte(samples.UnattestedSession)) {
			dropped = i
			continue
		}
		forged = append(forged, leaf)
	}
	late := d.lateLeaf()
	entry.SetTime(late, entry.TimeOf(leaves[len(leaves)-1]))
	return append(forged, late), dropped
}

// forkToWitness signs the fork and shows it to one witness only.
func (d *demo) forkToWitness(ctx context.Context, f *forgery) error {
	one := d.witnesses[1]
	before, err := one.evidence(witness.Fork)
	if err != nil {
		return err
	}
	note, err := f.note()
	if err != nil {
		return err
	}
	d.attack("signs the fork with the log's keys and sends it to one witness, %s", one.name)
	status, answer, err := one.addCheckpoint(ctx, d.size, nil, note)
	if err != nil {
		return err
	}
	kept, err := one.evidence(witness.Fork)
	if err != nil {
		return err
	}
	if err := unless(status == http.StatusUnprocessableEntity && len(kept) == len(before)+1, "the witness answered %d (%s) and keeps %d forks", status, answer, len(kept)); err != nil {
		return err
	}
	if err := d.forkProven(kept[len(kept)-1]); err != nil {
		return err
	}
	d.fact("evidence", "in %s: two checkpoints of size %d with different roots, both signed by the log. Whoever has the log's key sees that it lied", filepath.Join(one.dir, "evidence"), d.size)
	d.caught("shows a fork to one witness", "that witness", "422, it cosigned another root for this size, and what convicts the log is on its disk")
	return nil
}

// forkProven checks a witness's evidence as a judge would, who trusts neither
// log nor witness: both heads must bear the log's own signature.
func (d *demo) forkProven(e witness.Evidence) error {
	var heads []checkpoint.Checkpoint
	for _, note := range []string{e.Known, e.Shown} {
		text, sigs, err := checkpoint.ParseNote([]byte(note))
		if err != nil {
			return err
		}
		if _, err := checkpoint.Verify(text, sigs, d.operator.verifiers()...); err != nil {
			return unless(false, "the evidence does not convict: %v", err)
		}
		cp, err := checkpoint.Parse(text)
		if err != nil {
			return err
		}
		heads = append(heads, cp)
	}
	return unless(heads[0].Size == heads[1].Size && heads[0].Root != heads[1].Root, "the evidence is no fork: %+v", heads)
}

// splitView shows the fork to an auditor who has never been here, and gives a
// receipt from it.
func (d *demo) splitView(ctx context.Context, f *forgery) error {
	d.attack("shows the fork to a new auditor who remembers nothing, and hands out a receipt for the attestation in it")
	published, err := f.log.WaitPublished(ctx, d.size)
	if err != nil {
		return err
	}
	d.otherFace().show(f.server.Handler())
	defer d.otherFace().show(nil)
	r, _, err := d.audit(ctx, d.otherFace().url, filepath.Join(d.dir, "auditor-new"))
	if err != nil {
		return err
	}
	if err := refusedByAudit(r, audit.VerdictQuorum); err != nil {
		return err
	}
	if err := unless(r.Verdict(audit.VerdictReplay).Result == audit.Pass && r.Verdict(audit.VerdictSignatures).Result == audit.Pass,
		"the fork should be flawless in itself: %+v", r.Verdicts); err != nil {
		return err
	}
	index := d.size - 1
	hashes, err := f.log.Inclusion(ctx, index, d.size)
	if err != nil {
		return err
	}
	leaf, err := f.log.Entry(ctx, index)
	if err != nil {
		return err
	}
	name := filepath.Join(d.dir, "receipts", "forked")
	proof := checkpoint.Proof{Extra: checkpoint.LeafTimeExtra(entry.TimeOf(leaf)), Index: index, Hashes: hashes, Checkpoint: published.Note}
	if err := errors.Join(os.WriteFile(name+".tlog-proof", proof.Marshal(), 0o644), os.WriteFile(name+".leaf", leaf, 0o644)); err != nil {
		return err
	}
	_, err = verifyFiles(d.policyFile, name+".tlog-proof", name+".leaf", nil)
	if err := unless(errors.Is(err, checkpoint.ErrQuorum), "a receipt from the fork should lack the quorum: %v", err); err != nil {
		return err
	}
	d.fact("audit", "exit code %d: replay, signatures and events of the fork all pass, quorum fails", r.ExitCode())
	d.fact("verify", "exit code %d: %s", audit.ExitIntegrity, shortQuorum(err))
	d.caught("splits the view", "the policy", "two of three witnesses must have cosigned, they cosigned the other history, and nobody needs to have seen both")
	return nil
}

// shortQuorum is what is wrong, without the list of all keys that could help.
func shortQuorum(err error) string {
	text, _, _ := strings.Cut(err.Error(), "; needed")
	return text
}
