package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/log/entry"
	"golang.org/x/sync/errgroup"
)

const (
	firstPause = time.Second
	maxPause   = 2 * time.Minute
)

// Run delivers events, sends heartbeats and closes periods until ctx ends, and
// then returns nil. Its error is of this machine (a disk, the key); whatever the
// log does is no reason to stop. Only one Run may go on at a time.
func (o *Outbox) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return o.deliver(ctx) })
	g.Go(func() error { return o.tick(ctx) })
	return g.Wait()
}

// Drain returns nil when nothing is pending any more, or the error of ctx. Run
// must go on meanwhile.
func (o *Outbox) Drain(ctx context.Context) error {
	for {
		o.mu.Lock()
		left, room, err := len(o.pending), o.room, o.usable()
		o.mu.Unlock()
		switch {
		case left == 0:
			return nil
		case err != nil:
			return err
		}
		select {
		case <-room:
		case <-ctx.Done():
			return fmt.Errorf("%d events are still in the outbox: %w", left, ctx.Err())
		}
	}
}

// deliver submits what is pending, a batch at a time.
func (o *Outbox) deliver(ctx context.Context) error {
	next := firstPause
	for {
		batch, err := o.batch()
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			select {
			case <-o.wake:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		settled, err := o.submit(ctx, batch)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrStopped) || errors.Is(err, ErrClosed) || errors.Is(err, ErrCorrupt):
			return err
		case err == nil:
			next = firstPause
			continue
		}
		if settled > 0 {
			next = firstPause
		}
		// Sources that a log's outage held up do not all come back at once.
		d := next/2 + rand.N(next/2)
		next = min(2*next, maxPause)
		o.config.Logger.WarnContext(ctx, "events stay in the outbox and are sent again", "source", o.config.Source, "in", d, "reason", err)
		if o.pause(ctx, d) != nil {
			return nil
		}
	}
}

// outgoing is a pending event on its way.
type outgoing struct {
	*item
	envelope *entry.Envelope
}

// batch returns the first pending events, as many as one request takes. Only
// what is durable may go: what is not could be lost, and its number given to
// another event.
func (o *Outbox) batch() ([]outgoing, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.usable(); err != nil {
		return nil, err
	}
	var batch []outgoing
	size := 0
	for _, it := range o.pending {
		size += it.place.length
		if it.mark > o.synced || len(batch) == client.MaxBatchEvents || len(batch) > 0 && size > client.MaxBatchBytes {
			break
		}
		s, err := o.stored(it)
		if err != nil {
			o.failed = err
			return nil, err
		}
		v, err := entry.ParseEnvelope(s.Envelope)
		if err != nil {
			o.failed = err
			return nil, fmt.Errorf("%w: event %d: %w", ErrCorrupt, it.sequence, err)
		}
		batch = append(batch, outgoing{item: it, envelope: v})
	}
	return batch, nil
}

// submit sends one batch and settles what the log decided. The error says why
// something is still pending.
func (o *Outbox) submit(ctx context.Context, batch []outgoing) (settled int, err error) {
	envelopes := make([]*entry.Envelope, len(batch))
	for i := range batch {
		envelopes[i] = batch[i].envelope
	}
	results, failed := o.config.Log.Submit(ctx, envelopes...)
	if len(results) != len(batch) {
		return 0, fmt.Errorf("outbox: %d results for %d events: %w", len(results), len(batch), failed)
	}
	var done outcome
	held := 0
	for i, e := range batch {
		why := done.judge(e, results[i], o.now())
		if why == nil {
			continue
		}
		held++
		if err == nil {
			err = why
		}
		o.keepEvidence(e, why)
		if o.wantsNewKey(e, why) {
			done.resign = append(done.resign, e)
		}
	}
	settleErr := o.settle(&done)
	if settleErr == nil {
		settleErr = o.resign(done.resign)
	}
	if settleErr != nil {
		o.note(settleErr, len(batch))
		return 0, settleErr
	}
	if err == nil {
		err = failed
	}
	o.note(err, held)
	return len(batch) - held, err
}

// outcome is what became of a batch.
type outcome struct {
	logged  []receipt
	refused []refusal
	resign  []outgoing
}

type receipt struct {
	outgoing
	*client.Receipt
}

type refusal struct {
	outgoing
	problem client.Problem
}

// errUnverified: no policy has judged the receipt. Open finds a client.Submitter
// without one; this finds any other Log.
var errUnverified = errors.New("outbox: the receipt was not verified under a policy")

// judge takes the result of one event, or says why it is still pending.
func (out *outcome) judge(e outgoing, r client.Result, now time.Time) error {
	var refused *client.RefusedError
	switch {
	case errors.As(r.Err, &refused):
		if !aboutTheEvent(e, refused.Problem, now) {
			return fmt.Errorf("the log refuses this source for now: %w", refused)
		}
		out.refused = append(out.refused, refusal{outgoing: e, problem: refused.Problem})
		return nil
	case r.Err != nil:
		return r.Err
	case r.Receipt == nil || r.Receipt.Verified == nil || r.Receipt.Proof == nil:
		return errUnverified
	}
	out.logged = append(out.logged, receipt{outgoing: e, Receipt: r.Receipt})
	return nil
}

// settle keeps what proves the outcome, and then notes the outcome.
func (o *Outbox) settle(out *outcome) error {
	if len(out.logged)+len(out.refused) == 0 {
		return nil
	}
	if err := o.keepReceipts(out.logged); err != nil {
		return err
	}
	if err := o.keepRefused(out.refused); err != nil {
		return err
	}
	r := record{}
	for _, l := range out.logged {
		r.Logged = append(r.Logged, logged{Sequence: l.sequence, Index: l.Index})
	}
	for _, x := range out.refused {
		r.Refused = append(r.Refused, refused{Sequence: x.sequence, Slug: x.problem.Slug()})
	}
	if err := o.settleRecord(&r, out); err != nil {
		return err
	}
	return o.tidy()
}

// settleRecord writes the outcome and, at once with it, the events that explain
// the numbers which will now be missing. It need not be durable unless there are
// such: what is forgotten is found again at the log.
func (o *Outbox) settleRecord(r *record, out *outcome) error {
	o.mu.Lock()
	err := o.usable()
	var mark int64
	if err == nil {
		if gaps := gapsOf(out.refused); len(gaps) > 0 {
			mark, err = o.addGaps(gaps, r)
		} else {
			var body []byte
			if body, err = marshalRecord(r); err == nil {
				err = o.write(r, body)
			}
		}
	}
	if err == nil {
		for _, l := range out.logged {
			o.lastIndex = max(o.lastIndex, l.Index)
		}
		close(o.room)
		o.room = make(chan struct{})
		o.signal(o.tock)
	}
	o.mu.Unlock()
	if err != nil || mark == 0 {
		return err
	}
	return o.syncTo(mark)
}
