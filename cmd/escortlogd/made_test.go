package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

const madeTime = 1_700_000_000_000

// madeLog is a log of leaves that no door has seen: leaf 0 of a real log, and
// events of 600 bytes, each with an id, a value and a signature of its own that
// do not compress. Nobody has made the signatures.
type madeLog struct {
	first   []byte
	payload [3]string // around id and value
	ahead   int64     // ms that all leaves but the first are later
}

// newMadeLog makes a log of which first is leaf 0.
func newMadeLog(tb testing.TB, first []byte) *madeLog {
	tb.Helper()
	const id, value = "018bcfe5-6800-7000-8000-000000000000", "0123456789abcdef"
	payload, err := event.Build(event.Attributes{
		ID: id, Source: "urn:made", Type: event.Prefix + "session.paused.v1", Subject: "session/s-1", Time: time.UnixMilli(madeTime),
	}, map[string]any{"session_id": "s-1", "reason": value, "paused_by": nil})
	if err != nil {
		tb.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(payload), id)
	middle, after, _ := strings.Cut(rest, value)
	m := &madeLog{first: first, payload: [3]string{before, middle, after}}
	if n := len(m.leaf(1)); n < 580 || n > 620 {
		tb.Fatalf("a leaf has %d bytes, want about 600", n)
	}
	return m
}

func (m *madeLog) leaf(index int64) []byte {
	if index == 0 {
		return m.first
	}
	random := rand.NewChaCha8([32]byte{byte(index), byte(index >> 8), byte(index >> 16), byte(index >> 24)})
	var sig [64]byte
	random.Read(sig[:])
	var tail [10]byte
	binary.BigEndian.PutUint64(tail[2:], uint64(index))
	id := event.NewUUIDv7(madeTime+index/1000, tail)
	leaf, err := (&entry.Entry{
		Time: entry.TimeOf(m.first) + m.ahead + index/1000, PayloadType: entry.PayloadType,
		Signatures: []entry.Signature{{KeyID: "spki-sha256:" + strings.Repeat("0123456789abcdef", 4), Sig: sig[:]}},
		Payload:    []byte(m.payload[0] + id + m.payload[1] + fmt.Sprintf("%016x", random.Uint64()) + m.payload[2]),
	}).Marshal()
	if err != nil {
		panic(err)
	}
	return leaf
}

// bundle returns the first width leaves of bundle n.
func (m *madeLog) bundle(_ context.Context, n int64, width int) ([][]byte, error) {
	leaves := make([][]byte, width)
	for i := range leaves {
		leaves[i] = m.leaf(n*tile.Width + int64(i))
	}
	return leaves, nil
}

// checkpoint returns the one of the log of that size.
func (m *madeLog) checkpoint(tb testing.TB, origin string, size int64) checkpoint.Checkpoint {
	tb.Helper()
	var roots []tlog.Hash // of the bundles
	for n := int64(0); n*tile.Width < size; n++ {
		var hashes []tlog.Hash
		for i := range tile.WidthAt(tile.Entries, n, size) {
			hashes = append(hashes, entry.LeafHash(m.leaf(n*tile.Width+int64(i))))
		}
		roots = append(roots, tile.TileRoot(hashes))
	}
	return checkpoint.Checkpoint{Origin: origin, Size: size, Root: tile.TileRoot(roots)}
}

// makeLog makes, with init, the data directory of a log, and fills its store so
// that it holds size leaves.
func makeLog(tb testing.TB, size int64) (dir string, m *madeLog) { return makeLogAhead(tb, size, 0) }

// makeLogAhead is makeLog by a clock that was ahead of this one.
func makeLogAhead(tb testing.TB, size int64, ahead time.Duration) (dir string, m *madeLog) {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	dir = filepath.Join(tb.TempDir(), "data")
	_, _, err := command("init", "--data", dir, "--origin", "log.example.org", "--allow-unsigned")
	must(err)
	data := &dataDir{dir: dir}
	o, err := data.open("log.example.org", nil)
	must(err)
	var first []byte
	must(o.store.Scan(tb.Context(), []byte{'a'}, []byte{'b'}, func(_, leaf []byte) error {
		first = append(first, leaf...)
		return nil
	}))
	must(o.store.Close())
	m = newMadeLog(tb, first)
	m.ahead = ahead.Milliseconds()
	head, err := rebuild(tb.Context(), data, log.RebuildConfig{
		Target: m.checkpoint(tb, "log.example.org", size), Bundle: m.bundle, Identify: event.Identify,
	})
	must(err)
	must(putInPlace(data))
	must(o.guard.Advance(head))
	must(o.guard.Close())
	return dir, m
}
