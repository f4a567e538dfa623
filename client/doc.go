// Package client is the side of a log that does not trust the log.
//
// A [Submitter] signs nothing and believes nothing: it sends envelopes, asks
// again with the same bytes while a log is busy, and returns a [Receipt] only
// after it has rebuilt the leaf from the bytes it sent, hashed it, and followed
// the proof from that hash to a checkpoint that the policy accepts.
//
// A [Fetcher] reads the tiles of any log that follows c2sp.org/tlog-tiles, and
// [Verify] proves offline, from a kept c2sp.org/tlog-proof, that a leaf was
// logged. Package client/audit replays whole logs on top of them.
//
// What goes wrong falls into three classes, which the errors keep apart: the log
// said no ([RefusedError], nothing was logged), the log did not answer or has
// not got that far ([ErrUnavailable], nothing is proven), and the log
// contradicts itself or its signatures ([ReceiptError], [IntegrityError]), which
// is evidence against it.
//
// The package reaches neither the log's own code nor any storage.
package client
