package outbox

import (
	"errors"
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

// wantsNewKey: the log does not take an event under the key that signed it, and
// that is no longer this outbox's key. A log finds what it holds before it looks
// at who may sign now, and never forgets a key; so it does not hold this event,
// and the same payload may come under the new key.
func (o *Outbox) wantsNewKey(e outgoing, why error) bool {
	var refused *client.RefusedError
	if !errors.As(why, &refused) || e.envelope.Signatures[0].KeyID == o.public.KeyID() {
		return false
	}
	switch refused.Problem.Slug() {
	case event.SlugUnknownKey, event.SlugKeyRevoked, event.SlugNotRegistered, event.SlugWrongSource:
		return true
	}
	return false
}

// resign signs pending events with the outbox's key. Number and payload stay,
// and so does the chain. The new bytes are durable before they are sent.
func (o *Outbox) resign(events []outgoing) error {
	if len(events) == 0 {
		return nil
	}
	o.mu.Lock()
	err := o.usable()
	for _, e := range events {
		if err != nil {
			break
		}
		err = o.resignOne(e)
	}
	mark := o.written
	o.mu.Unlock()
	if err != nil {
		return err
	}
	return o.syncTo(mark)
}

// resignOne writes one event under its new signature. mu is held.
func (o *Outbox) resignOne(e outgoing) error {
	o.config.Logger.Warn("the log refuses the key of a waiting event, which is signed again with the present key",
		"source", o.config.Source, "sequence", e.sequence, "old", e.envelope.Signatures[0].KeyID, "new", o.public.KeyID())
	v, err := client.SignEvent(e.envelope.Payload, o.config.Key)
	if err != nil {
		return fmt.Errorf("outbox: signing: %w", err)
	}
	r := &record{Resigned: []stored{{Sequence: e.sequence, Envelope: v.Marshal()}}}
	body, err := marshalRecord(r)
	if err != nil {
		return err
	}
	return o.write(r, body)
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
