// Package mirror keeps full copies of transparency logs, as
// https://c2sp.org/tlog-mirror describes: it takes entries that prove themselves,
// cosigns a checkpoint only after every entry below it is durable here, and serves the copy as
// https://c2sp.org/tlog-tiles.
//
// # How a copy grows
//
// The pending checkpoint of a log is the one that the witness beside the mirror cosigned
// last ([Source]); the witness is a cosigner of another name. add-entries brings packages
// of up to 256 entries, each with a proof that it is part of a pending checkpoint. A package
// that verifies is written as an entry bundle, durably, before the next is read; so
// an upload may break off anywhere and go on later. Entries are stored without gaps, so the next entry is
// simply how many there are. When all entries of a pending checkpoint are there, the hash
// tiles are completed, the root is computed from them and compared once more, and the
// checkpoint becomes the mirror's, cosigned.
//
// An older pending checkpoint is named by its ticket: the checkpoint itself, with the log's
// and the witness's signatures, which authenticate it.
//
// # What a crash leaves behind
//
// Every file appears whole, by a rename that is made durable. Entries beyond the mirror
// checkpoint are kept: they were proven. Tiles beyond it are what the next commit would write again.
//
// # What is checked when reading
//
// A bundle is served only if its entries hash to the hash tile beside it, a full hash tile only if it
// hashes to what the tile above says, and those at the right edge only if together they hash to the
// root of the mirror checkpoint. So a bit that flipped in any of them is an error and is never served.
package mirror
