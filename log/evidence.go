package log

import (
	"context"
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
	mu   sync.Mutex
	next int64
}

// KeepEvidence keeps a record with the next commit: bounded in size and number,
// the newest ones win. It does not wait. A flood beyond what can be written is
// dropped and counted.
func (l *Log) KeepEvidence(kind string, record []byte) {
	if len(record) > maxEvidence {
		record = record[:maxEvidence]
	}
	l.evidence.mu.Lock()
	defer l.evidence.mu.Unlock()
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
	l.evidence.next++
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
