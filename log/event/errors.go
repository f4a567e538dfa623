package event

import (
	"fmt"
)

// Kind says what sort of refusal an [Error] is, and with which HTTP status a
// server answers it.
type Kind int

const (
	Malformed    Kind = iota + 1 // the payload cannot be read: 400
	BadSignature                 // a signature is missing, unknown or wrong: 401
	Conflict                     // the submitter has not seen the newest authority event: 409
	Forbidden                    // the signers may not say this: 403
	Invalid                      // the event is readable and signed, but not what its type asks: 422
)

// Status returns the HTTP status of the kind.
func (k Kind) Status() int {
	switch k {
	case Malformed:
		return 400
	case BadSignature:
		return 401
	case Conflict:
		return 409
	case Forbidden:
		return 403
	case Invalid:
		return 422
	}
	return 500
}

// Slugs are the last part of a problem's type, urn:escortlog:problem:<slug>.
// They never change their meaning.
const (
	SlugMalformed         = "malformed-event"      // 400
	SlugTooManySignatures = "too-many-signatures"  // 400
	SlugUnknownKey        = "unknown-key"          // 401
	SlugBadSignature      = "bad-signature"        // 401
	SlugUnsigned          = "unsigned-not-allowed" // 401
	SlugStaleAuthority    = "stale-authority"      // 409
	SlugKeyRevoked        = "key-revoked"          // 403
	SlugNotRegistered     = "not-registered"       // 403
	SlugWrongSource       = "wrong-source"         // 403
	SlugWrongLog          = "wrong-log"            // 403
	SlugSourceRetired     = "source-retired"       // 403
	SlugTypeNotAllowed    = "type-not-allowed"     // 403
	SlugReservedType      = "reserved-type"        // 403
	SlugThreshold         = "threshold-not-met"    // 403
	SlugNotAdmin          = "not-admin"            // 403
	SlugAdminKey          = "admin-key"            // 403
	SlugPossession        = "possession-not-shown" // 403
	SlugUnknownType       = "unknown-type"         // 422
	SlugSchema            = "schema-violation"     // 422
	SlugFuture            = "time-in-future"       // 422
)

// Error is the refusal of an event. Every error of this package that is about
// an event is an *Error (errors.As).
type Error struct {
	Kind    Kind
	Slug    string // one of the Slug constants
	Detail  string // what is wrong, and what to do about it
	Pointer string // RFC 6901 pointer into the payload, where one place is at fault; else empty
}

// Error returns the slug, the place and the detail in one line.
func (e *Error) Error() string {
	if e.Pointer != "" {
		return fmt.Sprintf("%s: at %s: %s", e.Slug, e.Pointer, e.Detail)
	}
	return e.Slug + ": " + e.Detail
}

func malformed(pointer, format string, args ...any) *Error {
	return &Error{Kind: Malformed, Slug: SlugMalformed, Detail: fmt.Sprintf(format, args...), Pointer: pointer}
}

func unauthorized(slug, format string, args ...any) *Error {
	return &Error{Kind: BadSignature, Slug: slug, Detail: fmt.Sprintf(format, args...)}
}

func forbidden(slug, format string, args ...any) *Error {
	return &Error{Kind: Forbidden, Slug: slug, Detail: fmt.Sprintf(format, args...)}
}

func invalid(slug, pointer, format string, args ...any) *Error {
	return &Error{Kind: Invalid, Slug: slug, Detail: fmt.Sprintf(format, args...), Pointer: pointer}
}
