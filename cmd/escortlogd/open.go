package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/storage/badger"
)

// opened is the store of a log with its guard, locked against other processes.
type opened struct {
	store *badger.Store
	guard *log.FileGuard
}

// open locks the guard, then opens the store. The guard comes first: it knows
// whether this is the place where the log lives. The logger may be nil.
func (d *dataDir) open(origin string, logger *slog.Logger) (*opened, error) {
	guard, err := log.OpenGuard(d.guardFile(), d.dir, origin)
	if err != nil {
		return nil, err
	}
	store, err := d.openStore(logger)
	if err != nil {
		return nil, errors.Join(err, guard.Close())
	}
	return &opened{store: store, guard: guard}, nil
}

// openStore opens the store, which must be there: an empty one in its place would not be the
// log, and recover would take it for what stood there before.
func (d *dataDir) openStore(logger *slog.Logger) (*badger.Store, error) {
	if _, err := os.Stat(d.db()); err != nil {
		return nil, fmt.Errorf("the store of the log is not there: %w. If it is lost, make it anew from a copy: escortlogd recover --data %s --from COPY", err, d.dir)
	}
	return badger.Open(d.db(), badger.Options{Logger: logger})
}

func (o *opened) close() error { return errors.Join(o.store.Close(), o.guard.Close()) }
