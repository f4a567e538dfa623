//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/storage/badger"
)

// buildPeers builds what is compared, and no more: linking is slow.
var buildPeers = sync.OnceValue(func() error {
	return errors.Join(build(root, "./cmd/escortlogd", "./cmd/escortlog"),
		build(filepath.Join(root, "testdata/foreign"), "./tesserabench", "./tessera",
			"github.com/transparency-dev/tessera/cmd/fsck", "github.com/transparency-dev/tessera/cmd/conformance/posix"))
})

// childEnv makes the test binary the other program of a comparison: the log in process, in a process of its own, so
// that CPU time is counted as for a foreign program, and so that it can be killed.
const childEnv = "ESCORTLOG_PEER_CHILD"

// profileEnv names a directory into which children write CPU profiles.
const profileEnv = "ESCORTLOG_PEER_PROFILE"

// filler appends events to the log that escortlogd init made, without the door.
type filler struct {
	data                 string
	entries, outstanding int
	every                int
	lone, realistic      bool
	settle, stay         bool
	reclaim              bool
	profile              string
}

// filled is what a filler prints, as one JSON object.
type filled struct {
	Entries float64   `json:"entries"`
	Seconds float64   `json:"seconds"` // until the last entry was durable
	Settled float64   `json:"settled"` // until nothing was left to do, such as compressing bundles
	CPU     float64   `json:"cpu"`     // seconds, user and system, until settled
	Bytes   float64   `json:"bytes"`   // of all leaves
	Every   []float64 `json:"every"`   // seconds of each so many entries

	Durable, Published []float64 // seconds of each entry, one after another
}

func child(args []string) int {
	var f filler
	fs := flag.NewFlagSet("child", flag.ContinueOnError)
	fs.StringVar(&f.data, "data", "", "directory that escortlogd init made")
	fs.IntVar(&f.entries, "entries", 0, "how many entries")
	fs.IntVar(&f.outstanding, "outstanding", 4096, "entries that are not durable yet, at most")
	fs.IntVar(&f.every, "every", 0, "also time each so many entries")
	fs.BoolVar(&f.lone, "lone", false, "one entry after another")
	fs.BoolVar(&f.realistic, "realistic", false, "events of escorted work instead of events of 600 bytes")
	fs.BoolVar(&f.settle, "settle", true, "wait until nothing is left to do")
	fs.BoolVar(&f.reclaim, "reclaim", false, "have the store give back what it can afterwards")
	fs.BoolVar(&f.stay, "stay", false, "stay afterwards, to be killed")
	fs.StringVar(&f.profile, "cpuprofile", "", "file for a CPU profile")
	err := fs.Parse(args)
	if err == nil {
		err = f.run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "child: FAILED:", err)
		return 1
	}
	return 0
}

// run opens the log as escortlogd serve does.
func (f *filler) run(ctx context.Context) (err error) {
	var signers []*checkpoint.Signer
	for _, name := range []string{"ed25519.skey", "mldsa44.skey"} {
		text, err := os.ReadFile(filepath.Join(f.data, "keys", name))
		if err != nil {
			return err
		}
		s, err := checkpoint.ParseSKey(strings.TrimSpace(string(text)))
		if err != nil {
			return err
		}
		signers = append(signers, s)
	}
	origin := signers[0].Verifier().Name()
	guard, err := log.OpenGuard(filepath.Join(f.data, "guard"), f.data, origin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, guard.Close()) }()
	store, err := badger.Open(filepath.Join(f.data, "db"), badger.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	l, err := log.Open(ctx, log.Config{
		Origin: origin, Store: store, Guard: guard, Signers: signers, PoolEntries: 1 << 16, PoolBytes: 256 << 20})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	next, err := f.events(l)
	if err != nil {
		return err
	}
	if f.profile != "" {
		file, err := os.Create(f.profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var r filled
	if f.lone {
		err = f.loneAppends(ctx, l, next, &r)
	} else {
		err = f.appends(ctx, l, next, &r)
	}
	if err != nil {
		return err
	}
	if f.reclaim {
		if err := store.Reclaim(ctx); err != nil {
			return err
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return err
	}
	if f.stay {
		select {}
	}
	return nil
}

// events returns what makes the next event.
func (f *filler) events(l *log.Log) (func() (*log.Submission, error), error) {
	decided := l.AuthorityCovered()
	var source interface {
		submission() (*log.Submission, error)
	}
	var err error
	if f.realistic {
		source, err = newRealistic()
	} else {
		source, err = newMaker(unsignedSource, leafSize-overhead)
	}
	if err != nil {
		return nil, err
	}
	return func() (*log.Submission, error) {
		s, err := source.submission()
		if err == nil {
			s.Decided = decided
		}
		return s, err
	}, nil
}

// appends adds entries as fast as the log takes them. Making them is part of it, as it is for a door.
func (f *filler) appends(ctx context.Context, l *log.Log, next func() (*log.Submission, error), r *filled) error {
	cpu, start := cpuSeconds(), time.Now()
	outstanding := make(chan *log.Pending, f.outstanding)
	var failed error
	var wait sync.WaitGroup
	wait.Go(func() {
		last, n := start, 0
		for p := range outstanding {
			if _, err := p.Wait(ctx); err != nil {
				failed = err // the others fail too
			}
			if n++; f.every > 0 && n%f.every == 0 {
				r.Every = append(r.Every, time.Since(last).Seconds())
				last = time.Now()
			}
		}
	})
	var err error
	for range f.entries {
		var s *log.Submission
		if s, err = next(); err != nil {
			break
		}
		var p *log.Pending
		if p, err = l.Add(s); err != nil {
			break
		}
		r.Bytes += float64(len(s.Leaf))
		outstanding <- p
	}
	close(outstanding)
	wait.Wait()
	r.Entries, r.Seconds = float64(f.entries), time.Since(start).Seconds()
	r.Settled = r.Seconds
	if f.settle {
		r.Settled += settle()
	}
	r.CPU = cpuSeconds() - cpu
	return errors.Join(err, failed)
}

// loneAppends measures each entry until it is durable and guarded, and until a checkpoint covers it.
func (f *filler) loneAppends(ctx context.Context, l *log.Log, next func() (*log.Submission, error), r *filled) error {
	for range f.entries {
		s, err := next()
		if err != nil {
			return err
		}
		start := time.Now()
		p, err := l.Add(s)
		if err != nil {
			return err
		}
		pos, err := p.Wait(ctx)
		if err != nil {
			return err
		}
		r.Durable = append(r.Durable, time.Since(start).Seconds())
		if _, err := l.WaitPublished(ctx, pos.Index+1); err != nil {
			return err
		}
		r.Published = append(r.Published, time.Since(start).Seconds())
	}
	return nil
}

// cpuSeconds is what this process has used, user and system.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// settle waits until this process does nothing any more but wake now and then, and returns for how many seconds it
// did something: work that was put off is part of the cost. testdata/foreign/tesserabench does the same.
func settle() float64 {
	const window, idle = 1500 * time.Millisecond, 0.02
	start := time.Now()
	for time.Since(start) < 5*time.Minute {
		before := cpuSeconds()
		time.Sleep(window)
		if cpuSeconds()-before < idle {
			return (time.Since(start) - window).Seconds()
		}
	}
	return time.Since(start).Seconds()
}

// runJSON runs a program to its end and reads the JSON object that it prints.
func runJSON(b *testing.B, cmd *exec.Cmd, into any) {
	b.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, tail(stderr.String()))
	}
	if err := json.Unmarshal(out, into); err != nil {
		b.Fatalf("%s printed %q: %v", strings.Join(cmd.Args, " "), out, err)
	}
}

var profiles int

// profiled adds the flag for a profile, when one was asked for.
func profiled(name string, args []string) []string {
	if dir := os.Getenv(profileEnv); dir != "" {
		profiles++
		args = append(args, "--cpuprofile", filepath.Join(dir, fmt.Sprintf("%s-%d.pprof", name, profiles)))
	}
	return args
}

// fillCommand is the command that appends to the log in dir.
func fillCommand(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], profiled("ours", append([]string{"--data", dir}, args...))...)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func fill(b *testing.B, dir string, args ...string) (r filled) {
	b.Helper()
	runJSON(b, fillCommand(dir, args...), &r)
	return r
}

// tesserabench runs Tessera on a log in a new directory.
func tesserabench(b *testing.B, args ...string) (r filled) {
	b.Helper()
	dir := scratch(b)
	defer os.RemoveAll(dir)
	args = profiled("tessera", append(args, "--dir", filepath.Join(dir, "log")))
	runJSON(b, command(b.Context(), "tesserabench", args...), &r)
	return r
}

// newDir makes a log that takes unsigned events, in a new directory. It returns the log's verifier keys, too.
func newDir(b *testing.B) (dir string, vkeys []string) {
	b.Helper()
	dir = filepath.Join(scratch(b), "log")
	return dir, strings.Fields(must(b, "escortlogd", "init", "--data", dir, "--origin", "log.example/bench", "--allow-unsigned"))
}

// scratch is a new directory that lies where the benchmark's other files do.
func scratch(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp(b.TempDir(), "")
	if err != nil {
		b.Fatal(err)
	}
	return dir
}
