// Package cosign is the log's side of https://c2sp.org/tlog-witness: it asks the
// witnesses of a policy for cosignatures and for what they remember.
//
// All witnesses are asked at once, one conversation with each at a time, over
// connections that are kept. A witness that is slow, dead, wrong or limiting
// its rate is left to itself: it is retried with growing pauses, and nobody waits
// for it. Policy lines with the same URL are the keys of one
// witness, which is asked once and answers for all of them.
//
// Where keys of such a line do not answer, the URL may be that of a mirror
// (https://c2sp.org/tlog-mirror), which cosigns with keys of its own what it holds a copy of: the
// entries that it lacks are brought to it, and its cosignatures come with the answer. That has
// turns and pauses of its own, so the witness beside a mirror that is far behind goes on cosigning.
//
// Nothing a witness says is believed: a cosignature counts after it verified, a
// size only tells which proof to send next, and a memory counts only if it bears
// the log's own signature.
package cosign
