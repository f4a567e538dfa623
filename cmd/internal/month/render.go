package month

import (
	"cmp"
	"crypto"
	"crypto/sha512"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/escortlog/escortlog/cmd/internal/samples"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"golang.org/x/mod/sumdb/tlog"
)

// renderer turns what happened into leaves.
type renderer struct {
	*world
	leaves [][]byte
	prev   tlog.Hash // leaf hash of the newest authority event
	keys   map[*source]crypto.Signer
}

// render tells everything in the order in which the log takes it.
func (w *world) render() ([][]byte, error) {
	r := &renderer{world: w, keys: map[*source]crypto.Signer{}}
	if err := r.found(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(w.happened, func(a, b *happening) int { return cmp.Or(a.logged.Compare(b.logged), cmp.Compare(a.order, b.order)) })
	for _, h := range w.happened {
		if h.drop {
			continue
		}
		if err := r.tell(h); err != nil {
			return nil, fmt.Errorf("month: %s at %s: %w", h.typ, stamp(h.at), err)
		}
	}
	return r.leaves, w.err
}

// found writes leaf 0 and registers every source and its key.
func (r *renderer) found() error {
	genesis, err := samples.Genesis(r.origin, r.admins)
	if err != nil {
		return err
	}
	at := founded
	payload, err := event.NewLogCreated(authorityID(at, 0), at, genesis)
	if err != nil {
		return err
	}
	if err := r.take(at, payload, true); err != nil {
		return err
	}
	for _, s := range r.sources {
		at = at.Add(30 * time.Second)
		if err := r.decide(at, nil, func(h event.Header) ([]byte, error) { return event.NewSourceRegistered(h, s.registration()) }); err != nil {
			return err
		}
		at = at.Add(30 * time.Second)
		r.keys[s] = s.key
		if err := r.decide(at, s.key, func(h event.Header) ([]byte, error) { return event.NewKeyRegistered(h, s.keyRegistration(s.public)) }); err != nil {
			return err
		}
	}
	return nil
}

func (s *source) registration() event.SourceRegistration {
	reg := event.SourceRegistration{Source: s.uri, Roles: []string{s.role}, HeartbeatSeconds: int64(s.heartbeat / time.Second), Description: s.name}
	for _, t := range s.types {
		reg.ExpectedTypes = append(reg.ExpectedTypes, samples.FullType(t))
	}
	return reg
}

func (s *source) keyRegistration(key *event.PublicKey) event.KeyRegistration {
	reg := event.KeyRegistration{Key: key, Source: s.uri, PersonRef: s.personRef, Description: s.name}
	for _, t := range s.types {
		reg.Types = append(reg.Types, samples.FullType(t))
	}
	return reg
}

func authorityID(at time.Time, n int) string {
	random := sha512.Sum512(fmt.Appendf(nil, "month authority event %d", n))
	return event.NewUUIDv7(at.UnixMilli(), [10]byte(random[:10]))
}

// decide has the administrators sign an authority event, and the holder of a key
// with them.
func (r *renderer) decide(at time.Time, holder crypto.Signer, build func(event.Header) ([]byte, error)) error {
	payload, err := build(event.Header{ID: authorityID(at, len(r.leaves)), Time: at, Origin: r.origin, Prev: r.prev})
	if err != nil {
		return err
	}
	keys := []crypto.Signer{r.admins[0].Key, r.admins[1].Key}
	if holder != nil {
		keys = append(keys, holder)
	}
	return r.take(at, payload, true, keys...)
}

// take signs a payload and appends it.
func (r *renderer) take(at time.Time, payload []byte, authority bool, keys ...crypto.Signer) error {
	e := &entry.Entry{Time: at.UnixMilli(), PayloadType: entry.PayloadType, Payload: payload}
	for _, k := range keys {
		s, err := event.Sign(k, e.PayloadType, payload)
		if err != nil {
			return err
		}
		e.Signatures = append(e.Signatures, s)
	}
	leaf, err := e.Marshal()
	if err != nil {
		return err
	}
	if authority {
		r.prev = entry.LeafHash(leaf)
	}
	r.leaves = append(r.leaves, leaf)
	return nil
}

// tell writes one event of a source.
func (r *renderer) tell(h *happening) error {
	if h.decide != nil {
		err := r.decide(h.logged, h.holder, h.decide)
		if err == nil && h.then != nil {
			h.then(r)
		}
		return err
	}
	if h.fill != nil {
		h.fill(h)
	}
	s := h.from
	previous := s.previous
	if s.sequence += 1 + h.gap; h.repeat {
		s.sequence--
		previous = s.earlier
	}
	attrs := event.Attributes{
		ID: h.id, Source: s.uri, Type: samples.FullType(h.typ), Subject: h.about.subject, Time: h.at, RecordedTime: h.recorded,
		Sequence: s.sequence, Extensions: map[string]string{},
	}
	if previous != nil {
		attrs.PrevHash = event.PrevHash(previous)
	}
	if h.broken {
		attrs.PrevHash = event.PrevHash([]byte("another payload"))
	}
	if h.about.session != "" {
		attrs.Extensions["correlationid"] = h.about.session
	}
	if h.about.cause != "" {
		attrs.Extensions["causationid"] = h.about.cause
	}
	payload, err := event.Build(attrs, h.data)
	if err != nil {
		return err
	}
	if !h.repeat {
		s.earlier, s.previous = s.previous, payload
	}
	s.told = append(s.told, told{h.typ, h.about.session, s.sequence, h.at})
	signer := r.keys[s]
	if h.signed != nil {
		signer = r.keys[h.signed]
	}
	return r.take(h.logged, payload, false, signer)
}

// sequenceText is how a sequence is written; 0 is none.
func sequenceText(n int64) any {
	if n == 0 {
		return nil
	}
	return fmt.Sprintf("%020d", n)
}

// counts returns how many events of each type a source has told about a session,
// and the sequence of the last.
func (s *source) counts(session string) (counts obj, last any) {
	counts = obj{}
	var n int64
	for _, t := range s.told {
		if t.session == session {
			c, _ := counts[t.typ].(int)
			counts[t.typ], n = c+1, t.sequence
		}
	}
	return counts, sequenceText(n)
}

// totals returns what a source has told about a period.
func (s *source) totals(from, to time.Time) (totals obj, first, last any) {
	totals = obj{}
	var low, high int64
	for _, t := range s.told {
		if t.at.Before(from) || !t.at.Before(to) {
			continue
		}
		if low == 0 {
			low = t.sequence
		}
		high = t.sequence
		name := samples.FullType(t.typ)
		c, _ := totals[name].(int)
		totals[name] = c + 1
	}
	return totals, sequenceText(low), sequenceText(high)
}

// beat has every source that promised it say that it lives, and state each day
// what it told.
func (w *world) beat() {
	for _, s := range w.sources {
		if s.heartbeat == 0 {
			continue
		}
		for at := founded.Add(2 * time.Hour); at.Before(end); at = at.Add(s.heartbeat) {
			if !slices.ContainsFunc(w.silent[s], func(x silence) bool { return at.After(x.from) && at.Before(x.to) }) {
				w.heartbeat(s, at)
			}
		}
		n := time.Duration(slices.Index(w.sources, s))
		for day := founded.Truncate(24 * time.Hour); day.Before(closing); day = day.AddDate(0, 0, 1) {
			next := day.AddDate(0, 0, 1)
			w.closePeriod(s, day, next, next.Add((5+n)*time.Second))
		}
	}
}

func (w *world) heartbeat(s *source, at time.Time) *happening {
	h := w.say(s, "source.heartbeat", at, about{subject: "source/" + s.uri}, obj{
		"period_s": int64(s.heartbeat / time.Second), "open_sessions": w.open(s, at), "pending": 0,
	})
	h.fill = func(h *happening) { h.data["last_sequence"] = sequenceText(s.sequence) }
	return h
}

// open are the sessions open at a gateway.
func (w *world) open(s *source, at time.Time) []string {
	list := []string{}
	for _, x := range w.sessions {
		if x.gateway == s && !at.Before(x.start) && at.Before(x.end()) {
			list = append(list, x.id)
		}
	}
	return list
}

func (w *world) closePeriod(s *source, from, to, at time.Time) {
	h := w.say(s, "period.closed", at, about{subject: "source/" + s.uri}, obj{"period": interval(from, to)})
	h.fill = func(h *happening) {
		totals, first, last := s.totals(from, to)
		maps.Copy(h.data, obj{"totals": totals, "first_sequence": first, "last_sequence": last})
		for _, edit := range w.periodEdits[periodKey{s, from}] {
			edit(h)
		}
	}
}

// periodKey names a period of a source.
type periodKey struct {
	source *source
	from   time.Time
}
