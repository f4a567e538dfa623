package checkpoint_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	fproof "github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/tlog"
)

// smallTree returns n leaf hashes and a reader of their tiles.
func smallTree(n int) ([]tlog.Hash, tile.Reader) {
	var leaves []tlog.Hash
	for i := range n {
		leaves = append(leaves, tlog.RecordHash([]byte{byte(i)}))
	}
	return leaves, func(_ context.Context, t tile.Tile) ([]byte, error) {
		var b []byte
		for _, h := range leaves[:t.W] {
			b = append(b, h[:]...)
		}
		return b, nil
	}
}

// sampleProof proves leaf 5 of a log of 13 leaves.
func sampleProof(t testing.TB, signers ...*checkpoint.Signer) (*checkpoint.Proof, tlog.Hash) {
	t.Helper()
	leaves, r := smallTree(13)
	hashes, err := tile.Inclusion(context.Background(), r, 5, 13)
	if err != nil {
		t.Fatal(err)
	}
	c := checkpoint.Checkpoint{Origin: sample.Origin, Size: 13, Root: tile.TileRoot(leaves)}
	return &checkpoint.Proof{Extra: checkpoint.LeafTimeExtra(1_750_000_000_123), Index: 5, Hashes: hashes, Checkpoint: sign(t, c.Text(), signers...)}, leaves[5]
}

func TestProofRoundTrip(t *testing.T) {
	log := newSigner(t, sample.Origin, checkpoint.AlgEd25519)
	p, _ := sampleProof(t, log)
	for name, p := range map[string]checkpoint.Proof{
		"whole":        *p,
		"no extra":     {Index: 5, Hashes: p.Hashes, Checkpoint: p.Checkpoint},
		"empty extra":  {Extra: []byte{}, Index: 5, Hashes: p.Hashes, Checkpoint: p.Checkpoint},
		"no hashes":    {Checkpoint: p.Checkpoint},
		"large index":  {Index: math.MaxInt64, Checkpoint: p.Checkpoint},
		"odd extra":    {Extra: []byte("x"), Checkpoint: p.Checkpoint},
		"large extra":  {Extra: make([]byte, 32<<10), Checkpoint: p.Checkpoint},
		"longest path": {Hashes: make([]tlog.Hash, 63), Checkpoint: p.Checkpoint},
	} {
		b := p.Marshal()
		got, err := checkpoint.ParseProof(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !bytes.Equal(got.Marshal(), b) || !bytes.Equal(got.Extra, p.Extra) || got.Index != p.Index || !slices.Equal(got.Hashes, p.Hashes) || !bytes.Equal(got.Checkpoint, p.Checkpoint) {
			t.Errorf("%s: read as %+v", name, got)
		}
		var foreign fproof.TLogProof
		if err := foreign.Unmarshal(b); err != nil || foreign.Index != uint64(p.Index) || len(foreign.Hashes) != len(p.Hashes) || !bytes.Equal(foreign.Checkpoint, p.Checkpoint) {
			t.Errorf("%s: formats reads it otherwise: %v", name, err)
		}
	}
}

func TestParseProofRefuses(t *testing.T) {
	p, _ := sampleProof(t, newSigner(t, sample.Origin, checkpoint.AlgEd25519))
	good := string(p.Marshal())
	hash := base64.StdEncoding.EncodeToString(p.Hashes[0][:])
	change := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the sample has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	extra := strings.SplitAfter(good, "\n")[1]
	for name, s := range map[string]string{
		"empty":                       "",
		"header only":                 "c2sp.org/tlog-proof@v1\n",
		"header, then nothing":        "c2sp.org/tlog-proof@v1\n\n" + string(p.Checkpoint),
		"another version":             change("@v1", "@v2"),
		"space after header":          change("@v1\n", "@v1 \n"),
		"carriage returns":            strings.ReplaceAll(good, "\n", "\r\n"),
		"byte order mark":             "\ufeff" + good,
		"blank line first":            "\n" + good,
		"blank line after header":     change("@v1\n", "@v1\n\n"),
		"extra after index":           change(extra+"index 5\n", "index 5\n"+extra),
		"extra twice":                 change(extra, extra+extra),
		"extra empty":                 change(extra, "extra \n"),
		"extra without space":         change(extra, "extra\n"),
		"extra not base64":            change(extra, "extra !!!!\n"),
		"extra without padding":       change(extra, "extra AAA\n"),
		"extra with stray bits":       change(extra, "extra AAB=\n"),
		"extra too long":              change(extra, "extra "+base64.StdEncoding.EncodeToString(make([]byte, 32<<10+1))+"\n"),
		"no index":                    change("index 5\n", ""),
		"index empty":                 change("index 5\n", "index \n"),
		"index with sign":             change("index 5\n", "index +5\n"),
		"index negative":              change("index 5\n", "index -5\n"),
		"index with leading zero":     change("index 5\n", "index 05\n"),
		"index with two spaces":       change("index 5\n", "index  5\n"),
		"index with trailing space":   change("index 5\n", "index 5 \n"),
		"index of 2^63":               change("index 5\n", "index 9223372036854775808\n"),
		"index in capitals":           change("index 5\n", "Index 5\n"),
		"index twice":                 change("index 5\n", "index 5\nindex 5\n"),
		"hash of 31 bytes":            change(hash, base64.StdEncoding.EncodeToString(make([]byte, 31))),
		"hash of 33 bytes":            change(hash, base64.StdEncoding.EncodeToString(make([]byte, 33))),
		"hash without padding":        change(hash, strings.TrimSuffix(hash, "=")),
		"hash with space":             change(hash, hash+" "),
		"two hashes on a line":        change(hash+"\n", hash+hash+"\n"),
		"64 hashes":                   change("index 5\n", "index 5\n"+strings.Repeat(hash+"\n", 64-len(p.Hashes))),
		"no checkpoint":               strings.TrimSuffix(good, string(p.Checkpoint)),
		"checkpoint without signers":  change(string(p.Checkpoint), sample.Text()+"\n"),
		"checkpoint not ended":        strings.TrimSuffix(good, "\n"),
		"checkpoint of sloppy size":   change("\n13\n", "\n013\n"),
		"not a checkpoint":            change(string(p.Checkpoint), exampleNote),
		"bad UTF-8 in the checkpoint": change("log.example", "log\xff.example"),
		"trailing newline":            good + "\n",
		"two blank lines":             change("\n\n", "\n\n\n"),
	} {
		if _, err := checkpoint.ParseProof([]byte(s)); !errors.Is(err, checkpoint.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestProofParser changes every byte of a proof whose checkpoint the parser knows:
// it says what ParseProof does, and keeps apart what differs.
func TestProofParser(t *testing.T) {
	p, _ := sampleProof(t, newSigner(t, sample.Origin, checkpoint.AlgEd25519))
	good := p.Marshal()
	var parser checkpoint.ProofParser
	first, err := parser.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1
		want, wantErr := checkpoint.ParseProof(b)
		for range 2 { // with the checkpoint before it known, and then with its own
			got, err := parser.Parse(b)
			if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
				t.Fatalf("byte %d: %v, and by itself %v", i, err, wantErr)
			}
			if err == nil && (!bytes.Equal(got.Marshal(), b) || !bytes.Equal(want.Marshal(), b)) {
				t.Fatalf("byte %d: read as %q", i, got.Marshal())
			}
		}
		if wantErr == nil {
			accepted++
		}
		clear(b) // nothing of it was kept
		if again, err := parser.Parse(good); err != nil || !bytes.Equal(again.Marshal(), good) {
			t.Fatalf("byte %d: and then %v", i, err)
		}
	}
	if accepted == 0 || !bytes.Equal(first.Marshal(), good) {
		t.Errorf("%d proofs were well-formed; the first now is %q", accepted, first.Marshal())
	}
	second, err := parser.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	third, err := parser.Parse(good)
	if err != nil || &second.Checkpoint[0] != &third.Checkpoint[0] {
		t.Errorf("one checkpoint is kept twice, %v", err)
	}
}

func TestLeafTime(t *testing.T) {
	p, _ := sampleProof(t, newSigner(t, sample.Origin, checkpoint.AlgEd25519))
	if ms, err := p.LeafTime(); err != nil || ms != 1_750_000_000_123 {
		t.Errorf("%d, %v", ms, err)
	}
	for _, extra := range [][]byte{nil, {}, make([]byte, 7), make([]byte, 9), bytes.Repeat([]byte{0xff}, 8)} {
		p.Extra = extra
		if _, err := p.LeafTime(); !errors.Is(err, checkpoint.ErrMalformed) {
			t.Errorf("extra %x: %v", extra, err)
		}
	}
}

func TestProofVerify(t *testing.T) {
	log := newSigner(t, sample.Origin, checkpoint.AlgEd25519)
	w := newSigner(t, "w", checkpoint.AlgCosignEd25519)
	policy := parsePolicy(t, "log {log "+sample.Origin+"}\nwitness w {wit w}\nquorum w\n")
	p, leaf := sampleProof(t, log, w)
	v, err := p.Verify(leaf, policy)
	if err != nil || v.Size != 13 || len(v.Cosignatures) != 1 {
		t.Fatalf("%v, %v", v, err)
	}
	for name, change := range map[string]func(*checkpoint.Proof, *tlog.Hash){
		"another leaf":   func(_ *checkpoint.Proof, h *tlog.Hash) { h[0] ^= 1 },
		"another index":  func(p *checkpoint.Proof, _ *tlog.Hash) { p.Index++ },
		"index = size":   func(p *checkpoint.Proof, _ *tlog.Hash) { p.Index = 13 },
		"index negative": func(p *checkpoint.Proof, _ *tlog.Hash) { p.Index = -1 },
		"a hash less":    func(p *checkpoint.Proof, _ *tlog.Hash) { p.Hashes = p.Hashes[1:] },
		"a hash more":    func(p *checkpoint.Proof, _ *tlog.Hash) { p.Hashes = append(p.Hashes, tlog.Hash{}) },
		"no hashes":      func(p *checkpoint.Proof, _ *tlog.Hash) { p.Hashes = nil },
		"changed hash":   func(p *checkpoint.Proof, _ *tlog.Hash) { p.Hashes[1][3] ^= 1 },
		"swapped hashes": func(p *checkpoint.Proof, _ *tlog.Hash) { p.Hashes[0], p.Hashes[1] = p.Hashes[1], p.Hashes[0] },
	} {
		bad, h := *p, leaf
		bad.Hashes = slices.Clone(p.Hashes)
		change(&bad, &h)
		if v, err := bad.Verify(h, policy); !errors.Is(err, checkpoint.ErrProof) || v != nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	unwitnessed, _ := sampleProof(t, log)
	if v, err := unwitnessed.Verify(leaf, policy); !errors.Is(err, checkpoint.ErrQuorum) || v == nil {
		t.Errorf("without quorum: %v, %v", v, err)
	}
	if v, err := unwitnessed.Verify(tlog.Hash{}, policy); !errors.Is(err, checkpoint.ErrProof) || v != nil {
		t.Errorf("without quorum, another leaf: %v, %v", v, err)
	}
	unsigned, _ := sampleProof(t, w)
	if v, err := unsigned.Verify(leaf, policy); !errors.Is(err, checkpoint.ErrUnsigned) || v != nil {
		t.Errorf("without the log: %v, %v", v, err)
	}
}

func TestVerifyConsistency(t *testing.T) {
	leaves, r := smallTree(21)
	root := func(n int64) tlog.Hash { return tile.TileRoot(leaves[:n]) }
	for from := int64(0); from <= 21; from++ {
		for to := from; to <= 21; to++ {
			p, err := tile.Consistency(context.Background(), r, from, to)
			if err != nil {
				t.Fatal(err)
			}
			if err := checkpoint.VerifyConsistency(from, to, root(from), root(to), p); err != nil {
				t.Errorf("from %d to %d: %v", from, to, err)
			}
			if err := checkpoint.VerifyConsistency(from, to, root(from), root(to), append(slices.Clone(p), tlog.Hash{})); !errors.Is(err, checkpoint.ErrProof) {
				t.Errorf("from %d to %d, a hash more: %v", from, to, err)
			}
			if from == 0 {
				continue
			}
			if err := checkpoint.VerifyConsistency(from, to, root(from), tlog.Hash{1}, p); !errors.Is(err, checkpoint.ErrProof) {
				t.Errorf("from %d to %d, another new root: %v", from, to, err)
			}
			if err := checkpoint.VerifyConsistency(from, to, tlog.Hash{1}, root(to), p); !errors.Is(err, checkpoint.ErrProof) {
				t.Errorf("from %d to %d, another old root: %v", from, to, err)
			}
		}
	}
	for name, err := range map[string]error{
		"going back":         checkpoint.VerifyConsistency(5, 4, root(5), root(4), nil),
		"negative":           checkpoint.VerifyConsistency(-1, 4, root(1), root(4), nil),
		"not the empty root": checkpoint.VerifyConsistency(0, 0, checkpoint.EmptyRoot, root(1), nil),
	} {
		if !errors.Is(err, checkpoint.ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := checkpoint.VerifyConsistency(0, 4, tlog.Hash{}, root(4), nil); err != nil {
		t.Errorf("from nothing: %v", err)
	}
}

// Sizes near 2^63 must neither hang nor overflow.
func TestHugeSizes(t *testing.T) {
	if err := checkpoint.VerifyInclusion(tlog.Hash{}, math.MaxInt64-1, math.MaxInt64, make([]tlog.Hash, 62), tlog.Hash{}); !errors.Is(err, checkpoint.ErrProof) {
		t.Error(err)
	}
	if err := checkpoint.VerifyConsistency(math.MaxInt64-1, math.MaxInt64, tlog.Hash{}, tlog.Hash{}, make([]tlog.Hash, 62)); !errors.Is(err, checkpoint.ErrProof) {
		t.Error(err)
	}
}

func FuzzParseProof(f *testing.F) {
	p, _ := sampleProof(f, newSigner(f, sample.Origin, checkpoint.AlgEd25519))
	f.Add(p.Marshal())
	p.Extra = nil
	f.Add(p.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := checkpoint.ParseProof(b)
		if err != nil {
			return
		}
		if again := p.Marshal(); !bytes.Equal(again, b) {
			t.Fatalf("accepted %q, which is %q", b, again)
		}
	})
}
