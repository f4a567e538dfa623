// Package vectors makes the files of testdata, and its tests read them back:
// every good one is accepted by this module's code and every wrong one refused.
//
// What makes the vectors is not what reads them. The files reference_*.go are
// written from the texts (RFC 6962, RFC 8446 section 3, DSSE, c2sp.org), slowly
// and plainly, and share no code with the rooms under test; so a vector is where
// two implementations agree. Only the events themselves (cmd/internal/samples)
// are built with this module's own builder.
//
// Wrong files are named by how they are wrong and lie in folders named by how
// that shows. All keys, times and salts are fixed: `make generate` makes the same
// bytes each time.
package vectors

//go:generate go run generate.go
