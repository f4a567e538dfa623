//go:build e2e

package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	kills      = 20
	submitters = 12
	killSource = "https://gateway.example.org"
)

// TestE2EKill kills the real program at random moments under load, 20 times.
// After each start everything that was acknowledged by a 201 or a 202 stands
// where it was said to stand, the published checkpoint extends every one seen
// before, and fsck passes.
func TestE2EKill(t *testing.T) {
	seed := mathrand.Uint64()
	t.Logf("seed %d", seed)
	random := mathrand.New(mathrand.NewPCG(seed, 1))
	k := newKilled(t)
	for round := range kills {
		k.start()
		k.checkExtends()
		if round == 0 {
			k.registerKey()
		}
		load, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range submitters {
			wg.Go(func() { k.submit(load, i) })
		}
		// Past the start of the load, or in the middle of it.
		time.Sleep(time.Duration(random.IntN(600)) * time.Millisecond)
		k.kill()
		stop()
		wg.Wait()
		if round%2 == 0 { // the other half recovers in serve
			k.fsck()
		}
	}
	k.start()
	k.checkExtends()
	k.checkAcknowledged()
	k.kill()
	k.fsck()
}

// killed is a log that is killed again and again.
type killed struct {
	*testing.T
	binary, dir, listen string
	policy              *checkpoint.Policy
	key                 crypto.Signer
	cmd                 *exec.Cmd
	ended               chan error // receives how cmd ended
	url                 string
	client              *http.Client

	mu           sync.Mutex
	acknowledged map[int64]tlog.Hash // leaf hash by index
	accepted     int                 // of them by 202
	seen         []checkpoint.Checkpoint
}

func newKilled(t *testing.T) *killed {
	t.Helper()
	dir := t.TempDir()
	k := &killed{
		T: t, binary: filepath.Join(dir, "escortlogd"), dir: filepath.Join(dir, "data"), listen: filepath.Join(dir, "listen"),
		key: sourceKey("gateway"), acknowledged: make(map[int64]tlog.Hash),
		client: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: submitters}},
	}
	t.Cleanup(k.client.CloseIdleConnections)
	k.run("go", "build", "-o", k.binary, ".")
	vkeys := strings.Fields(k.run(k.binary, "init", "--data", k.dir, "--origin", "log.example.org"))
	var err error
	k.policy, err = checkpoint.ParsePolicy([]byte("log " + vkeys[0] + "\nquorum none\n"))
	k.must(err)
	return k
}

func (k *killed) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// run runs a command that must succeed and returns its standard output.
func (k *killed) run(name string, args ...string) string {
	k.Helper()
	cmd := exec.Command(name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		k.Fatalf("%s %v: %v\n%s%s", name, args, err, &stdout, &stderr)
	}
	return stdout.String()
}

func (k *killed) start() {
	k.Helper()
	_ = os.Remove(k.listen)
	var stderr bytes.Buffer
	k.cmd = exec.Command(k.binary, "serve", "--data", k.dir, "--listen", "127.0.0.1:0", "--listen-file", k.listen)
	k.cmd.Stderr = &stderr
	k.must(k.cmd.Start())
	cmd, ended := k.cmd, make(chan error, 1)
	k.ended = ended
	go func() { ended <- cmd.Wait() }()
	k.Cleanup(func() { _ = cmd.Process.Kill() })
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if address, err := os.ReadFile(k.listen); err == nil {
			k.url = "http://" + strings.TrimSpace(string(address))
			break
		}
		select {
		case err := <-ended:
			k.Fatalf("serve ended: %v\n%s", err, &stderr)
		default:
		}
		if time.Now().After(deadline) {
			k.Fatal("serve never listened")
		}
	}
	var info struct{ Authority struct{ Covered int64 } }
	k.must(json.Unmarshal(k.get("/v1/log"), &info))
}

func (k *killed) kill() {
	k.Helper()
	k.must(k.cmd.Process.Kill())
	<-k.ended
	k.client.CloseIdleConnections()
}

func (k *killed) fsck() {
	k.Helper()
	if out := k.run(k.binary, "fsck", "--data", k.dir); !strings.HasSuffix(out, "ok\n") {
		k.Fatalf("fsck: %s", out)
	}
}

func (k *killed) get(path string) []byte {
	k.Helper()
	resp, err := k.client.Get(k.url + path)
	k.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	k.must(err)
	if resp.StatusCode != http.StatusOK {
		k.Fatalf("GET %s: %d %s", path, resp.StatusCode, body)
	}
	return body
}

// post returns the answer, or an error when the server was killed meanwhile.
func (k *killed) post(ctx context.Context, contentType string, body []byte, prefer string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.url+"/v1/events", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", contentType)
	if prefer != "" {
		req.Header.Set("Prefer", prefer)
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

func (k *killed) envelope(payload []byte, key crypto.Signer) []byte {
	sig, err := event.Sign(key, entry.PayloadType, payload)
	if err != nil {
		panic(err)
	}
	return (&entry.Envelope{PayloadType: entry.PayloadType, Payload: payload, Signatures: []entry.Signature{sig}}).Marshal()
}

func (k *killed) registerKey() {
	k.Helper()
	var info struct {
		Origin    string
		Authority struct{ Prev string }
	}
	k.must(json.Unmarshal(k.get("/v1/log"), &info))
	prev, err := hex.DecodeString(info.Authority.Prev)
	k.must(err)
	public, err := event.NewPublicKey(k.key.Public())
	k.must(err)
	payload, err := event.NewKeyRegistered(
		event.Header{ID: randomID(), Time: time.Now(), Origin: info.Origin, Prev: tlog.Hash(prev)},
		event.KeyRegistration{Key: public, Source: killSource})
	k.must(err)
	text, err := os.ReadFile(filepath.Join(k.dir, "admin.key"))
	k.must(err)
	admin, err := event.ParsePrivateKeyPEM(text)
	k.must(err)
	status, answer, err := k.post(k.Context(), "application/vnd.dsse+json", k.envelope(payload, admin), "")
	k.must(err)
	if status != http.StatusCreated {
		k.Fatalf("registering the key: %d %s", status, answer)
	}
}

// submit sends events until ctx ends or the server is gone: singly for a proof,
// singly without waiting, and in batches. What is acknowledged is noted.
func (k *killed) submit(ctx context.Context, i int) {
	for n := i; ctx.Err() == nil; n++ {
		var (
			status int
			answer []byte
			err    error
		)
		switch n % 3 {
		case 0:
			status, answer, err = k.post(ctx, "application/vnd.dsse+json", k.fresh(), "")
		case 1:
			status, answer, err = k.post(ctx, "application/vnd.dsse+json", k.fresh(), "respond-async")
		case 2:
			batch := [][]byte{k.fresh(), k.fresh(), k.fresh(), k.fresh(), k.fresh()}
			status, answer, err = k.post(ctx, "application/vnd.dsse-batch+json", append(append([]byte{'['}, bytes.Join(batch, []byte{','})...), ']'), "")
		}
		if err != nil {
			return // killed in the middle: nothing was acknowledged
		}
		k.note(status, answer)
	}
}

// fresh is an event nobody has sent.
func (k *killed) fresh() []byte {
	payload, err := event.Build(event.Attributes{
		ID: randomID(), Source: killSource, Type: event.Prefix + "session.paused.v1", Subject: "session/s-1", Time: time.Now(),
	}, map[string]any{"session_id": "s-1", "reason": rand.Text(), "paused_by": nil})
	if err != nil {
		panic(err)
	}
	return k.envelope(payload, k.key)
}

// note keeps what an answer acknowledges, after verifying what it proves.
func (k *killed) note(status int, answer []byte) {
	type acknowledged struct {
		Status     int
		Index      int64
		LeafHash   []byte
		Checkpoint string
		Proof      [][]byte
		Entries    []acknowledged
	}
	var a acknowledged
	if err := json.Unmarshal(answer, &a); err != nil {
		k.Errorf("answer %d %s: %v", status, answer, err)
		return
	}
	if a.Entries == nil {
		a.Status = status
		a.Entries = []acknowledged{a}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range a.Entries {
		switch e.Status {
		case http.StatusCreated, http.StatusOK:
			proof := checkpoint.Proof{Index: e.Index, Checkpoint: []byte(a.Checkpoint)}
			for _, h := range e.Proof {
				proof.Hashes = append(proof.Hashes, tlog.Hash(h))
			}
			if _, err := proof.Verify(tlog.Hash(e.LeafHash), k.policy); err != nil {
				k.Errorf("receipt of leaf %d: %v", e.Index, err)
			}
		case http.StatusAccepted:
			k.accepted++
		case http.StatusServiceUnavailable:
			continue
		default:
			k.Errorf("answer %d %s", status, answer)
			continue
		}
		if h, ok := k.acknowledged[e.Index]; ok && h != tlog.Hash(e.LeafHash) {
			k.Errorf("index %d was given to two leaves", e.Index)
		}
		k.acknowledged[e.Index] = tlog.Hash(e.LeafHash)
	}
}

// checkExtends compares the published checkpoint with all that were seen.
func (k *killed) checkExtends() {
	k.Helper()
	var note []byte
	for deadline := time.Now().Add(patience); note == nil; time.Sleep(time.Millisecond) {
		resp, err := k.client.Get(k.url + "/checkpoint")
		k.must(err)
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		k.must(err)
		if resp.StatusCode == http.StatusOK {
			note = body
		} else if time.Now().After(deadline) {
			k.Fatalf("no checkpoint: %s", body)
		}
	}
	v, err := k.policy.Verify(note)
	k.must(err)
	for _, old := range k.seen {
		if old.Size > v.Size {
			k.Fatalf("size %d was published, now %d is", old.Size, v.Size)
		}
		var proof []tlog.Hash
		for _, line := range strings.Fields(string(k.get(fmt.Sprintf("/v1/consistency?from=%d&to=%d", old.Size, v.Size)))) {
			b, err := base64.StdEncoding.DecodeString(line)
			k.must(err)
			proof = append(proof, tlog.Hash(b))
		}
		k.must(checkpoint.VerifyConsistency(old.Size, v.Size, old.Root, v.Root, proof))
	}
	k.seen = append(k.seen, v.Checkpoint)
}

// checkAcknowledged reads the whole log and finds in it all that was
// acknowledged.
func (k *killed) checkAcknowledged() {
	k.Helper()
	size := k.seen[len(k.seen)-1].Size
	found := 0
	for n := int64(0); n*tile.Width < size; n++ {
		t := tile.Tile{Level: tile.Entries, N: n, W: tile.WidthAt(tile.Entries, n, size)}
		entries, err := tile.SplitBundle(k.get("/"+t.Path()), t.W)
		k.must(err)
		for i, leaf := range entries {
			index := n*tile.Width + int64(i)
			want, ok := k.acknowledged[index]
			if !ok {
				continue
			}
			if entry.LeafHash(leaf) != want {
				k.Errorf("leaf %d is another one than was acknowledged", index)
			}
			found++
		}
	}
	if found != len(k.acknowledged) {
		k.Errorf("%d events were acknowledged, %d are in the log of %d leaves", len(k.acknowledged), found, size)
	}
	if k.accepted == 0 || len(k.acknowledged) < kills {
		k.Errorf("only %d events were acknowledged, %d by 202: the load never came about", len(k.acknowledged), k.accepted)
	}
	k.Logf("%d leaves, %d acknowledged, %d of them by 202", size, len(k.acknowledged), k.accepted)
}
