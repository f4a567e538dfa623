package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/server"
	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/badger"
	"github.com/escortlog/escortlog/witness/cosign"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/tlog"
)

// operator runs the log. Its data directory is laid out as escortlogd has it, so
// that one that was kept can be served, checked and opened by it.
type operator struct {
	dir     string
	origin  string
	front   *front
	signers []*checkpoint.Signer // Ed25519, ML-DSA-44

	policy     *checkpoint.Policy
	policyText string

	// While the log runs:
	guard  *log.FileGuard
	store  storage.Store
	http   *http.Client // to the witnesses
	log    *log.Log
	server *server.Server
}

func (o *operator) db() string        { return filepath.Join(o.dir, "db") }
func (o *operator) guardFile() string { return filepath.Join(o.dir, "guard") }

// makeKeys makes the directory and the log's two keys.
func (o *operator) makeKeys() error {
	keys := filepath.Join(o.dir, "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return err
	}
	for _, k := range []struct {
		name string
		alg  checkpoint.Algorithm
	}{{"ed25519.skey", checkpoint.AlgEd25519}, {"mldsa44.skey", checkpoint.AlgMLDSA44}} {
		s, err := checkpoint.GenerateSigner(o.origin, k.alg, rand.Reader)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(keys, k.name), []byte(s.SKey()+"\n"), 0o600); err != nil {
			return err
		}
		o.signers = append(o.signers, s)
	}
	return nil
}

func (o *operator) vkeys() []string {
	var keys []string
	for _, s := range o.signers {
		keys = append(keys, s.VKey())
	}
	return keys
}

func (o *operator) verifiers() []*checkpoint.Verifier {
	var keys []*checkpoint.Verifier
	for _, s := range o.signers {
		keys = append(keys, s.Verifier())
	}
	return keys
}

// create writes leaf 0 and the guard that remembers it, and returns leaf 0's
// hash.
func (o *operator) create(ctx context.Context, genesis event.Genesis) (hash tlog.Hash, err error) {
	var random [10]byte
	rand.Read(random[:]) // never fails, as crypto/rand says
	now := time.Now()
	payload, err := event.NewLogCreated(event.NewUUIDv7(now.UnixMilli(), random), now, genesis)
	if err != nil {
		return hash, err
	}
	leaf, err := (&entry.Entry{Time: now.UnixMilli(), PayloadType: entry.PayloadType, Payload: payload}).Marshal()
	if err != nil {
		return hash, err
	}
	identity, _, err := identify(leaf)
	if err != nil {
		return hash, err
	}
	store, err := badger.Open(o.db(), badger.Options{})
	if err != nil {
		return hash, err
	}
	head, err := log.Create(ctx, store, leaf, identity)
	if err = errors.Join(err, store.Close()); err != nil {
		return hash, err
	}
	guard, err := log.CreateGuard(o.guardFile(), o.dir, o.origin, head)
	if err != nil {
		return hash, err
	}
	return entry.LeafHash(leaf), guard.Close()
}

// identify returns under which identity a leaf is stored, and whether it is an
// authority event.
func identify(leaf []byte) (identity [32]byte, authority bool, err error) {
	e, err := entry.Parse(leaf)
	if err != nil {
		return identity, false, err
	}
	ev, err := event.Parse(e.Payload)
	if err != nil {
		return identity, false, err
	}
	return entry.Identity(ev.Source, ev.ID), event.IsAuthority(ev.Type), nil
}

// open locks the guard and opens the store.
func (o *operator) open() (err error) {
	if o.guard, err = log.OpenGuard(o.guardFile(), o.dir, o.origin); err != nil {
		return err
	}
	store, err := badger.Open(o.db(), badger.Options{})
	if err != nil {
		return errors.Join(err, o.close())
	}
	o.store = store
	return nil
}

// start opens the log as escortlogd serve does and shows it to the world.
func (o *operator) start(ctx context.Context) error {
	if err := o.open(); err != nil {
		return fmt.Errorf("opening the data directory: %w", err)
	}
	registry := prometheus.NewRegistry()
	o.http = &http.Client{Transport: &http.Transport{}}
	var err error
	o.log, err = log.Open(ctx, log.Config{
		Origin: o.origin, Store: o.store, Guard: o.guard, Signers: o.signers, Policy: o.policy,
		Cosigner:   cosign.New(cosign.Config{Policy: o.policy, LogKeys: o.verifiers(), Client: o.http, Registerer: registry}),
		Registerer: registry,
		// The witnesses are next door, and the audience waits.
		PublishEvery: 20 * time.Millisecond,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("opening the log: %w", err), o.close())
	}
	o.server, err = server.New(ctx, server.Config{
		Log: o.log, VKeys: o.vkeys(), Policy: o.policy, PolicyText: o.policyText, Registerer: registry, Gatherer: registry,
	})
	if err != nil {
		return errors.Join(err, o.stop())
	}
	o.front.show(o.server.Handler())
	return nil
}

// stop takes the log away from the world and closes it.
func (o *operator) stop() error {
	o.front.show(nil)
	if o.server != nil {
		o.server.Stop()
		o.server = nil
	}
	var err error
	if o.log != nil {
		err = o.log.Close()
		o.log = nil
	}
	return errors.Join(err, o.close())
}

// close releases the store, the guard and the connections, as far as they are
// open.
func (o *operator) close() error {
	var err error
	if o.store != nil {
		err = o.store.Close()
		o.store = nil
	}
	if o.guard != nil {
		err = errors.Join(err, o.guard.Close())
		o.guard = nil
	}
	if o.http != nil {
		o.http.CloseIdleConnections()
		o.http = nil
	}
	return err
}

// fsck proves the stored log, or says what is wrong with it. The log must be
// stopped.
func (o *operator) fsck(ctx context.Context) (report *log.Report, err error) {
	if err := o.open(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	return log.Check(ctx, log.CheckConfig{Store: o.store, Guard: o.guard, Origin: o.origin, Keys: o.verifiers(), Identify: event.Identify})
}

// backup copies the data directory, with the log stopped for the while.
func (o *operator) backup(ctx context.Context, to string) error {
	if err := o.stop(); err != nil {
		return err
	}
	if err := copyDir(o.dir, to); err != nil {
		return err
	}
	return o.start(ctx)
}

// putBack makes the data directory what it was in a copy, to the byte, in the
// same directory and the same guard file. The log must be stopped.
func (o *operator) putBack(from string) error {
	if err := replaceDir(o.db(), filepath.Join(from, "db")); err != nil {
		return err
	}
	return copyFile(filepath.Join(from, "guard"), o.guardFile())
}
