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
	leaves []numbered
	levels [][]tlog.Hash // the hashes of tiles of each level
}

func newWholeLog(note []byte, leaves []numbered) *wholeLog {
	l := &wholeLog{note: note, leaves: leaves}
	var hashes []tlog.Hash
	for _, leaf := range leaves {
		hashes = append(hashes, entry.LeafHash(leaf.leaf))
	}
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
	if t.N < 0 || t.N*tile.Width+int64(t.W) > int64(len(l.leaves)) {
		return nil, fmt.Errorf("%w: bundle %d", client.ErrMissing, t.N)
	}
	var out [][]byte
	for _, leaf := range l.leaves[t.N*tile.Width:][:t.W] {
		out = append(out, leaf.leaf)
	}
	return out, nil
}

// reaudit repeats the audit and the question over all leaves, and returns the
// report as it should stand in findings.json, and the leaves that answer.
func (v *verifier) reaudit() (report *audit.Report, answer map[int64]bool, err error) {
	m := v.Manifest
	cfg := audit.Config{Log: newWholeLog(v.files[nameCheckpoint], v.leaves), Policy: v.policy}
	if cfg.Rules, err = rules.Parse(v.files[nameRules]); err != nil {
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
	s, err := NewSelector(m.Query)
	if err != nil {
		return nil, nil, err
	}
	for _, l := range v.leaves {
		if err := s.Add(l.index, l.leaf); err != nil {
			return nil, nil, err
		}
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
		s.answerOf(on, v.leaves, answer)
	}
	return r, answer, nil
}

// answerOf is the answer to a question about a rule: the leaves on which its
// findings rest, and what speaks about them.
func (s *Selector) answerOf(on []int64, leaves []numbered, answer map[int64]bool) {
	for _, i := range on {
		answer[i] = true
		if _, ev, err := parseLeaf(leaves[i].leaf); err == nil {
			for _, about := range s.about(i, entry.Identity(ev.Source, ev.ID)) {
				answer[about] = true
			}
		}
	}
}
