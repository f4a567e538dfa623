// Package cosign is the log's side of https://c2sp.org/tlog-witness: it asks the
// witnesses of a policy for cosignatures and for what they remember.
//
// All witnesses are asked at once, one conversation with each at a time, over
// connections that are kept. A witness that is slow, dead, wrong or limiting
// its rate is left to itself: it is retried with growing pauses, and nobody waits
// for it. Policy lines with the same URL are the keys of one
// witness, which is asked once and answers for all of them.
//
// Nothing a witness says is believed: a cosignature counts after it verified, a
// size only tells which proof to send next, and a memory counts only if it bears
// the log's own signature.
package cosign
