package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/server"
	"github.com/escortlog/escortlog/storage/badger"
	"golang.org/x/mod/sumdb/tlog"
)

// forgery is a second history of the log, made by an operator who has the log's
// keys, its software and all the time there is. It needs no witness, and it
// keeps its guard to itself.
type forgery struct {
	dir    string
	origin string
	keys   []*checkpoint.Signer
	store  *badger.Store
	log    *log.Log
	server *server.Server
	clock  atomic.Int64 // ms since the epoch that the forged log believes in
	next   int64        // index of the next leaf
}

// forge builds a database that holds these leaves, each at the time it bears,
// and opens a log on it that signs with the log's own keys.
func (d *demo) forge(ctx context.Context, name string, leaves [][]byte) (f *forgery, err error) {
	f = &forgery{dir: filepath.Join(d.dir, "forged-"+name), origin: origin, keys: d.operator.signers}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("forging: %w", err), f.close())
		}
	}()
	if f.store, err = badger.Open(f.dir, badger.Options{}); err != nil {
		return f, err
	}
	identity, _, err := identify(leaves[0])
	if err != nil {
		return f, err
	}
	head, err := log.Create(ctx, f.store, leaves[0], identity)
	if err != nil {
		return f, err
	}
	f.next = 1
	f.clock.Store(entry.TimeOf(leaves[0]))
	policy, err := checkpoint.ParsePolicy([]byte(f.policyText()))
	if err != nil {
		return f, err
	}
	f.log, err = log.Open(ctx, log.Config{
		Origin: f.origin, Store: f.store, Guard: log.NewMemoryGuard(head), Signers: f.keys, Policy: policy,
		Now: func() time.Time { return time.UnixMilli(f.clock.Load()) },
	})
	if err != nil {
		return f, err
	}
	for _, leaf := range leaves[1:] {
		if err := f.add(ctx, leaf, entry.TimeOf(leaf)); err != nil {
			return f, err
		}
	}
	vkeys := []string{f.keys[0].VKey(), f.keys[1].VKey()}
	f.server, err = server.New(ctx, server.Config{Log: f.log, VKeys: vkeys, Policy: policy, PolicyText: f.policyText()})
	return f, err
}

// policyText asks for nobody but the log itself.
func (f *forgery) policyText() string { return "log " + f.keys[0].VKey() + "\nquorum none\n" }

// add appends a leaf at a time of the operator's choice.
func (f *forgery) add(ctx context.Context, leaf []byte, ms int64) error {
	e, err := entry.Parse(leaf)
	if err != nil {
		return err
	}
	identity, authority, err := identify(leaf)
	if err != nil {
		return err
	}
	f.clock.Store(ms)
	p, err := f.log.Add(&log.Submission{
		Identity: identity, Content: e.Content(), Leaf: append([]byte(nil), leaf...), Decided: f.log.AuthorityCovered(), Authority: authority,
	})
	if err != nil {
		return err
	}
	pos, err := p.Wait(ctx)
	if err != nil {
		return err
	}
	if pos.Index != f.next || pos.Time != ms {
		return fmt.Errorf("leaf %d at %d became leaf %d at %d", f.next, ms, pos.Index, pos.Time)
	}
	f.next++
	return nil
}

// note is the forged history's checkpoint, signed with the log's own keys.
func (f *forgery) note() ([]byte, error) {
	head := f.log.Head()
	cp := checkpoint.Checkpoint{Origin: f.origin, Size: head.Size, Root: head.Root}
	var lines [][]byte
	for _, k := range f.keys {
		line, err := k.Sign(cp.Text(), time.Now().Unix())
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	return checkpoint.Join(cp.Text(), lines...), nil
}

// consistency is the proof that the forged tree extends its own beginning.
func (f *forgery) consistency(ctx context.Context, from int64) ([]tlog.Hash, error) {
	return f.log.Consistency(ctx, from, f.log.Head().Size)
}

// close ends the forged log. Its database stays.
func (f *forgery) close() error {
	var err error
	if f.server != nil {
		f.server.Stop()
	}
	if f.log != nil {
		err = f.log.Close()
	}
	if f.store != nil {
		err = errors.Join(err, f.store.Close())
	}
	f.server, f.log, f.store = nil, nil, nil
	return err
}

// honestLeaves are the leaves of the operator's log, which must be running.
func (d *demo) honestLeaves(ctx context.Context) ([][]byte, error) {
	var leaves [][]byte
	for i := range d.size {
		leaf, err := d.operator.log.Entry(ctx, i)
		if err != nil {
			return nil, err
		}
		leaves = append(leaves, leaf)
	}
	return leaves, nil
}
