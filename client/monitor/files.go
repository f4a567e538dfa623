package monitor

import (
	"bufio"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
)

// lines reads whole lines of a file that may grow or end in half of one.
type lines struct {
	in  *bufio.Reader
	end int64
}

func newLines(r io.ReaderAt, offset int64) *lines {
	return &lines{in: bufio.NewReader(io.NewSectionReader(r, offset, math.MaxInt64-offset)), end: offset}
}

// next returns a line without its end and the offset behind it; nil at the end.
func (l *lines) next() ([]byte, int64, error) {
	line, err := l.in.ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		return nil, l.end, nil
	}
	if err != nil {
		return nil, l.end, err
	}
	l.end += int64(len(line))
	return line[:len(line)-1], l.end, nil
}

// writeFile replaces a file so that after a crash the old content is there or
// the new one: written beside it, synced, renamed, and the directory synced.
func writeFile(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(dir)
}

func syncDir(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}
