// Package importer turns the records of other systems into events: one event
// for each record, with the record itself inside, and nothing invented.
//
// # What becomes of a record
//
// An event holds its record under data.imported.original, as the JSON value it
// was written as: every string and number keeps its spelling, only white space
// between tokens is left out. Some records an event cannot hold as a value,
// because it would have two readings (names that differ only in case, which AWS
// writes now and then; nesting deeper than an event allows; numbers out of
// range; lone surrogates). Their text stands in data.ext.original_text, as a
// string. A record that does not fit at all (48 KiB) is only named. In both
// cases data.imported.artifact has the SHA-256 and the size of the record's JSON
// text without white space between tokens, and as dataref its RFC 6920 name. The
// text of those that do not fit can be written to a folder (Options.Spill).
//
// Each record maps to the event type whose required facts it states. One that
// states fewer becomes record.observed: an importer does not know who escorted,
// who approved, or whether a request was carried out, and does not guess. The
// table of a system stands above its code; see cloudtrail.go, kubernetes.go,
// ocsf.go and teleport.go.
//
// # The same bytes again
//
// Importing the same records again yields the same events, byte for byte, so
// that a log recognises them. The id is a UUIDv7 of the record's own time and
// of a hash of source and record id. time and recordedtime are the record's
// time, unless Options.Recorded states when the records were collected. Only
// numbered events (Options.Sequence) depend on the order of the input.
//
// Inputs are read as a stream, holding one record at a time, from JSON or from
// gzip, which is detected by content.
package importer
