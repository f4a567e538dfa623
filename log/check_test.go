package log

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/memory"
)

// TestCheckFindsEveryChange changes, one after the other, each value that the
// log has stored: a bit in it, its last byte, all of it. The checker must find
// every change and name where it is.
func TestCheckFindsEveryChange(t *testing.T) {
	l := newTestLog(t, nil)
	l.fill(300)
	l.mustAdd(submission(300, 1, true))
	for n := 301; n < 310; n++ {
		l.mustAdd(submission(n, 301, false))
	}
	quiesce(t, l)
	note := l.waitPublished(310).Note
	l.end()
	l.disk.Tamper(keyPublished, func([]byte) []byte { return note })
	image := l.disk.Snapshot()

	check := func(disk *memory.Disk) error {
		store, err := disk.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		_, err = Check(t.Context(), CheckConfig{Store: store, Guard: NewMemoryGuard(l.guard.Head()), Origin: testOrigin, Keys: verifiers(), Identify: identify})
		return err
	}
	if err := check(l.disk); err != nil {
		t.Fatalf("the untouched log: %v", err)
	}
	var keys [][]byte
	store := snapshotOf(t, l.disk)
	err := store.Scan(t.Context(), nil, nil, func(key, _ []byte) error {
		keys = append(keys, bytes.Clone(key))
		return nil
	})
	store.Close()
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) < 20 {
		t.Fatalf("only %d keys: the test does not cover what it should", len(keys))
	}
	changes := map[string]func([]byte) []byte{
		"a bit flipped at the front":  func(v []byte) []byte { v[min(12, len(v)-1)] ^= 1; return v },
		"a bit flipped in the middle": func(v []byte) []byte { v[len(v)/2] ^= 0x10; return v },
		"a bit flipped at the end":    func(v []byte) []byte { v[len(v)-1] ^= 0x80; return v },
		"a byte missing":              func(v []byte) []byte { return v[:len(v)-1] },
		"a byte more":                 func(v []byte) []byte { return append(v, 0) },
		"removed":                     func([]byte) []byte { return nil },
	}
	for _, key := range keys {
		for name, change := range changes {
			if name == "removed" && bytes.Equal(key, keyPublished) {
				continue // a log may have published nothing
			}
			l.disk.Restore(image)
			l.disk.Tamper(key, change)
			err := check(l.disk)
			if err == nil {
				t.Errorf("%s: %s: not found", describeKey(key), name)
				continue
			}
			if !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, ErrNoLog) {
				t.Errorf("%s: %s: %v does not say corrupt", describeKey(key), name, err)
			}
		}
	}
	for _, stray := range [][]byte{numberKey(prefixRun, 310), numberKey(prefixBundle, 1), tileKey(0, 1), tileKey(1, 0), numberKey(prefixAuthority, 5), numberKey(prefixEvidence, evidenceSlots), []byte("x")} {
		l.disk.Restore(image)
		l.disk.Tamper(stray, func([]byte) []byte { return []byte("stray") })
		if err := check(l.disk); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("stray %s: %v", describeKey(stray), err)
		}
	}
}

// TestCheckComparesWithTheGuard: a store that is sound and older than the guard
// is a problem, and so is one with another history.
func TestCheckComparesWithTheGuard(t *testing.T) {
	l := newTestLog(t, nil)
	l.fill(20)
	l.end()
	store := snapshotOf(t, l.disk)
	defer store.Close()
	head := l.guard.Head()
	for name, spoil := range map[string]func(*Head){
		"ahead":         func(h *Head) { h.Size++ },
		"another root":  func(h *Head) { h.Root[0] ^= 1 },
		"older, a fork": func(h *Head) { h.Size = 10 },
	} {
		h := head
		spoil(&h)
		report, err := Check(t.Context(), CheckConfig{Store: store, Guard: NewMemoryGuard(h)})
		if !errors.Is(err, storage.ErrCorrupt) || len(report.Problems) != 1 || !strings.Contains(report.Problems[0], "guard") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Check(t.Context(), CheckConfig{Store: store, Guard: NewMemoryGuard(head)}); err != nil {
		t.Error(err)
	}
}
