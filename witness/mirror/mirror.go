package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/witness/clients"
	"github.com/escortlog/escortlog/witness/journal"
	"github.com/escortlog/escortlog/witness/subtree"
)

// maxExcess is how many entries that are here already an upload may begin with.
const maxExcess = 32 * tile.Width

// Source is the witness beside the mirror.
type Source interface {
	// MirrorKeys returns the keys of a log that is to be mirrored, nil for any other.
	MirrorKeys(origin string) []*checkpoint.Verifier
	// Pending returns the checkpoint of a log that was cosigned last, with the log's and the witness's signatures.
	Pending(origin string) (note []byte, ok bool)
	// Verifiers returns the witness's keys.
	Verifiers() []*checkpoint.Verifier
}

// Config of a mirror. Dir, Signers and Source are required.
type Config struct {
	Dir     string               // made if missing
	Signers []*checkpoint.Signer // of the mirror: another name and other keys than the witness's
	Source  Source
	Clients *clients.Budget // of those who upload over HTTP; nil is one with its defaults
	Logger  *slog.Logger
	Now     func() time.Time
}

// Mirror is the copies of all mirrored logs. Its methods may be used concurrently.
type Mirror struct {
	Config
	excess  int64            // maxExcess, but in tests
	journal *journal.Journal // the mirror checkpoint of each log, by origin
	uploads uploads

	mu   sync.Mutex
	logs map[string]*copied // by origin hash
}

// copied is the copy of one log.
type copied struct {
	origin string
	store  store

	mu      sync.Mutex // held while files are written or the head is moved
	settled bool       // what is on the disk is durable
	next    int64      // how many entries are here, durably once it is settled
	head    *head      // the mirror checkpoint; nil before the first
}

// settle is called before what is here is built upon.
func (l *copied) settle() error {
	if l.settled {
		return nil
	}
	if err := l.store.settle(); err != nil {
		return err
	}
	l.settled = true
	return nil
}

// head is a checkpoint with the log's verified signatures, which the mirror has cosigned or may.
type head struct {
	cp      checkpoint.Checkpoint
	logSigs []checkpoint.SignatureLine
	note    []byte // for a mirror checkpoint with the mirror's cosignatures
	time    int64  // of these
}

// Open opens the mirror in a directory.
func Open(c Config) (*Mirror, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Clients == nil {
		c.Clients = clients.New(clients.Config{Now: c.Now})
	}
	m := &Mirror{Config: c, excess: maxExcess, logs: map[string]*copied{}}
	path := filepath.Join(c.Dir, "journal")
	if err := journal.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("opening the mirror: %w", err)
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		// Unlike a witness, a mirror that lost everything signs nothing until it has everything again.
		if err := journal.Create(path); err != nil {
			return nil, err
		}
	}
	var err error
	if m.journal, err = journal.Open(path, journal.Options{}); err != nil {
		return nil, fmt.Errorf("opening the mirror: %w", err)
	}
	for origin, note := range m.journal.All() {
		if err := m.load(origin, note); err != nil {
			return nil, errors.Join(fmt.Errorf("opening the mirror of %q: %w", origin, err), m.journal.Close())
		}
	}
	return m, nil
}

// load takes up the copy of a log that has a mirror checkpoint.
func (m *Mirror) load(origin string, note []byte) error {
	text, sigs, err := checkpoint.ParseNote(note)
	if err != nil {
		return err
	}
	h := &head{note: note}
	if h.cp, err = checkpoint.Parse(text); err != nil {
		return err
	}
	for _, l := range sigs {
		if m.isOwn(l) {
			h.time = max(h.time, l.Timestamp())
		} else {
			h.logSigs = append(h.logSigs, l)
		}
	}
	l := m.newCopy(origin)
	l.head = h
	if l.next, err = l.store.stored(h.cp.Size); err != nil {
		return err
	}
	m.logs[originHash(origin)] = l
	return nil
}

func (m *Mirror) isOwn(l checkpoint.SignatureLine) bool {
	for _, s := range m.Signers {
		if l.Name == s.Verifier().Name() && l.KeyHash == s.Verifier().KeyHash() {
			return true
		}
	}
	return false
}

func (m *Mirror) newCopy(origin string) *copied {
	return &copied{origin: origin, store: store{filepath.Join(m.Dir, originHash(origin))}}
}

// log returns the copy of a log that is to be mirrored, an empty one if need be.
func (m *Mirror) log(origin string) (*copied, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	hash := originHash(origin)
	if l := m.logs[hash]; l != nil {
		return l, nil
	}
	l := m.newCopy(origin)
	var err error
	if l.next, err = l.store.stored(0); err != nil {
		return nil, err
	}
	m.logs[hash] = l
	return l, nil
}

// Failed is closed when the mirror's memory fails: it then signs nothing until it is opened again.
func (m *Mirror) Failed() <-chan struct{} { return m.journal.Failed() }

// Close releases the directory.
func (m *Mirror) Close() error { return m.journal.Close() }

// originHash is "the SHA-256 hash of the log's origin, hex encoded, in lowercase".
func originHash(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

// answer is what add-entries answers.
type answer struct {
	status int
	reason string
	lines  []byte // with 200
	// With 409 and 202: a valid pending checkpoint and the next entry.
	pending *head
	next    int64
}

func refuse(status int, format string, args ...any) *answer {
	return &answer{status: status, reason: fmt.Sprintf(format, args...)}
}

// addEntries reads and judges one add-entries request.
func (m *Mirror) addEntries(ctx context.Context, body io.Reader, from visitor) *answer {
	h, err := readHeader(body)
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	keys := m.Source.MirrorKeys(h.origin)
	if keys == nil {
		return refuse(http.StatusNotFound, "no log with the origin %q is mirrored here", h.origin)
	}
	leave, refusal := m.uploads.enter(h.origin, from.addr)
	if refusal != nil {
		return refusal
	}
	defer leave()
	note, ok := m.Source.Pending(h.origin)
	if !ok {
		return refuse(http.StatusUnprocessableEntity, "no checkpoint of %q was added yet", h.origin)
	}
	pending, err := m.authentic(h.origin, note, keys)
	if err != nil {
		return refuse(http.StatusUnprocessableEntity, "the pending checkpoint of %q: %v", h.origin, err)
	}
	l, err := m.log(h.origin)
	if err != nil {
		return m.broken(h.origin, err)
	}
	target, refusal := m.target(l, h, pending, keys)
	if refusal != nil {
		return refusal
	}
	at, saved := h.start, false
	for at < h.end {
		from.more()
		p, err := readPackage(body, at, h.end)
		if errors.Is(err, errMalformed) {
			return refuse(http.StatusUnprocessableEntity, "%v", err)
		}
		if err != nil { // the body ended, or the client went
			break
		}
		if refusal := m.take(l, p, target.cp); refusal != nil {
			return refusal
		}
		at, saved = p.end, true
	}
	if at < h.end {
		if !saved {
			return refuse(http.StatusBadRequest, "the body ended before the first entry package did")
		}
		return l.info(http.StatusAccepted, target)
	}
	return m.finish(ctx, l, target)
}

// authentic reads a checkpoint that the witness has cosigned and the log signed.
func (m *Mirror) authentic(origin string, note []byte, keys []*checkpoint.Verifier) (*head, error) {
	text, sigs, err := checkpoint.ParseNote(note)
	if err != nil {
		return nil, err
	}
	if _, err := checkpoint.Verify(text, sigs, m.Source.Verifiers()...); err != nil {
		return nil, err
	}
	h := &head{note: note}
	if h.logSigs, err = checkpoint.Verify(text, sigs, keys...); err != nil {
		return nil, err
	}
	if h.cp, err = checkpoint.Parse(text); err != nil {
		return nil, err
	}
	if h.cp.Origin != origin {
		return nil, fmt.Errorf("it is of %q", h.cp.Origin)
	}
	return h, nil
}

// target finds the checkpoint that an upload ends at, and checks where it begins.
func (m *Mirror) target(l *copied, h *header, pending *head, keys []*checkpoint.Verifier) (*head, *answer) {
	l.mu.Lock()
	mirrored, next := l.head, l.next
	l.mu.Unlock()
	var target *head
	if h.end == pending.cp.Size {
		target = pending
	} else if t, err := m.authentic(h.origin, h.ticket, keys); err == nil && t.cp.Size == h.end {
		// "The mirror MUST authenticate any information it derives from a ticket."
		target = t
	} else if mirrored != nil && h.end == mirrored.cp.Size {
		target = mirrored
	}
	if target == nil || mirrored != nil && h.end < mirrored.cp.Size {
		return nil, l.info(http.StatusConflict, pending)
	}
	if h.start > next || min(h.end, next)-h.start > m.excess {
		return nil, l.info(http.StatusConflict, target)
	}
	return target, nil
}

// info answers with a valid pending checkpoint and the next entry.
func (l *copied) info(status int, pending *head) *answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &answer{status: status, pending: pending, next: l.next}
}

// broken reports what is the mirror's own fault.
func (m *Mirror) broken(origin string, err error) *answer {
	m.Logger.Error("the mirror's files", "origin", origin, "error", err)
	return refuse(http.StatusServiceUnavailable, "the mirror cannot take entries now; its operator sees why in its log")
}

// take proves one package and stores what of it is new.
func (m *Mirror) take(l *copied, p *entryPackage, cp checkpoint.Checkpoint) *answer {
	n := p.aligned() / tile.Width
	entries := p.entries
	if missing := int(p.start - p.aligned()); missing > 0 {
		before, err := l.store.entries(n, missing)
		if err != nil {
			return m.broken(l.origin, err)
		}
		entries = append(before, entries...)
	}
	hashes := make([]tlog.Hash, len(entries))
	for i, e := range entries {
		hashes[i] = tlog.RecordHash(e)
	}
	// "For each entry package, it MUST authenticate the entries by verifying the subtree consistency proof".
	if err := subtree.Verify(p.aligned(), p.end, cp.Size, subtree.Hash(hashes), cp.Root, p.proof); err != nil {
		return refuse(http.StatusUnprocessableEntity, "entry package at %d: %v", p.start, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// "If some entry has already been written …, the mirror MUST skip saving that entry."
	if p.end <= l.next {
		return nil
	}
	if err := l.settle(); err != nil {
		return m.broken(l.origin, err)
	}
	if err := l.store.save(n, entries); err != nil {
		l.settled = false
		return m.broken(l.origin, err)
	}
	l.next = p.end
	return nil
}

// finish makes the target the mirror checkpoint, if it is not smaller, and cosigns it.
func (m *Mirror) finish(ctx context.Context, l *copied, target *head) *answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	size, old := target.cp.Size, int64(0)
	if l.head != nil {
		old = l.head.cp.Size
	}
	// "In this case, the mirror MUST NOT rewind the checkpoint".
	if size < old {
		return &answer{status: http.StatusConflict, pending: l.head, next: l.next}
	}
	if l.next < size {
		return &answer{status: http.StatusAccepted, pending: target, next: l.next}
	}
	if err := l.settle(); err != nil {
		return m.broken(l.origin, err)
	}
	if err := l.store.complete(old, size); err != nil {
		l.settled = false
		return m.broken(l.origin, err)
	}
	root, err := tile.Root(ctx, func(_ context.Context, t tile.Tile) ([]byte, error) { return l.store.read(t) }, size)
	if err == nil && root != target.cp.Root {
		err = fmt.Errorf("%w: the tiles of size %d have root %v, the checkpoint says %v", errCorrupt, size, root, target.cp.Root)
	}
	if err != nil {
		return m.broken(l.origin, err)
	}
	next, lines, err := m.cosign(l.head, target)
	if err != nil {
		return m.broken(l.origin, err)
	}
	// "The mirror MUST persist the new checkpoint before responding."
	if err := m.journal.Put(l.origin, next.note); err != nil {
		return m.broken(l.origin, err)
	}
	l.head = next
	return &answer{status: http.StatusOK, lines: lines}
}

// cosign signs a checkpoint whose entries are all durable. Nothing of it may leave before it is durable itself.
func (m *Mirror) cosign(prev, target *head) (*head, []byte, error) {
	unix := m.Now().Unix()
	if prev != nil {
		unix = max(unix, prev.time)
	}
	var lines [][]byte
	for _, l := range target.logSigs {
		lines = append(lines, l.Line())
	}
	text := target.cp.Text()
	var own []byte
	for _, s := range m.Signers {
		line, err := s.Sign(text, unix)
		if err != nil {
			return nil, nil, err
		}
		own = append(own, line...)
	}
	return &head{cp: target.cp, logSigs: target.logSigs, time: unix, note: checkpoint.Join(text, append(lines, own)...)}, own, nil
}
