package monitor

import (
	"context"
	"fmt"

	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/rules"
)

var noRefs = []rules.Ref{}

// tell raises what an audit says.
func (f *follower) tell(ctx context.Context, r *audit.Report) error {
	var list []*Finding
	for i := range r.Failures {
		if x := &r.Failures[i]; x.Verdict != audit.VerdictQuorum { // a condition, which has been set
			list = append(list, f.failure(r, x))
		}
	}
	for i := range r.Findings {
		list = append(list, f.worry(&r.Findings[i]))
	}
	if err := f.m.raise(ctx, list...); err != nil || r.Rules == nil {
		return err
	}
	for i := range r.Rules.Verdicts {
		if err := f.verdict(ctx, r.Rules.Digest, &r.Rules.Verdicts[i]); err != nil {
			return err
		}
	}
	return nil
}

func (f *follower) failure(r *audit.Report, x *audit.Failure) *Finding {
	g := f.finding(KindIntegrity, x.Detail)
	g.Rule, g.Evidence = x.Verdict, r.Evidence
	index := ""
	if x.Index != nil {
		g.Refs, index = []rules.Ref{{Index: *x.Index}}, fmt.Sprint(*x.Index)
	}
	g.ID = identify(g.Kind, g.Log, g.Rule, index, x.Detail)
	return g
}

// worry is a finding of an audit.
func (f *follower) worry(x *audit.Finding) *Finding {
	g := f.finding(KindAudit, x.Detail)
	g.Rule, g.Population = x.Kind, x.Count
	if x.First != nil {
		g.Refs = []rules.Ref{{Index: *x.First}}
	}
	g.ID = x.ID
	return g
}

// verdict raises what one rule found, and closes what it finds no more.
func (f *follower) verdict(ctx context.Context, digest string, v *rules.Verdict) error {
	var list []*Finding
	for i := range v.Findings {
		x := &v.Findings[i]
		g := f.finding(KindRule, x.Detail)
		g.Rule, g.RulesDigest, g.Population = v.Name, digest, v.Population
		g.Severity, g.Subject, g.At = x.Severity, x.Subject, x.Time
		if x.Refs != nil {
			g.Refs = x.Refs
		}
		g.ID = x.ID
		list = append(list, g)
	}
	if err := f.m.raise(ctx, append(f.ended(digest, v), list...)...); err != nil {
		return err
	}
	omitted := ""
	if n := v.Count - int64(len(v.Findings)); n > 0 {
		omitted = fmt.Sprintf("rule %s found more than the rules file's max_findings lets it list: %d are not raised", v.Name, n)
	}
	return f.set(ctx, condition{kind: KindOmitted, rule: v.Name}, omitted)
}
