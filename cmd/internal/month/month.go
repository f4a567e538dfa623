package month

import (
	"bytes"
	"cmp"
	"crypto"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// Config says which month to make.
type Config struct {
	Seed     uint64
	Sessions int // ordinary sessions, at least 1; 0 means 300. At most 480 fit into the month
	// Plant are the violations to plant; see Plantings. None: a clean month.
	Plant []Planting
}

// Expected is what a rule has to find: once for each.
type Expected struct {
	Rule string // such as "OVERSTAY"
	// Ref is what the violation is about: "session/…", "change/…", "person/…",
	// "source/…", "system/…", or "event/" and the event's id.
	Ref string
}

// Month is a month of leaves.
type Month struct {
	Origin   string
	Leaves   [][]byte   // encoded, from leaf 0 on
	Expected []Expected // what was planted, by rule and reference
	// End is when the month is looked at: everything that is due was due before.
	End      time.Time
	Sessions int // how many sessions there are, planted ones too
	Sources  []Source
}

// RulesFile is the rules file of the month's organisation: it allows one pipeline
// to apply changes without a session.
const RulesFile = "version: 1\nallowed_pipelines: [\"deploy/*\"]\n"

// Source is what another log has to register before it takes a month's events.
type Source struct {
	Registration event.SourceRegistration
	Keys         []KeyHolder // more than one where the key was replaced during the month
}

// KeyHolder is a sample key and how it is registered.
type KeyHolder struct {
	Key          crypto.Signer
	Registration event.KeyRegistration
}

// The days of the month. It lies in the past of every clock that is set.
var (
	founded  = time.Date(2025, time.May, 29, 9, 0, 0, 0, time.UTC) // the log is created
	firstDay = time.Date(2025, time.June, 2, 0, 0, 0, 0, time.UTC) // the first day of work, a Monday
	lastDay  = time.Date(2025, time.June, 27, 0, 0, 0, 0, time.UTC)
	closing  = time.Date(2025, time.July, 1, 0, 0, 0, 0, time.UTC) // the last period ends
	end      = time.Date(2025, time.July, 2, 0, 0, 0, 0, time.UTC)
)

// New makes a month.
func New(cfg Config) (*Month, error) {
	if cfg.Sessions == 0 {
		cfg.Sessions = 300
	}
	w, err := newWorld(cfg.Seed)
	if err != nil {
		return nil, err
	}
	w.register()
	w.ordinary(cfg.Sessions)
	for _, p := range cfg.Plant {
		p.plant(w)
	}
	if w.err != nil {
		return nil, w.err
	}
	w.emitSessions()
	for _, c := range w.planned {
		c.decide()
		c.carryOut()
	}
	w.beat()
	leaves, err := w.render()
	if err != nil {
		return nil, err
	}
	for _, p := range cfg.Plant {
		if !p.edge && !slices.ContainsFunc(w.expected, func(e Expected) bool { return e.Rule == p.Rule }) {
			return nil, fmt.Errorf("month: %q plants nothing for %s", p.Name, p.Rule)
		}
	}
	slices.SortFunc(w.expected, func(a, b Expected) int { return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Ref, b.Ref)) })
	m := &Month{Origin: w.origin, Leaves: leaves, Expected: w.expected, End: end, Sessions: len(w.sessions)}
	for _, s := range w.sources {
		x := Source{Registration: s.registration()}
		for _, key := range append([]crypto.Signer{s.key}, s.newKeys...) {
			public, err := event.NewPublicKey(key.Public())
			if err != nil {
				return nil, err
			}
			x.Keys = append(x.Keys, KeyHolder{key, s.keyRegistration(public)})
		}
		m.Sources = append(m.Sources, x)
	}
	return m, nil
}

// JSONL returns the month's events for submission to another log: the signed
// DSSE envelopes, one a line, in the order of the month. Authority events are not
// among them, since they belong to one log only: the other registers Sources
// itself. It therefore knows of no key that was revoked.
func (m *Month) JSONL() ([]byte, error) {
	var b bytes.Buffer
	for i, leaf := range m.Leaves {
		e, err := entry.Parse(leaf)
		if err != nil {
			return nil, fmt.Errorf("month: leaf %d: %w", i, err)
		}
		ev, err := event.Parse(e.Payload)
		if err != nil {
			return nil, fmt.Errorf("month: leaf %d: %w", i, err)
		}
		if !event.IsAuthority(ev.Type) {
			b.Write(bytes.TrimRight(e.Envelope().Marshal(), "\n"))
			b.WriteByte('\n')
		}
	}
	return b.Bytes(), nil
}

// newRand returns the month's chance, which is none.
func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x6573636f72746c6f)) }
