package reconcile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/escortlog/escortlog/client/importer"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// Config says what is reconciled.
type Config struct {
	// System is the kind of the vantage point's records, as package importer
	// names it.
	System string
	// Sources are URIs of sources whose sessions and commands the vantage point
	// must know.
	Sources []string
	// From and To bound what is looked at on both sides, by when it happened:
	// From is included, To is not. Zero: unbounded.
	From, To time.Time
}

// record is a record of the vantage point.
type record struct {
	Miss
	digest           string
	session, command string
	matched, native  bool // native: by an event that was not imported from here
	differs          bool // an event says to hold it, and holds something else
}

// Reconciler is given the vantage point's records first, then every leaf of a
// verified log.
type Reconciler struct {
	cfg    Config
	report Report

	records            []*record
	byID               map[string]*record
	sessions, commands map[string]*record
	system             string // as data.imported names it
	leaves             int64
	logged             map[string]bool // record ids that an event was matched with
}

// New returns a reconciler. The error says that the system is not known.
func New(cfg Config) (*Reconciler, error) {
	if !slices.Contains(importer.Systems(), cfg.System) {
		return nil, fmt.Errorf("reconcile: no system %q is known, only %v", cfg.System, importer.Systems())
	}
	return &Reconciler{
		cfg: cfg, byID: map[string]*record{}, sessions: map[string]*record{}, commands: map[string]*record{}, logged: map[string]bool{},
		report: Report{System: cfg.System, Inputs: []Input{}, Differs: []Miss{}},
	}, nil
}

// Vantage reads an input of the vantage point's records. The error is that of
// importer.Import: a record that cannot be read would be a miss in hiding.
func (r *Reconciler) Vantage(ctx context.Context, name string, in io.Reader) error {
	// The source is for the importer's sake only; nothing of it is compared.
	im, err := importer.New(r.cfg.System, importer.Options{Source: "urn:escortlog:reconcile"})
	if err != nil {
		return err
	}
	read := &hashing{r: in, h: sha256.New()}
	err = im.Import(ctx, name, read, func(e importer.Event) error { return r.take(e) })
	if err != nil {
		return err
	}
	// The digest is about the whole file, whatever follows the last record.
	if _, err := io.Copy(io.Discard, read); err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	r.report.Inputs = append(r.report.Inputs, Input{Name: name, Records: int64(im.Counts().Events), SHA256: hex.EncodeToString(read.h.Sum(nil))})
	return nil
}

// hashing hashes what is read.
type hashing struct {
	r io.Reader
	h hash.Hash
}

func (h *hashing) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.h.Write(p[:n])
	return n, err
}

// take takes a record of the vantage point, as the event that an import would
// make of it.
func (r *Reconciler) take(e importer.Event) error {
	ev, err := event.Parse(e.Payload)
	if err != nil {
		return err
	}
	d := dataOf(ev)
	if d.Imported == nil || !r.within(ev.Time) {
		return nil
	}
	r.system = d.Imported.System
	rec := &record{
		Miss:   Miss{Record: d.Imported.RecordID, Kind: d.Imported.Kind, Time: stamp(ev.Time), Input: e.Input, Number: e.Record},
		digest: d.Imported.digest(), command: d.Imported.commandID(),
	}
	if shortType(ev) == "session.started" {
		rec.session = d.SessionID
	}
	if before := r.byID[rec.Record]; before != nil {
		// Such systems deliver a record more than once; it happened once.
		r.report.RepeatedThere++
		if before.digest != rec.digest {
			r.report.Differs = append(r.report.Differs, rec.Miss)
		}
		return nil
	}
	r.records = append(r.records, rec)
	r.byID[rec.Record] = rec
	if rec.session != "" {
		r.sessions[rec.session] = rec
	}
	if rec.command != "" {
		r.commands[rec.command] = rec
	}
	return nil
}

// Add takes the next leaf of the log.
func (r *Reconciler) Add(index int64, leaf []byte) error {
	r.leaves++
	e, err := entry.Parse(leaf)
	if err != nil {
		return fmt.Errorf("leaf %d: %w", index, err)
	}
	ev, err := event.Parse(e.Payload)
	if err != nil {
		return fmt.Errorf("leaf %d: %w", index, err)
	}
	if !r.within(ev.Time) {
		return nil
	}
	d := dataOf(ev)
	if d.Imported != nil && d.Imported.System == r.systemName() {
		r.imported(index, ev, d.Imported)
		return nil
	}
	r.native(index, ev, d)
	return nil
}

// Leaves returns how many leaves were added.
func (r *Reconciler) Leaves() int64 { return r.leaves }

// systemName is how events name the vantage point's system. Where there is no
// record, everything imported from there is missing there.
func (r *Reconciler) systemName() string {
	if r.system != "" {
		return r.system
	}
	return map[string]string{"cloudtrail": "aws.cloudtrail"}[r.cfg.System]
}

// imported takes an event that was imported from the vantage point's system.
func (r *Reconciler) imported(index int64, ev *event.Event, in *imported) {
	miss := Miss{Record: in.RecordID, Kind: in.Kind, Time: stamp(ev.Time), Index: &index, Source: ev.Source, ID: ev.ID}
	c := &r.report.Log
	c.Population++
	rec := r.byID[in.RecordID]
	switch {
	case rec == nil:
		c.Misses = append(c.Misses, miss)
		return
	case rec.digest != in.digest():
		rec.differs = true
		r.report.Differs = append(r.report.Differs, miss)
		return
	}
	c.Matched++
	rec.matched = true
	if r.logged[in.RecordID] {
		r.report.RepeatedHere++
	}
	r.logged[in.RecordID] = true
}

// native takes an event of the log's own sources.
func (r *Reconciler) native(index int64, ev *event.Event, d *data) {
	var rec *record
	var id string
	switch shortType(ev) {
	case "session.started":
		id, rec = d.SessionID, r.sessions[d.SessionID]
	case "command.executed":
		id, rec = d.CommandID, r.commands[d.CommandID]
	default:
		return
	}
	if rec != nil && id != "" {
		rec.matched, rec.native = true, true
	}
	if !slices.Contains(r.cfg.Sources, ev.Source) {
		return
	}
	c := &r.report.Log
	c.Population++
	if rec != nil && id != "" {
		c.Matched++
		return
	}
	c.Misses = append(c.Misses, Miss{Record: id, Kind: shortType(ev), Time: stamp(ev.Time), Index: &index, Source: ev.Source, ID: ev.ID})
}

func (r *Reconciler) within(t time.Time) bool {
	return !t.Before(r.cfg.From) && (r.cfg.To.IsZero() || t.Before(r.cfg.To))
}

// data is what is read of an event's data.
type data struct {
	SessionID string    `json:"session_id"`
	CommandID string    `json:"command_id"`
	Imported  *imported `json:"imported"`
}

// imported is data.imported of common.json.
type imported struct {
	System   string          `json:"system"`
	Kind     string          `json:"kind"`
	RecordID string          `json:"record_id"`
	Original json.RawMessage `json:"original"`
	Artifact *struct {
		Digest string `json:"digest"`
	} `json:"artifact"`
}

func dataOf(ev *event.Event) *data {
	var d data
	if json.Unmarshal(ev.Data, &d) != nil {
		return &data{} // the verifier has said that it breaks its schema
	}
	return &d
}

// digest is that of the record itself, whether it is held or only named.
func (in *imported) digest() string {
	if len(in.Original) == 0 && in.Artifact != nil {
		return in.Artifact.Digest
	}
	var compact bytes.Buffer
	if json.Compact(&compact, in.Original) != nil {
		return ""
	}
	sum := sha256.Sum256(compact.Bytes())
	return "sha256:" + hex.EncodeToString(sum[:])
}

// commandID is the id that AWS Systems Manager gives a command.
func (in *imported) commandID() string {
	var answer struct {
		ResponseElements struct {
			Command struct {
				CommandID string `json:"commandId"`
			} `json:"command"`
		} `json:"responseElements"`
	}
	if json.Unmarshal(in.Original, &answer) != nil {
		return ""
	}
	return answer.ResponseElements.Command.CommandID
}

func shortType(ev *event.Event) string {
	t, _ := event.Lookup(ev.Type)
	return t.Short()
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
