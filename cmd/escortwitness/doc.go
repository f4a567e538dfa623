// Escortwitness runs a transparency log witness: it remembers the largest tree
// it has seen of each log it was told of, and cosigns only what extends it.
//
// See package witness for what it promises and "escortwitness help" for how to run it.
package main
