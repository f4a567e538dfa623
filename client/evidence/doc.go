// Package evidence makes evidence packs, verifies them offline, and draws
// samples that anybody can draw again.
//
// # What a pack is
//
// A pack answers one question about a log (a session, a change, a person, a
// system, what a rule found) with what proves the answer. It is a zip file:
//
//	manifest.json              the question, how it was answered, counts, every leaf
//	                           and why it is here, every other file with its size
//	                           and SHA-256
//	leaves/INDEX.leaf          the exact leaves (see log/entry)
//	leaves/INDEX.tlog-proof    https://c2sp.org/tlog-proof of each
//	checkpoint                 the log's signed and cosigned checkpoint
//	previous/checkpoint        the one that the auditor had verified before, and
//	previous/consistency       the proof (RFC 6962 section 2.1.2) that the log has
//	                           only grown since: a hash a line, base64
//	keys.json                  the key directory at that size
//	findings.json              the audit's report, with the findings about these leaves
//	rules.yaml                 the rules file by which they were judged
//	timeline.csv, report.html  for people
//
// All authority leaves are in it, so that the keys are rebuilt from what
// administrators signed. The same log, question, policy and rules give the same
// bytes: files in the order of their names, stored as they are, without times.
// [Verify] accepts this one form of a zip file only, so that no byte can change
// unseen; what is derived (keys, timeline, report) it makes again and compares.
// Packs behind 4 GiB or with more than 65,534 files are zip64 files; all others are
// as they were before there were such. Both ways a leaf at a time is in memory, and of
// each what the manifest says of it.
//
// # What a pack proves
//
// Every leaf in it was logged, when, signed by whom, and allowed to by whom. That
// none is missing (claim B) was proven to its maker by a full scan; a reader can
// prove it again only from a pack that holds all leaves ([Config.All]), over
// which Verify repeats the whole audit. Whoever makes a pack could leave a leaf
// out and write the manifest to suit. Against a pack that was changed after it
// was made there is its SHA-256, kept elsewhere: best in an audit.exported event.
package evidence
