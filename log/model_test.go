package log

import (
	"errors"
	"testing"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/storage/memory"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

// TestModel drives a log through submissions, repeats, conflicts, authority
// events, store faults, guard faults, crashes and clock jumps, beside a model
// that is a plain list of hashes, with the whole-log check after every step.
//
// The model keeps what was acknowledged and what may have been: a submission
// whose outcome is unknown is settled by submitting it again.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// testLog needs a testing.TB for its cleanup; rapid's T ends with each
		// run, so the log is ended here.
		l := newTestLog(t, nil)
		defer l.end()
		m := &model{rt: rt, l: l, hashes: []tlog.Hash{{}}, at: map[int]int64{}}
		first, err := l.Entry(t.Context(), 0)
		if err != nil {
			rt.Fatal(err)
		}
		m.hashes[0] = entry.LeafHash(first)
		rt.Repeat(map[string]func(*rapid.T){
			"add":       func(rt *rapid.T) { m.add(rapid.IntRange(1, 5).Draw(rt, "count"), false) },
			"add many":  func(rt *rapid.T) { m.add(rapid.IntRange(100, 600).Draw(rt, "count"), false) },
			"authority": func(*rapid.T) { m.add(1, true) },
			"again":     m.again,
			"conflict":  m.conflict,
			"fault": func(rt *rapid.T) {
				m.fault(rapid.SampledFrom([]memory.Outcome{memory.Fail, memory.FailApplied, memory.Full}).Draw(rt, "outcome"))
			},
			"guard fault": func(*rapid.T) { m.guardFault() },
			"crash":       func(*rapid.T) { l.crash() },
			"clock": func(rt *rapid.T) {
				ms := int64(rapid.IntRange(-maxClockLag, maxClockLag).Draw(rt, "ms"))
				l.clock.Store(max(l.clock.Load()+ms, l.Head().Time-maxClockLag))
			},
			"": func(*rapid.T) { m.check() },
		})
	})
}

type model struct {
	rt     *rapid.T
	l      *testLog
	hashes []tlog.Hash   // by index
	at     map[int]int64 // event number to index, of those acknowledged
	next   int
}

func (m *model) add(count int, authority bool) {
	var pending []*Pending
	first := m.next + 1
	for range count {
		m.next++
		p, err := m.l.Add(submission(m.next, m.l.AuthorityCovered(), authority))
		if err != nil {
			m.rt.Fatalf("add %d: %v", m.next, err)
		}
		pending = append(pending, p)
	}
	for i, p := range pending {
		pos, err := p.Wait(m.l.t.Context())
		if err != nil {
			m.rt.Fatalf("wait for %d: %v", first+i, err)
		}
		m.acknowledged(first+i, pos)
	}
}

func (m *model) acknowledged(n int, pos Position) {
	if pos.Index != int64(len(m.hashes)) {
		m.rt.Fatalf("event %d is at %d, want %d", n, pos.Index, len(m.hashes))
	}
	m.hashes = append(m.hashes, pos.LeafHash)
	m.at[n] = pos.Index
}

func (m *model) known(rt *rapid.T) (int, bool) {
	if len(m.at) == 0 {
		return 0, false
	}
	n := rapid.IntRange(1, m.next).Draw(rt, "event")
	_, ok := m.at[n]
	return n, ok
}

func (m *model) again(rt *rapid.T) {
	n, ok := m.known(rt)
	if !ok {
		return
	}
	leaf, err := m.l.Entry(m.l.t.Context(), m.at[n])
	if err != nil {
		rt.Fatal(err)
	}
	_, payload, err := entry.Payload(leaf)
	if err != nil {
		rt.Fatal(err)
	}
	_, _, authority, err := identify(payload)
	if err != nil {
		rt.Fatal(err)
	}
	pos, err := m.l.add(submission(n, 0, authority))
	if err != nil || !pos.Existing || pos.Index != m.at[n] || pos.LeafHash != m.hashes[pos.Index] {
		rt.Fatalf("event %d again: %+v, %v", n, pos, err)
	}
}

func (m *model) conflict(rt *rapid.T) {
	n, ok := m.known(rt)
	if !ok {
		return
	}
	s := submission(n, m.l.AuthorityCovered(), false)
	s.Content[0] ^= 1
	var conflict *IdentityConflict
	if _, err := m.l.add(s); !errors.As(err, &conflict) || conflict.Index != m.at[n] {
		rt.Fatalf("another story of event %d: %v", n, err)
	}
}

// fault has the next commit fail and settles what became of its submission.
func (m *model) fault(outcome memory.Outcome) {
	quiesce(m.l.t.(*testing.T), m.l)
	m.l.disk.OnCommit(outcome)
	m.next++
	n := m.next
	if _, err := m.l.add(submission(n, m.l.AuthorityCovered(), false)); err == nil {
		m.rt.Fatal("acknowledged although the commit failed")
	}
	if outcome != memory.Full {
		m.l.crash()
	}
	m.settle(n, outcome == memory.FailApplied)
}

func (m *model) guardFault() {
	quiesce(m.l.t.(*testing.T), m.l)
	m.l.guard.Before(func(Head) error { return errors.New("the guard's disk is gone") })
	m.next++
	if _, err := m.l.add(submission(m.next, m.l.AuthorityCovered(), false)); !errors.Is(err, ErrStopped) {
		m.rt.Fatalf("acknowledged without a guard: %v", err)
	}
	m.l.guard.Before(nil)
	m.l.crash()
	m.settle(m.next, true)
}

func (m *model) settle(n int, applied bool) {
	pos, err := m.l.add(submission(n, m.l.AuthorityCovered(), false))
	if err != nil || pos.Existing != applied {
		m.rt.Fatalf("settling event %d, applied %v: %+v, %v", n, applied, pos, err)
	}
	m.acknowledged(n, pos)
}

func (m *model) check() {
	head := m.l.Head()
	if head.Size != int64(len(m.hashes)) || head.Root != slowRoot(m.hashes) {
		m.rt.Fatalf("the log has size %d and root %v, the model %d and %v", head.Size, head.Root, len(m.hashes), slowRoot(m.hashes))
	}
	if guard := m.l.guard.Head(); guard.Size != head.Size || guard.Root != head.Root {
		m.rt.Fatalf("the guard holds %+v, the head is %+v", guard, head)
	}
	if p := m.l.waitPublished(head.Size); p.Root != head.Root {
		m.rt.Fatalf("published root %v, want %v", p.Root, head.Root)
	}
	m.l.check()
}
