package witness

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/journal"
	"github.com/escortlog/escortlog/witness/mirror"
)

// knownLog is a log in the list, with all its keys.
type knownLog struct {
	keys   []*checkpoint.Verifier
	remote mirror.Remote // without a URL if none was given
	qpd    int64
	// mirror says that a full copy is kept.
	mirror bool
}

// logSet is one reading of the list. It does not change.
type logSet struct {
	byOrigin map[string]*knownLog
	file     fs.FileInfo // of the file that was read
}

// logList is the log list file and what it said last. Commands change the
// file while the witness runs, so each request looks whether it is still the
// same file: a stat costs microseconds, and the very next request sees a change.
type logList struct {
	path string
	own  []*checkpoint.Signer // keys that no log can have
	set  atomic.Pointer[logSet]

	mu  sync.Mutex  // one reader of the file at a time
	bad fs.FileInfo // the file that could not be read last, so that it is reported once
}

func openLogList(path string, own []*checkpoint.Signer) (*logList, error) {
	l := &logList{path: path, own: own}
	set, err := l.read()
	if err != nil {
		return nil, err
	}
	l.set.Store(set)
	return l, nil
}

func (l *logList) current() *logSet { return l.set.Load() }

// refresh reads the list again if the file changed. If it cannot be read, what
// it said before stays in force, and the error is returned once for each change.
func (l *logList) refresh() (changed bool, err error) {
	info, statErr := os.Stat(l.path)
	if statErr == nil && sameFile(info, l.set.Load().file) {
		return false, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if statErr == nil && (sameFile(info, l.set.Load().file) || sameFile(info, l.bad)) {
		return false, nil
	}
	if statErr != nil && l.bad == missing {
		return false, nil
	}
	return l.reload()
}

// missing stands for the file that is not there.
var missing fs.FileInfo = missingFile{}

type missingFile struct{ fs.FileInfo }

// reload reads the list whatever it was. The caller holds mu.
func (l *logList) reload() (changed bool, err error) {
	set, err := l.read()
	if err != nil {
		if l.bad, _ = os.Stat(l.path); l.bad == nil {
			l.bad = missing
		}
		return false, err
	}
	l.bad = nil
	l.set.Store(set)
	return true, nil
}

func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil || b == missing {
		return false
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (l *logList) read() (*logSet, error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, fmt.Errorf("reading the log list: %w", err)
	}
	defer f.Close()
	info, err := f.Stat() // of the very file that is read below
	if err != nil {
		return nil, fmt.Errorf("reading the log list: %w", err)
	}
	var data bytes.Buffer
	if _, err := data.ReadFrom(f); err != nil {
		return nil, fmt.Errorf("reading the log list: %w", err)
	}
	entries, skipped, err := ParseLogList(data.Bytes())
	// In somebody else's list an unusable key is passed over; in one's own it is a mistake.
	if err = errors.Join(append(skipped, err)...); err != nil {
		return nil, fmt.Errorf("log list %s: %w", l.path, err)
	}
	set := &logSet{byOrigin: map[string]*knownLog{}, file: info}
	for _, e := range entries {
		if err := l.usable(e.Key); err != nil {
			return nil, fmt.Errorf("log list %s: line %d: %w", l.path, e.first+1, err)
		}
		k := set.byOrigin[e.Origin]
		if k == nil {
			k = &knownLog{}
			set.byOrigin[e.Origin] = k
		}
		k.keys = append(k.keys, e.Key)
		k.qpd = max(k.qpd, e.QPD)
		k.mirror = k.mirror || e.Mirror
		if e.URL != "" {
			k.remote = mirror.Remote{URL: e.URL, TokenFile: e.Access.TokenFile, CAFile: e.Access.CAFile, TLSCert: e.Access.TLSCert, TLSKey: e.Access.TLSKey}
		}
	}
	return set, nil
}

// usable refuses the witness's own keys: what it signs would then count as signed by the log.
func (l *logList) usable(key *checkpoint.Verifier) error {
	for _, s := range l.own {
		if bytes.Equal(s.Verifier().PublicKey(), key.PublicKey()) {
			return fmt.Errorf("%s is a key of this witness, not of a log", key)
		}
	}
	return nil
}

// knownKeys returns the known log of an origin, or nil, from the list as it is now.
func (w *Witness) knownLog(origin string) *knownLog {
	w.report(w.list.refresh())
	return w.list.current().byOrigin[origin]
}

// Reload reads the log list again now.
func (w *Witness) Reload() error {
	w.list.mu.Lock()
	changed, err := w.list.reload()
	w.list.mu.Unlock()
	w.report(changed, err)
	return err
}

func (w *Witness) report(changed bool, err error) {
	switch {
	case err != nil:
		w.metrics.listErrors.Inc()
		w.log.Error("the log list cannot be read; the one before stays in force", "error", err)
	case changed:
		n := len(w.list.current().byOrigin)
		w.metrics.logs.Set(float64(n))
		w.log.Info("log list read", "logs", n)
	}
}

// AddLogs adds entries to the log list of the witness in dir, whether it runs
// or not. The entries whose key is listed already are returned in known. Where one
// is listed as another log's, nothing is added and the error wraps ErrOtherLog.
func AddLogs(dir string, entries []LogEntry) (known []LogEntry, err error) {
	err = editLogList(dir, func(list []byte) ([]byte, error) {
		for _, e := range entries {
			next, err := addEntry(list, e)
			if errors.Is(err, ErrKnownKey) && !errors.Is(err, ErrOtherLog) {
				known = append(known, e)
				continue
			}
			if err != nil {
				return nil, err
			}
			list = next
		}
		return list, nil
	})
	return known, err
}

// AddNewLogs adds, from somebody else's list, the logs that are new here by origin and by key, and
// returns the entries added. A listed log is not given another key: that would let
// the list's writer sign for it.
func AddNewLogs(dir string, entries []LogEntry) (added []LogEntry, err error) {
	err = editLogList(dir, func(list []byte) ([]byte, error) {
		before, skipped, err := ParseLogList(list)
		if err = errors.Join(append(skipped, err)...); err != nil {
			return nil, err
		}
		listed := map[string]bool{}
		for _, e := range before {
			listed[e.Origin] = true
		}
		for _, e := range entries {
			if listed[e.Origin] {
				continue
			}
			e.Mirror, e.Access = false, Access{} // how much disk a log gets, and which files are shown to it, is decided here
			next, err := addEntry(list, e)
			if errors.Is(err, ErrKnownKey) {
				continue
			}
			if err != nil {
				return nil, err
			}
			list = next
			added = append(added, e)
		}
		return list, nil
	})
	return added, err
}

// RemoveLog takes a log (by origin) or one key (by vkey) out of the log list of the
// witness in dir and returns how many keys that were. What the witness
// remembers of the log stays, so that adding it again is no way around it. The error wraps ErrUnknownLog.
func RemoveLog(dir, originOrVKey string) (keys int, err error) {
	err = editLogList(dir, func(list []byte) (out []byte, err error) {
		out, keys, err = removeEntries(list, originOrVKey)
		return out, err
	})
	return keys, err
}

// ReadLogList returns the entries in the log list of the witness in dir.
func ReadLogList(dir string) ([]LogEntry, error) {
	data, err := os.ReadFile(logsPath(dir))
	if err != nil {
		return nil, fmt.Errorf("reading the log list: %w", err)
	}
	entries, skipped, err := ParseLogList(data)
	if err = errors.Join(append(skipped, err)...); err != nil {
		return nil, fmt.Errorf("log list %s: %w", logsPath(dir), err)
	}
	return entries, nil
}

// editLogList changes the list under a lock of its own, so that two commands at
// once do not lose an entry.
func editLogList(dir string, edit func([]byte) ([]byte, error)) error {
	if _, err := os.Stat(logsPath(dir)); err != nil {
		return fmt.Errorf("reading the log list: %w", notInit(err))
	}
	unlock, err := journal.Lock(logsPath(dir) + ".lock")
	if err != nil {
		return fmt.Errorf("changing the log list: %w", err)
	}
	defer unlock()
	list, err := os.ReadFile(logsPath(dir))
	if err != nil {
		return fmt.Errorf("reading the log list: %w", err)
	}
	out, err := edit(list)
	if err != nil {
		return fmt.Errorf("log list %s: %w", logsPath(dir), err)
	}
	if bytes.Equal(out, list) {
		return nil
	}
	return journal.WriteFile(logsPath(dir), out, 0o644)
}
