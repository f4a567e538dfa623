package client

import (
	"context"
	"fmt"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/tile"
)

// Proof builds the tlog-proof of a leaf in the log's present checkpoint, from
// nothing but the checkpoint, the hash tiles and the entry bundle, and verifies
// it. It returns the leaf as well, and what policy found in the checkpoint.
//
// With a nil policy nobody's signature is looked at, and verified is nil: the
// proof then only says what the log shows to whoever asks.
//
// A leaf that is not yet under the checkpoint is ErrMissing. Otherwise the
// errors are those of Fetcher and of checkpoint.Proof.Verify; with
// checkpoint.ErrQuorum everything else is there.
func (f *Fetcher) Proof(ctx context.Context, index int64, policy *checkpoint.Policy) (p *checkpoint.Proof, leaf []byte, verified *checkpoint.Verified, err error) {
	note, err := f.Checkpoint(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	c, verified, quorum := acceptNote(note, policy)
	if quorum != nil && verified == nil {
		return nil, nil, nil, quorum
	}
	if index < 0 || index >= c.Size {
		return nil, nil, nil, fmt.Errorf("%w: leaf %d is not in the published tree, which has %d leaves", ErrMissing, index, c.Size)
	}
	p = &checkpoint.Proof{Index: index, Checkpoint: note}
	if p.Hashes, err = tile.Inclusion(ctx, f.Reader(), index, c.Size); err != nil {
		return nil, nil, nil, err
	}
	b := tile.Tile{Level: tile.Entries, N: index / tile.Width}
	b.W = tile.WidthAt(b.Level, b.N, c.Size)
	entries, err := f.Bundle(ctx, b)
	if err != nil {
		return nil, nil, nil, err
	}
	leaf = entries[index%tile.Width]
	// The leaves of other logs are not of this format, and have no time.
	if e, err := entry.Parse(leaf); err == nil {
		p.Extra = checkpoint.LeafTimeExtra(e.Time)
	}
	if err := checkpoint.VerifyInclusion(entry.LeafHash(leaf), index, c.Size, p.Hashes, c.Root); err != nil {
		return nil, nil, nil, fmt.Errorf("the log's tiles and entries do not fit its checkpoint: %w", err)
	}
	return p, leaf, verified, quorum
}

// acceptNote reads a checkpoint and holds it against the policy where there is one.
func acceptNote(note []byte, policy *checkpoint.Policy) (checkpoint.Checkpoint, *checkpoint.Verified, error) {
	if policy != nil {
		v, err := policy.Verify(note)
		if v == nil {
			return checkpoint.Checkpoint{}, nil, err
		}
		return v.Checkpoint, v, err
	}
	text, _, err := checkpoint.ParseNote(note)
	if err != nil {
		return checkpoint.Checkpoint{}, nil, err
	}
	c, err := checkpoint.Parse(text)
	return c, nil, err
}
