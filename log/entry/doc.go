// Package entry is the leaf: exactly the bytes that are hashed into the tree.
//
// A leaf holds the payload that was signed, to the byte, the signatures over
// its DSSE pre-authentication encoding in the order they were received, and the
// time at which the log took it. It is a TLS presentation language structure
// (RFC 8446 section 3), every field of which is hashed:
//
//	struct { opaque keyid<1..255>; opaque sig<1..2^16-1>; } Signature;
//	struct {
//	    opaque magic[4] = "EL01";
//	    uint64 time;
//	    opaque payload_type<1..255>;
//	    Signature signatures<0..2^16-1>;
//	    opaque payload<1..2^16-1>;
//	} Entry;
//
// There is exactly one encoding: what [Parse] accepts, [Entry.Marshal] gives
// back byte for byte. The payload is never serialised again, so the envelope a
// source signed can be rebuilt from the leaf ([Entry.Envelope]), and the leaf
// from the envelope and the time ([Envelope.Entry]).
//
// The package is pure: bytes in, bytes out. It knows nothing of what a payload
// means and verifies no signature; that is log/event.
package entry
