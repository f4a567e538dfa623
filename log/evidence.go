package log

import (
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
	// evidenceSlots is how many records of evidence are kept: the newest ones.
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
	Time   time.Time `json:"time"`
	Record []byte    `json:"record"`
}

// evidence hands out the slots of the ring.
type evidence struct {
	mu    sync.Mutex
	next  int64
	slots [evidenceSlots][32]byte // hash of what stands in each slot
	kept  map[[32]byte]struct{}   // the same hashes
}

// evidenceHash is equal for records that say the same.
func evidenceHash(kind string, record []byte) [32]byte {
	return sha256.Sum256(append(append([]byte(kind), 0), record...))
}

// took notes that e stands in its slot now; the caller holds mu or is alone.
func (v *evidence) took(e Evidence) {
	if v.kept == nil {
		v.kept = make(map[[32]byte]struct{})
	}
	h := evidenceHash(e.Kind, e.Record)
	slot := &v.slots[e.Seq%evidenceSlots]
	delete(v.kept, *slot)
	*slot = h
	v.kept[h] = struct{}{}
	v.next = max(v.next, e.Seq+1)
}

// KeepEvidence keeps a record with the next commit: bounded in size and number,
// the newest ones win. One that is kept is not kept twice, or a client that
// never stops repeating itself would drive out all others. It does not wait. A
// flood beyond what can be written is dropped and counted.
func (l *Log) KeepEvidence(kind string, record []byte) {
	if len(record) > maxEvidence {
		record = record[:maxEvidence]
	}
	l.evidence.mu.Lock()
	defer l.evidence.mu.Unlock()
	if _, ok := l.evidence.kept[evidenceHash(kind, record)]; ok {
		return
	}
	e := Evidence{Seq: l.evidence.next, Kind: kind, Time: l.cfg.Now().UTC(), Record: record}
	value, err := json.Marshal(e)
	if err != nil {
		l.cfg.Logger.Error("evidence not kept", "kind", kind, "error", err)
		return
	}
	put := []storage.KV{{Key: numberKey(prefixEvidence, e.Seq%evidenceSlots), Value: value}}
	if !l.extras.add(extra{put: put, done: make(chan error, 1)}) {
		l.metrics.evidenceDropped.Inc()
		return
	}
	l.evidence.took(e)
	l.metrics.evidence.WithLabelValues(kind).Inc()
	l.pool.signal()
}

// Evidence calls fn with each record kept, oldest first.
func (l *Log) Evidence(ctx context.Context, fn func(Evidence) error) error {
	return ReadEvidence(ctx, l.cfg.Store, fn)
}

// ReadEvidence is Log.Evidence for a store that no log has open.
func ReadEvidence(ctx context.Context, store storage.Store, fn func(Evidence) error) error {
	var all []Evidence
	err := store.Scan(ctx, []byte{prefixEvidence}, []byte{prefixEvidence + 1}, func(key, value []byte) error {
		var e Evidence
		if err := json.Unmarshal(value, &e); err != nil {
			return fmt.Errorf("log: %s: %w: %w", describeKey(key), storage.ErrCorrupt, err)
		}
		all = append(all, e)
		return nil
	})
	if err != nil {
		return fmt.Errorf("log: reading evidence: %w", err)
	}
	slices.SortFunc(all, func(a, b Evidence) int { return int(a.Seq - b.Seq) })
	for _, e := range all {
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}
