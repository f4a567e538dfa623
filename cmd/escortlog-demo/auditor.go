package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
)

// tap reads a log over HTTP for the audit and keeps the leaves that it read.
// After an audit that found nothing wrong each of them was hashed into the
// root.
type tap struct {
	*client.Fetcher
	leaves [][]byte
}

// Bundle implements audit.Log. The log is smaller than one bundle, so the last
// one read holds it all.
func (t *tap) Bundle(ctx context.Context, q tile.Tile) ([][]byte, error) {
	entries, err := t.Fetcher.Bundle(ctx, q)
	t.leaves = entries
	return entries, err
}

// audit runs the auditor: a stranger with the policy file, a state directory and
// a URL.
func (d *demo) audit(ctx context.Context, url, state string) (*audit.Report, [][]byte, error) {
	text, err := os.ReadFile(d.policyFile)
	if err != nil {
		return nil, nil, err
	}
	policy, err := checkpoint.ParsePolicy(text)
	if err != nil {
		return nil, nil, err
	}
	read := &tap{Fetcher: &client.Fetcher{URL: url}}
	report, err := audit.Run(ctx, audit.Config{Log: read, Policy: policy, StateDir: state, Genesis: &d.genesis})
	return report, read.leaves, err
}

// auditState is what the auditor keeps from one audit to the next.
func (d *demo) auditState() string { return filepath.Join(d.dir, "auditor") }

// sameAuditor is an auditor with a copy of that memory, so that one attack does
// not show in what the next one finds.
func (d *demo) sameAuditor(name string) (string, error) {
	dir := filepath.Join(d.dir, "auditor-"+name)
	return dir, copyDir(d.auditState(), dir)
}

// showVerdicts prints the protocol verdicts of a report.
func (d *demo) showVerdicts(r *audit.Report) {
	for _, v := range r.Verdicts {
		d.fact(v.Name, "%s, %d %s: %s", strings.ReplaceAll(string(v.Result), "_", " "), v.Population, v.Unit, v.Detail)
	}
}

// refusedByAudit demands that an audit ended as an integrity failure for one of
// the given verdicts, with its evidence in a file.
func refusedByAudit(r *audit.Report, verdicts ...string) error {
	if err := unless(r.ExitCode() == audit.ExitIntegrity, "the audit ends with exit code %d: %+v", r.ExitCode(), r.Failures); err != nil {
		return err
	}
	for _, v := range verdicts {
		if err := unless(r.Verdict(v).Result == audit.Fail, "the audit's verdict on %s is %s", v, r.Verdict(v).Result); err != nil {
			return err
		}
	}
	info, err := os.Stat(r.Evidence)
	return unless(r.Evidence != "" && err == nil && info.Size() > 0, "the audit wrote no evidence: %v", err)
}

// failure is the detail of the first failure of a verdict.
func failure(r *audit.Report, verdict string) string {
	for _, f := range r.Failures {
		if f.Verdict == verdict {
			return f.Detail
		}
	}
	return ""
}
