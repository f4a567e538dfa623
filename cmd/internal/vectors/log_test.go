package vectors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// TestSampleLog reads the whole sample log as an auditor would: the checkpoint
// under the policy, the root from the hash tile, every leaf against its hash,
// and every event against the key directory.
func TestSampleLog(t *testing.T) {
	v, err := twoOfThree(t).Verify(read(t, "log/checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Cosignatures) != 6 {
		t.Errorf("%d cosignatures, want those of three witnesses with two keys each", len(v.Cosignatures))
	}
	hashes := read(t, fmt.Sprintf("log/tile/0/000.p/%d", v.Size))
	root, err := tile.Root(context.Background(), func(_ context.Context, want tile.Tile) ([]byte, error) {
		if path := fmt.Sprintf("tile/0/000.p/%d", v.Size); want.Path() != path {
			return nil, fmt.Errorf("%s is asked for, only %s is there", want.Path(), path)
		}
		return hashes, nil
	}, v.Size)
	if err != nil || root != v.Root {
		t.Fatalf("the tile's root is %v (%v), the checkpoint says %v", root, err, v.Root)
	}
	leaves, err := tile.SplitBundle(read(t, fmt.Sprintf("log/tile/entries/000.p/%d", v.Size)), int(v.Size))
	if err != nil {
		t.Fatal(err)
	}
	directory := event.NewDirectory()
	last := int64(0)
	for i, leaf := range leaves {
		if hash := entry.LeafHash(leaf); hash != tlog.Hash(hashes[32*i:32*i+32]) {
			t.Errorf("leaf %d does not have the hash in the tile", i)
		}
		e, err := entry.Parse(leaf)
		if err != nil {
			t.Fatalf("leaf %d: %v", i, err)
		}
		if e.Time < last {
			t.Errorf("leaf %d: time goes back", i)
		}
		last = e.Time
		if _, err := directory.CheckLeaf(int64(i), e, nil); err != nil {
			t.Fatalf("leaf %d: %v", i, err)
		}
	}
	if len(directory.Admins()) != 3 || directory.Threshold() != 2 || directory.Trial() {
		t.Errorf("%d administrators, threshold %d", len(directory.Admins()), directory.Threshold())
	}
	for _, k := range directory.Keys() {
		if !k.Administrator && !k.Proven {
			t.Errorf("the key %s did not sign its registration", k.Name)
		}
	}
}

// TestSampleLogHoldsTheSessions finds every line of the session files in the
// log, in their order and signed.
func TestSampleLogHoldsTheSessions(t *testing.T) {
	size := 0
	text, _, _ := bytes.Cut(read(t, "log/checkpoint"), []byte("\n\n"))
	if _, err := fmt.Sscan(strings.Split(string(text), "\n")[1], &size); err != nil {
		t.Fatal(err)
	}
	leaves, err := tile.SplitBundle(read(t, fmt.Sprintf("log/tile/entries/000.p/%d", size)), size)
	if err != nil {
		t.Fatal(err)
	}
	var ordinary []*entry.Entry
	for _, leaf := range leaves {
		e, err := entry.Parse(leaf)
		if err != nil {
			t.Fatal(err)
		}
		if ev, err := event.Parse(e.Payload); err != nil || event.IsAuthority(ev.Type) {
			continue
		}
		ordinary = append(ordinary, e)
	}
	lines := bytes.Split(bytes.TrimSuffix(append(read(t, "sessions/good.jsonl"), read(t, "sessions/unattested.jsonl")...), []byte("\n")), []byte("\n"))
	if len(lines) != len(ordinary) {
		t.Fatalf("%d events in the files and %d in the log", len(lines), len(ordinary))
	}
	for i, line := range lines {
		if !bytes.Equal(line, ordinary[i].Payload) || len(ordinary[i].Signatures) != 1 {
			t.Errorf("line %d is not in the log at its place, signed once", i+1)
		}
	}
}

// lyingLog is the sample log as files, one of them changed.
type lyingLog struct {
	file   string // below log/, where something is changed
	change func([]byte)
	t      *testing.T
}

func (l *lyingLog) read(name string) []byte {
	b := read(l.t, "log/"+name)
	if name == l.file {
		l.change(b)
	}
	return b
}

func (l *lyingLog) Checkpoint(context.Context) ([]byte, error) { return l.read("checkpoint"), nil }

func (l *lyingLog) Tile(_ context.Context, q tile.Tile) ([]byte, error) {
	return l.read(q.Path()), nil
}

func (l *lyingLog) Bundle(_ context.Context, q tile.Tile) ([][]byte, error) {
	b := l.read(q.Path())
	entries, err := tile.SplitBundle(b, q.W)
	if err != nil {
		return nil, &client.IntegrityError{Path: q.Path(), Body: b, Err: err}
	}
	return entries, nil
}

// TestAuditOfSampleLog has the auditor read the sample log, and that log with a
// flipped bit in each of its files.
func TestAuditOfSampleLog(t *testing.T) {
	run := func(l *lyingLog) *audit.Report {
		l.t = t
		r, err := audit.Run(context.Background(), audit.Config{Log: l, Policy: twoOfThree(t)})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	good := run(&lyingLog{})
	if code := good.ExitCode(); code != audit.ExitProven {
		t.Fatalf("the sample log: exit code %d, %+v", code, good)
	}
	entries, hashes := fmt.Sprintf("tile/entries/000.p/%d", good.Head.Size), fmt.Sprintf("tile/0/000.p/%d", good.Head.Size)
	for file, places := range map[string][]float64{
		entries: {0, 0.1, 0.5, 0.9}, hashes: {0, 0.1, 0.5, 0.9},
		// The origin, the root, and cosignatures. A quarter into it stands the log's
		// ML-DSA-44 line, which this policy does not know and so does not look at.
		"checkpoint": {0, 0.003, 0.5, 0.9},
	} {
		for _, place := range places {
			r := run(&lyingLog{file: file, change: func(b []byte) { b[int(float64(len(b))*place)] ^= 1 }})
			if code := r.ExitCode(); code != audit.ExitIntegrity {
				t.Errorf("a bit flipped in %s, %.1f %% into it: exit code %d, %+v", file, 100*place, code, r.Verdicts)
			}
		}
	}
}

// TestSampleLogChanged changes the time an event was recorded by one second, in
// each leaf, and demands that its signature does not verify any more. Leaf 0 has
// none: its hash, which auditors pin, is all that vouches for it.
func TestSampleLogChanged(t *testing.T) {
	v, err := twoOfThree(t).Verify(read(t, "log/checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := tile.SplitBundle(read(t, fmt.Sprintf("log/tile/entries/000.p/%d", v.Size)), int(v.Size))
	if err != nil {
		t.Fatal(err)
	}
	directory := event.NewDirectory()
	for i, leaf := range leaves {
		const before, second = `"recordedtime":"`, len(`2025-06-02T09:00:0`)
		changed := bytes.Clone(leaf)
		changed[bytes.Index(changed, []byte(before))+len(before)+second] ^= 1
		if entry.LeafHash(changed) == entry.LeafHash(leaf) {
			t.Errorf("leaf %d: a changed byte changes no hash", i)
		}
		e, err := entry.Parse(changed)
		if err != nil {
			t.Fatal(err)
		}
		_, err = directory.Clone().CheckLeaf(int64(i), e, nil)
		var refusal *event.Error
		if i == 0 && err != nil || i > 0 && (!errors.As(err, &refusal) || refusal.Slug != event.SlugBadSignature) {
			t.Errorf("leaf %d with a changed byte: %v", i, err)
		}
		if e, err = entry.Parse(leaf); err != nil {
			t.Fatal(err)
		}
		if _, err := directory.CheckLeaf(int64(i), e, nil); err != nil {
			t.Fatal(err)
		}
	}
}
