// Package conformance asks any witness, over HTTP and nothing else, whether
// it does what https://c2sp.org/tlog-witness and the specifications it builds on say,
// sentence by sentence.
//
// The witness must trust a few logs that the suite can sign for: [GenerateKeys]
// makes their keys, [Keys.LogList] says what to configure. The trees of these
// logs are the same in every run, so the suite can be run again on the same
// witness; only the checks of a first contact then need fresh keys, and are skipped
// without. Nothing here depends on the witness of this project.
package conformance
