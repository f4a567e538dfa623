package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/storage"
	"golang.org/x/mod/sumdb/tlog"
)

// testWitnesses is a Cosigner with witnesses in memory, each of which can be
// slow, silent, or remember things.
type testWitnesses struct {
	t       testing.TB
	policy  *checkpoint.Policy
	signers map[string]*checkpoint.Signer

	mu     sync.Mutex
	silent map[string]bool
	slow   map[string]chan struct{} // answer when closed
	notes  map[string][]byte        // what Remembered tells
	asked  []int64                  // sizes, in order
	roots  []tlog.Hash              // their roots
}

func newTestWitnesses(t testing.TB, quorum string) *testWitnesses {
	t.Helper()
	w := &testWitnesses{t: t, signers: map[string]*checkpoint.Signer{}, silent: map[string]bool{}, slow: map[string]chan struct{}{}, notes: map[string][]byte{}}
	policy := "log " + testSigners()[0].VKey() + "\n"
	for i := range 3 {
		name := fmt.Sprintf("w%d", i)
		s, err := checkpoint.GenerateSigner(name+".example", checkpoint.AlgMLDSA44, seeded(name))
		if err != nil {
			t.Fatal(err)
		}
		w.signers[name] = s
		policy += "witness " + name + " " + s.VKey() + "\n"
	}
	var err error
	if w.policy, err = checkpoint.ParsePolicy([]byte(policy + "group g " + quorum + " w0 w1 w2\nquorum g\n")); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *testWitnesses) config(c *Config) {
	c.Policy, c.Cosigner = w.policy, w
	c.PublishEvery = time.Millisecond
}

func (w *testWitnesses) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *testWitnesses) Ask(ctx context.Context, cp checkpoint.Checkpoint, note []byte, prove func(context.Context, int64) ([]tlog.Hash, error), got func(checkpoint.Cosignature), _ func(string, []byte)) {
	if proof, err := prove(ctx, 1); err != nil {
		w.t.Errorf("no consistency proof from size 1: %v", err)
	} else if cp.Size == 1 && len(proof) != 0 {
		w.t.Errorf("a proof of %d hashes from size 1 to 1", len(proof))
	}
	w.set(func() { w.asked, w.roots = append(w.asked, cp.Size), append(w.roots, cp.Root) })
	var wg sync.WaitGroup
	for name, s := range w.signers {
		w.mu.Lock()
		silent, slow := w.silent[name], w.slow[name]
		w.mu.Unlock()
		if silent {
			continue
		}
		wg.Go(func() {
			if slow != nil {
				select {
				case <-slow:
				case <-ctx.Done():
					return
				}
			}
			line, err := s.Sign(cp.Text(), 1_700_000_000)
			if err != nil {
				w.t.Error(err)
				return
			}
			lines, err := checkpoint.ParseSignatureLines(line)
			if err != nil {
				w.t.Error(err)
				return
			}
			got(checkpoint.Cosignature{Witness: name, Time: 1_700_000_000, Line: lines[0]})
		})
	}
	wg.Wait()
}

func (w *testWitnesses) Remembered(_ context.Context, got func(string, []byte)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, note := range w.notes {
		got(name, note)
	}
	return nil
}

// gatedStore asks before each commit.
type gatedStore struct {
	storage.Store
	before func(*storage.Batch) error
}

func (s gatedStore) Commit(ctx context.Context, b *storage.Batch) error {
	if err := s.before(b); err != nil {
		return err
	}
	return s.Store.Commit(ctx, b)
}

// TestSignedAhead: a head is signed while it is being committed, and the
// signature over one that came to nothing never leaves.
func TestSignedAhead(t *testing.T) {
	var gate atomic.Pointer[func() error]
	var signings atomic.Int64
	w := newTestWitnesses(t, "2")
	l := newTestLog(t, func(c *Config) {
		w.config(c)
		c.Store = gatedStore{c.Store, func(b *storage.Batch) error {
			if f := gate.Load(); f != nil && !bytes.Equal(b.OldHead, b.NewHead) {
				return (*f)()
			}
			return nil
		}}
		now := c.Now
		c.Now = func() time.Time { signings.Add(1); return now() } // a commit asks before it begins
	})
	l.waitPublished(1)
	refuse := func() error {
		before, deadline := signings.Load(), time.Now().Add(time.Minute)
		for signings.Load() == before {
			if time.Now().After(deadline) {
				t.Error("not signed while it is being committed")
				break
			}
			time.Sleep(time.Millisecond)
		}
		// The publisher is signing, or has signed and waits for the outcome.
		return storage.ErrFull
	}
	gate.Store(&refuse)
	if _, err := l.add(submission(1, 1, false)); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("add = %v, want ErrDiskFull", err)
	}
	gate.Store(nil)
	l.mustAdd(submission(2, 1, false)) // another leaf at the same index
	l.waitPublished(2)
	if got, want := l.Published().Root, l.Head().Root; got != want {
		t.Errorf("published root %v, want that of what was committed, %v", got, want)
	}
	w.set(func() {
		for i, root := range w.roots {
			if w.asked[i] == 2 && root != l.Head().Root {
				t.Errorf("a witness was shown root %v", root)
			}
		}
	})
	l.check()
}

func TestPublishedAtQuorum(t *testing.T) {
	w := newTestWitnesses(t, "2")
	w.silent["w0"], w.silent["w1"] = true, true
	l := newTestLog(t, w.config)
	l.fill(5)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if p, err := l.WaitPublished(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("published with one cosignature of two: %v, %v", p, err)
	}
	if _, err := l.Tile(t.Context(), tileOf(0, 0, 1)); !errors.Is(err, ErrNotFound) {
		t.Errorf("a tile beyond every published head: %v", err)
	}
	w.set(func() { w.silent["w1"] = false })
	p := l.waitPublished(5)
	v, err := w.policy.Verify(p.Note)
	if err != nil {
		t.Fatal(err)
	}
	if v.Size != 5 || len(v.Cosignatures) != 2 {
		t.Errorf("published size %d with %d cosignatures", v.Size, len(v.Cosignatures))
	}
	l.check()
}

// TestOwnKeyInTheQuorum: a policy that lists the log's ML-DSA key as a witness
// demands the signature that the log itself makes, and asks nobody for it.
func TestOwnKeyInTheQuorum(t *testing.T) {
	w := newTestWitnesses(t, "2")
	text := "log " + testSigners()[0].VKey() + "\nwitness own " + testSigners()[1].VKey() + "\nwitness w0 " + w.signers["w0"].VKey() + "\ngroup both all own w0\nquorum both\n"
	policy, err := checkpoint.ParsePolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	l := newTestLog(t, func(c *Config) { w.config(c); c.Policy = policy })
	l.fill(3)
	if _, err := policy.Verify(l.waitPublished(3).Note); err != nil {
		t.Error(err)
	}
}

// TestLateCosignature: a slow witness delays nobody and its cosignature still
// reaches the published checkpoint.
func TestLateCosignature(t *testing.T) {
	w := newTestWitnesses(t, "2")
	late := make(chan struct{})
	w.slow["w2"] = late
	l := newTestLog(t, w.config)
	l.fill(3)
	first := l.waitPublished(3)
	if bytes.Contains(first.Note, []byte("w2.example")) {
		t.Fatal("the slow witness has answered already")
	}
	close(late)
	deadline := time.Now().Add(time.Minute)
	for !bytes.Contains(l.Published().Note, []byte("w2.example")) {
		if time.Now().After(deadline) {
			t.Fatal("the late cosignature is not published")
		}
		time.Sleep(time.Millisecond)
	}
	if v, err := w.policy.Verify(l.Published().Note); err != nil || len(v.Cosignatures) != 3 {
		t.Errorf("with the late cosignature: %v", err)
	}
}

// TestRestartServesWhatWasPublished: while no witness answers after a restart,
// the checkpoint published before is still there, and no smaller one.
func TestRestartServesWhatWasPublished(t *testing.T) {
	w := newTestWitnesses(t, "2")
	l := newTestLog(t, w.config)
	l.fill(7)
	before := l.waitPublished(7)
	w.set(func() {
		for name := range w.signers {
			w.silent[name] = true
		}
	})
	l.mustAdd(submission(7, 1, false))
	l.crash()
	if p := l.Published(); p == nil || p.Size != before.Size {
		t.Fatalf("after a restart: %+v", p)
	}
	if _, err := w.policy.Verify(l.Published().Note); err != nil {
		t.Error(err)
	}
	w.set(func() { w.silent = map[string]bool{} })
	l.waitPublished(8)
}

func TestIdleLogIsSignedAgain(t *testing.T) {
	w := newTestWitnesses(t, "2")
	l := newTestLog(t, func(c *Config) { w.config(c); c.RecosignEvery = 5 * time.Millisecond })
	l.waitPublished(1)
	deadline := time.Now().Add(time.Minute)
	for {
		w.mu.Lock()
		n := len(w.asked)
		w.mu.Unlock()
		if n >= 3 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("an unchanged head is not cosigned again")
		}
		time.Sleep(time.Millisecond)
	}
}

// contradiction is a test of a log that is opened on something older or other
// than what somebody remembers.
func halted(t *testing.T, l *testLog) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !errors.Is(l.Ready(), ErrRollback) {
		if time.Now().After(deadline) {
			t.Fatalf("ready = %v, want ErrRollback", l.Ready())
		}
		time.Sleep(time.Millisecond)
	}
	size := l.Head().Size
	if _, err := l.add(submission(9000, l.AuthorityCovered(), false)); !errors.Is(err, ErrStopped) {
		t.Errorf("a halted log takes submissions: %v", err)
	}
	if l.Head().Size != size {
		t.Error("a halted log has grown")
	}
	if _, err := l.Entry(t.Context(), size-1); err != nil {
		t.Errorf("a halted log does not serve readers: %v", err)
	}
}

func TestRollbackIsRefusedByTheGuard(t *testing.T) {
	l := newTestLog(t, nil)
	l.fill(300)
	older := l.disk.Snapshot()
	l.fill(600)
	l.end()
	l.disk.Restore(older)
	l.open()
	halted(t, l)
	if p := l.Published(); p != nil {
		t.Errorf("a halted log signed size %d", p.Size)
	}
}

func TestForkIsRefusedByTheGuard(t *testing.T) {
	l := newTestLog(t, nil)
	l.fill(300)
	common := l.disk.Snapshot()
	guard := l.guard.Head()
	l.fill(400)
	remembered := l.guard.Head()
	l.end()
	// Another history of the same length, made with an older guard.
	l.disk.Restore(common)
	l.guard = NewMemoryGuard(guard)
	l.open()
	for n := 1300; n < 1500; n++ {
		l.mustAdd(submission(n, 1, false))
	}
	l.end()
	l.guard = NewMemoryGuard(remembered)
	l.open()
	halted(t, l)
}

func TestGuardBehindIsBroughtUpToDate(t *testing.T) {
	l := newTestLog(t, nil)
	l.fill(10)
	older := l.guard.Head()
	l.fill(20)
	l.end()
	l.guard = NewMemoryGuard(older)
	l.open()
	if err := l.Ready(); err != nil {
		t.Fatal(err)
	}
	if l.guard.Head().Size != 20 {
		t.Errorf("the guard holds size %d", l.guard.Head().Size)
	}
}

// TestRollbackIsRefusedByAWitness: store and guard put back together, and any
// one witness that remembers more stops the log before it commits or signs.
func TestRollbackIsRefusedByAWitness(t *testing.T) {
	w := newTestWitnesses(t, "2")
	l := newTestLog(t, w.config)
	l.fill(10)
	l.waitPublished(10)
	older, guard := l.disk.Snapshot(), l.guard.Head()
	l.fill(20)
	remembered := l.waitPublished(20).Note
	l.end()
	l.disk.Restore(older)
	l.guard = NewMemoryGuard(guard)
	w.set(func() { w.notes["w1"] = remembered; w.asked = nil })
	l.open()
	halted(t, l)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.asked) > 0 {
		t.Errorf("signed and sent sizes %v after a rollback", w.asked)
	}
}

// TestLyingWitnessStopsNothing: a witness cannot make up a checkpoint of ours.
func TestLyingWitnessStopsNothing(t *testing.T) {
	w := newTestWitnesses(t, "2")
	other, err := checkpoint.GenerateSigner(testOrigin, checkpoint.AlgEd25519, seeded("somebody else"))
	if err != nil {
		t.Fatal(err)
	}
	text := checkpoint.Checkpoint{Origin: testOrigin, Size: 1000, Root: tlog.Hash{1}}.Text()
	line, err := other.Sign(text, 0)
	if err != nil {
		t.Fatal(err)
	}
	good, err := testSigners()[0].Sign(checkpoint.Checkpoint{Origin: testOrigin, Size: 1, Root: tlog.Hash{1}}.Text(), 0)
	if err != nil {
		t.Fatal(err)
	}
	w.notes["w0"] = checkpoint.Join(text, line)
	w.notes["w1"] = checkpoint.Join(text, good) // our signature over something else
	w.notes["w2"] = []byte("rubbish")
	l := newTestLog(t, w.config)
	l.mustAdd(submission(1, 1, false))
	l.waitPublished(2)
}

// TestForkSignedByOurKey: the same size with another root under our own
// signature halts the log: somebody else signs with its keys.
func TestForkSignedByOurKey(t *testing.T) {
	w := newTestWitnesses(t, "2")
	text := checkpoint.Checkpoint{Origin: testOrigin, Size: 1, Root: tlog.Hash{1}}.Text()
	line, err := testSigners()[1].Sign(text, 1_700_000_000)
	if err != nil {
		t.Fatal(err)
	}
	w.notes["w0"] = checkpoint.Join(text, line)
	l := newTestLog(t, w.config)
	halted(t, l)
}

func TestEvidenceIsKept(t *testing.T) {
	l := newTestLog(t, nil)
	l.KeepEvidence("conflict", []byte("first"))
	l.KeepEvidence("conflict", bytes.Repeat([]byte("x"), maxEvidence+1))
	deadline := time.Now().Add(time.Minute)
	var kept []Evidence
	for len(kept) < 2 {
		kept = nil
		if err := l.Evidence(t.Context(), func(e Evidence) error { kept = append(kept, e); return nil }); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("evidence is not kept")
		}
	}
	if string(kept[0].Record) != "first" || kept[0].Kind != "conflict" || len(kept[1].Record) != maxEvidence {
		t.Errorf("kept %q and %d bytes", kept[0].Record, len(kept[1].Record))
	}
	l.KeepEvidence("conflict", []byte("first")) // kept already
	l.crash()
	l.KeepEvidence("conflict", []byte("first")) // also after a restart
	if l.evidence.next != 2 {
		t.Errorf("%d records were kept, want 2", l.evidence.next)
	}
	for n := range evidenceSlots + 5 {
		for l.extras.waiting() {
			time.Sleep(100 * time.Microsecond)
		}
		l.KeepEvidence("conflict", fmt.Appendf(nil, "again %d", n))
	}
	for l.extras.waiting() {
		time.Sleep(time.Millisecond)
	}
	l.mustAdd(submission(1, 1, false))
	kept = nil
	if err := l.Evidence(t.Context(), func(e Evidence) error { kept = append(kept, e); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(kept) != evidenceSlots || kept[0].Seq != kept[len(kept)-1].Seq-evidenceSlots+1 {
		t.Errorf("the ring holds %d records, from %d to %d", len(kept), kept[0].Seq, kept[len(kept)-1].Seq)
	}
	l.check()
}
