package rules

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// noAttestation is rule 17: within 24 h, by that person's own key; anomalies
// need a second review. It demands the attestation of whoever escorted last, and
// counts the time both as told and as logged. It does not see whether it is true.
func (e *Engine) noAttestation(b *board, v *view) {
	if len(v.ends) == 0 || len(v.shifts) == 0 {
		return
	}
	end, escort := v.ends[0], v.shifts[len(v.shifts)-1].escort
	within := e.cfg.Attestation.of()
	var problem string
	on := []*fact{end}
	for _, f := range v.facts {
		d, ok := f.data.(*attested)
		if !ok || d.Attester.Ref != escort {
			continue
		}
		switch {
		case !slices.Contains(f.signers, escort):
			problem = "the attestation of " + escort + " is not signed by an own key"
		case f.t.Sub(end.t) > within || f.leaf.Sub(end.leaf) > within+e.cfg.Late.of():
			problem = "attested later than " + e.cfg.Attestation.String() + " after the end"
		default:
			b.look(NoAttestation)
			if d.odd() {
				e.secondReview(b, v, f, escort)
			}
			return
		}
		on = append(on, f)
	}
	if v.at.Sub(end.t) <= within+e.cfg.Late.of() {
		return // it may still come
	}
	b.look(NoAttestation)
	if problem == "" {
		problem = "not attested by " + escort
	}
	b.find(NoAttestation, v.subject(), problem, on...)
}

// secondReview demands the review of an attestation with anomalies.
func (e *Engine) secondReview(b *board, v *view, attestation *fact, escort string) {
	within := e.cfg.SecondReview.of()
	for _, f := range v.facts {
		d, ok := f.data.(*sessionReviewed)
		if ok && d.Reviewer.Ref != escort && !slices.Contains(f.signers, escort) && f.t.Sub(attestation.t) <= within {
			return
		}
	}
	if v.at.Sub(attestation.t) > within+e.cfg.Late.of() {
		b.find(NoAttestation, v.subject(), "anomalies were attested and no second person reviewed the session within "+e.cfg.SecondReview.String(), attestation)
	}
}

// recordingGap is rule 18: missing or broken segments, covered time under 98 %.
// It does not see what a recording shows.
func (e *Engine) recordingGap(b *board, v *view) {
	if len(v.starts) == 0 || len(v.ends) == 0 {
		return
	}
	start, end := v.starts[0], v.ends[0]
	if v.at.Sub(end.t) < e.cfg.RecordingFinal.of()+e.cfg.Late.of() {
		return
	}
	mode := start.data.(*started).RecordingMode
	switch {
	case mode == "":
		b.skip(RecordingGap, "sessions of unknown recording mode")
		return
	case mode == "off" && !v.escorted():
		b.skip(RecordingGap, "sessions without an escort that were not to be recorded")
		return
	}
	b.look(RecordingGap)
	says, on := v.recordingProblems(mode, e.cfg.RecordingCoverage)
	if len(says) > 0 {
		b.find(RecordingGap, v.subject(), strings.Join(says, "; "), append(on, start, end)...)
	}
}

func (v *view) recordingProblems(mode string, coverage float64) (says []string, on []*fact) {
	if mode == "off" {
		return []string{"an escorted session that is not recorded"}, nil
	}
	segments := map[string][]*fact{}
	finals := map[string]*fact{}
	for _, f := range v.facts {
		switch d := f.data.(type) {
		case *segment:
			segments[d.RecordingID] = append(segments[d.RecordingID], f)
		case *finalized:
			finals[d.RecordingID] = f
		case *recordingFailed:
			if d.Continued && mode == "strict" {
				says, on = append(says, "the recording failed and the session went on, though it is strict"), append(on, f)
			}
		}
	}
	ids := slices.Sorted(maps.Keys(segments))
	for id := range finals {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		problem, f := chainProblem(segments[id], finals[id])
		if problem != "" {
			says = append(says, "recording "+id+": "+problem)
		}
		if f != nil {
			on = append(on, f)
		}
	}
	if share := v.covered(segments); share < coverage {
		says = append(says, fmt.Sprintf("%.1f %% of the session are covered", share))
	}
	return says, on
}

// chainProblem says what is wrong with one recording's segments.
func chainProblem(list []*fact, final *fact) (string, *fact) {
	slices.SortStableFunc(list, func(a, b *fact) int {
		return cmp.Compare(a.data.(*segment).Segment, b.data.(*segment).Segment)
	})
	prev := ""
	for i, f := range list {
		d := f.data.(*segment)
		switch {
		case d.Segment != int64(i+1) && i > 0 && d.Segment == list[i-1].data.(*segment).Segment:
			return fmt.Sprintf("segment %d was sealed twice", d.Segment), f
		case d.Segment != int64(i+1):
			return fmt.Sprintf("segment %d is missing", i+1), f
		case d.PrevDigest != prev:
			return fmt.Sprintf("segment %d does not name the digest of the one before", d.Segment), f
		}
		prev = d.Artifact.Digest
	}
	if final == nil {
		return "not finalized", nil
	}
	switch d := final.data.(*finalized); {
	case d.Segments != int64(len(list)):
		return fmt.Sprintf("finalized with %d segments, of which %d were sealed", d.Segments, len(list)), final
	case d.LastDigest != prev:
		return "finalized with another last digest than that of the last segment", final
	}
	return "", nil
}

// covered returns how much of the session segments cover, in percent.
func (v *view) covered(segments map[string][]*fact) float64 {
	start, end := v.starts[0].t, v.ends[0].t
	if !end.After(start) {
		return 100
	}
	var all []interval
	for _, list := range segments {
		for _, f := range list {
			all = append(all, f.data.(*segment).Interval)
		}
	}
	slices.SortFunc(all, func(a, b interval) int { return cmp.Or(a.Start.Compare(b.Start), a.End.Compare(b.End)) })
	var sum time.Duration
	for _, i := range all {
		from, to := latest(i.Start, start), earliest(i.End, end)
		if to.After(from) {
			sum += to.Sub(from)
			start = to
		}
	}
	return 100 * float64(sum) / float64(end.Sub(v.starts[0].t))
}

// lifecycle is rule 19: start without end, end without start, counts in the end
// unlike the leaves found. It does not see a session of which nothing is logged.
func (e *Engine) lifecycle(b *board, v *view) {
	active := slices.DeleteFunc(slices.Clone(v.events), func(f *fact) bool { return !activity(f) || !e.old(f.t, v.at) })
	if len(active) == 0 {
		return
	}
	b.look(Lifecycle)
	var says []string
	on := append(slices.Clone(v.starts), v.ends...)
	if len(v.starts) == 0 {
		if len(v.ends) > 0 {
			says = append(says, "an end without a start")
		} else {
			says = append(says, plural(len(active), "event")+" without a start")
			on = append(on, active...)
		}
	}
	if len(v.starts) > 1 || len(v.ends) > 1 {
		says = append(says, fmt.Sprintf("%s and %s", plural(len(v.starts), "start"), plural(len(v.ends), "end")))
	}
	if len(v.starts) > 0 && len(v.ends) == 0 && e.endOverdue(v) {
		says = append(says, "a start without an end")
	}
	if len(v.starts) > 0 {
		for _, f := range active {
			if _, ok := f.data.(*executed); ok && (f.t.Before(v.starts[0].t) || len(v.ends) > 0 && f.t.After(v.ends[len(v.ends)-1].t)) {
				says, on = append(says, "a command outside the session, at "+stamp(f.t)), append(on, f)
			}
		}
	}
	if len(v.ends) == 1 {
		says = append(says, v.countProblems(v.ends[0])...)
	}
	if len(says) > 0 {
		b.find(Lifecycle, v.subject(), strings.Join(says, "; "), on...)
	}
}

// activity reports whether a fact is part of a session that began, and not of
// what is decided before or said after.
func activity(f *fact) bool {
	switch f.data.(type) {
	case *requested, *approved, *denied, *grantRevoked, *assigned, *attested, *sessionReviewed, *segment, *finalized, *recordingFailed, *applied:
		return false
	}
	return true
}

func (e *Engine) endOverdue(v *view) bool {
	start := v.starts[0]
	due := start.t
	if until, ok := v.granted(start.ref.Index); ok {
		due = latest(due, until)
	}
	return v.at.After(due.Add(e.cfg.SessionOpen.of() + e.cfg.Late.of()))
}

// countProblems holds what an end counts against what is in the log.
func (v *view) countProblems(end *fact) (says []string) {
	d := end.data.(*ended)
	found := map[string]int64{}
	last := int64(0)
	for _, f := range v.facts {
		if f.ref.Source != end.ref.Source || f.typ == end.typ || kinds[f.typ].belongs != toSession {
			continue
		}
		found[f.typ]++
		if f.ref.Index < end.ref.Index {
			last = max(last, f.seq)
		}
	}
	if d.Counts != nil {
		for typ := range d.Counts {
			if kinds[typ].belongs == toSession && typ != end.typ {
				found[typ] += 0 // counted there, so it has to be looked at
			}
		}
		for _, typ := range slices.Sorted(maps.Keys(found)) {
			if n := d.Counts[typ]; n != found[typ] {
				says = append(says, fmt.Sprintf("the end counts %d %s, the log holds %d", n, typ, found[typ]))
			}
		}
	}
	if n, err := strconv.ParseInt(d.LastSequence, 10, 64); err == nil && last > 0 && n != last {
		says = append(says, fmt.Sprintf("the end names %d as the last number, the log holds %d", n, last))
	}
	return says
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
