package monitor

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/escortlog/escortlog/client/rules"
)

// ended closes the findings of a rule that were raised and are found no more, each
// once. What the rule does not list it may find all the same, so that nothing is
// closed while it does not list all; and by the verdict of other rules, or without
// leaves that are new, nothing is. Where the rule finds something new of the same
// leaves and more, the finding goes on as that: closed before it is raised, so that
// a crash between the two loses neither. The catalogue of the rules says when each of them
// finds something no more.
func (f *follower) ended(digest string, v *rules.Verdict) (list []*Finding) {
	if v.Count != int64(len(v.Findings)) {
		return nil
	}
	now := f.finding(KindRule, "")
	found := map[string]bool{}
	for i := range v.Findings {
		found[v.Findings[i].ID] = true
	}
	for _, begun := range f.m.journal.unresolved(f.t.Origin, f.t.URL, v.Name) {
		if found[begun.ID] || begun.RulesDigest != digest || begun.Head == nil || now.Head == nil || begun.Head.Size >= now.Head.Size {
			continue
		}
		g := *begun
		g.Status, g.Clears, g.RaisedAt, g.ID = Closed, begun.ID, begun.At, identify(Closed, begun.ID)
		g.Head, g.Time, g.At, g.Population = now.Head, now.Time, now.At, v.Population
		g.Reason = fmt.Sprintf("at size %d the leaves that came since size %d explain it", now.Head.Size, begun.Head.Size)
		if i := slices.IndexFunc(v.Findings, func(x rules.Finding) bool { return continues(begun, &x) && !f.m.journal.knows(x.ID) }); i >= 0 {
			g.Continued = v.Findings[i].ID
			g.Reason = fmt.Sprintf("at size %d it goes on as finding %s, of more leaves", now.Head.Size, g.Continued)
		}
		list = append(list, &g)
	}
	slices.SortFunc(list, func(a, b *Finding) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// continues reports whether a finding is of the same subject and of all leaves of
// another one, and more.
func continues(begun *Finding, x *rules.Finding) bool {
	return x.Subject == begun.Subject && !slices.ContainsFunc(begun.Refs, func(r rules.Ref) bool { return !slices.Contains(x.Refs, r) })
}
