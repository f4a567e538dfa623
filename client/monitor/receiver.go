package monitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	firstBackOff = time.Second
	maxBackOff   = 5 * time.Minute
	// fewAttempts are made for one finding where a round is made once.
	fewAttempts = 4
	// webhookTimeout bounds one request to the webhook.
	webhookTimeout = 30 * time.Second
	// saveEvery bounds how many lines of output a crash may print again.
	saveEvery = 100
)

// errUndelivered: a receiver could not be reached; the finding stays queued.
var errUndelivered = errors.New("the receiver cannot be reached")

// errNotYet ends reading at what is not synced; the journal says when it grew.
var errNotYet = errors.New("not synced yet")

// receiver is told every finding of the journal that it wants, in order. One that
// cannot be told holds up those behind it, and nobody else.
type receiver struct {
	m    *Monitor
	name string
	at   cursor
	save int // how many deliveries may go unsaved, less one
	// deliver tells one finding and moves what it needs in the cursor beside its
	// offset. An error that wraps errUndelivered is over some day.
	deliver func(ctx context.Context, f *Finding, line []byte, at *cursor) error

	unsaved int
}

// openReceivers finds out how far each has come.
func (m *Monitor) openReceivers() error {
	if m.cfg.Output != nil {
		m.receivers = append(m.receivers, &receiver{m: m, name: "output", save: saveEvery, deliver: m.print})
	}
	if m.cfg.Webhook != "" {
		m.receivers = append(m.receivers, &receiver{m: m, name: "webhook", deliver: m.post})
	}
	raised := map[string]bool{}
	for i := range m.cfg.Targets {
		t := &m.cfg.Targets[i]
		if m.cfg.Key == nil || t.Submitter == nil || raised[t.Origin] {
			continue
		}
		raised[t.Origin] = true
		r := &raiser{m: m, t: t}
		m.receivers = append(m.receivers, &receiver{m: m, name: "log-" + identify(t.Origin)[:16], deliver: r.deliver})
	}
	size, _ := m.journal.state()
	for _, r := range m.receivers {
		var err error
		if r.at, err = loadCursor(r.path(), size); err != nil {
			return err
		}
	}
	return nil
}

func (r *receiver) path() string { return r.m.file(r.name + ".sent") }

// run delivers until ctx ends.
func (r *receiver) run(ctx context.Context) error {
	for {
		_, grown := r.m.journal.state()
		if err := r.drain(ctx, 0); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-grown:
		}
	}
}

// drain delivers what there is, each finding with at most the given attempts; 0:
// as many as it takes.
func (r *receiver) drain(ctx context.Context, attempts int) (err error) {
	defer func() { err = errors.Join(err, r.keep()) }()
	size, _ := r.m.journal.state()
	waiting := r.m.metrics.waiting.WithLabelValues(r.name)
	waiting.Set(float64(size - r.at.Offset))
	err = r.m.journal.each(r.at.Offset, func(f *Finding, line []byte, end int64) error {
		if end > size {
			size, _ = r.m.journal.state()
			if end > size {
				return errNotYet
			}
		}
		if err := r.tell(ctx, f, line, attempts); err != nil {
			return err
		}
		r.at.Offset = end
		waiting.Set(float64(size - end))
		if r.unsaved++; r.unsaved > r.save {
			return r.keep()
		}
		return nil
	})
	if errors.Is(err, errNotYet) {
		return nil
	}
	return err
}

// keep makes durable how far the receiver has come.
func (r *receiver) keep() error {
	if r.unsaved == 0 {
		return nil
	}
	r.unsaved = 0
	if err := r.at.save(r.path()); err != nil {
		return fmt.Errorf("keeping what %s was told: %w", r.name, err)
	}
	return nil
}

// tell delivers one finding, waiting longer after each failure.
func (r *receiver) tell(ctx context.Context, f *Finding, line []byte, attempts int) error {
	wait := firstBackOff
	for n := 1; ; n++ {
		err := r.deliver(ctx, f, line, &r.at)
		if err == nil {
			r.m.metrics.deliveries.WithLabelValues(r.name, "delivered").Inc()
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.m.metrics.deliveries.WithLabelValues(r.name, "failed").Inc()
		r.m.cfg.Logger.WarnContext(ctx, "a finding waits", "receiver", r.name, "finding", f.ID, "attempt", n, "error", err)
		if !errors.Is(err, errUndelivered) || n == attempts {
			return err
		}
		if err := r.m.cfg.Sleep(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, maxBackOff)
	}
}

// print writes a finding to the output. Where that fails nobody is listening, and
// the monitor ends.
func (m *Monitor) print(_ context.Context, _ *Finding, line []byte, _ *cursor) error {
	if _, err := m.cfg.Output.Write(append(bytes.Clone(line), '\n')); err != nil {
		return fmt.Errorf("writing a finding: %w", err)
	}
	return nil
}

// post sends a finding to the webhook. Every answer of 2xx takes it; the header
// Idempotency-Key is its id, by which a receiver knows one that comes again.
func (m *Monitor) post(ctx context.Context, f *Finding, line []byte, _ *cursor) error {
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.cfg.Webhook, bytes.NewReader(line))
	if err != nil {
		return fmt.Errorf("the webhook: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", f.ID)
	resp, err := m.cfg.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("%w: the webhook: %w", errUndelivered, err)
	}
	defer resp.Body.Close()
	// A little of the body, so that the connection can be used again.
	if _, err := io.CopyN(io.Discard, resp.Body, 4<<10); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the webhook: %w", errUndelivered, err)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%w: the webhook answered %s", errUndelivered, resp.Status)
	}
	return nil
}
