package event

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/escortlog/escortlog/log/entry"
)

// Authorize decides whether the signers of e may say ev, by the directory as it
// stands. It does not verify signatures, see [Directory.VerifySignatures], and
// holds only authority events against their schema, see [Validate].
//
// Where it accepts an authority event, Apply will accept it too, as long as no
// other was applied in between. The error is an *Error: Conflict for an
// authority event that does not know the newest one, BadSignature for a missing
// signature or an unknown keyid, Forbidden for the rest, Invalid for an
// authority event whose data is not what its type asks.
func (d *Directory) Authorize(e *entry.Entry, ev *Event) error {
	if len(e.Signatures) > entry.MaxSignatures {
		return tooMany(len(e.Signatures))
	}
	if IsAuthority(ev.Type) {
		_, err := d.decideAuthority(e, ev)
		return err
	}
	return d.authorizeOrdinary(e, ev)
}

func tooMany(n int) *Error {
	return &Error{Kind: Malformed, Slug: SlugTooManySignatures,
		Detail: fmt.Sprintf("%d signatures, at most %d are allowed: leave some out", n, entry.MaxSignatures)}
}

// authorizeOrdinary holds the rules for all events but authority events.
func (d *Directory) authorizeOrdinary(e *entry.Entry, ev *Event) error {
	if d.covered == 0 {
		return forbidden(SlugReservedType, "the log has no leaf 0 yet, and only log.created can be that")
	}
	if len(e.Signatures) == 0 {
		if err := d.unsigned(ev); err != nil {
			return err
		}
	}
	for _, s := range e.Signatures {
		if err := d.ordinarySigner(s.KeyID); err != nil {
			return err
		}
	}
	if isReserved(ev.Type) {
		return reservedType(ev.Type)
	}
	if err := d.checkSource(ev.Source); err != nil {
		return err
	}
	if ev.Type == TypeIndexPublished {
		if log := chainOf(ev).Log; log != d.Origin() {
			return forbidden(SlugWrongLog, "the index is of the log %q, this one is %q", log, d.Origin())
		}
	}
	if len(e.Signatures) > 0 {
		if err := d.granted(e, ev); err != nil {
			return err
		}
	}
	return d.sourceRules(ev)
}

// unsigned: allowed only where leaf 0 says so, for a source that never had a
// key, and a type that needs no name.
func (d *Directory) unsigned(ev *Event) error {
	if !d.AllowUnsigned() {
		return unauthorized(SlugUnsigned, "this log takes no unsigned events: sign the payload in a DSSE envelope")
	}
	if s, ok := d.sources[ev.Source]; ok && s.Keyed {
		return unauthorized(SlugUnsigned, "the source %s has a registered key, so its events must be signed", ev.Source)
	}
	if t, _ := Lookup(ev.Type); t.Named || isReserved(ev.Type) {
		return unauthorized(SlugUnsigned, "events of type %s must be signed by a key registered for that type", ev.Type)
	}
	return nil
}

// ordinarySigner: every signature is by an unrevoked key, and administrators'
// keys sign authority events only.
func (d *Directory) ordinarySigner(keyID string) error {
	k, ok := d.keys[keyID]
	if !ok {
		return unknownKey(keyID)
	}
	if k.Revoked != nil {
		return revokedKey(keyID, k)
	}
	if k.Administrator {
		return forbidden(SlugAdminKey, "the key %s is an administrator's, which signs authority events only", keyID)
	}
	return nil
}

func unknownKey(keyID string) *Error {
	return unauthorized(SlugUnknownKey, "the key %.100q is not registered with this log: have its administrators register it", keyID)
}

func revokedKey(keyID string, k *Key) *Error {
	return forbidden(SlugKeyRevoked, "the key %s was revoked at index %d (%s): sign with another", keyID, k.Revoked.Index, k.Revoked.Reason)
}

// granted: at least one signer is registered for this source and type.
func (d *Directory) granted(e *entry.Entry, ev *Event) error {
	forSource := false
	for _, s := range e.Signatures {
		k := d.keys[s.KeyID]
		if k.May(ev.Source, ev.Type) {
			return nil
		}
		forSource = forSource || slices.ContainsFunc(k.Grants, func(g Grant) bool { return g.Source == ev.Source })
	}
	if forSource {
		return forbidden(SlugTypeNotAllowed, "no signing key is registered for type %s of source %s", ev.Type, ev.Source)
	}
	if _, ok := d.sources[ev.Source]; !ok {
		return forbidden(SlugNotRegistered, "the source %s is not registered with this log", ev.Source)
	}
	return forbidden(SlugWrongSource, "no signing key is registered for the source %s", ev.Source)
}

// sourceRules: a retired source is silent, and a source registered with roles
// sends only types of those roles (a console never sends what only a gateway
// can know).
func (d *Directory) sourceRules(ev *Event) error {
	s, ok := d.sources[ev.Source]
	if !ok {
		return nil
	}
	if s.Retired {
		return forbidden(SlugSourceRetired, "the source %s was retired at index %d", ev.Source, s.RetiredAt)
	}
	t, known := Lookup(ev.Type)
	if !known || len(s.Roles) == 0 || slices.Contains(t.Emitters, RoleAny) {
		return nil
	}
	for _, role := range s.Roles {
		if slices.Contains(t.Emitters, role) {
			return nil
		}
	}
	return forbidden(SlugTypeNotAllowed, "the source %s acts as %s, but type %s comes from %s",
		ev.Source, strings.Join(s.Roles, ", "), ev.Type, strings.Join(t.Emitters, ", "))
}

// decideAuthority holds the rules for authority events. It returns the change
// that the event makes, to be called with the index of its leaf.
func (d *Directory) decideAuthority(e *entry.Entry, ev *Event) (apply func(index int64), err error) {
	if d.covered == 0 {
		return d.logCreated(e, ev)
	}
	if ev.Type == TypeLogCreated {
		return nil, forbidden(SlugReservedType, "log.created is leaf 0 of a log and nothing else")
	}
	if len(e.Signatures) == 0 {
		return nil, unauthorized(SlugUnsigned, "authority events must be signed by administrators")
	}
	if err := d.checkLink(ev); err != nil {
		return nil, err
	}
	signed := newSigners(d, e)
	if err := signed.check(); err != nil {
		return nil, err
	}
	if ev.Type != TypeKeyRevoked { // one administrator may revoke
		if err := signed.threshold(); err != nil {
			return nil, err
		}
	}
	if err := Validate(ev, false); err != nil {
		return nil, err
	}
	switch ev.Type {
	case TypeAdminsChanged:
		return d.adminsChanged(signed, ev)
	case TypeKeyRegistered:
		return d.keyRegistered(signed, ev)
	case TypeKeyRevoked:
		return d.keyRevoked(signed, ev)
	case TypeSourceRegistered:
		return d.sourceRegistered(signed, ev)
	case TypeSourceRetired:
		return d.sourceRetired(signed, ev)
	}
	return nil, forbidden(SlugReservedType, "the type %s is not one an administrator can use", ev.Type)
}

// checkLink: the event names this log and the authority event before it.
func (d *Directory) checkLink(ev *Event) error {
	chain := chainOf(ev)
	prev := hex.EncodeToString(d.prev[:])
	if isHex(chain.Prev, 64) && chain.Prev != prev && chain.Log == d.Origin() {
		return &Error{Kind: Conflict, Slug: SlugStaleAuthority, Pointer: "/data/prev",
			Detail: "the newest authority event of this log has the leaf hash " + prev + ": build on it and sign anew"}
	}
	if chain.Log != "" && chain.Log != d.Origin() {
		return forbidden(SlugWrongLog, "the event is for the log %q, this one is %q", chain.Log, d.Origin())
	}
	if ev.Source != LogSource(d.Origin()) {
		return forbidden(SlugWrongSource, "the source of authority events of this log is %s", LogSource(d.Origin()))
	}
	return nil
}

// signers sorts the signatures of an authority event.
type signers struct {
	admins []string // of unrevoked administrators
	others []string // not administrators', perhaps keys that the event itself brings
	d      *Directory
}

func newSigners(d *Directory, e *entry.Entry) *signers {
	s := &signers{d: d}
	for _, sig := range e.Signatures {
		list := &s.others
		if k, ok := d.keys[sig.KeyID]; ok && k.Active {
			list = &s.admins
		}
		if !slices.Contains(*list, sig.KeyID) { // one key is one signer, however often it signs
			*list = append(*list, sig.KeyID)
		}
	}
	return s
}

// check refuses revoked keys, and events that no administrator signed.
func (s *signers) check() error {
	for _, id := range s.others {
		if k, ok := s.d.keys[id]; ok && k.Revoked != nil {
			return revokedKey(id, k)
		}
	}
	if len(s.admins) == 0 {
		return forbidden(SlugNotAdmin, "no administrator of this log signed the event")
	}
	return nil
}

// threshold: enough administrators signed.
func (s *signers) threshold() error {
	if len(s.admins) < s.d.threshold {
		return forbidden(SlugThreshold, "%d of %d needed administrators signed: have others cosign the same payload",
			len(s.admins), s.d.threshold)
	}
	return nil
}

// only refuses signatures by keys that have no part in the event. Those in
// allowed may sign beside administrators.
func (s *signers) only(allowed ...string) error {
	for _, id := range s.others {
		if slices.Contains(allowed, id) {
			continue
		}
		if _, known := s.d.keys[id]; !known {
			return unknownKey(id)
		}
		return forbidden(SlugNotAdmin, "the key %s is not an administrator's: leave its signature out", id)
	}
	return nil
}
