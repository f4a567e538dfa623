package month

import (
	"cmp"
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/escortlog/escortlog/cmd/internal/samples"
	"github.com/escortlog/escortlog/log/event"
)

// source is where events come from, with what it remembers of its own.
type source struct {
	name      string
	uri       string
	role      string
	personRef string        // whose personal key signs; empty: a service's
	heartbeat time.Duration // how often it says that it lives; 0: never
	delay     time.Duration // from recording an event to its place in the log
	types     []string      // short names of what the key is registered for; nil: all that needs no name
	key       crypto.Signer
	public    *event.PublicKey
	newKeys   []crypto.Signer // that took the place of key

	sequence int64
	previous []byte // the payload before
	earlier  []byte // the payload before that
	told     []told
}

// told is an event that a source has told.
type told struct {
	typ, session string // typ is a short name
	sequence     int64
	at           time.Time
}

// world is a month in the making: who and what there is, and what happens.
type world struct {
	cast
	origin string
	chance *rand.Rand
	err    error // the first; nothing happens after it

	admins   []samples.Admin
	sources  []*source
	registry *source
	broker   *source
	console  *source
	gateways []*source
	recorder *source
	pipeline *source
	officer  *source   // of records: redactions and holds
	monitors []*source // of configurations
	personal map[string]*source

	clock    time.Time // of what is told one after the other
	grants   int
	extra    int // people and systems of plantings
	changes  int
	happened []*happening
	sessions []*session
	planned  []*change // those that no session makes
	slots    calendar
	expected []Expected
	silent   map[*source][]silence

	periodEdits map[periodKey][]func(*happening) // what a planting changes about a period.closed
}

// silence is a time in which a source sends no heartbeat.
type silence struct{ from, to time.Time }

func newWorld(seed uint64) (*world, error) {
	w := &world{
		cast: newCast(), origin: samples.Origin, chance: newRand(seed), personal: map[string]*source{}, silent: map[*source][]silence{},
		periodEdits: map[periodKey][]func(*happening){},
	}
	w.slots = newCalendar(w)
	var err error
	if w.admins, err = samples.Admins(); err != nil {
		return nil, err
	}
	const often = 6 * time.Hour
	w.registry = w.service("registry", event.RoleRegistry, 0, []string{
		"person.enrolled", "person.updated", "person.separated", "escort.qualified", "escort.disqualified", "authorization.granted",
		"authorization.revoked", "system.registered", "system.reclassified", "ssp.declared",
	})
	w.broker = w.service("broker", event.RoleBroker, often, nil)
	w.console = w.service("console", event.RoleConsole, often, nil)
	w.gateways = []*source{w.service("gateway-1", event.RoleGateway, often, nil), w.service("gateway-2", event.RoleGateway, often, nil)}
	w.recorder = w.service("recorder", event.RoleRecorder, often, nil)
	w.pipeline = w.service("pipeline", event.RolePipeline, often, nil)
	w.officer = w.service("records", event.RoleAuthoriser, 0, nil)
	for i := range 6 {
		w.monitors = append(w.monitors, w.service(fmt.Sprintf("monitor-%d", i+1), event.RoleMonitor, often, nil))
	}
	for _, p := range w.escorts {
		w.card(p, event.RoleEscort)
	}
	for _, p := range w.reviewers {
		w.card(p, event.RoleReviewer)
	}
	return w, w.err
}

// service adds a source that is a service. Types are short names.
func (w *world) service(name, role string, heartbeat time.Duration, types []string) *source {
	return w.add(&source{
		name: name, uri: "https://" + name + ".month.example/v1", role: role, heartbeat: heartbeat, types: types,
		delay: time.Duration(150+40*len(w.sources)) * time.Millisecond,
	}, event.Ed25519)
}

// card adds the source that is a person's smart card, which signs one type.
func (w *world) card(p person, role string) {
	typ := map[string]string{event.RoleEscort: "session.attested", event.RoleReviewer: "session.reviewed"}[role]
	w.personal[p.Ref] = w.add(&source{
		name: "card-" + p.Ref, uri: "https://cards.month.example/" + p.Ref, role: role, personRef: p.Ref,
		types: []string{typ}, delay: 700 * time.Millisecond,
	}, event.ECDSAP256)
}

func (w *world) add(s *source, keyType string) *source {
	var err error
	if s.key, err = samples.Key("month "+s.name, keyType); err == nil {
		s.public, err = event.NewPublicKey(s.key.Public())
	}
	w.fail(err)
	w.sources = append(w.sources, s)
	return s
}

func (w *world) fail(err error) { w.err = cmp.Or(w.err, err) }

// pick returns one of a list by chance.
func pick[T any](w *world, list []T) T { return list[w.chance.IntN(len(list))] }

// between returns a time span by chance, in whole milliseconds.
func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.chance.Int64N(int64((most-least)/time.Millisecond)+1))*time.Millisecond
}

// about says what an event belongs to.
type about struct {
	subject string
	session string
	cause   string // id of the event that led to it
}

// happening is an event before it is told: what happened, and what its source
// and the log make of it.
type happening struct {
	from     *source
	typ      string // short name
	id       string
	about    about
	at       time.Time // when it happened
	recorded time.Time
	logged   time.Time
	data     obj
	order    int

	fill   func(h *happening)                 // called when it is told, for what only then is known
	signed *source                            // whose key signs; nil: that of from
	gap    int64                              // numbers of its source left out before it
	repeat bool                               // it takes the place of the event before, on which the next follows all the same
	broken bool                               // its prevhash is that of another payload
	decide func(event.Header) ([]byte, error) // an authority event: its payload
	holder crypto.Signer                      // who signs an authority event beside the administrators
	then   func(*renderer)                    // called when an authority event is in the log
	drop   bool                               // it never happens
}

// move has it happen, be recorded and be logged at another time.
func (h *happening) move(to time.Time) {
	d := to.Sub(h.at)
	h.at, h.recorded, h.logged = to, h.recorded.Add(d), h.logged.Add(d)
}

// by has another source tell it.
func (h *happening) by(s *source) {
	h.from, h.logged = s, h.recorded.Add(s.delay)
}

func (h *happening) ref() obj { return obj{"source": h.from.uri, "id": h.id} }

// say has a source tell an event. It is recorded after the latency of its kind,
// and takes its source's delay into the log.
func (w *world) say(from *source, typ string, at time.Time, a about, data obj) *happening {
	h := &happening{from: from, typ: typ, about: a, at: at, data: data, order: len(w.happened)}
	h.recorded = at.Add(40 * time.Millisecond)
	h.logged = h.recorded.Add(from.delay)
	random := sha512.Sum512(fmt.Appendf(nil, "%s %s %d", from.uri, typ, h.order))
	h.id = event.NewUUIDv7(at.UnixMilli(), [10]byte(random[:10]))
	w.happened = append(w.happened, h)
	return h
}

// expect says what a rule has to find.
func (w *world) expect(rule, ref string) { w.expected = append(w.expected, Expected{rule, ref}) }

func digest(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

// commit hides content behind a commitment. Real salts are random.
func (w *world) commit(what, content string) event.Commitment {
	sum := sha256.Sum256([]byte("sample salt: " + what))
	c, err := event.Commit(sum[:event.MinSalt], []byte(content))
	w.fail(err)
	return c
}

// matchDigest is the HMAC by which the customer compares what was asked with
// what was run.
func matchDigest(content string) string {
	mac := hmac.New(sha256.New, []byte("month match key, public, never use"))
	mac.Write([]byte(content))
	return fmt.Sprintf("hmac-sha256:%x", mac.Sum(nil))
}

// merge returns the members of all objects; later ones win.
func merge(list ...obj) obj {
	all := obj{}
	for _, o := range list {
		for name, value := range o {
			all[name] = value
		}
	}
	return all
}

// calendar says who is free when. Work is done in slots, so that nobody is in
// two sessions at once unless that is planted.
type calendar struct {
	slots []slot
	order []int // in which they are taken
	taken map[int]bool
}

// slot is a time of day in which a session fits, for one escort and one
// engineer.
type slot struct {
	start  time.Time
	escort int
	free   int // an escort whom nobody else at this time counts on
	turn   int // which of the sessions at this time it is
}

// hours at which slots begin, UTC. A session and what belongs to it is over
// before the next begins.
var hours = []int{13, 15, 17, 19}

// sessionsAtOnce is how many sessions there are at a time, for ordinary work;
// the other escorts are free.
const sessionsAtOnce = 6

func newCalendar(w *world) calendar {
	c := calendar{taken: map[int]bool{}}
	for day := firstDay; !day.After(lastDay); day = day.AddDate(0, 0, 1) {
		if wd := day.Weekday(); wd == time.Saturday || wd == time.Sunday {
			continue
		}
		for _, hour := range hours {
			order := w.chance.Perm(len(w.escorts))
			for turn, escort := range order[:sessionsAtOnce] {
				c.order = append(c.order, len(c.slots))
				c.slots = append(c.slots, slot{day.Add(time.Duration(hour) * time.Hour), escort, order[sessionsAtOnce+turn], turn})
			}
		}
	}
	return c
}

// take returns a slot from a time on that nobody has.
func (c *calendar) take(from time.Time) (slot, error) {
	for _, i := range c.order {
		if !c.taken[i] && !c.slots[i].start.Before(from) {
			c.taken[i] = true
			return c.slots[i], nil
		}
	}
	return slot{}, fmt.Errorf("month: no slot from %s on is left of the %d: plan fewer sessions", stamp(from), len(c.slots))
}

// spread has the first n slots that are taken lie all over the month.
func (c *calendar) spread(n int) {
	total := len(c.slots)
	var first, rest []int
	for i := range c.slots {
		if (i+1)*n/total > i*n/total {
			first = append(first, i)
		} else {
			rest = append(rest, i)
		}
	}
	c.order = slices.Concat(first, rest)
}
