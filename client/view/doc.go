// Package view folds the leaves of a log into what people ask of it: the
// timeline of a session, a change, a person or a system, and the list of
// sessions.
//
// The leaves have to be verified, all of them, in the order of the log; whoever
// feeds this package does that (see client/audit) and says with [Origin] what
// was proven. Fed with every leaf of a checkpoint, a view is complete by full
// scan.
//
// Nothing is ever edited. A line shows a record as it was logged; what later
// records say about it (record.corrected, record.retracted, record.redacted)
// stands beside it with the effective view: the payload after the corrections
// (JSON Patch, RFC 6902) in the order of the log. A correction or retraction
// counts only when it comes from the source of the record it is about, and only
// for a record logged before it; any other is listed as not applied, with the
// reason. A redaction takes nothing out of the log: it names what its submitter
// no longer discloses.
//
// Every line gives its index and three times: when it happened, when its source
// recorded it, and when the log took it.
//
// The package is pure: no I/O, no clock. Its writers produce a table for people,
// JSON, and CSV (RFC 4180) whose cells no spreadsheet takes for formulas.
package view
