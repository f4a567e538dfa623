package evidence

import (
	"context"
	"fmt"
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
	note   []byte
	leaf   func(index int64) ([]byte, error)
	levels [][]tlog.Hash // the hashes of tiles of each level
}

// newWholeLog makes the tree over the leaf hashes.
func newWholeLog(note []byte, hashes []tlog.Hash, leaf func(int64) ([]byte, error)) *wholeLog {
	l := &wholeLog{note: note, leaf: leaf}
	for len(hashes) > 0 {
		l.levels = append(l.levels, hashes)
		var up []tlog.Hash
		for ; len(hashes) >= tile.Width; hashes = hashes[tile.Width:] {
			up = append(up, tile.TileRoot(hashes[:tile.Width]))
		}
		hashes = up
	}
	return l
}

func (l *wholeLog) Checkpoint(context.Context) ([]byte, error) { return l.note, nil }

func (l *wholeLog) Tile(_ context.Context, t tile.Tile) ([]byte, error) {
	if t.Level < 0 || t.Level >= len(l.levels) || t.N < 0 || t.N*tile.Width+int64(t.W) > int64(len(l.levels[t.Level])) {
		return nil, fmt.Errorf("%w: tile %s", client.ErrMissing, t.Path())
	}
	var out []byte
	for _, h := range l.levels[t.Level][t.N*tile.Width:][:t.W] {
		out = append(out, h[:]...)
	}
	return out, nil
}

func (l *wholeLog) Bundle(_ context.Context, t tile.Tile) ([][]byte, error) {
	if len(l.levels) == 0 || t.N < 0 || t.N*tile.Width+int64(t.W) > int64(len(l.levels[0])) {
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
	hashes := make([]tlog.Hash, 0, len(m.Leaves))
	for _, l := range m.Leaves {
		raw, err := v.leaf(l.Index)
		if err == nil {
			err = s.Add(l.Index, raw)
		}
		if err != nil {
			return nil, nil, err
		}
		hashes = append(hashes, entry.LeafHash(raw))
	}
	cfg := audit.Config{Log: newWholeLog(v.Verified.Note, hashes, v.leaf), Policy: v.policy}
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
	answer = map[int64]bool{}
	if s.builder != nil {
		for _, l := range s.Timeline().Lines {
			answer[l.Index] = true
		}
	}
	if r.Rules == nil {
		return nil, nil, fmt.Errorf("no rules were judged")
	}
	var on []int64
	r.Rules.Verdicts, on, _ = relevant(m.Query, r.Rules.Verdicts, answer)
	if s.builder == nil {
		err = s.answerOf(on, v.leaf, answer)
	}
	return r, answer, err
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
