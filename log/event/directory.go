package event

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Directory is the key directory: who may sign what, as the authority events
// of leaves [0, i) left it. It is rebuilt by applying those in order.
//
// Methods that only read may run at the same time; Apply, CheckLeaf and Decide
// must run alone. Clone is cheap enough to keep a copy for readers and apply to
// another.
type Directory struct {
	genesis   Genesis
	admins    []Administrator // the unrevoked administrators now
	threshold int
	keys      map[string]*Key    // by keyid, every key there ever was; a *Key is replaced, never changed
	sources   map[string]*Source // by URI, likewise
	prev      tlog.Hash
	covered   int64
}

// Key is what the directory knows of one keyid. It must not be changed.
type Key struct {
	Public     *PublicKey
	Registered int64 // index of the leaf that first brought the key

	// Administrator: the key is or was an administrator's; then it signs
	// authority events only and has no grants. Active: it still is one.
	Administrator, Active bool

	Name        string // an administrator's name, or a key's description
	PersonRef   string // whose personal key it is; empty: a service's
	Proven      bool   // the key signed its own registration
	Grants      []Grant
	Revoked     *KeyRevocation // nil: not revoked
	Compromised *time.Time     // from when on its signatures prove nothing; nil: they do
}

// Grant lets a key sign for a source.
type Grant struct {
	Source string
	Types  []string // full names; empty: every type that needs no name
	Index  int64    // of the leaf that granted it
}

// KeyRevocation says when and why a key was revoked.
type KeyRevocation struct {
	Index  int64 // of the leaf; the key acts no more from the next leaf on
	Reason string
	Time   time.Time // of the event
}

// Source is what the directory knows of one source. It must not be changed.
type Source struct {
	URI string

	// Keyed: a key was registered for the source at some time, so its events
	// are never accepted unsigned again.
	Keyed bool

	// Declared: source.registered was logged for it; the fields below are from
	// the newest.
	Declared         bool
	Registered       int64 // index of the newest source.registered
	Roles            []string
	ExpectedTypes    []string
	HeartbeatSeconds int64 // 0: no heartbeat is expected

	Retired   bool
	RetiredAt int64 // index of source.retired
}

// NewDirectory returns the directory of an empty log, in which only
// log.created is possible.
func NewDirectory() *Directory {
	return &Directory{keys: map[string]*Key{}, sources: map[string]*Source{}}
}

// Clone returns a directory that changes on its own.
func (d *Directory) Clone() *Directory {
	c := *d
	c.admins = slices.Clone(d.admins)
	c.keys = maps.Clone(d.keys)
	c.sources = maps.Clone(d.sources)
	return &c
}

// Origin returns the origin of the log; empty before leaf 0.
func (d *Directory) Origin() string { return d.genesis.Origin }

// Trial reports whether the operator held an administrator's key from the
// start.
func (d *Directory) Trial() bool { return d.genesis.Trial }

// AllowUnsigned reports whether events of sources without keys may be unsigned.
func (d *Directory) AllowUnsigned() bool { return d.genesis.AllowUnsigned }

// AllowOpaque reports whether events of unknown types are accepted.
func (d *Directory) AllowOpaque() bool { return d.genesis.AllowOpaque }

// Predecessor returns the log that this one succeeds, or nil.
func (d *Directory) Predecessor() *Predecessor { return d.genesis.Predecessor }

// Prev returns the leaf hash of the newest authority event, which the next one
// must name.
func (d *Directory) Prev() tlog.Hash { return d.prev }

// Covered returns the index after the newest authority event: the directory is
// that of leaves [0, i) for every i from Covered to the next authority event. 0
// means that there is no leaf 0 yet.
func (d *Directory) Covered() int64 { return d.covered }

// Admins returns the unrevoked administrators, in the order of the event that
// named them.
func (d *Directory) Admins() []Administrator { return slices.Clone(d.admins) }

// Threshold returns how many administrators must sign together.
func (d *Directory) Threshold() int { return d.threshold }

// Key returns what is known of a keyid.
func (d *Directory) Key(keyID string) (*Key, bool) {
	k, ok := d.keys[keyID]
	return k, ok
}

// Keys returns every key there ever was, administrators' and revoked ones too,
// ordered by first index and keyid.
func (d *Directory) Keys() []*Key {
	return slices.SortedFunc(maps.Values(d.keys), func(a, b *Key) int {
		return cmp.Or(cmp.Compare(a.Registered, b.Registered), cmp.Compare(a.Public.KeyID(), b.Public.KeyID()))
	})
}

// Sources returns every source that has or had a key or a registration, ordered
// by URI.
func (d *Directory) Sources() []*Source {
	return slices.SortedFunc(maps.Values(d.sources), func(a, b *Source) int { return cmp.Compare(a.URI, b.URI) })
}

// Source returns what is known of a source.
func (d *Directory) Source(uri string) (*Source, bool) {
	s, ok := d.sources[uri]
	return s, ok
}

// Compromised returns, by keyid, from when on the signatures of each
// compromised key prove nothing. An event signed by such a key whose time in
// the leaf is not before that is a finding, though it was accepted: the log did
// not know it then.
func (d *Directory) Compromised() map[string]time.Time {
	m := map[string]time.Time{}
	for id, k := range d.keys {
		if k.Compromised != nil {
			m[id] = *k.Compromised
		}
	}
	return m
}

// May reports whether the key may sign events of this type for this source by
// itself: it is unrevoked and a grant says so.
func (k *Key) May(source, typ string) bool {
	return k.Revoked == nil && slices.ContainsFunc(k.Grants, func(g Grant) bool {
		return g.Source == source && g.allows(typ)
	})
}

// allows: a key without named types gets every type but those that need a name.
func (g Grant) allows(typ string) bool {
	if len(g.Types) > 0 {
		return slices.Contains(g.Types, typ)
	}
	t, _ := Lookup(typ)
	return !t.Named && !t.Authority
}

// updateKey replaces a key by a changed copy.
func (d *Directory) updateKey(keyID string, change func(*Key)) {
	k := *d.keys[keyID]
	k.Grants = slices.Clone(k.Grants)
	change(&k)
	d.keys[keyID] = &k
}

// updateSource replaces a source by a changed copy, adding it when it is new.
func (d *Directory) updateSource(uri string, change func(*Source)) {
	s := Source{URI: uri}
	if old, ok := d.sources[uri]; ok {
		s = *old
	}
	change(&s)
	d.sources[uri] = &s
}
