package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/escortlog/escortlog/client/internal/durable"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// Evidence is what proves the failures of an audit, as written to a file. All of
// it can be checked again without the log: both checkpoints are signed, a leaf
// is bound to a checkpoint by its proof, what else was served is there as
// received.
type Evidence struct {
	Version  int       `json:"version"` // of this format: 1
	Origin   string    `json:"origin,omitempty"`
	Failures []Failure `json:"failures"`
	// Seen is the checkpoint that an earlier audit verified, Offered the one
	// that this audit was given.
	Seen    string `json:"seen,omitempty"`
	Offered string `json:"offered,omitempty"`
	// Consistency is the proof built from the hash tiles of Offered that does not
	// lead from Seen to Offered.
	Consistency []tlog.Hash `json:"consistency,omitempty"`
	// Leaves are those at fault.
	Leaves []LeafEvidence `json:"leaves,omitempty"`
	// Resources are tiles and bundles as they were served.
	Resources []Resource `json:"resources,omitempty"`
}

// LeafEvidence is a leaf at fault.
type LeafEvidence struct {
	Index int64  `json:"index"`
	Leaf  []byte `json:"leaf"` // standard base64 in JSON
	// Proof is a tlog-proof of the leaf in Offered. It is empty where the leaf
	// is not the one under Offered's root.
	Proof string `json:"proof,omitempty"`
}

// Resource is an answer of the log.
type Resource struct {
	Path string `json:"path"`
	Body []byte `json:"body"` // standard base64 in JSON
}

const (
	maxEvidence      = 16       // leaves, and resources
	maxEvidenceBytes = 64 << 20 // of resources together
)

func (e *Evidence) leaf(index int64, raw []byte) {
	for _, l := range e.Leaves {
		if l.Index == index {
			return
		}
	}
	if len(e.Leaves) < maxEvidence {
		e.Leaves = append(e.Leaves, LeafEvidence{Index: index, Leaf: raw})
	}
}

func (e *Evidence) resource(path string, body []byte) {
	total := len(body)
	for _, r := range e.Resources {
		if r.Path == path {
			return
		}
		total += len(r.Body)
	}
	if len(e.Resources) < maxEvidence && total <= maxEvidenceBytes {
		e.Resources = append(e.Resources, Resource{Path: path, Body: body})
	}
}

// chunk keeps a bundle and the hash tile that do not belong together.
func (e *Evidence) chunk(c *chunk) {
	var bundle []byte
	for _, l := range c.leaves {
		bundle = tile.AppendEntry(bundle, l.raw)
	}
	hashes := c.bundle
	hashes.Level = 0
	e.resource(c.bundle.Path(), bundle)
	e.resource(hashes.Path(), c.tile)
}

// prove adds a proof to each leaf that is under the root of the checkpoint
// offered. A tile that cannot be had only means that there is none.
func (e *Evidence) prove(ctx context.Context, read tile.Reader, head *Head) {
	for i := range e.Leaves {
		l := &e.Leaves[i]
		hashes, err := tile.Inclusion(ctx, read, l.Index, head.Size)
		if err != nil {
			continue
		}
		if checkpoint.VerifyInclusion(entry.LeafHash(l.Leaf), l.Index, head.Size, hashes, head.Root) != nil {
			continue
		}
		p := checkpoint.Proof{Extra: checkpoint.LeafTimeExtra(entry.TimeOf(l.Leaf)), Index: l.Index, Hashes: hashes, Checkpoint: []byte(e.Offered)}
		l.Proof = string(p.Marshal())
	}
}

// write writes the evidence into dir and returns the file's name, which is made
// from its content: the same evidence is the same file.
func (e *Evidence) write(dir string) (string, error) {
	e.Version = 1
	content, err := json.MarshalIndent(e, "", " ")
	if err != nil {
		return "", fmt.Errorf("writing the evidence: %w", err)
	}
	content = append(content, '\n')
	sum := sha256.Sum256(content)
	if err := durable.MakeDir(dir, 0o755); err != nil {
		return "", fmt.Errorf("writing the evidence: %w", err)
	}
	name := filepath.Join(dir, "escortlog-evidence-"+hex.EncodeToString(sum[:8])+".json")
	if err := durable.WriteFile(name, content); err != nil {
		return "", fmt.Errorf("writing the evidence: %w", err)
	}
	return name, nil
}
