package badger_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/badger"
)

const imageSteps = 12

// crashImage returns a directory as a kill after imageSteps commits leaves it:
// two tables and two value logs, from closings before, a WAL and a value log.
func crashImage(t testing.TB) string {
	t.Helper()
	dir := badger.FastDir(t)
	n := 0
	for _, upTo := range []int{4, 7, imageSteps} {
		s := mustOpen(t, dir, small)
		for n < upTo {
			n++
			if err := s.Commit(t.Context(), step(n)); err != nil {
				t.Fatal(err)
			}
		}
		if upTo < imageSteps {
			mustClose(t, s)
		}
	}
	return copyDir(t, dir)
}

// outcome opens a damaged image and says what became of it: "refused" with an
// error that names the file, "unreadable" with an error that says corrupt, or
// "after n" where the store holds exactly what n commits make.
func outcome(t *testing.T, dir, damaged string) string {
	t.Helper()
	s, err := badger.Open(dir, small)
	if err != nil {
		if !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), string(filepath.Separator)+damaged+":") {
			t.Errorf("the error does not say that %s is corrupt: %v", damaged, err)
		}
		return "refused"
	}
	defer s.Close()
	got, err := content(s)
	if err != nil {
		if !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("damage to %s: an error of reading does not say corrupt: %v", damaged, err)
		}
		return "unreadable"
	}
	for n := imageSteps; n >= 0; n-- {
		if got == after(n) {
			return fmt.Sprint("after ", n)
		}
	}
	t.Errorf("damage to %s: the store holds what was never committed:\n%.1000s", damaged, got)
	return "wrong"
}

// fileOf returns the name of the nth file with that ending.
func fileOf(t *testing.T, dir, ending string, n int) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"+ending))
	if err != nil || n >= len(paths) {
		t.Fatalf("no file %d of *%s: %v", n, ending, err)
	}
	return filepath.Base(paths[n])
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := badger.DataEnd(f)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// edit changes a file with f, which gets its bytes without zeros at the end.
func edit(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	old := size(t, path)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := f(data[:old])
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	if int64(len(changed)) == old {
		if err := os.Truncate(path, int64(len(data))); err != nil {
			t.Fatal(err)
		}
	}
}

func flip(pos int) func([]byte) []byte {
	return func(b []byte) []byte { b[pos] ^= 1 << (pos % 8); return b }
}

func cut(keep func(n int) int) func([]byte) []byte {
	return func(b []byte) []byte { return b[:keep(len(b))] }
}

func zero(from, to func(n int) int) func([]byte) []byte {
	return func(b []byte) []byte { clear(b[from(len(b)):to(len(b))]); return b }
}

func start(int) int    { return 0 }
func middle(n int) int { return n / 2 }
func end(n int) int    { return n }

// TestDamage damages one file of a crash image in each way. Nothing that was
// acknowledged may be missing without an error, but the last commits where the
// end of the newest WAL is gone: whoever keeps the head outside sees that.
func TestDamage(t *testing.T) {
	image := crashImage(t)
	const (
		whole = "after 12"
		lost  = "after 11" // or less: the end of the WAL
	)
	for _, test := range []struct {
		name   string
		ending string
		n      int // of the files with that ending
		damage func([]byte) []byte
		want   string
	}{
		{"nothing", ".mem", 0, cut(end), whole},
		{"WAL, bit flipped at a third", ".mem", 0, func(b []byte) []byte { return flip(len(b) / 3)(b) }, "refused"},
		{"WAL, bit of its header", ".mem", 0, flip(3), "refused"},
		{"WAL, bit of its last record", ".mem", 0, func(b []byte) []byte { return flip(len(b) - 3)(b) }, lost},
		{"WAL, zeros in the middle", ".mem", 0, zero(middle, func(n int) int { return n/2 + 64 }), "refused"},
		{"WAL, zeros from the middle", ".mem", 0, zero(middle, end), "after 9"},
		{"WAL, cut in the middle", ".mem", 0, cut(middle), "after 9"},
		{"WAL, cut in its header", ".mem", 0, cut(func(int) int { return 10 }), "refused"},
		{"WAL, empty", ".mem", 0, cut(start), "after 7"},
		{"table, bit of a block", ".sst", 0, flip(100), "refused"},
		{"table, bit of the other", ".sst", 1, flip(100), "refused"},
		{"table, bit of the index", ".sst", 0, func(b []byte) []byte { return flip(len(b) - 200)(b) }, "refused"},
		{"table, bit of the length of the index", ".sst", 0, func(b []byte) []byte { return flip(len(b) - 14)(b) }, "refused"},
		{"table, bit of the last byte", ".sst", 0, func(b []byte) []byte { return flip(len(b) - 1)(b) }, "refused"},
		{"table, zeros", ".sst", 1, zero(start, end), "refused"},
		{"table, cut", ".sst", 1, cut(middle), "refused"},
		{"table, empty", ".sst", 1, cut(start), "refused"},
		{"newest value log, bit of a record", ".vlog", 3, func(b []byte) []byte { return flip(len(b) - 1000)(b) }, "unreadable"},
		{"newest value log, bit of a dead value", ".vlog", 3, flip(100), whole},
		{"newest value log, bit of its header", ".vlog", 3, flip(3), "refused"},
		{"newest value log, cut", ".vlog", 3, cut(middle), "unreadable"},
		{"newest value log, empty", ".vlog", 3, cut(start), "unreadable"},
		{"newest value log, zeros", ".vlog", 3, zero(func(int) int { return 20 }, end), "unreadable"},
		{"old value log of dead values, bit", ".vlog", 0, flip(1000), whole},
		{"MANIFEST, bit of its magic", "MANIFEST", 0, flip(0), "refused"},
		{"MANIFEST, bit of a length", "MANIFEST", 0, flip(9), "refused"},
		{"MANIFEST, bit of a change", "MANIFEST", 0, flip(18), "refused"},
		{"MANIFEST, cut in its last change", "MANIFEST", 0, cut(func(n int) int { return n - 3 }), "refused"},
		{"MANIFEST, cut between changes", "MANIFEST", 0, cut(func(n int) int { return n - 12 }), "refused"},
		{"MANIFEST, empty", "MANIFEST", 0, cut(start), "refused"},
		{"KEYREGISTRY, bit", "KEYREGISTRY", 0, flip(20), "refused"},
		{"KEYREGISTRY, cut", "KEYREGISTRY", 0, cut(middle), "refused"},
		{"DISCARD, wrong numbers", "DISCARD", 0, func([]byte) []byte { return []byte(strings.Repeat("12345678", 200)) }, whole},
		{"DISCARD, empty", "DISCARD", 0, cut(start), whole},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := copyDir(t, image)
			name := fileOf(t, dir, test.ending, test.n)
			edit(t, filepath.Join(dir, name), test.damage)
			before := snapshotOf(t, dir)
			got := outcome(t, dir, name)
			if got != test.want {
				t.Errorf("%s: %s, want %s", name, got, test.want)
			}
			if got == "refused" && !slices.Equal(before, snapshotOf(t, dir)) {
				t.Error("a refused directory was changed")
			}
		})
	}
	for _, name := range []string{"MANIFEST", fileOf(t, image, ".sst", 0), fileOf(t, image, ".sst", 1)} {
		t.Run("missing "+name, func(t *testing.T) {
			dir := copyDir(t, image)
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			if got := outcome(t, dir, name); got != "refused" {
				t.Errorf("%s, want refused", got)
			}
		})
	}
}

// snapshotOf returns names, sizes and times of the files of dir.
func snapshotOf(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if e.Name() != "STORE.lock" {
			all = append(all, fmt.Sprint(e.Name(), info.Size(), info.ModTime().UnixNano()))
		}
	}
	return all
}

// TestFlippedBits flips single bits anywhere. ESCORTLOG_TEST_FLIPS says how
// many.
func TestFlippedBits(t *testing.T) {
	flips := 40
	if testing.Short() {
		flips = 11
	}
	if n, err := strconv.Atoi(os.Getenv("ESCORTLOG_TEST_FLIPS")); err == nil {
		flips = n
	}
	image := crashImage(t)
	var names []string
	for _, ending := range []string{".mem", ".sst", ".vlog", "MANIFEST", "KEYREGISTRY", "DISCARD"} {
		paths, err := filepath.Glob(filepath.Join(image, "*"+ending))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			if size(t, p) > 0 {
				names = append(names, filepath.Base(p))
			}
		}
	}
	rnd := rand.New(rand.NewPCG(11, 12))
	outcomes := map[string]int{}
	for i := range flips {
		name := names[i%len(names)]
		dir := copyDir(t, image)
		pos := rnd.IntN(int(size(t, filepath.Join(image, name))))
		edit(t, filepath.Join(dir, name), flip(pos))
		got := outcome(t, dir, name)
		lastOfWAL := got == "after 11" && strings.HasSuffix(name, ".mem")
		if strings.HasPrefix(got, "after") && got != "after 12" && !lastOfWAL {
			t.Errorf("%s, bit flipped in byte %d: %s", name, pos, got)
		}
		outcomes[filepath.Ext(name)+" "+got]++
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Log(outcomes)
}

// TestNameLost: a power cut may take the name of a table that MANIFEST, synced
// before, names already. The WAL is still there then, and replaces it.
func TestNameLost(t *testing.T) {
	image := crashImage(t) // a WAL with commits 8 to 12
	closed := copyDir(t, image)
	mustClose(t, mustOpen(t, closed, small)) // writes them to a table, and removes the WAL
	wal := fileOf(t, image, ".mem", 0)
	table := fileOf(t, closed, ".sst", 2)

	lost := copyDir(t, closed)
	if err := copyFile(filepath.Join(image, wal), filepath.Join(lost, wal)); err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, copyDir(t, lost), wal); got != "after 12" {
		t.Errorf("with table and WAL: %s", got)
	}
	if err := os.Remove(filepath.Join(lost, table)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := outcome(t, lost, table); got != "after 12" {
			t.Errorf("with the WAL alone: %s", got)
		}
	}

	if err := os.Remove(filepath.Join(closed, table)); err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, closed, table); got != "refused" {
		t.Errorf("with neither table nor WAL: %s", got)
	}
}

// TestOpeningInterrupted: an opening ends between two steps of moving the WAL, of which
// the last commit is torn, to a table.
func TestOpeningInterrupted(t *testing.T) {
	image := crashImage(t)
	wal := fileOf(t, image, ".mem", 0)
	edit(t, filepath.Join(image, wal), cut(func(n int) int { return n - 30 }))
	moved := copyDir(t, image)
	if err := badger.MoveWALs(moved); err != nil {
		t.Fatal(err)
	}
	table := fileOf(t, moved, ".sst", 2)
	for _, is := range []struct {
		after string
		dir   string
		have  string // also a file of
		from  string
	}{
		{"the table", image, table, moved},
		{"MANIFEST", moved, wal, image},
		{"removing the WAL", moved, table, moved},
	} {
		dir := copyDir(t, is.dir)
		if err := copyFile(filepath.Join(is.from, is.have), filepath.Join(dir, is.have)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got := outcome(t, dir, wal); got != "after 11" {
				t.Errorf("after %s: %s", is.after, got)
			}
		}
	}
}

// TestLeftByKill: what Badger stumbles over after a kill, it does not meet.
func TestLeftByKill(t *testing.T) {
	dir := crashImage(t) // of a store that stays open
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	newest := filepath.Join(dir, fileOf(t, dir, ".vlog", 3))
	for _, name := range []string{"00090.mem", "00091.mem", "000080.vlog", "000081.vlog", "000090.sst"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := mustOpen(t, dir, small)
	if got, err := content(s); err != nil || got != after(imageSteps) {
		t.Errorf("%v:\n%.500s", err, got)
	}
	// The value log that was being written has been allocated in advance. Its
	// length is what counts when its dead part is looked at.
	if info, err := os.Stat(newest); err != nil || info.Size() > 100_000 {
		t.Errorf("%s is left with %d bytes: %v", newest, info.Size(), err)
	}
	mustClose(t, s)
}
