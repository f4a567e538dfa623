package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Attributes are what [Build] makes an event from. ID, Source, Type, Subject,
// Time and data are required; everything is checked by Build.
type Attributes struct {
	ID      string // a UUIDv7 or ULID; see NewUUIDv7
	Source  string // absolute URI
	Type    string // full name
	Subject string

	Time         time.Time // when it happened
	RecordedTime time.Time // when the source recorded it; zero: Time

	DataSchema string // empty: SchemaID(Type)

	Sequence int64  // from 1; 0: the source does not number its events
	PrevHash string // hex SHA-256 of the source's payload before; empty on the first

	// Extensions are further attributes, all written as strings, such as
	// correlationid.
	Extensions map[string]string
}

// Build returns the payload of an event: compact JSON, specversion first, then
// the attributes in the order of [Attributes], extensions by name, data last.
// data is marshalled as encoding/json does, but without escaping HTML; a
// json.RawMessage is compacted. The result has passed [Parse]; whether data fits
// the type is for [Validate]. The error is an *Error, or one of marshalling.
func Build(a Attributes, data any) ([]byte, error) {
	if a.RecordedTime.IsZero() {
		a.RecordedTime = a.Time
	}
	if a.DataSchema == "" {
		a.DataSchema = SchemaID(a.Type)
	}
	raw, err := marshal(data)
	if err != nil {
		return nil, fmt.Errorf("event: marshalling the data of %s: %w", a.Type, err)
	}
	o := object{buf: []byte{'{'}}
	o.add("specversion", SpecVersion)
	o.add("id", a.ID)
	o.add("source", a.Source)
	o.add("type", a.Type)
	o.add("subject", a.Subject)
	o.add("time", formatTime(a.Time))
	o.add("recordedtime", formatTime(a.RecordedTime))
	o.add("datacontenttype", ContentType)
	o.add("dataschema", a.DataSchema)
	if a.Sequence != 0 {
		o.add("sequence", fmt.Sprintf("%020d", a.Sequence))
	}
	if a.PrevHash != "" {
		o.add("prevhash", a.PrevHash)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Extensions)) {
		o.add(name, a.Extensions[name])
	}
	payload, err := o.close(raw)
	if err != nil {
		return nil, err
	}
	if _, err := Parse(payload); err != nil {
		return nil, err
	}
	return payload, nil
}

// PrevHash returns what the attribute prevhash of a source's next event must
// be: the hex SHA-256 of this payload.
func PrevHash(payload []byte) string {
	sum := sha256.Sum256(payload)
	return hex.EncodeToString(sum[:])
}

// Canonical returns the payload that stands for an event received in HTTP
// binary mode, whose attributes were headers and whose data was the body: one
// JSON object with the attributes as strings in the order of their names (byte
// by byte), then data exactly as received, without white space around it.
// attrs holds decoded values by attribute name, without "ce-", with the
// Content-Type as datacontenttype. Strings are escaped no more than JSON
// demands. The result has passed [Parse]; the error is an *Error.
//
// See the CloudEvents HTTP binding, section 3.1.
func Canonical(attrs map[string]string, data []byte) ([]byte, error) {
	for _, name := range [...]string{"data", "data_base64"} {
		if _, ok := attrs[name]; ok {
			return nil, malformed("/"+name, "%s is not an attribute: the body of the request is the data", name)
		}
	}
	o := object{buf: []byte{'{'}}
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		o.add(name, attrs[name])
	}
	data = bytes.Trim(data, " \t\r\n")
	if len(data) == 0 || data[0] != '{' {
		return nil, malformed("/data", "the body must be a JSON object")
	}
	payload, err := o.close(data)
	if err != nil {
		return nil, err
	}
	ev, err := Parse(payload)
	if err != nil {
		return nil, err
	}
	// A body such as `{},"x":{}` would have smuggled members in.
	if !bytes.Equal(ev.Data, data) {
		return nil, malformed("/data", "the body is not one JSON object")
	}
	return payload, nil
}

// object writes a JSON object of strings.
type object struct {
	buf []byte
	err error
}

func (o *object) add(name, value string) {
	if len(o.buf) > 1 {
		o.buf = append(o.buf, ',')
	}
	o.quote(name)
	o.buf = append(o.buf, ':')
	o.quote(value)
}

func (o *object) quote(s string) {
	b, err := jsontext.AppendQuote(o.buf, s)
	if err != nil && o.err == nil {
		o.err = malformed("", "%q is not UTF-8", s)
	}
	o.buf = b
}

func (o *object) close(data []byte) ([]byte, error) {
	if o.err != nil {
		return nil, o.err
	}
	if len(o.buf) > 1 {
		o.buf = append(o.buf, ',')
	}
	o.buf = append(o.buf, `"data":`...)
	return append(append(o.buf, data...), '}'), nil
}

func marshal(data any) ([]byte, error) {
	if data == nil {
		return nil, errors.New("there is no data; an event without any still has {}")
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
