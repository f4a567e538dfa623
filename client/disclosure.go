package client

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/strict"
	"golang.org/x/mod/sumdb/tlog"
)

// Disclosure opens a commitment in an event (see event.Commit): salt and content
// as its submitter kept them. What a submitter keeps needs the first three
// members only; the others say which commitment of which leaf it is about.
//
// A disclosure file holds one a line, as JSON.
type Disclosure struct {
	Commitment event.Commitment `json:"commitment"`
	Salt       []byte           `json:"salt"`    // standard base64 in JSON
	Content    []byte           `json:"content"` // likewise
	// LeafHash is the RFC 6962 hash of the leaf in hex; empty where only the
	// signed envelope was at hand, before the log gave its leaf a time.
	LeafHash string `json:"leaf_hash,omitempty"`
	// Source and ID are those of the event.
	Source string `json:"source,omitempty"`
	ID     string `json:"id,omitempty"`
	// Pointer is the JSON pointer (RFC 6901) into the payload at which the
	// commitment stands, as "/data/command".
	Pointer string `json:"pointer,omitempty"`
}

// ErrDisclosure: a disclosure is not about this leaf, or does not open the
// commitment it names. Either it or its maker is wrong.
var ErrDisclosure = errors.New("client: wrong disclosure")

// maxDisclosure bounds a line of a disclosure file, in bytes.
const maxDisclosure = 64 << 20

// ParseDisclosures reads a disclosure file.
func ParseDisclosures(r io.Reader) ([]Disclosure, error) {
	var list []Disclosure
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxDisclosure)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var d Disclosure
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		if err := errors.Join(strict.Check(line), dec.Decode(&d)); err != nil {
			return nil, fmt.Errorf("line %d of the disclosures: %w", n, err)
		}
		if d.Commitment.Digest == "" {
			return nil, fmt.Errorf("line %d of the disclosures names no commitment", n)
		}
		list = append(list, d)
	}
	return list, lines.Err()
}

// WriteDisclosures writes a disclosure file.
func WriteDisclosures(w io.Writer, list []Disclosure) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, d := range list {
		if err := enc.Encode(d); err != nil {
			return err
		}
	}
	return nil
}

// Committed is a commitment in an event, and what was disclosed of it.
type Committed struct {
	Pointer    string           `json:"pointer"` // into the payload, RFC 6901
	Commitment event.Commitment `json:"commitment"`
	// Disclosed: Content is what was committed to. Otherwise the record is
	// present and its content withheld.
	Disclosed bool   `json:"disclosed"`
	Content   []byte `json:"content,omitempty"`
}

// Commitments finds every commitment in a payload, in the order of their
// pointers. An object is one when it has the two members of event.Commitment
// and no other.
func Commitments(payload []byte) ([]Committed, error) {
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("looking for commitments: %w", err)
	}
	return commitments(nil, "", v), nil
}

func commitments(list []Committed, at string, value any) []Committed {
	switch v := value.(type) {
	case map[string]any:
		if c, ok := asCommitment(v); ok {
			return append(list, Committed{Pointer: at, Commitment: c})
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			// "~" and "/" are escaped, RFC 6901 section 3.
			list = commitments(list, at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name), v[name])
		}
	case []any:
		for i, inner := range v {
			list = commitments(list, at+"/"+strconv.Itoa(i), inner)
		}
	}
	return list
}

func asCommitment(v map[string]any) (c event.Commitment, ok bool) {
	digest, isText := v["$commit"].(string)
	number, isNumber := v["size"].(json.Number)
	if len(v) != 2 || !isText || !isNumber {
		return c, false
	}
	size, err := number.Int64()
	return event.Commitment{Digest: digest, Size: size}, err == nil
}

// Disclose makes disclosures of an entry's commitments from what its submitter
// kept. pointers choose some of them; none means all that were kept, at least
// one. leafHash is nil where the leaf is not known yet. Nothing is made that
// does not open.
func Disclose(e *entry.Entry, leafHash *tlog.Hash, kept []Disclosure, pointers ...string) ([]Disclosure, error) {
	ev, err := event.Parse(e.Payload)
	if err != nil {
		return nil, err
	}
	committed, err := Commitments(e.Payload)
	if err != nil {
		return nil, err
	}
	for _, p := range pointers {
		if !slices.ContainsFunc(committed, func(c Committed) bool { return c.Pointer == p }) {
			return nil, fmt.Errorf("%w: there is no commitment at %s", ErrDisclosure, p)
		}
	}
	var list []Disclosure
	for _, c := range committed {
		if len(pointers) > 0 && !slices.Contains(pointers, c.Pointer) {
			continue
		}
		i := slices.IndexFunc(kept, func(d Disclosure) bool { return d.Commitment == c.Commitment })
		if i < 0 && len(pointers) == 0 {
			continue
		}
		if i < 0 {
			return nil, fmt.Errorf("%w: salt and content of %s, %s, were not kept", ErrDisclosure, c.Pointer, c.Commitment.Digest)
		}
		d := Disclosure{Commitment: c.Commitment, Salt: kept[i].Salt, Content: kept[i].Content, Source: ev.Source, ID: ev.ID, Pointer: c.Pointer}
		if !c.Commitment.Opens(d.Salt, d.Content) {
			return nil, fmt.Errorf("%w: what was kept does not open the commitment at %s", ErrDisclosure, c.Pointer)
		}
		if leafHash != nil {
			d.LeafHash = hex.EncodeToString(leafHash[:])
		}
		list = append(list, d)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: nothing was kept of the %d commitments in the event", ErrDisclosure, len(committed))
	}
	return list, nil
}

// CheckDisclosures says of every commitment in an entry whether it was
// disclosed. Each disclosure must be about this entry and open the commitment
// that it names; one that does not is ErrDisclosure, which names the pointer.
func CheckDisclosures(e *entry.Entry, leafHash tlog.Hash, list []Disclosure) ([]Committed, error) {
	committed, err := Commitments(e.Payload)
	if err != nil {
		return nil, err
	}
	ev, err := event.Parse(e.Payload)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		if err := d.about(ev, leafHash); err != nil {
			return nil, err
		}
		found := false
		for i := range committed {
			c := &committed[i]
			if d.Pointer != c.Pointer && d.Pointer != "" || d.Pointer == "" && d.Commitment != c.Commitment {
				continue
			}
			found = true
			// The log's commitment counts, not what the disclosure says it is.
			if d.Commitment != c.Commitment || !c.Commitment.Opens(d.Salt, d.Content) {
				return nil, fmt.Errorf("%w: it does not open the commitment at %s, %s of %d bytes", ErrDisclosure, c.Pointer, c.Commitment.Digest, c.Commitment.Size)
			}
			c.Disclosed, c.Content = true, d.Content
		}
		if !found {
			return nil, fmt.Errorf("%w: the event has no commitment %s%s", ErrDisclosure, d.Commitment.Digest, at(d.Pointer))
		}
	}
	return committed, nil
}

func at(pointer string) string {
	if pointer == "" {
		return ""
	}
	return " at " + pointer
}

// about: a disclosure that names an event or a leaf names this one.
func (d *Disclosure) about(ev *event.Event, leafHash tlog.Hash) error {
	if d.LeafHash != "" && d.LeafHash != hex.EncodeToString(leafHash[:]) {
		return fmt.Errorf("%w: that%s is about the leaf with hash %s, and this is %x", ErrDisclosure, at(d.Pointer), d.LeafHash, leafHash[:])
	}
	if d.Source != "" && d.Source != ev.Source || d.ID != "" && d.ID != ev.ID {
		return fmt.Errorf("%w: that%s is about the event %s of %s, and this is %s of %s", ErrDisclosure, at(d.Pointer), d.ID, d.Source, ev.ID, ev.Source)
	}
	return nil
}
