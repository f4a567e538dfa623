// Package witness is a transparency log witness: it remembers the largest
// consistent tree head it has seen of each log it knows, and cosigns nothing that
// contradicts what it has cosigned before.
//
// It speaks https://c2sp.org/tlog-witness over HTTP (add-checkpoint, sign-subtree
// and the monitoring endpoint) and cosigns as https://c2sp.org/tlog-cosignature
// says, with an Ed25519 and an ML-DSA-44 key of one name. It sees checkpoints and
// proofs only, never an entry.
//
// # The order of the checks
//
// A request of add-checkpoint is judged in this order, and the first that fails answers:
//
//	400  it is not written as the specification demands
//	404  the checkpoint's origin is of no known log
//	403  no trusted key of the log signed it, or a trusted key's signature does not verify
//	400  the old size is larger than the checkpoint's
//	409  the old size is not that of the latest cosigned checkpoint (the body says which)
//	422  size zero with a root that is not the empty tree's
//	422  the proof does not hold; for equal sizes: the roots differ
//	429  the log asks more often than it may
//
// The last four happen under the log's lock, which is held until the new
// checkpoint is durable. A first contact is a step from size zero like any other.
//
// Over HTTP, an address too many of whose requests were refused lately is answered 429 before
// its body is read (package clients).
//
// # What is signed, and when it leaves
//
// What is signed is a new encoding of what was parsed. The cosignatures leave
// only after the checkpoint that bears them is durable in the journal (package
// journal). If the journal fails, the witness answers 503 until it is
// restarted: what its disk holds is then unknown.
//
// An Ed25519 cosignature covers a checkpoint's extension lines as bytes; an
// ML-DSA-44 cosignature covers origin, size and root only. Neither says
// anything about the meaning of extension lines.
//
// # What it does not do
//
// A witness whose directory is replaced by an older copy has forgotten what it
// cosigned since, and cannot know. Never restore one from a backup: make a new
// one. A reference checkpoint for sign-subtree may bear the witness's
// Ed25519 cosignature alone and is answered with ML-DSA-44, as the specification
// demands; so a subtree signature is as strong as the weaker of the two keys.
//
// # The directory
//
//	keys/ed25519.skey, keys/mldsa44.skey   private keys, mode 0600, perhaps encrypted (age, passphrase)
//	keys/vkeys                             the public keys
//	keys/bastion.pem                       by which a bastion knows the witness, if there is one
//	keys/mirror-*.skey                     private keys of a mirror beside the witness, if there is one
//	mirror/                                its copies (package mirror)
//	logs                                   the known logs, in the format of ParseLogList
//	state/journal                          the latest cosigned checkpoint of each log
//	evidence/*.json                        what logs signed that contradicts what they had signed before
package witness
