package badger

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	engine "github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/storage"
)

// lockName is locked before Badger locks the directory itself: the files are
// looked at, and tidied, before Badger opens them.
const lockName = "STORE.lock"

// makeDir makes dir, with all above it, and syncs their names.
func makeDir(dir string) error {
	above := filepath.Dir(dir)
	if err := os.Mkdir(dir, 0o700); errors.Is(err, os.ErrNotExist) {
		if err := makeDir(above); err != nil {
			return err
		}
		return makeDir(dir)
	} else if err != nil {
		if info, serr := os.Stat(dir); serr != nil || !info.IsDir() {
			return err
		}
	}
	// Also where dir was there: who made it may not have come that far.
	if err := syncDir(above); err != nil && !errors.Is(err, os.ErrPermission) {
		return err
	}
	return nil
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("%w: stop the other one first", ErrInUse)
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Space returns an error that wraps storage.ErrFull when even a small commit would
// be refused for want of space.
func (s *Store) Space() error { return checkFree(s.dir, s.opts.MinFree) }

// checkFree returns an error that wraps storage.ErrFull when fewer than need
// bytes are free. Badger writes through mapped files, where a full disk is no
// error but a SIGBUS that ends the process.
func checkFree(dir string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("%w: asking for the free space of %s: %w", storage.ErrFull, dir, err)
	}
	if free := int64(st.Bavail) * int64(st.Bsize); free < need {
		return fmt.Errorf("%w: %d MiB are free in %s, %d MiB are needed", storage.ErrFull, free>>20, dir, need>>20)
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// tick is more than the steps of the clock that file systems stamp with.
const tick = 50 * time.Millisecond

// dirMark says up to which change a directory has been looked at.
type dirMark struct {
	changed time.Time // its modification time before that
	settled bool      // any later change has another modification time
}

func markOf(dir string) (dirMark, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return dirMark{}, err
	}
	return dirMark{info.ModTime(), time.Since(info.ModTime()) > tick}, nil
}

// covers reports whether nothing has been created or removed since m was made.
func (m dirMark) covers(now dirMark) bool { return m.settled && m.changed.Equal(now.changed) }

// syncNames makes the names of all files durable that Badger has created, which
// Badger itself leaves to chance, and lets it remove the files that these
// replace. It costs one stat when nothing has been created or removed.
//
// The order is what a power cut at any moment needs: the new pin holds back
// every removal that is not yet covered by the sync, then the names are synced,
// then the old pin lets go.
func (s *Store) syncNames() error {
	now, err := markOf(s.dir)
	if err != nil || s.names.covers(now) {
		return err
	}
	next := newPin(s.db, s.version)
	if err := syncDir(s.dir); err != nil {
		return fmt.Errorf("syncing the names of new files: %w", err)
	}
	s.mapped = findMapping(s.dir)
	if s.pin != nil {
		s.pin.close()
	}
	s.pin = next
	s.names = now
	return nil
}

// renewPin syncs the names and lets go of the pin for a moment, in which Badger
// removes the value logs that are collected: those it keeps while there is any
// iterator. No write may be under way, nor may a memtable be waiting to be
// written.
func (s *Store) renewPin() error {
	if err := s.tripped.err(); err != nil {
		return err // what was moved may not be durable
	}
	if err := syncDir(s.dir); err != nil {
		return fmt.Errorf("syncing the names of new files: %w", err)
	}
	if s.pin != nil {
		s.pin.close()
	}
	s.pin = newPin(s.db, s.version)
	return nil
}

// pin is an iterator that nobody moves. While it is open Badger removes no WAL,
// table or value log that existed when it was opened.
type pin struct {
	txn *engine.Txn
	it  *engine.Iterator
}

func newPin(db *engine.DB, version uint64) *pin {
	txn := db.NewTransactionAt(version, false)
	return &pin{txn, txn.NewIterator(engine.IteratorOptions{})}
}

func (p *pin) close() {
	p.it.Close()
	p.txn.Discard()
}

// logHeaderSize is the length of the header of a WAL or value log: the number
// of the encryption key, which is 0, and a nonce.
const logHeaderSize = 20

// tidy does, without dropping anything, what Badger would do on opening after a
// kill by dropping: it removes logs of length zero, and ends the newest value
// log, which has been allocated in advance, after its last byte. Badger would
// cut it after its last good record instead, and so lose all that follows a
// damaged one; it looks only at the newest, so there is an empty one after it.
func tidy(dir string) error {
	files, err := listFiles(dir)
	if err != nil {
		return err
	}
	for _, f := range append(files.wals, files.values...) {
		if f.size == 0 {
			if err := os.Remove(f.path); err != nil {
				return err
			}
		}
	}
	var newest fileInfo
	for _, f := range files.values {
		if f.size >= logHeaderSize && f.id >= newest.id {
			newest = f
		}
		if f.size >= valueLogFileSize {
			if err := trim(f.path); err != nil {
				return err
			}
		}
	}
	if newest.id == 0 {
		return nil
	}
	if err := trim(newest.path); err != nil {
		return err
	}
	header := make([]byte, logHeaderSize)
	rand.Read(header[8:])
	return os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d.vlog", newest.id+1)), header, 0o600)
}

// trim cuts the zeros at the end of a value log.
func trim(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	end, err := dataEnd(f)
	if err == nil {
		if end > logHeaderSize {
			end += 4 // the checksum of the last record may end in zeros
		}
		if info, serr := f.Stat(); serr == nil && max(end, logHeaderSize) < info.Size() {
			err = f.Truncate(max(end, logHeaderSize))
		}
	}
	return errors.Join(err, f.Close())
}

// dataEnd returns the offset after the last byte of f that is not zero.
func dataEnd(f *os.File) (int64, error) {
	type extent struct{ start, end int64 }
	var extents []extent
	for pos := int64(0); ; {
		start, err := f.Seek(pos, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // no data beyond pos
		}
		if err != nil {
			return 0, err
		}
		end, err := f.Seek(start, unix.SEEK_HOLE)
		if err != nil {
			return 0, err
		}
		extents = append(extents, extent{start, end})
		pos = end
	}
	buf := make([]byte, 1<<16)
	for i := len(extents) - 1; i >= 0; i-- {
		for end := extents[i].end; end > extents[i].start; {
			start := max(extents[i].start, end-int64(len(buf)))
			part := buf[:end-start]
			if _, err := f.ReadAt(part, start); err != nil && err != io.EOF {
				return 0, err
			}
			for j := len(part); j > 0; j-- {
				if part[j-1] != 0 {
					return start + int64(j), nil
				}
			}
			end = start
		}
	}
	return 0, nil
}
