package mirror

import (
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
	"github.com/escortlog/escortlog/witness/subtree"
)

const (
	pullTimeout = time.Minute                        // of one request to the log
	maxNote     = 1 << 20                            // a checkpoint, in bytes
	maxBundle   = tile.Width * (2 + tile.MaxEntry)   // an entry bundle, in bytes
	maxCached   = 1024                               // hash tiles kept while pulling, 8 KiB each
	maxHashTile = tile.Width * tlog.HashSize         // in bytes
	pullAgent   = "escortwitness (tlog-mirror pull)" // names the client to the log's operator
)

// Witness is what pulling needs beyond a Source.
type Witness interface {
	Source
	// MirrorRemotes returns where each mirrored log is read, by origin; logs without a URL are left out.
	MirrorRemotes() map[string]Remote
	// AddCheckpoint judges a body of add-checkpoint.
	AddCheckpoint(body []byte) (lines []byte, err error)
}

// Pull keeps the copies of all logs with a URL up to date until ctx ends, looking
// every so often: it reads the log's checkpoint, has the witness beside the mirror check
// and cosign it, and then reads the entries. What it reads is proven like what anybody
// uploads: the log's web server is not trusted, and one that is slow holds up no other log.
// client reads all logs; nil is one for each that shows it the token and the certificate of its Remote.
func (m *Mirror) Pull(ctx context.Context, w Witness, client *http.Client, every time.Duration) {
	p := &puller{m: m, w: w, remotes: &remotes{given: client}, busy: map[string]bool{}}
	defer p.done.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		for origin, remote := range w.MirrorRemotes() {
			p.start(ctx, origin, remote)
		}
		timer.Reset(every)
	}
}

// puller pulls each log by itself.
type puller struct {
	m       *Mirror
	w       Witness
	remotes *remotes
	done    sync.WaitGroup

	mu   sync.Mutex
	busy map[string]bool // origins that are being pulled
}

// start pulls a log, unless that is still going on.
func (p *puller) start(ctx context.Context, origin string, remote Remote) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy[origin] {
		return
	}
	p.busy[origin] = true
	p.done.Go(func() {
		r, err := p.remotes.reader(remote)
		if err == nil {
			err = p.m.pullLog(ctx, p.w, r, origin)
		}
		if err != nil && ctx.Err() == nil {
			p.m.Logger.Warn("pulling a log failed; trying again later", "origin", origin, "url", remote.URL, "error", err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.busy, origin)
	})
}

// pullLog brings the copy of one log up to the log's checkpoint.
func (m *Mirror) pullLog(ctx context.Context, w Witness, r *reader, origin string) error {
	keys := w.MirrorKeys(origin)
	if keys == nil {
		return nil // taken off the list meanwhile
	}
	published, err := r.offer(ctx, w, origin, keys)
	if err != nil {
		return err
	}
	// The witness may have cosigned more than the log has published yet, which cannot be
	// read yet. What is published bears the witness's cosignature if the log asked for it.
	target, err := m.authentic(origin, published, keys)
	if err != nil {
		note, ok := w.Pending(origin)
		if !ok {
			return errors.New("the witness has cosigned no checkpoint of it")
		}
		if target, err = m.authentic(origin, note, keys); err != nil {
			return fmt.Errorf("pending checkpoint: %w", err)
		}
	}
	l, err := m.log(origin)
	if err != nil {
		return err
	}
	r.size = target.cp.Size
	l.mu.Lock()
	at, mirrored := l.next, l.head
	l.mu.Unlock()
	if mirrored != nil && mirrored.cp.Size >= r.size {
		return nil
	}
	for at < r.size {
		p, err := r.fetch(ctx, at)
		if err != nil {
			return err
		}
		if a := m.take(l, p, target.cp); a != nil {
			return fmt.Errorf("the log's entries are not those of its checkpoint: %s", a.reason)
		}
		at = p.end
	}
	if a := m.finish(ctx, l, target); a.status != http.StatusOK {
		return fmt.Errorf("cosigning size %d: %d %s", r.size, a.status, a.reason)
	}
	m.Logger.Info("mirrored", "origin", origin, "size", r.size)
	return nil
}

// offer has the witness cosign the log's newest checkpoint, if it is newer than
// the pending one, and returns it as the log serves it.
func (r *reader) offer(ctx context.Context, w Witness, origin string, keys []*checkpoint.Verifier) ([]byte, error) {
	note, err := r.get(ctx, "checkpoint", maxNote)
	if err != nil {
		return nil, err
	}
	text, sigs, err := checkpoint.ParseNote(note)
	if err != nil {
		return nil, fmt.Errorf("its checkpoint: %w", err)
	}
	good, err := checkpoint.Verify(text, sigs, keys...)
	if err != nil {
		return nil, fmt.Errorf("its checkpoint: %w", err)
	}
	cp, err := checkpoint.Parse(text)
	if err != nil || cp.Origin != origin {
		return nil, errors.Join(fmt.Errorf("its checkpoint is of %q", cp.Origin), err)
	}
	var old int64
	if pending, ok := w.Pending(origin); ok {
		t, _, err := checkpoint.ParseNote(pending)
		if err != nil {
			return nil, err
		}
		known, err := checkpoint.Parse(t)
		if err != nil {
			return nil, err
		}
		// The same head needs no second cosignature; a fork of the same size must be seen by the witness.
		if known.Size > cp.Size || known.Size == cp.Size && known.Root == cp.Root {
			return note, nil
		}
		old = known.Size
	}
	r.size = cp.Size
	proof, err := tile.Consistency(ctx, r.tile, old, cp.Size)
	if err != nil {
		return nil, err
	}
	var body strings.Builder
	fmt.Fprintf(&body, "old %d\n", old)
	for _, h := range proof {
		body.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	var lines [][]byte
	for _, l := range good {
		lines = append(lines, l.Line())
	}
	body.WriteString("\n" + string(checkpoint.Join(text, lines...)))
	if _, err := w.AddCheckpoint([]byte(body.String())); err != nil {
		return nil, fmt.Errorf("the witness refuses its checkpoint: %w", err)
	}
	return note, nil
}

// reader reads a log over HTTP.
type reader struct {
	client *http.Client
	url    string
	token  string // none if empty
	size   int64  // of the tree that is read
	cache  map[tile.Tile][]byte
}

// fetch reads the package of entries from at on, with its proof made of hash tiles.
func (r *reader) fetch(ctx context.Context, at int64) (*entryPackage, error) {
	n := at / tile.Width
	t := tile.Tile{Level: -1, N: n, W: tile.WidthAt(-1, n, r.size)}
	data, err := r.partial(ctx, t, maxBundle)
	if err != nil {
		return nil, err
	}
	entries, err := tile.SplitBundle(data, t.W)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Path(), err)
	}
	p := &entryPackage{start: at, end: n*tile.Width + int64(t.W), entries: entries[at-n*tile.Width:]}
	p.proof, err = subtree.Prove(p.aligned(), p.end, r.size, subtree.FromTiles(ctx, r.tile, r.size))
	return p, err
}

// tile returns a hash tile; it is a tile.Reader.
func (r *reader) tile(ctx context.Context, t tile.Tile) ([]byte, error) {
	if data, ok := r.cache[t]; ok {
		return data, nil
	}
	data, err := r.partial(ctx, t, maxHashTile)
	if err != nil {
		return nil, err
	}
	if r.cache == nil || len(r.cache) >= maxCached {
		r.cache = map[tile.Tile][]byte{}
	}
	r.cache[t] = data
	return data, nil
}

// partial reads a tile, from the full one where the log has taken the partial one away.
func (r *reader) partial(ctx context.Context, t tile.Tile, limit int64) ([]byte, error) {
	data, err := r.get(ctx, t.Path(), limit)
	if t.Full() || !errors.Is(err, errAbsent) {
		return data, err
	}
	full := t
	full.W = tile.Width
	if data, err = r.get(ctx, full.Path(), limit); err != nil {
		return nil, err
	}
	return narrow(t, data)
}

// errAbsent says that the log answered 404.
var errAbsent = errors.New("not found")

func (r *reader) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	req.Header.Set("User-Agent", pullAgent)
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, fmt.Errorf("reading the log: %s: %w", path, errAbsent)
	default:
		return nil, fmt.Errorf("reading the log: %s: answered %s", path, resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading the log: %s: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("reading the log: %s is longer than %d bytes", path, limit)
	}
	return data, nil
}
