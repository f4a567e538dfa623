// Package reconcile holds a log against an independent vantage point: records of
// the same work that another system kept, such as AWS CloudTrail. It answers the
// one question that no log answers about itself (claim D): was everything logged
// that happened.
//
// A record of the vantage point is matched with
//
//   - an event that was imported from it: the same record id, and the same record,
//     by the SHA-256 of its JSON text without white space between tokens;
//   - a session.started of the same session id, of whatever source;
//   - a command.executed of the same command id, of whatever source.
//
// An imported event shows that the record was not lost on its way into the log; an
// event of another source shows that the log saw it by itself. The report counts
// the second kind apart. A record that was imported with other content is matched
// with nothing, and listed.
//
// The other way, events that the vantage point must know are those imported from
// it and, where sources are named, their sessions and commands.
//
// Coverage is in per cent, rounded down, so that 100.00 means all; every miss is
// named. Over nothing there is no coverage. Memory grows with the records of the
// vantage point and with the misses, but not with the log.
package reconcile
