// Package outbox keeps a source's events safe until a log has proven that it
// holds them.
//
// An [Outbox] is one directory of one source with one writer. Append gives an
// event its place in the source (sequence from 1, prevhash), signs it, and
// returns after it is on disk; whatever happens then to the process or to the
// log, the event is submitted in order, with the same bytes on every attempt,
// until there is a receipt which satisfies the policy. Run does that, sends
// heartbeats, and closes periods with their totals.
//
// # What a crash leaves behind
//
// A number is given away once. An event is sent only after its bytes are known
// to be on disk, so a crash that loses an unfinished one loses one that nobody
// has seen: its number goes to another event. What Append acknowledged is never
// lost. What was logged but not yet noted as such is submitted again and found.
// What no directory can show by itself is its own replacement by an older copy:
// never restore an outbox from a backup; register a new source instead.
//
// # The directory
//
//	lock              held by the writer
//	outbox.log        what follows; see below
//	receipts/         INDEX.leaf and INDEX.tlog-proof of everything logged
//	refused/          SEQUENCE.json: refused events with the log's problem
//	evidence/         SEQUENCE.json: a log's false receipts
//
// outbox.log begins with 24 bytes of name and version. Then follow frames:
//
//	length   4 bytes   big-endian, of the body
//	crc      4 bytes   CRC-32C of the length
//	body               one JSON record: events, what became of them, or the state before them
//	sum      32 bytes  SHA-256 of the sum before (zeros before the first), the length and the body
//	end      1 byte    0xA5
//
// A last frame that is cut short, or cut short and followed by zero bytes, is
// what a crash leaves, and is cut off. Anything else that does not add up is
// damage: Open then refuses with [ErrCorrupt] and changes nothing.
//
// When more than half of the file is settled it is written anew. It takes at
// most about three times [Config].MaxBytes of disk, for a moment; receipts and
// refused events are the caller's to move away.
//
// # Refusals
//
// A log that refuses an event logs nothing, and its number is missing for ever.
// The event goes to refused/, and source.gap tells the log which number is
// missing and why. A refusal that is about the key, the source or a clock (not
// registered yet, revoked, retired) is not about one event: nothing is set
// aside, and the same bytes are sent again, more and more rarely, until an
// administrator has put it right. [Status] says so. Where that means another key,
// open the outbox with it: what the log refuses under the old one is signed
// again, with the same number and payload.
package outbox
