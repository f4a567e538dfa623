// Package rules judges a verified log by the rules an auditor runs: 25 built in,
// see [Catalogue], and an organisation's own as CEL expressions in its rules
// file.
//
// It is pure: no I/O and no clock. An [Engine] is given every leaf in the order
// of the log with [Engine.Add], after somebody else has verified it, and says
// with [Engine.Report] what it thinks at a given time. A report changes nothing,
// so that it can be asked for at any time, and depends on the leaves, the rules
// file and that time alone.
//
// # Times
//
// t is when an event says it happened, r when its source says it recorded it, L
// the time in the leaf, i the leaf's index. What has to come "earlier" than
// something else has a lower index too: whoever could add an approval afterwards
// could claim anything. Events of several sources do not reach the log in the
// order in which they happened, though. So what happened in a session is put
// into the order of t, and judged only once t lies further back than the time an
// event may take into the log (late, 15 minutes, which rule TIME holds sources
// to). Where something is due within a time, it is due so both in t and in L.
//
// # What is kept
//
// Memory grows with open sessions, with changes of the last weeks, with people,
// systems, sources and keys, and with the findings listed, but not with the
// leaves. A session is judged for good and forgotten when it ended and its
// attestation (or, after an anomaly, the second review) is no longer awaited;
// what comes later for it looks like the events of a session that never began.
//
// # What is judged
//
// The original of every event. A correction never edits: what it may change is
// nothing that a rule reads, and one that changes more is found by
// CORRECTION_ABUSE. About people the events are believed where they speak of
// places, the registry where they do not, and for CITIZENSHIP_BY_LEVEL the worse
// of both.
package rules
