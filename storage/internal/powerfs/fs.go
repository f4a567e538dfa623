//go:build linux

package powerfs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Mode says when names are durable.
type Mode int

const (
	// Journaled: all names are durable with the next sync of anything, and those
	// that are not survive in their order, as on ext4.
	Journaled Mode = iota
	// Strict: a name is durable with the next sync of its directory, and those
	// that are not survive in any order: what POSIX promises.
	Strict
)

// String returns the mode's name.
func (m Mode) String() string {
	if m == Strict {
		return "strict"
	}
	return "journaled"
}

// Op is a kind of operation on a file, for counting and failing.
type Op int

const (
	// Write is a write of up to 1 MiB, also of dirty pages of a mapping.
	Write Op = iota
	// Sync is an fsync, fdatasync or msync, of a file or a directory.
	Sync
	// Name is a change of names, a truncation or an allocation.
	Name
	// Read is a read from the disk: what is cached is not asked for.
	Read
	opKinds // how many kinds there are
)

// String returns the kind's name.
func (o Op) String() string { return [...]string{"write", "sync", "name", "read"}[o] }

// power is whether requests are answered.
type power int

const (
	powered power = iota
	stopped       // requests wait
	off           // requests fail
)

// FS is the file system. Its methods may be used concurrently, but for Mount,
// Unmount and Cut.
type FS struct {
	mode   Mode
	server *fuse.Server
	dir    string

	mu      sync.Mutex
	back    sync.Cond // signalled when power changes
	power   power
	inodes  map[uint64]*inode
	next    uint64
	changes []change // of names, not durable yet
	random  *rand.Rand

	counts [opKinds]int
	faults []*Fault
	failed int   // operations that failed
	limit  int64 // bytes, 0 for none
	used   int64 // bytes of seen pages, when there is a limit
	cutIn  int   // changes until the power stops, 0 for never
	lost   chan struct{}
}

// Fault is what goes wrong with operations.
type Fault struct {
	Op     Op
	At     int    // the first, the second, … of those that it is about, from 1
	Lasts  bool   // and all after it
	Suffix string // of the names of the files that it is about; "" for all
	Errno  unix.Errno

	seen int // how many there have been
}

// happens counts an operation on the file, and reports whether it fails.
func (f *Fault) happens(op Op, name string) bool {
	if f.Op != op || !strings.HasSuffix(name, f.Suffix) {
		return false
	}
	f.seen++
	return f.seen == f.At || f.Lasts && f.seen > f.At
}

const rootID = fuse.FUSE_ROOT_ID

// New returns an empty file system. The seed decides what a failed sync loses.
func New(mode Mode, seed uint64) *FS {
	fs := &FS{
		mode: mode, next: rootID + 1,
		inodes: map[uint64]*inode{rootID: newInode(rootID, unix.S_IFDIR|0o755, 0, 0)},
		random: rand.New(rand.NewPCG(seed, 0)),
		lost:   make(chan struct{}),
	}
	fs.back.L = &fs.mu
	return fs
}

// CutAt stops the power before the n-th change from now on, or for 0 never: nothing is
// answered then until PowerOff. The channel is closed at that moment.
func (fs *FS) CutAt(n int) <-chan struct{} {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.cutIn = n
	fs.lost = make(chan struct{})
	return fs.lost
}

// PowerOff makes every request fail, also those that wait. Whoever stopped the
// power calls it after killing the processes, which cannot end before.
func (fs *FS) PowerOff() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.power, fs.cutIn = off, 0
	fs.back.Broadcast()
}

// Cut ends the mount, of which no process may use anything any more, and forgets
// what the seed says of all that is not durable. After that the file system can
// be mounted again.
func (fs *FS) Cut(seed uint64) error {
	// Nothing, little, half, much, all.
	return fs.CutKeeping([]float64{0, 0.1, 0.5, 0.9, 1}[seed%5], seed)
}

// CutKeeping is Cut where what is not durable survives with the probability p.
func (fs *FS) CutKeeping(p float64, seed uint64) error {
	fs.PowerOff()
	if err := fs.Unmount(); err != nil {
		return err
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	random := rand.New(rand.NewPCG(seed, 1))
	if fs.mode == Journaled {
		fs.keepNames(fs.changes[:survivors(random, len(fs.changes), p)])
	} else {
		for _, chain := range chains(fs.changes) {
			fs.keepNames(chain[:survivors(random, len(chain), p)])
		}
	}
	fs.changes = nil
	fs.reach()
	ids := make([]uint64, 0, len(fs.inodes))
	for id := range fs.inodes {
		ids = append(ids, id)
	}
	slices.Sort(ids) // one seed, one outcome
	for _, id := range ids {
		if n := fs.inodes[id]; n.isDir() {
			n.seen = n.kept.clone()
		} else {
			n.cut(random, p)
		}
	}
	fs.faults = nil
	fs.recount()
	return nil
}

// survivors returns how many of the n oldest changes survive.
func survivors(random *rand.Rand, n int, p float64) int {
	for i := range n {
		if random.Float64() >= p {
			return i
		}
	}
	return n
}

func (fs *FS) keepNames(changes []change) {
	for _, c := range changes {
		c.apply(fs.inodes)
	}
}

// reach drops what has no durable name, and counts the links of the rest.
func (fs *FS) reach() {
	links := map[uint64]uint32{rootID: 1}
	for queue := []uint64{rootID}; len(queue) > 0; queue = queue[1:] {
		for _, id := range fs.inodes[queue[0]].kept.names {
			if links[id]++; links[id] == 1 && fs.inodes[id].isDir() {
				queue = append(queue, id)
			}
		}
	}
	for id, n := range fs.inodes {
		if n.links = links[id]; n.links == 0 {
			delete(fs.inodes, id)
		}
	}
}

func (fs *FS) recount() {
	fs.used = 0
	for _, n := range fs.inodes {
		fs.used += int64(len(n.seen.pages)) * pageSize
	}
}

// syncNames makes names durable that a sync of inode id covers.
func (fs *FS) syncNames(id uint64) {
	all := fs.mode == Journaled
	for _, c := range fs.changes {
		// A change of two directories: what it depends on is in either.
		all = all || c.touches(id) && slices.ContainsFunc(c.slots, func(s slotKey) bool { return s.dir != id })
	}
	fs.changes = slices.DeleteFunc(fs.changes, func(c change) bool {
		if all || c.touches(id) {
			c.apply(fs.inodes)
			return true
		}
		return false
	})
}

// Fail makes the n-th op from now on (n ≥ 1) fail with errno, and only that one.
func (fs *FS) Fail(op Op, n int, errno unix.Errno) {
	fs.Break(Fault{Op: op, At: n, Errno: errno})
}

// Break makes the operations fail that f says, from now on.
func (fs *FS) Break(f Fault) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.faults = append(fs.faults, &f)
}

// Repair ends all faults, as Cut does.
func (fs *FS) Repair() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.faults = nil
}

// Failed returns how many operations have failed.
func (fs *FS) Failed() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.failed
}

// Count returns how many of these operations there have been.
func (fs *FS) Count(op Op) int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.counts[op]
}

// Limit makes the disk this large, in bytes of allocated pages. 0 is no limit.
func (fs *FS) Limit(bytes int64) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.limit = bytes
	fs.recount()
}

// ReadFile returns what a process would read, without the mount.
func (fs *FS) ReadFile(path string) ([]byte, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := fs.inodes[rootID]
	for _, name := range strings.Split(path, "/") {
		child, ok := n.seen.names[name]
		if !ok {
			return nil, fmt.Errorf("powerfs: %s: %w", path, iofs.ErrNotExist)
		}
		n = fs.inodes[child]
	}
	if n.isDir() {
		return nil, errors.New("powerfs: " + path + " is a directory")
	}
	buf := make([]byte, n.seen.size)
	n.seen.read(buf, 0)
	return buf, nil
}

// enter begins a request that changes nothing. It returns with the lock held
// when the status is OK.
func (fs *FS) enter() fuse.Status {
	fs.mu.Lock()
	for fs.power == stopped {
		fs.back.Wait()
	}
	if fs.power == off {
		fs.mu.Unlock()
		return fuse.EIO
	}
	return fuse.OK
}

// change begins a request that changes something of a file or its name.
func (fs *FS) change(op Op, name string) fuse.Status {
	if status := fs.enter(); status != fuse.OK {
		return status
	}
	if fs.cutIn > 0 {
		if fs.cutIn--; fs.cutIn == 0 {
			fs.power = stopped
			close(fs.lost)
			fs.mu.Unlock()
			return fs.enter()
		}
	}
	return fs.count(op, name)
}

// count counts an operation, and lets it fail.
func (fs *FS) count(op Op, name string) fuse.Status {
	fs.counts[op]++
	for _, f := range fs.faults {
		if f.happens(op, name) {
			fs.failed++
			return fs.leave(fuse.Status(f.Errno))
		}
	}
	return fuse.OK
}

// nameOf returns the newest name of a file.
func (fs *FS) nameOf(id uint64) string {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.inodes[id].name
}

// leave ends a request.
func (fs *FS) leave(status fuse.Status) fuse.Status {
	fs.mu.Unlock()
	return status
}
