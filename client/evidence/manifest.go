package evidence

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/escortlog/escortlog/client/view"
	"github.com/escortlog/escortlog/log/checkpoint"
	"golang.org/x/mod/sumdb/tlog"
)

// Version is the version of the form of a pack, its report included.
const Version = 1

// Kinds of questions beside those of package view.
const (
	Rule view.Kind = "rule" // what a rule found; ID is the rule's name
	Log  view.Kind = "log"  // every leaf; only samples ask it
)

// Query is the question that a pack answers or a sample is drawn from.
type Query struct {
	Kind view.Kind `json:"kind"` // session, change, person, system, rule
	ID   string    `json:"id,omitempty"`
	// From and To bound when it happened (the event's time): From is included,
	// To is not. RFC 3339; empty: unbounded.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// String says what is asked, for people.
func (q Query) String() string {
	s := string(q.Kind)
	if q.ID != "" {
		s += " " + q.ID
	}
	if q.From != "" {
		s += ", from " + q.From
	}
	if q.To != "" {
		s += ", before " + q.To
	}
	return s
}

// bounds returns From and To; the zero time is unbounded.
func (q Query) bounds() (from, to time.Time, err error) {
	if q.From != "" {
		from, err = time.Parse(time.RFC3339Nano, q.From)
	}
	if q.To != "" && err == nil {
		to, err = time.Parse(time.RFC3339Nano, q.To)
	}
	return from, to, err
}

// Why a leaf is in a pack.
const (
	ForQuery     = "query"     // it is about what was asked for
	ForContext   = "context"   // it says what a session was in which that happened, or speaks about a record here
	ForFinding   = "finding"   // a finding about a record here rests on it
	ForAuthority = "authority" // it says who may sign what
	ForWhole     = "whole"     // the pack holds all leaves
)

// Leaf is a leaf in a pack.
type Leaf struct {
	Index int64    `json:"index"`
	Hash  Digest   `json:"leaf_hash"` // RFC 6962
	For   []string `json:"for"`       // why it is here; shared by all leaves here for the same
}

// File is a file in a pack.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"` // bytes
	SHA256 Digest `json:"sha256"`

	at  int64 // offset of its header in the pack
	crc uint32
}

// Digest is a SHA-256, written in hex.
type Digest [sha256.Size]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText writes the hex digits.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText reads 64 hex digits.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("%q is no SHA-256", text)
	}
	_, err := hex.Decode(d[:], text)
	return err
}

// reasons keeps every list of what leaves are here for once: there are few of them,
// and there can be millions of leaves.
type reasons map[string][]string

func (r reasons) one(list []string) []string {
	key := strings.Join(list, " ")
	if _, ok := r[key]; !ok {
		r[key] = list
	}
	return r[key]
}

// Counts say how many there are of what.
type Counts struct {
	Query     int64 `json:"query"`     // leaves about what was asked for
	Context   int64 `json:"context"`   // leaves beside them
	Finding   int64 `json:"finding"`   // leaves on which findings rest
	Authority int64 `json:"authority"` // authority leaves
	Leaves    int64 `json:"leaves"`    // in the pack; each counted once
	Findings  int64 `json:"findings"`  // of rules, about leaves in the pack
	Files     int64 `json:"files"`     // beside the manifest
}

// Head is a tree of the log.
type Head struct {
	Size int64     `json:"size"`
	Root tlog.Hash `json:"root"`
}

// Manifest says what a pack holds and what it claims.
type Manifest struct {
	Version int    `json:"version"` // of this format: 1
	Tool    string `json:"tool"`    // that made it, with its version
	Query   Query  `json:"query"`
	// Filters say how the leaves were chosen.
	Filters []string `json:"filters"`
	Origin  string   `json:"origin"`
	Genesis string   `json:"genesis"` // leaf hash of leaf 0, hex
	Head    Head     `json:"checkpoint"`
	// Previous is the tree that the auditor had verified before; nil: none.
	Previous *Head  `json:"previous,omitempty"`
	Policy   string `json:"policy_digest"` // SHA-256 of the policy file, as "sha256:" and hex
	Rules    string `json:"rules_digest"`  // of the rules file
	At       string `json:"at"`            // as of when rules judged
	// Whole: all leaves of the checkpoint are in the pack.
	Whole  bool         `json:"whole"`
	Claims []view.Claim `json:"claims"` // what was proven to the maker, and is not always to the reader
	Counts Counts       `json:"counts"`
	Leaves []Leaf       `json:"leaves"` // by index
	Files  []File       `json:"files"`  // by name; all but the manifest
}

// write writes a manifest.
func (m *Manifest) write(w io.Writer) error {
	return m.writeWith(w, elements(m.Leaves), elements(m.Files))
}

// writeWith writes a manifest with these leaves and files, an element at a time: a
// pack can have a million files.
func (m *Manifest) writeWith(w io.Writer, leaves iter.Seq2[*Leaf, error], files iter.Seq2[*File, error]) error {
	bare := *m
	bare.Leaves, bare.Files = nil, nil
	head, err := indented(&bare)
	if err != nil {
		return err
	}
	head, ok := bytes.CutSuffix(head, []byte("\"leaves\": null,\n \"files\": null\n}"))
	if !ok {
		return errors.New("a manifest does not end with its leaves and files; this is a defect of this program")
	}
	out := bufio.NewWriter(w)
	if _, err = out.Write(head); err == nil {
		err = writeList(out, "leaves", leaves, ",\n ")
	}
	if err == nil {
		err = writeList(out, "files", files, "\n}\n")
	}
	return errors.Join(err, out.Flush())
}

// elements are those of a list.
func elements[T any](list []T) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for i := range list {
			if !yield(&list[i], nil) {
				return
			}
		}
	}
}

// writeList writes a member of an object, as encoding/json indents it.
func writeList[T any](w *bufio.Writer, name string, list iter.Seq2[*T, error], after string) error {
	var b bytes.Buffer
	enc := encoderOf(&b, "  ")
	before, end := fmt.Sprintf("%q: [\n  ", name), fmt.Sprintf("%q: []", name)
	for element, err := range list {
		if err != nil {
			return err
		}
		b.Reset()
		if err := enc.Encode(element); err != nil {
			return err
		}
		_, err = w.WriteString(before)
		if err == nil {
			_, err = w.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
		}
		if err != nil {
			return err
		}
		before, end = ",\n  ", "\n ]"
	}
	_, err := w.WriteString(end + after)
	return err
}

// encoderOf writes JSON as it is spelled in a pack.
func encoderOf(w io.Writer, prefix string) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent(prefix, " ")
	return enc
}

// indented is v as JSON, without a last newline.
func indented(v any) ([]byte, error) {
	var b bytes.Buffer
	err := encoderOf(&b, "").Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// parseManifest reads a manifest, an element at a time, and gives each file that it
// lists to file: they are not kept. again reads the manifest once more, to see that
// it is spelled as one.
func parseManifest(in, again io.Reader, file func(*File)) (*Manifest, error) {
	dec := json.NewDecoder(in)
	m, err := parseHead(dec)
	if err != nil {
		return nil, err
	}
	why := reasons{}
	leaves := readList(dec, func(l *Leaf) {
		l.For = why.one(l.For)
		m.Leaves = append(m.Leaves, *l)
	}, json.Delim('['))
	files := readList(dec, file, "files", json.Delim('['))
	// What was read is written again and compared. Names that stand twice, and such,
	// are found by that.
	c := &comparer{in: bufio.NewReader(again)}
	if err = m.writeWith(c, leaves, files); err == nil {
		err = c.end()
	}
	if errors.Is(err, errDiffers) {
		return nil, errors.New("is not spelled as a manifest is")
	}
	return m, err
}

// parseHead reads a manifest up to its leaves.
func parseHead(dec *json.Decoder) (*Manifest, error) {
	if err := expect(dec, json.Delim('{')); err != nil {
		return nil, err
	}
	head := map[string]json.RawMessage{}
	for {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		if name == "leaves" {
			break
		}
		field, ok := name.(string)
		if !ok {
			return nil, errors.New("lists no leaves")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		head[field] = value
	}
	text, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	var m Manifest
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&m); err != nil {
		return nil, err
	}
	if m.Version != Version {
		return nil, fmt.Errorf("is of version %d, and this program knows version %d", m.Version, Version)
	}
	return &m, nil
}

// expect reads tokens that have to come next.
func expect(dec *json.Decoder, tokens ...json.Token) error {
	for _, want := range tokens {
		if have, err := dec.Token(); err != nil || have != want {
			return errors.Join(fmt.Errorf("has %v where %v belongs", have, want), err)
		}
	}
	return nil
}

// readList reads the elements of a list, which begins with these tokens, and gives
// each to keep.
func readList[T any](dec *json.Decoder, keep func(*T), begin ...json.Token) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		if err := expect(dec, begin...); err != nil {
			yield(nil, err)
			return
		}
		for n := 0; dec.More(); n++ {
			var element T
			err := dec.Decode(&element)
			if n == maxFiles {
				err = fmt.Errorf("lists more than %d", maxFiles)
			}
			if err == nil {
				keep(&element)
			}
			if !yield(&element, err) || err != nil {
				return
			}
		}
		if err := expect(dec, json.Delim(']')); err != nil {
			yield(nil, err)
		}
	}
}

// Names of the files of a pack.
const (
	nameManifest    = "manifest.json"
	nameCheckpoint  = "checkpoint"
	namePrevious    = "previous/checkpoint"
	nameConsistency = "previous/consistency"
	nameKeys        = "keys.json"
	nameFindings    = "findings.json"
	nameRules       = "rules.yaml"
	nameTimeline    = "timeline.csv"
	nameReport      = "report.html"
)

// expected are the names of the files that a pack has beside its manifest, in their
// order, where its leaves are in theirs.
func (m *Manifest) expected() iter.Seq[string] {
	return func(yield func(string) bool) {
		after := []string{nameReport, nameRules, nameTimeline}
		if m.Previous != nil {
			after = append([]string{namePrevious, nameConsistency}, after...)
		}
		for _, name := range []string{nameCheckpoint, nameFindings, nameKeys} {
			if !yield(name) {
				return
			}
		}
		for i := range m.Leaves {
			if !yield(nameLeaf(m.Leaves[i].Index)) || !yield(nameProof(m.Leaves[i].Index)) {
				return
			}
		}
		for _, name := range after {
			if !yield(name) {
				return
			}
		}
	}
}

func nameLeaf(index int64) string  { return fmt.Sprintf("leaves/%012d.leaf", index) }
func nameProof(index int64) string { return fmt.Sprintf("leaves/%012d.tlog-proof", index) }

func marshalConsistency(proof []tlog.Hash) []byte {
	var b []byte
	for _, h := range proof {
		b = append(append(b, h.String()...), '\n')
	}
	return b
}

func parseConsistency(b []byte) (proof []tlog.Hash, err error) {
	for line := range bytes.Lines(b) {
		h, err := tlog.ParseHash(string(bytes.TrimSuffix(line, []byte("\n"))))
		if err != nil {
			return nil, err
		}
		proof = append(proof, h)
	}
	if !bytes.Equal(marshalConsistency(proof), b) {
		return nil, errors.New("not one hash a line, in base64")
	}
	return proof, nil
}

// headOf reads the checkpoint in a note, without trust.
func headOf(note []byte) (checkpoint.Checkpoint, error) {
	text, _, err := checkpoint.ParseNote(note)
	if err != nil {
		return checkpoint.Checkpoint{}, err
	}
	return checkpoint.Parse(text)
}
