package log

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/escortlog/escortlog/storage"
)

const (
	// evidenceSlots is how many records of evidence are kept.
	evidenceSlots = 1024
	// maxEvidence bounds one record, in bytes. Longer ones are cut.
	maxEvidence = 128 << 10
)

// Evidence is something that was refused and is worth keeping: an envelope that
// tells a second story under a logged identity, or a checkpoint that
// contradicts the store. It is no part of the tree.
type Evidence struct {
	Seq    int64     `json:"seq"` // counts from 0 over the life of the log
	Kind   string    `json:"kind"`
	By     string    `json:"by,omitempty"` // who brought it about, as KeepEvidenceBy was told
	Time   time.Time `json:"time"`
	Record []byte    `json:"record"`
}

// evidence hands out the slots that records are kept in.
type evidence struct {
	mu    sync.Mutex
	next  int64 // Seq of the next record
	slots []evidenceSlot
	kept  map[[32]byte]struct{} // hashes of what stands in the slots
	share map[string]int        // how many slots each owner has
}

// evidenceSlot is what is remembered of the record in a slot.
type evidenceSlot struct {
	seq   int64 // negative: the slot is free
	hash  [32]byte
	owner string
}

// evidenceHash is equal for records that say the same.
func evidenceHash(kind string, record []byte) [32]byte {
	return sha256.Sum256(append(append([]byte(kind), 0), record...))
}

// owner is whose share of the slots a record counts against.
func (e Evidence) owner() string { return e.Kind + "\x00" + e.By }

// place returns the slot for one more record of an owner: a free one, or that of
// the oldest record of whoever would have most. So nobody drives out the records
// of others who have fewer.
func (v *evidence) place(owner string) int {
	for i, s := range v.slots {
		if s.seq < 0 {
			return i
		}
	}
	if len(v.slots) < evidenceSlots {
		return len(v.slots)
	}
	has := func(o string) int {
		if o == owner {
			return v.share[o] + 1
		}
		return v.share[o]
	}
	victim := 0
	for i, s := range v.slots {
		was := v.slots[victim]
		if more := has(s.owner) - has(was.owner); more > 0 || more == 0 && s.seq < was.seq {
			victim = i
		}
	}
	return victim
}

// took notes that e stands in a slot now; the caller holds mu or is alone.
func (v *evidence) took(slot int, e Evidence) {
	if v.kept == nil {
		v.kept, v.share = make(map[[32]byte]struct{}), make(map[string]int)
	}
	for len(v.slots) <= slot {
		v.slots = append(v.slots, evidenceSlot{seq: -1})
	}
	s := &v.slots[slot]
	if s.seq >= 0 {
		delete(v.kept, s.hash)
		if v.share[s.owner]--; v.share[s.owner] == 0 {
			delete(v.share, s.owner)
		}
	}
	*s = evidenceSlot{seq: e.Seq, hash: evidenceHash(e.Kind, e.Record), owner: e.owner()}
	v.kept[s.hash] = struct{}{}
	v.share[s.owner]++
	v.next = max(v.next, e.Seq+1)
}

// KeepEvidence is KeepEvidenceBy for what nobody in particular brought about.
func (l *Log) KeepEvidence(kind string, record []byte) { l.KeepEvidenceBy(kind, "", record) }

// KeepEvidenceBy keeps a record with the next commit: bounded in size and
// number. by names who brought it about (a keyid); when all places are taken,
// the oldest record of whoever has most makes room, so that one client with an
// endless supply drives out its own records and nobody else's. One that is kept
// is not kept twice. It does not wait. A flood beyond what can be written is
// dropped and counted.
func (l *Log) KeepEvidenceBy(kind, by string, record []byte) {
	if len(record) > maxEvidence {
		record = record[:maxEvidence]
	}
	l.evidence.mu.Lock()
	defer l.evidence.mu.Unlock()
	if _, ok := l.evidence.kept[evidenceHash(kind, record)]; ok {
		return
	}
	e := Evidence{Seq: l.evidence.next, Kind: kind, By: by, Time: l.cfg.Now().UTC(), Record: record}
	value, err := json.Marshal(e)
	if err != nil {
		l.cfg.Logger.Error("evidence not kept", "kind", kind, "error", err)
		return
	}
	slot := l.evidence.place(e.owner())
	put := []storage.KV{{Key: numberKey(prefixEvidence, int64(slot)), Value: value}}
	if !l.extras.add(extra{put: put, done: make(chan error, 1)}) {
		l.metrics.evidenceDropped.Inc()
		return
	}
	l.evidence.took(slot, e)
	l.metrics.evidence.WithLabelValues(kind).Inc()
	l.pool.signal()
}

// Evidence calls fn with each record kept, oldest first.
func (l *Log) Evidence(ctx context.Context, fn func(Evidence) error) error {
	return ReadEvidence(ctx, l.cfg.Store, fn)
}

// ReadEvidence is Log.Evidence for a store that no log has open.
func ReadEvidence(ctx context.Context, store storage.Store, fn func(Evidence) error) error {
	return scanEvidence(ctx, store, func(_ int, e Evidence) error { return fn(e) })
}

// scanEvidence is ReadEvidence with the slot of each record.
func scanEvidence(ctx context.Context, store storage.Store, fn func(slot int, e Evidence) error) error {
	type slotted struct {
		slot int
		Evidence
	}
	var all []slotted
	err := store.Scan(ctx, []byte{prefixEvidence}, []byte{prefixEvidence + 1}, func(key, value []byte) error {
		slot, err := keyNumber(key)
		if err == nil && (slot < 0 || slot >= evidenceSlots) {
			err = fmt.Errorf("there are %d slots", evidenceSlots)
		}
		var e Evidence
		if err == nil {
			err = json.Unmarshal(value, &e)
		}
		if err != nil {
			return fmt.Errorf("log: %s: %w: %w", describeKey(key), storage.ErrCorrupt, err)
		}
		all = append(all, slotted{int(slot), e})
		return nil
	})
	if err != nil {
		return fmt.Errorf("log: reading evidence: %w", err)
	}
	slices.SortFunc(all, func(a, b slotted) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, e := range all {
		if err := fn(e.slot, e.Evidence); err != nil {
			return err
		}
	}
	return nil
}
