package event

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/entry"
	"golang.org/x/mod/sumdb/tlog"
)

const anyType = "session.paused.v1"

func TestGenesis(t *testing.T) {
	pred := &Predecessor{Origin: "old.example", Size: 7, Root: tlog.Hash{1}, Checkpoint: "old.example\n7\nAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— old.example AAAA\n"}
	w := newWorld(t, 0, func(g *Genesis) { g.Trial, g.AllowOpaque, g.Predecessor = true, true, pred }, "a", "b", "c")
	if w.d.Origin() != origin || !w.d.Trial() || !w.d.AllowOpaque() || w.d.AllowUnsigned() || w.d.Threshold() != 2 || len(w.d.Admins()) != 3 || w.d.Covered() != 1 {
		t.Errorf("directory = %+v", w.d.dump())
	}
	if p := w.d.Predecessor(); p == nil || *p != *pred {
		t.Errorf("predecessor = %+v", p)
	}
	leaf, err := w.leaves[0].Marshal()
	if err != nil || w.d.Prev() != entry.LeafHash(leaf) {
		t.Errorf("Prev is not the leaf hash of leaf 0 (%v)", err)
	}
	if k, ok := w.d.Key(w.key("a").KeyID()); !ok || !k.Administrator || !k.Active || k.Proven || k.Name != "Administrator a" {
		t.Errorf("key of an administrator = %+v, %v", k, ok)
	}
	for n, want := range map[int]int{1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 13: 7} {
		if Majority(n) != want {
			t.Errorf("Majority(%d) = %d, want %d", n, Majority(n), want)
		}
	}
}

// TestGenesisBuilder: what no log can begin with is not built.
func TestGenesisBuilder(t *testing.T) {
	w := newWorld(t, 1, nil, "a")
	list := func(n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprint("admin", i))
		}
		return names
	}
	for name, g := range map[string]Genesis{
		"no origin":               {Administrators: w.administrators("a")},
		"origin with a space":     {Origin: "a b", Administrators: w.administrators("a")},
		"origin with a plus":      {Origin: "a+b", Administrators: w.administrators("a")},
		"origin with a fragment":  {Origin: "a#b", Administrators: w.administrators("a")},
		"origin with an umlaut":   {Origin: "ä", Administrators: w.administrators("a")},
		"origin of 256 bytes":     {Origin: strings.Repeat("x", 256), Administrators: w.administrators("a")},
		"no administrators":       {Origin: origin},
		"14 administrators":       {Origin: origin, Administrators: w.administrators(list(14)...)},
		"threshold too high":      {Origin: origin, Administrators: w.administrators("a", "b"), Threshold: 3},
		"threshold of eight":      {Origin: origin, Administrators: w.administrators(list(9)...), Threshold: 8},
		"negative threshold":      {Origin: origin, Administrators: w.administrators("a"), Threshold: -1},
		"one key twice":           {Origin: origin, Administrators: w.administrators("a", "a")},
		"predecessor, other size": {Origin: origin, Administrators: w.administrators("a"), Predecessor: &Predecessor{Origin: "o", Size: 8, Checkpoint: "o\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"}},
		"predecessor, other root": {Origin: origin, Administrators: w.administrators("a"), Predecessor: &Predecessor{Origin: "o", Size: 7, Root: tlog.Hash{1}, Checkpoint: "o\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"}},
		"predecessor without one": {Origin: origin, Administrators: w.administrators("a"), Predecessor: &Predecessor{Origin: "o", Size: 7}},
	} {
		if _, err := NewLogCreated(w.nextID(), day, g); err == nil {
			t.Errorf("%s: NewLogCreated accepts it", name)
		}
	}
	if _, err := NewLogCreated(w.nextID(), day, Genesis{Origin: strings.Repeat("x", 255), Administrators: w.administrators(list(13)...)}); err != nil {
		t.Errorf("13 administrators and an origin of 255 bytes: %v", err)
	}
}

// Leaf 0 bears no signature and is valid only at index 0.
func TestLeafZero(t *testing.T) {
	w := newWorld(t, 1, nil, "a")
	again := w.sign(w.genesis(Genesis{Origin: origin, Administrators: w.administrators("a")}))
	w.refuse("log.created at index 1", again, Forbidden, SlugReservedType)
	w.refuse("log.created at index 1, signed", w.sign(again.Payload, "a"), Forbidden, SlugReservedType)

	empty := &world{TB: t, d: NewDirectory(), signers: w.signers, keys: w.keys, id: w.id}
	empty.refuse("ordinary event", empty.sign(empty.event(anyType, gateway)), Forbidden, SlugReservedType)
	empty.refuse("authority event", empty.sign(empty.register("k", gateway)), Forbidden, SlugReservedType)
	empty.refuse("any signature", empty.sign(again.Payload, "a"), BadSignature, SlugUnknownKey)
	if err := empty.d.Authorize(empty.sign(again.Payload, "a"), mustParse(t, again.Payload)); err == nil {
		t.Error("Authorize accepts log.created with a signature")
	}
	// Another source, or contents the schema cannot judge.
	for name, edit := range map[string]func(string) string{
		"source of another log": func(s string) string {
			return strings.Replace(s, `"source":"`+LogSource(origin), `"source":"`+LogSource("other.example"), 1)
		},
		"threshold never met": func(s string) string { return strings.Replace(s, `"threshold":1`, `"threshold":2`, 1) },
		"keyid of another key": func(s string) string {
			return strings.Replace(s, `"keyid":"spki-sha256:`, `"keyid":"spki-sha256:00`, 1)
		},
		"unsigned and unsettled":  func(s string) string { return strings.Replace(s, `"allow_unsigned":false,`, ``, 1) },
		"threshold 1.0":           func(s string) string { return strings.Replace(s, `"threshold":1`, `"threshold":1.0`, 1) },
		"origin with a plus":      func(s string) string { return strings.ReplaceAll(s, origin, "log.example+escort") },
		"administrator of no key": func(s string) string { return strings.Replace(s, `"spki":"`, `"spki":"AAAA`, 1) },
	} {
		e := &entry.Entry{PayloadType: entry.PayloadType, Payload: []byte(edit(string(again.Payload)))}
		d := NewDirectory()
		if _, err := d.CheckLeaf(0, e, nil); err == nil || d.Covered() != 0 || string(e.Payload) == string(again.Payload) {
			t.Errorf("%s: leaf 0 is accepted, or applied", name)
		}
	}
	ev := mustParse(t, again.Payload)
	if err := NewDirectory().Apply(1, tlog.Hash{}, again, ev); err == nil {
		t.Error("log.created is applied at index 1")
	}
	if err := w.d.Apply(5, tlog.Hash{}, again, mustParse(t, w.event(anyType, gateway))); err == nil {
		t.Error("an ordinary event is applied")
	}
}

func mustParse(t testing.TB, payload []byte) *Event {
	t.Helper()
	ev, err := Parse(payload)
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

// Authority events carry data.log and data.prev, so none can be replayed, held
// back unseen, or moved to another log.
func TestAuthorityChain(t *testing.T) {
	w := newWorld(t, 1, nil, "a")
	first := w.sign(w.register("k", gateway), "a")
	heldBack := w.sign(w.register("l", gateway), "a")
	w.take("first", first)
	w.refuse("replayed", first, Conflict, SlugStaleAuthority)
	w.refuse("held back", heldBack, Conflict, SlugStaleAuthority)
	// 409 comes before 403: who has not seen the newest cannot judge the rest.
	w.refuse("held back, and not enough signers", w.sign(heldBack.Payload, "k"), Conflict, SlugStaleAuthority)

	h := w.header()
	h.Origin = "other.example"
	moved := w.must(NewKeyRevoked(h, Revocation{KeyID: w.key("k").KeyID(), Reason: Lost}))
	w.refuse("for another log", w.sign(moved, "a"), Forbidden, SlugWrongLog)
	claimed := strings.Replace(string(moved), `"source":"`+LogSource("other.example"), `"source":"`+LogSource(origin), 1)
	w.refuse("for another log under this one's source", w.sign([]byte(claimed), "a"), Forbidden, SlugWrongLog)
	right := w.revoke("k", Lost, time.Time{})
	foreign := strings.Replace(string(right), `"source":"`+LogSource(origin), `"source":"`+gateway, 1)
	w.refuse("under a source of its own", w.sign([]byte(foreign), "a"), Forbidden, SlugWrongSource)
	noPrev := strings.Replace(string(right), `"prev":"`, `"prev":"00`, 1)
	w.refuse("prev is no hash", w.sign([]byte(noPrev), "a"), Invalid, SlugSchema)

	w.take("second", w.sign(right, "a"))
	if w.d.Covered() != 3 {
		t.Errorf("Covered = %d", w.d.Covered())
	}
	if _, err := w.d.CheckLeaf(2, w.sign(w.revoke("k", Lost, time.Time{}), "a"), nil); err == nil {
		t.Error("an authority event before the newest is checked against a later directory")
	}
	if _, err := w.d.CheckLeaf(2, w.sign(w.event(anyType, console), "l"), nil); err == nil || !strings.Contains(err.Error(), "before") {
		t.Errorf("a leaf before the newest authority event is checked against a later directory: %v", err)
	}
}

// Threshold to register and to change administrators; each new key signs too.
func TestThreshold(t *testing.T) {
	w := newWorld(t, 0, nil, "a", "b", "c")
	register := w.register("k", gateway)
	w.refuse("nobody signs", w.sign(register), BadSignature, SlugUnsigned)
	w.refuse("one of two signs", w.sign(register, "a"), Forbidden, SlugThreshold)
	w.refuse("only the key itself signs", w.sign(register, "k"), Forbidden, SlugNotAdmin)
	w.refuse("one and the key itself", w.sign(register, "a", "k"), Forbidden, SlugThreshold)
	w.refuse("a stranger too", w.sign(register, "a", "b", "stranger"), BadSignature, SlugUnknownKey)
	double := w.sign(register, "a", "a")
	if err := w.d.Authorize(double, mustParse(t, register)); err == nil {
		t.Error("one administrator who signs twice counts as two")
	}
	w.take("two sign", w.sign(register, "b", "c"))
	w.refuse("an ordinary key signs too", w.sign(w.register("l", gateway), "a", "b", "k"), Forbidden, SlugNotAdmin)

	source := w.must(NewSourceRegistered(w.header(), SourceRegistration{Source: gateway}))
	w.refuse("source, one signs", w.sign(source, "a"), Forbidden, SlugThreshold)
	w.refuse("source, an ordinary key signs too", w.sign(source, "a", "b", "k"), Forbidden, SlugNotAdmin)
	w.take("source", w.sign(source, "a", "b"))
	retire := w.must(NewSourceRetired(w.header(), SourceRetirement{Source: gateway, Reason: "moved", LastSequence: 4}))
	w.refuse("retire, one signs", w.sign(retire, "a"), Forbidden, SlugThreshold)
	w.refuse("retire, an ordinary key signs too", w.sign(retire, "a", "b", "k"), Forbidden, SlugNotAdmin)
	w.take("retire", w.sign(retire, "a", "b"))

	change := w.must(NewAdminsChanged(w.header(), w.administrators("a", "b", "d"), 0))
	w.refuse("administrators, one signs", w.sign(change, "a", "d"), Forbidden, SlugThreshold)
	w.refuse("administrators, the new one does not sign", w.sign(change, "a", "b"), Forbidden, SlugPossession)
	w.refuse("administrators, another new key signs", w.sign(change, "a", "b", "e"), BadSignature, SlugUnknownKey)
	w.refuse("administrators, an ordinary key signs too", w.sign(change, "a", "b", "d", "k"), Forbidden, SlugNotAdmin)
	for name, payload := range map[string][]byte{"key": w.register("l", gateway), "administrators": change} {
		// 403 comes before 422: what too few sign is not held against the schema.
		bad := []byte(strings.Replace(string(payload), `"data":{`, `"data":{"unheard_of":1,`, 1))
		w.refuse(name+", bad data, one signs", w.sign(bad, "a"), Forbidden, SlugThreshold)
		w.refuse(name+", bad data", w.sign(bad, "a", "b"), Invalid, SlugSchema)
	}
	w.take("administrators", w.sign(change, "a", "c", "d"))
	for name, proven := range map[string]bool{"a": true, "b": false, "c": false, "d": true} {
		if k, _ := w.d.Key(w.key(name).KeyID()); k.Proven != proven || k.Active != (name != "c") {
			t.Errorf("administrator %s = %+v", name, k)
		}
	}

	// c is no administrator any more, though its old signatures are known.
	w.refuse("a former administrator signs", w.sign(w.register("l", console), "a", "c"), Forbidden, SlugThreshold)
	w.refuse("a former administrator signs too", w.sign(w.register("l", console), "a", "b", "c"), Forbidden, SlugNotAdmin)
	back := w.must(NewAdminsChanged(w.header(), w.administrators("a", "b", "c"), 3))
	w.refuse("a former administrator returns unasked", w.sign(back, "a", "b"), Forbidden, SlugPossession)
	w.take("a former administrator returns", w.sign(back, "a", "b", "c"))
	if w.d.Threshold() != 3 {
		t.Errorf("Threshold = %d", w.d.Threshold())
	}
	impossible := strings.Replace(string(w.must(NewAdminsChanged(w.header(), w.administrators("a", "b"), 2))), `"threshold":2`, `"threshold":3`, 1)
	w.refuse("a threshold nobody can meet", w.sign([]byte(impossible), "a", "b", "c"), Invalid, SlugSchema)
	twice := w.must(NewAdminsChanged(w.header(), w.administrators("a", "a"), 2))
	fraction := strings.Replace(string(w.must(NewAdminsChanged(w.header(), w.administrators("a", "b"), 2))), `"threshold":2`, `"threshold":2.0`, 1)
	w.refuse("a threshold of 2.0", w.sign([]byte(fraction), "a", "b", "c"), Invalid, SlugSchema)
	w.refuse("one key as two administrators", w.sign(twice, "a", "b", "c"), Invalid, SlugSchema)
}

// One administrator may revoke; revocation acts from the next leaf; a revoked
// keyid never returns.
func TestRevocation(t *testing.T) {
	w := newWorld(t, 0, nil, "a", "b", "c")
	w.take("register", w.sign(w.register("k", gateway), "a", "b"))
	before := w.sign(w.event(anyType, gateway), "k")
	w.take("an event", before)

	w.refuse("revocation by nobody", w.sign(w.revoke("k", Lost, time.Time{})), BadSignature, SlugUnsigned)
	w.refuse("revocation by the key", w.sign(w.revoke("k", Lost, time.Time{}), "k"), Forbidden, SlugNotAdmin)
	w.refuse("revocation by administrator and key", w.sign(w.revoke("k", Lost, time.Time{}), "a", "k"), Forbidden, SlugNotAdmin)
	w.refuse("revocation of an unknown key", w.sign(w.revoke("nobody", Lost, time.Time{}), "a"), Forbidden, SlugNotRegistered)
	w.take("revocation by one", w.sign(w.revoke("k", Superseded, time.Time{}), "b"))

	w.refuse("an event after it", w.sign(w.event(anyType, gateway), "k"), Forbidden, SlugKeyRevoked)
	w.refuse("an authority event after it", w.sign(w.register("l", gateway), "a", "b", "k"), Forbidden, SlugKeyRevoked)
	w.refuse("the key returns", w.sign(w.register("k", gateway), "a", "b"), Forbidden, SlugKeyRevoked)
	w.refuse("the key returns as administrator", w.sign(w.must(NewAdminsChanged(w.header(), w.administrators("a", "b", "k"), 0)), "a", "b"), Forbidden, SlugKeyRevoked)
	w.refuse("a second revocation", w.sign(w.revoke("k", Lost, time.Time{}), "a"), Forbidden, SlugKeyRevoked)

	// A retry of what was logged before: its signatures still verify, and that
	// is all the door asks before it answers with the first index.
	if err := w.d.VerifySignatures(before); err != nil {
		t.Errorf("signatures of a retry after the revocation: %v", err)
	}
	wantError(t, "a retry that is not one", w.d.Authorize(before, mustParse(t, before.Payload)), Forbidden, SlugKeyRevoked, "")

	k, _ := w.d.Key(w.key("k").KeyID())
	if k.Revoked == nil || k.Revoked.Index != 3 || k.Revoked.Reason != Superseded || k.Compromised != nil || k.May(gateway, Prefix+anyType) {
		t.Errorf("revoked key = %+v", k)
	}
}

// Reason compromised with since makes earlier use a finding.
func TestCompromised(t *testing.T) {
	w := newWorld(t, 1, nil, "a")
	w.take("register", w.sign(w.register("k", gateway), "a"))
	w.take("register", w.sign(w.register("l", gateway), "a"))
	w.take("revoke", w.sign(w.revoke("k", Superseded, time.Time{}), "a"))
	if len(w.d.Compromised()) != 0 {
		t.Error("a superseded key counts as compromised")
	}
	ahead := string(w.revoke("l", Compromised, day))
	ahead = strings.Replace(ahead, `"since":"2026-06-01`, `"since":"2026-07-01`, 1)
	w.refuse("since after the event", w.sign([]byte(ahead), "a"), Invalid, SlugSchema)
	w.take("revoke as compromised", w.sign(w.revoke("l", Compromised, day), "a"))
	w.take("superseded, then found compromised", w.sign(w.revoke("k", Compromised, day), "a"))
	w.refuse("since later", w.sign(w.revoke("k", Compromised, day.Add(time.Second)), "a"), Forbidden, SlugKeyRevoked)
	w.refuse("since the same", w.sign(w.revoke("k", Compromised, day), "a"), Forbidden, SlugKeyRevoked)
	w.take("since earlier", w.sign(w.revoke("k", Compromised, day.AddDate(0, 0, -1)), "a"))
	got := w.d.Compromised()
	if len(got) != 2 || !got[w.key("k").KeyID()].Equal(day.AddDate(0, 0, -1)) || !got[w.key("l").KeyID()].Equal(day) {
		t.Errorf("Compromised = %v", got)
	}
	if k, _ := w.d.Key(w.key("k").KeyID()); k.Revoked.Index != 3 || k.Revoked.Reason != Superseded {
		t.Errorf("a later revocation moved the first: %+v", k.Revoked)
	}
}

// An administrator's key is revoked by itself or by the threshold, and never so
// that fewer are left than must sign.
func TestRevokingAdministrators(t *testing.T) {
	w := newWorld(t, 2, nil, "a", "b", "c", "d")
	w.refuse("one administrator revokes another", w.sign(w.revoke("a", Lost, time.Time{}), "b"), Forbidden, SlugThreshold)
	w.take("itself", w.sign(w.revoke("a", Compromised, day), "a"))
	w.refuse("the revoked one signs on", w.sign(w.register("k", gateway), "a", "b"), Forbidden, SlugKeyRevoked)
	w.refuse("the revoked one returns", w.sign(w.must(NewAdminsChanged(w.header(), w.administrators("a", "b"), 0)), "b", "c"), Forbidden, SlugKeyRevoked)
	w.take("the threshold", w.sign(w.revoke("b", Lost, time.Time{}), "c", "d"))
	if len(w.d.Admins()) != 2 || len(w.d.Compromised()) != 1 {
		t.Errorf("Admins = %v, Compromised = %v", w.d.Admins(), w.d.Compromised())
	}
	w.refuse("below the threshold", w.sign(w.revoke("c", Lost, time.Time{}), "c", "d"), Forbidden, SlugThreshold)
	w.take("the two left go on", w.sign(w.register("k", gateway), "c", "d"))

	one := newWorld(t, 1, nil, "a")
	one.refuse("the last one", one.sign(one.revoke("a", Lost, time.Time{}), "a"), Forbidden, SlugThreshold)
}
