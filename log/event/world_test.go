package event

import (
	"crypto"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/entry"
)

const (
	origin  = "log.example/escort"
	gateway = "urn:example:gateway"
	console = "urn:example:console"
)

var day = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// world is a log as the directory sees it: leaves, each checked with CheckLeaf
// as an auditor does.
type world struct {
	testing.TB
	d       *Directory
	signers map[string]crypto.Signer
	keys    map[string]*PublicKey
	leaves  []*entry.Entry
	id      int64
}

// newWorld begins a log with these administrators.
func newWorld(t testing.TB, threshold int, change func(*Genesis), admins ...string) *world {
	t.Helper()
	w := &world{TB: t, d: NewDirectory(), signers: map[string]crypto.Signer{}, keys: map[string]*PublicKey{}}
	g := Genesis{Origin: origin, Administrators: w.administrators(admins...), Threshold: threshold}
	if change != nil {
		change(&g)
	}
	w.take("log.created", w.sign(w.genesis(g)))
	return w
}

func (w *world) genesis(g Genesis) []byte {
	w.Helper()
	payload, err := NewLogCreated(w.nextID(), day, g)
	if err != nil {
		w.Fatal(err)
	}
	return payload
}

func (w *world) nextID() string {
	w.id++
	return NewUUIDv7(day.UnixMilli(), [10]byte{0, 0, 0, 0, 0, 0, 0, 0, byte(w.id >> 8), byte(w.id)})
}

// key returns the key of that name, made on first use. Types take turns.
func (w *world) key(name string) *PublicKey {
	if w.keys[name] == nil {
		w.signers[name], w.keys[name] = newKey(w, keyTypes[len(w.keys)%2])
	}
	return w.keys[name]
}

func (w *world) administrators(names ...string) (list []Administrator) {
	for _, name := range names {
		list = append(list, Administrator{Name: "Administrator " + name, Key: w.key(name)})
	}
	return list
}

func (w *world) header() Header {
	return Header{ID: w.nextID(), Time: day.Add(time.Duration(w.id) * time.Minute), Origin: origin, Prev: w.d.Prev()}
}

// sign makes an entry with signatures of the named keys.
func (w *world) sign(payload []byte, names ...string) *entry.Entry {
	w.Helper()
	e := &entry.Entry{Time: day.UnixMilli() + w.id, PayloadType: entry.PayloadType, Payload: payload}
	for _, name := range names {
		w.key(name)
		sig, err := Sign(w.signers[name], entry.PayloadType, payload)
		if err != nil {
			w.Fatal(err)
		}
		e.Signatures = append(e.Signatures, sig)
	}
	return e
}

// must unwraps what a builder returns.
func (w *world) must(payload []byte, err error) []byte {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
	return payload
}

// take adds a leaf that must be accepted.
func (w *world) take(name string, e *entry.Entry) {
	w.Helper()
	before := w.d.Clone()
	if err := w.door(before, e); err != nil {
		w.Fatalf("%s: the door refuses it: %v", name, err)
	}
	if _, err := w.d.CheckLeaf(int64(len(w.leaves)), e, nil); err != nil {
		w.Fatalf("%s: refused: %v", name, err)
	}
	w.leaves = append(w.leaves, e)
}

// door does what the door does: everything but Apply.
func (w *world) door(d *Directory, e *entry.Entry) error {
	ev, err := Parse(e.Payload)
	if err != nil {
		return err
	}
	if err := d.VerifySignatures(e); err != nil {
		return err
	}
	if err := d.Authorize(e, ev); err != nil {
		return err
	}
	return Validate(ev, d.AllowOpaque())
}

// refuse offers a leaf that must be refused, by the door and by an auditor
// alike, with no change to the directory.
func (w *world) refuse(name string, e *entry.Entry, kind Kind, slug string) {
	w.Helper()
	before := fmt.Sprintf("%+v", w.d.dump())
	err := w.door(w.d, e)
	if refused, ok := err.(*Error); !ok || refused.Kind != kind || refused.Slug != slug || refused.Detail == "" {
		w.Errorf("%s: the door says %v, want %s (kind %d)", name, err, slug, kind)
	}
	_, err = w.d.CheckLeaf(int64(len(w.leaves)), e, nil)
	if refused, ok := err.(*Error); !ok || refused.Kind != kind || refused.Slug != slug {
		w.Errorf("%s: the auditor says %v, want %s (kind %d)", name, err, slug, kind)
	}
	if after := fmt.Sprintf("%+v", w.d.dump()); after != before {
		w.Errorf("%s: refused, but the directory changed:\n%s\n%s", name, before, after)
	}
}

// dump shows everything in a directory.
func (d *Directory) dump() any {
	var keys []any
	for _, k := range d.Keys() {
		flat := *k
		flat.Revoked = nil
		if k.Revoked != nil {
			keys = append(keys, *k.Revoked)
		}
		keys = append(keys, flat)
	}
	var sources []Source
	for _, s := range d.Sources() {
		sources = append(sources, *s)
	}
	return []any{d.Origin(), d.Trial(), d.AllowOpaque(), d.AllowUnsigned(), d.Admins(), d.Threshold(), d.Prev(), d.Covered(), keys, sources, d.Compromised()}
}

// sample builds an ordinary event from the golden sample of a type.
func (w *world) event(typ, source string) []byte {
	w.Helper()
	payload, ok := samples(w)[typ]
	if !ok {
		w.Fatalf("no sample of %s", typ)
	}
	ev, err := Parse(payload)
	if err != nil {
		w.Fatal(err)
	}
	subject := strings.Replace(ev.Subject, ev.Source, source, 1)
	return w.must(Build(Attributes{ID: w.nextID(), Source: source, Type: ev.Type, Subject: subject, Time: day}, ev.Data))
}

func (w *world) register(key, source string, types ...string) []byte {
	w.Helper()
	for i := range types {
		types[i] = Prefix + types[i]
	}
	return w.must(NewKeyRegistered(w.header(), KeyRegistration{Key: w.key(key), Source: source, Types: types}))
}

func (w *world) revoke(key, reason string, since time.Time) []byte {
	w.Helper()
	return w.must(NewKeyRevoked(w.header(), Revocation{KeyID: w.key(key).KeyID(), Reason: reason, Since: since}))
}
