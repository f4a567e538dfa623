//go:build e2e && linux

package torture_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
)

// ledger is what the log has told its clients.
type ledger struct {
	mu       sync.Mutex
	leaves   map[int64]tlog.Hash // acknowledged, by index
	accepted int                 // of them by 202
	next     int64               // one more than the largest index
	checked  int64               // all before were found after a cut

	roots    map[int64]tlog.Hash // of signed checkpoints, by size
	newest   checkpoint.Checkpoint
	fresh    []checkpoint.Checkpoint // not yet compared with the newest
	problems []string
}

func (l *ledger) init() {
	l.leaves, l.roots = make(map[int64]tlog.Hash), make(map[int64]tlog.Hash)
}

func (l *ledger) problem(format string, args ...any) {
	l.problems = append(l.problems, fmt.Sprintf(format, args...))
}

// saw notes a checkpoint that somebody got.
func (l *ledger) saw(c checkpoint.Checkpoint) {
	switch root, ok := l.roots[c.Size]; {
	case ok && root != c.Root:
		l.problem("FORK: two roots are signed for size %d", c.Size)
	case !ok:
		l.roots[c.Size] = c.Root
		l.fresh = append(l.fresh, c)
	}
}

// get returns the answer to a request that must succeed.
func (w *world) get(path string) []byte {
	w.Helper()
	status, body, err := w.try(path)
	w.must(err)
	if status != http.StatusOK {
		w.Fatalf("GET %s: %d %s", path, status, body)
	}
	return body
}

func (w *world) try(path string) (int, []byte, error) {
	resp, err := w.client.Get(w.log.url + path)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// load submits from several clients until stop is called.
func (w *world) load() (stop func()) {
	ctx, cancel := context.WithCancel(w.Context())
	var wg sync.WaitGroup
	url := w.log.url
	for i := range 8 {
		wg.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				if !w.submit(ctx, url, n) {
					return
				}
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// submit sends events in one of three ways: for a proof, without waiting, and a
// batch. It reports false when there was no whole answer.
func (w *world) submit(ctx context.Context, url string, n int) bool {
	body, contentType, prefer := payload(n), "application/cloudevents+json", ""
	switch n % 3 {
	case 1:
		prefer = "respond-async"
	case 2:
		contentType = "application/cloudevents-batch+json"
		batch := [][]byte{body, payload(1), payload(2), payload(3)}
		body = append(append([]byte{'['}, bytes.Join(batch, []byte{','})...), ']')
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/events", bytes.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", contentType)
	if prefer != "" {
		req.Header.Set("Prefer", prefer)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return false
	}
	w.note(resp.StatusCode, answer)
	return resp.StatusCode < 300
}

// payload is an event nobody has sent, of a size that also goes to the value log.
func payload(n int) []byte {
	var random [10]byte
	_, _ = rand.Read(random[:]) // it never fails
	now := time.Now()
	b, err := event.Build(event.Attributes{
		ID: event.NewUUIDv7(now.UnixMilli(), random), Source: "https://gateway.example.org", Type: event.Prefix + "session.paused.v1", Subject: "session/s-1", Time: now,
	}, map[string]any{"session_id": "s-1", "reason": strings.Repeat(rand.Text(), 1+n%7*10), "paused_by": nil})
	if err != nil {
		panic(err)
	}
	return b
}

// note keeps what an answer acknowledges, after verifying what it proves.
func (w *world) note(status int, answer []byte) {
	type acknowledged struct {
		Status     int
		Index      int64
		LeafHash   []byte
		Checkpoint string
		Proof      [][]byte
		Entries    []acknowledged
	}
	l := &w.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	var a acknowledged
	if err := json.Unmarshal(answer, &a); err != nil {
		l.problem("answer %d %s: %v", status, answer, err)
		return
	}
	if a.Entries == nil {
		a.Status = status
		a.Entries = []acknowledged{a}
	}
	for _, e := range a.Entries {
		switch e.Status {
		case http.StatusCreated, http.StatusOK:
			proof := checkpoint.Proof{Index: e.Index, Checkpoint: []byte(a.Checkpoint)}
			for _, h := range e.Proof {
				proof.Hashes = append(proof.Hashes, tlog.Hash(h))
			}
			v, err := proof.Verify(tlog.Hash(e.LeafHash), w.policy)
			if err != nil {
				l.problem("receipt of leaf %d: %v", e.Index, err)
				continue
			}
			l.saw(v.Checkpoint)
		case http.StatusAccepted:
			l.accepted++
		case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusInsufficientStorage:
			continue // nothing is promised
		default:
			l.problem("answer %d: %.300s", status, answer)
			continue
		}
		if h, ok := l.leaves[e.Index]; ok && h != tlog.Hash(e.LeafHash) {
			l.problem("index %d was given to two leaves", e.Index)
		}
		l.leaves[e.Index] = tlog.Hash(e.LeafHash)
		l.next = max(l.next, e.Index+1)
	}
}

// check compares what the log serves with what it has told. No load is running.
func (w *world) check() {
	w.Helper()
	l := &w.ledger
	published := w.published(max(l.next, l.newest.Size))
	l.saw(published)
	// The newest contains all before it, and is contained in the published one.
	for _, c := range append(l.fresh, l.newest) {
		w.consistent(c, published)
	}
	l.fresh, l.newest = nil, published
	w.checkLeaves(l.checked, published.Size)
	l.checked = l.next
	for _, p := range l.problems {
		w.Error(p)
	}
	if w.Failed() {
		w.FailNow()
	}
}

// published waits until the log publishes at least this size.
func (w *world) published(size int64) checkpoint.Checkpoint {
	w.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		status, body, err := w.try("/checkpoint")
		w.must(err)
		if status == http.StatusOK {
			v, err := w.policy.Verify(body)
			w.must(err)
			w.ledger.saw(v.Checkpoint)
			if v.Size >= size {
				return v.Checkpoint
			}
		}
		if time.Now().After(deadline) {
			ready, _, _ := w.try("/readyz")
			w.log.kill()
			w.Fatalf("LOST: size %d was acknowledged or published; now: %d %s\nreadyz %d\n%s", size, status, body, ready, w.log.said)
		}
	}
}

func (w *world) consistent(old, now checkpoint.Checkpoint) {
	w.Helper()
	if old.Size == 0 {
		return
	}
	var proof []tlog.Hash
	for _, line := range strings.Fields(string(w.get(fmt.Sprintf("/v1/consistency?from=%d&to=%d", old.Size, now.Size)))) {
		b, err := base64.StdEncoding.DecodeString(line)
		w.must(err)
		proof = append(proof, tlog.Hash(b))
	}
	if err := checkpoint.VerifyConsistency(old.Size, now.Size, old.Root, now.Root, proof); err != nil {
		w.Fatalf("FORK: size %d was published, and %d does not contain it: %v", old.Size, now.Size, err)
	}
}

// checkLeaves looks for all that was acknowledged from an index on.
func (w *world) checkLeaves(from, size int64) {
	w.Helper()
	found, want := 0, 0
	for index := range w.ledger.leaves {
		if index >= from {
			want++
		}
	}
	for n := from / tile.Width; n*tile.Width < size; n++ {
		t := tile.Tile{Level: tile.Entries, N: n, W: tile.WidthAt(tile.Entries, n, size)}
		leaves, err := tile.SplitBundle(w.get("/"+t.Path()), t.W)
		w.must(err)
		for i, leaf := range leaves {
			index := n*tile.Width + int64(i)
			hash, ok := w.ledger.leaves[index]
			if !ok || index < from {
				continue
			}
			if entry.LeafHash(leaf) != hash {
				w.Errorf("LOST: leaf %d is another one than was acknowledged", index)
			}
			found++
		}
	}
	if found != want {
		w.Errorf("LOST: %d events were acknowledged from %d on, %d are there", want, from, found)
	}
}
