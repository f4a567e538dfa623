//go:build linux

package powerfs

import (
	"maps"
	"slices"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// ops answers the kernel's requests. A node is its inode: the kernel is the only
// client, so nothing is counted, and inodes stay until the next cut.
type ops struct {
	fuse.RawFileSystem
	*FS

	// Of directories being read, by handle, under the lock of FS.
	listings   map[uint64][]fuse.DirEntry
	lastHandle uint64
}

// String implements fuse.RawFileSystem.
func (o *ops) String() string { return "powerfs" }

func (o *ops) attr(n *inode, a *fuse.Attr) {
	a.Ino, a.Mode, a.Nlink, a.Blksize = n.id, n.mode, n.links, pageSize
	a.Owner = fuse.Owner{Uid: n.uid, Gid: n.gid}
	a.Size = uint64(n.seen.size)
	a.Blocks = uint64(len(n.seen.pages)) * (pageSize / 512)
	a.SetTimes(&n.times[0], &n.times[1], &n.times[2])
}

func (o *ops) entry(n *inode, out *fuse.EntryOut) {
	out.NodeId, out.Generation = n.id, 1
	o.attr(n, &out.Attr)
}

func touch(n *inode) {
	now := time.Now()
	n.times[1], n.times[2] = now, now
}

// Lookup implements fuse.RawFileSystem.
func (o *ops) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if status := o.enter(); status != fuse.OK {
		return status
	}
	id, ok := o.inodes[h.NodeId].seen.names[name]
	if !ok {
		return o.leave(fuse.ENOENT)
	}
	o.entry(o.inodes[id], out)
	return o.leave(fuse.OK)
}

// GetAttr implements fuse.RawFileSystem.
func (o *ops) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if status := o.enter(); status != fuse.OK {
		return status
	}
	o.attr(o.inodes[in.NodeId], &out.Attr)
	return o.leave(fuse.OK)
}

// SetAttr implements fuse.RawFileSystem.
func (o *ops) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	size, resize := in.GetSize()
	begin := o.enter
	if resize {
		begin = func() fuse.Status { return o.change(Name, o.nameOf(in.NodeId)) }
	}
	if status := begin(); status != fuse.OK {
		return status
	}
	n := o.inodes[in.NodeId]
	if resize {
		before := len(n.seen.pages)
		n.truncate(int64(size))
		o.used += int64(len(n.seen.pages)-before) * pageSize
		touch(n)
	}
	if mode, ok := in.GetMode(); ok {
		n.mode = n.mode&unix.S_IFMT | mode&^unix.S_IFMT
	}
	if uid, ok := in.GetUID(); ok {
		n.uid = uid
	}
	if gid, ok := in.GetGID(); ok {
		n.gid = gid
	}
	if t, ok := in.GetATime(); ok {
		n.times[0] = t
	}
	if t, ok := in.GetMTime(); ok {
		n.times[1] = t
	}
	o.attr(n, &out.Attr)
	return o.leave(fuse.OK)
}

// rename does one change of names in what processes see, and remembers it.
func (o *ops) rename(c change) {
	for i, s := range c.slots {
		dir := o.inodes[s.dir]
		if old, ok := dir.seen.names[s.name]; ok {
			o.inodes[old].links--
			delete(dir.seen.names, s.name)
		}
		if id := c.inodes[i]; id != 0 {
			o.inodes[id].links++
			o.inodes[id].name = s.name
			dir.seen.names[s.name] = id
		}
		touch(dir)
	}
	o.changes = append(o.changes, c)
}

// make makes a new inode under a name.
func (o *ops) make(h *fuse.InHeader, name string, mode uint32, out *fuse.EntryOut) fuse.Status {
	if status := o.change(Name, name); status != fuse.OK {
		return status
	}
	if _, ok := o.inodes[h.NodeId].seen.names[name]; ok {
		return o.leave(fuse.Status(unix.EEXIST))
	}
	n := newInode(o.next, mode, h.Uid, h.Gid)
	n.links = 0
	o.inodes[o.next] = n
	o.next++
	o.rename(change{[]slotKey{{h.NodeId, name}}, []uint64{n.id}})
	o.entry(n, out)
	return o.leave(fuse.OK)
}

// Mkdir implements fuse.RawFileSystem.
func (o *ops) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return o.make(&in.InHeader, name, unix.S_IFDIR|in.Mode&0o7777, out)
}

// Mknod implements fuse.RawFileSystem.
func (o *ops) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if in.Mode&unix.S_IFMT != unix.S_IFREG {
		return fuse.Status(unix.EPERM)
	}
	return o.make(&in.InHeader, name, in.Mode, out)
}

// Create implements fuse.RawFileSystem.
func (o *ops) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return o.make(&in.InHeader, name, unix.S_IFREG|in.Mode&0o7777, &out.EntryOut)
}

// Link implements fuse.RawFileSystem.
func (o *ops) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	if status := o.change(Name, name); status != fuse.OK {
		return status
	}
	if _, ok := o.inodes[in.NodeId].seen.names[name]; ok {
		return o.leave(fuse.Status(unix.EEXIST))
	}
	o.rename(change{[]slotKey{{in.NodeId, name}}, []uint64{in.Oldnodeid}})
	o.entry(o.inodes[in.Oldnodeid], out)
	return o.leave(fuse.OK)
}

func (o *ops) remove(h *fuse.InHeader, name string) fuse.Status {
	if status := o.change(Name, name); status != fuse.OK {
		return status
	}
	id, ok := o.inodes[h.NodeId].seen.names[name]
	if !ok {
		return o.leave(fuse.ENOENT)
	}
	if len(o.inodes[id].seen.names) > 0 {
		return o.leave(fuse.Status(unix.ENOTEMPTY))
	}
	o.rename(change{[]slotKey{{h.NodeId, name}}, []uint64{0}})
	return o.leave(fuse.OK)
}

// Unlink implements fuse.RawFileSystem.
func (o *ops) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return o.remove(h, name)
}

// Rmdir implements fuse.RawFileSystem.
func (o *ops) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return o.remove(h, name)
}

// Rename implements fuse.RawFileSystem.
func (o *ops) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	if status := o.change(Name, newName); status != fuse.OK {
		return status
	}
	id, ok := o.inodes[in.NodeId].seen.names[oldName]
	if !ok {
		return o.leave(fuse.ENOENT)
	}
	target, exists := o.inodes[in.Newdir].seen.names[newName]
	switch {
	case in.Flags&^unix.RENAME_NOREPLACE != 0:
		return o.leave(fuse.Status(unix.EINVAL))
	case exists && in.Flags&unix.RENAME_NOREPLACE != 0:
		return o.leave(fuse.Status(unix.EEXIST))
	case exists && target == id:
		return o.leave(fuse.OK) // two names of one file: rename(2) does nothing
	case exists && len(o.inodes[target].seen.names) > 0:
		return o.leave(fuse.Status(unix.ENOTEMPTY))
	}
	o.rename(change{[]slotKey{{in.NodeId, oldName}, {in.Newdir, newName}}, []uint64{0, id}})
	return o.leave(fuse.OK)
}

// Open implements fuse.RawFileSystem. Truncation comes as SetAttr before it.
func (o *ops) Open(_ <-chan struct{}, _ *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return fuse.OK
}

// Read implements fuse.RawFileSystem.
func (o *ops) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if status := o.enter(); status != fuse.OK {
		return nil, status
	}
	if status := o.count(Read, o.inodes[in.NodeId].name); status != fuse.OK {
		return nil, status
	}
	n := o.inodes[in.NodeId].seen.read(buf[:min(len(buf), int(in.Size))], int64(in.Offset))
	return fuse.ReadResultData(buf[:n]), o.leave(fuse.OK)
}

// Write implements fuse.RawFileSystem.
func (o *ops) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	if status := o.change(Write, o.nameOf(in.NodeId)); status != fuse.OK {
		return 0, status
	}
	n := o.inodes[in.NodeId]
	first, last := int64(in.Offset)/pageSize, (int64(in.Offset)+int64(len(data))-1)/pageSize
	grows := int64(0)
	for number := first; number <= last; number++ {
		if n.seen.pages[number] == nil {
			grows += pageSize
		}
	}
	if o.limit > 0 && grows > 0 && o.used+grows > o.limit {
		return 0, o.leave(fuse.Status(unix.ENOSPC))
	}
	o.used += grows
	// What comes from the page cache may lie beyond the end of a file that has
	// been truncated meanwhile.
	if in.WriteFlags&fuse.WRITE_CACHE != 0 {
		size := n.seen.size
		n.write(data, int64(in.Offset))
		if n.seen.size > size {
			n.truncate(size)
			o.recount()
		}
	} else {
		n.write(data, int64(in.Offset))
	}
	touch(n)
	return uint32(len(data)), o.leave(fuse.OK)
}

// Lseek implements fuse.RawFileSystem: SEEK_DATA and SEEK_HOLE.
func (o *ops) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	if status := o.enter(); status != fuse.OK {
		return status
	}
	n, offset := o.inodes[in.NodeId], int64(in.Offset)
	if offset >= n.seen.size {
		return o.leave(fuse.Status(unix.ENXIO))
	}
	number := offset / pageSize
	switch in.Whence {
	case unix.SEEK_DATA:
		found := int64(-1)
		for p := range n.seen.pages {
			if p >= number && (found < 0 || p < found) {
				found = p
			}
		}
		if found < 0 || found*pageSize >= n.seen.size {
			return o.leave(fuse.Status(unix.ENXIO))
		}
		offset = max(offset, found*pageSize)
	case unix.SEEK_HOLE:
		for n.seen.pages[number] != nil {
			number++
		}
		offset = min(max(offset, number*pageSize), n.seen.size)
	default:
		return o.leave(fuse.EINVAL)
	}
	out.Offset = uint64(offset)
	return o.leave(fuse.OK)
}

// Flush implements fuse.RawFileSystem: closing makes nothing durable.
func (o *ops) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

// Release implements fuse.RawFileSystem.
func (o *ops) Release(<-chan struct{}, *fuse.ReleaseIn) {}

// Fsync implements fuse.RawFileSystem: fsync, fdatasync and msync.
func (o *ops) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return o.sync(in.NodeId)
}

// FsyncDir implements fuse.RawFileSystem.
func (o *ops) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return o.sync(in.NodeId)
}

func (o *ops) sync(id uint64) fuse.Status {
	if status := o.change(Sync, o.nameOf(id)); status != fuse.OK {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.power == powered { // a fault, then
			o.inodes[id].lose(o.random)
		}
		return status
	}
	if n := o.inodes[id]; !n.isDir() {
		n.sync()
	}
	o.syncNames(id)
	return o.leave(fuse.OK)
}

// Fallocate implements fuse.RawFileSystem.
func (o *ops) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	if in.Mode != 0 {
		return fuse.Status(unix.EOPNOTSUPP)
	}
	if status := o.change(Name, o.nameOf(in.NodeId)); status != fuse.OK {
		return status
	}
	n := o.inodes[in.NodeId]
	n.seen.size = max(n.seen.size, int64(in.Offset+in.Length))
	return o.leave(fuse.OK)
}

// Access implements fuse.RawFileSystem.
func (o *ops) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.OK }

// OpenDir implements fuse.RawFileSystem.
func (o *ops) OpenDir(_ <-chan struct{}, _ *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if status := o.enter(); status != fuse.OK {
		return status
	}
	o.lastHandle++
	out.Fh = o.lastHandle
	return o.leave(fuse.OK)
}

// ReleaseDir implements fuse.RawFileSystem.
func (o *ops) ReleaseDir(in *fuse.ReleaseIn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.listings, in.Fh)
}

// ReadDir implements fuse.RawFileSystem: the names that there were when reading
// began, each once.
func (o *ops) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if status := o.enter(); status != fuse.OK {
		return status
	}
	if in.Offset == 0 {
		names := o.inodes[in.NodeId].seen.names
		var list []fuse.DirEntry
		for i, name := range slices.Sorted(maps.Keys(names)) {
			n := o.inodes[names[name]]
			list = append(list, fuse.DirEntry{Name: name, Ino: n.id, Mode: n.mode, Off: uint64(i + 1)})
		}
		o.listings[in.Fh] = list
	}
	list := o.listings[in.Fh]
	for _, e := range list[min(in.Offset, uint64(len(list))):] {
		if !out.AddDirEntry(e) {
			break
		}
	}
	return o.leave(fuse.OK)
}

// StatFs implements fuse.RawFileSystem.
func (o *ops) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	if status := o.enter(); status != fuse.OK {
		return status
	}
	free := int64(1) << 40
	if o.limit > 0 {
		free = max(0, o.limit-o.used)
	}
	out.Bsize, out.Frsize, out.NameLen = pageSize, pageSize, 255
	out.Bfree = uint64(free / pageSize)
	out.Bavail, out.Blocks = out.Bfree, uint64((free+o.used)/pageSize)
	out.Files, out.Ffree = 1<<20, 1<<20
	return o.leave(fuse.OK)
}
