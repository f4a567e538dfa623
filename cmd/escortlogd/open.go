package main

import (
	"errors"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/storage/badger"
)

// opened is the store of a log with its guard, locked against other processes.
type opened struct {
	store *badger.Store
	guard *log.FileGuard
}

// open locks the guard, then opens the store. The guard comes first: it knows
// whether this is the place where the log lives.
func (d *dataDir) open(origin string) (*opened, error) {
	guard, err := log.OpenGuard(d.guardFile(), d.dir, origin)
	if err != nil {
		return nil, err
	}
	store, err := badger.Open(d.db(), badger.Options{})
	if err != nil {
		return nil, errors.Join(err, guard.Close())
	}
	return &opened{store: store, guard: guard}, nil
}

func (o *opened) close() error { return errors.Join(o.store.Close(), o.guard.Close()) }
