package rules

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/escortlog/escortlog/log/event"
)

// source is what is remembered of one source.
type source struct {
	uri string

	// Its sequence. next is the number expected; hashes are those of the payloads of
	// number next-1, several where that was repeated, none where it is not known.
	next    int64
	hashes  []string
	newest  *fact // of number next-1
	chained bool  // it has given a prevhash
	plain   bool  // it sent events without a number
	gaps    []*hole
	broken  bool // a finding about its numbers was made for good

	// Its clock.
	recorded     time.Time // r of the newest event
	recordedBy   *fact
	closedUntil  time.Time // end of the newest period closed
	closedBy     *fact
	closedTotals bool // a period was judged
	badTotals    bool

	// Its heartbeats.
	period     time.Duration // promised; 0: none
	registered bool          // the period is from its registration
	alive      time.Time     // t of the newest heartbeat, else L of the registration; zero: neither
	aliveBy    *fact         // that heartbeat or registration
	retired    time.Time     // L; zero: it is not

	// What it sent since the newest period closed, by minute of t.
	minutes map[int64]*minute
	dropped time.Time // minutes before this one were dropped
}

// minute counts what happened within one minute.
type minute struct {
	types       map[string]int64 // by full name
	first, last int64            // numbers
}

// hole is a gap in a source's numbers.
type hole struct {
	first, last int64
	before      []string // hashes of the payloads before it, none where not known
	after       string   // prevhash of the event after it
	f           *fact    // the event after it
}

// Bounds of what is remembered of one source.
const (
	maxHoles   = 4096
	maxRepeats = 16
	maxMinutes = 40 * 24 * 60
)

func (e *Engine) sourceOf(uri string) *source {
	s, ok := e.sources[uri]
	if !ok {
		s = &source{uri: uri, next: 1, minutes: map[int64]*minute{}}
		e.sources[uri] = s
	}
	return s
}

// source takes an event as one of its source.
func (e *Engine) source(r *Record, f *fact) {
	s := e.sourceOf(r.Event.Source)
	f.ref.Source = s.uri // one copy of the name for all
	e.number(s, r, f)
	e.clock(s, r, f)
	s.count(r, f)
	if f.data == nil {
		return
	}
	switch d := f.data.(type) {
	case *heartbeat:
		e.heartbeat(s, f, d)
	case *periodClosed:
		e.periodClosed(s, f, d)
	case *gap:
		s.explain(d)
	}
}

// number is rule 20: a gap, a repeat or a broken prevhash in a source. A gap
// stands until its numbers come or source.gap explains them. After a number that
// is repeated, which is the finding, the next event may follow on either. It does
// not see what a source never numbered.
func (e *Engine) number(s *source, r *Record, f *fact) {
	subject := "source/" + s.uri
	bad := func(detail string, on ...*fact) {
		s.broken = true
		e.board.find(Sequence, subject, detail, append(on, f)...)
	}
	n := r.Event.SequenceNumber()
	if n == 0 {
		s.plain = true
		if s.newest != nil {
			bad("an event without a number, after numbered ones", s.newest)
		}
		return
	}
	e.board.look(Sequence)
	hash, prev := event.PrevHash(r.Entry.Payload), r.Event.PrevHash
	s.chained = s.chained || prev != ""
	switch {
	case n < s.next:
		if problem := s.fill(n, hash, prev); problem != "" {
			bad(problem)
		}
		if n == s.next-1 && len(s.hashes) > 0 && len(s.hashes) < maxRepeats {
			s.hashes = append(s.hashes, hash)
		}
		return
	case n > s.next:
		h := &hole{first: s.next, last: n - 1, before: s.hashes, after: prev, f: f}
		if len(s.gaps) < maxHoles {
			s.gaps = append(s.gaps, h)
		} else {
			s.broken = true
			e.board.findOf(Sequence, subject, h.numbers(), h.String(), f)
		}
	case prev == "" && n > 1 && s.chained:
		bad("no prevhash, though its events were chained before", s.newest)
	case breaks(s.hashes, prev):
		bad("the prevhash is not the hash of the payload before", s.newest)
	}
	s.next, s.hashes, s.newest = n+1, []string{hash}, f
}

// breaks reports whether a prevhash is none of those that it may be.
func breaks(hashes []string, prev string) bool {
	return prev != "" && len(hashes) > 0 && !slices.Contains(hashes, prev)
}

func (h *hole) numbers() string { return fmt.Sprintf("%d-%d", h.first, h.last) }

func (h *hole) String() string {
	if h.first == h.last {
		return fmt.Sprintf("number %d is missing", h.first)
	}
	return fmt.Sprintf("numbers %d to %d are missing", h.first, h.last)
}

// fill takes a number out of the gaps and says what is wrong with it.
func (s *source) fill(n int64, hash, prev string) string {
	i := slices.IndexFunc(s.gaps, func(h *hole) bool { return h.first <= n && n <= h.last })
	if i < 0 {
		return fmt.Sprintf("number %d is repeated", n)
	}
	h := s.gaps[i]
	wrong := n == h.first && breaks(h.before, prev) || n == h.last && h.after != "" && h.after != hash
	var rest []*hole
	if h.first < n {
		rest = append(rest, &hole{first: h.first, last: n - 1, before: h.before, after: prev, f: h.f})
	}
	if n < h.last {
		rest = append(rest, &hole{first: n + 1, last: h.last, before: []string{hash}, after: h.after, f: h.f})
	}
	s.gaps = slices.Replace(s.gaps, i, i+1, rest...)
	if wrong {
		return fmt.Sprintf("number %d came late and does not fit the hashes around it", n)
	}
	return ""
}

// explain takes the numbers that a source says will never come out of the gaps.
func (s *source) explain(d *gap) {
	first, err1 := strconv.ParseInt(d.First, 10, 64)
	last, err2 := strconv.ParseInt(d.Last, 10, 64)
	if err1 != nil || err2 != nil {
		return
	}
	var rest []*hole
	for _, h := range s.gaps {
		if h.last < first || h.first > last {
			rest = append(rest, h)
			continue
		}
		if h.first < first {
			rest = append(rest, &hole{first: h.first, last: first - 1, before: h.before, f: h.f})
		}
		if h.last > last {
			rest = append(rest, &hole{first: last + 1, last: h.last, after: h.after, f: h.f})
		}
	}
	s.gaps = rest
}

// clock is rule 22: L-r over 15 min, r-t over 5 min, t in the future, r going
// back, or an insertion after the period was closed. It does not see a clock
// that is always wrong by less.
func (e *Engine) clock(s *source, r *Record, f *fact) {
	rec := r.Event.RecordedTime
	e.board.look(Time)
	var says []string
	on := []*fact{f}
	if d := f.leaf.Sub(rec); d > e.cfg.Late.of() {
		says = append(says, "logged "+d.String()+" after it was recorded")
	}
	if d := rec.Sub(f.t); d > e.cfg.RecordedWithin.of() {
		says = append(says, "recorded "+d.String()+" after it happened")
	}
	if ahead := latest(f.t, rec).Sub(f.leaf); ahead > e.cfg.Future.of() {
		says = append(says, "its time is "+ahead.String()+" after it was logged")
	}
	if s.recordedBy != nil && rec.Before(s.recorded) {
		says = append(says, "recorded "+s.recorded.Sub(rec).String()+" before the source's event before it")
		on = append(on, s.recordedBy)
	}
	if s.closedBy != nil && f.t.Before(s.closedUntil) {
		says = append(says, "it happened in a period that the source had closed")
		on = append(on, s.closedBy)
	}
	s.recorded, s.recordedBy = rec, f
	if len(says) > 0 {
		e.board.find(Time, "source/"+s.uri, strings.Join(says, ", and "), on...)
	}
}

// count counts an event for the totals of its period.
func (s *source) count(r *Record, f *fact) {
	at := f.t.Unix() / 60
	m := s.minutes[at]
	if m == nil {
		if len(s.minutes) >= maxMinutes {
			s.forget(slices.Max(slices.Collect(maps.Keys(s.minutes))) - maxMinutes/2)
		}
		m = &minute{types: map[string]int64{}}
		s.minutes[at] = m
	}
	m.types[r.Event.Type]++
	if f.seq > 0 {
		if m.first == 0 || f.seq < m.first {
			m.first = f.seq
		}
		m.last = max(m.last, f.seq)
	}
}

// forget drops minutes before at, and says so to whoever needs them.
func (s *source) forget(at int64) {
	maps.DeleteFunc(s.minutes, func(m int64, _ *minute) bool { return m < at })
	s.dropped = latest(s.dropped, time.Unix(at*60, 0))
}

// periodClosed is the part of rule 21 about totals.
func (e *Engine) periodClosed(s *source, f *fact, d *periodClosed) {
	start, end := d.Period.Start, d.Period.End
	defer func() {
		if end.After(s.closedUntil) {
			s.closedUntil, s.closedBy = end, f
			s.forget(end.Unix() / 60)
		}
	}()
	switch {
	case start.Unix()%60 != 0 || end.Unix()%60 != 0 || start.Nanosecond() != 0 || end.Nanosecond() != 0:
		e.board.skip(SourceSilent, "periods whose ends are no full minutes")
		return
	case start.Before(s.dropped):
		e.board.skip(SourceSilent, "periods that overlap one that was closed before, or reach too far back")
		return
	}
	e.board.look(SourceSilent)
	s.closedTotals = true
	found := map[string]int64{}
	var first, last int64
	for at, m := range s.minutes {
		if at < start.Unix()/60 || at >= end.Unix()/60 {
			continue
		}
		for typ, n := range m.types {
			found[typ] += n
		}
		if m.first > 0 && (first == 0 || m.first < first) {
			first = m.first
		}
		last = max(last, m.last)
	}
	var says []string
	for typ := range d.Totals {
		found[typ] += 0 // stated, so it has to be looked at
	}
	for _, typ := range slices.Sorted(maps.Keys(found)) {
		if d.Totals[typ] != found[typ] {
			says = append(says, fmt.Sprintf("%d %s were stated and %d found", d.Totals[typ], shortType(typ), found[typ]))
		}
	}
	if says = append(says, wrongNumber("first", d.FirstSequence, first)...); last > 0 {
		says = append(says, wrongNumber("last", d.LastSequence, last)...)
	}
	if len(says) > 0 {
		s.badTotals = true
		e.board.find(SourceSilent, "source/"+s.uri, fmt.Sprintf("period %s to %s: %s", stamp(start), stamp(end), strings.Join(says, ", ")), f)
	}
}

func wrongNumber(which, stated string, found int64) []string {
	n, err := strconv.ParseInt(stated, 10, 64)
	if err != nil || found == 0 || n == found {
		return nil
	}
	return []string{fmt.Sprintf("%d was stated as the %s number and %d found", n, which, found)}
}

// heartbeat is the part of rule 21 about silence between heartbeats.
func (e *Engine) heartbeat(s *source, f *fact, d *heartbeat) {
	if !s.registered {
		s.period = time.Duration(d.PeriodS) * time.Second
	}
	e.board.look(SourceSilent)
	if s.alive.IsZero() || f.t.After(s.alive) {
		e.silence(e.board, s, f.t, f)
		s.alive, s.aliveBy = f.t, f
	}
}

// silence finds that a source was silent up to a time.
func (e *Engine) silence(b *board, s *source, until time.Time, on ...*fact) {
	if s.period == 0 || s.alive.IsZero() {
		return
	}
	if gone := until.Sub(s.alive); float64(gone) > e.cfg.Heartbeats*float64(s.period) {
		b.find(SourceSilent, "source/"+s.uri, fmt.Sprintf("no heartbeat from %s to %s, %s; its period is %s", stamp(s.alive), stamp(until), gone, s.period), append(on, s.aliveBy)...)
	}
}

// sourceChanged takes the registration or retirement of a source.
func (e *Engine) sourceChanged(r *Record) {
	var d struct {
		Source string `json:"source"`
	}
	if json.Unmarshal(r.Event.Data, &d) != nil {
		return
	}
	known, ok := e.directory.Source(d.Source)
	if !ok {
		return
	}
	s := e.sourceOf(d.Source)
	if known.Retired {
		s.retired = leafTime(r)
		return
	}
	if !s.retired.IsZero() || s.alive.IsZero() {
		s.alive, s.aliveBy = leafTime(r), &fact{ref: refOf(r), leaf: leafTime(r)}
	}
	s.retired = time.Time{}
	s.period, s.registered = time.Duration(known.HeartbeatSeconds)*time.Second, known.HeartbeatSeconds > 0
}

// reportSources adds what is open of each source.
func (e *Engine) reportSources(b *board, at time.Time) {
	for _, uri := range sortedKeys(e.sources) {
		s := e.sources[uri]
		for _, h := range s.gaps {
			b.findOf(Sequence, "source/"+uri, h.numbers(), h.String(), h.f)
		}
		if s.plain && s.newest == nil {
			b.skip(Sequence, "sources that do not number their events")
		}
		if s.newest != nil && !s.chained && s.next > 2 {
			b.skip(Sequence, "sources that number their events and do not chain them")
		}
		if s.period == 0 {
			continue
		}
		b.look(SourceSilent)
		until := at
		if !s.retired.IsZero() {
			until = s.retired
		}
		e.silence(b, s, until)
	}
}

// Completeness is claim C: what is known of the sources' own completeness.
type Completeness struct {
	Status  Status
	Sources int64 // that sent events
	Detail  string
}

// Sources answers claim C: every source numbers its events without a gap, and
// has stated totals that agree with the leaves.
func (e *Engine) Sources() Completeness {
	var c Completeness
	var bad, plain, unstated int
	for _, s := range e.sources {
		if s.newest == nil && !s.plain {
			continue // registered only
		}
		c.Sources++
		switch {
		case s.broken || len(s.gaps) > 0 || s.badTotals:
			bad++
		case s.plain:
			plain++
		case !s.closedTotals:
			unstated++
		}
	}
	switch {
	case c.Sources == 0:
		c.Status, c.Detail = NotEvaluable, "no source has sent an event"
	case bad > 0:
		c.Status, c.Detail = Fail, plural(bad, "source")+" with gaps, repeats, broken chains or totals unlike the leaves; see SEQUENCE and SOURCE_SILENT"
	case plain > 0 || unstated > 0:
		c.Status = NotEvaluable
		var says []string
		if plain > 0 {
			says = append(says, plural(plain, "source")+" not numbering all events")
		}
		if unstated > 0 {
			says = append(says, plural(unstated, "source")+" without stated totals")
		}
		c.Detail = strings.Join(says, ", ") + "; there is no gap that is known"
	default:
		c.Status, c.Detail = Pass, "every source's numbers have no gap and its stated totals agree"
	}
	return c
}
