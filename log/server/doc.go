// Package server is the log's door and its face: it decides which events are
// let in, and it serves everything the log says over HTTP.
//
// # The door
//
// Every submission, alone or in a batch, is judged by the same steps in the
// same order, and the first step that fails gives the answer:
//
//	413  size          bounds on the body, the batch and the event
//	415  media type
//	400  strict parse  envelope, CloudEvent
//	401  signatures    every one, by keys the log knows
//	409  identity      the same source and id was logged with other content
//	403  directory     may these keys sign this type for this source now
//	422  schema, clock of the type
//	503  pool          no room, or the log does not take events
//
// An event that is refused logs nothing. One that was logged before, with the
// same payload and the same set of signers, gets its first index again, also
// after its key has been revoked.
//
// The door holds a key directory (event.Directory) built from the log's own
// authority leaves. It is replaced, never changed, so that a decision sees one
// directory from beginning to end; the number of leaves it covers goes to the
// log with the decision, and when an authority event was sequenced in between
// the log says so and the door decides again.
//
// Before any of this, a client that has failed too often lately is answered 429
// without being read, and a server that has no room 503: that is shedding load,
// not judging an event.
//
// # The answer
//
// A 201 or 200 carries a c2sp.org/tlog-proof to a published checkpoint. The
// server verifies it with the log's policy, as any outsider would, before it
// leaves. A 202 says that the event is durable and nothing more.
//
// # The rest
//
// Tiles, bundles and checkpoint are those of c2sp.org/tlog-tiles. Everything
// under /v1 is convenience: whatever it says can be recomputed from the tiles.
// Errors are problem documents (RFC 9457) of the kinds that [Problems] lists.
package server
