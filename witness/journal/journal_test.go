package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func newJournal(t *testing.T, o Options) (*Journal, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	return openJournal(t, path, o), path
}

func openJournal(t *testing.T, path string, o Options) *Journal {
	t.Helper()
	j, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func mustPut(t *testing.T, j *Journal, key, value string) {
	t.Helper()
	if err := j.Put(key, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func contents(j *Journal) map[string]string {
	m := map[string]string{}
	for k, v := range j.All() {
		m[k] = string(v)
	}
	return m
}

// readBytes reads a journal file without a disk, as Open does.
func readBytes(data []byte) (map[string]string, error) {
	m := map[string]string{}
	_, err := replay(data, func(key string, value []byte) { m[key] = string(value) })
	return m, err
}

func TestReopen(t *testing.T) {
	j, path := newJournal(t, Options{})
	mustPut(t, j, "a", "1")
	mustPut(t, j, "b", "")
	mustPut(t, j, "a", "2\x00\x00") // ends in zeros, which must not be taken for unwritten space
	want := map[string]string{"a": "2\x00\x00", "b": ""}
	for range 3 {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = openJournal(t, path, Options{})
		if got := contents(j); !maps.Equal(got, want) {
			t.Fatalf("after reopening: %q, want %q", got, want)
		}
	}
	if v, ok := j.Get("a"); !ok || string(v) != want["a"] {
		t.Errorf("Get(a) = %q, %v", v, ok)
	}
	if _, ok := j.Get("c"); ok {
		t.Error("Get(c) found something")
	}
}

func TestMissingFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "journal"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening a missing journal: %v, want fs.ErrNotExist", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("opening a missing journal left %v", entries)
	}
	path := filepath.Join(dir, "journal")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	if err := Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating over a journal: %v, want fs.ErrExist", err)
	}
}

// Of several who create a journal at once, one does: the others must not take theirs for it.
func TestCreateOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	var made atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			switch err := Create(path); {
			case err == nil:
				made.Add(1)
			case !errors.Is(err, fs.ErrExist) && !errors.Is(err, ErrLocked):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 {
		t.Errorf("%d have made the journal", made.Load())
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	j, path := newJournal(t, Options{})
	if _, err := Open(path, Options{}); !errors.Is(err, ErrLocked) {
		t.Fatalf("second open: %v, want ErrLocked", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	openJournal(t, path, Options{})
}

// Every cut of the file yields exactly the puts that were complete before it,
// and the journal goes on from there.
func TestTornTail(t *testing.T) {
	j, path := newJournal(t, Options{})
	var ends []int64
	ends = append(ends, j.pos.offset)
	for i := range 4 {
		mustPut(t, j, fmt.Sprint("key", i%2), fmt.Sprint("value", i))
		ends = append(ends, j.pos.offset)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	states := []map[string]string{
		{}, {"key0": "value0"}, {"key0": "value0", "key1": "value1"},
		{"key0": "value2", "key1": "value1"}, {"key0": "value2", "key1": "value3"},
	}
	for cut := len(fileMagic); cut <= len(data); cut++ {
		want := map[string]string{}
		for i, end := range ends {
			if int64(cut) >= end {
				want = states[i]
			}
		}
		for _, zeros := range []int{0, 1, 100, 5000} {
			got, err := readBytes(append(bytes.Clone(data[:cut]), make([]byte, zeros)...))
			if err != nil || !maps.Equal(got, want) {
				t.Fatalf("cut at %d with %d zeros: %q, %v, want %q", cut, zeros, got, err, want)
			}
		}
	}

	// The torn tail is gone for good, also where it is longer than what is put next.
	torn, _ := appendFrame(bytes.Clone(data[:ends[2]]), 3, [sumLen]byte{}, make([]byte, 1000))
	if err := os.WriteFile(path, torn[:len(torn)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	j = openJournal(t, path, Options{})
	mustPut(t, j, "key2", "new")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = openJournal(t, path, Options{})
	want := map[string]string{"key0": "value0", "key1": "value1", "key2": "new"}
	if got := contents(j); !maps.Equal(got, want) {
		t.Errorf("after a put behind a torn tail: %q, want %q", got, want)
	}
}

// A frame of several sectors, of which any may be missing after a power cut, is
// a torn tail; not so when another frame follows, or when what is there is damaged.
func TestTornWithin(t *testing.T) {
	for _, before := range []int{100, 400, sector - headerLen - trailLen - len(fileMagic) - 1} {
		j, path := newJournal(t, Options{})
		mustPut(t, j, "a", strings.Repeat("x", before))
		acknowledged := j.pos.offset
		mustPut(t, j, "b", strings.Repeat("y", 4*sector))
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		first, sectors := acknowledged/sector, int64(len(data)-1)/sector-acknowledged/sector+1
		for there := range 1<<sectors - 1 {
			torn := bytes.Clone(data)
			for i := range sectors {
				if there>>i&1 == 0 {
					clear(torn[max(acknowledged, (first+i)*sector):min(int64(len(data)), (first+i+1)*sector)])
				}
			}
			got, err := readBytes(torn)
			if err != nil || len(got) != 1 {
				t.Fatalf("sectors %b: %d values, %v", there, len(got), err)
			}
			// A later frame says that this one was acknowledged.
			next, _ := appendFrame(nil, 3, [sumLen]byte{}, nil)
			if _, err := readBytes(append(torn, next...)); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("sectors %b and a frame behind: %v", there, err)
			}
		}
	}
}

// No single flipped bit anywhere, the last frame included, changes what is read
// without an error.
func TestEveryFlippedBitIsRefused(t *testing.T) {
	j, path := newJournal(t, Options{})
	for i := range 3 {
		mustPut(t, j, "key", fmt.Sprint("value", i))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(data) {
		bad := bytes.Clone(data)
		bad[bit/8] ^= 1 << (bit % 8)
		if got, err := readBytes(bad); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d of byte %d flipped: %q, %v, want ErrCorrupt", bit%8, bit/8, got, err)
		}
	}
	_, err = readBytes(data[:len(fileMagic)-1])
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("file shorter than its own name: %v", err)
	}
	// A frame taken out of the middle.
	frame := (len(data) - len(fileMagic)) / 3
	at := len(fileMagic) + frame
	if _, err := readBytes(append(bytes.Clone(data[:at]), data[at+frame:]...)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("frame missing: %v, want ErrCorrupt", err)
	}
}

func TestCorruptErrorNamesTheFile(t *testing.T) {
	j, path := newJournal(t, Options{})
	mustPut(t, j, "key", "value")
	_ = j.Close()
	data, _ := os.ReadFile(path)
	data[len(fileMagic)+30] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(path, Options{})
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte(path)) {
		t.Errorf("error %v does not name %s", err, path)
	}
	// The lock was released: after repair it opens.
	data[len(fileMagic)+30] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	openJournal(t, path, Options{})
}

// Puts that were handed over together cost one fsync.
func TestGroupCommit(t *testing.T) {
	j, path := newJournal(t, Options{})
	const writers = 50
	var batch []*put
	for i := range writers {
		batch = append(batch, &put{fmt.Sprint(i), []byte("y"), make(chan error, 1)})
	}
	var syncs atomic.Int64
	j.sync = func(f *os.File) error { syncs.Add(1); return f.Sync() }
	j.commit(batch) // the writer is idle: nobody else puts
	for _, p := range batch {
		if err := <-p.done; err != nil {
			t.Fatal(err)
		}
	}
	if n := syncs.Load(); n != 1 {
		t.Errorf("%d puts took %d fsyncs, want 1", writers, n)
	}
	_ = j.Close()
	j = openJournal(t, path, Options{})
	if n := len(contents(j)); n != writers {
		t.Errorf("%d keys after reopening, want %d", n, writers)
	}
}

// What waits when the writer comes back is one batch.
func TestGather(t *testing.T) {
	j := &Journal{puts: make(chan *put, 10)}
	for i := range 5 {
		j.puts <- &put{key: fmt.Sprint(i)}
	}
	if batch := j.gather(&put{key: "first"}); len(batch) != 6 || batch[0].key != "first" {
		t.Errorf("a batch of %d", len(batch))
	}
	// But not more than a frame holds.
	for i := range 5 {
		j.puts <- &put{key: fmt.Sprint(i), value: make([]byte, maxPayload/8)}
	}
	if batch := j.gather(&put{key: "first"}); len(batch) != 2 {
		t.Errorf("a batch of %d long ones", len(batch))
	}
}

func TestConcurrentPuts(t *testing.T) {
	j, path := newJournal(t, Options{CompactAt: 512})
	var wg sync.WaitGroup
	for w := range 20 {
		wg.Go(func() {
			for i := range 10 {
				mustPut(t, j, fmt.Sprint("writer", w), fmt.Sprint(i))
				if v, _ := j.Get(fmt.Sprint("writer", w)); string(v) != fmt.Sprint(i) {
					t.Errorf("writer %d reads %q after writing %d", w, v, i)
				}
			}
		})
	}
	wg.Wait()
	_ = j.Close()
	j = openJournal(t, path, Options{})
	for w := range 20 {
		if v, _ := j.Get(fmt.Sprint("writer", w)); string(v) != "9" {
			t.Errorf("writer %d: %q", w, v)
		}
	}
}

func TestCompaction(t *testing.T) {
	j, path := newJournal(t, Options{CompactAt: 512})
	rng := rand.New(rand.NewPCG(1, 2))
	want := map[string]string{}
	for i := range 400 {
		k, v := fmt.Sprint("key", rng.IntN(5)), fmt.Sprint("value", i)
		want[k] = v
		mustPut(t, j, k, v)
	}
	_ = j.Close()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 2048 {
		t.Errorf("%d bytes after 400 puts of 5 keys: it does not compact", info.Size())
	}
	// What a crash in the middle of a compaction leaves is no obstacle.
	if err := os.WriteFile(path+".tmp", []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	j = openJournal(t, path, Options{})
	if got := contents(j); !maps.Equal(got, want) {
		t.Errorf("after compaction: %q, want %q", got, want)
	}
	if _, err := os.Stat(path + ".tmp"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("leftover of a compaction is still there: %v", err)
	}
}

// A compaction that cannot be written does not stop the journal.
func TestCompactionFails(t *testing.T) {
	j, path := newJournal(t, Options{CompactAt: 1})
	if err := os.Mkdir(path+".tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		mustPut(t, j, "key", fmt.Sprint(i))
	}
	_ = j.Close()
	j = openJournal(t, path, Options{})
	if v, _ := j.Get("key"); string(v) != "19" {
		t.Errorf("key is %q", v)
	}
}

func TestFailedSyncIsFinal(t *testing.T) {
	j, path := newJournal(t, Options{})
	mustPut(t, j, "key", "durable")
	broken := errors.New("input/output error")
	j.sync = func(*os.File) error { return broken }
	if err := j.Put("key", []byte("unknown")); !errors.Is(err, ErrStopped) || !errors.Is(err, broken) {
		t.Fatalf("put with a failing fsync: %v", err)
	}
	if v, _ := j.Get("key"); string(v) != "durable" {
		t.Errorf("a value that is not durable is visible: %q", v)
	}
	j.sync = (*os.File).Sync
	if err := j.Put("key", []byte("later")); !errors.Is(err, ErrStopped) {
		t.Errorf("put after a failed fsync: %v, want ErrStopped", err)
	}
	if !errors.Is(j.Err(), broken) {
		t.Errorf("Err() = %v", j.Err())
	}
	<-j.Failed()
	_ = j.Close()
	j = openJournal(t, path, Options{})
	// Both outcomes are legal for the unknown one; the later one must not exist.
	if v, _ := j.Get("key"); string(v) != "durable" && string(v) != "unknown" {
		t.Errorf("after reopening: %q", v)
	}
}

func TestReadWhileOpen(t *testing.T) {
	j, path := newJournal(t, Options{})
	mustPut(t, j, "key", "value")
	live, err := Read(path)
	if err != nil || string(live["key"]) != "value" || len(live) != 1 {
		t.Errorf("%q, %v", live, err)
	}
	if _, err := Read(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing journal: %v", err)
	}
}

func TestPutAfterClose(t *testing.T) {
	j, _ := newJournal(t, Options{})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Put("key", nil); !errors.Is(err, ErrStopped) {
		t.Errorf("put after Close: %v, want ErrStopped", err)
	}
	if err := j.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, content := range []string{"one", "two"} {
		if err := WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("%q, %v, want %q", got, err, content)
		}
	}
	info, _ := os.Stat(path)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

// Whatever the bytes, replay neither panics nor reads differently than the frames say:
// the accepted records, written again as the same frames, are the accepted bytes.
func FuzzReplay(f *testing.F) {
	frame, sum := appendFrame([]byte(fileMagic), 1, [sumLen]byte{}, appendRecord(nil, "key", []byte("value")))
	f.Add(frame)
	frame, _ = appendFrame(frame, 2, sum, nil)
	f.Add(frame)
	f.Add(append(frame, magic...))
	f.Fuzz(func(t *testing.T, data []byte) {
		records := 0
		pos, err := replay(data, func(string, []byte) { records++ })
		if err != nil {
			return
		}
		if pos.offset > int64(len(data)) {
			t.Fatalf("position %d beyond %d bytes", pos.offset, len(data))
		}
		again := 0
		same, err := replay(data[:pos.offset], func(string, []byte) { again++ })
		if err != nil || same != pos || again != records {
			t.Fatalf("without its tail: %v %v, want %v; %d records, want %d", same, err, pos, again, records)
		}
	})
}
