package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/escortlog/escortlog/client/internal/durable"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// fileRules holds what the rules remember of the leaves up to some size, at most the
// one that the state file is of. It is written after that file, so that a crash
// between the two costs no more than reading a few leaves again.
const (
	fileRules   = "rules.snapshot"
	rulesHeader = "escortlog rules snapshot v1 "
)

// leafBytes is about what a leaf takes: a snapshot is written once as many bytes of
// leaves came as it is long, so that writing it never costs more than reading them.
const leafBytes = 256

// judged is what the rules know of the log.
type judged struct {
	engine *rules.Engine
	tree   tree  // of the leaves that they have seen
	newest int64 // ms, time of the newest of them
}

// rulesFile is what stands before the engine's own bytes.
type rulesFile struct {
	Tree   [][]tlog.Hash `json:"tree"`
	Newest int64         `json:"newest"`
}

// tool names the program whose rules judge.
func tool() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	name := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" || s.Key == "vcs.modified" {
			name += " " + s.Value
		}
	}
	return name
}

// loadRules takes up the rules where an earlier run left them, or begins anew.
func (f *Follower) loadRules() {
	f.rules, f.kept, f.keptBytes = &judged{engine: rules.New(f.cfg.Rules)}, 0, 0
	if f.dir == nil || f.state.note == nil {
		return
	}
	content, err := os.ReadFile(f.dir.file(fileRules))
	if errors.Is(err, os.ErrNotExist) {
		return // as after an audit without rules
	}
	var j *judged
	if err == nil {
		j, err = f.openRules(content)
	}
	if err != nil {
		f.notice("what the rules remembered cannot be used, and they look at all leaves again: %v", err)
		return
	}
	f.rules, f.kept, f.keptBytes = j, j.tree.size, int64(len(content))
}

func (f *Follower) openRules(content []byte) (*judged, error) {
	body, err := unseal(rulesHeader, content)
	if err != nil {
		return nil, err
	}
	head, snapshot, _ := bytes.Cut(body, []byte("\n"))
	var r rulesFile
	if err := json.Unmarshal(head, &r); err != nil {
		return nil, err
	}
	j := &judged{newest: r.Newest}
	if j.engine, err = rules.Restore(f.cfg.Rules, tool(), snapshot, f.state.founding); err != nil {
		return nil, err
	}
	j.tree.size = j.engine.Size()
	if len(r.Tree) != levels {
		return nil, fmt.Errorf("%d levels of tiles, not %d", len(r.Tree), levels)
	}
	copy(j.tree.partial[:], r.Tree)
	if err := j.tree.check(); err != nil {
		return nil, err
	}
	if s := f.state.tree; j.tree.size > s.size || j.tree.size == s.size && j.tree.root() != s.root() {
		return nil, fmt.Errorf("it is of %d leaves of another tree than the one of size %d that was verified", j.tree.size, s.size)
	}
	return j, nil
}

// keepRules writes what the rules remember, where that is worth it or always.
func (f *Follower) keepRules(always bool) error {
	if f.dir == nil || f.rules == nil || f.rules.tree.size == f.kept || f.rules.tree.size != f.state.tree.size {
		return nil
	}
	if !always && (f.rules.tree.size-f.kept)*leafBytes < f.keptBytes {
		return nil
	}
	snapshot, err := f.rules.engine.Snapshot(tool())
	if err != nil {
		return fmt.Errorf("keeping what the rules remember: %w", err)
	}
	head, err := json.Marshal(rulesFile{f.rules.tree.partial[:], f.rules.newest})
	if err != nil {
		return fmt.Errorf("keeping what the rules remember: %w", err)
	}
	content := seal(rulesHeader, append(append(head, '\n'), snapshot...))
	if err := durable.WriteFile(f.dir.file(fileRules), content); err != nil {
		return fmt.Errorf("keeping what the rules remember: %w", err)
	}
	f.kept, f.keptBytes = f.rules.tree.size, int64(len(content))
	return nil
}

// checkRules holds the tree of which the rules have seen the leaves against the one
// that was verified. Where it is another they begin anew: that is about the state
// directory, and no word about the log.
func (a *auditor) checkRules(ctx context.Context) error {
	seen := &a.rules.tree
	if seen.size == 0 || seen.size == a.state.tree.size {
		return nil
	}
	proof, err := tile.Consistency(ctx, tile.Reader(a.cfg.Log.Tile), seen.size, a.head.Size)
	if err != nil {
		return err
	}
	if checkpoint.VerifyConsistency(seen.size, a.head.Size, seen.root(), a.head.Root, proof) == nil {
		return nil
	}
	a.notice("what the rules remembered cannot be used, and they look at all leaves again: it is of another tree")
	*a.rules = judged{engine: rules.New(a.cfg.Rules)}
	return nil
}
