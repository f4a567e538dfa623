package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"golang.org/x/mod/sumdb/tlog"
)

// prefix says how much of an append-only file counts, and what it holds.
type prefix struct {
	Bytes  int64     `json:"bytes"`
	SHA256 tlog.Hash `json:"sha256"`
}

// journal is a file that only grows. How much of it counts is said elsewhere,
// in a prefix that is replaced atomically after the file was synced; what a
// crash left behind that is written over, or cut off by the next commit.
type journal struct {
	path    string // "": in a file that nobody else sees
	file    *os.File
	size    int64 // of what is in the file
	state   hash.Hash
	waiting []byte // to be written behind that
}

// maxWaiting is how many bytes wait to be written.
const maxWaiting = 1 << 16

// openJournal reads the prefix p of the file and calls read with its bytes,
// piece by piece. An error that wraps errState says that the file is not what
// was written.
func openJournal(path string, p prefix, read func(r io.Reader) error) (*journal, error) {
	j := &journal{path: path, size: p.Bytes, state: sha256.New()}
	if p.Bytes == 0 {
		return j, nil // whatever a run that broke off left behind
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errState, err)
	}
	defer f.Close()
	tee := io.TeeReader(io.LimitReader(f, p.Bytes), j.state)
	if err := read(tee); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errState, path, err)
	}
	if _, err := io.Copy(io.Discard, tee); err != nil { // what read left
		return nil, err
	}
	if !bytes.Equal(j.state.Sum(nil), p.SHA256[:]) {
		return nil, fmt.Errorf("%w: %s was cut off or changed", errState, path)
	}
	return j, nil
}

// write appends b. It does not count before a prefix that holds it is stored.
func (j *journal) write(b []byte) error {
	j.waiting = append(j.waiting, b...)
	if len(j.waiting) < maxWaiting {
		return nil
	}
	return j.flush()
}

func (j *journal) flush() (err error) {
	if j.file == nil {
		if j.path == "" {
			j.file, err = hiddenFile()
		} else {
			j.file, err = os.OpenFile(j.path, os.O_RDWR|os.O_CREATE, 0o644)
		}
		if err != nil {
			return err
		}
	}
	if _, err := j.file.WriteAt(j.waiting, j.size); err != nil {
		return err
	}
	j.state.Write(j.waiting)
	j.size += int64(len(j.waiting))
	j.waiting = j.waiting[:0]
	return nil
}

// commit makes what was written durable, and returns the prefix that holds it.
func (j *journal) commit() (p prefix, err error) {
	if err := j.flush(); err != nil {
		return p, err
	}
	if err := j.file.Truncate(j.size); err != nil {
		return p, err
	}
	if err := j.file.Sync(); err != nil {
		return p, err
	}
	return prefix{Bytes: j.size, SHA256: tlog.Hash(j.state.Sum(nil))}, nil
}

// reader reads all that was written.
func (j *journal) reader() (io.Reader, error) {
	if err := j.flush(); err != nil {
		return nil, err
	}
	return io.NewSectionReader(j.file, 0, j.size), nil
}

func (j *journal) close() error {
	if j == nil || j.file == nil {
		return nil
	}
	err := j.file.Close()
	if j.path == "" {
		err = errors.Join(err, removeIfThere(j.file.Name()))
	}
	return err
}

// hiddenFile makes a file for as long as it is open. Where the system lets open
// files be removed it has no name, and is gone however the process ends.
func hiddenFile() (*os.File, error) {
	f, err := os.CreateTemp("", "escortlog-audit-*")
	if err == nil {
		_ = os.Remove(f.Name()) // else it is removed when it is closed
	}
	return f, err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
