// Package badger is the default storage driver: storage.Store on one directory,
// with Badger (github.com/dgraph-io/badger/v4) underneath.
//
// # Where bytes lie
//
// One batch is one Badger transaction, numbered by this package from 1 without
// gaps. Values of 1 KiB and more go to the value log, all else to the WAL and,
// when 64 MiB of that have come together, to a sorted table. Every value stands
// behind a CRC-32C of its key and itself.
//
// # What Badger 4.9.6 leaves to its user, and what is done here
//
// Durability. Badger can sync each transaction, value log before WAL, but syncs
// the value log also where nothing is in it, and a failed sync of it is only
// logged, and the WAL is written all the same. So the syncs are made here: between
// the steps of a write Badger says in its log what it does next, and its log is
// listened to. A failed sync of the value log ends the goroutine that writes before
// it comes to the WAL, and fails the commit; so does a commit during which Badger
// was silent. It never syncs the directory after creating a WAL, value log or
// table: that is done here before the WAL can point to a new value log, and by Commit
// when the directory changed; an open iterator keeps Badger from removing what the new
// files replace until then.
//
// Failed commits. After an error, values of the failed transaction are visible
// in Badger; reads here stay at the last commit that succeeded, and no commit
// is taken until the store is opened again. Nor is the engine closed then, which
// would write the failed commit to a table.
//
// Full disk. Badger writes through mapped files, where a full disk is a SIGBUS:
// Commit asks for the free space first.
//
// Opening. Badger repairs by dropping: the tail of a WAL or value log after a
// damaged record, tables that a damaged MANIFEST does not name, without an
// error. Open checks all tables, WALs and the MANIFEST before Badger sees them
// and refuses, changing nothing. It cannot see that the end of everything is
// missing; who keeps the head elsewhere can. What a kill has left in WALs Badger
// would write to tables while it opens, and remove the WALs before the names of the
// tables are durable: Open makes the table itself, and Badger finds no WAL. That also
// writes again what a failed sync has left in the page cache alone.
//
// Reading. Badger gives an empty value for one that it cannot read, and takes a
// damaged block of a table for its end: so a key is not found, an older value
// comes back, a scan is shorter. The checksum before each value finds the first;
// after a key was not found and after each scan the blocks concerned are
// checked. An older value after damage to a running store's tables is not
// noticed; the head, the value that matters here, is kept in memory. What a disk
// error makes of a mapped page is returned as an error.
//
// Compaction. One that meets a damaged block or cannot create a table drops keys
// and reports success. There is none but in Reclaim, which checks all blocks
// before and compares all keys after. Until then what was there before stays, with a
// copy of its MANIFEST: opening the store goes on from that, and so undoes the
// compaction.
//
// Files are locked against other processes. The system calls used need a Unix.
//
// # Known weaknesses
//
// Commits wait while Reclaim merges the tree and while it moves the values of
// one value log: tenths of a second on a busy disk. A value log that was
// collected when a kill came before its removal stays on the disk. After a failed
// commit the directory stays locked until the process ends. Another program that
// fills the disk faster than Options.MinFree is checked can still end the process, and so
// can a disk that does not give a page of a log that is being written.
package badger
