package event

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/entry"
)

// TestCloneIsApart: a reader's copy stays as it was.
func TestCloneIsApart(t *testing.T) {
	w := newWorld(t, 1, nil, "a")
	w.take("key", w.sign(w.register("k", gateway), "a"))
	clone := w.d.Clone()
	before := fmt.Sprintf("%+v", clone.dump())
	w.take("more", w.sign(w.register("k", console), "a"))
	w.take("source", w.sign(w.must(NewSourceRegistered(w.header(), SourceRegistration{Source: gateway, Roles: []string{RoleGateway}})), "a"))
	w.take("administrators", w.sign(w.must(NewAdminsChanged(w.header(), w.administrators("a", "b"), 1)), "a", "b"))
	w.take("revoke", w.sign(w.revoke("k", Compromised, day), "a"))
	w.take("revoke", w.sign(w.revoke("b", Lost, time.Time{}), "b"))
	if after := fmt.Sprintf("%+v", clone.dump()); after != before {
		t.Errorf("the clone changed:\n%s\n%s", before, after)
	}
}

// TestReplay: the directory is rebuilt from the authority leaves alone, and an
// auditor who verifies signatures elsewhere ends with the same one.
func TestReplay(t *testing.T) {
	w := newWorld(t, 2, func(g *Genesis) { g.AllowUnsigned = true }, "a", "b", "c")
	w.take("key", w.sign(w.register("k", gateway), "a", "b"))
	for range 5 {
		w.take("event", w.sign(w.event(anyType, gateway), "k"))
		w.take("unsigned event", w.sign(w.event(anyType, console)))
	}
	w.take("administrators", w.sign(w.must(NewAdminsChanged(w.header(), w.administrators("a", "d"), 1)), "a", "b", "d"))
	w.take("revoke", w.sign(w.revoke("k", Compromised, day), "d"))
	want := fmt.Sprintf("%+v", w.d.dump())

	applied, decided, deferred := NewDirectory(), NewDirectory(), NewDirectory()
	var jobs []SigJob
	for i, e := range w.leaves {
		ev := mustParse(t, e.Payload)
		leaf, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if IsAuthority(ev.Type) {
			if err := applied.Apply(int64(i), entry.LeafHash(leaf), e, ev); err != nil {
				t.Fatal(err)
			}
		}
		more, err := decided.Decide(int64(i), e, ev)
		if err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, more...)
		if _, err := deferred.CheckLeaf(int64(i), e, func(j SigJob) error {
			if j.Index != int64(i) {
				t.Errorf("job of leaf %d at leaf %d", j.Index, i)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for name, d := range map[string]*Directory{"Apply": applied, "Decide": decided, "CheckLeaf": deferred} {
		if got := fmt.Sprintf("%+v", d.dump()); got != want {
			t.Errorf("%s ends with another directory:\n%s\n%s", name, got, want)
		}
	}
	if len(jobs) != 5 {
		t.Errorf("%d signatures to verify", len(jobs))
	}
	for _, j := range jobs {
		if err := j.Verify(); err != nil {
			t.Error(err)
		}
		j.Signature.Sig = slices.Clone(j.Signature.Sig)
		j.Signature.Sig[0] ^= 1
		wantError(t, "a job with a wrong signature", j.Verify(), BadSignature, SlugBadSignature, "")
	}

	// Whatever is changed in whichever leaf is found, at that leaf or, for an
	// authority event, by the next that builds on it.
	for i := range w.leaves {
		d, found := NewDirectory(), false
		for j, e := range w.leaves {
			if i == j {
				changed := *e
				changed.Payload = []byte(strings.Replace(string(e.Payload), `"time":"2026`, `"time":"2025`, 1))
				e = &changed
			}
			if _, err := d.CheckLeaf(int64(j), e, nil); err != nil {
				found = true
				break
			}
		}
		if signed := len(w.leaves[i].Signatures) > 0 || i == 0; signed && !found {
			t.Errorf("a change to leaf %d goes unnoticed", i)
		}
	}
}

// TestSignaturesOfAuthorityAreNeverDeferred: a SigChecker that verifies nothing
// cannot bring a forged authority event into the directory.
func TestSignaturesOfAuthorityAreNeverDeferred(t *testing.T) {
	w := newWorld(t, 1, nil, "a")
	forged := w.sign(w.register("k", gateway), "a")
	forged.Signatures[0].Sig = w.sign([]byte("{}"), "a").Signatures[0].Sig
	_, err := w.d.CheckLeaf(1, forged, func(SigJob) error { return nil })
	wantError(t, "forged", err, BadSignature, SlugBadSignature, "")
	if _, ok := w.d.Key(w.key("k").KeyID()); ok {
		t.Error("a forged registration was applied")
	}
}

// TestCheckLeafWholeEvent: an auditor repeats form and schema, too.
func TestCheckLeafWholeEvent(t *testing.T) {
	w := newWorld(t, 1, nil, "a")
	w.take("key", w.sign(w.register("k", gateway), "a"))
	w.refuse("not an event", w.sign([]byte(`{}`), "k"), Malformed, SlugMalformed)
	noReason := strings.Replace(string(w.event(anyType, gateway)), `"reason"`, `"because"`, 1)
	w.refuse("not the schema", w.sign([]byte(noReason), "k"), Invalid, SlugSchema)
	unknown := strings.Replace(string(w.event(anyType, gateway)), Prefix+anyType, "com.example.unheard_of", 1)
	w.refuse("unknown type", w.sign([]byte(unknown), "k"), Invalid, SlugUnknownType)
	if _, err := w.d.CheckLeaf(0, w.sign(w.event(anyType, gateway), "k"), nil); err == nil {
		t.Error("leaf 0 may be an ordinary event")
	}
}

// TestBuildersMatchSchemas: what the builders write has every member that their
// schemas define, under the right name.
func TestBuildersMatchSchemas(t *testing.T) {
	w := newWorld(t, 1, nil, "a")
	h := w.header()
	built := map[string][]byte{
		TypeLogCreated: w.genesis(Genesis{Origin: origin, Administrators: w.administrators("a"),
			Predecessor: &Predecessor{Origin: "o", Checkpoint: "o\n0\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"}}),
		TypeAdminsChanged:    w.must(NewAdminsChanged(h, w.administrators("a"), 1)),
		TypeKeyRegistered:    w.must(NewKeyRegistered(h, KeyRegistration{Key: w.key("k"), Source: gateway, Types: []string{Prefix + anyType}, PersonRef: "p", Description: "d"})),
		TypeKeyRevoked:       w.must(NewKeyRevoked(h, Revocation{KeyID: w.key("k").KeyID(), Reason: Compromised, Since: day, Note: "n"})),
		TypeSourceRegistered: w.must(NewSourceRegistered(h, SourceRegistration{Source: gateway, Roles: []string{RoleGateway}, HeartbeatSeconds: 5, Description: "d"})),
		TypeSourceRetired:    w.must(NewSourceRetired(h, SourceRetirement{Source: gateway, Reason: "r", LastSequence: 5})),
	}
	for _, typ := range Types() {
		payload, ok := built[typ.Name]
		if ok != typ.Authority {
			t.Errorf("%s: authority %v, builder %v", typ.Name, typ.Authority, ok)
		}
		if !ok {
			continue
		}
		ev := mustParse(t, payload)
		var data map[string]json.RawMessage
		if err := json.Unmarshal(ev.Data, &data); err != nil {
			t.Fatal(err)
		}
		for name := range readSchema(t, Schema(typ.Name)).Properties {
			if _, ok := data[name]; !ok {
				t.Errorf("the builder of %s never writes %s", typ.Name, name)
			}
		}
	}
	// Administrators never sign what the log would refuse for its form.
	for name, err := range map[string]error{
		"no source":       second(NewKeyRegistered(h, KeyRegistration{Key: w.key("k")})),
		"relative source": second(NewSourceRegistered(h, SourceRegistration{Source: "x"})),
		"no reason":       second(NewKeyRevoked(h, Revocation{KeyID: w.key("k").KeyID()})),
		"no since":        second(NewKeyRevoked(h, Revocation{KeyID: w.key("k").KeyID(), Reason: Compromised})),
		"no keyid":        second(NewKeyRevoked(h, Revocation{Reason: Lost})),
		"no retirement":   second(NewSourceRetired(h, SourceRetirement{Source: gateway})),
		"no admins":       second(NewAdminsChanged(h, nil, 0)),
	} {
		if err == nil {
			t.Errorf("%s: built", name)
		}
	}
}

func second(_ []byte, err error) error { return err }
