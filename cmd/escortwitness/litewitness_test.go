//go:build e2e

package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/conformance"
)

// said collects what a process prints; it is read while the process runs.
type said struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// background starts a program that runs until the test ends.
func background(t testing.TB, dir, name string, args ...string) *said {
	t.Helper()
	cmd, out := exec.Command(name, args...), &said{}
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return out
}

// await waits until a pattern is there and returns its first group.
func await(t testing.TB, out *said, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if m := re.FindStringSubmatch(out.String()); m != nil {
			return m[1]
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not say %s:\n%s", pattern, out)
		}
	}
}

// litewitness is a running witness of somebody else's making.
type litewitness struct {
	bin, dir, url, vkey string
}

// startLitewitness builds and starts litewitness.
func startLitewitness(t testing.TB) *litewitness {
	t.Helper()
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin+"/", "./litehost", "filippo.io/torchwood/cmd/litewitness")
	build.Dir = filepath.Join("..", "..", "testdata", "foreign")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir := t.TempDir()
	// Names relative to the folder: the path of a unix socket must be short.
	fingerprint := await(t, background(t, dir, filepath.Join(bin, "litehost"), "agent", "--socket", "agent"), `(SHA256:\S+)`)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	out := background(t, dir, filepath.Join(bin, "litewitness"), "-name", "lite.example/witness", "-db", "lite.db", "-ssh-agent", "agent", "-key", fingerprint, "-listen", address)
	vkey := await(t, out, `vkey="?([^" \n]+)`)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get("http://" + address + "/")
		if err == nil {
			_ = resp.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return &litewitness{bin, dir, "http://" + address, vkey}
}

// add lets it cosign a log. litehost gives a log one key.
func (w *litewitness) add(t testing.TB, vkey string) {
	t.Helper()
	add := exec.Command(filepath.Join(w.bin, "litehost"), "add-log", "--db", "lite.db", "--vkey", vkey)
	add.Dir = w.dir
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestE2EConformanceOfLitewitness: the suite runs on somebody else's witness and finds where
// it departs from the text, and only there.
func TestE2EConformanceOfLitewitness(t *testing.T) {
	keys, err := conformance.GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	lite := startLitewitness(t)
	for _, log := range []*conformance.Log{keys.Main, keys.Two, keys.Fresh, keys.Long} {
		lite.add(t, log.Signers[0].VKey()) // so the checks of two trusted keys mean nothing here
	}
	v, err := checkpoint.ParseVKey(lite.vkey)
	if err != nil {
		t.Fatal(err)
	}
	verdicts := map[string]conformance.Verdict{}
	_, err = conformance.Run(t.Context(), conformance.Config{URL: lite.url, Keys: keys, Witness: []*checkpoint.Verifier{v}}, func(r conformance.Result) {
		verdicts[r.ID] = r.Verdict
	})
	if err != nil {
		t.Fatal(err)
	}
	known := strings.Fields(`size-zero-root first-contact-proof sixteen-signatures broken-after-good old-leading-zero old-plus
		no-last-newline note-control-character note-not-utf8 checkpoint-size-leading-zero checkpoint-short-root checkpoint-two-lines
		checkpoint-empty-extension oversized-body monitor ml-dsa`)
	for _, id := range known {
		if verdicts[id] != conformance.Fail {
			t.Errorf("%s: %s, though it does depart there", id, verdicts[id])
		}
	}
	for _, id := range strings.Fields(`success signature-lines timestamp repeat extension-lines unknown-signatures no-trusted-signature
		broken-signature old-larger-than-size conflict conflict-content-type wrong-proof fork fork-of-same-size atomic long-origin`) {
		if verdicts[id] != conformance.Pass {
			t.Errorf("%s: %s, though it does that right", id, verdicts[id])
		}
	}
	count := map[conformance.Verdict]int{}
	for _, v := range verdicts {
		count[v]++
	}
	t.Log(fmt.Sprint(count))
}
