// Package memory is the storage driver for tests: it keeps everything in
// memory and fails when told to.
//
// A [Disk] is what survives; a [Store] is one process's view of it. Faults are
// queued on the disk and met by the operations in the order they come:
//
//	disk := memory.NewDisk()
//	disk.OnCommit(memory.Succeed, memory.FailApplied)
//	store, err := disk.Open()
//	store.Commit(ctx, first)  // nil
//	store.Commit(ctx, second) // an error, and yet second is on the disk
//	disk.Crash()
//	store, err = disk.Open()  // sees second
//
// A view behaves as the contract demands of every driver: after a commit whose
// outcome is unknown it refuses further ones, and its reads stay at the last
// commit that succeeded, until the disk is opened again.
package memory
