// Package monitor follows logs and their witnesses, and says what is wrong as it
// happens.
//
// Each round, for each log: the newest checkpoint must be signed by the log, be
// cosigned to the policy's quorum, be fresh, and extend the one seen before; a
// smaller size, or the same size with another root, is caught like any other
// tree that does not. Every witness's monitoring endpoint (see
// https://c2sp.org/tlog-witness) is asked for the checkpoint that it holds, which
// must be of the same history: another one, signed by the log, is a split view,
// and both notes are written to a file as evidence. Then what is new in the log is
// read and verified as package audit does, and the rules judge it. Nothing is read
// under a checkpoint that lacks its quorum.
//
// What is wrong is a Finding. Some findings are conditions (a log that is away, a
// witness that is stale): they are raised when they begin and cleared when they
// end. All others are facts, raised once. One of a rule is closed, once, when leaves
// that came later explain it, or when it goes on as another, of more leaves; see
// rules.Rule. It is not raised again under the same id. Every finding is first appended to a
// journal in the state directory, and synced; then it goes to each receiver
// (standard output, a webhook, the log itself), which remembers how far it has
// come. A crash at any moment loses no finding, and may send the last of a
// receiver again, with the same id.
//
// What it keeps in memory does not grow with the leaves (see packages audit and
// rules), but with the findings there were, whose ids it knows.
//
// A finding about a log is raised into that log as an event that is the same each
// time it is sent. Those that rest only on events of the monitor's own source are
// not: a monitor that is at fault must not answer itself for ever.
package monitor
