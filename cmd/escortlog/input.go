package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// maxItem is the size in bytes of the largest event or envelope that any log
// takes; what is longer is refused here.
const maxItem = 128 << 10

var errItemTooLarge = fmt.Errorf("longer than %d bytes, which no log takes", maxItem)

// item is one event or envelope of the input.
type item struct {
	place string // "FILE:LINE", for people
	line  int    // from 1; of an array, the element
	file  string
	raw   []byte // exactly the bytes given, without the white space around them
	err   error  // this one is broken; those behind it may be fine
}

// readInputs reads the named files, "-" being standard input, and calls yield
// with every item in order.
func readInputs(ctx context.Context, stdin io.Reader, names []string, yield func(item) error) error {
	for _, name := range names {
		if err := readInput(ctx, stdin, name, yield); err != nil {
			return err
		}
	}
	return nil
}

func readInput(ctx context.Context, stdin io.Reader, name string, yield func(item) error) error {
	r, label := stdin, "standard input"
	if name != "-" {
		f, err := openFile(name)
		if err != nil {
			return err
		}
		defer f.Close()
		r, label = f, name
	}
	in := bufio.NewReaderSize(r, maxItem+2)
	tag := func(it item) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		it.file = label
		it.place = fmt.Sprintf("%s:%d", label, it.line)
		return yield(it)
	}
	first, err := peekNonSpace(in)
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fmt.Errorf("reading %s: %w", label, err)
	case first == '[':
		return readArray(in, label, tag)
	default:
		return readLines(in, tag)
	}
}

// peekNonSpace returns the first byte that is not white space, without
// consuming anything.
func peekNonSpace(in *bufio.Reader) (byte, error) {
	for n := 1; ; n++ {
		head, err := in.Peek(n)
		if len(head) < n {
			return 0, err
		}
		if c := head[n-1]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c, nil
		}
	}
}

// readLines yields one item a line. A file whose first line is not JSON, and
// which is one JSON value as a whole, is one item: an envelope that another
// program wrote over several lines.
func readLines(in *bufio.Reader, yield func(item) error) error {
	pretty := true
	for line := 1; ; line++ {
		if pretty {
			if all, ok := wholeValue(in); ok {
				return yield(item{line: line, raw: all})
			}
		}
		raw, err := readLine(in)
		if errors.Is(err, errItemTooLarge) {
			err = yield(item{line: line, err: err})
			pretty = false
		} else if text := bytes.TrimSpace(raw); len(text) > 0 {
			pretty = false
			if yieldErr := yield(item{line: line, raw: text}); yieldErr != nil {
				return yieldErr
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// wholeValue returns the rest of the input when it is one JSON value on several
// lines. It consumes nothing and waits for no more than one line when that line
// is JSON by itself.
func wholeValue(in *bufio.Reader) ([]byte, bool) {
	for n := 1; ; n++ {
		head, _ := in.Peek(n)
		if len(head) < n {
			// The input ends, or the buffer is full: a single line, or too long.
			return nil, false
		}
		if head[n-1] == '\n' {
			line := bytes.TrimSpace(head)
			if len(line) == 0 || jsontext.Value(line).IsValid() {
				return nil, false
			}
			break
		}
	}
	all, err := in.Peek(maxItem + 1)
	text := bytes.TrimSpace(all)
	return bytes.Clone(text), errors.Is(err, io.EOF) && jsontext.Value(text).IsValid()
}

// readLine returns the next line. A line that is too long is skipped whole.
func readLine(in *bufio.Reader) ([]byte, error) {
	raw, err := in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return bytes.Clone(raw), err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = in.ReadSlice('\n')
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return nil, errItemTooLarge
}

// readArray yields the elements of one JSON array, the input that people know as label.
func readArray(in *bufio.Reader, label string, yield func(item) error) error {
	limited := &elementReader{r: in, left: 2 * maxItem}
	// What a strict reader refuses inside an element is judged element by element.
	dec := jsontext.NewDecoder(limited, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	broken := func(n int, err error) error {
		return usageErrorf("%s: element %d of the array: %w", label, n, err)
	}
	if _, err := dec.ReadToken(); err != nil {
		return broken(1, err)
	}
	n := 1
	for ; ; n++ {
		limited.left = 2 * maxItem
		if dec.PeekKind() == jsontext.KindEndArray {
			break
		}
		raw, err := dec.ReadValue()
		if err != nil {
			return broken(n, err)
		}
		it := item{line: n, raw: bytes.Clone(raw)}
		if len(raw) > maxItem {
			it = item{line: n, err: errItemTooLarge}
		}
		if err := yield(it); err != nil {
			return err
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return broken(n, err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return usageErrorf("%s: something follows the JSON array", label)
	}
	return nil
}

// elementReader bounds what one element can take of memory.
type elementReader struct {
	r    io.Reader
	left int
}

func (l *elementReader) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, errItemTooLarge
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}
