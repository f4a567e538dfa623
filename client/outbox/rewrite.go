package outbox

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/escortlog/escortlog/client/internal/durable"
)

// minDead is how many bytes of settled records are left in the file at least.
const minDead = 1 << 20

// tidy rewrites the file when most of it is settled.
func (o *Outbox) tidy() error {
	o.syncMu.Lock()
	defer o.syncMu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.usable() != nil || o.journal.end-o.bytes < max(minDead, o.bytes) {
		return nil
	}
	return o.rewrite()
}

// rewrite writes what is still needed into a new file and puts it in place of
// the old one. A crash leaves the one or the other, and perhaps a new file
// without its name, which the next rewrite overwrites. syncMu and mu are held,
// or nobody else has the outbox yet.
func (o *Outbox) rewrite() error {
	name, next := filepath.Join(o.config.Dir, logName), filepath.Join(o.config.Dir, newName)
	j, err := createJournal(next)
	if err != nil {
		return err
	}
	places, err := o.copyTo(j)
	if err == nil {
		err = o.sync(j.file)
	}
	if err == nil {
		err = os.Rename(next, name)
	}
	if err != nil {
		return errors.Join(err, j.file.Close(), os.Remove(next))
	}
	old := o.journal
	o.journal, o.bytes = j, 0
	for i, it := range o.pending {
		it.place, it.index, it.mark = places[i], 0, 0
		o.bytes += int64(it.place.length)
	}
	if err := durable.SyncDir(o.config.Dir); err != nil {
		// After a crash the old file may be back, without what is written now.
		o.failed = err
		return err
	}
	o.synced = o.written
	o.signal(o.wake)
	if old != nil {
		return old.file.Close()
	}
	return nil
}

// copyTo writes the state and the pending events.
func (o *Outbox) copyTo(j *journal) ([]place, error) {
	body, err := marshalRecord(&record{State: &o.state})
	if err != nil {
		return nil, err
	}
	if _, err := j.append(body); err != nil {
		return nil, err
	}
	places := make([]place, len(o.pending))
	for i, it := range o.pending {
		s, err := o.stored(it)
		if err != nil {
			return nil, err
		}
		if body, err = marshalRecord(&record{Events: []stored{s}}); err != nil {
			return nil, err
		}
		if places[i], err = j.append(body); err != nil {
			return nil, err
		}
	}
	return places, nil
}

// stored reads a pending event from the file.
func (o *Outbox) stored(it *item) (stored, error) {
	body, err := o.journal.read(it.place)
	if err != nil {
		return stored{}, err
	}
	r, err := parseRecord(body)
	if err != nil {
		return stored{}, err
	}
	if len(r.Resigned) > 0 {
		return r.Resigned[it.index], nil
	}
	return r.Events[it.index], nil
}
