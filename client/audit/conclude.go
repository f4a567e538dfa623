package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/escortlog/escortlog/client/rules"
)

// verdictNames is the order of the report.
var verdictNames = []string{
	VerdictCheckpoint, VerdictQuorum, VerdictConsistency, VerdictGenesis, VerdictReplay,
	VerdictSignatures, VerdictEvents, VerdictTimes, VerdictIdentities, VerdictFreshness,
}

func verdictOrder(name string) int { return slices.Index(verdictNames, name) }

// findings collects what is proven and should worry somebody.
func (a *auditor) findings() error {
	for _, w := range a.cfg.Policy.Warnings() {
		a.find(w, Finding{Kind: FindingPolicy, Count: 1, Detail: w})
	}
	a.checkFreshness()
	if !a.complete {
		return nil
	}
	if err := a.compromised(); err != nil {
		return err
	}
	opaque := a.state.totals.Opaque
	for _, name := range slices.Sorted(maps.Keys(opaque)) {
		n := opaque[name]
		a.find(name, Finding{Kind: FindingOpaque, Count: n.Count, First: &n.First, Last: &n.Last,
			Detail: fmt.Sprintf("%d events of type %s, whose data nobody here can judge, from leaf %d to leaf %d", n.Count, name, n.First, n.Last)})
	}
	a.notes()
	return nil
}

// find adds a finding about something: a key, a type, a line of the policy. Each use
// of a compromised key makes it another; that events of a type nobody can judge go
// on does not.
func (a *auditor) find(about string, f Finding) {
	var refs []rules.Ref
	if f.First != nil {
		refs = append(refs, rules.Ref{Index: *f.First})
	}
	if f.Last != nil && f.Kind == FindingCompromised {
		refs = append(refs, rules.Ref{Index: *f.Last})
	}
	f.ID = rules.FindingID(a.report.Origin, f.Kind, "", about, refs)
	a.report.Findings = append(a.report.Findings, f)
}

// compromised looks up what each compromised key signed since it was. Only now
// is it known which keys those are; the log accepted the events in good faith.
func (a *auditor) compromised() error {
	moments := a.state.directory.Compromised()
	if len(moments) == 0 {
		return nil
	}
	sums, err := a.state.uses.since(moments)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(sums)) {
		n := sums[id]
		a.find(id, Finding{Kind: FindingCompromised, Count: n.count, First: &n.first, Last: &n.last,
			Detail: fmt.Sprintf("%s is compromised since %s, and signed %d leaves since then, from leaf %d to leaf %d: they do not prove who wrote them",
				id, moments[id].UTC().Format(time.RFC3339Nano), n.count, n.first, n.last)})
	}
	return nil
}

// notes says what a reader should know about the log.
func (a *auditor) notes() {
	d, t := a.state.directory, a.state.totals
	note := func(format string, args ...any) {
		a.report.Notes = append(a.report.Notes, fmt.Sprintf(format, args...))
	}
	if d.Trial() {
		note("This is a trial log: its operator held an administrator's key from the start.")
	}
	if d.AllowUnsigned() {
		note("The log accepts unsigned events of sources without keys; %d events bear no signature.", t.Unsigned)
	}
	if d.AllowOpaque() {
		note("The log accepts events of types that are not known.")
	}
	if p := d.Predecessor(); p != nil {
		note("The log succeeds %q, which ended at size %d with root %s; that one is to be audited by itself.", p.Origin, p.Size, p.Root)
	}
	if n := len(a.verified.Extensions); n > 0 && a.verified.ExtensionsSigned() {
		note("The checkpoint bears %d extension lines; the log signed them, and witnesses say nothing about them.", n)
	} else if n > 0 {
		note("The checkpoint bears %d extension lines that no verified signature covers: disregard them.", n)
	}
}

// conclude fills in verdicts and claims and writes the evidence.
func (a *auditor) conclude(ctx context.Context) error {
	r := a.report
	for _, name := range verdictNames {
		if name == VerdictFreshness && a.cfg.MaxAge == 0 {
			continue
		}
		r.Verdicts = append(r.Verdicts, a.verdict(name))
	}
	r.Claims = a.claims()
	r.Rules = a.rulesReport()
	// Empty lists, not null, in JSON.
	if r.Failures == nil {
		r.Failures = []Failure{}
	}
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	if r.Notes == nil {
		r.Notes = []string{}
	}
	if r.Cosigners == nil {
		r.Cosigners = []Cosigner{}
	}
	r.Exit = r.ExitCode()
	a.reached = true
	if len(r.Failures) == 0 || a.cfg.EvidenceDir == "" {
		return nil
	}
	a.evidence.Failures = r.Failures
	if a.verified != nil {
		a.evidence.prove(ctx, a.cfg.Log.Tile, &a.head)
	}
	var err error
	r.Evidence, err = a.evidence.write(a.cfg.EvidenceDir)
	return err
}

// verdict answers one question.
func (a *auditor) verdict(name string) Verdict {
	v := Verdict{Name: name, Unit: "leaves", Population: a.state.tree.size}
	var why string // it is not evaluable
	switch name {
	case VerdictCheckpoint:
		v.Unit = "signatures"
		v.Population, v.Detail, why = a.describeCheckpoint()
	case VerdictQuorum:
		v.Unit = "witnesses"
		v.Population, v.Detail, why = a.describeQuorum()
	case VerdictConsistency:
		v.Population, v.Detail, why = a.describeConsistency()
	case VerdictGenesis:
		v.Population, v.Detail, why = a.describeGenesis()
	case VerdictFreshness:
		v.Unit = "checkpoints"
		if v.Population, v.Detail, why = a.describeFreshness(); why == "" && a.report.Freshness.stale() {
			v.Result = Fail
			return v
		}
	default:
		v.Detail, why = a.describeLeaves(name)
		switch name {
		case VerdictReplay:
		case VerdictSignatures:
			v.Unit, v.Population = "signatures", a.state.totals.Signatures
		default:
			v.Population = a.judged
		}
	}
	switch n := a.failed[name]; {
	case n > 0:
		v.Result, v.Detail = Fail, plural(n, "failures")
	case why != "":
		v.Result, v.Detail = NotEvaluable, why
	default:
		v.Result = Pass
	}
	return v
}

func (a *auditor) describeCheckpoint() (population int64, detail, why string) {
	if a.verified == nil {
		return 0, "", "no checkpoint was read"
	}
	var keys []string
	for _, k := range a.verified.LogKeys {
		keys = append(keys, k.String()+" ("+k.Algorithm().String()+")")
	}
	return int64(len(keys)), "signed by " + strings.Join(keys, ", "), ""
}

func (a *auditor) describeQuorum() (population int64, detail, why string) {
	if a.verified == nil {
		return 0, "", "no checkpoint was verified"
	}
	names := map[string]bool{}
	for _, c := range a.verified.Cosignatures {
		names[c.Witness] = true
	}
	population = int64(len(names))
	if !a.cfg.Policy.NeedsWitnesses() {
		return population, "", "the policy demands no witness, so a second history shown to others would go unseen"
	}
	return population, fmt.Sprintf("cosigned by %s; demanded: %s", strings.Join(slices.Sorted(maps.Keys(names)), ", "), a.cfg.Policy.Quorum()), ""
}

func (a *auditor) describeFreshness() (population int64, detail, why string) {
	if a.report.Freshness == nil {
		return 0, "", "no quorum of witnesses tells how old the checkpoint is"
	}
	return 1, a.report.Freshness.String(), ""
}

func (a *auditor) describeConsistency() (population int64, detail, why string) {
	switch {
	case a.state.note == nil && a.report.Previous == nil:
		return 0, "", "nothing was verified before that this could be consistent with"
	case !a.extends:
		return a.from, "", "it could not be held against what was verified before"
	}
	return a.from, fmt.Sprintf("extends the tree of size %d that was verified before", a.from), ""
}

func (a *auditor) describeGenesis() (population int64, detail, why string) {
	switch {
	case !a.complete:
		return 0, "", "leaf 0 was not judged"
	case a.head.Size == 0:
		return 0, "", "the log is empty"
	case a.changed == 0:
		return 0, "", "leaf 0 is not what was signed"
	case a.cfg.Genesis == nil:
		return 1, "", "no hash is pinned; pin that of leaf 0, got from somewhere else than this log"
	}
	return 1, "leaf 0 is the one pinned, and founds this log", ""
}

// describeLeaves is about the verdicts on all leaves.
func (a *auditor) describeLeaves(name string) (detail, why string) {
	n := a.state.tree.size
	switch {
	case !a.complete:
		return "", "not all leaves were read"
	case n == 0:
		return "", "the log is empty"
	}
	if name == VerdictReplay {
		return fmt.Sprintf("read and hashed (%d in earlier runs); %s and the root agree", a.from, plural(a.tiles, "hash tiles")), ""
	}
	if a.changed >= 0 {
		return "", fmt.Sprintf("leaf %d is not what was signed, and without it the leaves from there on cannot be judged", a.changed)
	}
	switch name {
	case VerdictSignatures:
		if a.state.totals.Signatures == 0 {
			return "", "no event bears a signature"
		}
		return "verified with the keys of the directory", ""
	case VerdictEvents:
		return "authorised by the leaves before, and as their types demand", ""
	case VerdictTimes:
		if n == 1 {
			return "", "there is one leaf only"
		}
		return "their times never decrease", ""
	}
	return "no source and id occurs twice", ""
}

// claims says what is thereby complete, each apart.
func (a *auditor) claims() []Verdict {
	n := a.state.tree.size
	log := Verdict{Name: "A log", Result: Pass, Population: n, Unit: "leaves", Detail: "all that the checkpoint commits to were read and hashed"}
	switch {
	case a.failed[VerdictReplay] > 0:
		log.Result, log.Detail = Fail, "what was read is not what the checkpoint commits to"
	case !a.complete:
		log.Result, log.Detail = NotEvaluable, "not all leaves were read"
	case n == 0:
		log.Result, log.Detail = NotEvaluable, "the log is empty"
	case a.quorum != nil:
		log.Result, log.Detail = NotEvaluable, "all that the checkpoint commits to were read and hashed, but too few witnesses vouch for the checkpoint"
	}
	return []Verdict{
		log,
		{Name: "B query", Result: NotEvaluable, Unit: "queries", Detail: "not evaluated here: no query was asked; this audit reads everything"},
		a.sourceClaim(),
		{Name: "D world", Result: NotEvaluable, Unit: "records", Detail: "not evaluated here: takes records from an independent vantage point to reconcile with"},
	}
}
