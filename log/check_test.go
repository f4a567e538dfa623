package log

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/memory"
	"golang.org/x/mod/sumdb/tlog"
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
	strays := [][]byte{
		numberKey(prefixRun, 310), numberKey(prefixBundle, 1), tileKey(0, 1), tileKey(1, 0), numberKey(prefixAuthority, 5),
		numberKey(prefixEvidence, evidenceSlots), []byte("x"),
	}
	for _, stray := range strays {
		l.disk.Restore(image)
		l.disk.Tamper(stray, func([]byte) []byte { return []byte("stray") })
		if err := check(l.disk); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("stray %s: %v", describeKey(stray), err)
		}
	}
	// The runs of a sealed bundle are gone, also where they are right.
	l.disk.Restore(image)
	var runs []byte
	l.disk.Tamper(numberKey(prefixBundle, 0), func(sealed []byte) []byte {
		runs, err = decompressBundle(sealed)
		return sealed
	})
	if err != nil {
		t.Fatal(err)
	}
	l.disk.Tamper(numberKey(prefixRun, 0), func([]byte) []byte { return runs })
	if err := check(l.disk); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("runs beside the sealed bundle: %v", err)
	}
}

// TestCheckNamesWhatCannotBeRead: where a part of a range cannot be read the checker
// goes on with all else, and names the bundle and what the store says.
func TestCheckNamesWhatCannotBeRead(t *testing.T) {
	l := newTestLog(t, nil)
	l.fill(700)
	l.fill(720)
	quiesce(t, l)
	l.end()
	// Bundle 1 is not sealed, and came in two runs.
	var runs []byte
	l.disk.Tamper(numberKey(prefixBundle, 1), func(sealed []byte) []byte {
		var err error
		if runs, err = decompressBundle(sealed); err != nil {
			t.Fatal(err)
		}
		return nil
	})
	first, err := firstEntries(runs, 100)
	if err != nil {
		t.Fatal(err)
	}
	l.disk.Tamper(numberKey(prefixRun, 256), func([]byte) []byte { return first })
	l.disk.Tamper(numberKey(prefixRun, 356), func([]byte) []byte { return runs[len(first):] })
	store := snapshotOf(t, l.disk)
	defer store.Close()
	if _, err := Check(t.Context(), CheckConfig{Store: store, Identify: identify}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		hidden keyRange
		want   []string
		leaves int64 // that can be hashed
	}{
		"sealed":     {sealedKind.rangeOf(0, 1), []string{"bundle 0: the file is damaged"}, 720 - 256},
		"a run":      {keyRange{numberKey(prefixRun, 356), numberKey(prefixRun, 512)}, []string{"bundle 1: the file is damaged"}, 720 - 256},
		"the end":    {keyRange{numberKey(prefixRun, 700), numberKey(prefixRun, 720)}, []string{"bundle 2: the file is damaged", "hash tile 0/2: storage: key not found: cannot go on behind leaf 511"}, 512},
		"identities": {identityKind.rangeOf(1, 2), []string{"identities of bundle 1: the file is damaged"}, 720},
		"a tile":     {tileKind.rangeOf(0, 1), []string{"hash tile 0/0: the file is damaged"}, 720},
	} {
		report, err := Check(t.Context(), CheckConfig{Store: &unreadable{store, c.hidden}, Identify: identify})
		if !errors.Is(err, storage.ErrCorrupt) || report.Leaves != c.leaves {
			t.Errorf("%s: %v, of %d leaves", name, err, report.Leaves)
		}
		for i, want := range c.want {
			if i >= len(report.Problems) || !strings.HasPrefix(report.Problems[i], want) {
				t.Errorf("%s: %q, want %q", name, report.Problems, c.want)
				break
			}
		}
	}
}

// TestCheckComparesIdentitiesBesideABadLeaf: a leaf without an identity does not hide
// that the one of another is wrong.
func TestCheckComparesIdentitiesBesideABadLeaf(t *testing.T) {
	l := newTestLog(t, nil)
	l.fill(20)
	l.end()
	refuse := func(payload []byte) (source, id []byte, authority bool, err error) {
		if source, id, authority, err = identify(payload); string(id) == "7" {
			err = errors.New("refused")
		}
		return source, id, authority, err
	}
	problems := func() []string {
		store := snapshotOf(t, l.disk)
		defer store.Close()
		report, err := Check(t.Context(), CheckConfig{Store: store, Identify: refuse})
		if !errors.Is(err, storage.ErrCorrupt) {
			t.Fatal(err)
		}
		return report.Problems
	}
	if got := problems(); len(got) != 1 || got[0] != "leaf 7: refused" {
		t.Errorf("%q", got)
	}
	l.disk.Tamper(numberKey(prefixIdentity, 0), func(v []byte) []byte { v[0] ^= 1; return v })
	if got := problems(); len(got) != 2 || got[1] != "identities of bundle 0 are not those of its leaves" {
		t.Errorf("%q", got)
	}
}

// unreadable is a store of which a range of keys cannot be read.
type unreadable struct {
	storage.Store
	hidden keyRange
}

// Scan passes over what it cannot read, and says so at the end.
func (u *unreadable) Scan(ctx context.Context, start, end []byte, fn func(key, value []byte) error) error {
	var damaged error
	err := u.Store.Scan(ctx, start, end, func(key, value []byte) error {
		if bytes.Compare(key, u.hidden.from) >= 0 && bytes.Compare(key, u.hidden.to) < 0 {
			damaged = fmt.Errorf("the file is damaged: %w", storage.ErrCorrupt)
			return nil
		}
		return fn(key, value)
	})
	return cmp.Or(damaged, err)
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

// TestCheckOfManyStretches checks a log with a complete tile of level 1, which
// several goroutines read, and damages it where one stretch meets another, within
// one, and above.
func TestCheckOfManyStretches(t *testing.T) {
	const size = tile.Width*tile.Width + 3*tile.Width + 5
	disk := memory.NewDisk()
	store, err := disk.Open()
	if err != nil {
		t.Fatal(err)
	}
	leaf := func(index int64) []byte {
		s := submission(int(index), 0, index == 0)
		entry.SetTime(s.Leaf, index/100)
		return s.Leaf
	}
	roots := make(map[int64]tlog.Hash)
	var e edge
	for index := range int64(size) {
		e.appendHash(entry.LeafHash(leaf(index)), func(int, int64, []byte) {})
		roots[e.size] = e.root()
	}
	_, err = Rebuild(t.Context(), RebuildConfig{
		Store: store, Target: checkpoint.Checkpoint{Origin: testOrigin, Size: size, Root: e.root()}, Identify: identify,
		Bundle: func(_ context.Context, n int64, width int) (leaves [][]byte, err error) {
			for i := range int64(width) {
				leaves = append(leaves, leaf(n*tile.Width+i))
			}
			return leaves, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	store.Close()
	image := disk.Snapshot()
	check := func(guard Head) (*Report, error) {
		store, err := disk.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		return Check(t.Context(), CheckConfig{Store: store, Guard: NewMemoryGuard(guard), Identify: identify})
	}
	for _, n := range []int64{1, 255, 256, 257, stretchBundles * tile.Width, stretchBundles*tile.Width + 1, 40_000, 65_535, 65_536, 65_537, size} {
		report, err := check(Head{Size: n, Root: roots[n]})
		if err != nil {
			t.Fatalf("guard at %d: %v", n, err)
		}
		if report.Leaves != size || report.Tiles != size/tile.Width+1 || report.Authority != 1 {
			t.Fatalf("guard at %d: %+v", n, report)
		}
		if _, err := check(Head{Size: n, Root: roots[size-1]}); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("guard at %d with another root: %v", n, err)
		}
	}
	flip := func(v []byte) []byte { v[len(v)/2] ^= 1; return v }
	for name, damage := range map[string]struct {
		key  []byte
		want string
	}{
		"level 1":                {tileKey(1, 0), "hash tile 1/0: hash 128"},
		"last tile of a stretch": {tileKey(0, stretchBundles-1), "hash tile 0/15: hash 128"},
		"first of a stretch":     {tileKey(0, stretchBundles), "hash tile 0/16: hash 128"},
		"identities":             {numberKey(prefixIdentity, 100*tile.Width), "identities of bundle 100 "},
		"a stray in a stretch":   {append(numberKey(prefixRun, 5000), 7), "belongs to nothing"},
		"a short key":            {tileKey(0, 0)[:4], "belongs to nothing"},
	} {
		disk.Restore(image)
		disk.Tamper(damage.key, func(v []byte) []byte {
			if v == nil {
				return []byte("stray")
			}
			return flip(v)
		})
		report, err := check(Head{Size: size, Root: roots[size]})
		if !errors.Is(err, storage.ErrCorrupt) || len(report.Problems) != 1 || !strings.Contains(report.Problems[0], damage.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	disk.Restore(image)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if store, err = disk.Open(); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := Check(ctx, CheckConfig{Store: store}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestNameIsWhatAnIdentityIsMadeOf(t *testing.T) {
	source, id := []byte("urn:source"), []byte("7")
	if sha256.Sum256(entry.AppendName(nil, source, id)) != entry.Identity(source, id) {
		t.Error("the checker makes other identities than the log")
	}
}
