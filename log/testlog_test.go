package log

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/memory"
	"golang.org/x/mod/sumdb/tlog"
)

const testOrigin = "log.example/test"

// seeded is a deterministic source of key material.
func seeded(seed string) *rand.ChaCha8 { return rand.NewChaCha8(sha256.Sum256([]byte(seed))) }

var testSigners = sync.OnceValue(func() []*checkpoint.Signer {
	var signers []*checkpoint.Signer
	for _, alg := range []checkpoint.Algorithm{checkpoint.AlgEd25519, checkpoint.AlgMLDSA44} {
		s, err := checkpoint.GenerateSigner(testOrigin, alg, seeded(fmt.Sprint("log ", alg)))
		if err != nil {
			panic(err)
		}
		signers = append(signers, s)
	}
	return signers
})

// submission makes the n-th event: a leaf that carries its number, authority
// when asked. The identity is derived from the leaf as fsck would.
func submission(n int, decided int64, authority bool) *Submission {
	kind := "event"
	if authority {
		kind = "authority"
	}
	return submissionOf(fmt.Sprintf("%s %d", kind, n), fmt.Sprint(n), decided, authority)
}

func submissionOf(payload, id string, decided int64, authority bool) *Submission {
	e := &entry.Entry{PayloadType: entry.PayloadType, Payload: []byte(payload + "\x00" + id)}
	leaf, err := e.Marshal()
	if err != nil {
		panic(err)
	}
	return &Submission{Identity: entry.Identity("test", id), Content: e.Content(), Leaf: leaf, Decided: decided, Authority: authority}
}

// identify is what submissionOf does, backwards.
func identify(payload []byte) (source, id []byte, authority bool, err error) {
	_, id, ok := bytes.Cut(payload, []byte{0})
	if !ok {
		return nil, nil, false, fmt.Errorf("payload %q has no id", payload)
	}
	return []byte("test"), id, bytes.HasPrefix(payload, []byte("autho")), nil
}

// testLog is a log on a disk and a guard that outlive it.
type testLog struct {
	*Log
	t     testing.TB
	disk  *memory.Disk
	store *memory.Store
	guard *MemoryGuard
	clock atomic.Int64 // ms
	cfg   func(*Config)
}

func newTestLog(t testing.TB, cfg func(*Config)) *testLog {
	t.Helper()
	l := &testLog{t: t, disk: memory.NewDisk(), cfg: cfg}
	l.clock.Store(1_700_000_000_000)
	store, err := l.disk.Open()
	if err != nil {
		t.Fatal(err)
	}
	first := submission(0, 0, true)
	entry.SetTime(first.Leaf, l.clock.Load())
	head, err := Create(t.Context(), store, first.Leaf, first.Identity)
	if err != nil {
		t.Fatal(err)
	}
	store.Close()
	l.guard = NewMemoryGuard(head)
	l.open()
	t.Cleanup(func() {
		if l.Log != nil {
			l.Close()
		}
		l.disk.Crash()
	})
	return l
}

func (l *testLog) config() Config {
	cfg := Config{
		Origin: testOrigin, Store: l.store, Guard: l.guard, Signers: testSigners(),
		Now: func() time.Time { return time.UnixMilli(l.clock.Load()) },
	}
	if testing.Verbose() {
		cfg.Logger = slog.New(slog.NewTextHandler(l.t.Output(), nil))
	}
	if l.cfg != nil {
		l.cfg(&cfg)
	}
	return cfg
}

// tryOpen opens the log again on what survived.
func (l *testLog) tryOpen() error {
	var err error
	if l.store, err = l.disk.Open(); err != nil {
		return err
	}
	if l.Log, err = Open(context.Background(), l.config()); err != nil {
		l.Log = nil
	}
	return err
}

func (l *testLog) open() {
	l.t.Helper()
	if err := l.tryOpen(); err != nil {
		l.t.Fatal(err)
	}
}

// crash ends the log and its store without a word and opens it again.
func (l *testLog) crash() {
	l.t.Helper()
	l.end()
	l.open()
}

func (l *testLog) end() {
	l.disk.Crash()
	if l.Log != nil {
		l.Close()
		l.Log = nil
	}
}

// add submits and waits.
func (l *testLog) add(s *Submission) (Position, error) {
	l.t.Helper()
	p, err := l.Add(s)
	if err != nil {
		return Position{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return p.Wait(ctx)
}

func (l *testLog) mustAdd(s *Submission) Position {
	l.t.Helper()
	pos, err := l.add(s)
	if err != nil {
		l.t.Fatal(err)
	}
	return pos
}

// fill adds events n, n+1, … until the log has size leaves.
func (l *testLog) fill(size int64) {
	l.t.Helper()
	var pending []*Pending
	for n := l.Head().Size; n < size; n++ {
		p, err := l.Add(submission(int(n), l.AuthorityCovered(), false))
		if err != nil {
			l.t.Fatal(err)
		}
		pending = append(pending, p)
	}
	for _, p := range pending {
		if _, err := p.Wait(context.Background()); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *testLog) waitPublished(size int64) *Published {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := l.WaitPublished(ctx, size)
	if err != nil {
		l.t.Fatal(err)
	}
	return p
}

// check is the whole-log checker, called after every step that matters: what
// is on the disk proves itself, and readers get what the tree commits to.
func (l *testLog) check() {
	l.t.Helper()
	store := snapshotOf(l.t, l.disk)
	defer store.Close()
	_, err := Check(context.Background(), CheckConfig{Store: store, Guard: NewMemoryGuard(l.guard.Head()),
		Origin: testOrigin, Keys: verifiers(), Identify: identify})
	if err != nil {
		l.t.Fatalf("check: %v", err)
	}
	if l.Log == nil || l.Published() == nil {
		return
	}
	p := l.Published()
	var hashes []tlog.Hash
	for n := int64(0); n*tile.Width < p.Size; n++ {
		t := tile.Tile{Level: tile.Entries, N: n, W: tile.WidthAt(tile.Entries, n, p.Size)}
		data, gzipped, err := l.Bundle(context.Background(), t)
		if err == nil && gzipped {
			data, err = decompressBundle(data)
		}
		if err != nil {
			l.t.Fatalf("check: %s: %v", t.Path(), err)
		}
		entries, err := tile.SplitBundle(data, t.W)
		if err != nil {
			l.t.Fatalf("check: %s: %v", t.Path(), err)
		}
		for _, e := range entries {
			hashes = append(hashes, entry.LeafHash(e))
		}
	}
	if root := slowRoot(hashes); root != p.Root {
		l.t.Fatalf("check: the served entries give root %v, the published checkpoint of size %d has %v", root, p.Size, p.Root)
	}
}

// snapshotOf opens a copy of the disk as it is now.
func snapshotOf(t testing.TB, disk *memory.Disk) *memory.Store {
	t.Helper()
	copied := memory.NewDisk()
	copied.Restore(disk.Snapshot())
	store, err := copied.Open()
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func verifiers() []*checkpoint.Verifier {
	var vs []*checkpoint.Verifier
	for _, s := range testSigners() {
		vs = append(vs, s.Verifier())
	}
	return vs
}

// storedKeys lists the keys with a prefix.
func storedKeys(t testing.TB, store storage.Store, prefix byte) (keys []int64) {
	t.Helper()
	err := store.Scan(context.Background(), []byte{prefix}, []byte{prefix + 1}, func(key, _ []byte) error {
		keys = append(keys, int64(binary.BigEndian.Uint64(key[len(key)-8:])))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func tileOf(level int, n int64, w int) tile.Tile { return tile.Tile{Level: level, N: n, W: w} }
