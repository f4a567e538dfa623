package badger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	engine "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/escortlog/escortlog/storage"
)

// ErrInUse is wrapped by Open's error when a store, in this process or another,
// has the directory open.
var ErrInUse = errors.New("storage/badger: directory is in use by another process")

// DefaultMinFree is the free space, in bytes, below which a commit is refused.
// It leaves room for what Badger writes of itself: full memtables, compaction.
const DefaultMinFree = 256 << 20

// Sizes of the engine. A batch must fit into 15 % of the memtable beside 12
// bytes a key, and no batch may hold more keys than that takes at 96 bytes each:
// limits follows from memTableSize, and TestLimits of the conformance suite
// fails when it does not.
const (
	memTableSize     = 64 << 20
	valueLogFileSize = 64 << 20 // commits wait while one is collected

	// valueThreshold: shorter values live in the tree, where a commit of one
	// small event costs one sync, longer ones in the value log, where they are
	// written once and never moved by compaction.
	valueThreshold = 1 << 10
)

var limits = storage.Limits{Bytes: 8 << 20, Keys: 1 << 16}

// Options are what an operator may choose.
type Options struct {
	// MinFree is the free space on the disk, in bytes, below which Commit
	// returns storage.ErrFull. 0 means DefaultMinFree. Below half of it Open
	// refuses too.
	MinFree int64

	// ReclaimAfter is how many bytes are committed before the space of deleted
	// values is looked for. 0 means 256 MiB, a negative number never.
	ReclaimAfter int64

	// ReclaimIdle is how long nothing is committed before it is looked for
	// earlier. 0 means 15 s.
	ReclaimIdle time.Duration

	// Logger receives what Badger says, at debug level, and warnings of this
	// package. Nil discards.
	Logger *slog.Logger
}

// Store implements storage.Store on a directory.
type Store struct {
	dir     string
	opts    Options
	log     *slog.Logger
	lock    *os.File // flocked while the store is open
	db      *engine.DB
	tripped *tripwire // an error Badger only logged
	syncs   *syncer
	tables  *tableSet // checks what Badger reads over silently

	// writer holds one token. Who took it owns the fields of this group.
	writer chan struct{}
	head   []byte  // the stored head, nil when there is none
	names  dirMark // the directory when it was last synced
	pin    *pin    // delays the removal of files
	buffer []byte  // the sealed values of the last commit
	ahead  int64   // bytes of the WAL that are there as zeros, about
	mapped mapping // of the value log that is being written

	// sinceFlush is no less than what the memtable holds, in bytes: below half
	// of memTableSize there is no other one.
	sinceFlush int64

	closing    chan struct{} // closed when Close begins
	reclaiming sync.Mutex    // one Reclaim at a time

	mu      sync.Mutex
	idle    sync.Cond      // signalled when readers becomes empty
	version uint64         // newest version that is durable: what reads see
	readers map[uint64]int // versions being read, with the number of readers
	failed  error          // outcome unknown: no commits until reopened
	closed  bool
	background
}

// background is the goroutine that reclaims space.
type background struct {
	unreclaimed atomic.Int64 // bytes committed since it was done last

	cancel context.CancelFunc
	wake   chan struct{}
	done   chan struct{}
}

var _ storage.Store = (*Store)(nil)

// Open opens the store in dir, which is created where it does not exist.
//
// It checks what is on the disk before Badger sees it, because Badger repairs
// by dropping: an error that wraps storage.ErrCorrupt names the file, and
// nothing has been changed. ErrInUse says that another store has the directory
// open, storage.ErrFull that there is too little free space to open it safely.
func Open(dir string, o Options) (*Store, error) {
	s, err := open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("storage/badger: opening %s: %w", dir, err)
	}
	return s, nil
}

func open(dir string, o Options) (_ *Store, err error) {
	if o.MinFree == 0 {
		o.MinFree = DefaultMinFree
	}
	if o.ReclaimAfter == 0 {
		o.ReclaimAfter = 256 << 20
	}
	if o.ReclaimIdle == 0 {
		o.ReclaimIdle = 15 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{
		dir: dir, opts: o, log: o.Logger, lock: lock,
		tripped: newTripwire(o.Logger),
		syncs:   newSyncer(dir),
		tables:  &tableSet{dir: dir},
		writer:  make(chan struct{}, 1),
		closing: make(chan struct{}),
		readers: make(map[uint64]int),

		sinceFlush: memTableSize, // there may be memtables from WALs
	}
	s.idle.L = &s.mu
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

// start opens the engine on the locked directory.
func (s *Store) start() (err error) {
	if err := checkFree(s.dir, s.opts.MinFree/2); err != nil {
		return err
	}
	if err := forgetCached(s.dir); err != nil {
		return err
	}
	found, err := checkFiles(s.dir)
	if err != nil {
		return err
	}
	if len(found.nameless) > 0 {
		s.log.Warn("MANIFEST names tables that are missing, the WAL replaces them", "dir", s.dir, "tables", found.nameless)
	}
	if err := moveWALs(s.dir, found.nameless); err != nil {
		return fmt.Errorf("moving the last commits to a table: %w", err)
	}
	if err := tidy(s.dir); err != nil {
		return err
	}
	if s.db, err = openEngine(engineOptions(s.dir, s.tripped)); err != nil {
		return err
	}
	if err := errors.Join(s.syncs.values.sync(), s.syncs.wal.sync()); err != nil {
		return err
	}
	s.tripped.syncs.Store(s.syncs)
	s.version = s.db.MaxVersion()
	if s.version != found.newest {
		return fmt.Errorf("%w: Badger came up at commit %d, its files reach %d", storage.ErrCorrupt, s.version, found.newest)
	}
	if s.head, err = s.get(storage.HeadKey); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	if err := s.syncNames(); err != nil {
		return err
	}
	if err := s.tripped.err(); err != nil {
		return err
	}
	s.reclaimInBackground()
	s.writer <- struct{}{}
	return nil
}

func engineOptions(dir string, logger engine.Logger) engine.Options {
	o := engine.DefaultOptions(dir)
	o.Logger = logger
	o.MetricsEnabled = false

	o.SyncWrites = false // see syncer
	o.ValueThreshold = valueThreshold
	o.ValueLogFileSize = valueLogFileSize
	o.VerifyValueChecksum = true

	o.MemTableSize = memTableSize
	o.NumMemtables = 2
	o.DetectConflicts = false // there is one writer
	o.NumVersionsToKeep = 1

	// What is stored is compressed or does not compress. Without compression
	// blocks are read in place and checked each time.
	o.Compression = options.None
	o.BlockCacheSize = 0
	o.ChecksumVerificationMode = options.OnBlockRead

	// No compaction but in reclaim: a compaction that meets a damaged block, or
	// cannot create a table, drops keys without an error. So level 0 may grow
	// as it likes, and everything else is in the last level.
	o.NumCompactors = 0
	o.CompactL0OnClose = false
	o.NumLevelZeroTables = 1 << 20
	o.NumLevelZeroTablesStall = 1 << 21
	o.BaseLevelSize = 1 << 40
	return o
}

func openEngine(o engine.Options) (*engine.DB, error) {
	// Managed: this package numbers the commits. So reads need not wait for a
	// commit under way, and never see one that failed.
	db, err := engine.OpenManaged(o)
	if err != nil && strings.Contains(err.Error(), "Create a new file") {
		// A log of length zero, left by a kill between creation and first
		// growth, or between emptying and removal. tidy removes those; should
		// one be left, Badger has repaired it in failing.
		db, err = engine.OpenManaged(o)
	}
	switch {
	case err == nil:
		return db, nil
	case strings.Contains(err.Error(), "Cannot acquire directory lock"):
		return nil, fmt.Errorf("%w: %w", ErrInUse, err)
	default:
		return nil, err // Badger may return a database beside
	}
}

// Limits implements storage.Store.
func (s *Store) Limits() storage.Limits { return limits }

// Close waits for commits and reads under way and closes the engine.
//
// After a failed commit it returns an error and leaves the engine as it is, and the
// directory locked until the process ends: the engine, closing, would write the commit
// that failed to a table. A kill before MANIFEST names that table, or a power cut
// before its name is durable, would leave a commit that is in no WAL, which is what
// damage looks like.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return storage.ErrClosed
	}
	s.closed = true
	s.mu.Unlock()

	close(s.closing)
	s.cancel()
	<-s.done
	<-s.writer // no commit is under way, and none will begin
	s.mu.Lock()
	for len(s.readers) > 0 {
		s.idle.Wait()
	}
	failed := s.failed
	s.mu.Unlock()

	if failed = cmp.Or(failed, s.tripped.err()); failed != nil {
		return fmt.Errorf("storage/badger: closing without writing anything more, after a failure: %w", failed)
	}
	return s.release()
}

// release gives back what start took, as far as it came.
func (s *Store) release() error {
	var errs []error
	if s.db != nil {
		errs = append(errs, s.closeEngine())
	}
	s.syncs.close()
	s.tables.close()
	errs = append(errs, s.lock.Close())
	return errors.Join(errs...)
}

// closeEngine closes Badger, which writes the memtable to a table of which the
// name may not be durable when its WAL goes: so a pin outlives the engine, and
// the WAL goes last. When anything fails the pin stays and the WAL too; the next
// opening reads both.
func (s *Store) closeEngine() error {
	if err := s.renewPin(); err != nil {
		return errors.Join(err, s.db.Close())
	}
	if err := errors.Join(s.db.Close(), s.tripped.err()); err != nil {
		return fmt.Errorf("storage/badger: closing %s: %w", s.dir, err)
	}
	s.pin.close()
	return nil
}
