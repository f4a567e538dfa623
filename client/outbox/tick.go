package outbox

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"
)

// tick does what is due by the clock.
func (o *Outbox) tick(ctx context.Context) error {
	var beat time.Time // when the next heartbeat is due; zero: now
	for {
		due, err := o.due(&beat)
		if err != nil {
			return err
		}
		if due.IsZero() {
			<-ctx.Done()
			return nil
		}
		timer := time.NewTimer(due.Sub(o.now()))
		select {
		case <-ctx.Done():
		case <-o.tock:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// due does what is due and returns when to look again; zero: never. A period
// that waits for its events is looked at again when some were settled.
func (o *Outbox) due(beat *time.Time) (next time.Time, err error) {
	now := o.now()
	if p := o.config.Heartbeat; p > 0 {
		if !now.Before(*beat) {
			if err := o.heartbeat(); err != nil {
				return time.Time{}, err
			}
			*beat = now.Add(p)
		}
		next = *beat
	}
	if p := o.config.Period; p > 0 {
		if err := o.closePeriod(now); err != nil {
			return time.Time{}, err
		}
		if end := floor(now, p).Add(p); next.IsZero() || end.Before(next) {
			next = end
		}
	}
	return next, nil
}

// maxOpenSessions is how many sessions one heartbeat can name.
const maxOpenSessions = 1000

// heartbeat appends source.heartbeat. A full outbox has none: then the log does
// not answer either, and those that wait say when this source lived last.
func (o *Outbox) heartbeat() error {
	var open []string
	if o.config.OpenSessions != nil {
		open = slices.Clone(o.config.OpenSessions())
		slices.Sort(open)
		open = slices.Compact(open)
	}
	o.mu.Lock()
	if o.config.OpenSessions == nil {
		open = slices.Clone(o.state.Sessions)
	}
	data := map[string]any{
		"period_s": int64(o.config.Heartbeat / time.Second), "last_sequence": nil,
		"open_sessions": append([]string{}, open[:min(len(open), maxOpenSessions)]...), "pending": len(o.pending),
	}
	if more := len(open) - maxOpenSessions; more > 0 {
		data["ext"] = map[string]any{"more_open_sessions": more}
	}
	if o.state.Next > 1 {
		data["last_sequence"] = sequence(o.state.Next - 1)
	}
	_, mark, err := o.add(Event{Type: typeHeartbeat, Subject: "source/" + o.config.Source, Data: data}, record{}, o.config.MaxBytes)
	o.mu.Unlock()
	if errors.Is(err, ErrFull) {
		o.config.Logger.Warn("no heartbeat: the outbox is full", "source", o.config.Source)
		return nil
	}
	if err != nil {
		return err
	}
	return o.syncTo(mark)
}

// closePeriod appends period.closed for everything up to the last full period,
// when all that happened in it is settled: a total counts what is in the log.
// After a long outage one event covers several periods.
func (o *Outbox) closePeriod(now time.Time) error {
	o.mu.Lock()
	mark, err := o.addPeriod(now.UTC())
	o.mu.Unlock()
	if err != nil || mark == 0 {
		return err
	}
	return o.syncTo(mark)
}

// addPeriod returns 0 when there is nothing to do. mu is held.
func (o *Outbox) addPeriod(now time.Time) (mark int64, err error) {
	if err := o.usable(); err != nil {
		return 0, err
	}
	start := o.state.Period
	if start.IsZero() {
		// The first period begins now, at the next full minute: what was
		// logged earlier has not been counted. A source's very first period
		// begins where its events do.
		begin := now.Truncate(time.Minute)
		if o.state.Next > 1 {
			begin = begin.Add(time.Minute)
		}
		r := &record{Period: &begin}
		body, err := marshalRecord(r)
		if err != nil {
			return 0, err
		}
		return 0, o.write(r, body)
	}
	end := floor(now, o.config.Period)
	if !end.After(start) || slices.ContainsFunc(o.pending, func(it *item) bool { return it.at.Before(end) }) {
		return 0, nil
	}
	totals, first, last := o.state.totals(end)
	data := map[string]any{
		"period": map[string]any{"start": stamp(start), "end": stamp(end)}, "totals": totals, "first_sequence": nil, "last_sequence": nil,
	}
	if last > 0 {
		data["first_sequence"], data["last_sequence"] = sequence(first), sequence(last)
	}
	_, mark, err = o.add(Event{Type: typePeriod, Subject: "source/" + o.config.Source, Data: data}, record{Period: &end}, math.MaxInt64)
	return mark, err
}

// floor returns the last multiple of p, from the epoch, up to t.
func floor(t time.Time, p time.Duration) time.Time {
	seconds := int64(p / time.Second)
	return time.Unix(t.Unix()-t.Unix()%seconds, 0).UTC()
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
