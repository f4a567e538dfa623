package monitor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/escortlog/escortlog/client/internal/durable"
)

// errState: a file of the state directory is not what was written there.
var errState = errors.New("the state directory is damaged; keep it, and monitor into a new one")

// Files of a state directory, beside one folder for each log.
const (
	fileFindings = "findings.jsonl"
	fileLock     = "lock"
	dirEvidence  = "evidence"
)

// journal is every finding there was, one JSON object a line, in the order in
// which they were raised. It is the queue of every receiver.
type journal struct {
	mu    sync.Mutex
	file  *os.File
	size  int64 // of what is synced
	known map[string]bool
	open  map[condition]*Finding
	rules map[string]*Finding // findings of rules that were raised and not closed, by id
	grown chan struct{}       // closed when it grows
}

// openJournal reads the journal. A last line that a crash cut off does not count:
// nobody was told of it.
func openJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	j := &journal{file: file, known: map[string]bool{}, open: map[condition]*Finding{}, rules: map[string]*Finding{}, grown: make(chan struct{})}
	err = j.each(0, func(f *Finding, _ []byte, end int64) error {
		j.take(f)
		j.size = end
		return nil
	})
	if err == nil {
		err = file.Truncate(j.size)
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), file.Close())
	}
	return j, nil
}

func (j *journal) take(f *Finding) {
	j.known[f.ID] = true
	switch {
	case f.Kind == KindRule && f.Status == Raised:
		j.rules[f.ID] = f
	case f.Status == Closed:
		delete(j.rules, f.Clears)
	}
	if c, ok := f.condition(); ok && f.Status == Raised {
		j.open[c] = f
	} else if ok {
		delete(j.open, c)
	}
}

// each calls do with every whole finding from offset on and the offset behind it.
func (j *journal) each(offset int64, do func(f *Finding, line []byte, end int64) error) error {
	r := newLines(j.file, offset)
	for {
		line, end, err := r.next()
		if err != nil || line == nil {
			return err
		}
		f := new(Finding)
		if err := json.Unmarshal(line, f); err != nil {
			return fmt.Errorf("%w: %s at byte %d: %w", errState, j.file.Name(), end-int64(len(line)), err)
		}
		if err := do(f, line, end); err != nil {
			return err
		}
	}
}

// add appends those findings that are not known yet, durably.
func (j *journal) add(list ...*Finding) (added []*Finding, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out bytes.Buffer
	fresh := map[string]bool{}
	for _, f := range list {
		if j.known[f.ID] || fresh[f.ID] {
			continue
		}
		fresh[f.ID] = true
		line, err := json.Marshal(f)
		if err != nil {
			return nil, err
		}
		out.Write(append(line, '\n'))
		added = append(added, f)
	}
	if len(added) == 0 {
		return nil, nil
	}
	if _, err := j.file.WriteAt(out.Bytes(), j.size); err != nil {
		return nil, fmt.Errorf("keeping findings: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		return nil, fmt.Errorf("keeping findings: %w", err)
	}
	j.size += int64(out.Len())
	for _, f := range added {
		j.take(f)
	}
	close(j.grown)
	j.grown = make(chan struct{})
	return added, nil
}

// state returns how long the journal is and what is closed when it grows.
func (j *journal) state() (size int64, grown <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.size, j.grown
}

// holds returns the finding that raised a condition, nil where it does not hold.
func (j *journal) holds(c condition) *Finding {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.open[c]
}

// unresolved returns the findings of a rule about a log that are not closed.
func (j *journal) unresolved(log, url, rule string) (list []*Finding) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, f := range j.rules {
		if f.Log == log && f.URL == url && f.Rule == rule {
			list = append(list, f)
		}
	}
	return list
}

// knows reports whether a finding was raised.
func (j *journal) knows(id string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.known[id]
}

// conditions counts those that hold, by kind.
func (j *journal) conditions() map[string]int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := map[string]int{}
	for c := range j.open {
		n[c.kind]++
	}
	return n
}

// cursor is how far a receiver has come.
type cursor struct {
	Offset int64 `json:"offset"` // in the journal
	// Of the events raised into a log: the number of the next one less one, and
	// the hash of the payload before it.
	Sequence int64  `json:"sequence,omitempty"`
	PrevHash string `json:"prevhash,omitempty"`
}

func loadCursor(path string, size int64) (c cursor, err error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(content, &c); err != nil || c.Offset < 0 || c.Offset > size || c.Sequence < 0 {
		return c, fmt.Errorf("%w: %s is not how far a receiver has come", errState, path)
	}
	return c, nil
}

func (c cursor) save(path string) error {
	content, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(content, '\n'))
}
