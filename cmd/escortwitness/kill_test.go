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
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/conformance"
)

// binary builds the program as operators run it.
func binary(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "escortwitness")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// process is a running escortwitness serve.
type process struct {
	*exec.Cmd
	url string
	log *bytes.Buffer
}

func startServe(t testing.TB, bin, dir string) *process {
	t.Helper()
	addr := filepath.Join(dir, "addr")
	if err := os.Remove(addr); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(bin, "serve", "--data", dir, "--listen", "127.0.0.1:0", "--listen-file", addr, "--rate", "-1", "--log-level", "warn"), log: &bytes.Buffer{}}
	p.Stderr = p.log
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		if data, err := os.ReadFile(addr); err == nil {
			p.url = "http://" + strings.TrimSpace(string(data))
			return p
		}
		if time.Now().After(deadline) {
			_ = p.Process.Kill()
			_ = p.Wait()
			t.Fatalf("it does not start:\n%s", p.log)
		}
	}
}

// end sends a signal and waits.
func (p *process) end(t *testing.T, sig syscall.Signal) error {
	t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	return p.Wait()
}

// witnessed is what the outside world has seen of one log.
type witnessed struct {
	log *conformance.Log

	mu    sync.Mutex
	acked int64 // largest size that was answered with 200
	time  int64 // latest time in a cosignature
}

func (w *witnessed) seen() (int64, int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked, w.time
}

// TestE2EKill kills the witness at random moments under load. Afterwards it never
// answers with anything smaller than, or inconsistent with, what it had answered.
// ESCORTWITNESS_KILLS says how often; 50 by default.
func TestE2EKill(t *testing.T) {
	kills := 50
	if s := os.Getenv("ESCORTWITNESS_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := mathrand.New(mathrand.NewPCG(seed, 0))
	bin, dir := binary(t), filepath.Join(t.TempDir(), "w")
	out, err := exec.Command(bin, "init", "--data", dir, "--name", "witness.example/1").Output()
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
	var logs []*witnessed
	for i := range 6 {
		s, err := checkpoint.GenerateSigner(fmt.Sprintf("log.example/%d", i), checkpoint.AlgEd25519, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, &witnessed{log: conformance.NewLog(s)})
		logs[i].log.Grow(4096)
		if out, err := exec.Command(bin, "add-log", "--data", dir, s.VKey()).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for kill := range kills {
		p := startServe(t, bin, dir)
		for _, w := range logs {
			w.check(t, p.url, keys)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i, w := range logs {
			for j := range 2 {
				r := mathrand.New(mathrand.NewPCG(seed, uint64(kill*100+i*10+j+1)))
				wg.Go(func() { w.load(ctx, t, p.url, keys, r) })
			}
		}
		// The moment is what is random here: nothing is waited for.
		time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
		_ = p.end(t, syscall.SIGKILL)
		cancel()
		wg.Wait()
		if t.Failed() {
			t.Fatalf("after kill %d; the witness said:\n%s", kill, p.log)
		}
	}
	p := startServe(t, bin, dir)
	total := int64(0)
	for _, w := range logs {
		w.check(t, p.url, keys)
		total += w.acked
	}
	if total == 0 {
		t.Error("nothing was ever cosigned")
	}
	if err := p.end(t, syscall.SIGTERM); err != nil {
		t.Errorf("graceful end: %v\n%s", err, p.log)
	}
	t.Logf("%d kills, sizes of %d in all were cosigned", kills, total)
}

// send posts a request; status 0 says that there was no whole answer.
func send(ctx context.Context, url, body string) (status int, answer string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/add-checkpoint", strings.NewReader(body))
	if err != nil {
		return 0, ""
	}
	resp, err := http.DefaultClient.Do(req)
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

// load asks for growth, repetitions and forks until the witness is gone.
func (w *witnessed) load(ctx context.Context, t *testing.T, url string, keys []*checkpoint.Verifier, rng *mathrand.Rand) {
	size, _ := w.seen()
	for ctx.Err() == nil {
		before, beforeTime := w.seen() // answered before this request began
		next := min(size+rng.Int64N(3), 4000)
		view, fork := w.log.Honest(), size > 0 && rng.IntN(5) == 0
		if fork {
			view = w.log.Forked()
		}
		status, answer := send(ctx, url, view.Request(size, next))
		switch status {
		case 0:
			return
		case http.StatusOK:
			if fork {
				t.Errorf("a fork was cosigned at size %d", next)
				return
			}
			lines, err := checkpoint.ParseSignatureLines([]byte(answer))
			if err == nil {
				lines, err = checkpoint.Verify(view.Checkpoint(next).Text(), lines, keys...)
			}
			if err != nil || len(lines) != len(keys) {
				t.Errorf("%d of %d cosignatures: %v", len(lines), len(keys), err)
				return
			}
			if at := lines[0].Timestamp(); next < before || at < beforeTime {
				t.Errorf("cosigned size %d at %d after size %d at %d", next, at, before, beforeTime)
				return
			}
			w.mu.Lock()
			w.acked, w.time = max(w.acked, next), max(w.time, lines[0].Timestamp())
			w.mu.Unlock()
			size = next
		case http.StatusConflict:
			n, err := strconv.ParseInt(strings.TrimSpace(answer), 10, 64)
			if err != nil || n < before {
				t.Errorf("it knows size %q after it cosigned %d", answer, before)
				return
			}
			size = n
		case http.StatusUnprocessableEntity:
			if !fork {
				t.Errorf("an honest step from %d to %d is refused: %s", size, next, answer)
				return
			}
		default:
			t.Errorf("answered %d: %s", status, answer)
			return
		}
	}
}

// check demands that a witness just started remembers at least what was answered, of
// the same history, and still refuses another.
func (w *witnessed) check(t *testing.T, url string, keys []*checkpoint.Verifier) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	acked, _ := w.seen()
	status, answer := send(ctx, url, w.log.Forked().Request(4001, 4002))
	known, err := strconv.ParseInt(strings.TrimSpace(answer), 10, 64)
	if status != http.StatusConflict || err != nil {
		t.Fatalf("asked for its size, it answers %d: %s", status, answer)
	}
	if known < acked {
		t.Fatalf("it remembers size %d after it cosigned %d", known, acked)
	}
	if known == 0 {
		return
	}
	sum := sha256.Sum256([]byte(w.log.Origin))
	resp, err := http.Get(url + "/" + hex.EncodeToString(sum[:]) + "/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	note, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, sigs, err := checkpoint.ParseNote(note)
	if err != nil || text != w.log.Honest().Checkpoint(known).Text() {
		t.Fatalf("it remembers %q, %v", note, err)
	}
	if good, err := checkpoint.Verify(text, sigs, keys...); err != nil || len(good) != len(keys) {
		t.Fatalf("%d cosignatures on what it remembers: %v", len(good), err)
	}
	if status, answer := send(ctx, url, w.log.Forked().Request(known, known+1)); status != http.StatusUnprocessableEntity {
		t.Fatalf("a fork after the kill: %d %s", status, answer)
	}
}

// TestE2EHangup: SIGHUP reads the log list again, and nothing is interrupted.
func TestE2EHangup(t *testing.T) {
	bin, dir := binary(t), filepath.Join(t.TempDir(), "w")
	if out, err := exec.Command(bin, "init", "--data", dir, "--name", "witness.example/1").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := startServe(t, bin, dir)
	if err := os.WriteFile(filepath.Join(dir, "logs"), []byte("logs/v0\nvkey nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		resp, err := http.Get(p.url + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(body), "escortwitness_log_list_errors_total 1\n") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("SIGHUP does nothing")
		}
	}
	if err := p.end(t, syscall.SIGTERM); err != nil {
		t.Errorf("%v\n%s", err, p.log)
	}
	if !strings.Contains(p.log.String(), "stays in force") {
		t.Errorf("the broken list is not said:\n%s", p.log)
	}
}
