package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/evidence"
	"github.com/escortlog/escortlog/log/tile"
)

// bundles serves entries that say which they are.
type bundles struct{ audit.Log }

func (bundles) Bundle(_ context.Context, t tile.Tile) ([][]byte, error) {
	var entries [][]byte
	for i := range t.W {
		entries = append(entries, fmt.Appendf(nil, "%d", t.N*tile.Width+int64(i)))
	}
	return entries, nil
}

// list is a folder that demands every leaf in its place.
type list struct {
	indexes []int64
	bad     int64 // the leaf that is refused
}

func (l *list) Add(index int64, leaf []byte) error {
	l.indexes = append(l.indexes, index)
	if string(leaf) != fmt.Sprint(index) || index == l.bad {
		return fmt.Errorf("leaf %d is %s", index, leaf)
	}
	return nil
}

func (l *list) Leaves() int64 { return int64(len(l.indexes)) }

// TestTeeKeepsTheOrder: an audit fetches several bundles at once, which come as
// they come; a view is told the leaves in the order of the log, each once.
func TestTeeKeepsTheOrder(t *testing.T) {
	into := &list{bad: -1}
	tee := &teeLog{Log: bundles{}, into: into, waiting: map[int64][][]byte{}}
	for _, n := range []int64{2, 0, 1, 3} {
		width := tile.Width
		if n == 3 {
			width = 5
		}
		entries, err := tee.Bundle(t.Context(), tile.Tile{Level: tile.Entries, N: n, W: width})
		if err != nil || len(entries) != width {
			t.Fatalf("%d entries, %v", len(entries), err)
		}
	}
	if tee.err != nil || into.Leaves() != 3*tile.Width+5 || !slices.IsSorted(into.indexes) || len(tee.waiting) != 0 {
		t.Errorf("%d leaves, in order %v, %d bundles waiting, %v", into.Leaves(), slices.IsSorted(into.indexes), len(tee.waiting), tee.err)
	}
}

// TestTeeKeepsTheFirstError, and goes on, so that the audit is not disturbed.
func TestTeeKeepsTheFirstError(t *testing.T) {
	into := &list{bad: 1}
	tee := &teeLog{Log: bundles{}, into: into, waiting: map[int64][][]byte{}}
	if _, err := tee.Bundle(t.Context(), tile.Tile{Level: tile.Entries, N: 0, W: 3}); err != nil {
		t.Fatal(err)
	}
	if tee.err == nil || tee.err.Error() != "leaf 1 is 1" || into.Leaves() != 3 {
		t.Errorf("%d leaves, %v", into.Leaves(), tee.err)
	}
	broken := &teeLog{Log: failing{}, into: into, waiting: map[int64][][]byte{}}
	if _, err := broken.Bundle(t.Context(), tile.Tile{Level: tile.Entries, W: 3}); !errors.Is(err, errFailing) || into.Leaves() != 3 {
		t.Errorf("%d leaves, %v", into.Leaves(), err)
	}
}

var errFailing = errors.New("no bundle")

type failing struct{ audit.Log }

func (failing) Bundle(context.Context, tile.Tile) ([][]byte, error) { return nil, errFailing }

func TestPrintable(t *testing.T) {
	var out strings.Builder
	p := &printer{w: &out}
	p.line("note", "a %s, b", "\x1b[2J\r\u202e")
	if want := "note         a \ufffd[2J\ufffd\ufffd, b\n"; out.String() != want || p.err != nil {
		t.Errorf("%q, not %q, %v", out.String(), want, p.err)
	}
}

// TestRecordedAndLost: of a pack that is gone nobody is told to move it.
func TestRecordedAndLost(t *testing.T) {
	pack, err := createAside(filepath.Join(t.TempDir(), "pack.zip"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer pack.discard()
	say := func() string {
		return recordedOnly(&client.Receipt{Index: 7}, &evidence.Built{SHA256: "ab"}, pack, errFailing).Error()
	}
	if text := say(); !strings.Contains(text, "recorded as leaf 7") || !strings.Contains(text, "It is kept as "+pack.Name()) || !strings.Contains(text, errFailing.Error()) {
		t.Error(text)
	}
	if err := os.Remove(pack.Name()); err != nil {
		t.Fatal(err)
	}
	if text := say(); !strings.Contains(text, "recorded as leaf 7") || !strings.Contains(text, "is lost: "+errFailing.Error()) || strings.Contains(text, "kept") {
		t.Error(text)
	}
}
