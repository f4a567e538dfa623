// Package log is the append-only log: bytes in, checkpoints out. It knows
// nothing of what the bytes mean.
//
// # The way of one submission
//
//	Add ──▶ pool ──▶ sequencer ──▶ storage.Commit ──▶ guard ──▶ Wait returns
//	                                                    │
//	                                                    └─▶ publisher ──▶ witnesses ──▶ WaitPublished returns
//
// [Log.Add] puts a submission into a bounded pool. One goroutine, the
// sequencer, owns the tree: as soon as the last commit has ended it takes all
// that is in the pool (of many, up to the end of an entry bundle), gives
// indexes and one time, hashes, packs the bundles that are complete into the
// form they are served in, and hands one batch to the store.
// storage.Store.Commit is the commit point. Then the committed head goes into
// the guard, outside the store, and only then does anything leave: an index, a
// receipt, a signature.
//
// A second goroutine, the publisher, signs the newest head, asks the witnesses
// through a [Cosigner], and publishes when the policy's quorum is met. A third,
// the sealer, packs those bundles that were too large for the commit that
// completed them; it computes and lets the sequencer write.
//
// Readers take an immutable [view] that the sequencer replaces after each
// commit, and the store. They never wait for the sequencer.
//
// # What may go wrong, and what then
//
// An error of Commit that says nothing was applied fails the submissions of
// that batch and nothing else. Any other error leaves the outcome unknown: the
// log stops, and whoever runs it opens it again. [Open] is the only recovery
// there is; it runs at every start.
//
// A log that finds its store behind its guard, or behind what a witness holds
// under the log's own signature, is halted: reads go on, commits and signatures
// do not, and [Log.Ready] says why and what to do.
package log
