// Package storagetest is the conformance suite of the storage contract: every
// sentence of the comments on storage.Store and storage.Batch, as a test that
// any driver runs against itself with [Run].
package storagetest
