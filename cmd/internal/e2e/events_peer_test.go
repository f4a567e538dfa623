//go:build e2e

package e2e

import (
	crand "crypto/rand"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/escortlog/escortlog/cmd/internal/month"
	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

const (
	unsignedSource = "https://console.example.org/bench"
	signedSource   = "https://gateway.example.org/bench"
	// leafSize is what entries are measured with, in bytes.
	leafSize = 600
	// overhead is what a leaf without signatures holds beside its payload: magic, time, and the lengths.
	overhead = 4 + 8 + 1 + len(entry.PayloadType) + 2 + 2
)

// maker makes events that differ in their ids and in a text that no compression makes shorter than it is. It costs
// little more than copying them, so that it can be part of what is measured.
type maker struct {
	source   string
	template []byte
	id       string
	idAt     int
	textAt   int
	text     int    // bytes
	noise    []byte // where texts are taken from
	made     uint64
}

// newMaker makes events of size bytes, each with the ids of its own maker.
func newMaker(source string, size int) (*maker, error) {
	m, now := &maker{source: source}, time.Now()
	var random [10]byte
	_, _ = crand.Read(random[:]) // never fails
	m.id = event.NewUUIDv7(now.UnixMilli(), random)
	for range 2 { // the second time with a text of the right length
		payload, err := event.Build(event.Attributes{
			ID: m.id, Source: source, Type: "dev.escortlog.session.paused.v1", Subject: "session/s-1", Time: now,
		}, map[string]any{"session_id": "s-1", "reason": strings.Repeat("x", max(1, m.text)), "paused_by": nil})
		if err != nil {
			return nil, err
		}
		if m.text == 0 {
			m.text = size - len(payload) + 1
		}
		m.template = payload
	}
	if len(m.template) != size {
		return nil, fmt.Errorf("no event is as short as %d bytes", size)
	}
	m.idAt = strings.Index(string(m.template), m.id)
	m.textAt = strings.Index(string(m.template), strings.Repeat("x", m.text))
	raw := make([]byte, 3<<18)
	_, _ = crand.Read(raw)
	m.noise = []byte(base64.StdEncoding.EncodeToString(raw))
	return m, nil
}

// next returns the payload of a new event, and its id.
func (m *maker) next() (payload []byte, id string) {
	payload = make([]byte, len(m.template))
	copy(payload, m.template)
	copy(payload[m.textAt:], m.noise[rand.IntN(len(m.noise)-m.text):][:m.text])
	number(payload[m.idAt:m.idAt+len(m.id)], m.made)
	m.made++
	return payload, string(payload[m.idAt : m.idAt+len(m.id)])
}

// number puts n into the last twelve characters of an id.
func number(id []byte, n uint64) {
	for i := range 12 {
		id[len(id)-1-i] = byte('0' + n%10)
		n /= 10
	}
}

// submission is the next event as the door would hand it to the log.
func (m *maker) submission() (*log.Submission, error) {
	payload, id := m.next()
	return newSubmission(&entry.Entry{PayloadType: entry.PayloadType, Payload: payload}, m.source, id)
}

func newSubmission(e *entry.Entry, source, id string) (*log.Submission, error) {
	leaf, err := e.Marshal()
	if err != nil {
		return nil, err
	}
	return &log.Submission{Identity: entry.Identity(source, id), Content: e.Content(), Leaf: leaf, Decided: 1}, nil
}

// realistic makes events like those of a month of escorted work: their sizes, and what they have in common. Their
// signatures verify no more, since ids, hashes and signatures are made new, as random as real ones.
type realistic struct {
	events []realisticEvent
	made   uint64
}

type realisticEvent struct {
	entry       *entry.Entry
	source      string
	idAt, idLen int
	hashAt      int // of prevhash; 0 when there is none
}

func newRealistic() (*realistic, error) {
	m, err := month.New(month.Config{Seed: 1, Sessions: 480})
	if err != nil {
		return nil, err
	}
	r := &realistic{}
	for _, leaf := range m.Leaves {
		e, err := entry.Parse(leaf)
		if err != nil {
			return nil, err
		}
		ev, err := event.Parse(e.Payload)
		if err != nil {
			return nil, err
		}
		if event.IsAuthority(ev.Type) {
			continue
		}
		x := realisticEvent{entry: e, source: ev.Source, idAt: strings.Index(string(e.Payload), ev.ID), idLen: len(ev.ID)}
		const name = `"prevhash":"`
		if at := strings.Index(string(e.Payload), name); at >= 0 {
			x.hashAt = at + len(name)
		}
		r.events = append(r.events, x)
	}
	return r, nil
}

func (r *realistic) submission() (*log.Submission, error) {
	x := r.events[r.made%uint64(len(r.events))]
	payload := append([]byte(nil), x.entry.Payload...)
	id := payload[x.idAt : x.idAt+x.idLen]
	number(id, r.made)
	if x.hashAt > 0 {
		for i := range 64 {
			payload[x.hashAt+i] = "0123456789abcdef"[rand.IntN(16)]
		}
	}
	e := &entry.Entry{PayloadType: entry.PayloadType, Payload: payload}
	for _, s := range x.entry.Signatures {
		sig := append([]byte(nil), s.Sig...)
		_, _ = crand.Read(sig[len(sig)-min(len(sig), 64)+8:]) // leaves what begins a DER signature
		e.Signatures = append(e.Signatures, entry.Signature{KeyID: s.KeyID, Sig: sig})
	}
	r.made++
	return newSubmission(e, x.source, string(id))
}
