package badger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// What Badger says in its log between the steps of a write, each time, in the goroutine that writes.
const (
	saysValuesWritten = "Writing to memtable"            // and nothing is in the WAL yet
	saysWALWritten    = "Sending updates to subscribers" // and nobody has been told
)

// syncer makes what the engine writes durable: values before the WAL is written, which makes them count, and the WAL
// before the write is said to be done. Badger can do the same (Options.SyncWrites), but syncs the value log also where
// nothing went into it, which is a third of what a small commit waits for; and where that sync fails it only says so.
type syncer struct {
	values, wal logTail

	// noValues: what is being written is short, all of it.
	noValues atomic.Bool

	// How often each was synced. A commit that has not been fails: Badger may have changed its words.
	valuesSynced, walSynced atomic.Uint64
}

func newSyncer(dir string) *syncer {
	return &syncer{
		values: logTail{dir: dir, names: syncDir, logs: func(all *files) []fileInfo { return all.values }},
		wal:    logTail{dir: dir, names: syncDir, logs: func(all *files) []fileInfo { return all.wals }},
	}
}

// valuesWritten is called when values are in the value log, as far as there are long ones.
func (s *syncer) valuesWritten() error {
	if s.noValues.Load() {
		return nil
	}
	if err := s.values.sync(); err != nil {
		return fmt.Errorf("syncing the value log: %w", err)
	}
	s.valuesSynced.Add(1)
	return nil
}

// walWritten is called when all is in the WAL.
func (s *syncer) walWritten() error {
	if err := s.wal.sync(); err != nil {
		return fmt.Errorf("syncing the WAL: %w", err)
	}
	s.walSynced.Add(1)
	return nil
}

// during runs a write of one transaction, and returns an error if it was not synced.
func (s *syncer) during(longValues bool, write func() error) error {
	s.noValues.Store(!longValues)
	defer s.noValues.Store(false)
	values, wal := s.valuesSynced.Load(), s.walSynced.Load()
	if err := write(); err != nil {
		return err
	}
	if wal == s.walSynced.Load() || longValues && values == s.valuesSynced.Load() {
		return errors.New("the engine has not let its write be synced")
	}
	return nil
}

func (s *syncer) close() {
	s.values.close()
	s.wal.close()
}

// logTail is the newest of the engine's WALs, or of its value logs: the one that is being written.
type logTail struct {
	dir   string
	names func(dir string) error // makes the names in it durable
	logs  func(*files) []fileInfo
	seen  dirMark // when it was looked for
	id    uint64
	file  *os.File
}

// sync makes what was written durable, also where the engine has gone on to another file meanwhile.
func (t *logTail) sync() error {
	if t.file != nil {
		if err := dataSync(t.file); err != nil {
			return err
		}
	}
	now, err := markOf(t.dir)
	if err != nil || t.seen.covers(now) {
		return err
	}
	all, err := listFiles(t.dir)
	if err != nil {
		return err
	}
	logs := t.logs(all)
	if t.file == nil { // opening: what stands in older ones has been read from the disk
		logs = logs[max(0, len(logs)-1):]
	}
	last := t.id
	for _, l := range logs {
		if err := t.goOn(l); err != nil {
			return err
		}
	}
	if t.id != last {
		// Commit would come to it later, and Reclaim much later: it writes several
		// times, and a record in the WAL must not point to a file without a name.
		if err := t.names(t.dir); err != nil {
			return fmt.Errorf("the names of new files: %w", err)
		}
	}
	t.seen = now
	return nil
}

// goOn syncs a log that is newer than t, and makes it t.
func (t *logTail) goOn(l fileInfo) error {
	if t.file != nil && l.id <= t.id {
		return nil
	}
	f, err := os.Open(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a WAL that is in a table already
	}
	if err != nil {
		return err
	}
	if err := dataSync(f); err != nil {
		return errors.Join(err, f.Close())
	}
	t.close()
	t.file, t.id = f, l.id
	return nil
}

func (t *logTail) close() {
	if t.file != nil {
		_ = t.file.Close() // nothing was written through it
	}
}

// dataSync also writes what was written through a map (fdatasync(2), mmap(2)).
func dataSync(f *os.File) error {
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}
