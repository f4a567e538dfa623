package samples

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/escortlog/escortlog/log/event"
)

// Event is one sample event, unsigned, and the source whose key signs it.
type Event struct {
	Source  *Source
	Payload []byte
}

// Disclosure is the content behind a commitment in the sample events: what its
// submitter keeps, and shows to whoever may see it.
type Disclosure struct {
	Commitment event.Commitment
	Salt       []byte
	Content    []byte
}

// latency is how long every source takes to record what happened.
const latency = 40 * time.Millisecond

// script writes events down in the order in which they happen. The first error
// sticks; nothing is written after it.
type script struct {
	sources     map[string]*Source
	chains      map[string]*chain // by name of the source
	steps       []step
	events      []Event
	disclosures []Disclosure
	err         error
}

// chain is what a source remembers of its own events.
type chain struct {
	sequence int64
	prevHash string
	said     []said
}

type said struct {
	typ, session string
	sequence     int64
	at           time.Time
}

// step is something that happens at a time.
type step struct {
	at time.Time
	do func(at time.Time)
}

func newScript() (*script, error) {
	sources, err := Sources()
	if err != nil {
		return nil, err
	}
	s := &script{sources: map[string]*Source{}, chains: map[string]*chain{}}
	for _, src := range sources {
		s.sources[src.Name], s.chains[src.Name] = src, &chain{}
	}
	return s, nil
}

// at plans something. What was planned for one instant happens in that order.
func (s *script) at(t time.Time, do func(at time.Time)) { s.steps = append(s.steps, step{t, do}) }

// play lets everything planned happen, in the order of time, and returns the
// events.
func (s *script) play() ([]Event, error) {
	slices.SortStableFunc(s.steps, func(a, b step) int { return a.at.Compare(b.at) })
	for _, st := range s.steps {
		st.do(st.at)
	}
	events := s.events
	s.steps, s.events = nil, nil
	return events, s.err
}

// about says what an event belongs to.
type about struct {
	subject string
	session string // its correlationid, empty where there is none
	cause   obj    // an EventRef, nil where there is none
}

// say has a source tell an event and returns an EventRef to it.
func (s *script) say(source, typ string, at time.Time, a about, data obj) obj {
	if s.err != nil {
		return nil
	}
	src, c := s.sources[source], s.chains[source]
	c.sequence++
	random := sha512.Sum512(fmt.Appendf(nil, "%s %d", src.URI, c.sequence))
	attrs := event.Attributes{
		ID:     event.NewUUIDv7(at.Add(latency).UnixMilli(), [10]byte(random[:10])),
		Source: src.URI, Type: FullType(typ), Subject: a.subject, Time: at, RecordedTime: at.Add(latency),
		Sequence: c.sequence, PrevHash: c.prevHash, Extensions: map[string]string{},
	}
	if a.session != "" {
		attrs.Extensions["correlationid"] = a.session
	}
	if a.cause != nil {
		attrs.Extensions["causationid"] = fmt.Sprint(a.cause["id"])
	}
	payload, err := event.Build(attrs, data)
	if err != nil {
		s.fail(fmt.Errorf("sample event %s: %w", typ, err))
		return nil
	}
	c.prevHash = event.PrevHash(payload)
	c.said = append(c.said, said{typ: typ, session: a.session, sequence: c.sequence, at: at})
	s.events = append(s.events, Event{Source: src, Payload: payload})
	return obj{"source": src.URI, "id": attrs.ID}
}

func (s *script) fail(err error) { s.err = cmp.Or(s.err, err) }

// commit hides content behind a commitment, whose salt is made from what it is
// for so that the samples stay the same. Real salts are random.
func (s *script) commit(what, content string) event.Commitment {
	sum := sha256.Sum256([]byte("sample salt: " + what))
	c, err := event.Commit(sum[:event.MinSalt], []byte(content))
	s.fail(err)
	s.disclosures = append(s.disclosures, Disclosure{Commitment: c, Salt: sum[:event.MinSalt], Content: []byte(content)})
	return c
}

// matchDigest is the HMAC by which the customer, who holds the key, compares
// what was asked with what was run.
func matchDigest(content string) string {
	mac := hmac.New(sha256.New, []byte("sample match key, public, never use"))
	mac.Write([]byte(content))
	return fmt.Sprintf("hmac-sha256:%x", mac.Sum(nil))
}

// counts returns how many events of each type the source told about a session,
// and the sequence of the last.
func (s *script) counts(source, session string) (counts obj, last string) {
	counts = obj{}
	for _, e := range s.chains[source].said {
		if e.session == session {
			n, _ := counts[e.typ].(int)
			counts[e.typ] = n + 1
			last = fmt.Sprintf("%020d", e.sequence)
		}
	}
	return counts, last
}

// closePeriod has a source state its totals.
func (s *script) closePeriod(source string, from, to, at time.Time) {
	totals := obj{}
	var first, last any
	for _, e := range s.chains[source].said {
		if e.at.Before(from) || !e.at.Before(to) {
			continue
		}
		if first == nil {
			first = fmt.Sprintf("%020d", e.sequence)
		}
		last = fmt.Sprintf("%020d", e.sequence)
		n, _ := totals[FullType(e.typ)].(int)
		totals[FullType(e.typ)] = n + 1
	}
	s.say(source, "period.closed", at, about{subject: "source/" + s.sources[source].URI}, obj{
		"period": interval(from, to), "totals": totals, "first_sequence": first, "last_sequence": last,
	})
}

// Sessions are the two sample sessions. They follow each other: the sources go
// on counting from one to the next.
type Sessions struct {
	// Good is one complete escorted session with a change, after the registry
	// has said who and what there is.
	Good []Event
	// Unattested is a session on the day after, whose escort never attests what
	// was seen, and after it the sources' totals.
	Unattested []Event
	// Disclosures hold what the events commit to.
	Disclosures []Disclosure
}

// IDs of the two sessions and of the change.
const (
	GoodSession       = "s-2025-0610-01"
	UnattestedSession = "s-2025-0611-01"
	GoodChange        = "chg-77"
)

// NewSessions writes both sessions.
func NewSessions() (*Sessions, error) {
	s, err := newScript()
	if err != nil {
		return nil, err
	}
	register(s)
	goodSession(s)
	good, err1 := s.play()
	unattestedSession(s)
	unattested, err2 := s.play()
	return &Sessions{Good: good, Unattested: unattested, Disclosures: s.disclosures}, errors.Join(err1, err2)
}
