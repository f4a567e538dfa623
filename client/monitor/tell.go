package monitor

import (
	"context"
	"encoding/json"
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

// worry is a finding of an audit. Each use of a compromised key counts; that
// events of a type nobody can judge go on is raised once.
func (f *follower) worry(x *audit.Finding) *Finding {
	g := f.finding(KindAudit, x.Detail)
	g.Rule, g.Population = x.Kind, x.Count
	what := x.Detail
	if x.First != nil {
		g.Refs = []rules.Ref{{Index: *x.First}}
		if x.Kind == audit.FindingOpaque {
			what = fmt.Sprint(*x.First)
		}
	}
	g.ID = identify(g.Kind, g.Log, g.Rule, what)
	return g
}

// verdict raises what one rule found. A finding is known by its rule, its subject
// and the leaves that it rests on, since its words may tell how long something
// has been so; among several with the same it is known by its place.
func (f *follower) verdict(ctx context.Context, digest string, v *rules.Verdict) error {
	var list []*Finding
	same := map[string]int{}
	for i := range v.Findings {
		x := &v.Findings[i]
		refs, err := json.Marshal(x.Refs)
		if err != nil {
			return err
		}
		g := f.finding(KindRule, x.Detail)
		g.Rule, g.RulesDigest, g.Population = v.Name, digest, v.Population
		g.Severity, g.Subject, g.At = x.Severity, x.Subject, x.Time
		if x.Refs != nil {
			g.Refs = x.Refs
		}
		key := identify(g.Kind, g.Log, g.Rule, g.Subject, string(refs))
		g.ID = identify(key, fmt.Sprint(same[key]))
		same[key]++
		list = append(list, g)
	}
	if err := f.m.raise(ctx, list...); err != nil {
		return err
	}
	omitted := ""
	if n := v.Count - int64(len(v.Findings)); n > 0 {
		omitted = fmt.Sprintf("rule %s found more than the rules file's max_findings lets it list: %d are not raised", v.Name, n)
	}
	return f.set(ctx, condition{kind: KindOmitted, rule: v.Name}, omitted)
}
