package event

import (
	"encoding/json"
	"fmt"

	"github.com/escortlog/escortlog/log/entry"
)

// SigJob is one signature to verify, apart from everything else, so that an
// auditor can spread the work over all processors.
type SigJob struct {
	Index     int64 // of the leaf
	Key       *PublicKey
	Entry     *entry.Entry
	Signature entry.Signature
}

// Verify returns nil when the signature is good, else an *Error of kind
// BadSignature.
func (j SigJob) Verify() error {
	return verifyOne(j.Key, entry.PAE(j.Entry.PayloadType, j.Entry.Payload), j.Signature)
}

// SigChecker is given every signature that CheckLeaf would otherwise verify on
// the spot. It may return nil and verify later, elsewhere: then nothing that
// CheckLeaf accepted holds until every job has been verified.
type SigChecker func(SigJob) error

func verifyOne(key *PublicKey, pae []byte, s entry.Signature) error {
	if !key.Verify(pae, s.Sig) {
		return unauthorized(SlugBadSignature, "the signature by %s is not one of this payload: sign the DSSE pre-authentication encoding of exactly these bytes", s.KeyID)
	}
	return nil
}

// VerifySignatures verifies every signature of e, after finding every keyid in
// the directory: an unknown one is refused before any signature is verified.
// Revoked and former administrators' keys count as known here, since a retry of
// an event logged before the revocation is answered like any other; Authorize
// refuses them. The keys that an authority event itself brings (new
// administrators, a key to be registered) are known to that event.
//
// An entry without signatures has none that is wrong; whether that is allowed
// is for Authorize. The error is an *Error of kind BadSignature, or Malformed
// for too many signatures.
func (d *Directory) VerifySignatures(e *entry.Entry) error {
	jobs, err := d.jobs(0, e)
	if err != nil {
		return err
	}
	pae := entry.PAE(e.PayloadType, e.Payload)
	for _, j := range jobs {
		if err := verifyOne(j.Key, pae, j.Signature); err != nil {
			return err
		}
	}
	return nil
}

// jobs finds the key of every signature.
func (d *Directory) jobs(index int64, e *entry.Entry) ([]SigJob, error) {
	if len(e.Signatures) > entry.MaxSignatures {
		return nil, tooMany(len(e.Signatures))
	}
	jobs := make([]SigJob, 0, len(e.Signatures))
	var brought map[string]*PublicKey
	for _, s := range e.Signatures {
		key := (*PublicKey)(nil)
		if k, ok := d.keys[s.KeyID]; ok {
			key = k.Public
		} else {
			if brought == nil {
				brought = d.broughtKeys(e.Payload)
			}
			key = brought[s.KeyID]
		}
		if key == nil {
			return nil, unknownKey(s.KeyID)
		}
		jobs = append(jobs, SigJob{Index: index, Key: key, Entry: e, Signature: s})
	}
	return jobs, nil
}

// broughtKeys returns the keys that an authority event brings with it. What
// else is wrong with the payload shows later; here it only means no keys. The
// map is never nil.
func (d *Directory) broughtKeys(payload []byte) map[string]*PublicKey {
	keys := map[string]*PublicKey{}
	ev, err := Parse(payload)
	if err != nil {
		return keys
	}
	var list []adminJSON
	switch ev.Type {
	case TypeAdminsChanged:
		var data adminsChangedJSON
		_ = json.Unmarshal(ev.Data, &data)
		list = data.Administrators
	case TypeKeyRegistered:
		var data keyRegisteredJSON
		_ = json.Unmarshal(ev.Data, &data)
		list = []adminJSON{{KeyID: data.KeyID, SPKI: data.SPKI}}
	}
	for _, a := range list[:min(len(list), MaxAdministrators)] {
		if key, err := parseKey("", a.SPKI, a.KeyID); err == nil {
			keys[a.KeyID] = key
		}
	}
	return keys
}

// chainOf reads data.log and data.prev before the schema has been applied;
// what is not there, or is no string, is empty.
func chainOf(ev *Event) (chain chainJSON) {
	var raw struct{ Log, Prev any }
	_ = json.Unmarshal(ev.Data, &raw) // an object, as Parse saw, fits
	chain.Log, _ = raw.Log.(string)
	chain.Prev, _ = raw.Prev.(string)
	return chain
}

// CheckLeaf repeats, for the leaf at index, everything about its event that
// the log had to check before it took it: form, signatures, directory, schema.
// An authority event is then applied. The directory must be that of the leaves
// [0, index). sigs is given the signatures to verify; nil verifies them on the
// spot. Those of authority events are always verified on the spot, so that no
// directory ever rests on a signature that was not looked at.
//
// Not repeated are what lies in the entry (entry.Parse), the order of the times
// of leaves, the uniqueness of source and id, and the clock of the door.
//
// The error is an *Error; a log whose leaf is refused here broke its promise.
func (d *Directory) CheckLeaf(index int64, e *entry.Entry, sigs SigChecker) (*Event, error) {
	ev, err := Parse(e.Payload)
	if err != nil {
		return nil, err
	}
	jobs, err := d.Decide(index, e, ev)
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		if sigs == nil {
			err = j.Verify()
		} else {
			err = sigs(j)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := Validate(ev, d.AllowOpaque()); err != nil {
		return nil, err
	}
	return ev, nil
}

// Decide is the part of CheckLeaf that must run leaf after leaf, for auditors
// that do the rest in parallel: ev comes from Parse, and the leaf is good when
// Decide and each returned job succeed and so does Validate (with
// d.AllowOpaque, which never changes after leaf 0). For an authority event
// Decide does all of that itself, applies it, and returns no jobs.
func (d *Directory) Decide(index int64, e *entry.Entry, ev *Event) ([]SigJob, error) {
	if index == 0 && ev.Type != TypeLogCreated {
		return nil, forbidden(SlugReservedType, "leaf 0 is %s, but only log.created can be that", ev.Type)
	}
	if index < d.covered {
		return nil, fmt.Errorf("event: leaf %d comes before the authority event at %d, which is applied", index, d.covered-1)
	}
	if !IsAuthority(ev.Type) {
		jobs, err := d.jobs(index, e)
		if err != nil {
			return nil, err
		}
		return jobs, d.Authorize(e, ev)
	}
	if err := d.VerifySignatures(e); err != nil {
		return nil, err
	}
	leaf, err := e.Marshal()
	if err != nil {
		return nil, malformed("", "%v", err)
	}
	return nil, d.Apply(index, entry.LeafHash(leaf), e, ev)
}
