package evidence

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// wholeLog serves the log that a pack with all leaves holds, as audits read it.
type wholeLog struct {
	note  []byte
	size  int64
	hash  func(index int64) tlog.Hash // of a leaf
	leaf  func(index int64) ([]byte, error)
	above [][]tlog.Hash // the hashes of tiles of each level above the leaves
}

// newWholeLog makes the tree over the leaf hashes.
func newWholeLog(note []byte, size int64, hash func(int64) tlog.Hash, leaf func(int64) ([]byte, error)) *wholeLog {
	l := &wholeLog{note: note, size: size, hash: hash, leaf: leaf}
	for full := size / tile.Width; full > 0; full /= tile.Width {
		var up []tlog.Hash
		for n := range full {
			up = append(up, tile.TileRoot(l.hashes(len(l.above), n*tile.Width, tile.Width)))
		}
		l.above = append(l.above, up)
	}
	return l
}

// hashes are some of a level, which has them.
func (l *wholeLog) hashes(level int, from int64, count int) []tlog.Hash {
	if level > 0 {
		return l.above[level-1][from:][:count]
	}
	list := make([]tlog.Hash, count)
	for i := range list {
		list[i] = l.hash(from + int64(i))
	}
	return list
}

// has reports whether the log has a tile.
func (l *wholeLog) has(level int, t tile.Tile) bool {
	if level < 0 || level > len(l.above) || t.N < 0 || t.N > l.size {
		return false
	}
	width := l.size
	if level > 0 {
		width = int64(len(l.above[level-1]))
	}
	return t.N*tile.Width+int64(t.W) <= width
}

func (l *wholeLog) Checkpoint(context.Context) ([]byte, error) { return l.note, nil }

func (l *wholeLog) Tile(_ context.Context, t tile.Tile) ([]byte, error) {
	if !l.has(t.Level, t) {
		return nil, fmt.Errorf("%w: tile %s", client.ErrMissing, t.Path())
	}
	var out []byte
	for _, h := range l.hashes(t.Level, t.N*tile.Width, t.W) {
		out = append(out, h[:]...)
	}
	return out, nil
}

func (l *wholeLog) Bundle(_ context.Context, t tile.Tile) ([][]byte, error) {
	if !l.has(0, t) {
		return nil, fmt.Errorf("%w: bundle %d", client.ErrMissing, t.N)
	}
	var out [][]byte
	for i := range int64(t.W) {
		leaf, err := l.leaf(t.N*tile.Width + i)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", client.ErrUnavailable, err)
		}
		out = append(out, leaf)
	}
	return out, nil
}

// reaudit repeats the audit and the question over all leaves, and returns the
// report as it should stand in findings.json, and the leaves that answer.
func (v *verifier) reaudit() (report *audit.Report, answer map[int64]bool, err error) {
	m := v.Manifest
	s, err := NewSelector(m.Query)
	if err != nil {
		return nil, nil, err
	}
	hash := func(i int64) tlog.Hash { return tlog.Hash(m.Leaves[i].Hash) } // proven before
	// What is on a disk needs no more fetches at once than there are processors.
	cfg := audit.Config{Log: newWholeLog(v.Verified.Note, m.Head.Size, hash, v.leaf), Policy: v.policy, Fetches: runtime.GOMAXPROCS(0)}
	if cfg.Rules, err = rules.Parse(v.content(nameRules, maxInMemory)); err != nil {
		return nil, nil, err
	}
	if m.Rules == rules.Default().Digest() {
		cfg.Rules = rules.Default()
	}
	// Another policy may know other witnesses, who cosigned at another time.
	if v.report.Rules.AtFrom == "given" || m.Policy != v.policyDigest {
		if cfg.At, err = time.Parse(time.RFC3339Nano, m.At); err != nil {
			return nil, nil, err
		}
	}
	r, err := audit.Run(v.ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	if r.Rules == nil {
		return nil, nil, fmt.Errorf("no rules were judged")
	}
	answer = map[int64]bool{}
	if s.builder != nil {
		for _, l := range v.timeline.Lines { // it was made of every leaf of the log
			answer[l.Index] = true
		}
	}
	var on []int64
	r.Rules.Verdicts, on, _ = relevant(m.Query, r.Rules.Verdicts, answer)
	if s.builder == nil {
		err = v.found(s, on, answer)
	}
	return r, answer, err
}

// found adds the answer to a question about a rule, whose findings rest on some
// leaves.
func (v *verifier) found(s *Selector, on []int64, answer map[int64]bool) error {
	for i := range v.Manifest.Head.Size {
		raw, err := v.leaf(i)
		if err == nil {
			err = s.Add(i, raw)
		}
		if err != nil {
			return err
		}
	}
	return s.answerOf(on, v.leaf, answer)
}

// answerOf is the answer to a question about a rule: the leaves on which its
// findings rest, and what speaks about them.
func (s *Selector) answerOf(on []int64, leaf func(int64) ([]byte, error), answer map[int64]bool) error {
	for _, i := range on {
		answer[i] = true
		raw, err := leaf(i)
		if err != nil {
			return err
		}
		_, ev, err := parseLeaf(raw)
		if err != nil {
			continue // no event speaks about what is none
		}
		for _, about := range s.about(i, entry.Identity(ev.Source, ev.ID)) {
			answer[about] = true
		}
	}
	return nil
}
