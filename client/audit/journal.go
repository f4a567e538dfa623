package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"
)

// prefix says how much of an append-only file counts, and what it holds.
type prefix struct {
	Bytes  int64     `json:"bytes"`
	SHA256 tlog.Hash `json:"sha256"`
}

// journal is a file that only grows. How much of it counts is said elsewhere,
// in a prefix that is replaced atomically after the file was synced; what a
// crash left behind that is cut off by the next append.
type journal struct {
	path  string
	size  int64
	state hash.Hash // of the first size bytes
}

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

// append writes b behind what counts, makes it durable, and returns the new
// prefix. It does not count before that prefix is stored.
func (j *journal) append(b []byte) (p prefix, err error) {
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(j.size); err != nil {
		return p, err
	}
	if _, err := f.WriteAt(b, j.size); err != nil {
		return p, err
	}
	if err := f.Sync(); err != nil {
		return p, err
	}
	j.state.Write(b)
	j.size += int64(len(b))
	return prefix{Bytes: j.size, SHA256: tlog.Hash(j.state.Sum(nil))}, nil
}

// reader reads what counts.
func (j *journal) reader() (io.ReadCloser, error) {
	if j.size == 0 {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	f, err := os.Open(j.path)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, j.size), f}, nil
}

// writeFile replaces a file so that after a crash the old content is there or
// the new one: written beside it, synced, renamed, and the directory synced.
func writeFile(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeIfThere(f.Name()))
		}
	}()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func syncDir(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}
