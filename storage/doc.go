// Package storage is the contract between the log and what keeps its bytes:
// an ordered key-value store with a single write, [Store.Commit], that is
// atomic, durable when it returns, and guarded by compare-and-swap on one
// value, the head.
//
// Nothing above depends on more than that, so a driver is small. The default
// is storage/badger; storage/memory keeps everything in memory and can be told
// to fail; storage/storagetest is the one suite that every driver passes.
//
// The head is opaque here. The log puts its size, root hash and clock into it,
// so that two writers on one store, or a writer that missed a commit, are
// refused by the store itself rather than by convention.
package storage
