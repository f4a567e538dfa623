// Package checkpoint speaks the signed formats of a transparency log: the
// checkpoint text (https://c2sp.org/tlog-checkpoint), the note that carries it
// (https://c2sp.org/signed-note), signatures and cosignatures with Ed25519 and
// ML-DSA-44 (https://c2sp.org/tlog-cosignature), the policy that says whose
// signatures suffice (https://c2sp.org/tlog-policy), and the proof file that
// carries one entry's inclusion (https://c2sp.org/tlog-proof).
//
// Every parser here is strict: it accepts exactly one encoding of a value, so
// that what was accepted re-encodes to the same bytes. In particular base64 is
// standard, padded and canonical, decimals have neither sign nor leading
// zeroes, and the key ID written in a verifier key is recomputed and compared.
//
// Three kinds of keys are known, by the signature type byte of signed-note:
//
//	AlgEd25519       0x01  the log's signature over the note text
//	AlgCosignEd25519 0x04  a timestamped cosignature over the note text
//	AlgMLDSA44       0x06  a timestamped cosignature over origin, size and root
//
// An ML-DSA-44 cosignature does not cover extension lines. Nothing may be
// concluded from an extension line that no Ed25519 signature covers; see
// Verified.ExtensionsSigned.
//
// The package is pure: no clock, no I/O, no logging. Times come from the
// caller, in seconds since the Unix epoch.
package checkpoint
