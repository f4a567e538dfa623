package outbox

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/log/event"
)

// aboutTheEvent tells a refusal of this one event, which no attempt will change,
// from one that an administrator or a clock can put right. Whatever is not known
// here is of the second kind: an event that waits is not lost.
func aboutTheEvent(e outgoing, p client.Problem, now time.Time) bool {
	switch p.Slug() {
	case event.SlugFuture:
		// The same bytes are good a little later, when this machine's clock is
		// wrong. Where that has been set right, they never are.
		return e.at.After(now.Add(clockTolerance))
	case event.SlugTypeNotAllowed, event.SlugReservedType, event.SlugUnknownType:
		// Where no gap can be explained, none is made.
		return e.typ != typeGap
	}
	switch p.Status {
	case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// gap is a run of numbers that will never be logged.
type gap struct {
	first, last int64
	reason      string
	ids         []string
}

// maxGapIDs is how many events one source.gap names.
const maxGapIDs = 256

// gapsOf joins refused events with neighbouring numbers and the same reason.
func gapsOf(refused []refusal) []gap {
	var gaps []gap
	for _, r := range refused {
		// What the log says in detail may quote the event, and stays here.
		reason := fmt.Sprintf("the log refused it: %d %s", r.problem.Status, r.problem.Slug())
		if n := len(gaps); n > 0 && gaps[n-1].last+1 == r.sequence && gaps[n-1].reason == reason && len(gaps[n-1].ids) < maxGapIDs {
			gaps[n-1].last = r.sequence
			gaps[n-1].ids = append(gaps[n-1].ids, r.id)
			continue
		}
		gaps = append(gaps, gap{first: r.sequence, last: r.sequence, reason: reason, ids: []string{r.id}})
	}
	return gaps
}

// addGaps writes source.gap for every gap, the outcome r with the last of them.
// A crash between two leaves refusals unsettled; they are refused again, and
// explained twice. mu is held.
func (o *Outbox) addGaps(gaps []gap, r *record) (mark int64, err error) {
	for i, g := range gaps {
		rest := record{}
		if i == len(gaps)-1 {
			rest = *r
		}
		// The room of the refused events becomes free; never is a gap left out
		// for want of room.
		_, mark, err = o.add(Event{Type: typeGap, Subject: "source/" + o.config.Source, Data: map[string]any{
			"first_sequence": sequence(g.first), "last_sequence": sequence(g.last), "cause": "refused", "reason": g.reason,
			"event_ids": slices.Clone(g.ids),
		}}, rest, math.MaxInt64)
		if err != nil {
			return 0, err
		}
	}
	return mark, nil
}

// sequence spells a number as the attribute does.
func sequence(n int64) string { return fmt.Sprintf("%020d", n) }
