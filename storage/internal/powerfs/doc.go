// Package powerfs is a file system that loses power, for tests: it forgets at a
// cut what has not been made durable, as a disk with a cache does.
//
// It is served through FUSE, mounted without a helper program (so as root, on
// Linux), and any program can run on it. Everything lies in memory.
//
// # What is durable
//
// Each file has two contents, the one that processes see and the one that is on
// the disk. A page of 4 KiB goes from the first to the second when the file is
// synced: fsync, fdatasync and msync all reach a FUSE server as FSYNC, and the
// kernel writes the dirty pages of mappings (WRITE) before that. Pages of a
// mapping that nobody synced are written when the kernel likes, at the latest
// when the process ends; here they count as written and not synced.
//
// Names (create, mkdir, link, rename, unlink, rmdir) are durable, by [Mode],
// with any sync at all, as on ext4, or only with a sync of the directory, which
// is all that POSIX promises.
//
// # The cut
//
// [FS.Cut] ends the mount. Of each file, every page that was not synced survives
// or not, each by itself, and so does the length. In Journaled mode the oldest
// names that were not synced survive, in Strict mode any; a rename happens wholly
// or not at all. A new [FS.Mount] shows what is left, under the same inode
// numbers.
//
// [FS.CutAt] stops the power after a number of changes, between two steps of a
// commit: then nothing is answered any more until the processes are killed and
// [FS.PowerOff] is called.
//
// # Faults
//
// [FS.Fail] makes the n-th write or sync fail, once, as a broken sector does;
// [FS.Break] also all from then on, and those of some files only, until [FS.Repair].
// After a failed sync the pages it was for may be lost even if a later sync
// succeeds, which is how Linux behaves. [FS.Limit] makes the disk small.
//
// # What differs from a disk
//
// Modes, owners and times are durable at once. Pages are never torn within, and of
// a page that was written several times since the last sync the newest content
// survives or none. A full disk is an error of the write or of msync; on a disk
// file system a store to a mapping would be a SIGBUS. Locks are the kernel's.
//
// A process that serves a mount must not map a file of it, nor start a program
// with its working directory there: a page fault cannot be interrupted by the Go
// scheduler, which the server needs to answer it.
package powerfs
