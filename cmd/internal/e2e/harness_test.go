//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every single wait for something that happens within seconds on an idle machine.
const patience = 180 * time.Second

// bin is the folder that TestMain builds all programs into.
var bin string

// root is the repository, seen from this package's folder, where its tests run.
const root = "../../.."

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child(os.Args[1:]))
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "e2e-bin-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin = dir
		return m.Run()
	}())
}

// buildOurs and buildForeign build the programs of this module and of the foreign one, each once and when first
// needed; of the foreign module's dependencies two are programs themselves.
var (
	buildOurs = sync.OnceValue(func() error {
		return build(root, "./cmd/...")
	})
	buildForeign = sync.OnceValue(func() error {
		return build(filepath.Join(root, "testdata/foreign"), "./...",
			"filippo.io/torchwood/cmd/litewitness", "github.com/transparency-dev/tessera/cmd/fsck")
	})
)

func build(dir string, packages ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-o", bin + "/"}, packages...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s in %s: %w\n%s", strings.Join(packages, " "), dir, err, out)
	}
	return nil
}

// built fails the test when the programs cannot be built.
func built(t testing.TB, builds ...func() error) {
	t.Helper()
	for _, b := range builds {
		if err := b(); err != nil {
			t.Fatal(err)
		}
	}
}

// output collects what a process prints; it is read while the process runs.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// command makes a command of one of the built programs, which dies with this test process however that ends.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// process is a program that was started and goes on running.
type process struct {
	name string
	out  output
	cmd  *exec.Cmd
	done chan struct{} // closed when the program has ended
}

// start starts a program in dir. At the end of the test it is asked to end, then killed, and what it printed is
// shown if the test failed.
func start(t testing.TB, dir, name string, args ...string) *process {
	t.Helper()
	cmd := command(context.Background(), name, args...)
	cmd.Dir = dir
	return startCommand(t, name, cmd)
}

// startCommand is start for a command that was made already.
func startCommand(t testing.TB, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended matters only to those who wait for something it should have done before
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", strings.Join(cmd.Args, " "), tail(p.out.String()))
		}
	})
	return p
}

// stop ends the program, with force if it does not end when asked.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// await calls ready every few milliseconds until it reports true. It fails the test when that does not happen in
// time, or when the program ends first.
func (p *process) await(t testing.TB, what string, ready func() bool) {
	t.Helper()
	if err := p.wait(what, ready); err != nil {
		t.Fatal(err)
	}
}

func (p *process) wait(what string, ready func() bool) error {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if ready() {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before %s; it printed:\n%s", p.name, what, tail(p.out.String()))
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s: no sign of %s in %v; it printed:\n%s", p.name, what, patience, tail(p.out.String()))
}

// tail is the end of a long output, with its long lines (an ML-DSA key takes 1,800 characters) cut.
func tail(s string) string {
	const most, width = 200, 400
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > most {
		lines = append([]string{"…"}, lines[len(lines)-most:]...)
	}
	for i, l := range lines {
		if len(l) > width {
			lines[i] = l[:width] + "…"
		}
	}
	return strings.Join(lines, "\n")
}

// try runs a program to its end and returns its standard output, everything it printed, and its exit code.
func try(t testing.TB, stdin, name string, args ...string) (stdout, all string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := command(ctx, name, args...)
	var out, both output
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Stdout, cmd.Stderr = writers{&out, &both}, &both
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s %s: %v (%v)\n%s", name, strings.Join(args, " "), err, ctx.Err(), tail(both.String()))
	}
	return out.String(), both.String(), cmd.ProcessState.ExitCode()
}

// writers writes to all of them.
type writers []*output

func (w writers) Write(p []byte) (int, error) {
	for _, o := range w {
		_, _ = o.Write(p) // memory takes everything
	}
	return len(p), nil
}

// must runs a program that has to succeed and returns its standard output.
func must(t testing.TB, name string, args ...string) string {
	t.Helper()
	return mustWith(t, "", name, args...)
}

// mustWith is must with something on standard input.
func mustWith(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	stdout, all, code := try(t, stdin, name, args...)
	if code != 0 {
		t.Fatalf("%s %s: exit code %d\n%s", name, strings.Join(args, " "), code, tail(all))
	}
	return stdout
}

// serving waits for the file in which a server leaves the address it listens on, and returns its URL.
func serving(t testing.TB, p *process, listenFile string) string {
	t.Helper()
	var addr string
	p.await(t, "its address in "+listenFile, func() bool {
		b, err := os.ReadFile(listenFile)
		// The line is whole when its end is there.
		addr, _ = strings.CutSuffix(string(b), "\n")
		return err == nil && strings.HasSuffix(string(b), "\n")
	})
	if !strings.HasPrefix(addr, "127.0.0.1:") {
		t.Fatalf("%s listens on %q, not on loopback", p.name, addr)
	}
	p.await(t, "an answer on "+addr, func() bool {
		resp, err := http.Get("http://" + addr + "/healthz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return "http://" + addr
}

// freePort is a loopback address that nobody listened on a moment ago, for programs that cannot say which they got.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// write puts text into a new file of the test's own folder and returns its path.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// read is a file's text without the space around it.
func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}
