// Package audit replays a whole log and believes nothing the server says.
//
// It reads every entry up to a checkpoint that a policy accepts, hashes each,
// compares every hash tile and the root, verifies every signature on every
// event against the key directory that the log's own authority events build,
// and checks what the log promises beside: leaf times never decrease, no event
// of one source and id is logged twice, every event fits its type's schema.
//
// With a state directory, what was verified is kept, so that the next run goes
// on from there and demands that the log has only grown. A smaller tree, another
// root at the same size, or a larger tree that does not extend the one seen
// before is an integrity failure. Whatever proves a failure (both checkpoints,
// the bytes that were served, leaves with their proofs) is written to a file.
// The first run is checked like any other, only that there is nothing to be
// consistent with. What the rules remember is kept too, in a file of its own that is
// bound to the rules, to this program and to the tree; one that does not fit costs
// reading all leaves again, and so does a set of identities that does not. A Follower does the same again and again, and keeps in memory
// what it verified.
//
// The Report keeps apart what is proven about the protocol (verdicts), what
// is thereby known to be complete (claims A to D), and what is proven but should
// worry somebody (findings). Every verdict tells how much it looked at. For the
// same log, policy and state the report is the same to the byte; it holds no
// clock times but those that were signed, and the checkpoint's age where that is
// asked for without a time to which it counts.
//
// Memory does not grow with the log: the identities of all events, and who signed
// what when, lie in files, in the state directory or where os.TempDir says.
package audit
