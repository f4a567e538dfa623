// Package event says what a payload means and who may sign it: CloudEvents,
// event types with their JSON Schemas, DSSE signatures and the key directory.
//
// # An event
//
// A payload is a CloudEvents 1.0 structured-mode JSON object
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md),
// strict (log/strict), at most 48 KiB. [Parse] accepts it only with specversion
// "1.0" and the attributes id (a UUIDv7 in lower case or a ULID in upper case),
// source (an absolute URI without a fragment), type, subject, time and
// recordedtime (RFC 3339, UTC, written with a Z), dataschema (an absolute URI)
// and data, an object. [Validate] then holds data against the JSON Schema of
// the type. Every type is one file in the folder schemas and one row in the
// table of types.go.
//
// # A signature
//
// Signatures are over the DSSE pre-authentication encoding, by Ed25519, ECDSA
// P-256 with SHA-256 or ECDSA P-384 with SHA-384 (DER). A keyid is
// "spki-sha256:" and the hex SHA-256 of the key's SubjectPublicKeyInfo.
//
// # Who may sign
//
// A [Directory] is the set of administrators, keys and sources as the authority
// events of leaves [0, i) left it; it decides on leaf i, and on nothing else.
// Leaf 0, log.created, opens it. Every later authority event names the log
// (data.log, its origin) and the leaf hash of the authority event before it
// (data.prev), so it can neither be replayed, nor held back unseen, nor moved
// to another log. The rules are written above the functions that hold them, in
// authority.go and authorize.go.
//
// The package is pure: bytes in, bytes out. It has no clock (times are
// parameters), no logging and no I/O; only [GenerateKey], and [Sign] with a
// signer that is not one of the standard library's, draw random numbers.
package event
