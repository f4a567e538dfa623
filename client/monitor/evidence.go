package monitor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/internal/durable"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// Evidence is what proves an integrity failure, as written to a file. Both notes
// bear the log's own signature; that they contradict each other can be checked
// without the log where the sizes are the same or the consistency proof is of
// hash tiles that lead to one of the roots.
type Evidence struct {
	Version int    `json:"version"` // of this format: 1
	Origin  string `json:"origin"`
	Detail  string `json:"detail"`
	// Witness held Held; empty where this monitor did.
	Witness string `json:"witness,omitempty"`
	Held    string `json:"held,omitempty"`
	Shown   string `json:"shown,omitempty"` // by the log
	// Consistency is the proof from the smaller to the larger size that the log's
	// hash tiles give.
	Consistency []tlog.Hash `json:"consistency,omitempty"`
	// Resources are what the log served.
	Resources []audit.Resource `json:"resources,omitempty"`
}

// consistency builds a proof from the log's hash tiles, and keeps them.
func (e *Evidence) consistency(ctx context.Context, l audit.Log, from, to int64) ([]tlog.Hash, error) {
	read := func(ctx context.Context, t tile.Tile) ([]byte, error) {
		b, err := l.Tile(ctx, t)
		if err == nil {
			e.Resources = append(e.Resources, audit.Resource{Path: t.Path(), Body: b})
		}
		return b, err
	}
	return tile.Consistency(ctx, read, from, to)
}

// write writes the evidence into dir and returns the file's name, which is made
// from its content: the same evidence is the same file.
func (e *Evidence) write(dir string) (string, error) {
	e.Version = 1
	content, err := json.MarshalIndent(e, "", " ")
	if err != nil {
		return "", fmt.Errorf("writing the evidence: %w", err)
	}
	sum := sha256.Sum256(content)
	if err := durable.MakeDir(dir, 0o755); err != nil {
		return "", fmt.Errorf("writing the evidence: %w", err)
	}
	name := filepath.Join(dir, "escortlog-evidence-"+hex.EncodeToString(sum[:8])+".json")
	if err := durable.WriteFile(name, append(content, '\n')); err != nil {
		return "", fmt.Errorf("writing the evidence: %w", err)
	}
	return name, nil
}
