package evidence

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// earlier is a note of the sample log at a smaller size, as its keys would have
// signed it.
func earlier(t *testing.T, size int64, change func(*checkpoint.Checkpoint)) []byte {
	t.Helper()
	note, err := sample.Checkpoint(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	c, err := headOf(note)
	if err != nil {
		t.Fatal(err)
	}
	data, err := sample.Tile(context.Background(), tile.Tile{Level: 0, N: 0, W: tile.WidthAt(0, 0, c.Size)})
	if err != nil {
		t.Fatal(err)
	}
	hashes, err := tile.Hashes(data)
	if err != nil {
		t.Fatal(err)
	}
	c.Size, c.Root = size, tile.TileRoot(hashes[:size])
	change(&c)
	var lines [][]byte
	for _, name := range []string{"log", "witness-agency", "witness-assessor"} {
		text, err := os.ReadFile("../../testdata/keys/" + name + ".ed25519.skey")
		if err != nil {
			t.Fatal(err)
		}
		signer, err := checkpoint.ParseSKey(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		line, err := signer.Sign(c.Text(), 1_749_500_000)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return checkpoint.Join(c.Text(), lines...)
}

func TestPrevious(t *testing.T) {
	before := earlier(t, 40, func(*checkpoint.Checkpoint) {})
	pack, m := mustAsk(t, session, func(c *Config) { c.Previous = before })
	if m.Previous == nil || m.Previous.Size != 40 {
		t.Fatalf("%+v", m.Previous)
	}
	r := verify(t, repack(t, pack, func(f map[string][]byte) {
		f[nameConsistency] = f[nameConsistency][45:] // without its first hash
		remanifest(t, f, func(*Manifest) {})
	}))
	if len(r.Problems) == 0 || r.Problems[0].Place != nameConsistency {
		t.Errorf("%v", r.Problems)
	}
	r = verify(t, repack(t, pack, func(f map[string][]byte) {
		f[namePrevious] = earlier(t, 40, func(c *checkpoint.Checkpoint) { c.Root = tlog.Hash{1} })
		remanifest(t, f, func(*Manifest) {})
	}))
	if !slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Place == namePrevious }) {
		t.Errorf("%v", r.Problems)
	}
	for name, change := range map[string]func(*checkpoint.Checkpoint){
		"another root": func(c *checkpoint.Checkpoint) { c.Root = tlog.Hash{1} },
		"larger":       func(c *checkpoint.Checkpoint) { c.Size = 1000 },
		"another log":  func(c *checkpoint.Checkpoint) { c.Origin = "other.example" },
	} {
		if _, _, err := ask(t, session, func(c *Config) { c.Previous = earlier(t, 40, change) }); !errors.Is(err, ErrHistory) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
