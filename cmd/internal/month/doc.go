// Package month makes a month of escorted work as a log would hold it: dozens of
// people, systems of every impact level, hundreds of sessions with requests,
// approvals, relayed commands, changes, recordings and attestations, and sources
// that number and chain their events, send heartbeats and state their totals.
//
// A month is made from a seed, to the same bytes each time. As it is, an auditor
// finds nothing in it. [Plantings] break it on purpose: each plants the violation
// of one rule a known number of times and says what has to be found, where. Some
// acts break two rules (an engineer who sits in a covered nation sits in an
// undeclared country, too); then both are said.
//
// The generator knows the rules from their sentences only, and shares no code with
// the rules that it is used to test.
//
// Everybody and everything in it is invented, and every key is made from a public
// seed: none protects anything.
package month
