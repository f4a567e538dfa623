package log

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"
)

// Guard remembers the newest committed head outside the store, so that a store
// put back to an older state is noticed before anything is signed.
type Guard interface {
	// Head returns the newest head that Advance made durable.
	Head() Head
	// Advance returns nil only when h is durable. Heads never go back.
	Advance(h Head) error
	Close() error
}

var (
	// ErrNoGuard says that the guard file is missing.
	ErrNoGuard = errors.New("log: guard file is missing")

	// ErrGuardCorrupt says that neither slot of the guard is intact.
	ErrGuardCorrupt = errors.New("log: guard file is corrupt")

	// ErrGuardElsewhere says that the guard was written for another host,
	// file, directory or origin: what is being opened is a copy.
	ErrGuardElsewhere = errors.New("log: guard belongs to another place")

	// ErrLocked says that another process has the guard open.
	ErrLocked = errors.New("log: guard is in use by another process")
)

// place is what a guard is bound to. A copied directory differs from the
// original in at least one of these, unless it was restored in place.
type place struct {
	origin string
	host   string // machine id, or host name where there is none
	dir    string // absolute path of the data directory
	dirIno uint64
	ino    uint64 // of the guard file itself
}

func (p place) differences(now place) []string {
	var d []string
	add := func(what string, was, is any) {
		if was != is {
			d = append(d, fmt.Sprintf("%s was %v and is %v", what, was, is))
		}
	}
	add("origin", p.origin, now.origin)
	add("host", p.host, now.host)
	add("data directory", p.dir, now.dir)
	add("inode of the data directory", p.dirIno, now.dirIno)
	add("inode of the guard file", p.ino, now.ino)
	return d
}

// A guard file is two slots of one page each. They are written in turn, so that
// a torn write leaves the other one, and the higher sequence number wins.
const (
	guardMagic = "ELG1"
	slotSize   = 4096
	guardSize  = 2 * slotSize
)

type slot struct {
	seq   uint64
	head  Head
	place place
}

func (s slot) marshal() ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, slotSize))
	b.AddBytes([]byte(guardMagic))
	b.AddUint64(s.seq)
	b.AddBytes(s.head.marshal())
	for _, text := range []string{s.place.origin, s.place.host, s.place.dir} {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(text)) })
	}
	b.AddUint64(s.place.dirIno)
	b.AddUint64(s.place.ino)
	body, err := b.Bytes()
	if err != nil || len(body) > slotSize-sha256.Size {
		return nil, fmt.Errorf("log: guard slot of %d bytes does not fit: path or host name too long", len(body))
	}
	page := make([]byte, slotSize)
	copy(page, body)
	sum := sha256.Sum256(page[:slotSize-sha256.Size])
	copy(page[slotSize-sha256.Size:], sum[:])
	return page, nil
}

func parseSlot(page []byte) (slot, error) {
	sum := sha256.Sum256(page[:slotSize-sha256.Size])
	if !bytes.Equal(sum[:], page[slotSize-sha256.Size:]) {
		return slot{}, ErrGuardCorrupt
	}
	var (
		r     = cryptobyte.String(page)
		s     slot
		magic []byte
		head  []byte
		text  [3]cryptobyte.String
	)
	ok := r.ReadBytes(&magic, len(guardMagic)) && string(magic) == guardMagic &&
		r.ReadUint64(&s.seq) && r.ReadBytes(&head, headSize)
	for i := range text {
		ok = ok && r.ReadUint16LengthPrefixed(&text[i])
	}
	if !ok || !r.ReadUint64(&s.place.dirIno) || !r.ReadUint64(&s.place.ino) {
		return slot{}, ErrGuardCorrupt
	}
	s.place.origin, s.place.host, s.place.dir = string(text[0]), string(text[1]), string(text[2])
	var err error
	if s.head, err = parseHead(head); err != nil {
		return slot{}, fmt.Errorf("%w: %w", ErrGuardCorrupt, err)
	}
	return s, nil
}

// FileGuard is a Guard in a file. It holds an exclusive lock on the file while
// it is open, which also keeps a second process off the log.
type FileGuard struct {
	file *os.File
	last slot
	err  error // of the first failed write; no further one is tried
}

var _ Guard = (*FileGuard)(nil)

// CreateGuard makes the guard file for the log with this origin in the data
// directory dir, remembering head. The file must not exist.
func CreateGuard(path, dir, origin string, head Head) (*FileGuard, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log: creating guard: %w", err)
	}
	g, err := initGuard(f, dir, origin, head)
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return g, nil
}

func initGuard(f *os.File, dir, origin string, head Head) (*FileGuard, error) {
	if err := lock(f); err != nil {
		return nil, err
	}
	here, err := placeOf(f, dir, origin)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(guardSize); err != nil {
		return nil, fmt.Errorf("log: sizing guard: %w", err)
	}
	g := &FileGuard{file: f, last: slot{place: here}}
	// Both slots, so that from now on a slot that does not check is damage.
	for range 2 {
		if err := g.write(head); err != nil {
			return nil, err
		}
	}
	if err := f.Sync(); err != nil { // the size, too
		return nil, fmt.Errorf("log: syncing guard: %w", err)
	}
	return g, syncDir(filepath.Dir(f.Name()))
}

// OpenGuard opens the guard file of the log with this origin in the data
// directory dir. Its errors wrap ErrNoGuard, ErrGuardCorrupt, ErrLocked and
// ErrGuardElsewhere.
func OpenGuard(path, dir, origin string) (*FileGuard, error) {
	g, err := readGuard(path)
	if err != nil {
		return nil, err
	}
	here, err := placeOf(g.file, dir, origin)
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	if differences := g.last.place.differences(here); len(differences) > 0 {
		return nil, errors.Join(fmt.Errorf("%w: %s: %s. If this is a copy, the original may still be running, and two logs under one name are a fork: stop. Nothing has been changed. If the log was moved on purpose and the original will never run again, adopt it here: escortlogd restore --adopt --data %s",
			ErrGuardElsewhere, path, strings.Join(differences, "; "), dir), g.Close())
	}
	return g, nil
}

// AdoptGuard binds the guard at path to this host, file and directory, on
// purpose. When the file is missing, a new one remembering head is made; an
// existing one keeps the head it remembers, so adopting cannot hide a rollback.
func AdoptGuard(path, dir, origin string, head Head) error {
	g, err := readGuard(path)
	if errors.Is(err, ErrNoGuard) {
		g, err := CreateGuard(path, dir, origin, head)
		if err != nil {
			return err
		}
		return g.Close()
	}
	if err != nil {
		return err
	}
	return errors.Join(g.adopt(dir, origin), g.Close())
}

func (g *FileGuard) adopt(dir, origin string) (err error) {
	if g.last.place.origin != origin {
		return fmt.Errorf("%w: it guards %q, and this log is %q", ErrGuardElsewhere, g.last.place.origin, origin)
	}
	if g.last.place, err = placeOf(g.file, dir, origin); err != nil {
		return err
	}
	for range 2 {
		if err := g.write(g.last.head); err != nil {
			return err
		}
	}
	return nil
}

// readGuard opens and locks the file and finds the newest intact slot.
func readGuard(path string) (*FileGuard, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s. Without it a store put back to an older state goes unnoticed. If the guard was lost and the store is the newest one, make a new guard: escortlogd restore --adopt --data DIR. The witnesses are asked at the next start", ErrNoGuard, path)
	}
	if err != nil {
		return nil, fmt.Errorf("log: opening guard: %w", err)
	}
	g, err := newestSlot(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return g, nil
}

const withoutGuard = "Nothing else on this host says how long the log was. If the store is the newest one, move this file aside and make a new guard: " +
	"escortlogd restore --adopt --data DIR. The witnesses are asked at the next start"

func newestSlot(f *os.File) (*FileGuard, error) {
	if err := lock(f); err != nil {
		return nil, err
	}
	page := make([]byte, guardSize)
	if n, err := f.ReadAt(page, 0); n != guardSize {
		return nil, fmt.Errorf("%w: %s: read %d of %d bytes: %w. %s", ErrGuardCorrupt, f.Name(), n, guardSize, err, withoutGuard)
	}
	a, errA := parseSlot(page[:slotSize])
	b, errB := parseSlot(page[slotSize:])
	switch {
	case errA != nil && errB != nil:
		return nil, fmt.Errorf("%w: %s: neither of its two halves is intact. %s", ErrGuardCorrupt, f.Name(), withoutGuard)
	case errA != nil || (errB == nil && b.seq > a.seq):
		return &FileGuard{file: f, last: b}, nil
	default:
		return &FileGuard{file: f, last: a}, nil
	}
}

// Head implements Guard.
func (g *FileGuard) Head() Head { return g.last.head }

// Advance implements Guard. After one failure every later call fails too: what
// the file holds is unknown then.
func (g *FileGuard) Advance(h Head) error {
	if h.Size < g.last.head.Size {
		return fmt.Errorf("log: guard holds size %d and does not go back to %d", g.last.head.Size, h.Size)
	}
	if g.err != nil {
		return g.err
	}
	g.err = g.write(h)
	return g.err
}

func (g *FileGuard) write(h Head) error {
	next := slot{seq: g.last.seq + 1, head: h, place: g.last.place}
	page, err := next.marshal()
	if err != nil {
		return err
	}
	if _, err := g.file.WriteAt(page, int64(next.seq%2)*slotSize); err != nil {
		return fmt.Errorf("log: writing guard: %w", err)
	}
	// The size of the file does not change, so fdatasync is enough.
	if err := unix.Fdatasync(int(g.file.Fd())); err != nil {
		return fmt.Errorf("log: syncing guard: %w", err)
	}
	g.last = next
	return nil
}

// Close releases the file and its lock.
func (g *FileGuard) Close() error { return g.file.Close() }

func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w: %s. The log is running, and one process at a time may hold it: stop it first", ErrLocked, f.Name())
	}
	if err != nil {
		return fmt.Errorf("log: locking guard: %w", err)
	}
	return nil
}

func placeOf(f *os.File, dir, origin string) (place, error) {
	p := place{origin: origin}
	var err error
	if p.host, err = hostID(); err != nil {
		return place{}, err
	}
	if p.dir, err = filepath.Abs(dir); err != nil {
		return place{}, fmt.Errorf("log: guard: %w", err)
	}
	if p.dir, err = filepath.EvalSymlinks(p.dir); err != nil {
		return place{}, fmt.Errorf("log: guard: %w", err)
	}
	info, err := os.Stat(p.dir)
	if err != nil {
		return place{}, fmt.Errorf("log: guard: %w", err)
	}
	p.dirIno = inode(info)
	if info, err = f.Stat(); err != nil {
		return place{}, fmt.Errorf("log: guard: %w", err)
	}
	p.ino = inode(info)
	return p, nil
}

func inode(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

// hostID names this machine: its machine id where there is one, since host
// names are often the same in a fleet.
func hostID() (string, error) {
	if id, err := os.ReadFile("/etc/machine-id"); err == nil && len(bytes.TrimSpace(id)) > 0 {
		return string(bytes.TrimSpace(id)), nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("log: guard: naming this host: %w", err)
	}
	return name, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("log: syncing directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("log: syncing directory %s: %w", dir, err)
	}
	return nil
}

// MakeDir makes a directory, for its owner alone, and what is missing above it, and makes
// all their names durable: also of those that were there, for a try before may have made
// them and broken off.
func MakeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for above := filepath.Dir(dir); above != dir; dir, above = above, filepath.Dir(above) {
		// What this process may not read, or some special file system shows, it has not made.
		if err := syncDir(above); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EINVAL) {
			return err
		}
	}
	return nil
}

// MemoryGuard is a Guard for tests: it keeps the head in memory.
type MemoryGuard struct {
	mu     sync.Mutex
	head   Head
	before func(Head) error
}

var _ Guard = (*MemoryGuard)(nil)

// NewMemoryGuard returns a guard that remembers h.
func NewMemoryGuard(h Head) *MemoryGuard { return &MemoryGuard{head: h} }

// Before has fn run before each later Advance. An error from it is returned,
// and the head is kept as it was.
func (g *MemoryGuard) Before(fn func(Head) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.before = fn
}

// Head implements Guard.
func (g *MemoryGuard) Head() Head {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.head
}

// Advance implements Guard.
func (g *MemoryGuard) Advance(h Head) error {
	g.mu.Lock()
	before := g.before
	g.mu.Unlock()
	if before != nil {
		if err := before(h); err != nil {
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.head = h
	return nil
}

// Close implements Guard.
func (g *MemoryGuard) Close() error { return nil }

var emptyRoot = tlog.Hash(sha256.Sum256(nil))
