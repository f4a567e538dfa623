package audit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// RulesReport is what the rules an auditor runs say of the log.
type RulesReport struct {
	// Digest is the SHA-256 of the rules file, as "sha256:" and hex.
	Digest string `json:"digest"`
	// Defaults is the digest of the rules built in, which hold where that file says
	// nothing; the same where there is no file.
	Defaults string `json:"defaults"`
	// At is the time as of which they judged, RFC 3339.
	At string `json:"at"`
	// AtFrom says where At is from: "given", "cosignature" or "leaf".
	AtFrom string `json:"at_from"`
	// Since: findings whose newest leaf is older are not listed, RFC 3339; empty:
	// all are. Verdicts, populations and counts are about the whole log always.
	Since string `json:"since,omitempty"`
	// Hidden counts the findings that Since leaves out.
	Hidden int64 `json:"hidden,omitempty"`
	// NotRun says why there are no verdicts; empty where there are.
	NotRun   string          `json:"not_run,omitempty"`
	Verdicts []rules.Verdict `json:"verdicts"`
}

// failed reports whether a rule found something.
func (r *RulesReport) failed() bool {
	if r == nil {
		return false
	}
	for _, v := range r.Verdicts {
		if v.Status == rules.Fail {
			return true
		}
	}
	return false
}

// judge gives the leaves of a chunk to the rules, those from from on and before
// to. After a failure nothing is judged: there will be no report of rules.
func (a *auditor) judge(c *chunk, from, to int64) {
	if a.rules == nil || len(a.failed) > 0 {
		return
	}
	for i := range c.leaves {
		l, index := &c.leaves[i], c.first+int64(i)
		if index < from || index >= to || l.entryErr != nil {
			continue
		}
		r := rules.Record{Index: index, LeafTime: l.entry.Time, LeafHash: l.hash, Entry: l.entry}
		if l.eventErr == nil {
			r.Event = l.event
		}
		a.rules.engine.Add(r)
		a.rules.tree.append(l.hash, func(tile.Tile, []tlog.Hash) {})
		a.rules.newest = max(a.rules.newest, l.entry.Time)
	}
}

// reread reads once more leaves that earlier runs verified: those that the rules,
// which look at the whole history, have not seen, and all of them where the set of
// identities is lost. Nothing is verified again but what all rests on: the leaves
// are those whose root was kept.
func (a *auditor) reread(ctx context.Context) error {
	size := a.state.tree.size
	if a.rules != nil {
		if err := a.checkRules(ctx); err != nil {
			return err
		}
	}
	seen := size // by the rules
	if a.rules != nil {
		seen = a.rules.tree.size
	}
	var again tree
	switch {
	case a.state.lost != nil:
		a.notice("the set of identities in the state directory cannot be used, and all leaves are read again: %v", a.state.lost)
	case seen == size:
		return nil
	default:
		again = a.rules.tree.clone()
	}
	ctx, cancel := context.WithCancel(ctx)
	var fetching sync.WaitGroup
	defer func() {
		cancel()
		fetching.Wait()
	}()
	var reading []*chunk
	from := again.size
	next, end := from/tile.Width, (size+tile.Width-1)/tile.Width
	for next < end || len(reading) > 0 {
		for next < end && len(reading) < a.cfg.Fetches {
			c := &chunk{bundle: tile.Tile{Level: tile.Entries, N: next, W: tile.WidthAt(tile.Entries, next, a.head.Size)}, first: next * tile.Width, ready: make(chan struct{})}
			fetching.Go(func() { a.fetch(ctx, c) })
			reading = append(reading, c)
			next++
		}
		c := reading[0]
		reading = reading[1:]
		<-c.ready
		if c.err != nil {
			return c.err
		}
		a.rehash(c, &again, from)
		a.judge(c, seen, size)
		if a.unkept != nil {
			return a.unkept
		}
	}
	a.state.lost = nil
	if root := again.root(); root != a.state.head.Root {
		a.failf(VerdictReplay, "the leaves verified earlier are served with other bytes now: they give the root %s, and gave %s", root, a.state.head.Root)
	}
	return nil
}

func (a *auditor) notice(format string, args ...any) {
	if a.cfg.Notice != nil {
		a.cfg.Notice(fmt.Sprintf(format, args...))
	}
}

// rehash adds the leaves of a chunk from from on that were verified earlier to a tree. What
// differs from its hash tile is named, but for the chunk in which the earlier run
// ended, which the replay reads too.
func (a *auditor) rehash(c *chunk, again *tree, from int64) {
	changed := false
	for i := range c.leaves {
		index := c.first + int64(i)
		if index >= a.state.tree.size {
			break
		}
		if index < from {
			continue
		}
		l := &c.leaves[i]
		again.append(l.hash, func(tile.Tile, []tlog.Hash) {})
		if a.state.lost != nil && l.event != nil {
			a.keep(a.state.identities.add(l.identity, index))
		}
		if c.first+tile.Width <= a.state.tree.size {
			changed = a.compare(c, &c.leaves[i], index, index) || changed
		}
	}
	if changed {
		a.evidence.chunk(c)
	}
	for _, f := range c.failures {
		a.fail(f)
	}
}

// rulesReport concludes about the rules.
func (a *auditor) rulesReport() *RulesReport {
	if a.rules == nil {
		return nil
	}
	at, from := a.asOf()
	r := &RulesReport{Digest: a.cfg.Rules.Digest(), Defaults: rules.Default().Digest(), At: at.UTC().Format(time.RFC3339Nano), AtFrom: from, Verdicts: []rules.Verdict{}}
	switch {
	case !a.complete:
		r.NotRun = "not all leaves were read"
	case len(a.failed) > 0:
		r.NotRun = "the log is not proven to be intact, so nothing can be said of what happened"
	}
	if r.NotRun != "" {
		return r
	}
	r.Verdicts = a.rules.engine.Report(at)
	if a.cfg.Since.IsZero() {
		return r
	}
	r.Since = a.cfg.Since.UTC().Format(time.RFC3339Nano)
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		shown := make([]rules.Finding, 0, len(v.Findings))
		for _, f := range v.Findings {
			if f.Time >= a.cfg.Since.UnixMilli() {
				shown = append(shown, f)
			}
		}
		r.Hidden += int64(len(v.Findings) - len(shown))
		v.Findings = shown
	}
	return r
}

// asOf returns the time as of which the rules judge, and where it is from: the
// one given, else that of the newest cosignature, else that of the newest leaf.
// It is never a clock's here, so that the same log gives the same report.
func (a *auditor) asOf() (time.Time, string) {
	if !a.cfg.At.IsZero() {
		return a.cfg.At, "given"
	}
	var newest int64
	if a.verified != nil {
		for _, c := range a.verified.Cosignatures {
			newest = max(newest, c.Time)
		}
	}
	if newest > 0 {
		return time.Unix(newest, 0), "cosignature"
	}
	return time.UnixMilli(a.rules.newest), "leaf"
}

// sourceClaim is claim C.
func (a *auditor) sourceClaim() Verdict {
	v := Verdict{Name: "C source", Result: NotEvaluable, Unit: "sources", Detail: "not evaluated here: the rules, which look at the sources' numbers and totals, were switched off"}
	switch {
	case a.rules == nil:
	case !a.complete || len(a.failed) > 0:
		v.Detail = "not evaluated: the log is not proven to be intact"
	default:
		c := a.rules.engine.Sources()
		v.Result, v.Population, v.Detail = Result(c.Status), c.Sources, c.Detail
	}
	return v
}

// maxShown bounds the findings of one rule in the text for people.
const maxShown = 20

// write writes the rules' part of the report for people.
func (r *RulesReport) write(w func(format string, args ...any)) {
	w("\nRules        %s\n", r.Digest)
	if r.Defaults != r.Digest {
		w("             over those built in, %s\n", r.Defaults)
	}
	w("             as of %s (%s)\n", r.At, map[string]string{
		"given": "as given", "cosignature": "the newest cosignature", "leaf": "the newest leaf, since there is no cosignature"}[r.AtFrom])
	if r.NotRun != "" {
		w("  not evaluable: %s\n", r.NotRun)
	}
	for _, v := range r.Verdicts {
		number := "  "
		if v.Number > 0 {
			number = fmt.Sprintf("%2d", v.Number)
		}
		status := map[rules.Status]string{rules.Pass: "pass", rules.Fail: "FAIL", rules.NotEvaluable: "not evaluable"}[v.Status]
		w("  %s %-22s %-13s %d %s", number, v.Name, status, v.Population, v.Unit)
		if v.Count > 0 {
			w(": %d findings", v.Count)
		}
		if v.Reason != "" {
			w(" (%s)", v.Reason)
		}
		w("\n")
	}
	w("  What each rule does not see: escortlog audit --explain-rules\n")
}

// writeFindings writes what the rules found, and reports whether that is
// anything.
func (r *RulesReport) writeFindings(w func(format string, args ...any)) (some bool) {
	for _, v := range r.Verdicts {
		for i, f := range v.Findings {
			if i == maxShown {
				w("  %s: and %d more; --json lists them\n", v.Name, len(v.Findings)-i)
				break
			}
			some = true
			w("  %s (%s) %s: %s [%s] %.16s\n", v.Name, f.Severity, f.Subject, f.Detail, places(f.Refs), f.ID)
		}
	}
	if r.Since != "" {
		some = true
		w("  %d findings from before %s are not listed; the verdicts are about the whole log\n", r.Hidden, r.Since)
	}
	return some
}

func places(refs []rules.Ref) string {
	text := "leaf"
	for i, ref := range refs {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf(" %d", ref.Index)
	}
	return text
}
