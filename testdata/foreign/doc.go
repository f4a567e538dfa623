// Package foreign is a module of its own for the programs of other people that escortlog is tried against: readers
// on golang.org/x/mod and filippo.io/torchwood, Tessera's fsck, a Tessera log and its server, and litewitness. Its many
// dependencies stay out of escortlog's own go.mod. `make e2e` builds and runs them, `make bench-peers` measures some.
package foreign
