package cosign

import (
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/witness/mirror"
	"github.com/escortlog/escortlog/witness/subtree"
)

const (
	// maxPackages is how many entry packages one request brings: "clients SHOULD limit
	// each add-entries request to at most 32 entry packages (8192 entries)".
	maxPackages = 32
	// uploadTimeout bounds one request that brings entries; the round may end before.
	uploadTimeout = time.Minute
	// noMirrorFor is how long a witness that knows no add-entries is not asked for it again.
	noMirrorFor = 10 * time.Minute
)

// copies is the client of https://c2sp.org/tlog-mirror: it brings the log's entries to
// the mirror at a witness's URL, which then cosigns with keys of its own. It has
// its own turn and its own pauses, so that a witness cosigns while the
// mirror beside it is far behind, and whatever happens to that.
type copies struct {
	*member
	turn chan struct{} // holds one token: who has it brings entries
	pauses

	mu       sync.Mutex
	next     int64     // how many entries the mirror has as far as we know, -1 if we do not; only a guess
	mirrored int64     // largest size it has cosigned for us
	size     int64     // of the checkpoint that ticket lets us still bring entries for
	ticket   []byte    // opaque, empty for none
	noMirror time.Time // until then it is taken for none
}

// errNoMirror says that there is no mirror of this log at the URL.
var errNoMirror = errors.New("it cosigned with none of these keys and mirrors no such log")

// errResting says that the mirror failed lately.
var errResting = errors.New("it failed lately and is left alone for a while")

// ask brings the mirror up to the round's checkpoint, which it has taken already, and hands on
// its cosignatures as these keys.
func (c *copies) ask(ctx context.Context, r *round, keys []checkpoint.PolicyWitness) error {
	var names []string
	for _, k := range keys {
		names = append(names, k.Name)
	}
	err := c.bring(ctx, r, keys)
	if err == nil {
		return nil
	}
	outcome := "failed"
	if ctx.Err() != nil {
		outcome = "timeout"
	}
	c.metrics.requests.WithLabelValues(c.name, outcome).Inc()
	if !errors.Is(err, errResting) {
		c.failed(err)
	}
	c.Logger.WarnContext(ctx, "keys that the policy lists did not cosign", "witness", c.name, "keys", strings.Join(names, " "), "size", r.cp.Size, "error", err)
	return err
}

func (c *copies) bring(ctx context.Context, r *round, keys []checkpoint.PolicyWitness) error {
	c.mu.Lock()
	none := c.read == nil || c.now().Before(c.noMirror)
	c.mu.Unlock()
	if none {
		return errFinal{errNoMirror}
	}
	if !c.rest(ctx) {
		return errFinal{errResting}
	}
	select {
	case <-c.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { c.turn <- struct{}{} }()
	if c.late(r) {
		return nil
	}
	start := time.Now()
	err := c.upload(ctx, r, keys)
	if err == nil {
		c.metrics.seconds.WithLabelValues(c.name + " mirror").Observe(time.Since(start).Seconds())
	}
	return err
}

// late says that a newer round has passed this one by. A round whose ticket was told is not
// late: else, while rounds come quickly, each would find the one after it pending.
func (c *copies) late(r *round) bool {
	c.member.mu.Lock()
	taken := c.taken
	c.member.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return r.cp.Size < c.mirrored || r.cp.Size < taken && (len(c.ticket) == 0 || r.cp.Size != c.size)
}

// upload sends requests until the mirror has all entries and has cosigned. The caller has the turn.
func (c *copies) upload(ctx context.Context, r *round, keys []checkpoint.PolicyWitness) error {
	conflicts := 0
	for {
		c.mu.Lock()
		start, ticket := c.next, c.ticket
		if c.size != r.cp.Size {
			ticket = nil
		}
		c.mu.Unlock()
		if start < 0 || start > r.cp.Size {
			start = r.cp.Size // brings nothing; the answer says what is missing
		}
		a, err := c.send(ctx, r, start, ticket)
		if err != nil {
			c.unknown()
			return err
		}
		switch a.status {
		case http.StatusOK:
			return c.cosigned(r, keys, a.body)
		case http.StatusAccepted, http.StatusConflict:
			told, err := c.learn(a.body)
			if err != nil {
				c.unknown()
				return err
			}
			if told.size != r.cp.Size {
				if told.size > r.cp.Size && c.late(r) {
					return nil // a newer round goes on with what was learnt
				}
				return errFinal{fmt.Errorf("it wants entries up to size %d, and took the checkpoint of size %d just now", told.size, r.cp.Size)}
			}
			if a.status == http.StatusAccepted && told.next > start {
				conflicts = 0
				c.succeeded()
			} else if conflicts++; conflicts > maxConflicts {
				c.unknown()
				return errors.New("it wants other entries with every answer")
			}
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
			c.mu.Lock()
			c.noMirror = c.now().Add(noMirrorFor)
			c.mu.Unlock()
			return errFinal{errNoMirror}
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			return &errRest{a.status, a.retryAfter}
		default:
			c.unknown()
			return errFinal{fmt.Errorf("it refuses the entries (%d): %.200q", a.status, a.body)}
		}
	}
}

// cosigned takes the mirror's cosignatures.
func (c *copies) cosigned(r *round, keys []checkpoint.PolicyWitness, body []byte) error {
	c.mu.Lock()
	c.next, c.mirrored, c.ticket = r.cp.Size, max(c.mirrored, r.cp.Size), nil
	c.mu.Unlock()
	missing, good, err := c.sort(r, keys, body)
	if len(missing) != 0 {
		var names []string
		for _, k := range missing {
			names = append(names, k.Name)
		}
		err = errors.Join(err, fmt.Errorf("neither the witness nor the mirror cosigns as %s", strings.Join(names, ", ")))
	}
	if good == 0 || err != nil {
		return errFinal{err}
	}
	c.metrics.requests.WithLabelValues(c.name, "mirrored").Inc()
	c.succeeded()
	c.member.succeeded()
	return nil
}

func (c *copies) unknown() {
	c.mu.Lock()
	c.next, c.ticket = -1, nil
	c.mu.Unlock()
}

// info is what a mirror tells with 202 and 409.
type info struct {
	size, next int64
	ticket     []byte
}

// learn reads text/x.tlog.mirror-info: "The tree size of a valid pending checkpoint, in
// decimal. The next entry, in decimal. An opaque, possibly zero length, ticket value, encoded
// in base64".
func (c *copies) learn(body []byte) (info, error) {
	lines := strings.Split(string(body), "\n")
	if len(lines) != 4 || lines[3] != "" {
		return info{}, fmt.Errorf("what it says of itself is not three lines: %.100q", body)
	}
	size, ok := parseSize(lines[0])
	next, ok2 := parseSize(lines[1])
	ticket, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err == nil && (!ok || !ok2 || len(ticket) > 1<<16-1 || strings.Contains(lines[2], "\r")) {
		err = errors.New("want two numbers and a ticket")
	}
	if err != nil {
		return info{}, fmt.Errorf("what it says of itself, %.100q: %w", body, err)
	}
	told := info{size, next, ticket}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.size, c.next, c.ticket = told.size, told.next, told.ticket
	return told, nil
}

// send makes one add-entries request with the entries from start on, as many as one may bring.
func (c *copies) send(ctx context.Context, r *round, start int64, ticket []byte) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	body, w := io.Pipe()
	var writing sync.WaitGroup
	writing.Go(func() {
		// A mirror may answer before it has read everything; then the pipe is closed, and that is no error.
		_ = w.CloseWithError(c.write(ctx, w, r, start, ticket))
	})
	defer writing.Wait()
	defer func() { _ = body.Close() }() // ends the writing; there is nothing to lose
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/add-entries", body)
	if err != nil {
		return nil, errFinal{fmt.Errorf("the policy's URL: %w", err)}
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	// "Clients MAY send Content-Encoding: gzip without prior knowledge of the mirror's capabilities."
	req.Header.Set("Content-Encoding", "gzip")
	return c.exchange(req)
}

// write streams a request's body.
func (c *copies) write(ctx context.Context, w io.Writer, r *round, start int64, ticket []byte) error {
	z := gzip.NewWriter(w)
	if _, err := z.Write(mirror.AppendHeader(nil, r.cp.Origin, start, r.cp.Size, ticket)); err != nil {
		return err
	}
	for i := 0; i < maxPackages && start < r.cp.Size; i++ {
		entries, proof, err := c.pack(ctx, start, r.cp.Size)
		if err != nil {
			return fmt.Errorf("reading the log's entries for the mirror: %w", err)
		}
		if _, err := z.Write(mirror.AppendPackage(nil, entries, proof)); err != nil {
			return err
		}
		start += int64(len(entries))
	}
	return z.Close()
}

// pack reads the entries from start to the end of their bundle or of the tree, and proves the
// bundle up to there.
func (c *copies) pack(ctx context.Context, start, size int64) ([][]byte, []tlog.Hash, error) {
	t := tile.Tile{Level: tile.Entries, N: start / tile.Width}
	t.W = tile.WidthAt(t.Level, t.N, size)
	aligned := t.N * tile.Width
	bundle, err := c.read(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	entries, err := tile.SplitBundle(bundle, t.W)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", t.Path(), err)
	}
	proof, err := subtree.Prove(aligned, aligned+int64(t.W), size, subtree.FromTiles(ctx, c.read, size))
	return entries[start-aligned:], proof, err
}
