package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/memory"
	"go.uber.org/goleak"
	"golang.org/x/mod/sumdb/tlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAddAndRead(t *testing.T) {
	l := newTestLog(t, nil)
	ctx := t.Context()
	for n := 1; n <= 5; n++ {
		pos := l.mustAdd(submission(n, 1, false))
		if pos.Index != int64(n) || pos.Existing {
			t.Fatalf("event %d is at %+v", n, pos)
		}
		p := l.waitPublished(pos.Index + 1)
		proof, err := l.Inclusion(ctx, pos.Index, p.Size)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkpoint.VerifyInclusion(pos.LeafHash, pos.Index, p.Size, proof, p.Root); err != nil {
			t.Fatal(err)
		}
		leaf, err := l.Entry(ctx, pos.Index)
		if err != nil {
			t.Fatal(err)
		}
		if entry.LeafHash(leaf) != pos.LeafHash || entry.TimeOf(leaf) != pos.Time {
			t.Fatal("the position does not describe the leaf")
		}
	}
	text, sigs, err := checkpoint.ParseNote(l.Published().Note)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range verifiers() {
		if _, err := checkpoint.Verify(text, sigs, v); err != nil {
			t.Errorf("the checkpoint is not signed by the %v key: %v", v.Algorithm(), err)
		}
	}
	l.check()
}

// TestSizes grows the log over the ends of tiles in batches of every kind and
// demands that every tile of every width, and a few proofs, are right.
func TestSizes(t *testing.T) {
	l := newTestLog(t, nil)
	ctx := t.Context()
	for _, size := range []int64{2, 3, 255, 256, 257, 300, 511, 512, 513, 800, 1400} {
		l.fill(size)
		l.waitPublished(size)
		l.check()
	}
	var hashes []tlog.Hash
	for i := range int64(1400) {
		leaf, err := l.Entry(ctx, i)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, entry.LeafHash(leaf))
	}
	for n := range int64(6) {
		for w := 1; w <= tile.WidthAt(0, n, 1400); w += 5 {
			data, err := l.Tile(ctx, tile.Tile{Level: 0, N: n, W: w})
			if err != nil || !bytes.Equal(data, flatten(hashes[n*256:n*256+int64(w)])) {
				t.Fatalf("tile 0/%d of width %d: %v", n, w, err)
			}
			bundle, gzipped, err := l.Bundle(ctx, tile.Tile{Level: tile.Entries, N: n, W: w})
			if err == nil && gzipped {
				bundle, err = decompressBundle(bundle)
			}
			if err != nil || gzipped && w < tile.Width {
				t.Fatalf("bundle %d of width %d: gzipped %v, %v", n, w, gzipped, err)
			}
			if entries, err := tile.SplitBundle(bundle, w); err != nil || entry.LeafHash(entries[w-1]) != hashes[n*256+int64(w)-1] {
				t.Fatalf("bundle %d of width %d: %v", n, w, err)
			}
		}
	}
	for _, bad := range []tile.Tile{{Level: 0, N: 5, W: 121}, {Level: 0, N: 6, W: 1}, {Level: 1, N: 0, W: 6}, {Level: 2, N: 0, W: 1}, {Level: 63, N: 0, W: 1}, {Level: 0, N: -1, W: 1}, {Level: 0, N: 0, W: 0}} {
		if _, err := l.Tile(ctx, bad); !errors.Is(err, ErrNotFound) {
			t.Errorf("tile %+v: %v, want ErrNotFound", bad, err)
		}
		bad.Level = tile.Entries
		if _, _, err := l.Bundle(ctx, bad); bad.N > 5 && !errors.Is(err, ErrNotFound) {
			t.Errorf("bundle %+v: %v, want ErrNotFound", bad, err)
		}
	}
	for _, to := range []int64{1, 255, 256, 257, 1000, 1400} {
		for _, from := range []int64{1, 2, 255, 256, 999} {
			if from > to {
				continue
			}
			proof, err := l.Consistency(ctx, from, to)
			if err != nil {
				t.Fatal(err)
			}
			if err := checkpoint.VerifyConsistency(from, to, slowRoot(hashes[:from]), slowRoot(hashes[:to]), proof); err != nil {
				t.Errorf("consistency from %d to %d: %v", from, to, err)
			}
		}
	}
}

func TestSealing(t *testing.T) {
	l := newTestLog(t, nil)
	// Many small commits: many runs in a bundle.
	for n := 1; n < 600; n++ {
		l.mustAdd(submission(n, 1, false))
	}
	deadline := time.Now().Add(time.Minute)
	for {
		store := snapshotOf(t, l.disk)
		sealed, runs := storedKeys(t, store, prefixBundle), storedKeys(t, store, prefixRun)
		identities := storedKeys(t, store, prefixIdentity)
		store.Close()
		if len(sealed) == 2 {
			if len(runs) != 600-512 || len(identities) != 2+600-512 {
				t.Fatalf("sealed, and %d runs and %d blocks of identities remain", len(runs), len(identities))
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d bundles sealed after a minute", len(sealed))
		}
		time.Sleep(time.Millisecond)
	}
	l.check()
	l.crash()
	l.check()
	for n := 1; n < 600; n += 37 {
		if pos := l.mustAdd(submission(n, 1, false)); !pos.Existing || pos.Index != int64(n) {
			t.Errorf("event %d again, after sealing: %+v", n, pos)
		}
	}
	l.waitPublished(600)
	if _, gzipped, err := l.Bundle(t.Context(), tile.Tile{Level: tile.Entries, N: 1, W: 256}); err != nil || !gzipped {
		t.Errorf("a sealed bundle is served gzipped %v, %v", gzipped, err)
	}
}

func TestTakingWholeBundles(t *testing.T) {
	p := newPool(10000, 1<<20)
	add := func(n int) {
		for range n {
			if err := p.add(&Pending{sub: &Submission{Leaf: make([]byte, 10)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, step := range []struct {
		add        int
		maxEntries int
		size       int64
		want       int
	}{
		{1023, 5000, 1, 1023}, // too few to wait for a bundle's end
		{1100, 5000, 1024, 1024},
		{2000, 5000, 2048, 2048}, // with the 76 that were left
		{0, 5000, 4096, 28},
		{3000, 2000, 4124, 2000 - 236},
		{0, 5000, 5888, 1024},
		{0, 5000, 6912, 212},
	} {
		add(step.add)
		if got := len(p.take(step.maxEntries, 1<<20, step.size)); got != step.want {
			t.Errorf("%+v: took %d", step, got)
		}
		if want := 10 * p.len(); p.bytes != want {
			t.Errorf("%+v: %d bytes wait, want %d", step, p.bytes, want)
		}
		select {
		case <-p.wake:
		default:
			if p.len() > 0 {
				t.Errorf("%+v: nobody is woken for those that are left", step)
			}
		}
	}
}

// commitOf adds events 1 to before n and holds the log when the guard is about to be
// told of them: event 1 has had a commit of its own, all others are in the next.
// ended, called then, ends the process there: the commit is in the store.
func commitOf(l *testLog, n int, event func(n int) *Submission) (ended func()) {
	l.t.Helper()
	committed, goOn := make(chan struct{}), make(chan error)
	l.guard.Before(func(Head) error { committed <- struct{}{}; return <-goOn })
	var last *Pending
	for i := 1; i < n; i++ {
		p, err := l.Add(event(i))
		if err != nil {
			l.t.Fatal(err)
		}
		if last = p; i == 1 {
			<-committed
		}
	}
	goOn <- nil
	<-committed
	return func() {
		goOn <- errors.New("the process ends here")
		if _, err := last.Wait(l.t.Context()); !errors.Is(err, ErrStopped) {
			l.t.Errorf("acknowledged without a guard: %v", err)
		}
		l.guard.Before(nil)
		l.crash()
	}
}

func (l *testLog) wantStored(when string, want map[byte][]int64) {
	l.t.Helper()
	store := snapshotOf(l.t, l.disk)
	defer store.Close()
	for prefix, keys := range want {
		if got := storedKeys(l.t, store, prefix); !slices.Equal(got, keys) {
			l.t.Errorf("%s: stored %c %d, want %d", when, prefix, got, keys)
		}
	}
}

// TestSealedWhenCompleted: the commit that completes a bundle seals it, and leaves
// nothing of what was stored of it before, also after a restart.
func TestSealedWhenCompleted(t *testing.T) {
	l := newTestLog(t, nil)
	event := func(n int) *Submission { return submission(n, 1, false) }
	ended := commitOf(l, 800, event)
	l.wantStored("before the guard knows", map[byte][]int64{
		prefixBundle: {0, 1, 2}, prefixRun: {768}, prefixIdentity: {0, 256, 512, 768}})
	ended()
	l.mustAdd(event(800))
	l.crash()
	l.wantStored("after a restart", map[byte][]int64{
		prefixBundle: {0, 1, 2}, prefixRun: {768, 800}, prefixIdentity: {0, 256, 512, 768, 800}})
	for n := 801; n < 1026; n++ {
		l.mustAdd(event(n))
	}
	l.wantStored("completed", map[byte][]int64{
		prefixBundle: {0, 1, 2, 3}, prefixRun: {1024, 1025}, prefixIdentity: {0, 256, 512, 768, 1024, 1025}})
	l.check()
}

// staysUnsealed takes the lines of a log and waits, at each that says that a bundle
// stays unsealed, until somebody has noticed.
type staysUnsealed chan struct{}

func (s staysUnsealed) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("bundle stays unsealed")) {
		s <- struct{}{}
	}
	return len(line), nil
}

// TestSealerTakesWhatIsLarge: bundles too large for the commit that completes them are
// sealed later, also after a restart and after a failure, and those sealed already are
// passed over.
func TestSealerTakesWhatIsLarge(t *testing.T) {
	stays := make(staysUnsealed)
	l := newTestLog(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(stays, nil)) })
	l.end()
	l.disk.SetLimits(storage.Limits{Bytes: 512 << 10, Keys: 10000})
	l.open()
	event := func(n int) *Submission { return submissionOf(strings.Repeat("x", 300), fmt.Sprint(n), 1, false) }
	ended := commitOf(l, 540, event)
	l.wantStored("before the guard knows", map[byte][]int64{prefixBundle: {1}, prefixRun: {0, 1, 2, 512}})
	ended()
	quiesce(t, l)
	for n := 540; n < 767; n++ {
		l.mustAdd(event(n))
	}
	l.disk.OnCommit(memory.Succeed, memory.Full)
	l.mustAdd(event(767))
	select {
	case <-stays:
	case <-time.After(time.Minute):
		t.Fatal("the sealer has not met a full disk")
	}
	for n := 768; n < 1024; n++ {
		l.mustAdd(submission(n, 1, false))
	}
	quiesce(t, l)
	l.check()
}

func TestSameEventAgain(t *testing.T) {
	l := newTestLog(t, nil)
	first := l.mustAdd(submissionOf("event one", "x", 1, false))
	again := l.mustAdd(submissionOf("event one", "x", 1, false))
	if !again.Existing || again.Index != first.Index || again.LeafHash != first.LeafHash || again.Time != first.Time {
		t.Errorf("again: %+v, first %+v", again, first)
	}
	var conflict *IdentityConflict
	if _, err := l.add(submissionOf("event two", "x", 1, false)); !errors.As(err, &conflict) || conflict.Index != first.Index {
		t.Errorf("another story under the same id: %v", err)
	}
	// The identity decides before the directory does: a retry after a
	// revocation still gets its first answer.
	if pos, err := l.add(submissionOf("event one", "x", 0, false)); err != nil || pos.Index != first.Index {
		t.Errorf("again, decided with an old directory: %+v, %v", pos, err)
	}
	if l.Head().Size != first.Index+1 {
		t.Error("a repeat or a conflict was logged")
	}
	l.crash()
	if pos := l.mustAdd(submissionOf("event one", "x", 1, false)); !pos.Existing {
		t.Error("the identity is forgotten after a restart")
	}
	l.check()
}

// TestManySubmittersOfTheSame: the same event from many at once is one leaf,
// whether they meet in the pool, in a batch, or after the commit.
func TestManySubmittersOfTheSame(t *testing.T) {
	l := newTestLog(t, nil)
	const events, submitters = 50, 8
	index := make([][]int64, submitters)
	var wg sync.WaitGroup
	for s := range submitters {
		index[s] = make([]int64, events)
		wg.Go(func() {
			for n := range events {
				pos, err := l.add(submission(n+1, 1, false))
				if err != nil {
					t.Error(err)
				}
				index[s][n] = pos.Index
			}
		})
	}
	wg.Wait()
	for s := range submitters {
		for n := range events {
			if index[s][n] != index[0][n] {
				t.Fatalf("event %d is at %d for one and at %d for another", n, index[s][n], index[0][n])
			}
		}
	}
	if size := l.Head().Size; size != events+1 {
		t.Errorf("size = %d, want %d", size, events+1)
	}
	l.check()
}

func TestDirectoryMoves(t *testing.T) {
	l := newTestLog(t, nil)
	if _, err := l.add(submission(1, 0, false)); !errors.Is(err, ErrDecideAgain) {
		t.Errorf("decided with an empty directory: %v", err)
	}
	l.mustAdd(submission(1, 1, false))
	authority := l.mustAdd(submission(2, 1, true))
	if got := l.AuthorityCovered(); got != authority.Index+1 {
		t.Errorf("covered = %d, want %d", got, authority.Index+1)
	}
	if _, err := l.add(submission(3, 1, false)); !errors.Is(err, ErrDecideAgain) {
		t.Errorf("decided with the directory of before: %v", err)
	}
	l.mustAdd(submission(3, authority.Index+1, false))

	// In one batch: what comes behind the authority event is decided again.
	var pending []*Pending
	for _, s := range []*Submission{submission(4, 3, false), submission(5, 3, true), submission(6, 3, false)} {
		p, err := l.Add(s)
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, p)
	}
	for i, want := range []error{nil, nil, ErrDecideAgain} {
		if _, err := pending[i].Wait(t.Context()); !errors.Is(err, want) {
			t.Errorf("submission %d: %v, want %v", i, err, want)
		}
	}
	leaves, err := l.AuthorityLeaves(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var indexes []int64
	for _, leaf := range leaves {
		indexes = append(indexes, leaf.Index)
	}
	if fmt.Sprint(indexes) != "[0 2 5]" {
		t.Errorf("authority leaves at %v", indexes)
	}
	l.crash()
	if got := l.AuthorityCovered(); got != 6 {
		t.Errorf("after a restart covered = %d", got)
	}
	l.check()
}

func TestTimeNeverDecreases(t *testing.T) {
	l := newTestLog(t, nil)
	first := l.mustAdd(submission(1, 1, false))
	l.clock.Add(-30_000)
	if second := l.mustAdd(submission(2, 1, false)); second.Time != first.Time {
		t.Errorf("with a clock half a minute behind: %d after %d", second.Time, first.Time)
	}
	l.clock.Add(-31_000)
	if _, err := l.add(submission(3, 1, false)); !errors.Is(err, ErrClock) {
		t.Errorf("with a clock more than a minute behind: %v", err)
	}
	if err := l.Ready(); !errors.Is(err, ErrClock) {
		t.Errorf("ready with a wrong clock: %v", err)
	}
	l.clock.Add(62_000)
	if err := l.Ready(); err != nil {
		t.Errorf("not ready after the clock was set: %v", err)
	}
	if third := l.mustAdd(submission(3, 1, false)); third.Time != first.Time+1000 {
		t.Errorf("after the clock was set: %d", third.Time)
	}
	l.check()
}

func TestBackPressure(t *testing.T) {
	block := make(chan struct{})
	entered := make(chan struct{}, 100)
	l := newTestLog(t, func(c *Config) { c.PoolEntries = 10; c.PoolBytes = 5000 })
	l.guard.Before(func(Head) error { entered <- struct{}{}; <-block; return nil })
	first, err := l.Add(submission(1, 1, false))
	if err != nil {
		t.Fatal(err)
	}
	<-entered // the sequencer has taken it and waits
	n := 2
	for ; ; n++ {
		if _, err := l.Add(submission(n, 1, false)); errors.Is(err, ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n != 12 {
		t.Errorf("the pool took %d submissions, want 10", n-2)
	}
	close(block)
	if _, err := first.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.guard.Before(nil)
	for l.pool.len() > 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := l.add(submissionOf(string(make([]byte, 6000)), "big", 1, false)); !errors.Is(err, ErrFull) {
		t.Errorf("more bytes than the pool holds: %v", err)
	}
	l.check()
}

// TestGuardBeforeAcknowledgement: nobody learns of a leaf, and nothing is
// signed over it, before the guard holds it.
func TestGuardBeforeAcknowledgement(t *testing.T) {
	l := newTestLog(t, nil)
	l.waitPublished(1)
	entered, release := make(chan Head), make(chan struct{})
	l.guard.Before(func(h Head) error { entered <- h; <-release; return nil })
	p, err := l.Add(submission(1, 1, false))
	if err != nil {
		t.Fatal(err)
	}
	if h := <-entered; h.Size != 2 {
		t.Fatalf("the guard is told size %d", h.Size)
	}
	store := snapshotOf(t, l.disk)
	if h, err := ReadHead(t.Context(), store); err != nil || h.Size != 2 {
		t.Errorf("the guard is written before the commit: %+v, %v", h, err)
	}
	store.Close()
	select {
	case <-p.done:
		t.Error("acknowledged before the guard was written")
	default:
	}
	if l.Head().Size != 1 || l.Published().Size != 1 {
		t.Error("visible before the guard was written")
	}
	close(release)
	if _, err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.guard.Before(nil)
}

func TestGuardFailureStopsTheLog(t *testing.T) {
	l := newTestLog(t, nil)
	l.guard.Before(func(Head) error { return errors.New("no") })
	if _, err := l.add(submission(1, 1, false)); !errors.Is(err, ErrStopped) {
		t.Errorf("acknowledged without a guard: %v", err)
	}
	<-l.Done()
	if _, err := l.Add(submission(2, 1, false)); !errors.Is(err, ErrStopped) {
		t.Errorf("after the failure: %v", err)
	}
	l.guard.Before(nil)
	l.crash()
	// It had been committed; the retry finds it.
	if pos := l.mustAdd(submission(1, 1, false)); !pos.Existing {
		t.Error("the committed leaf is gone")
	}
	l.check()
}

// TestCommitFaults: a commit that was not applied costs its submissions and
// nothing else; one with an unknown outcome stops the log, and opening it again
// finds whatever the truth is.
func TestCommitFaults(t *testing.T) {
	for name, test := range map[string]struct {
		outcome memory.Outcome
		want    error
		applied bool
		stops   bool
	}{
		"full disk":           {memory.Full, ErrDiskFull, false, false},
		"failed":              {memory.Fail, ErrStopped, false, true},
		"applied but errored": {memory.FailApplied, ErrStopped, true, true},
	} {
		for _, size := range []int64{3, 255, 256, 300} {
			t.Run(fmt.Sprintf("%s at %d", name, size), func(t *testing.T) {
				l := newTestLog(t, nil)
				l.fill(size)
				quiesce(t, l)
				l.disk.OnCommit(test.outcome)
				if _, err := l.add(submission(1000, 1, false)); !errors.Is(err, test.want) {
					t.Fatalf("add = %v, want %v", err, test.want)
				}
				if test.stops {
					<-l.Done()
					if l.Err() == nil {
						t.Error("stopped without a reason")
					}
					l.crash()
				} else if err := l.Ready(); err != nil {
					t.Errorf("not ready: %v", err)
				}
				pos := l.mustAdd(submission(1000, 1, false))
				if pos.Existing != test.applied || pos.Index != size {
					t.Errorf("the retry is at %+v", pos)
				}
				l.fill(size + 10)
				l.waitPublished(size + 10)
				l.check()
			})
		}
	}
}

// quiesce waits until nothing but what the test does will be committed.
func quiesce(t *testing.T, l *testLog) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		store := snapshotOf(t, l.disk)
		sealed := len(storedKeys(t, store, prefixBundle))
		store.Close()
		if int64(sealed) == l.Head().Size/tile.Width {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("bundles stay unsealed")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestCloseReleasesEveryWaiter(t *testing.T) {
	l := newTestLog(t, func(c *Config) { c.Cosigner = silence{}; c.Policy = neverMet(t) })
	var wg sync.WaitGroup
	for n := range 1000 {
		wg.Go(func() {
			pos, err := l.add(submission(n+1, 1, false))
			if err != nil && !errors.Is(err, ErrStopped) {
				t.Error(err)
			}
			if err == nil {
				if _, err := l.WaitPublished(context.Background(), pos.Index+1); !errors.Is(err, ErrStopped) {
					t.Errorf("published without a quorum: %v", err)
				}
			}
		})
	}
	for l.Head().Size < 10 {
		time.Sleep(time.Millisecond)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}

// silence is a Cosigner whose witnesses never answer.
type silence struct{}

func (silence) Ask(ctx context.Context, _ checkpoint.Checkpoint, _ []byte, _ func(context.Context, int64) ([]tlog.Hash, error), _ func(checkpoint.Cosignature), _ func(string, []byte)) {
	<-ctx.Done()
}
func (silence) Remembered(context.Context, func(string, []byte)) error { return nil }

// TestCorruptionStopsOpen flips a bit in the values that opening reads: it must
// refuse, never open a shorter or another log.
func TestCorruptionStopsOpen(t *testing.T) {
	for name, key := range map[string][]byte{
		"head":         storage.HeadKey,
		"last run":     numberKey(prefixRun, 512),
		"tile":         tileKey(0, 1),
		"identities":   numberKey(prefixIdentity, 0),
		"checkpoint c": keyPublished,
	} {
		t.Run(name, func(t *testing.T) {
			l := newTestLog(t, nil)
			l.fill(520)
			quiesce(t, l)
			l.end()
			l.disk.Tamper(key, func(v []byte) []byte {
				switch {
				case v == nil:
					return []byte("not a note")
				case name == "identities":
					return v[:len(v)-32]
				}
				v[len(v)/2] ^= 1
				return v
			})
			if err := l.tryOpen(); !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("open = %v, want storage.ErrCorrupt", err)
			}
		})
	}
}

func TestReadsNoticeCorruption(t *testing.T) {
	l := newTestLog(t, nil)
	l.fill(520)
	quiesce(t, l)
	l.end()
	l.disk.Tamper(numberKey(prefixBundle, 0), func(v []byte) []byte {
		entries, err := decompressBundle(v)
		if err != nil {
			t.Fatal(err)
		}
		entries[len(entries)/2] ^= 1
		return compressBundle(entries)
	})
	l.open()
	found := 0
	for i := range int64(520) {
		if _, err := l.Entry(t.Context(), i); errors.Is(err, storage.ErrCorrupt) {
			found++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Error("a changed entry was served")
	}
}

func neverMet(t *testing.T) *checkpoint.Policy {
	t.Helper()
	w, err := checkpoint.GenerateSigner("witness.example", checkpoint.AlgMLDSA44, seeded("witness"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := checkpoint.ParsePolicy([]byte("log " + testSigners()[0].VKey() + "\nwitness w " + w.VKey() + "\nquorum w\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
