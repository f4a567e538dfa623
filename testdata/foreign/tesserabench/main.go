// Command tesserabench measures Tessera's POSIX driver, or serves it, with options that the caller chooses.
//
//	tesserabench append --dir DIR --entries N [--size BYTES] [--outstanding N] [options]
//	tesserabench lone   --dir DIR --entries N [--size BYTES] [options]
//	tesserabench serve  --dir DIR --listen-file FILE [options]
//
// append adds random entries with so many outstanding, lone one after another; both print one JSON object, with CPU
// seconds (user and system) of this process from the first entry until it had nothing more to do. serve answers
// POST /add and GET as Tessera's own conformance server does, which cannot be told its batching.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	antispam "github.com/transparency-dev/tessera/storage/posix/antispam"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tesserabench: FAILED:", err)
		os.Exit(1)
	}
}

// bench is a log and what is measured of it.
type bench struct {
	dir                          string
	entries, size, outstanding   int
	batch                        uint
	age, checkpoint              time.Duration
	antispam                     bool
	antispamBatch, antispamBound uint
	listenFile, profile          string

	appender *tessera.Appender
	reader   tessera.LogReader
	shutdown func(context.Context) error
}

func run(args []string) (err error) {
	if len(args) == 0 {
		return errors.New("give append, lone or serve")
	}
	var b bench
	fs := flag.NewFlagSet(args[0], flag.ContinueOnError)
	fs.StringVar(&b.dir, "dir", "", "the log's directory, made when absent")
	fs.IntVar(&b.entries, "entries", 10000, "how many entries to add")
	fs.IntVar(&b.size, "size", 600, "bytes of an entry")
	fs.IntVar(&b.outstanding, "outstanding", 4096, "entries that were added and have no index yet, at most")
	fs.UintVar(&b.batch, "batch", 2048, "entries that are integrated at once")
	fs.DurationVar(&b.age, "age", 10*time.Millisecond, "how long an entry waits for others at most")
	fs.DurationVar(&b.checkpoint, "checkpoint", time.Second, "least time between two checkpoints, at least 100ms")
	fs.BoolVar(&b.antispam, "antispam", false, "keep the index that finds duplicates")
	fs.UintVar(&b.antispamBatch, "antispam-batch", antispam.DefaultMaxBatchSize, "entries that are indexed at once")
	fs.UintVar(&b.antispamBound, "antispam-bound", antispam.DefaultPushbackThreshold, "how far the index may be behind")
	fs.StringVar(&b.listenFile, "listen-file", "", "file into which serve writes its address")
	fs.StringVar(&b.profile, "cpuprofile", "", "file for a CPU profile")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	ctx := context.Background()
	if err := b.open(ctx); err != nil {
		return err
	}
	if b.profile != "" {
		f, err := os.Create(b.profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	switch args[0] {
	case "append":
		return b.append(ctx)
	case "lone":
		return b.lone(ctx)
	case "serve":
		return b.serve()
	default:
		return fmt.Errorf("unknown command %q: give append, lone or serve", args[0])
	}
}

func (b *bench) open(ctx context.Context) error {
	skey, _, err := note.GenerateKey(rand.Reader, "tessera.example/bench")
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return err
	}
	driver, err := posix.New(ctx, posix.Config{Path: b.dir})
	if err != nil {
		return err
	}
	opts := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithBatching(b.batch, b.age).
		WithCheckpointInterval(b.checkpoint).
		WithPushback(uint(4 * b.outstanding))
	if b.antispam {
		as, err := antispam.NewAntispam(ctx, filepath.Join(b.dir, ".state", "antispam"),
			antispam.AntispamOpts{MaxBatchSize: b.antispamBatch, PushbackThreshold: b.antispamBound})
		if err != nil {
			return err
		}
		opts.WithAntispam(tessera.DefaultAntispamInMemorySize, as)
	}
	b.appender, b.shutdown, b.reader, err = tessera.NewAppender(ctx, driver, opts)
	return err
}

// payloads are made before the clock runs.
func (b *bench) payloads() [][]byte {
	chacha := mathrand.NewChaCha8([32]byte{byte(os.Getpid()), byte(os.Getpid() >> 8)})
	payloads := make([][]byte, b.entries)
	for i := range payloads {
		payloads[i] = make([]byte, b.size)
		_, _ = chacha.Read(payloads[i]) // never fails
	}
	return payloads
}

// add asks again as long as the log says that it is too busy, as a client would.
func (b *bench) add(ctx context.Context, payload []byte) (tessera.Index, error) {
	for {
		index, err := b.appender.Add(ctx, tessera.NewEntry(payload))()
		if !errors.Is(err, tessera.ErrPushback) {
			return index, err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (b *bench) append(ctx context.Context) error {
	payloads := b.payloads()
	cpu, start := cpuSeconds(), time.Now()
	next, failed := make(chan []byte), make(chan error, b.outstanding)
	for range b.outstanding {
		go func() {
			for p := range next {
				if _, err := b.add(ctx, p); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for _, p := range payloads {
		next <- p
	}
	close(next)
	for range b.outstanding {
		if err := <-failed; err != nil {
			return err
		}
	}
	took := time.Since(start).Seconds()
	settled := took + settle()
	return json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"entries": float64(b.entries), "seconds": took, "settled": settled, "cpu": cpuSeconds() - cpu})
}

// lone measures each entry until it is integrated and synced, and until a checkpoint covers it.
func (b *bench) lone(ctx context.Context) error {
	await := tessera.NewPublicationAwaiter(ctx, b.reader.ReadCheckpoint, time.Millisecond)
	var durable, published []float64
	for _, p := range b.payloads() {
		start := time.Now()
		index, err := b.add(ctx, p)
		if err != nil {
			return err
		}
		durable = append(durable, time.Since(start).Seconds())
		if _, _, err := await.Await(ctx, func() (tessera.Index, error) { return index, nil }); err != nil {
			return err
		}
		published = append(published, time.Since(start).Seconds())
	}
	return json.NewEncoder(os.Stdout).Encode(map[string][]float64{"durable": durable, "published": published})
}

// serve is the handler of Tessera's cmd/conformance/posix.
func (b *bench) serve() error {
	http.HandleFunc("POST /add", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		index, err := b.appender.Add(r.Context(), tessera.NewEntry(body))()
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(err.Error()))
			return
		}
		_, _ = fmt.Fprintf(w, "%d", index.Index)
	})
	files := http.FileServer(http.Dir(b.dir))
	http.Handle("GET /checkpoint", files)
	http.Handle("GET /tile/", files)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.listenFile, []byte(l.Addr().String()+"\n"), 0o600); err != nil {
		return err
	}
	return http.Serve(l, nil)
}

// cpuSeconds is what this process has used.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// settle waits until this process does nothing any more but wake now and then, and returns for how many seconds it
// did something: work that was put off is part of the cost.
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
