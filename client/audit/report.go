package audit

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Result is the answer of a verdict or a claim.
type Result string

// The answers there are.
const (
	Pass         Result = "pass"
	Fail         Result = "fail"
	NotEvaluable Result = "not_evaluable" // the detail says why
)

// Exit codes of an audit, as Report.ExitCode returns them. Where several apply,
// unavailability comes before an integrity failure, that before findings, and
// they before incompleteness.
const (
	ExitProven      = 0 // all proven
	ExitFindings    = 1 // proven, with findings
	ExitIntegrity   = 2 // integrity failure or unmet quorum
	ExitIncomplete  = 3 // completeness was not proven
	ExitUnavailable = 5 // the log could not be read to the end
)

// Names of the verdicts, in the order in which they are reported.
const (
	VerdictCheckpoint  = "checkpoint"  // signed by a log of the policy
	VerdictQuorum      = "quorum"      // cosigned as the policy demands
	VerdictConsistency = "consistency" // extends the checkpoint seen before
	VerdictGenesis     = "genesis"     // leaf 0 is the one pinned and names this log
	VerdictReplay      = "replay"      // entries, hash tiles and root agree
	VerdictSignatures  = "signatures"  // every signature on every event verifies
	VerdictEvents      = "events"      // every event was authorised and fits its schema
	VerdictTimes       = "times"       // leaf times never decrease
	VerdictIdentities  = "identities"  // no source and id twice
	VerdictFreshness   = "freshness"   // the checkpoint is not old; a stale one is a finding
)

// Head is a tree that was verified.
type Head struct {
	Size int64     `json:"size"`
	Root tlog.Hash `json:"root"`
}

// Verdict is one question and its answer.
type Verdict struct {
	Name       string `json:"name"`
	Result     Result `json:"result"`
	Population int64  `json:"population"` // how many units were looked at
	Unit       string `json:"unit"`
	Detail     string `json:"detail"`
}

// Failure is one thing that breaks a verdict.
type Failure struct {
	Verdict string `json:"verdict"`
	Index   *int64 `json:"index,omitempty"` // of the leaf at fault, where it is one leaf
	Detail  string `json:"detail"`
}

// Finding is something proven that should worry somebody.
type Finding struct {
	ID     string `json:"id"` // the same in every report in which it is, however it is worded
	Kind   string `json:"kind"`
	Count  int64  `json:"count"` // how many leaves (or policy lines) it is about
	First  *int64 `json:"first,omitempty"`
	Last   *int64 `json:"last,omitempty"` // indexes of the first and last leaf
	Detail string `json:"detail"`
}

// Kinds of findings.
const (
	FindingCompromised = "compromised-key-used" // an event was signed by a key after it was compromised
	FindingOpaque      = "opaque-type"          // events whose type this program does not know
	FindingPolicy      = "policy-warning"       // the policy permits what it probably should not
	FindingStale       = "stale-checkpoint"     // the checkpoint is older than the audit was told it may be
)

// Cosigner is a witness of the policy whose cosignature verified.
type Cosigner struct {
	Witness string `json:"witness"` // its name in the policy
	Time    int64  `json:"time"`    // Unix seconds, as the witness states it
}

// Report is the outcome of an audit.
type Report struct {
	Version    int        `json:"version"` // of this format: 1
	Origin     string     `json:"origin,omitempty"`
	Checkpoint string     `json:"checkpoint,omitempty"` // the note's text and signatures, as served
	Head       *Head      `json:"head,omitempty"`       // what the checkpoint says
	Previous   *Head      `json:"previous,omitempty"`   // what the state directory held before
	Genesis    *tlog.Hash `json:"genesis,omitempty"`    // leaf hash of leaf 0, where it was read
	Cosigners  []Cosigner `json:"cosigners"`

	// Freshness is how old the checkpoint is; nil where that was not asked for or
	// cannot be told.
	Freshness *Freshness `json:"freshness,omitempty"`

	Verdicts []Verdict `json:"verdicts"`
	Claims   []Verdict `json:"claims"` // A to D: what is known to be complete
	Failures []Failure `json:"failures"`
	// Omitted counts the failures beyond those listed.
	Omitted  int64     `json:"omitted,omitempty"`
	Findings []Finding `json:"findings"`
	// Rules is what the rules say; nil where none were judged.
	Rules *RulesReport `json:"rules,omitempty"`
	Notes []string     `json:"notes"` // facts about the log that are no findings

	// Evidence is the file with what proves the failures; empty where none was written.
	Evidence string `json:"evidence,omitempty"`
	// Unavailable says why the log could not be read to the end; empty where it was.
	Unavailable string `json:"unavailable,omitempty"`
	Exit        int    `json:"exit"` // ExitCode, for readers of the JSON
}

// ExitCode returns the exit code that stands for the report.
func (r *Report) ExitCode() int {
	switch {
	case r.Unavailable != "":
		return ExitUnavailable
	case r.broken():
		return ExitIntegrity
	case len(r.Findings) > 0, r.Rules.failed(), r.claim("C source") == Fail:
		return ExitFindings
	case r.claim("A log") != Pass:
		return ExitIncomplete
	}
	return ExitProven
}

// broken reports whether the log is not what was signed. What sources left out
// (claim C) is a finding about them, proven by an intact log, and so is a stale
// checkpoint one about an intact log.
func (r *Report) broken() bool {
	return r.claim("A log") == Fail || slices.ContainsFunc(r.Verdicts, func(v Verdict) bool {
		return v.Result == Fail && v.Name != VerdictFreshness
	})
}

func (r *Report) claim(name string) Result {
	for _, c := range r.Claims {
		if c.Name == name {
			return c.Result
		}
	}
	return NotEvaluable
}

// Verdict returns a verdict by its name.
func (r *Report) Verdict(name string) Verdict {
	for _, v := range r.Verdicts {
		if v.Name == name {
			return v
		}
	}
	return Verdict{Name: name, Result: NotEvaluable}
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	if r.Head != nil {
		fmt.Fprintf(&b, "log          %s\ncheckpoint   size %d, root %s\n", r.Origin, r.Head.Size, r.Head.Root)
		for _, c := range r.Cosigners {
			fmt.Fprintf(&b, "cosigned     by %s at %s\n", c.Witness, time.Unix(c.Time, 0).UTC().Format(time.RFC3339))
		}
	}
	if r.Previous != nil {
		fmt.Fprintf(&b, "seen before  size %d, root %s\n", r.Previous.Size, r.Previous.Root)
	}
	if r.Genesis != nil {
		fmt.Fprintf(&b, "leaf 0       %s\n", *r.Genesis)
	}
	section(&b, "Protocol", r.Verdicts)
	section(&b, "Completeness", r.Claims)
	print := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	if r.Rules != nil {
		r.Rules.write(print)
	}
	b.WriteString("\nFailures\n")
	for _, f := range r.Failures {
		place := ""
		if f.Index != nil {
			place = fmt.Sprintf("leaf %d: ", *f.Index)
		}
		fmt.Fprintf(&b, "  %-12s %s%s\n", f.Verdict, place, f.Detail)
	}
	if r.Omitted > 0 {
		fmt.Fprintf(&b, "  and %d more\n", r.Omitted)
	}
	if len(r.Failures) == 0 {
		b.WriteString("  none\n")
	}
	b.WriteString("\nFindings\n")
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "  %s: %s\n", f.Kind, f.Detail)
	}
	ruled := r.Rules != nil && r.Rules.writeFindings(print)
	if len(r.Findings) == 0 && !ruled {
		b.WriteString("  none\n")
	}
	if len(r.Notes) > 0 {
		b.WriteString("\nNotes\n")
		for _, n := range r.Notes {
			fmt.Fprintf(&b, "  %s\n", n)
		}
	}
	if r.Evidence != "" {
		fmt.Fprintf(&b, "\nEvidence written to %s\n", r.Evidence)
	}
	if r.Unavailable != "" {
		fmt.Fprintf(&b, "\nNot read to the end: %s\n", r.Unavailable)
	}
	fmt.Fprintf(&b, "\n%s\n", r.conclusion())
	_, err := io.WriteString(w, b.String())
	return err
}

func section(b *strings.Builder, title string, verdicts []Verdict) {
	fmt.Fprintf(b, "\n%s\n", title)
	for _, v := range verdicts {
		result := strings.ReplaceAll(string(v.Result), "_", " ")
		fmt.Fprintf(b, "  %-12s %-14s %s: %s\n", v.Name, result, plural(v.Population, v.Unit), v.Detail)
	}
}

func (r *Report) conclusion() string {
	switch r.ExitCode() {
	case ExitProven:
		return "Proven: the log is intact and complete up to this checkpoint."
	case ExitFindings:
		return "The log is intact up to this checkpoint, with findings."
	case ExitIntegrity:
		return "INTEGRITY FAILURE: do not rely on this log; keep the evidence and the state directory."
	case ExitIncomplete:
		return "Nothing is wrong with what was read, but completeness is not proven."
	}
	return "Nothing is concluded: the log was not available to the end."
}

// plural writes a number of things, whose plural is given.
func plural(n int64, things string) string {
	if n == 1 {
		switch things {
		case "leaves":
			things = "leaf"
		case "witnesses":
			things = "witness"
		case "queries":
			things = "query"
		default:
			things = strings.TrimSuffix(things, "s")
		}
	}
	return fmt.Sprintf("%d %s", n, things)
}
