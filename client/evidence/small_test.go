package evidence

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/client/view"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"golang.org/x/mod/sumdb/tlog"
)

// smallPack makes a pack of the beginning of the sample log, signed with three
// Ed25519 keys only, so that every one of its bytes can be tried.
func smallPack(t *testing.T) []byte {
	t.Helper()
	const size = 34
	leaves := sampleLeaves(t)[:size]
	hashes := make([]tlog.Hash, size)
	for i, leaf := range leaves {
		hashes[i] = entry.LeafHash(leaf)
	}
	log := newWholeLog(earlier(t, size, func(*checkpoint.Checkpoint) {}), size, of(hashes), func(i int64) ([]byte, error) { return leaves[i], nil })
	policy, err := checkpoint.ParsePolicy(policyFile(t))
	if err != nil {
		t.Fatal(err)
	}
	r, err := audit.Run(context.Background(), audit.Config{Log: log, Policy: policy, Rules: rules.Default(), At: time.Date(2025, time.July, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSelector(Query{Kind: view.Session, ID: "s-2025-0610-01"})
	if err != nil {
		t.Fatal(err)
	}
	for i, leaf := range leaves {
		if err := s.Add(int64(i), leaf); err != nil {
			t.Fatal(err)
		}
	}
	var out memory
	cfg := Config{Log: log, Report: r, Selector: s, Policy: policyFile(t), Rules: rules.DefaultFile(), Tool: "test", Previous: earlier(t, 20, func(*checkpoint.Checkpoint) {})}
	if _, err := Build(context.Background(), cfg, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// of looks hashes up in a list.
func of(hashes []tlog.Hash) func(int64) tlog.Hash {
	return func(i int64) tlog.Hash { return hashes[i] }
}

// place is a stretch of a pack, and who may be named when a byte of it changes.
type place struct {
	from, to int
	content  bool
	names    []string
	before   int // how many files stand before it
}

// placesOf lists the stretches of a pack.
func placesOf(t *testing.T, pack []byte) (places []place) {
	t.Helper()
	a, problems := readArchive(bytes.NewReader(pack), int64(len(pack)))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	before, end := "", 0
	for i, m := range a.members {
		names := []string{m.Name, "the zip header of " + m.Name}
		if before == "" {
			names = append(names, "the first file", "the zip directory")
		} else {
			names = append(names, "the file after "+before, "the zip header after "+before)
		}
		content := int(m.content())
		end = content + int(m.Size)
		places = append(places, place{int(m.at), content, false, names, i}, place{content, end, true, []string{m.Name}, i})
		before = m.Name
	}
	return append(places, place{end, len(pack), false, []string{"the zip directory", "the file after " + before, "the zip header after " + before}, len(a.members)})
}

// spoil changes one byte of a pack and wants the place named.
func spoil(t *testing.T, pack []byte, offset int, bits byte, p place) {
	t.Helper()
	pack[offset] ^= bits
	_, problems := readArchive(bytes.NewReader(pack), int64(len(pack)))
	pack[offset] ^= bits
	p.wantNamed(t, offset, bits, problems)
}

// wantNamed wants a change of one byte named as one of this place.
func (p place) wantNamed(t *testing.T, offset int, bits byte, problems []Problem) {
	t.Helper()
	if len(problems) == 0 {
		t.Fatalf("byte %d of %s may change", offset, p.names[0])
	}
	// Of a name in a header, what the file is called now is named, or that the
	// directory calls it something else.
	named := slices.Contains(p.names, problems[0].Place) || !p.content && strings.Contains(problems[0].Detail, "was changed")
	if !named {
		t.Errorf("byte %d of %s, by %#x: %v", offset, p.names[0], bits, problems)
	}
}

// TestEveryByte changes every bit of the smallest packs, and bytes all over a real
// one: each is found and named.
func TestEveryByte(t *testing.T) {
	tiny := pack([]file{{"checkpoint", []byte("hello")}, {"keys.json", nil}, {"rules.yaml", []byte("version: 1\n")}})
	for _, p := range placesOf(t, tiny) {
		for offset := p.from; offset < p.to; offset++ {
			for bit := range 8 {
				spoil(t, tiny, offset, 1<<bit, p)
			}
		}
	}
	pack := smallPack(t)
	for _, p := range placesOf(t, pack) {
		for offset := p.from; offset < p.to; offset++ {
			if offset == p.from || offset%251 == 0 {
				spoil(t, pack, offset, 1<<(offset%8), p)
			}
		}
	}
	for name, p := range map[string][]byte{"cut": pack[:len(pack)-1], "longer": append(bytes.Clone(pack), 0), "empty": nil, "no zip": []byte("PK")} {
		if r := verify(t, p); len(r.Problems) == 0 {
			t.Errorf("%s: nothing found", name)
		}
	}
}

// TestMovedFile: a file in another place is found there all the same.
func TestMovedFile(t *testing.T) {
	list, _ := unpack(smallPack(t))
	last := len(list) - 1
	r := verify(t, pack(slices.Insert(slices.Clone(list[:last]), 0, list[last])))
	if len(r.Problems) != 1 || r.Problems[0].Place != list[0].name || !strings.Contains(r.Problems[0].Detail, "order of their names") {
		t.Errorf("%v", r.Problems)
	}
}

// TestForgedByte changes a byte in every file and mends the zip file around it.
func TestForgedByte(t *testing.T) {
	pack := smallPack(t)
	list, _ := unpack(pack)
	for i := range list {
		if name := list[i].name; name != nameManifest {
			forgeByte(t, pack, name, len(list[i].content)/2)
		}
	}
	forgeByte(t, pack, nameManifest, 3)
}

// forgeByte wants a file named of which a byte was changed with the zip file
// around it; the manifest may be caught by what was made with it.
func forgeByte(t *testing.T, old []byte, name string, offset int) {
	t.Helper()
	r := verify(t, repack(t, old, func(f map[string][]byte) {
		f[name] = bytes.Clone(f[name])
		f[name][offset] ^= 1
	}))
	if len(r.Problems) == 0 || name != nameManifest && r.Problems[0].Place != name {
		t.Errorf("byte %d of %s: %v", offset, name, r.Problems)
	}
}
