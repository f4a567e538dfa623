package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// maxDecisions bounds how often one event is decided again because authority
// events were sequenced before it. Each of them needs an administrator's
// signature, so a few suffice; after that the client is told to come back.
const maxDecisions = 16

// EvidenceConflict is the kind under which the door keeps a refused event whose
// source and id were logged before with other content.
const EvidenceConflict = "identity-conflict"

// door decides what is let in.
type door struct {
	log    Log
	logger *slog.Logger
	now    func() time.Time

	// slots bound how many events are judged at once, to what the machine has
	// cores: a flood of bad signatures waits in line instead of starving
	// everything else.
	slots chan struct{}

	catchUp   sync.Mutex // one goroutine at a time brings the directory up to date
	directory atomic.Pointer[event.Directory]
}

// candidate is one event on its way through the door.
type candidate struct {
	raw    []byte // an envelope, or the payload of an unsigned event
	signed bool   // raw is an envelope

	entry    *entry.Entry
	event    *event.Event
	leaf     []byte // time 0
	identity [32]byte
	content  [32]byte
	verified bool // the signatures were verified; keys never change under a keyid

	position log.Position // where it was logged; valid when err is nil
	err      error        // why it was not
}

// newDoor builds the directory from the log's authority leaves.
func newDoor(ctx context.Context, cfg *Config) (*door, error) {
	d := &door{log: cfg.Log, logger: cfg.Logger, now: cfg.Now, slots: make(chan struct{}, cfg.Limits.Verifiers)}
	d.directory.Store(event.NewDirectory())
	if _, err := d.current(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// current returns a directory that covers at least every authority event
// committed before the call. It is shared; nobody changes it.
func (d *door) current(ctx context.Context) (*event.Directory, error) {
	dir := d.directory.Load()
	if dir.Covered() >= d.log.AuthorityCovered() {
		return dir, nil
	}
	d.catchUp.Lock()
	defer d.catchUp.Unlock()
	dir = d.directory.Load()
	if dir.Covered() >= d.log.AuthorityCovered() {
		return dir, nil
	}
	leaves, err := d.log.AuthorityLeaves(ctx, dir.Covered())
	if err != nil {
		return nil, fmt.Errorf("reading authority events from %d on: %w", dir.Covered(), err)
	}
	next := dir.Clone()
	for _, l := range leaves {
		if err := applyLeaf(next, l); err != nil {
			return nil, fmt.Errorf("authority event at index %d does not follow from those before it (run fsck): %w", l.Index, err)
		}
	}
	d.directory.Store(next)
	return next, nil
}

func applyLeaf(dir *event.Directory, l log.IndexedLeaf) error {
	e, err := entry.Parse(l.Leaf)
	if err != nil {
		return err
	}
	ev, err := event.Parse(e.Payload)
	if err != nil {
		return err
	}
	return dir.Apply(l.Index, entry.LeafHash(l.Leaf), e, ev)
}

// submit judges the candidates and hands those that pass to the log, in order,
// and returns when each is durable or refused. What follows an authority event
// is decided with that event in force, as if it had come in a request of its
// own.
func (d *door) submit(ctx context.Context, candidates []*candidate) {
	d.each(ctx, candidates, func(c *candidate) { c.err = c.parse() })
	for len(candidates) > 0 {
		n := 1
		for n < len(candidates) && !candidates[n-1].authority() {
			n++
		}
		d.submitRun(ctx, candidates[:n])
		candidates = candidates[n:]
	}
}

// submitRun submits candidates of which only the last may be an authority
// event.
func (d *door) submitRun(ctx context.Context, run []*candidate) {
	undecided := run
	for range maxDecisions {
		undecided = d.decide(ctx, undecided)
		if len(undecided) == 0 {
			return
		}
	}
	for _, c := range undecided {
		c.err = refuse("overloaded", "Who may sign changed too often while this event was decided.").after(time.Second)
	}
}

// decide takes each candidate through judgement and the log once and returns
// those that must be decided again.
func (d *door) decide(ctx context.Context, run []*candidate) (again []*candidate) {
	dir, err := d.current(ctx)
	if err != nil {
		d.logger.ErrorContext(ctx, "the key directory is not up to date, so nothing is let in", "error", err)
		for _, c := range run {
			if c.err == nil {
				c.err = err
			}
		}
		return nil
	}
	nowMS := d.now().UnixMilli()
	d.each(ctx, run, func(c *candidate) { c.err = c.judge(dir, nowMS) })

	pending := make([]*log.Pending, len(run))
	for i, c := range run {
		if c.err != nil {
			d.known(ctx, c)
			continue
		}
		pending[i], err = d.log.Add(&log.Submission{
			Identity: c.identity, Content: c.content, Leaf: c.leaf,
			Decided: dir.Covered(), Authority: c.authority(),
		})
		if err != nil {
			c.err = poolRefusal(err)
		}
		c.leaf = nil // the log's now
	}
	for i, c := range run {
		if pending[i] == nil {
			continue
		}
		c.position, err = pending[i].Wait(ctx)
		if errors.Is(err, log.ErrDecideAgain) {
			again = append(again, c)
			continue
		}
		c.err = d.waited(c, err)
	}
	return again
}

// each runs f for every candidate that has not been refused yet, in as many
// goroutines as there are slots to judge in and work for. It returns when all
// are done; a candidate that found no slot before ctx ended is refused.
func (d *door) each(ctx context.Context, candidates []*candidate, f func(*candidate)) {
	one := func(c *candidate) {
		if c.err != nil {
			return
		}
		select {
		case d.slots <- struct{}{}:
			defer func() { <-d.slots }()
			f(c)
		case <-ctx.Done():
			c.err = refuse("overloaded", "The server did not come to judge this event in time.").after(time.Second).because(ctx.Err())
		}
	}
	workers := min(cap(d.slots), (len(candidates)+7)/8)
	if workers <= 1 {
		for _, c := range candidates {
			one(c)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(candidates)); i = next.Add(1) - 1 {
				one(candidates[i])
			}
		})
	}
	wg.Wait()
}

func (c *candidate) authority() bool { return c.event != nil && event.IsAuthority(c.event.Type) }

// parse decodes the candidate and makes its leaf: everything that can be said
// of it without the directory.
func (c *candidate) parse() error {
	c.entry = &entry.Entry{PayloadType: entry.PayloadType, Payload: c.raw}
	if c.signed {
		envelope, err := entry.ParseEnvelope(c.raw)
		switch {
		case err != nil && payloadTooLarge(c.raw):
			return leafTooLarge()
		case err != nil:
			return refuse("malformed-envelope", "%v.", err)
		}
		c.entry = envelope.Entry(0)
	}
	if len(c.entry.Payload) > entry.MaxPayload {
		return leafTooLarge()
	}
	if len(c.entry.Payload) == 0 {
		return refuse("malformed-request", "The event is empty.")
	}
	leaf, err := c.entry.Marshal()
	if err != nil { // the sum of parts that are each small enough
		return leafTooLarge()
	}
	ev, err := event.Parse(c.entry.Payload)
	if err != nil {
		return err
	}
	c.leaf, c.event = leaf, ev
	c.identity, c.content = entry.Identity(ev.Source, ev.ID), c.entry.Content()
	return nil
}

func leafTooLarge() *refusal {
	return refuse("event-too-large", "A payload is at most %d bytes, and with its signatures at most about %d.", entry.MaxPayload, entry.MaxSize)
}

// payloadTooLarge looks for the reason why an envelope was refused: size is
// judged before form.
func payloadTooLarge(raw []byte) bool {
	if len(raw) <= entry.MaxPayload {
		return false
	}
	var envelope struct {
		Payload string `json:"payload"`
	}
	err := json.Unmarshal(raw, &envelope)
	return err == nil && base64.StdEncoding.DecodedLen(len(envelope.Payload)) > entry.MaxPayload+2
}

// judge applies the directory: signatures, authorization, schema, clock.
func (c *candidate) judge(dir *event.Directory, nowMS int64) error {
	if c.leaf == nil { // decided before; the log has the first copy
		leaf, err := c.entry.Marshal()
		if err != nil {
			return err
		}
		c.leaf = leaf
	}
	if !c.verified {
		if err := dir.VerifySignatures(c.entry); err != nil {
			return err
		}
		c.verified = true
	}
	if err := dir.Authorize(c.entry, c.event); err != nil {
		return err
	}
	if err := event.Validate(c.event, dir.AllowOpaque()); err != nil {
		return err
	}
	return event.CheckClock(c.event, nowMS)
}

// known puts identity before directory and schema: an event that they refuse,
// and whose signatures are good, may have been logged already, when they still
// allowed it. One that they accept is compared by the log itself, so the look-up
// is made only where it can change the answer.
//
// An event that lacks a signature can be found, but contradicts nothing: anybody
// could have made it, so it is no evidence against its source.
func (d *door) known(ctx context.Context, c *candidate) {
	if !c.verified {
		return
	}
	position, content, err := d.log.Lookup(ctx, c.identity)
	switch {
	case errors.Is(err, log.ErrNotFound):
	case err != nil:
		c.err = fmt.Errorf("looking up %q of %q: %w", c.event.ID, c.event.Source, err)
	case content == c.content:
		position.Existing = true
		c.position, c.err = position, nil
	case toRefusal(c.err).status() != http.StatusUnauthorized:
		c.err = d.conflict(c, position.Index, c.err)
	}
}

// waited turns the log's answer into the candidate's.
func (d *door) waited(c *candidate, err error) error {
	var conflict *log.IdentityConflict
	switch {
	case err == nil:
		return nil
	case errors.As(err, &conflict):
		return d.conflict(c, conflict.Index, nil)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return refuse("commit-timeout", "The event was not durable in time. It may become so: send the same bytes again.").after(time.Second).because(err)
	default:
		return poolRefusal(err)
	}
}

// poolRefusal turns an error of the log into a refusal.
func poolRefusal(err error) error {
	switch {
	case errors.Is(err, log.ErrFull):
		return refuse("pool-full", "More events are waiting than the log takes at once.").after(time.Second)
	case errors.Is(err, log.ErrDiskFull):
		return refuse("disk-full", "The log's disk is nearly full.").after(30 * time.Second).because(err)
	case errors.Is(err, log.ErrClock):
		return refuse("clock-behind", "The log's clock is behind its newest leaf.").after(30 * time.Second).because(err)
	case errors.Is(err, log.ErrStopped):
		return refuse("log-stopped", "The log takes no events now; /readyz says why. What was not acknowledged must be sent again.").after(5 * time.Second).because(err)
	default:
		return err
	}
}

// conflict refuses c, because its source and id stand at index first with other
// content, and keeps it as evidence, with who signed it: identity is judged
// before the directory, so that need not have been somebody who may speak for
// the source. otherwise is why the event would have been refused anyway, or nil.
func (d *door) conflict(c *candidate, first int64, otherwise error) error {
	record := conflictRecord{
		Source: c.event.Source, ID: c.event.ID, Index: first,
		Signers: make([]string, len(c.entry.Signatures)), Envelope: c.entry.Envelope().Marshal(),
	}
	for i, s := range c.entry.Signatures {
		record.Signers[i] = s.KeyID
	}
	if otherwise != nil {
		record.Refused = toRefusal(otherwise).slug
	}
	text, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("writing evidence: %w", err)
	}
	// Whoever signed pays for the place. What nobody signed shares one account:
	// sources cost nothing to invent.
	by := ""
	if len(record.Signers) > 0 {
		by = slices.Min(record.Signers)
	}
	d.log.KeepEvidenceBy(EvidenceConflict, by, text)
	r := refuse("identity-conflict", "Source %q logged id %q at index %d with other content. What was sent now is kept as evidence.", c.event.Source, c.event.ID, first)
	r.index = &first
	return r
}

// conflictRecord is what is kept of a refused event.
type conflictRecord struct {
	Source  string   `json:"source"`  // that the event names
	ID      string   `json:"id"`      // of the event
	Index   int64    `json:"index"`   // of the leaf it contradicts
	Signers []string `json:"signers"` // keyids, all verified; nobody else is accused of anything

	// Refused is the slug of what else the directory or the schema had against
	// the event, such as wrong-source where the signers may not speak for the
	// source; empty: nothing.
	Refused string `json:"refused,omitempty"`

	Envelope json.RawMessage `json:"envelope"` // what was refused, as a DSSE envelope
}
