package evidence

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	Hash  string   `json:"leaf_hash"` // RFC 6962, hex
	For   []string `json:"for"`       // why it is here
}

// File is a file in a pack.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hex
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

// write writes a manifest, an element at a time: a pack can have a million files.
func (m *Manifest) write(w io.Writer) error {
	bare := *m
	bare.Leaves, bare.Files = nil, nil
	head, err := indented(&bare, "")
	if err != nil {
		return err
	}
	head, ok := bytes.CutSuffix(head, []byte("\"leaves\": null,\n \"files\": null\n}"))
	if !ok {
		return errors.New("a manifest does not end with its leaves and files; this is a defect of this program")
	}
	out := bufio.NewWriter(w)
	_, err = out.Write(head)
	err = errors.Join(err, writeList(out, "leaves", m.Leaves, ","), writeList(out, "files", m.Files, "\n}\n"))
	return errors.Join(err, out.Flush())
}

// writeList writes a member of an object, as encoding/json indents it.
func writeList[T any](w *bufio.Writer, name string, list []T, after string) error {
	if len(list) == 0 {
		_, err := fmt.Fprintf(w, "%q: []%s", name, after)
		return err
	}
	before := fmt.Sprintf("%q: [\n  ", name)
	for i := range list {
		element, err := indented(&list[i], "  ")
		if err != nil {
			return err
		}
		if _, err := w.WriteString(before + string(element)); err != nil {
			return err
		}
		before = ",\n  "
	}
	_, err := w.WriteString("\n ]" + after)
	return err
}

// indented is v as JSON, spelled as in a pack, without a last newline.
func indented(v any, prefix string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent(prefix, " ")
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// parseManifest reads a manifest, an element at a time. again reads it once more,
// to see that it is spelled as one.
func parseManifest(in, again io.Reader) (*Manifest, error) {
	var m Manifest
	dec := json.NewDecoder(in)
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("is no JSON object"), err)
	}
	// Names that stand twice, and such, are found when it is written again.
	head := map[string]json.RawMessage{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		switch name {
		case "leaves":
			err = readList(dec, &m.Leaves)
		case "files":
			err = readList(dec, &m.Files)
		default:
			var value json.RawMessage
			err = dec.Decode(&value)
			head[name.(string)] = value // names of members are strings
		}
		if err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&m); err != nil {
		return nil, err
	}
	if m.Version != Version {
		return nil, fmt.Errorf("is of version %d, and this program knows version %d", m.Version, Version)
	}
	c := &comparer{in: bufio.NewReader(again)}
	if err := m.write(c); err != nil || c.end() != nil {
		return nil, errors.New("is not spelled as a manifest is")
	}
	return &m, nil
}

func readList[T any](dec *json.Decoder, list *[]T) error {
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return errors.Join(errors.New("is no list"), err)
	}
	for dec.More() {
		var element T
		if err := dec.Decode(&element); err != nil {
			return err
		}
		if len(*list) == maxFiles {
			return fmt.Errorf("lists more than %d", maxFiles)
		}
		*list = append(*list, element)
	}
	_, err := dec.Token()
	return err
}

// describe says of a file what a manifest does.
func describe(m *member) File {
	return File{Name: m.name, Size: m.size, SHA256: hex.EncodeToString(m.sum[:])}
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
