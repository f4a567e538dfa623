//go:build e2e

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/witness/conformance"
	"github.com/escortlog/escortlog/witness/mirror"
	"github.com/escortlog/escortlog/witness/subtree"
)

// mirrored is a log whose entries are brought to a mirror.
type mirrored struct {
	signer  *checkpoint.Signer
	entries [][]byte
	hashes  []tlog.Hash
}

func (l *mirrored) hash(lo, hi int64) (tlog.Hash, error) { return subtree.Hash(l.hashes[lo:hi]), nil }

func (l *mirrored) note(t *testing.T, size int64) string {
	t.Helper()
	root, _ := l.hash(0, size)
	text := checkpoint.Checkpoint{Origin: l.signer.Verifier().Name(), Size: size, Root: root}.Text()
	line, err := l.signer.Sign(text, 0)
	if err != nil {
		t.Fatal(err)
	}
	return string(checkpoint.Join(text, line))
}

func (l *mirrored) upload(t *testing.T, start, end int64) []byte {
	t.Helper()
	b := mirror.AppendHeader(nil, l.signer.Verifier().Name(), start, end, nil)
	for start < end {
		aligned := start / tile.Width * tile.Width
		stop := min(end, aligned+tile.Width)
		proof, err := subtree.Prove(aligned, stop, end, l.hash)
		if err != nil {
			t.Fatal(err)
		}
		b = mirror.AppendPackage(b, l.entries[start:stop], proof)
		start = stop
	}
	return b
}

// TestE2EMirror: a mirror that is killed while entries come in has everything it
// cosigned, and goes on where it says it is.
func TestE2EMirror(t *testing.T) {
	bin, dir := binary(t), filepath.Join(t.TempDir(), "w")
	out, err := exec.Command(bin, "init", "--data", dir, "--name", "witness.example/1", "--mirror-name", "mirror.example/1").Output()
	if err != nil {
		t.Fatal(err)
	}
	var keys []*checkpoint.Verifier
	for _, s := range strings.Fields(string(out)) {
		v, err := checkpoint.ParseVKey(s)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, v)
	}
	if len(keys) != 4 || keys[2].Name() != "mirror.example/1" || keys[3].Algorithm() != checkpoint.AlgMLDSA44 {
		t.Fatalf("init printed %s", out)
	}
	l := &mirrored{}
	if l.signer, err = checkpoint.GenerateSigner("log.example/one", checkpoint.AlgEd25519, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(bin, "add-log", "--data", dir, "--mirror", l.signer.VKey()).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const entries = 6000
	for i := range entries {
		l.entries = append(l.entries, fmt.Appendf(nil, "entry %d", i))
		l.hashes = append(l.hashes, tlog.RecordHash(l.entries[i]))
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := mathrand.New(mathrand.NewPCG(seed, 0))
	sum := sha256.Sum256([]byte("log.example/one"))
	prefix := "/mirror/" + hex.EncodeToString(sum[:])
	var pending, acked, next int64
	for kill := range 6 {
		p := startServe(t, bin, dir)
		size := int64((kill + 1) * entries / 6)
		proof, err := subtreeProof(l, pending, size)
		if err != nil {
			t.Fatal(err)
		}
		// The step may have been taken before the last kill without an answer.
		if status, answer := send(t.Context(), p.url, conformance.AddBody(pending, proof, l.note(t, size))); status != 200 {
			t.Fatalf("add-checkpoint: %d %s", status, answer)
		}
		pending = size
		timer := time.AfterFunc(time.Duration(rng.IntN(60))*time.Millisecond, func() { _ = p.Process.Kill() })
		for range 1000 {
			status, answer := uploadTo(p.url, l.upload(t, next, size))
			if status == 0 {
				break
			}
			if status == http.StatusOK {
				acked, next = size, size
				break
			}
			var told int64
			if n, err := fmt.Sscanf(answer, "%d\n%d\n", &told, &next); n != 2 || err != nil {
				t.Fatalf("%d %q", status, answer)
			}
		}
		timer.Stop()
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	p := startServe(t, bin, dir)
	_, answer := uploadTo(p.url, mirror.AppendHeader(nil, "log.example/one", entries, entries, nil))
	var told, has int64
	if n, err := fmt.Sscanf(answer, "%d\n%d\n", &told, &has); n == 2 && err == nil {
		if has < acked {
			t.Errorf("it has %d entries after it cosigned %d", has, acked)
		}
		if status, answer := uploadTo(p.url, l.upload(t, has, entries)); status != 200 {
			t.Fatalf("the rest: %d %s", status, answer)
		}
	}
	get := func(path string) ([]byte, error) {
		resp, err := http.Get(p.url + prefix + "/" + path)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != 200 {
			return nil, fmt.Errorf("%s: %s", path, resp.Status)
		}
		return io.ReadAll(resp.Body)
	}
	note, err := get("checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	text, sigs, err := checkpoint.ParseNote(note)
	if err == nil {
		_, err = checkpoint.Verify(text, sigs, keys[2:]...)
	}
	want, _ := l.hash(0, entries)
	if err != nil || !strings.Contains(text, fmt.Sprintf("\n%d\n", entries)) {
		t.Errorf("mirror checkpoint %q: %v", text, err)
	}
	root, err := tile.Root(t.Context(), func(_ context.Context, x tile.Tile) ([]byte, error) { return get(x.Path()) }, entries)
	if err != nil || root != want {
		t.Errorf("root %v, %v, want %v", root, err, want)
	}
	for n := int64(0); n*tile.Width < entries; n++ {
		w := tile.WidthAt(-1, n, entries)
		data, err := get(tile.Tile{Level: -1, N: n, W: w}.Path())
		if err != nil {
			t.Fatal(err)
		}
		got, err := tile.SplitBundle(data, w)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range got {
			if !bytes.Equal(e, l.entries[n*tile.Width+int64(i)]) {
				t.Fatalf("entry %d is %q", n*tile.Width+int64(i), e)
			}
		}
	}
	if err := p.end(t, syscall.SIGTERM); err != nil {
		t.Errorf("%v\n%s", err, p.log)
	}
}

func subtreeProof(l *mirrored, from, to int64) ([]tlog.Hash, error) {
	if from == 0 {
		return nil, nil
	}
	return subtree.Prove(0, from, to, l.hash)
}

// uploadTo posts to add-entries; status 0 says that there was no whole answer.
func uploadTo(url string, body []byte) (status int, answer string) {
	resp, err := http.Post(url+"/add-entries", "application/octet-stream", bytes.NewReader(body))
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(data)
}
