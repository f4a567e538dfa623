package importer

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxRecord is the size in bytes of the largest record that is read. AWS ends
// CloudTrail records at 1 MiB; what is larger is no record but a broken file.
const MaxRecord = 4 << 20

var errRecordTooLarge = fmt.Errorf("a value is larger than %d bytes", MaxRecord)

// wrapper is the object in which a system writes a list of records.
type wrapper struct {
	list string // the member that holds the records, such as "Records"; empty: there is no such object
	// beside are members that may stand beside the list, with the one value,
	// compact, that says no more than that this is such an object.
	beside map[string]string
}

// records reads one input record by record, holding one at a time: an object
// such as {"Records":[…]}, an array, records one after another, or any of these
// compressed with gzip, as the first bytes tell.
type records struct {
	budget  *budget
	dec     *jsontext.Decoder
	wrapper wrapper
	open    container
	begun   bool
}

// container is the JSON value that the records stand in.
type container int

const (
	topLevel container = iota
	inArray
	inWrapper // the array within a wrapper
)

func newRecords(r io.Reader, w wrapper) (*records, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	magic, err := in.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var plain io.Reader = in
	if bytes.Equal(magic, []byte{0x1f, 0x8b}) { // RFC 1952 section 2.3.1
		if plain, err = gzip.NewReader(in); err != nil {
			return nil, fmt.Errorf("opening gzip: %w", err)
		}
	}
	b := &budget{r: plain}
	// What a strict reader refuses inside a record is judged record by record,
	// so that one odd record does not hide those behind it.
	dec := jsontext.NewDecoder(b, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	return &records{budget: b, dec: dec, wrapper: w}, nil
}

// next returns the next record without the white space between its tokens, or
// io.EOF. After any other error the input cannot be read on.
func (r *records) next() (jsontext.Value, error) {
	for {
		r.budget.left = MaxRecord
		kind := r.dec.PeekKind()
		switch {
		case kind == jsontext.KindEndArray && r.open == inArray:
			if _, err := r.dec.ReadToken(); err != nil {
				return nil, err
			}
			r.open = topLevel
		case kind == jsontext.KindEndArray && r.open == inWrapper:
			if err := r.closeWrapper(); err != nil {
				return nil, err
			}
		case r.open != topLevel:
			return r.value()
		case kind == jsontext.KindBeginArray:
			if _, err := r.dec.ReadToken(); err != nil {
				return nil, err
			}
			r.open, r.begun = inArray, true
		case kind == jsontext.KindBeginObject:
			r.begun = true
			if record, err := r.object(); record != nil || err != nil {
				return record, err
			}
		default:
			return nil, r.end()
		}
	}
}

// end says why nothing more can be read at the top level.
func (r *records) end() error {
	token, err := r.dec.ReadToken()
	switch {
	case errors.Is(err, io.EOF) && !r.begun:
		return errors.New("the input is empty")
	case err != nil:
		return err
	}
	return fmt.Errorf("want records as objects, found %s", token)
}

// value reads one value and returns a copy of it, compacted.
func (r *records) value() (jsontext.Value, error) {
	v, err := r.dec.ReadValue()
	if err != nil {
		return nil, unexpectedEnd(err)
	}
	v = v.Clone()
	if err := v.Compact(); err != nil {
		return nil, err
	}
	return v, nil
}

// object reads an object at the top level: a record, which it returns, or the
// beginning of a wrapper, for which it returns nil.
func (r *records) object() (jsontext.Value, error) {
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, err
	}
	record := jsontext.Value("{")
	lost := false // whether there is more than a wrapper may have beside its list
	for r.dec.PeekKind() != jsontext.KindEndObject {
		name, err := r.value()
		if err != nil {
			return nil, err
		}
		if r.isList(name) {
			if lost {
				return nil, r.errBeside()
			}
			_, err := r.dec.ReadToken()
			r.open = inWrapper
			return nil, err
		}
		value, err := r.value()
		if err != nil {
			return nil, err
		}
		lost = lost || !r.mayStandBeside(name, value)
		if len(record) > 1 {
			record = append(record, ',')
		}
		record = append(append(append(record, name...), ':'), value...)
		if len(record) > MaxRecord {
			return nil, errRecordTooLarge
		}
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, unexpectedEnd(err)
	}
	return append(record, '}'), nil
}

// isList reports whether the member with this name begins the list of a wrapper.
func (r *records) isList(name jsontext.Value) bool {
	return r.wrapper.list != "" && string(name) == `"`+r.wrapper.list+`"` && r.dec.PeekKind() == jsontext.KindBeginArray
}

func (r *records) mayStandBeside(name, value jsontext.Value) bool {
	for member, want := range r.wrapper.beside {
		if string(name) == `"`+member+`"` {
			return string(value) == want
		}
	}
	return false
}

func (r *records) errBeside() error {
	return fmt.Errorf("members stand beside %q and would be lost", r.wrapper.list)
}

// closeWrapper reads the end of a wrapper.
func (r *records) closeWrapper() error {
	if _, err := r.dec.ReadToken(); err != nil {
		return err
	}
	for r.dec.PeekKind() == jsontext.KindString {
		name, err := r.value()
		if err != nil {
			return err
		}
		value, err := r.value()
		if err != nil {
			return err
		}
		if !r.mayStandBeside(name, value) {
			return r.errBeside()
		}
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return unexpectedEnd(err)
	}
	r.open = topLevel
	return nil
}

// unexpectedEnd: inside a value, the end of the input is a truncation.
func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the input ends inside a value: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// budget bounds how much is read between two values, and so what a value
// without an end can take of memory.
type budget struct {
	r    io.Reader
	left int
}

func (b *budget) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errRecordTooLarge
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
