package badger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
)

// tripwire takes Badger's log. What Badger says goes to slog at debug level;
// but what it calls an error may be the only sign of lost data, so the first one
// is kept, and stops commits. And it hears how far a write has come.
type tripwire struct {
	log   *slog.Logger
	syncs atomic.Pointer[syncer] // nil while the engine is being opened
	first atomic.Pointer[error]
	once  sync.Once
	fired chan struct{} // closed when there is an error
}

func newTripwire(log *slog.Logger) *tripwire {
	return &tripwire{log: log, fired: make(chan struct{})}
}

func (w *tripwire) err() error {
	if err := w.first.Load(); err != nil {
		return *err
	}
	return nil
}

func (w *tripwire) Errorf(format string, args ...any) {
	message := strings.TrimSpace(fmt.Sprintf(format, args...))
	// A value that cannot be read: the reader notices and returns the error.
	if strings.HasPrefix(format, "Unable to read: Key") || strings.HasPrefix(format, "Key: %v, Version") {
		w.log.Warn("badger: " + message)
		return
	}
	w.trip(errors.New("badger: " + message))
	if strings.HasPrefix(format, "error flushing memtable to disk") {
		// Badger would try again for ever, so that closing never ended, and write to the
		// end of a MANIFEST of which nobody knows what it holds. This goroutine holds
		// no lock, and Close is told of its end.
		runtime.Goexit()
	}
}

func (w *tripwire) trip(err error) {
	w.log.Error(err.Error())
	w.once.Do(func() {
		w.first.Store(&err)
		close(w.fired)
	})
}

// await returns what arrives, or the error that the engine only logged: then
// nothing may ever arrive.
func (w *tripwire) await(result <-chan error) error {
	select {
	case err := <-result:
		if err != nil {
			return err
		}
	case <-w.fired:
	}
	return w.err()
}

// Warningf is all that Badger says of a compaction that failed, when it drops a prefix.
func (w *tripwire) Warningf(format string, args ...any) {
	if strings.HasPrefix(format, "While compacting level 0") {
		w.Errorf(format, args...)
		return
	}
	w.debug(format, args)
}

func (w *tripwire) Infof(format string, args ...any) { w.debug(format, args) }

// Debugf is not formatted in vain: Badger calls it several times a commit.
func (w *tripwire) Debugf(format string, args ...any) {
	w.debug(format, args)
	syncs := w.syncs.Load()
	if syncs == nil {
		return
	}
	switch format {
	case saysValuesWritten:
		if err := syncs.valuesWritten(); err != nil {
			w.trip(err)
			// Badger would go on and write to the WAL what makes the values count
			// that are not on the disk: the commit fails, and after a power cut it
			// is there without them, so that nothing opens. This goroutine writes
			// one set of requests and holds no lock. Nobody is told of its end: see
			// await.
			runtime.Goexit()
		}
	case saysWALWritten:
		if err := syncs.walWritten(); err != nil {
			w.trip(err)
		}
	}
}

func (w *tripwire) debug(format string, args []any) {
	if w.log.Enabled(context.Background(), slog.LevelDebug) {
		w.log.Debug("badger: " + strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}
