package event

import (
	"fmt"
	"slices"

	"github.com/escortlog/escortlog/log/entry"
	"golang.org/x/mod/sumdb/tlog"
)

// Apply takes the authority event of leaf index into the directory. It decides
// as Authorize does and changes nothing when it refuses. It verifies no
// signature: whoever applies leaves that nobody has verified uses CheckLeaf.
// Leaves must come in the order of their indexes, log.created at index 0 first;
// an event that is not of an authority type is refused.
func (d *Directory) Apply(index int64, leafHash tlog.Hash, e *entry.Entry, ev *Event) error {
	if !IsAuthority(ev.Type) {
		return fmt.Errorf("event: applying leaf %d: %s is no authority event", index, ev.Type)
	}
	if index < d.covered || (index == 0) != (ev.Type == TypeLogCreated) {
		return forbidden(SlugReservedType, "%s at index %d of a log whose authority events are known up to %d",
			ev.Type, index, d.covered)
	}
	apply, err := d.decideAuthority(e, ev)
	if err != nil {
		return err
	}
	apply(index)
	d.prev, d.covered = leafHash, index+1
	return nil
}

// logCreated opens the directory. Leaf 0 bears no signature: there is nobody
// yet who could have signed it, and auditors pin its hash.
func (d *Directory) logCreated(e *entry.Entry, ev *Event) (func(int64), error) {
	if ev.Type != TypeLogCreated {
		return nil, forbidden(SlugReservedType, "the log has no leaf 0 yet, and only log.created can be that")
	}
	if len(e.Signatures) > 0 {
		return nil, forbidden(SlugReservedType, "log.created bears no signature")
	}
	g, err := parseGenesis(ev)
	if err != nil {
		return nil, err
	}
	return func(index int64) {
		d.genesis = *g
		d.setAdmins(index, g.Administrators, g.Threshold, nil)
	}, nil
}

// adminsChanged: the threshold of the present administrators sign, and each key
// that is not one of theirs, which proves that somebody holds it. A revoked key
// does not return, and a key that signs for a source does not become an
// administrator's.
func (d *Directory) adminsChanged(signed *signers, ev *Event) (func(int64), error) {
	data, err := decode[adminsChangedJSON](ev)
	if err != nil {
		return nil, err
	}
	admins, err := parseAdmins(data.Administrators, data.Threshold)
	if err != nil {
		return nil, err
	}
	var fresh []string
	for _, a := range admins {
		id := a.Key.KeyID()
		k, known := d.keys[id]
		switch {
		case known && k.Revoked != nil:
			return nil, revokedKey(id, k)
		case known && !k.Administrator:
			return nil, forbidden(SlugAdminKey, "the key %s signs for a source and cannot be an administrator's too", id)
		case known && k.Active:
			continue
		case !slices.Contains(signed.others, id):
			return nil, forbidden(SlugPossession, "the new administrator's key %s must sign the event too", id)
		}
		fresh = append(fresh, id)
	}
	if err := signed.only(fresh...); err != nil {
		return nil, err
	}
	return func(index int64) {
		d.setAdmins(index, admins, data.Threshold, slices.Concat(signed.admins, signed.others))
	}, nil
}

// setAdmins makes these the administrators, of whom those in signers have
// signed. Former ones stay known, so that old signatures can be verified.
func (d *Directory) setAdmins(index int64, admins []Administrator, threshold int, signers []string) {
	for _, a := range d.admins {
		d.updateKey(a.Key.KeyID(), func(k *Key) { k.Active = false })
	}
	for _, a := range admins {
		id := a.Key.KeyID()
		if _, ok := d.keys[id]; !ok {
			d.keys[id] = &Key{Public: a.Key, Registered: index}
		}
		d.updateKey(id, func(k *Key) {
			k.Administrator, k.Active, k.Name = true, true, a.Name
			k.Proven = k.Proven || slices.Contains(signers, id)
		})
	}
	d.admins, d.threshold = admins, threshold
}

// keyRegistered: the threshold of administrators sign; the key may sign too.
// Possession is not demanded, because a key whose holder cannot sign is useless
// and a payload names its source, so that nobody gains from registering the key
// of another; where the key did sign, Key.Proven says so.
func (d *Directory) keyRegistered(signed *signers, ev *Event) (func(int64), error) {
	data, err := decode[keyRegisteredJSON](ev)
	if err != nil {
		return nil, err
	}
	key, err := parseKey("/data", data.SPKI, data.KeyID)
	if err != nil {
		return nil, err
	}
	if err := d.checkTypes("/data/types", data.Types); err != nil {
		return nil, err
	}
	if k, known := d.keys[data.KeyID]; known && k.Revoked != nil {
		return nil, revokedKey(data.KeyID, k)
	} else if known && k.Administrator {
		return nil, forbidden(SlugAdminKey, "the key %s is or was an administrator's and cannot sign for a source", data.KeyID)
	}
	if err := d.checkSource(data.Source); err != nil {
		return nil, err
	}
	if err := signed.only(data.KeyID); err != nil {
		return nil, err
	}
	return func(index int64) {
		if _, ok := d.keys[data.KeyID]; !ok {
			d.keys[data.KeyID] = &Key{Public: key, Registered: index}
		}
		d.updateKey(data.KeyID, func(k *Key) {
			k.Name, k.PersonRef = data.Description, data.PersonRef
			k.Proven = k.Proven || len(signed.others) > 0
			k.Grants = slices.DeleteFunc(k.Grants, func(g Grant) bool { return g.Source == data.Source })
			k.Grants = append(k.Grants, Grant{Source: data.Source, Types: data.Types, Index: index})
		})
		d.updateSource(data.Source, func(s *Source) { s.Keyed = true })
	}, nil
}

// checkTypes: types named in an authority event exist, so that a slip of the
// pen does not register a key for nothing. Authority types are administrators'.
func (d *Directory) checkTypes(pointer string, types []string) error {
	for i, typ := range types {
		t, known := Lookup(typ)
		if t.Authority || isReserved(typ) {
			return invalid(SlugSchema, fmt.Sprintf("%s/%d", pointer, i), "the type %s cannot be granted to a key", typ)
		}
		if !isTypeName(typ) || !known && !d.AllowOpaque() {
			return invalid(SlugSchema, fmt.Sprintf("%s/%d", pointer, i), "no type %s is known", typ)
		}
	}
	return nil
}

// checkSource: the log's own source is nobody else's.
func (d *Directory) checkSource(uri string) error {
	if uri == LogSource(d.Origin()) {
		return forbidden(SlugWrongSource, "the source %s is for authority events only", uri)
	}
	return nil
}

// keyRevoked: one administrator may revoke a key, so that a stolen one is
// stopped at once. An administrator's key is revoked by its own signature or by
// the threshold, for if one administrator alone could remove the others, a
// single stolen key would end the log; and never so that fewer are left than
// the threshold, for then nobody could change anything any more. A second
// revocation may only make the first worse: call the key compromised, or since
// an earlier time.
func (d *Directory) keyRevoked(signed *signers, ev *Event) (func(int64), error) {
	data, err := decode[keyRevokedJSON](ev)
	if err != nil {
		return nil, err
	}
	k, known := d.keys[data.KeyID]
	if !known {
		return nil, forbidden(SlugNotRegistered, "the key %s was never registered with this log", data.KeyID)
	}
	if err := signed.only(); err != nil {
		return nil, err
	}
	if k.Active {
		if !slices.Contains(signed.admins, data.KeyID) && signed.threshold() != nil {
			return nil, forbidden(SlugThreshold, "an administrator's key is revoked by itself or by %d administrators, and %d signed",
				d.threshold, len(signed.admins))
		}
		if len(d.admins)-1 < d.threshold {
			return nil, forbidden(SlugThreshold, "revoking %s would leave %d administrators of %d needed: change the administrators instead",
				data.KeyID, len(d.admins)-1, d.threshold)
		}
	}
	since, _ := parseTime(data.Since) // the schema has seen to it, and to its being there for a compromised key
	compromised := data.Reason == Compromised
	if compromised && since.After(ev.Time) {
		return nil, invalid(SlugSchema, "/data/since", "a key cannot be found compromised before it was")
	}
	if k.Revoked != nil && (!compromised || k.Compromised != nil && !since.Before(*k.Compromised)) {
		return nil, forbidden(SlugKeyRevoked, "the key %s was revoked at index %d already; it can only be called compromised, or so since an earlier time",
			data.KeyID, k.Revoked.Index)
	}
	return func(index int64) {
		d.updateKey(data.KeyID, func(k *Key) {
			k.Active = false
			if k.Revoked == nil {
				k.Revoked = &KeyRevocation{Index: index, Reason: data.Reason, Time: ev.Time}
			}
			if compromised {
				k.Compromised = &since
			}
		})
		d.admins = slices.DeleteFunc(slices.Clone(d.admins), func(a Administrator) bool { return a.Key.KeyID() == data.KeyID })
	}, nil
}

// sourceRegistered: the threshold of administrators sign. A later registration
// replaces an earlier one and revives a retired source.
func (d *Directory) sourceRegistered(signed *signers, ev *Event) (func(int64), error) {
	data, err := decode[sourceRegisteredJSON](ev)
	if err != nil {
		return nil, err
	}
	if err := d.checkTypes("/data/expected_types", data.ExpectedTypes); err != nil {
		return nil, err
	}
	if err := d.checkSource(data.Source); err != nil {
		return nil, err
	}
	if err := signed.only(); err != nil {
		return nil, err
	}
	return func(index int64) {
		d.updateSource(data.Source, func(s *Source) {
			s.Declared, s.Registered, s.Retired = true, index, false
			s.Roles, s.ExpectedTypes, s.HeartbeatSeconds = data.Roles, data.ExpectedTypes, 0
			if data.HeartbeatSeconds != nil {
				s.HeartbeatSeconds = *data.HeartbeatSeconds
			}
		})
	}, nil
}

// sourceRetired: the threshold of administrators sign.
func (d *Directory) sourceRetired(signed *signers, ev *Event) (func(int64), error) {
	data, err := decode[sourceRetiredJSON](ev)
	if err != nil {
		return nil, err
	}
	if s, ok := d.sources[data.Source]; !ok {
		return nil, forbidden(SlugNotRegistered, "the source %s is not registered with this log", data.Source)
	} else if s.Retired {
		return nil, forbidden(SlugSourceRetired, "the source %s was retired at index %d already", data.Source, s.RetiredAt)
	}
	if err := signed.only(); err != nil {
		return nil, err
	}
	return func(index int64) {
		d.updateSource(data.Source, func(s *Source) { s.Retired, s.RetiredAt = true, index })
	}, nil
}
