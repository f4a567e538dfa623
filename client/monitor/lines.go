package monitor

import (
	"bufio"
	"errors"
	"io"
	"math"
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
