package vectors

import (
	"bytes"
	"crypto"
	"crypto/sha512"
	"fmt"
	"time"

	"github.com/escortlog/escortlog/cmd/internal/samples"
	"github.com/escortlog/escortlog/log/event"
	"golang.org/x/mod/sumdb/tlog"
)

// witnesses are the names of the sample witnesses, by their name in policies.
var witnesses = []struct{ name, key string }{
	{"agency", "witness.agency-a.example"},
	{"assessor", "witness.assessor.example"},
	{"university", "witness.university.example"},
}

// sampleLog is a whole log: leaf 0, the registrations of all sources, and both
// sample sessions, as a log would have taken them at the time.
type sampleLog struct {
	sessions *samples.Sessions
	sources  []*samples.Source
	admins   []samples.Admin

	now    time.Time // what the log's clock shows
	leaves [][]byte  // encoded
	times  []uint64  // of the leaves, ms since the epoch
	hashes []hash
	events []logged // by index

	log []*noteKey            // Ed25519, ML-DSA-44
	by  map[string][]*noteKey // of the witnesses: Ed25519, ML-DSA-44
}

// logged is the payload of a leaf and who signed it.
type logged struct {
	payload    []byte
	signatures []signature
}

// opened is when the sample log was created.
var opened = time.Date(2025, time.June, 2, 9, 0, 0, 0, time.UTC)

func newSampleLog() (*sampleLog, error) {
	s := &sampleLog{now: opened, by: map[string][]*noteKey{}}
	var err error
	if s.sessions, err = samples.NewSessions(); err != nil {
		return nil, err
	}
	if s.sources, err = samples.Sources(); err != nil {
		return nil, err
	}
	if s.admins, err = samples.Admins(); err != nil {
		return nil, err
	}
	if err := s.noteKeys(); err != nil {
		return nil, err
	}
	if err := s.authority(); err != nil {
		return nil, err
	}
	for _, events := range [][]samples.Event{s.sessions.Good, s.sessions.Unattested} {
		for _, e := range events {
			parsed, err := event.Parse(e.Payload)
			if err != nil {
				return nil, err
			}
			// A log on the spot takes an event a moment after it was recorded.
			s.now = parsed.RecordedTime.Add(150 * time.Millisecond)
			if err := s.take(e.Payload, e.Source.Key); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

func (s *sampleLog) noteKeys() error {
	for _, kind := range []byte{typeEd25519, typeMLDSA44} {
		k, err := newNoteKey(samples.Origin, kind)
		if err != nil {
			return err
		}
		s.log = append(s.log, k)
	}
	for _, w := range witnesses {
		for _, kind := range []byte{typeCosignEd25519, typeMLDSA44} {
			k, err := newNoteKey(w.key, kind)
			if err != nil {
				return err
			}
			s.by[w.name] = append(s.by[w.name], k)
		}
	}
	return nil
}

// authority takes leaf 0 and registers every source and its key.
func (s *sampleLog) authority() error {
	genesis, err := samples.Genesis(samples.Origin, s.admins)
	if err != nil {
		return err
	}
	payload, err := event.NewLogCreated(s.id(), s.now, genesis)
	if err != nil {
		return err
	}
	if err := s.take(payload); err != nil {
		return err
	}
	deciding := []crypto.Signer{s.admins[0].Key, s.admins[1].Key}
	for _, source := range s.sources {
		declared, key := source.Registration()
		if payload, err = event.NewSourceRegistered(s.header(), declared); err != nil {
			return err
		}
		if err := s.take(payload, deciding...); err != nil {
			return err
		}
		if payload, err = event.NewKeyRegistered(s.header(), key); err != nil {
			return err
		}
		// The key signs too, which shows that its holder has it.
		if err := s.take(payload, deciding[0], deciding[1], source.Key); err != nil {
			return err
		}
	}
	return nil
}

// header is that of the next authority event, whose predecessor is the last leaf.
func (s *sampleLog) header() event.Header {
	s.now = s.now.Add(time.Minute)
	return event.Header{ID: s.id(), Time: s.now, Origin: samples.Origin, Prev: tlog.Hash(s.hashes[len(s.hashes)-1])}
}

func (s *sampleLog) id() string {
	random := sha512.Sum512(fmt.Appendf(nil, "sample authority event %d", len(s.leaves)))
	return event.NewUUIDv7(s.now.UnixMilli(), [10]byte(random[:10]))
}

// take signs a payload and appends it.
func (s *sampleLog) take(payload []byte, keys ...crypto.Signer) error {
	signatures, err := signAll(payload, keys...)
	if err != nil {
		return err
	}
	ms := uint64(s.now.UnixMilli())
	encoded := newLeaf(ms, payload, signatures...).encode()
	s.leaves, s.hashes, s.times = append(s.leaves, encoded), append(s.hashes, hashLeaf(encoded)), append(s.times, ms)
	s.events = append(s.events, logged{payload: payload, signatures: signatures})
	return nil
}

// head is the checkpoint of the first size leaves.
func (s *sampleLog) head(size int) head {
	return head{origin: samples.Origin, size: uint64(size), root: root(s.hashes[:size])}
}

// cosigned is the time of all sample cosignatures, in seconds since the epoch.
func (s *sampleLog) cosigned() uint64 { return uint64(s.now.Unix()) + 2 }

// find returns the index of the first event of a type, by its short name.
func (s *sampleLog) find(short string) int {
	for i, e := range s.events {
		if bytes.Contains(e.payload, []byte(`"type":"`+samples.FullType(short)+`"`)) {
			return i
		}
	}
	return -1
}
