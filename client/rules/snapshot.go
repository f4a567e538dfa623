package rules

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// snapshotVersion is that of the encoding of snapshots. It changes with whatever a
// rule remembers.
const snapshotVersion = 2

// ErrSnapshot: a snapshot is of another version, other rules or another program, so
// that its rules have to see the whole log again.
var ErrSnapshot = errors.New("the snapshot of the rules cannot be used")

// Snapshot returns all that the engine remembers, so that the engine that [Restore]
// makes of it goes on as this one would. The same leaves under the same rules give
// the same bytes. tool names the program whose rules these are.
//
// The encoding is JSON. A fact that several rules remember is written once, and they
// hold its number.
func (e *Engine) Snapshot(tool string) ([]byte, error) {
	w := &saver{numbers: map[*fact]int{}}
	s := saved{
		Version: snapshotVersion, Rules: e.cfg.Digest(), Defaults: Default().Digest(), Tool: tool,
		Now: instantOf(e.now), Size: e.size, Swept: instantOf(e.swept), Tallies: e.board.save(),
		Systems: e.registry.systems, Keys: map[string]savedKey{}, People: map[string]savedPerson{}, Sources: map[string]savedSource{},
		Sessions: map[string]savedFacts{}, Changes: map[string]savedFacts{}, Plans: map[string][]int{}, Open: map[string][]string{},
		Done: map[string][]savedShift{}, InPlace: map[string][]string{}, Scripts: map[string]savedScript{},
	}
	for _, id := range sortedKeys(e.sessions) {
		s.Sessions[id] = savedFacts{w.facts(e.sessions[id].facts), instantOf(e.sessions[id].last)}
	}
	for _, id := range sortedKeys(e.changes) {
		s.Changes[id] = savedFacts{w.facts(e.changes[id].facts), instantOf(e.changes[id].last)}
	}
	due := slices.Clone(e.due.items)
	slices.SortFunc(due, func(a, b dueItem) int {
		if (dueItems{a, b}).Less(0, 1) {
			return -1
		}
		return 1
	})
	for _, d := range due {
		s.Due = append(s.Due, savedDue{instantOf(d.at), d.session, d.id})
	}
	for _, ref := range sortedKeys(e.registry.people) {
		if p := w.person(e.registry.people[ref]); !p.empty() {
			s.People[ref] = p
		}
	}
	for _, id := range sortedKeys(e.registry.plans) {
		s.Plans[id] = w.facts(e.registry.plans[id])
	}
	for _, uri := range sortedKeys(e.sources) {
		s.Sources[uri] = w.source(e.sources[uri])
	}
	for id, u := range e.keys {
		s.Keys[id] = u.save()
	}
	for escort, open := range e.work.at {
		s.Open[escort] = sortedKeys(open)
	}
	for _, escort := range sortedKeys(e.work.done) {
		for _, x := range e.work.done[escort] {
			s.Done[escort] = append(s.Done[escort], savedShift{x.escort, x.session, instantOf(x.from), instantOf(x.to), w.number(x.fact)})
		}
	}
	s.Drifts = w.facts(e.drifts)
	for id, n := range e.inPlace {
		s.InPlace[id] = n.digests
	}
	s.Rejected, s.Accepted = w.opinions(&e.shopping.rejected), w.opinions(&e.shopping.accepted)
	for _, name := range sortedKeys(e.scripts) {
		s.Scripts[name] = savedScript{e.scripts[name].digest, w.number(e.scripts[name].fact)}
	}
	s.Types, s.Facts = w.types, w.list
	if w.err != nil {
		return nil, w.err
	}
	return json.Marshal(&s)
}

// Restore makes the engine of a snapshot. authority are the authority events of the
// log in their order, at least those that the engine had seen. An error that wraps
// ErrSnapshot says why it cannot.
func Restore(cfg *Config, tool string, snapshot []byte, authority []Record) (*Engine, error) {
	e := New(cfg)
	var s saved
	if err := json.Unmarshal(snapshot, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	switch {
	case s.Version != snapshotVersion:
		return nil, fmt.Errorf("%w: it is of version %d, and this program's of %d", ErrSnapshot, s.Version, snapshotVersion)
	case s.Rules != e.cfg.Digest() || s.Defaults != Default().Digest():
		return nil, fmt.Errorf("%w: it is of other rules, %s over %s", ErrSnapshot, s.Rules, s.Defaults)
	case s.Tool != tool:
		return nil, fmt.Errorf("%w: it was made by another version of this program, %q", ErrSnapshot, s.Tool)
	case len(s.Tallies) != len(e.board.tallies):
		return nil, fmt.Errorf("%w: it is of %d rules", ErrSnapshot, len(s.Tallies))
	}
	l := &loader{}
	for i := range s.Facts {
		l.load(&s.Facts[i])
	}
	e.restore(&s, l)
	if l.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, l.err)
	}
	for i := range authority {
		r := &authority[i]
		if r.Index < e.size && e.directory.Apply(r.Index, r.LeafHash, r.Entry, r.Event) != nil {
			return nil, fmt.Errorf("%w: the authority event at leaf %d does not fit", ErrSnapshot, r.Index)
		}
	}
	e.board.origin = e.directory.Origin()
	return e, nil
}

// Size is how many leaves the engine has been given.
func (e *Engine) Size() int64 { return e.size }

func (e *Engine) restore(s *saved, l *loader) {
	e.now, e.size, e.swept = s.Now.time(), s.Size, s.Swept.time()
	e.board.load(s.Tallies)
	for id, x := range s.Sessions {
		e.sessions[id] = &session{id: id, last: x.Last.time(), queued: true}
		for _, f := range l.facts(x.Facts) {
			e.sessions[id].remember(f)
		}
	}
	for id, x := range s.Changes {
		e.changes[id] = &change{id: id, last: x.Last.time(), queued: true}
		for _, f := range l.facts(x.Facts) {
			e.changes[id].remember(f)
		}
	}
	for _, d := range s.Due {
		e.due.push(dueItem{d.At.time(), d.Session, d.ID})
	}
	maps.Copy(e.registry.systems, s.Systems)
	for ref, p := range s.People {
		e.registry.people[ref] = l.person(p)
	}
	for id, list := range s.Plans {
		e.registry.plans[id] = l.facts(list)
	}
	for uri, x := range s.Sources {
		e.sources[uri] = l.source(uri, x, s.Types)
	}
	for id, x := range s.Keys {
		e.keys[id] = x.load()
	}
	for escort, ids := range s.Open {
		for _, id := range ids {
			if e.sessions[id] == nil {
				l.fail("a session that is not there")
				return
			}
			e.work.open(escort, e.sessions[id])
		}
	}
	for escort, list := range s.Done {
		for _, x := range list {
			e.work.done[escort] = append(e.work.done[escort], shift{x.Escort, x.Session, x.From.time(), x.To.time(), l.fact(x.Fact)})
		}
	}
	e.drifts = l.facts(s.Drifts)
	for id, digests := range s.InPlace {
		e.inPlace[id] = &newest{digests: digests}
	}
	l.opinions(&e.shopping.rejected, s.Rejected)
	l.opinions(&e.shopping.accepted, s.Accepted)
	for name, x := range s.Scripts {
		e.scripts[name] = &script{digest: x.Digest, fact: l.fact(x.Fact)}
	}
}

// saved is a snapshot.
type saved struct {
	Version  int                     `json:"version"`
	Rules    string                  `json:"rules"`
	Defaults string                  `json:"defaults"`
	Tool     string                  `json:"tool"`
	Now      instant                 `json:"now"`
	Size     int64                   `json:"size"`
	Swept    instant                 `json:"swept"`
	Tallies  []savedTally            `json:"tallies"`
	Types    []string                `json:"types"` // of events, which minutes name by their place
	Facts    []savedFact             `json:"facts"`
	Sessions map[string]savedFacts   `json:"sessions"`
	Changes  map[string]savedFacts   `json:"changes"`
	Due      []savedDue              `json:"due"`
	People   map[string]savedPerson  `json:"people"`
	Systems  map[string]*system      `json:"systems"`
	Plans    map[string][]int        `json:"plans"`
	Sources  map[string]savedSource  `json:"sources"`
	Keys     map[string]savedKey     `json:"keys"`
	Open     map[string][]string     `json:"open"`
	Done     map[string][]savedShift `json:"done"`
	Drifts   []int                   `json:"drifts"`
	InPlace  map[string][]string     `json:"in_place"`
	Rejected []savedOpinion          `json:"rejected"`
	Accepted []savedOpinion          `json:"accepted"`
	Scripts  map[string]savedScript  `json:"scripts"`
}

// instant is a time in seconds since the epoch, and nanoseconds.
type instant [2]int64

func instantOf(t time.Time) instant { return instant{t.Unix(), int64(t.Nanosecond())} }

func (i instant) time() time.Time { return time.Unix(i[0], i[1]).UTC() }

type savedTally struct {
	Population int64            `json:"population"`
	Count      int64            `json:"count"`
	Findings   []Finding        `json:"findings"`
	Skipped    map[string]int64 `json:"skipped"`
}

func (b *board) save() (list []savedTally) {
	for _, t := range b.tallies {
		list = append(list, savedTally{t.population, t.count, t.findings, t.skipped})
	}
	return list
}

func (b *board) load(list []savedTally) {
	for i, t := range list {
		b.tallies[i] = tally{t.Population, t.Count, t.Findings, t.Skipped}
	}
}

// savedFact is a fact, with what is in its payload.
type savedFact struct {
	Ref      Ref             `json:"ref"`
	Type     string          `json:"type"`
	Time     instant         `json:"t"`
	Leaf     instant         `json:"l"`
	Sequence int64           `json:"seq,omitempty"`
	Signers  []string        `json:"signers,omitempty"`
	Broken   bool            `json:"broken,omitempty"` // its payload breaks its schema
	Data     json.RawMessage `json:"data,omitempty"`
	Registry []*person       `json:"registry,omitempty"` // what the registry said of its people, in their order
}

// saver numbers the facts of an engine in the order in which it meets them.
type saver struct {
	numbers map[*fact]int
	list    []savedFact
	types   []string
	err     error
}

// number returns the number of a fact; -1 where there is none.
func (w *saver) number(f *fact) int {
	if f == nil {
		return -1
	}
	if n, ok := w.numbers[f]; ok {
		return n
	}
	x := savedFact{Ref: f.ref, Type: f.typ, Time: instantOf(f.t), Leaf: instantOf(f.leaf), Sequence: f.seq, Signers: f.signers}
	switch d := f.data.(type) {
	case nil:
	case nobody:
		x.Broken = true
	default:
		var err error
		if x.Data, err = json.Marshal(d); err != nil {
			w.err = errors.Join(w.err, err)
		}
		list := d.people()
		if slices.ContainsFunc(list, func(n named) bool { return n.person.registry != nil }) {
			for _, n := range list {
				x.Registry = append(x.Registry, n.person.registry)
			}
		}
	}
	w.numbers[f] = len(w.list)
	w.list = append(w.list, x)
	return w.numbers[f]
}

func (w *saver) facts(list []*fact) []int {
	numbers := make([]int, 0, len(list))
	for _, f := range list {
		numbers = append(numbers, w.number(f))
	}
	return numbers
}

// loader makes the facts of a snapshot.
type loader struct {
	list []*fact
	err  error
}

func (l *loader) fail(format string, args ...any) {
	if l.err == nil {
		l.err = fmt.Errorf(format, args...)
	}
}

func (l *loader) load(x *savedFact) {
	f := &fact{ref: x.Ref, typ: x.Type, t: x.Time.time(), leaf: x.Leaf.time(), seq: x.Sequence, signers: x.Signers}
	l.list = append(l.list, f)
	switch {
	case x.Broken:
		f.data = nobody{}
	case x.Data != nil:
		kind, known := kinds[x.Type]
		if !known {
			l.fail("a fact of type %q", x.Type)
			return
		}
		f.data = kind.make()
		if err := json.Unmarshal(x.Data, f.data); err != nil {
			l.fail("a fact of type %q: %w", x.Type, err)
			return
		}
		for i, n := range f.data.people() {
			if i < len(x.Registry) {
				n.person.registry = x.Registry[i]
			}
		}
	}
}

func (l *loader) fact(n int) *fact {
	if n == -1 {
		return nil
	}
	if n < 0 || n >= len(l.list) {
		l.fail("there is no fact %d", n)
		return &fact{}
	}
	return l.list[n]
}

func (l *loader) facts(numbers []int) (list []*fact) {
	for _, n := range numbers {
		list = append(list, l.fact(n))
	}
	return list
}

// savedFacts are those of a session or change.
type savedFacts struct {
	Facts []int   `json:"facts"`
	Last  instant `json:"last"`
}

type savedDue struct {
	At      instant `json:"at"`
	Session bool    `json:"session"`
	ID      string  `json:"id"`
}

type savedPerson struct {
	Said      *person        `json:"said,omitempty"`
	Enrolled  []int          `json:"enrolled,omitempty"`
	Separated []int          `json:"separated,omitempty"`
	Qualified []int          `json:"qualified,omitempty"`
	Granted   []int          `json:"granted,omitempty"`
	Place     *savedSighting `json:"place,omitempty"`
	Left      *savedSighting `json:"left,omitempty"`
}

func (p *savedPerson) empty() bool {
	return p.Said == nil && len(p.Enrolled)+len(p.Separated)+len(p.Qualified)+len(p.Granted) == 0 && p.Place == nil && p.Left == nil
}

type savedSighting struct {
	Role    role   `json:"role"`
	Fact    int    `json:"fact"`
	Person  int    `json:"person"` // place among the fact's people
	Subject string `json:"subject,omitempty"`
}

func (w *saver) person(r *record) savedPerson {
	return savedPerson{r.said, w.facts(r.enrolled), w.facts(r.separated), w.facts(r.qualified), w.facts(r.granted), w.sighting(r.place), w.sighting(r.left)}
}

func (w *saver) sighting(s *sighting) *savedSighting {
	if s == nil {
		return nil
	}
	i := slices.IndexFunc(s.fact.data.people(), func(n named) bool { return n.person == s.person && n.role == s.role })
	return &savedSighting{s.role, w.number(s.fact), i, s.subject}
}

func (l *loader) person(p savedPerson) *record {
	return &record{said: p.Said, enrolled: l.facts(p.Enrolled), separated: l.facts(p.Separated), qualified: l.facts(p.Qualified),
		granted: l.facts(p.Granted), place: l.sighting(p.Place), left: l.sighting(p.Left)}
}

func (l *loader) sighting(s *savedSighting) *sighting {
	if s == nil {
		return nil
	}
	f := l.fact(s.Fact)
	if f == nil || f.data == nil || s.Person < 0 || s.Person >= len(f.data.people()) {
		l.fail("nobody was seen in fact %d", s.Fact)
		return nil
	}
	return &sighting{role: s.Role, person: f.data.people()[s.Person].person, fact: f, subject: s.Subject}
}

type savedSource struct {
	Next         int64         `json:"next"`
	Hashes       []string      `json:"hashes,omitempty"`
	Newest       int           `json:"newest"`
	Chained      bool          `json:"chained,omitempty"`
	Plain        bool          `json:"plain,omitempty"`
	Gaps         []savedHole   `json:"gaps,omitempty"`
	Broken       bool          `json:"broken,omitempty"`
	Recorded     instant       `json:"recorded"`
	RecordedBy   int           `json:"recorded_by"`
	ClosedUntil  instant       `json:"closed_until"`
	ClosedBy     int           `json:"closed_by"`
	ClosedTotals bool          `json:"closed_totals,omitempty"`
	BadTotals    bool          `json:"bad_totals,omitempty"`
	Period       time.Duration `json:"period_ns"`
	Registered   bool          `json:"registered,omitempty"`
	Alive        instant       `json:"alive"`
	AliveBy      int           `json:"alive_by"`
	Retired      instant       `json:"retired"`
	Dropped      instant       `json:"dropped"`
	// Minutes are the minute, its first and last number, and pairs of a type and
	// how many of it there were.
	Minutes [][]int64 `json:"minutes,omitempty"`
}

type savedHole struct {
	First  int64    `json:"first"`
	Last   int64    `json:"last"`
	Before []string `json:"before,omitempty"`
	After  string   `json:"after,omitempty"`
	Fact   int      `json:"fact"`
}

func (w *saver) source(s *source) savedSource {
	x := savedSource{
		Next: s.next, Hashes: s.hashes, Newest: w.number(s.newest), Chained: s.chained, Plain: s.plain, Broken: s.broken,
		Recorded: instantOf(s.recorded), RecordedBy: w.number(s.recordedBy), ClosedUntil: instantOf(s.closedUntil), ClosedBy: w.number(s.closedBy),
		ClosedTotals: s.closedTotals, BadTotals: s.badTotals, Period: s.period, Registered: s.registered,
		Alive: instantOf(s.alive), AliveBy: w.number(s.aliveBy), Retired: instantOf(s.retired), Dropped: instantOf(s.dropped),
	}
	for _, h := range s.gaps {
		x.Gaps = append(x.Gaps, savedHole{h.first, h.last, h.before, h.after, w.number(h.f)})
	}
	for _, at := range slices.Sorted(maps.Keys(s.minutes)) {
		m := s.minutes[at]
		line := []int64{at, m.first, m.last}
		for _, typ := range slices.Sorted(maps.Keys(m.types)) {
			line = append(line, w.typeNumber(typ), m.types[typ])
		}
		x.Minutes = append(x.Minutes, line)
	}
	return x
}

func (w *saver) typeNumber(typ string) int64 {
	i := slices.Index(w.types, typ)
	if i < 0 {
		i = len(w.types)
		w.types = append(w.types, typ)
	}
	return int64(i)
}

func (l *loader) source(uri string, x savedSource, types []string) *source {
	s := &source{
		uri: uri, next: x.Next, hashes: x.Hashes, newest: l.fact(x.Newest), chained: x.Chained, plain: x.Plain, broken: x.Broken,
		recorded: x.Recorded.time(), recordedBy: l.fact(x.RecordedBy), closedUntil: x.ClosedUntil.time(), closedBy: l.fact(x.ClosedBy),
		closedTotals: x.ClosedTotals, badTotals: x.BadTotals, period: x.Period, registered: x.Registered,
		alive: x.Alive.time(), aliveBy: l.fact(x.AliveBy), retired: x.Retired.time(), dropped: x.Dropped.time(), minutes: map[int64]*minute{},
	}
	for _, h := range x.Gaps {
		s.gaps = append(s.gaps, &hole{h.First, h.Last, h.Before, h.After, l.fact(h.Fact)})
	}
	for _, line := range x.Minutes {
		if len(line)%2 != 1 || len(line) < 3 {
			l.fail("a minute of %s is none", uri)
			return s
		}
		m := &minute{types: map[string]int64{}, first: line[1], last: line[2]}
		for pairs := line[3:]; len(pairs) > 0; pairs = pairs[2:] {
			if pairs[0] < 0 || pairs[0] >= int64(len(types)) {
				l.fail("there is no type %d", pairs[0])
				return s
			}
			m.types[types[pairs[0]]] = pairs[1]
		}
		s.minutes[line[0]] = m
	}
	return s
}

// savedKey holds the uses of a key: for each how much its index and its leaf's time
// are above those of the one before, as varints.
type savedKey struct {
	Uses    []byte `json:"uses"`
	Dropped int64  `json:"dropped,omitempty"`
}

func (u *keyUses) save() savedKey {
	x := savedKey{Dropped: u.dropped}
	var last keyUse
	for _, use := range u.uses {
		x.Uses = binary.AppendVarint(binary.AppendVarint(x.Uses, use.index-last.index), use.leaf-last.leaf)
		last = use
	}
	return x
}

func (x savedKey) load() *keyUses {
	u := &keyUses{dropped: x.Dropped}
	var last keyUse
	for b := x.Uses; len(b) > 0; {
		index, n := binary.Varint(b)
		leaf, m := binary.Varint(b[max(n, 0):])
		if n <= 0 || m <= 0 {
			return u // its checksum says that this cannot be
		}
		b = b[n+m:]
		last = keyUse{last.index + index, last.leaf + leaf}
		u.uses = append(u.uses, last)
	}
	return u
}

type savedShift struct {
	Escort  string  `json:"escort"`
	Session string  `json:"session"`
	From    instant `json:"from"`
	To      instant `json:"to"`
	Fact    int     `json:"fact"`
}

type savedOpinion struct {
	Session string `json:"session"`
	Fact    int    `json:"fact"`
	Found   bool   `json:"found,omitempty"`
}

func (w *saver) opinions(s *opinions) (list []savedOpinion) {
	for _, o := range s.order {
		list = append(list, savedOpinion{o.session, w.number(o.fact), o.found})
	}
	return list
}

func (l *loader) opinions(into *opinions, list []savedOpinion) {
	for _, x := range list {
		f := l.fact(x.Fact)
		if f == nil {
			l.fail("an opinion without a fact")
			return
		}
		if _, ok := f.data.(*reviewed); !ok {
			l.fail("an opinion of type %q", f.typ)
			return
		}
		into.add(&opinion{session: x.Session, fact: f, found: x.Found})
	}
}

type savedScript struct {
	Digest string `json:"digest"`
	Fact   int    `json:"fact"`
}
