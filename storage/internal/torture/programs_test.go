//go:build e2e && linux

package torture_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/storage/internal/powerfs"
)

// patience is how long anything may take on a machine that does much else.
const patience = 2 * time.Minute

const (
	origin      = "log.example.org"
	witnessName = "witness.example.org/1"
)

// world is the disk, the programs on it, and what the outside has seen of them.
type world struct {
	*testing.T
	random *rand.Rand
	disk   *powerfs.FS
	dir    string // the mount
	aside  string // another disk: programs, policy, addresses
	client *http.Client

	policyText string // but for the witness's URL
	policy     *checkpoint.Policy
	witnessed  bool // the quorum is the witness
	vkeys      []*checkpoint.Verifier

	log, witness *process
	ledger       ledger
}

// number returns what a variable says, or the default.
func number(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	s := os.Getenv(variable)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// newWorld makes a log, and a witness for it, on a new disk.
func newWorld(t *testing.T, mode powerfs.Mode, witnessed bool) *world {
	t.Helper()
	seed := number(t, "ESCORTLOG_TORTURE_SEED", rand.Uint64())
	t.Logf("seed %d", seed)
	w := &world{
		T: t, random: rand.New(rand.NewPCG(seed, 0)), disk: powerfs.New(mode, seed), witnessed: witnessed,
		dir: t.TempDir(), aside: t.TempDir(),
		client: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 32}},
	}
	w.ledger.init()
	if err := w.disk.Mount(w.dir); errors.Is(err, powerfs.ErrUnavailable) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.disk.PowerOff() // or a process that waits for the disk cannot end
		w.kill()
		if err := w.disk.Unmount(); err != nil {
			t.Error(err)
		}
	})
	w.run("go", "build", "-o", w.aside, "github.com/escortlog/escortlog/cmd/escortlogd", "github.com/escortlog/escortlog/cmd/escortwitness")
	logKeys := strings.Fields(w.run(w.bin("escortlogd"), "init", "--data", w.data("log"), "--origin", origin, "--allow-unsigned"))
	w.policyText = "log " + logKeys[0] + "\nquorum none\n"
	w.setPolicy(w.policyText)
	if witnessed {
		keys := strings.Fields(w.run(w.bin("escortwitness"), "init", "--data", w.data("witness"), "--name", witnessName))
		w.run(w.bin("escortwitness"), append([]string{"add-log", "--data", w.data("witness")}, logKeys...)...)
		w.policyText = "log " + logKeys[0] + "\nwitness w " + keys[0] + " URL\nquorum w\n"
		for _, k := range keys {
			v, err := checkpoint.ParseVKey(k)
			w.must(err)
			w.vkeys = append(w.vkeys, v)
		}
	}
	return w
}

func (w *world) bin(name string) string  { return filepath.Join(w.aside, name) }
func (w *world) data(name string) string { return filepath.Join(w.dir, name) }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// run runs a command that must succeed and returns its standard output.
func (w *world) run(name string, args ...string) string {
	w.Helper()
	cmd := exec.Command(name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		w.Fatalf("%s %v: %v\n%s%s", name, args, err, &stdout, &stderr)
	}
	return stdout.String()
}

// process is a running program.
type process struct {
	cmd   *exec.Cmd
	url   string
	said  *bytes.Buffer // only to be read after ended
	ended chan struct{} // closed when the process is gone
}

// start starts a program that serves and waits until it listens. It returns nil
// when the program ended first, with what it said, or the power went.
func (w *world) start(lost <-chan struct{}, name string, args ...string) (*process, string) {
	w.Helper()
	address := filepath.Join(w.aside, name+".listen")
	_ = os.Remove(address)
	p := &process{said: &bytes.Buffer{}, ended: make(chan struct{})}
	p.cmd = exec.Command(w.bin(name), append([]string{"serve", "--listen", "127.0.0.1:0", "--listen-file", address}, args...)...)
	p.cmd.Stderr = p.said
	w.must(p.cmd.Start())
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	deadline := time.After(patience)
	for {
		if text, err := os.ReadFile(address); err == nil {
			p.url = "http://" + strings.TrimSpace(string(text))
			return p, ""
		}
		select {
		case <-p.ended:
			return nil, p.said.String()
		case <-lost:
			w.disk.PowerOff()
			p.kill()
			return nil, "the power went"
		case <-deadline:
			w.disk.PowerOff()
			p.kill()
			w.Fatalf("%s does not start:\n%s", name, p.said)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (p *process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// kill kills the process. When the power has stopped, PowerOff comes before.
func (p *process) kill() {
	if p != nil {
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// kill kills all programs, as a power cut does.
func (w *world) kill() {
	for _, p := range []*process{w.log, w.witness} {
		if p != nil {
			_ = p.cmd.Process.Kill()
		}
	}
	w.log.kill()
	w.witness.kill()
	w.log, w.witness = nil, nil
	w.client.CloseIdleConnections()
}

// serve starts witness and log. It reports false when the power went meanwhile.
func (w *world) serve(lost <-chan struct{}) bool {
	w.Helper()
	text, said := w.policyText, ""
	if w.witnessed {
		if w.witness, said = w.start(lost, "escortwitness", w.serveWitness()...); w.witness == nil {
			return w.lost(lost, "escortwitness", said)
		}
		text = strings.Replace(text, "URL", w.witness.url, 1)
	}
	w.setPolicy(text)
	if w.log, said = w.start(lost, "escortlogd", w.serveLog()...); w.log == nil {
		return w.lost(lost, "escortlogd", said)
	}
	return true
}

func (w *world) mustServe() {
	w.Helper()
	if !w.serve(nil) {
		w.Fatal("it does not start")
	}
}

func (w *world) setPolicy(text string) {
	w.Helper()
	w.must(os.WriteFile(filepath.Join(w.aside, "policy"), []byte(text), 0o600))
	var err error
	w.policy, err = checkpoint.ParsePolicy([]byte(text))
	w.must(err)
}

func (w *world) serveLog() []string {
	return []string{"--data", w.data("log"), "--policy", filepath.Join(w.aside, "policy"), "--publish-every", "20ms", "--log-level", "warn"}
}

func (w *world) serveWitness() []string {
	return []string{"--data", w.data("witness"), "--rate", "-1", "--log-level", "warn"}
}

// lost tells an end for want of power, false, from one that is a failure.
func (w *world) lost(lost <-chan struct{}, name, said string) bool {
	w.Helper()
	select {
	case <-lost:
		return false
	default:
		w.Fatalf("%s does not start: %s", name, said)
		return false
	}
}

// cut ends everything and shows what is left.
func (w *world) cut() {
	w.Helper()
	w.kill()
	w.must(w.disk.Cut(w.random.Uint64()))
	w.must(w.disk.Mount(w.dir))
}

func (w *world) fsck() {
	w.Helper()
	if out := w.run(w.bin("escortlogd"), "fsck", "--data", w.data("log")); !strings.HasSuffix(out, "ok\n") {
		w.Fatalf("fsck: %s", out)
	}
}
