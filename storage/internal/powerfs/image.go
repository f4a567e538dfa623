//go:build linux

package powerfs

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const pageSize = 4096

// page is never changed while it is in the durable image.
type page = *[pageSize]byte

// inode is a file or a directory, as processes see it and as it is on the disk.
type inode struct {
	id       uint64
	name     string // the newest
	mode     uint32 // with the type
	uid, gid uint32
	links    uint32
	times    [3]time.Time // access, modification, change

	seen, kept content

	// dirty are the pages that may differ between seen and kept. Those that map
	// to true went into a sync that failed: no later one writes them.
	dirty map[int64]bool
}

// content is what a file holds, or which names a directory has.
type content struct {
	size  int64
	pages map[int64]page // a page that is not there is zero
	names map[string]uint64
}

func (c content) clone() content {
	return content{c.size, maps.Clone(c.pages), maps.Clone(c.names)}
}

func newInode(id uint64, mode, uid, gid uint32) *inode {
	now := time.Now()
	n := &inode{id: id, mode: mode, uid: uid, gid: gid, links: 1, times: [3]time.Time{now, now, now}, dirty: make(map[int64]bool)}
	for _, c := range []*content{&n.seen, &n.kept} {
		if n.isDir() {
			c.names = make(map[string]uint64)
		} else {
			c.pages = make(map[int64]page)
		}
	}
	return n
}

func (n *inode) isDir() bool { return n.mode&unix.S_IFMT == unix.S_IFDIR }

// read copies what is at the offset into buf and returns how much there was.
func (c content) read(buf []byte, offset int64) int {
	if offset >= c.size {
		return 0
	}
	buf = buf[:min(int64(len(buf)), c.size-offset)]
	for done := 0; done < len(buf); {
		at := offset + int64(done)
		part := buf[done:min(len(buf), done+int(pageSize-at%pageSize))]
		if p := c.pages[at/pageSize]; p != nil {
			copy(part, p[at%pageSize:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	return len(buf)
}

// writable returns a page of the seen content that may be changed, and marks it.
func (n *inode) writable(number int64) page {
	p := n.seen.pages[number]
	switch {
	case p == nil:
		p = new([pageSize]byte)
	case p == n.kept.pages[number]:
		p = new(*p)
	}
	n.seen.pages[number] = p
	n.dirty[number] = false
	return p
}

func (n *inode) write(data []byte, offset int64) {
	for done := 0; done < len(data); {
		at := offset + int64(done)
		done += copy(n.writable(at / pageSize)[at%pageSize:], data[done:])
	}
	n.seen.size = max(n.seen.size, offset+int64(len(data)))
}

// zero makes [from, to) read as zeros and frees its whole pages.
func (n *inode) zero(from, to int64) {
	for number := range n.seen.pages {
		start := number * pageSize
		switch lo, hi := max(from-start, 0), min(to-start, pageSize); {
		case lo >= hi:
		case hi-lo == pageSize:
			delete(n.seen.pages, number)
			n.dirty[number] = false
		default:
			clear(n.writable(number)[lo:hi])
		}
	}
}

func (n *inode) truncate(size int64) {
	if size < n.seen.size {
		n.zero(size, n.seen.size)
	}
	n.seen.size = size
}

// keepPage makes the seen content of one page the durable one.
func (n *inode) keepPage(number int64) {
	if p := n.seen.pages[number]; p != nil {
		n.kept.pages[number] = p
	} else {
		delete(n.kept.pages, number)
	}
}

// sync makes the content durable, but for pages lost to a sync that failed.
func (n *inode) sync() {
	for number, lost := range n.dirty {
		if !lost {
			n.keepPage(number)
			delete(n.dirty, number)
		}
	}
	n.kept.size = n.seen.size
}

// lose marks some of the dirty pages as lost to a sync that failed.
func (n *inode) lose(random *rand.Rand) {
	for _, number := range slices.Sorted(maps.Keys(n.dirty)) {
		if random.IntN(2) == 0 {
			// What a process sees stays, and must not become durable by sharing.
			n.dirty[number] = true
		}
	}
}

// cut lets each dirty page survive with the probability p, and the length too, with
// the pages that were cut off by it: a truncation happens wholly or not at all.
func (n *inode) cut(random *rand.Rand, p float64) {
	resized := random.Float64() < p
	for _, number := range slices.Sorted(maps.Keys(n.dirty)) {
		survives := random.Float64() < p
		if n.seen.pages[number] == nil {
			survives = resized
		}
		if lost := n.dirty[number]; !lost && survives {
			n.keepPage(number)
		}
	}
	if resized {
		n.kept.size = n.seen.size
	}
	n.dirty = make(map[int64]bool)
	// Nothing is beyond the end.
	n.seen = n.kept.clone()
	end := int64(1) << 62
	n.zero(n.seen.size, end)
	n.sync()
}

// slotKey is a place for a name.
type slotKey struct {
	dir  uint64
	name string
}

// change is one change of names: all of it is durable or nothing.
type change struct {
	slots  []slotKey
	inodes []uint64 // what the slots hold afterwards, 0 for nothing
}

func (c change) apply(inodes map[uint64]*inode) {
	for i, s := range c.slots {
		names := inodes[s.dir].kept.names
		if c.inodes[i] == 0 {
			delete(names, s.name)
		} else {
			names[s.name] = c.inodes[i]
		}
	}
}

func (c change) touches(dir uint64) bool {
	return slices.ContainsFunc(c.slots, func(s slotKey) bool { return s.dir == dir })
}

// chains sorts changes by what they depend on: those of one chain touch the same
// names, directly or through others, those of different chains do not.
func chains(changes []change) [][]change {
	chainOf := make(map[slotKey]int)
	var all [][]change
	for _, c := range changes {
		into := len(all)
		all = append(all, nil)
		for _, s := range c.slots {
			if from, ok := chainOf[s]; ok && from != into {
				// The older changes first; two chains that are joined did not
				// depend on each other so far.
				all[into] = append(all[into], all[from]...)
				all[from] = nil
				for slot, chain := range chainOf {
					if chain == from {
						chainOf[slot] = into
					}
				}
			}
			chainOf[s] = into
		}
		all[into] = append(all[into], c)
	}
	return slices.DeleteFunc(all, func(c []change) bool { return len(c) == 0 })
}
