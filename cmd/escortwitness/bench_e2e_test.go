//go:build e2e

package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/conformance"
)

// A measurement lasts this long; all of them together are one run.
const measured = 3 * time.Second

// grower is a log's requests of add-checkpoint, made before the clock runs: each one leaf further, and then the
// last one again and again.
type grower struct {
	bodies []string
	next   int
}

// growers makes logs with that many steps each.
func growers(b *testing.B, prefix string, logs, steps int) (gs []*grower, vkeys []string) {
	b.Helper()
	for i := range logs {
		s, err := checkpoint.GenerateSigner(fmt.Sprintf("%s.example/%d", prefix, i), checkpoint.AlgEd25519, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		l := conformance.NewLog(s)
		l.Grow(int64(steps))
		g := &grower{}
		for size := range int64(steps) {
			g.bodies = append(g.bodies, l.Honest().Request(size, size+1))
		}
		g.bodies = append(g.bodies, l.Honest().Request(int64(steps), int64(steps)))
		gs, vkeys = append(gs, g), append(vkeys, s.VKey())
	}
	return gs, vkeys
}

// perSecond lets every worker ask for logs of its own in turn, and counts the answers of 200, which
// are all there may be.
func perSecond(b *testing.B, url string, workers int, gs []*grower) float64 {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}, Timeout: patience}
	defer client.CloseIdleConnections()
	var done atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for w := range workers {
		wg.Go(func() {
			for i := w; time.Since(start) < measured; i += workers {
				if i >= len(gs) {
					i = w
				}
				g := gs[i]
				resp, err := client.Post(url+"/add-checkpoint", "text/plain", strings.NewReader(g.bodies[g.next]))
				if err != nil {
					b.Error(err)
					return
				}
				answer, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Errorf("answered %s: %q, %v", resp.Status, answer, err)
					return
				}
				g.next = min(g.next+1, len(g.bodies)-1)
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(start).Seconds()
}

// repeat counts how often f runs in a second, one at a time.
func repeat(b *testing.B, f func() error) float64 {
	b.Helper()
	start, n := time.Now(), 0
	for ; time.Since(start) < measured; n++ {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
	return float64(n) / time.Since(start).Seconds()
}

// signing is how often these keys sign a checkpoint in a second, all of them each time.
func signing(b *testing.B, algs ...checkpoint.Algorithm) float64 {
	b.Helper()
	var signers []*checkpoint.Signer
	for _, alg := range algs {
		s, err := checkpoint.GenerateSigner("witness.example/1", alg, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		signers = append(signers, s)
	}
	text := conformance.NewLog(signers[0]).Honest().Checkpoint(5).Text()
	unix := int64(0)
	return repeat(b, func() error {
		unix++
		for _, s := range signers {
			if _, err := s.Sign(text, unix); err != nil {
				return err
			}
		}
		return nil
	})
}

// fsyncs is how often a record as long as a checkpoint with both cosignatures becomes durable in a second.
func fsyncs(b *testing.B) float64 {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "file"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	record := make([]byte, 3800)
	return repeat(b, func() error {
		if _, err := f.Write(record); err != nil {
			return err
		}
		return f.Sync()
	})
}

// BenchmarkE2EWitness: add-checkpoint requests a second over HTTP, ours with both keys, against what signing and fsync
// alone can do, against litewitness (Ed25519 only), and with one known log against 500. Everything runs on one
// machine in one run, the client too, so only the ratios mean something.
func BenchmarkE2EWitness(b *testing.B) {
	ed := signing(b, checkpoint.AlgCosignEd25519)
	ml := signing(b, checkpoint.AlgMLDSA44)
	both := signing(b, checkpoint.AlgCosignEd25519, checkpoint.AlgMLDSA44)
	disk := fsyncs(b)
	// What is possible for one request after another: sign with both keys, then wait for the disk.
	bound := 1 / (1/both + 1/disk)

	lite := startLitewitness(b)
	few, vkeys := growers(b, "lite", 64, 300)
	for _, v := range vkeys {
		lite.add(b, v)
	}
	liteOne := perSecond(b, lite.url, 1, few[:1])
	liteMany := perSecond(b, lite.url, 64, few)

	bin := binary(b)
	ours := func(known int) (*process, []*grower) {
		dir := filepath.Join(b.TempDir(), "w")
		if out, err := exec.Command(bin, "init", "--data", dir, "--name", "witness.example/1").CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		gs, vkeys := growers(b, "ours", known, max(20, 1500/known))
		var list strings.Builder
		list.WriteString("logs/v0\n")
		for _, v := range vkeys {
			list.WriteString("vkey " + v + "\n")
		}
		if err := os.WriteFile(filepath.Join(dir, "logs"), []byte(list.String()), 0o600); err != nil {
			b.Fatal(err)
		}
		p := startServe(b, bin, dir)
		b.Cleanup(func() {
			_ = p.Process.Kill()
			_ = p.Wait()
		})
		return p, gs
	}
	p, gs := ours(1)
	oursOne := perSecond(b, p.url, 1, gs)
	p, gs = ours(64)
	oursMany := perSecond(b, p.url, 64, gs)
	p, gs = ours(500)
	ours500 := perSecond(b, p.url, 1, gs)
	ours500Many := perSecond(b, p.url, 64, gs)

	var out strings.Builder
	row := func(what string, rate float64, ratios ...any) {
		fmt.Fprintf(&out, "\n%-52s %9.0f/s", what, rate)
		for i := 0; i+1 < len(ratios); i += 2 {
			fmt.Fprintf(&out, "  %.2f of %s", rate/ratios[i+1].(float64), ratios[i])
		}
	}
	row("signing, Ed25519", ed)
	row("signing, ML-DSA-44", ml)
	row("signing, both", both)
	row("fsync of a record", disk)
	row("both and an fsync, one after another", bound)
	row("litewitness, one log", liteOne)
	row("litewitness, 64 logs at once", liteMany)
	row("escortwitness, one log, both keys", oursOne, "the bound", bound, "litewitness", liteOne)
	row("escortwitness, 64 logs at once, both keys", oursMany, "signing", both, "litewitness", liteMany)
	row("escortwitness, 500 logs one after another", ours500, "one log", oursOne)
	row("escortwitness, 500 logs, 64 at once", ours500Many, "64 logs", oursMany)
	fmt.Println(out.String()) // b.Log would cut it
	b.ReportMetric(oursOne/bound, "ofbound")
	b.ReportMetric(oursMany/liteMany, "oflitewitness")
	b.ReportMetric(ours500/oursOne, "500logs/1log")
}
