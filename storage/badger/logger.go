package badger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
)

// tripwire takes Badger's log. What Badger says goes to slog at debug level;
// but what it calls an error may be the only sign of lost data (a failed sync
// of the value log is logged, and the commit succeeds), so the first one is
// kept, and stops commits.
type tripwire struct {
	log   *slog.Logger
	first atomic.Pointer[error]
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
	w.log.Error("badger: " + message)
	err := errors.New("badger: " + message)
	w.first.CompareAndSwap(nil, &err)
}

func (w *tripwire) Warningf(format string, args ...any) { w.debug(format, args) }
func (w *tripwire) Infof(format string, args ...any)    { w.debug(format, args) }

// Debugf is not formatted in vain: Badger calls it several times a commit.
func (w *tripwire) Debugf(format string, args ...any) { w.debug(format, args) }

func (w *tripwire) debug(format string, args []any) {
	if w.log.Enabled(context.Background(), slog.LevelDebug) {
		w.log.Debug("badger: " + strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}
