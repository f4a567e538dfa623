package audit

import (
	"fmt"
	"slices"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
)

// Freshness is how old the checkpoint is. A log that stands still, or that shows
// somebody an old state of itself, is intact in every other respect.
type Freshness struct {
	// Cosigned is the newest time since which as many witnesses have cosigned the
	// checkpoint as the policy demands, RFC 3339; by their clocks.
	Cosigned string `json:"cosigned"`
	// AsOf is the time up to which the age counts, RFC 3339.
	AsOf string `json:"as_of"`
	// AsOfFrom says where AsOf is from: "given", or "clock", this computer's.
	AsOfFrom string `json:"as_of_from"`
	Age      int64  `json:"age_s"`     // seconds; below zero where AsOf is earlier
	MaxAge   int64  `json:"max_age_s"` // seconds
}

func (f *Freshness) stale() bool { return f.Age > f.MaxAge }

func (f *Freshness) String() string {
	from := "by this computer's clock"
	if f.AsOfFrom == "given" {
		from = "as of " + f.AsOf
	}
	return fmt.Sprintf("cosigned to the quorum since %s, %s ago %s; at most %s is allowed", f.Cosigned,
		time.Duration(f.Age)*time.Second, from, time.Duration(f.MaxAge)*time.Second)
}

// checkFreshness judges the age of the checkpoint, where that is asked for and
// there are witnesses to tell it by.
func (a *auditor) checkFreshness() {
	if a.cfg.MaxAge == 0 || a.verified == nil {
		return
	}
	since, ok := quorumTime(a.cfg.Policy, a.verified)
	if !ok {
		return
	}
	asOf, from := a.cfg.At, "given"
	if asOf.IsZero() {
		asOf, from = a.cfg.Now(), "clock"
	}
	asOf = asOf.UTC().Truncate(time.Second)
	f := &Freshness{
		Cosigned: time.Unix(since, 0).UTC().Format(time.RFC3339), AsOf: asOf.Format(time.RFC3339), AsOfFrom: from,
		Age: asOf.Unix() - since, MaxAge: int64(a.cfg.MaxAge / time.Second),
	}
	a.report.Freshness = f
	if f.stale() {
		a.find(f.Cosigned, Finding{Kind: FindingStale, Count: 1, Detail: "the log may have gone on since and not show it, or stand still: " + f.String()})
	}
}

// quorumTime returns the newest time, in Unix seconds, so that the cosignatures that
// are not older meet the policy's quorum: one witness that goes on, or whose clock is
// ahead, does not make a checkpoint look fresh to which the others have long gone
// silent.
func quorumTime(p *checkpoint.Policy, v *checkpoint.Verified) (unix int64, ok bool) {
	text, lines, err := checkpoint.ParseNote(v.Note)
	if err != nil {
		return 0, false // it was parsed before
	}
	old := map[string]int64{}
	var times []int64
	for _, c := range v.Cosignatures {
		old[string(c.Line.Line())] = c.Time
		times = append(times, c.Time)
	}
	slices.Sort(times)
	for _, t := range slices.Backward(slices.Compact(times)) {
		var kept [][]byte
		for _, l := range lines {
			line := l.Line()
			if cosigned, is := old[string(line)]; !is || cosigned >= t {
				kept = append(kept, line)
			}
		}
		if _, err := p.Verify(checkpoint.Join(text, kept...)); err == nil {
			return t, true
		}
	}
	return 0, false
}
