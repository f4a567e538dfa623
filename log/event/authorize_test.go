package event

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/entry"
)

// Every signature is by an unrevoked key, and at least one signer is registered
// for this source and type.
func TestSources(t *testing.T) {
	w := newWorld(t, 1, func(g *Genesis) { g.AllowOpaque = true }, "a")
	w.take("gateway key", w.sign(w.register("k", gateway), "a"))
	w.take("console key", w.sign(w.register("l", console, "instruction.reviewed.v1", anyType), "a"))

	w.take("right key", w.sign(w.event(anyType, gateway), "k"))
	w.take("right key beside another", w.sign(w.event(anyType, gateway), "l", "k"))
	w.take("named type", w.sign(w.event(anyType, console), "l"))
	w.refuse("key of another source", w.sign(w.event(anyType, gateway), "l"), Forbidden, SlugWrongSource)
	w.refuse("source with a slash more", w.sign(w.event(anyType, gateway+"/"), "k"), Forbidden, SlugNotRegistered)
	w.refuse("type not named", w.sign(w.event("session.resumed.v1", console), "l"), Forbidden, SlugTypeNotAllowed)
	w.refuse("unregistered source", w.sign(w.event(anyType, "urn:example:unheard"), "k"), Forbidden, SlugNotRegistered)
	w.refuse("unknown key", w.sign(w.event(anyType, gateway), "stranger"), BadSignature, SlugUnknownKey)
	w.refuse("unknown key beside the right one", w.sign(w.event(anyType, gateway), "k", "stranger"), BadSignature, SlugUnknownKey)
	w.refuse("nobody", w.sign(w.event(anyType, gateway)), BadSignature, SlugUnsigned)
	w.refuse("administrator", w.sign(w.event(anyType, gateway), "a"), Forbidden, SlugAdminKey)
	w.refuse("administrator beside the right key", w.sign(w.event(anyType, gateway), "k", "a"), Forbidden, SlugAdminKey)
	w.refuse("the log's own source", w.sign(w.event(anyType, LogSource(origin)), "k"), Forbidden, SlugWrongSource)
	nine := w.sign(w.event(anyType, gateway), "k", "1", "2", "3", "4", "5", "6", "7", "8")
	w.refuse("nine signatures", nine, Malformed, SlugTooManySignatures)

	// Registering again for the same source replaces, for another adds.
	w.take("fewer types", w.sign(w.register("l", console, anyType), "a"))
	w.refuse("a type no longer named", w.sign(w.event("instruction.reviewed.v1", console), "l"), Forbidden, SlugTypeNotAllowed)
	w.take("a second source", w.sign(w.register("l", "urn:example:other"), "a"))
	w.take("at the second source", w.sign(w.event("session.resumed.v1", "urn:example:other"), "l"))
	w.take("at the first", w.sign(w.event(anyType, console), "l"))
	w.refuse("a grant does not reach over", w.sign(w.event("session.resumed.v1", console), "l"), Forbidden, SlugTypeNotAllowed)

	// Types that cannot be granted.
	for _, typ := range []string{"log.created.v1", "key.registered.v1", "key.lent.v1", "source.registered.v1"} {
		payload := w.register("m", gateway, typ)
		w.refuse("granting "+typ, w.sign(payload, "a"), Invalid, SlugSchema)
	}
	w.take("granting an opaque type where those are allowed", w.sign(w.register("m", gateway, "session.frozen.v1"), "a"))
	closed := newWorld(t, 1, nil, "a")
	closed.refuse("granting an unknown type", closed.sign(closed.register("m", gateway, "session.froze.v1"), "a"), Invalid, SlugSchema)
	payload := closed.must(NewSourceRegistered(closed.header(), SourceRegistration{Source: gateway, ExpectedTypes: []string{Prefix + "session.froze.v1"}}))
	closed.refuse("expecting an unknown type", closed.sign(payload, "a"), Invalid, SlugSchema)
	closed.refuse("a key for the log's own source", closed.sign(closed.register("k", LogSource(origin)), "a"), Forbidden, SlugWrongSource)
	payload = closed.must(NewSourceRegistered(closed.header(), SourceRegistration{Source: LogSource(origin)}))
	closed.refuse("a registration of the log's own source", closed.sign(payload, "a"), Forbidden, SlugWrongSource)
}

// A key without named types never gets log, key, source, person or
// authorization types, nor the others about people, systems and the index.
func TestNamedTypes(t *testing.T) {
	w := newWorld(t, 1, func(g *Genesis) { g.AllowOpaque = true }, "a")
	w.take("without types", w.sign(w.register("k", gateway), "a"))
	var names []string
	for _, typ := range Types() {
		short := strings.TrimPrefix(typ.Name, Prefix)
		switch {
		case typ.Authority:
			payload := w.event(short, gateway)
			for _, signer := range []string{"k", "a"} {
				if err := w.door(w.d, w.sign(payload, signer)); err == nil {
					t.Errorf("%s from an ordinary source, signed by %s, is accepted", short, signer)
				}
			}
		case typ.Named:
			w.refuse(short, w.sign(w.event(short, gateway), "k"), Forbidden, SlugTypeNotAllowed)
			names = append(names, short)
		default:
			w.take(short, w.sign(w.event(short, gateway), "k"))
		}
	}
	if len(names) != 11 {
		t.Errorf("%d types need a name: %v", len(names), names)
	}
	w.take("with types", w.sign(w.register("l", gateway, slices.Clone(names)...), "a"))
	for _, short := range names {
		w.take(short, w.sign(w.event(short, gateway), "l"))
	}
	w.refuse("a type that a key with names does not name", w.sign(w.event(anyType, gateway), "l"), Forbidden, SlugTypeNotAllowed)

	index := strings.Replace(string(w.event("index.published.v1", gateway)), origin, "other.example", 2)
	w.refuse("the index of another log", w.sign([]byte(index), "l"), Forbidden, SlugWrongLog)
	opaque := strings.Replace(string(w.event(anyType, gateway)), Prefix+anyType, Prefix+"key.lent.v1", 1)
	w.refuse("an unknown type of a family with authority", w.sign([]byte(opaque), "k"), Forbidden, SlugReservedType)
}

// Administrators' keys sign authority events only, so no key is both.
func TestAdministratorsAreNotSources(t *testing.T) {
	w := newWorld(t, 1, nil, "a", "b")
	w.refuse("an administrator's key for a source", w.sign(w.register("a", gateway), "a"), Forbidden, SlugAdminKey)
	w.take("a source's key", w.sign(w.register("k", gateway), "a"))
	w.refuse("a source's key as administrator", w.sign(w.must(NewAdminsChanged(w.header(), w.administrators("a", "k"), 1)), "a", "k"), Forbidden, SlugAdminKey)
	w.take("b leaves", w.sign(w.must(NewAdminsChanged(w.header(), w.administrators("a"), 1)), "a"))
	w.refuse("a former administrator's key for a source", w.sign(w.register("b", gateway), "a"), Forbidden, SlugAdminKey)
}

// Possession of a key to be registered may be shown and is then recorded.
func TestPossession(t *testing.T) {
	w := newWorld(t, 1, nil, "a")
	w.take("without", w.sign(w.register("k", gateway), "a"))
	payload := w.must(NewKeyRegistered(w.header(), KeyRegistration{Key: w.key("l"), Source: console, PersonRef: "p-escort", Description: "an escort's card"}))
	w.take("with", w.sign(payload, "a", "l"))
	forged := w.sign(w.register("m", console), "a", "m")
	forged.Signatures[1].Sig = w.sign([]byte("{}"), "m").Signatures[0].Sig
	w.refuse("forged", forged, BadSignature, SlugBadSignature)
	k, _ := w.d.Key(w.key("k").KeyID())
	l, _ := w.d.Key(w.key("l").KeyID())
	if k.Proven || !l.Proven || l.PersonRef != "p-escort" || l.Name != "an escort's card" || l.Registered != 2 || len(l.Grants) != 1 || l.Grants[0].Index != 2 {
		t.Errorf("keys = %+v, %+v", k, l)
	}
	// Registered again without showing it: shown once is shown.
	w.take("again", w.sign(w.register("l", gateway), "a"))
	if l, _ := w.d.Key(w.key("l").KeyID()); !l.Proven || len(l.Grants) != 2 {
		t.Errorf("key = %+v", l)
	}
	wrong := strings.Replace(string(w.register("n", console)), w.key("n").SPKIBase64(), w.key("m").SPKIBase64(), 1)
	w.refuse("keyid of another key", w.sign([]byte(wrong), "a"), Invalid, SlugSchema)
}

// Unsigned events are accepted where leaf 0 says so, from sources that never
// had a key, of types that need no name.
func TestUnsigned(t *testing.T) {
	w := newWorld(t, 1, func(g *Genesis) { g.AllowUnsigned = true }, "a")
	w.take("from anybody", w.sign(w.event(anyType, gateway)))
	w.refuse("person.enrolled", w.sign(w.event("person.enrolled.v1", gateway)), BadSignature, SlugUnsigned)
	w.refuse("authority", w.sign(w.register("k", gateway)), BadSignature, SlugUnsigned)
	reserved := strings.Replace(string(w.event(anyType, gateway)), Prefix+anyType, Prefix+"key.lent.v1", 1)
	w.refuse("reserved", w.sign([]byte(reserved)), BadSignature, SlugUnsigned)
	w.refuse("the log's own source", w.sign(w.event(anyType, LogSource(origin))), Forbidden, SlugWrongSource)

	w.take("a key for the source", w.sign(w.register("k", gateway), "a"))
	w.refuse("after that", w.sign(w.event(anyType, gateway)), BadSignature, SlugUnsigned)
	w.take("signed, after that", w.sign(w.event(anyType, gateway), "k"))
	w.take("from another source", w.sign(w.event(anyType, console)))
	w.take("the key is revoked", w.sign(w.revoke("k", Compromised, day), "a"))
	w.refuse("once signed, always signed", w.sign(w.event(anyType, gateway)), BadSignature, SlugUnsigned)

	w.take("a source without a key", w.sign(w.must(NewSourceRegistered(w.header(), SourceRegistration{Source: console, Roles: []string{RoleConsole}})), "a"))
	w.take("unsigned within its role", w.sign(w.event("instruction.reviewed.v1", console)))
	w.refuse("unsigned outside its role", w.sign(w.event("command.executed.v1", console)), Forbidden, SlugTypeNotAllowed)

	strict := newWorld(t, 1, nil, "a")
	strict.refuse("where leaf 0 does not say so", strict.sign(strict.event(anyType, gateway)), BadSignature, SlugUnsigned)
}

// A source registered with roles sends what these roles can know; a retired one
// sends nothing.
func TestSourceRegistration(t *testing.T) {
	w := newWorld(t, 1, func(g *Genesis) { g.AllowOpaque = true }, "a")
	w.take("key", w.sign(w.register("k", console), "a"))
	w.take("without a registration: anything", w.sign(w.event("command.executed.v1", console), "k"))
	reg := SourceRegistration{Source: console, Roles: []string{RoleConsole, RoleEscort}, ExpectedTypes: []string{Prefix + "session.attested.v1"}, HeartbeatSeconds: 60, Description: "console 1"}
	w.take("register", w.sign(w.must(NewSourceRegistered(w.header(), reg)), "a"))
	s, ok := w.d.Source(console)
	if !ok || !s.Declared || !s.Keyed || s.Registered != 3 || s.HeartbeatSeconds != 60 || !slices.Equal(s.Roles, reg.Roles) || !slices.Equal(s.ExpectedTypes, reg.ExpectedTypes) {
		t.Errorf("source = %+v", s)
	}
	w.refuse("a gateway's type from a console", w.sign(w.event("command.executed.v1", console), "k"), Forbidden, SlugTypeNotAllowed)
	w.take("a console's type", w.sign(w.event("instruction.reviewed.v1", console), "k"))
	w.take("an escort's type", w.sign(w.event("session.attested.v1", console), "k"))
	w.take("every source's type", w.sign(w.event("source.heartbeat.v1", console), "k"))
	opaque := strings.Replace(string(w.event(anyType, console)), Prefix+anyType, "com.example.unheard_of", 1)
	w.take("an opaque type has no role", w.sign([]byte(opaque), "k"))

	retire := func() []byte {
		return w.must(NewSourceRetired(w.header(), SourceRetirement{Source: console, Reason: "replaced"}))
	}
	w.take("retire", w.sign(retire(), "a"))
	w.refuse("after that", w.sign(w.event("instruction.reviewed.v1", console), "k"), Forbidden, SlugSourceRetired)
	w.refuse("retire again", w.sign(retire(), "a"), Forbidden, SlugSourceRetired)
	unheard := w.must(NewSourceRetired(w.header(), SourceRetirement{Source: "urn:example:unheard", Reason: "x"}))
	w.refuse("retire an unknown source", w.sign(unheard, "a"), Forbidden, SlugNotRegistered)
	fraction := strings.Replace(string(w.must(NewSourceRegistered(w.header(), reg))), `"heartbeat_s":60`, `"heartbeat_s":60.0`, 1)
	w.refuse("a heartbeat of 60.0", w.sign([]byte(fraction), "a"), Invalid, SlugSchema)
	reg.Roles, reg.HeartbeatSeconds = nil, 0
	w.take("register anew", w.sign(w.must(NewSourceRegistered(w.header(), reg)), "a"))
	w.take("alive again, in any role", w.sign(w.event("command.executed.v1", console), "k"))
	if s, _ := w.d.Source(console); s.Retired || s.HeartbeatSeconds != 0 {
		t.Errorf("source = %+v", s)
	}
	if len(w.d.Sources()) != 1 {
		t.Errorf("Sources = %v", w.d.Sources())
	}
}

// An unknown keyid is refused before any signature is verified; every signature
// is verified.
func TestVerifySignatures(t *testing.T) {
	w := newWorld(t, 1, nil, "a")
	w.take("key", w.sign(w.register("k", gateway), "a"))
	w.take("key", w.sign(w.register("l", gateway), "a"))
	payload := w.event(anyType, gateway)
	bad := w.sign(payload, "k", "l", "stranger")
	bad.Signatures[0].Sig[5] ^= 1
	wantError(t, "wrong signature before an unknown key", w.d.VerifySignatures(bad), BadSignature, SlugUnknownKey, "")
	for i := range 2 {
		e := w.sign(payload, "k", "l")
		e.Signatures[i].Sig[len(e.Signatures[i].Sig)-1] ^= 1
		w.refuse(fmt.Sprintf("signature %d wrong", i), e, BadSignature, SlugBadSignature)
	}
	swapped := w.sign(payload, "k", "l")
	swapped.Signatures[0].Sig, swapped.Signatures[1].Sig = swapped.Signatures[1].Sig, swapped.Signatures[0].Sig
	w.refuse("signatures swapped", swapped, BadSignature, SlugBadSignature)
	other := w.sign(payload, "k")
	other.Payload = append(slices.Clone(payload), '\n')
	w.refuse("payload changed", other, BadSignature, SlugBadSignature)
	// A new administrator's key is known to the event that brings it, and to no
	// other.
	change := w.must(NewAdminsChanged(w.header(), w.administrators("a", "b"), 1))
	forged := w.sign(change, "a", "b")
	forged.Signatures[1].Sig = w.sign(payload, "b").Signatures[0].Sig
	w.refuse("new administrator's signature wrong", forged, BadSignature, SlugBadSignature)
	w.refuse("new administrator signs something else", w.sign(w.revoke("k", Lost, time.Time{}), "a", "b"), BadSignature, SlugUnknownKey)
}

// TestAuthorizeAlone: Authorize does not lean on VerifySignatures or Validate
// having run.
func TestAuthorizeAlone(t *testing.T) {
	w := newWorld(t, 1, func(g *Genesis) { g.AllowOpaque = true }, "a")
	w.take("key", w.sign(w.register("k", gateway), "a"))
	authorize := func(e *entry.Entry) error { return w.d.Authorize(e, mustParse(t, e.Payload)) }
	payload := w.event(anyType, gateway)
	wantError(t, "nine signatures", authorize(w.sign(payload, "k", "1", "2", "3", "4", "5", "6", "7", "8")), Malformed, SlugTooManySignatures, "")
	wantError(t, "unknown key", authorize(w.sign(payload, "k", "1")), BadSignature, SlugUnknownKey, "")
	wantError(t, "unknown key beside an administrator's", authorize(w.sign(w.register("l", gateway), "a", "1")), BadSignature, SlugUnknownKey, "")
	reserved := strings.Replace(string(payload), Prefix+anyType, Prefix+"key.lent.v1", 1)
	wantError(t, "reserved type", authorize(w.sign([]byte(reserved), "k")), Forbidden, SlugReservedType, "")
	wantError(t, "unknown key on what is no event", w.d.VerifySignatures(w.sign([]byte("{}"), "1")), BadSignature, SlugUnknownKey, "")
	e := w.sign(payload, "k")
	_, err := NewDirectory().CheckLeaf(0, e, nil)
	wantError(t, "an ordinary event as leaf 0", err, Forbidden, SlugReservedType, "")
}
