package rules

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Status is the answer of a rule.
type Status string

// The answers there are. Over no records at all nothing is evaluable.
const (
	Pass         Status = "pass"
	Fail         Status = "fail"
	NotEvaluable Status = "not_evaluable"
)

// Ref names a leaf and the event in it.
type Ref struct {
	Index  int64  `json:"index"` // of the leaf
	Source string `json:"source,omitempty"`
	ID     string `json:"id,omitempty"`
}

// Finding is one violation of a rule.
type Finding struct {
	// ID is the same in every report in which the finding is, however it is worded;
	// see FindingID.
	ID       string `json:"id"`
	Subject  string `json:"subject"` // what it is about, such as "session/s-1"
	Detail   string `json:"detail"`
	Severity string `json:"severity"` // info, low, medium, high, critical
	Refs     []Ref  `json:"refs"`     // the leaves it rests on, by index; at most 20
	Time     int64  `json:"time"`     // ms, time in the newest of those leaves
}

// FindingID names a finding in 64 hex digits: the SHA-256 of the log's origin, the
// rule, the subject, what tells it from others of the same subject and leaves (such
// as a person), and the leaves that it rests on, each bound by its length.
func FindingID(origin, rule, subject, about string, refs []Ref) string {
	h := sha256.New()
	part := func(s string) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	for _, s := range []string{"escortlog finding v1", origin, rule, subject, about} {
		part(s)
	}
	for _, r := range refs {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(r.Index)))
		part(r.Source)
		part(r.ID)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// maxRefs bounds the leaves that one finding names.
const maxRefs = 20

// Verdict is the answer of one rule.
type Verdict struct {
	Number     int       `json:"number,omitempty"` // of a rule that is built in; 0: the organisation's own
	Name       string    `json:"name"`
	Status     Status    `json:"status"`
	Reason     string    `json:"reason,omitempty"` // why it is not evaluable, or what it could not judge
	Population int64     `json:"population"`       // how many Units were judged
	Unit       string    `json:"unit"`
	Count      int64     `json:"count"`    // of findings
	Findings   []Finding `json:"findings"` // the first max_findings of them, by index
}

// tally is what one rule has found so far.
type tally struct {
	population, count int64
	findings          []Finding
	skipped           map[string]int64 // records that could not be judged, by reason
}

// maxReasons bounds the reasons remembered for what a rule could not judge.
const maxReasons = 16

// board holds the tallies of all rules, by number; own rules from firstOwn on.
type board struct {
	cfg     *Config
	origin  string // of the log
	tallies []tally
}

func newBoard(cfg *Config) *board {
	return &board{cfg: cfg, tallies: make([]tally, firstOwn+len(cfg.compiled))}
}

// fork returns a board that goes on by itself.
func (b *board) fork() *board {
	f := &board{cfg: b.cfg, origin: b.origin, tallies: slices.Clone(b.tallies)}
	for i := range f.tallies {
		t := &f.tallies[i]
		t.findings = slices.Clip(t.findings)
		t.skipped = maps.Clone(t.skipped)
	}
	return f
}

// look counts a record that a rule judges.
func (b *board) look(rule int) { b.tallies[rule].population++ }

// skip counts a record that a rule could not judge.
func (b *board) skip(rule int, reason string) {
	t := &b.tallies[rule]
	if t.skipped == nil {
		t.skipped = map[string]int64{}
	}
	if _, known := t.skipped[reason]; !known && len(t.skipped) >= maxReasons {
		reason = "other reasons"
	}
	t.skipped[reason]++
}

// find adds a finding that rests on the given facts.
func (b *board) find(rule int, subject, detail string, on ...*fact) {
	b.findOf(rule, subject, "", detail, on...)
}

// findOf adds a finding of which there may be several with the same subject and
// facts: about tells them apart, and is no wording.
func (b *board) findOf(rule int, subject, about, detail string, on ...*fact) {
	t := &b.tallies[rule]
	t.count++
	if len(t.findings) >= b.cfg.MaxFindings {
		return
	}
	f := Finding{Subject: subject, Detail: detail, Severity: b.severity(rule)}
	on = slices.Clone(on)
	slices.SortFunc(on, func(x, y *fact) int { return cmp.Compare(x.ref.Index, y.ref.Index) })
	for i, x := range on {
		f.Time = max(f.Time, x.leaf.UnixMilli())
		if len(f.Refs) < maxRefs && (i == 0 || on[i-1].ref.Index != x.ref.Index) {
			f.Refs = append(f.Refs, x.ref)
		}
	}
	f.ID = FindingID(b.origin, b.name(rule), subject, about, f.Refs)
	t.findings = append(t.findings, f)
}

func (b *board) name(rule int) string {
	if rule >= firstOwn {
		return b.cfg.compiled[rule-firstOwn].ID
	}
	return catalogue[rule-1].Name
}

func (b *board) severity(rule int) string {
	if rule >= firstOwn {
		return b.cfg.compiled[rule-firstOwn].Severity
	}
	return catalogue[rule-1].Severity
}

// verdicts concludes.
func (b *board) verdicts() []Verdict {
	var list []Verdict
	for number := 1; number < len(b.tallies); number++ {
		list = append(list, b.verdict(number))
	}
	return list
}

func (b *board) verdict(number int) Verdict {
	v := Verdict{Name: b.name(number), Unit: "events"}
	if number < firstOwn {
		v.Number, v.Unit = number, catalogue[number-1].Unit
	}
	if slices.Contains(b.cfg.Disable, v.Name) {
		v.Status, v.Reason, v.Findings = NotEvaluable, "switched off by the rules file", []Finding{}
		return v
	}
	t := &b.tallies[number]
	v.Population, v.Count = t.population, t.count
	v.Findings = slices.Clone(t.findings)
	slices.SortStableFunc(v.Findings, func(x, y Finding) int {
		return cmp.Or(cmp.Compare(firstIndex(x), firstIndex(y)), cmp.Compare(x.Subject, y.Subject), cmp.Compare(x.Detail, y.Detail))
	})
	if v.Findings == nil {
		v.Findings = []Finding{}
	}
	tellApart(v.Findings)
	reasons := t.reasons()
	switch {
	case v.Count > 0:
		v.Status = Fail
	case v.Population > 0:
		v.Status = Pass
	default:
		v.Status = NotEvaluable
		if len(reasons) == 0 {
			reasons = []string{"the log holds none"}
		}
	}
	if hidden := v.Count - int64(len(v.Findings)); hidden > 0 {
		reasons = append(reasons, fmt.Sprintf("%d more findings are not listed", hidden))
	}
	v.Reason = strings.Join(reasons, "; ")
	return v
}

// tellApart gives findings of one id, in which nothing but the words differ, ids of
// their own, by their place.
func tellApart(list []Finding) {
	same := map[string]int{}
	for i := range list {
		f := &list[i]
		n := same[f.ID]
		if same[f.ID]++; n > 0 {
			f.ID = FindingID(f.ID, "", "", strconv.Itoa(n), nil)
		}
	}
}

func firstIndex(f Finding) int64 {
	if len(f.Refs) == 0 {
		return -1
	}
	return f.Refs[0].Index
}

func (t *tally) reasons() (list []string) {
	for _, reason := range slices.Sorted(maps.Keys(t.skipped)) {
		list = append(list, fmt.Sprintf("%d not judged: %s", t.skipped[reason], reason))
	}
	return list
}

// stamp writes an instant for people.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
