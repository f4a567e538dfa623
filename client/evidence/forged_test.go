package evidence

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// sampleLeaves are the leaves of the sample log.
func sampleLeaves(t *testing.T) [][]byte {
	t.Helper()
	note, err := sample.Checkpoint(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	c, err := headOf(note)
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := sample.Bundle(context.Background(), tile.Tile{Level: tile.Entries, N: 0, W: int(c.Size)})
	if err != nil {
		t.Fatal(err)
	}
	return leaves
}

// collude makes a pack of a log whose operator and witnesses signed whatever its
// leaves are: proofs, checkpoint and quorum are right.
func collude(t *testing.T, leaves [][]byte) []byte {
	t.Helper()
	pack, _ := mustAsk(t, session)
	var hashes []tlog.Hash
	var listed []Leaf
	for i, raw := range leaves {
		hash := entry.LeafHash(raw)
		hashes = append(hashes, hash)
		what := ForWhole
		if _, ev, err := parseLeaf(raw); err == nil && event.IsAuthority(ev.Type) {
			what = ForAuthority
		}
		listed = append(listed, Leaf{Index: int64(i), Hash: Digest(hash), For: []string{what}})
	}
	size, root := int64(len(leaves)), tile.TileRoot(hashes)
	note := earlier(t, 1, func(c *checkpoint.Checkpoint) { c.Size, c.Root = size, root })
	served := newWholeLog(note, size, of(hashes), nil)
	return repack(t, pack, func(files map[string][]byte) {
		files[nameCheckpoint] = note
		for i, raw := range leaves {
			proof, err := tile.Inclusion(context.Background(), served.Tile, int64(i), size)
			if err != nil {
				t.Fatal(err)
			}
			p := checkpoint.Proof{Extra: checkpoint.LeafTimeExtra(entry.TimeOf(raw)), Index: int64(i), Hashes: proof, Checkpoint: note}
			files[nameLeaf(int64(i))], files[nameProof(int64(i))] = raw, p.Marshal()
		}
		remanifest(t, files, func(m *Manifest) { m.Head, m.Leaves = Head{Size: size, Root: root}, listed })
	})
}

// TestDishonestLeaves: what the log and its witnesses signed is judged all the
// same, leaf by leaf.
func TestDishonestLeaves(t *testing.T) {
	const victim = 60
	edited := func(t *testing.T, raw []byte, change func(e *entry.Entry)) []byte {
		t.Helper()
		e, err := entry.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		change(e)
		out, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, c := range map[string]struct {
		change func(t *testing.T, leaves [][]byte) [][]byte
		index  int64
		says   string
	}{
		"a broken signature": {func(t *testing.T, l [][]byte) [][]byte {
			l[victim] = edited(t, l[victim], func(e *entry.Entry) { e.Signatures[0].Sig[8] ^= 1 })
			return l
		}, victim, event.SlugBadSignature},
		"no signature": {func(t *testing.T, l [][]byte) [][]byte {
			l[victim] = edited(t, l[victim], func(e *entry.Entry) { e.Signatures = nil })
			return l
		}, victim, event.SlugUnsigned},
		"a key used before its registration": {func(_ *testing.T, l [][]byte) [][]byte {
			early := l[victim]
			return slices.Insert(slices.Delete(l, victim, victim+1), 1, early)
		}, 1, event.SlugUnknownKey},
		"a time going back": {func(t *testing.T, l [][]byte) [][]byte {
			l[victim] = edited(t, l[victim], func(e *entry.Entry) { e.Time = entry.TimeOf(l[0]) })
			return l
		}, victim, "is before that of a leaf before it"},
		"not an event": {func(t *testing.T, l [][]byte) [][]byte {
			l[victim] = edited(t, l[victim], func(e *entry.Entry) { e.Payload = []byte(`{}`) })
			return l
		}, victim, event.SlugMalformed},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			r := verify(t, collude(t, c.change(t, sampleLeaves(t))))
			if !slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Place == nameLeaf(c.index) && strings.Contains(p.Detail, c.says) }) {
				t.Errorf("no problem of leaf %d says %q: %v", c.index, c.says, r.Problems)
			}
		})
	}
}
