package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"golang.org/x/mod/sumdb/tlog"
)

const testOrigin = "log.example.org/test"

// fakeLog answers like a log, on a slice in memory, and lies where a test says.
type fakeLog struct {
	t       *testing.T
	url     string
	signer  *checkpoint.Signer
	witness *checkpoint.Signer
	rand    *rand.ChaCha8

	mu        sync.Mutex
	clock     int64
	leaves    [][]byte
	hashes    []tlog.Hash // stored hashes of x/mod's layout
	requests  [][]byte    // bodies of POST /v1/events
	types     []string    // their content types
	paths     []string    // of GET requests
	published bool        // answers carry proofs, and /proof has one
	cosigned  bool        // checkpoints carry the witness's cosignature

	// before answers a request in place of the log when it returns true.
	before func(w http.ResponseWriter, r *http.Request, body []byte) bool
	// judge refuses an element when it returns a problem.
	judge func(n int, body []byte) *Problem
	// alter changes an answer before it is sent.
	alter func(n int, a *entryAnswer)
	// altProof changes a proof that is asked for.
	altProof func(p *checkpoint.Proof)
	// serve changes a leaf that is asked for.
	serve func(leaf []byte) []byte
}

func newFakeLog(t *testing.T) *fakeLog {
	t.Helper()
	f := &fakeLog{t: t, clock: 1_750_000_000_000, published: true, rand: rand.NewChaCha8([32]byte{7})}
	var err error
	if f.signer, err = checkpoint.GenerateSigner(testOrigin, checkpoint.AlgEd25519, f.rand); err != nil {
		t.Fatal(err)
	}
	if f.witness, err = checkpoint.GenerateSigner("witness.example.org/w", checkpoint.AlgCosignEd25519, f.rand); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(f.handle))
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func (f *fakeLog) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = f.hashes[x]
	}
	return out, nil
}

func (f *fakeLog) append(leaf []byte) int64 {
	n := int64(len(f.leaves))
	f.leaves = append(f.leaves, leaf)
	stored, err := tlog.StoredHashesForRecordHash(n, entry.LeafHash(leaf), f)
	if err != nil {
		f.t.Error(err)
	}
	f.hashes = append(f.hashes, stored...)
	return n
}

func (f *fakeLog) find(payload []byte) int64 {
	for i, leaf := range f.leaves {
		if e, err := entry.Parse(leaf); err == nil && bytes.Equal(e.Payload, payload) {
			return int64(i)
		}
	}
	return -1
}

func (f *fakeLog) checkpoint() string {
	size := int64(len(f.leaves))
	root, err := tlog.TreeHash(size, f)
	if err != nil {
		f.t.Error(err)
	}
	text := checkpoint.Checkpoint{Origin: testOrigin, Size: size, Root: root}.Text()
	signers := []*checkpoint.Signer{f.signer}
	if f.cosigned {
		signers = append(signers, f.witness)
	}
	var lines [][]byte
	for _, s := range signers {
		line, err := s.Sign(text, f.clock/1000)
		if err != nil {
			f.t.Error(err)
		}
		lines = append(lines, line)
	}
	return string(checkpoint.Join(text, lines...))
}

func (f *fakeLog) proof(index int64) []tlog.Hash {
	p, err := tlog.ProveRecord(int64(len(f.leaves)), index, f)
	if err != nil {
		f.t.Error(err)
	}
	return p
}

func (f *fakeLog) handle(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method == http.MethodPost {
		f.requests = append(f.requests, body)
		f.types = append(f.types, r.Header.Get("Content-Type"))
	} else {
		f.paths = append(f.paths, r.URL.Path)
	}
	if f.before != nil && f.before(w, r, body) {
		return
	}
	var index int64
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/v1/events":
		f.post(w, r, body)
	case strings.HasSuffix(r.URL.Path, "/proof"):
		fmt.Sscanf(r.URL.Path, "/v1/entries/%d/proof", &index)
		if !f.published {
			sendProblem(w, Problem{Type: "urn:escortlog:problem:not-published", Status: 404})
			return
		}
		e, _ := entry.Parse(f.leaves[index])
		proof := checkpoint.Proof{Extra: checkpoint.LeafTimeExtra(e.Time), Index: index, Hashes: f.proof(index), Checkpoint: []byte(f.checkpoint())}
		if f.altProof != nil {
			f.altProof(&proof)
		}
		w.Write(proof.Marshal())
	case strings.HasPrefix(r.URL.Path, "/v1/entries/"):
		fmt.Sscanf(r.URL.Path, "/v1/entries/%d", &index)
		leaf := f.leaves[index]
		if f.serve != nil {
			leaf = f.serve(leaf)
		}
		w.Write(leaf)
	default:
		http.NotFound(w, r)
	}
}

func (f *fakeLog) post(w http.ResponseWriter, r *http.Request, body []byte) {
	var elements []json.RawMessage
	if err := json.Unmarshal(body, &elements); err != nil {
		sendProblem(w, Problem{Type: "urn:escortlog:problem:malformed-request", Status: 400})
		return
	}
	answers := make([]any, len(elements))
	for i, raw := range elements {
		if f.judge != nil {
			if p := f.judge(i, raw); p != nil {
				answers[i] = p
				continue
			}
		}
		v := &entry.Envelope{PayloadType: entry.PayloadType, Payload: raw}
		if strings.Contains(r.Header.Get("Content-Type"), "dsse") {
			var err error
			if v, err = entry.ParseEnvelope(raw); err != nil {
				f.t.Error(err)
			}
		}
		a := &entryAnswer{Status: http.StatusOK, Index: f.find(v.Payload)}
		if a.Index < 0 {
			f.clock += 3
			leaf, err := v.Entry(f.clock).Marshal()
			if err != nil {
				f.t.Error(err)
			}
			a.Status, a.Index = http.StatusCreated, f.append(leaf)
		}
		answers[i] = a
	}
	for i := range answers {
		if a, ok := answers[i].(*entryAnswer); ok {
			a.LeafHash = entry.LeafHash(f.leaves[a.Index])
			a.Time = entry.TimeOf(f.leaves[a.Index])
			if a.Proof = f.proof(a.Index); !f.published {
				a.Proof = nil
				if a.Status == http.StatusCreated {
					a.Status = http.StatusAccepted
				}
			}
			if f.alter != nil {
				f.alter(i, a)
			}
		}
	}
	answer := map[string]any{"entries": answers}
	if f.published {
		answer["checkpoint"] = f.checkpoint()
	}
	w.Header().Set("Content-Type", "application/json")
	if !f.published {
		w.WriteHeader(http.StatusAccepted)
	}
	json.NewEncoder(w).Encode(answer)
}

func sendProblem(w http.ResponseWriter, p Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}

// policy demands the fake log's key and its witness.
func (f *fakeLog) policy() *checkpoint.Policy {
	p, err := checkpoint.ParsePolicy([]byte("log " + f.signer.VKey() + "\nwitness w " + f.witness.VKey() + "\nquorum w\n"))
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

// submitter asks the fake log, with a clock that only sleeping moves.
func (f *fakeLog) submitter() *Submitter {
	now := time.UnixMilli(f.clock)
	return &Submitter{
		URL: f.url,
		now: func() time.Time { return now },
		sleep: func(ctx context.Context, d time.Duration) error {
			now = now.Add(d)
			return ctx.Err()
		},
	}
}

// testKey is a signing key that is the same in every run.
var testKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, 32))

// signed makes n signed envelopes. What they say is for other tests.
func signed(t *testing.T, n int) []*entry.Envelope {
	t.Helper()
	out := make([]*entry.Envelope, n)
	for i := range out {
		payload := fmt.Appendf(nil, `{"n":%d}`, i)
		sig, err := event.Sign(testKey, entry.PayloadType, payload)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = &entry.Envelope{PayloadType: entry.PayloadType, Payload: payload, Signatures: []entry.Signature{sig}}
	}
	return out
}
