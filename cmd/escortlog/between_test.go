package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/rogpeppe/go-internal/testscript"
)

// between stands between a client and a log, and adds a witness's cosignature to the
// checkpoints.
type between struct {
	witness   *checkpoint.Signer
	after     string      // what happens once an event is submitted
	block     string      // where something comes to stand then
	submitted atomic.Bool // an event was
}

// scriptBetween starts one at $VIA and writes cosigned.txt, a policy that wants its
// witness: between stop|cut|block [FILE]
//
// Once an event is submitted the witness stops; or every answer is cut off; or the
// witness goes on, and a folder that no file can replace comes to stand at FILE.
func scriptBetween(ts *testscript.TestScript, _ bool, args []string) {
	target, err := url.Parse(ts.Getenv("LOG"))
	ts.Check(err)
	b := &between{after: args[0]}
	if b.after == "block" {
		b.block = ts.MkAbs(args[1])
	}
	b.witness, err = checkpoint.GenerateSigner("witness.example.org/between", checkpoint.AlgCosignEd25519, rand.NewChaCha8([32]byte{7}))
	ts.Check(err)
	policy := strings.TrimSuffix(ts.ReadFile("policy.txt"), "quorum none\n") + "witness w " + b.witness.VKey() + "\nquorum w\n"
	ts.Check(os.WriteFile(ts.MkAbs("cosigned.txt"), []byte(policy), 0o644))
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = b.cosign
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Accept-Encoding")
		into := w
		if r.Method == http.MethodPost {
			b.submitted.Store(true)
			if b.block != "" {
				_ = os.MkdirAll(filepath.Join(b.block, "inside"), 0o755) // the script sees where it is not there
			}
		}
		if b.after == "cut" && b.submitted.Load() {
			into = httptest.NewRecorder() // the log hears it, and nobody the log
			defer panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(into, r)
	}))
	ts.Defer(server.Close)
	ts.Setenv("VIA", server.URL)
}

// cosign adds the witness's line to an answer that ends with a checkpoint.
func (b *between) cosign(r *http.Response) error {
	path := r.Request.URL.Path
	ends := path == "/checkpoint" || strings.HasSuffix(path, "/proof")
	if !ends || r.StatusCode != http.StatusOK || b.submitted.Load() && b.after != "block" {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	note := body
	if path != "/checkpoint" {
		p, err := checkpoint.ParseProof(body)
		if err != nil {
			return err
		}
		note = p.Checkpoint
	}
	text, _, err := checkpoint.ParseNote(note)
	if err != nil {
		return err
	}
	line, err := b.witness.Sign(text, time.Now().Unix())
	if err != nil {
		return err
	}
	body = append(body, line...)
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	r.Header.Del("Content-Length")
	return nil
}
