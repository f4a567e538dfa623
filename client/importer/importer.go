package importer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/escortlog/escortlog/client/internal/durable"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/go-json-experiment/json/jsontext"
)

// Options say how events are made.
type Options struct {
	// Source is the source attribute of all events: an absolute URI that stands
	// for the importer, and for which its key is registered.
	Source string
	// Recorded is the recordedtime of all events. Zero: each record's own time,
	// the only one that the record states, and the same on every import.
	Recorded time.Time
	// Sequence is the sequence of the first event; the others follow. 0: events
	// are not numbered.
	Sequence int64
	// PrevHash is the hex SHA-256 of the source's event before the first; empty
	// when Sequence is 0 or 1.
	PrevHash string
	// Spill is a folder into which the text of records that do not fit into an
	// event is written, as <hex SHA-256>.json. Empty: they are only named.
	Spill string
	// Malformed is told of every record that cannot become an event. Returning
	// nil goes on with the next. Nil: the first one ends the import.
	Malformed func(*RecordError) error
}

// Counts says what an import has done so far.
type Counts struct {
	Events    int            // written: one for each record that was read
	Malformed int            // records or inputs that could not be read
	Apart     int            // events that name their record instead of holding it
	Types     map[string]int // events by type
}

// Event is one event made from one record.
type Event struct {
	Payload []byte // one line of JSON, without its end
	Input   string // name of the input
	Record  int    // in the input, from 1
	Apart   bool   // the record itself did not fit; see Options.Spill
}

// RecordError says which record of which input could not become an event.
type RecordError struct {
	Input  string
	Record int // from 1
	// Broken: the input cannot be read beyond this record.
	Broken bool
	Err    error
}

func (e *RecordError) Error() string {
	if e.Broken {
		return fmt.Sprintf("%s: record %d, and whatever follows it, cannot be read: %v", e.Input, e.Record, e.Err)
	}
	return fmt.Sprintf("%s: record %d is malformed: %v", e.Input, e.Record, e.Err)
}

func (e *RecordError) Unwrap() error { return e.Err }

// system maps the records of one other system.
type system struct {
	name    string // of the system, as it stands in data.imported
	convert func(record jsontext.Value) (*draft, error)
	wrapper wrapper // zero: this system writes none
}

// systems are those that can be imported, by the name New takes. To add one,
// add a row here and a file with its table.
var systems = map[string]system{
	"cloudtrail": {name: "aws.cloudtrail", convert: convertCloudTrail, wrapper: wrapper{list: "Records"}},
	"kubernetes": {name: "kubernetes.audit", convert: convertKubernetes, wrapper: wrapper{list: "items", beside: map[string]string{
		"kind": `"EventList"`, "apiVersion": `"audit.k8s.io/v1"`, "metadata": `{}`,
	}}},
	"ocsf":     {name: "ocsf", convert: convertOCSF},
	"teleport": {name: "teleport", convert: convertTeleport},
}

// Systems returns the names that New takes.
func Systems() []string {
	var names []string
	for name := range systems {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// draft is an event in the making: what a record says.
type draft struct {
	typ      string
	subject  string // kind and id, as "session/s-1"
	time     time.Time
	kind     string         // what the other system calls the record
	recordID string         // what it identifies the record by; empty: nothing
	data     map[string]any // without imported and ext
	ext      map[string]any
}

// imported is data.imported of common.json.
type imported struct {
	System   string          `json:"system"`
	Kind     string          `json:"kind"`
	RecordID string          `json:"record_id"`
	Original json.RawMessage `json:"original,omitempty"`
	Artifact *artifact       `json:"artifact,omitempty"`
}

type artifact struct {
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
	MediaType string `json:"media_type"`
	DataRef   string `json:"dataref"`
}

// Importer makes events from the records of one system. It is not for several
// goroutines at once.
type Importer struct {
	system  system
	options Options
	counts  Counts
}

// New returns an importer of the records of a system; see [Systems].
func New(from string, o Options) (*Importer, error) {
	s, ok := systems[from]
	if !ok {
		return nil, fmt.Errorf("importer: no system %q is known, only %v", from, Systems())
	}
	if o.Sequence < 0 || (o.Sequence > 1) != (o.PrevHash != "") {
		return nil, errors.New("importer: the sequence begins at 1 without prevhash, or goes on with the prevhash of the event before")
	}
	// A source that no event can name is found before any record is read.
	if _, err := event.Build(event.Attributes{
		ID: eventID(time.UnixMilli(0), o.Source, ""), Source: o.Source, Type: event.TypeRecordObserved, Subject: "record/0", Time: time.UnixMilli(0),
		Sequence: o.Sequence, PrevHash: o.PrevHash,
	}, map[string]any{}); err != nil {
		return nil, fmt.Errorf("importer: no event could be made with these options: %w", err)
	}
	if !o.Recorded.IsZero() {
		o.Recorded = o.Recorded.UTC()
	}
	return &Importer{system: s, options: o, counts: Counts{Types: make(map[string]int)}}, nil
}

// Counts returns what was done so far.
func (im *Importer) Counts() Counts { return im.counts }

// Next returns the sequence and prevhash with which a later import goes on, or
// zero values where events are not numbered.
func (im *Importer) Next() (sequence int64, prevHash string) {
	return im.options.Sequence, im.options.PrevHash
}

// Import reads one input and calls emit with the event of every record, in
// order. name stands for the input in errors, which are *RecordError unless
// they come from emit, from ctx, or from writing to Options.Spill.
func (im *Importer) Import(ctx context.Context, name string, r io.Reader, emit func(Event) error) error {
	in, err := newRecords(r, im.system.wrapper)
	if err != nil {
		return im.malformed(&RecordError{Input: name, Record: 1, Broken: true, Err: err})
	}
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		record, err := in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return im.malformed(&RecordError{Input: name, Record: n, Broken: true, Err: err})
		}
		made, err := im.event(record)
		if err != nil {
			if err := im.malformed(&RecordError{Input: name, Record: n, Err: err}); err != nil {
				return err
			}
			continue
		}
		if made.apart {
			if err := im.spill(record); err != nil {
				return fmt.Errorf("keeping record %d of %s: %w", n, name, err)
			}
		}
		if err := emit(Event{Payload: made.payload, Input: name, Record: n, Apart: made.apart}); err != nil {
			return err
		}
		im.count(made)
	}
}

func (im *Importer) malformed(e *RecordError) error {
	im.counts.Malformed++
	if im.options.Malformed == nil {
		return e
	}
	return im.options.Malformed(e)
}

// made is an event that was made.
type made struct {
	typ     string
	payload []byte
	apart   bool
}

// count takes the event into the counts and the chain of its source, once it
// has been emitted.
func (im *Importer) count(m *made) {
	im.counts.Events++
	im.counts.Types[m.typ]++
	if m.apart {
		im.counts.Apart++
	}
	if im.options.Sequence > 0 {
		sum := sha256.Sum256(m.payload)
		im.options.Sequence++
		im.options.PrevHash = hex.EncodeToString(sum[:])
	}
}

// event makes the event of a record: with the record inside as a JSON value, or
// else as a text, or else only named.
func (im *Importer) event(record jsontext.Value) (*made, error) {
	d, err := im.system.convert(record)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(record)
	if !isID(d.recordID) {
		d.recordID = "sha256:" + hex.EncodeToString(digest[:])
	}
	if d.subject == "" {
		d.subject = "record/" + d.recordID
		d.data["record_id"] = d.recordID
	}
	m := &made{typ: d.typ}
	in := imported{System: im.system.name, Kind: d.kind, RecordID: d.recordID, Original: json.RawMessage(record)}
	if m.payload, err = im.build(d, in); err == nil {
		return m, nil
	}
	in.Original = nil
	in.Artifact = &artifact{
		Digest: "sha256:" + hex.EncodeToString(digest[:]), Size: len(record), MediaType: "application/json",
		// https://www.rfc-editor.org/rfc/rfc6920#section-3: the name of these
		// bytes, wherever they lie.
		DataRef: "ni:///sha-256;" + base64.RawURLEncoding.EncodeToString(digest[:]),
	}
	if utf8.Valid(record) {
		d.ext["original_text"] = string(record)
		if m.payload, err = im.build(d, in); err == nil {
			return m, nil
		}
		delete(d.ext, "original_text")
	}
	m.apart = true
	// What is wrong now is neither the record's size nor its spelling.
	m.payload, err = im.build(d, in)
	return m, err
}

// build makes the payload and checks it as a log would.
func (im *Importer) build(d *draft, in imported) ([]byte, error) {
	d.data["imported"], d.data["ext"] = in, d.ext
	recorded := im.options.Recorded
	if recorded.IsZero() {
		recorded = d.time
	}
	if recorded.Before(d.time) {
		return nil, fmt.Errorf("it happened at %s, which is after it is said to be recorded", d.time.Format(time.RFC3339Nano))
	}
	payload, err := event.Build(event.Attributes{
		ID:     eventID(d.time, im.options.Source, d.recordID),
		Source: im.options.Source, Type: d.typ, Subject: d.subject,
		Time: d.time, RecordedTime: recorded,
		Sequence: im.options.Sequence, PrevHash: im.options.PrevHash,
	}, d.data)
	if err != nil {
		return nil, err
	}
	if len(payload) > entry.MaxPayload {
		return nil, fmt.Errorf("the event has %d bytes, at most %d are allowed", len(payload), entry.MaxPayload)
	}
	parsed, err := event.Parse(payload)
	if err != nil {
		return nil, err
	}
	return payload, event.Validate(parsed, false)
}

// idDomain keeps these ids apart from every other use of SHA-256.
const idDomain = "escortlog import id v1\n"

// eventID is the id of the event that a source makes of a record.
func eventID(at time.Time, source, recordID string) string {
	h := sha256.New()
	h.Write([]byte(idDomain))
	for _, s := range []string{source, recordID} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	return event.NewUUIDv7(at.UnixMilli(), [10]byte(h.Sum(nil)))
}

// spill writes the text of a record under its digest. A file of that name has
// that content already.
func (im *Importer) spill(record []byte) error {
	if im.options.Spill == "" {
		return nil
	}
	digest := sha256.Sum256(record)
	name := filepath.Join(im.options.Spill, hex.EncodeToString(digest[:])+".json")
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	return durable.Replace(name, record)
}

// isID reports whether s can be an identifier in data: 1 to 256 visible ASCII
// characters.
func isID(s string) bool {
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= 256
}
