//go:build e2e && linux

package torture_test

import (
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/conformance"
)

// probe is another log of the witness, which also sends it a fork of itself.
type probe struct {
	w   *world
	log *conformance.Log

	mu    sync.Mutex
	acked int64 // largest size that the witness cosigned
	bad   []string
}

const probeLeaves = 1 << 13

func newProbe(w *world) *probe {
	w.Helper()
	s, err := checkpoint.GenerateSigner("probe.example.org", checkpoint.AlgEd25519, crand.Reader)
	w.must(err)
	p := &probe{w: w, log: conformance.NewLog(s)}
	p.log.Grow(probeLeaves)
	w.run(w.bin("escortwitness"), "add-log", "--data", w.data("witness"), s.VKey())
	return p
}

// load asks for growth, repetitions and forks until stop is called.
func (p *probe) load() (stop func()) {
	ctx, cancel := context.WithCancel(p.w.Context())
	var wg sync.WaitGroup
	url := p.w.witness.url
	for range 2 {
		random := rand.New(rand.NewPCG(p.w.random.Uint64(), 1))
		wg.Go(func() {
			size := p.size()
			for ctx.Err() == nil {
				var goOn bool
				if size, goOn = p.step(ctx, url, size, random); !goOn {
					return
				}
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

func (p *probe) size() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked
}

func (p *probe) problem(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bad = append(p.bad, fmt.Sprintf(format, args...))
}

// step sends one request from a size that the sender believes in and returns the
// one it believes in afterwards.
func (p *probe) step(ctx context.Context, url string, size int64, random *rand.Rand) (int64, bool) {
	before := p.size()
	next := min(size+random.Int64N(3), probeLeaves)
	view, fork := p.log.Honest(), size > 0 && random.IntN(5) == 0
	if fork {
		view = p.log.Forked()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/add-checkpoint", strings.NewReader(view.Request(size, next)))
	if err != nil {
		return 0, false
	}
	resp, err := p.w.client.Do(req)
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, false
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if fork || next < before {
			p.problem("size %d was cosigned after %d, as a fork: %v", next, before, fork)
		}
		p.mu.Lock()
		p.acked = max(p.acked, next)
		p.mu.Unlock()
		return next, true
	case http.StatusConflict:
		if n, err := strconv.ParseInt(strings.TrimSpace(string(answer)), 10, 64); err == nil {
			if n < before {
				p.problem("it knows size %d after it cosigned %d", n, before)
			}
			return n, true
		}
		if !fork { // another root of the same size
			p.problem("409 %s", answer)
		}
		return size, true
	case http.StatusUnprocessableEntity:
		if !fork {
			p.problem("an honest step from %d to %d is refused: %s", size, next, answer)
		}
		return size, true
	default:
		return 0, false // broken, or ending: nothing is promised
	}
}

// check compares what the witness remembers with what it has cosigned.
func (p *probe) check() {
	w := p.w
	w.Helper()
	for _, b := range p.bad {
		w.Error(b)
	}
	resp, err := w.client.Get(fmt.Sprintf("%s/%x/checkpoint", w.witness.url, sha256.Sum256([]byte(p.log.Origin))))
	w.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	w.must(err)
	if resp.StatusCode == http.StatusNotFound && p.acked == 0 {
		return
	}
	text, sigs, err := checkpoint.ParseNote(body)
	w.must(err)
	_, err = checkpoint.Verify(text, sigs, w.vkeys...)
	w.must(err)
	c, err := checkpoint.Parse(text)
	w.must(err)
	if c.Size < p.acked {
		w.Errorf("the witness cosigned size %d and remembers %d", p.acked, c.Size)
	}
	if c.Root != p.log.Honest().Hash(0, c.Size) {
		w.Errorf("the witness remembers a fork of size %d", c.Size)
	}
}
