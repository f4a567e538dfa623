package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

// ErrCorrupt says that the file was damaged after it was written. Restore
// it from a backup only if you know that nothing was answered since.
var ErrCorrupt = errors.New("journal is damaged")

// ErrStopped says that the journal accepts nothing any more: it was closed, or
// an earlier write failed (then the first failure is wrapped beside it).
var ErrStopped = errors.New("journal has stopped")

// Journal is a durable map. Its methods may be used concurrently.
type Journal struct {
	path    string
	compact int64 // size in bytes below which the file is never compacted
	lock    *os.File

	puts   chan *put
	closed chan struct{} // closed by Close: no more puts are taken
	failed chan struct{} // closed at the first failure
	done   chan struct{} // closed when the writer has ended
	once   sync.Once

	mu   sync.RWMutex
	live map[string][]byte // what is durable; written by the writer only
	err  error             // the first failure, final

	// Owned by the writer (and by Open before it starts).
	file *os.File
	pos  position
	// sync makes what was written durable; a test makes it fail.
	sync func(*os.File) error
}

type put struct {
	key   string
	value []byte
	done  chan error // buffered: the writer never waits for a reader
}

// Options of a journal. The zero value is good.
type Options struct {
	// CompactAt is the file size in bytes from which compaction is considered; default 8 MiB.
	CompactAt int64
}

// Create makes an empty journal at path, durably. It fails if there is a file already. A crash
// leaves none: half a journal would be a damaged one.
func Create(path string) error {
	lock, err := lockFile(path + ".lock") // of two at once, one makes it
	if err != nil {
		return fmt.Errorf("creating journal: %w", err)
	}
	defer lock.Close()
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("creating journal %s: %w", path, os.ErrExist)
	}
	if err := WriteFile(path, []byte(fileMagic), 0o600); err != nil {
		return fmt.Errorf("creating journal: %w", err)
	}
	return nil
}

// Open reads the journal at path, cuts off a torn tail and starts its writer.
// Only one process can have a journal open. Errors: ErrLocked, ErrCorrupt,
// fs.ErrNotExist.
func Open(path string, o Options) (_ *Journal, err error) {
	j := &Journal{
		path:    path,
		compact: o.CompactAt,
		live:    map[string][]byte{},
		puts:    make(chan *put),
		closed:  make(chan struct{}),
		failed:  make(chan struct{}),
		done:    make(chan struct{}),
		sync:    (*os.File).Sync,
	}
	if j.compact == 0 {
		j.compact = 8 << 20
	}
	// Before the lock creates a file: a missing journal is the caller's business.
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	if j.lock, err = lockFile(path + ".lock"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.release())
		}
	}()
	if err := j.load(); err != nil {
		return nil, err
	}
	go j.write()
	return j, nil
}

// load reads the file and leaves it ready to append to.
func (j *Journal) load() error {
	// A crash during compaction leaves this behind; it never became the journal.
	if err := os.Remove(j.path + ".tmp"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing what an unfinished compaction left: %w", err)
	}
	f, err := os.OpenFile(j.path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("opening journal: %w", err)
	}
	j.file = f
	data, err := io.ReadAll(f)
	if err != nil {
		return fmt.Errorf("reading journal %s: %w", j.path, err)
	}
	j.pos, err = replay(data, func(key string, value []byte) { j.live[key] = value })
	if err != nil {
		return fmt.Errorf("reading %s: %w", j.path, err)
	}
	if int64(len(data)) > j.pos.offset {
		if err := f.Truncate(j.pos.offset); err != nil {
			return fmt.Errorf("cutting the torn tail off %s: %w", j.path, err)
		}
	}
	// When its fsync failed, the last frame may be in the page cache and nowhere
	// else, and no later fsync would write it: it is written again.
	if _, err := f.WriteAt(data[j.pos.last:j.pos.offset], j.pos.last); err != nil {
		return fmt.Errorf("writing the last frame of %s again: %w", j.path, err)
	}
	if err := j.sync(f); err != nil {
		return fmt.Errorf("making %s durable: %w", j.path, err)
	}
	// A rename or a create whose directory entry never became durable would be undone by the next crash.
	if err := SyncDir(filepath.Dir(j.path)); err != nil {
		return err
	}
	if _, err := f.Seek(j.pos.offset, io.SeekStart); err != nil {
		return fmt.Errorf("seeking in %s: %w", j.path, err)
	}
	return nil
}

// Read returns what the journal at path holds, without opening it, so also while
// another process has it open. What is being written meanwhile may be missing. Errors: ErrCorrupt,
// fs.ErrNotExist.
func Read(path string) (map[string][]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading journal: %w", err)
	}
	live := map[string][]byte{}
	if _, err := replay(data, func(key string, value []byte) { live[key] = value }); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return live, nil
}

// Get returns the durable value of key. It must not be modified.
func (j *Journal) Get(key string) ([]byte, bool) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	v, ok := j.live[key]
	return v, ok
}

// All returns all durable values. The values must not be modified.
func (j *Journal) All() map[string][]byte {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return maps.Clone(j.live)
}

// Put sets key to value and returns when that is durable. After an error
// the outcome is unknown until the journal is opened again; the error wraps
// ErrStopped. The value must not be modified afterwards.
func (j *Journal) Put(key string, value []byte) error {
	p := &put{key, value, make(chan error, 1)}
	select {
	case j.puts <- p:
		return <-p.done
	case <-j.closed:
		return j.stopped()
	}
}

// Err returns the failure that stopped the journal, or nil.
func (j *Journal) Err() error {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.err
}

// Failed is closed at the first failure; Err says which.
func (j *Journal) Failed() <-chan struct{} { return j.failed }

func (j *Journal) stopped() error {
	if err := j.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrStopped, err)
	}
	return ErrStopped
}

// Close waits for the puts that are under way and releases the file.
func (j *Journal) Close() error {
	j.once.Do(func() { close(j.closed) })
	<-j.done
	return j.release()
}

func (j *Journal) release() error {
	var err error
	if j.file != nil {
		err = j.file.Close()
		j.file = nil
	}
	if j.lock != nil {
		err = errors.Join(err, j.lock.Close())
		j.lock = nil
	}
	return err
}

// write is the writer: it owns the file.
func (j *Journal) write() {
	defer close(j.done)
	for {
		select {
		case p := <-j.puts:
			j.commit(j.gather(p))
		case <-j.closed:
			return
		}
	}
}

// gather takes the puts that waited while the last commit ran.
func (j *Journal) gather(first *put) []*put {
	batch := []*put{first}
	size := len(first.value)
	for size < maxPayload/8 {
		select {
		case p := <-j.puts:
			batch = append(batch, p)
			size += len(p.value)
		default:
			return batch
		}
	}
	return batch
}

// commit makes a batch durable and answers every put of it.
func (j *Journal) commit(batch []*put) {
	err := j.Err()
	if err == nil {
		err = j.append(batch)
	}
	j.mu.Lock()
	if err == nil {
		for _, p := range batch {
			j.live[p.key] = p.value
		}
	} else if j.err == nil {
		j.err = err
		close(j.failed)
	}
	j.mu.Unlock()
	for _, p := range batch {
		if err != nil {
			p.done <- j.stopped()
		} else {
			p.done <- nil
		}
	}
}

func (j *Journal) append(batch []*put) error {
	if err := j.maybeCompact(); err != nil {
		return err
	}
	var payload []byte
	for _, p := range batch {
		payload = appendRecord(payload, p.key, p.value)
	}
	if len(payload) > maxPayload {
		return fmt.Errorf("a commit of %d bytes exceeds the journal's limit of %d", len(payload), maxPayload)
	}
	frame, sum := appendFrame(nil, j.pos.seq+1, j.pos.sum, payload)
	if _, err := j.file.Write(frame); err != nil {
		return fmt.Errorf("writing to %s: %w", j.path, err)
	}
	if err := j.sync(j.file); err != nil {
		return fmt.Errorf("making %s durable: %w", j.path, err)
	}
	j.pos = position{offset: j.pos.offset + int64(len(frame)), last: j.pos.offset, seq: j.pos.seq + 1, sum: sum}
	return nil
}

// maybeCompact rewrites the file when most of it is history. A failure before
// the rename leaves the old file in use and is tried again later; a failure after
// it is final, because it is then unknown which file the next start will find.
func (j *Journal) maybeCompact() error {
	if j.pos.offset < j.compact || j.pos.offset < 4*j.liveSize() {
		return nil
	}
	f, pos, err := j.writeLive(j.path + ".tmp")
	if err != nil {
		// Not fatal, but do not try before every commit while the disk is full.
		j.compact = 2 * j.pos.offset
		return nil
	}
	if err := os.Rename(j.path+".tmp", j.path); err != nil {
		return errors.Join(fmt.Errorf("replacing %s: %w", j.path, err), f.Close())
	}
	old := j.file
	j.file, j.pos = f, pos
	return errors.Join(old.Close(), SyncDir(filepath.Dir(j.path)))
}

func (j *Journal) liveSize() int64 {
	size := int64(len(fileMagic) + headerLen + trailLen)
	for k, v := range j.live {
		size += int64(8 + len(k) + len(v))
	}
	return size
}

// writeLive writes a journal with the live content only, durable when it returns.
func (j *Journal) writeLive(path string) (*os.File, position, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, position{}, err
	}
	var buf bytes.Buffer
	buf.WriteString(fileMagic)
	var pos position
	var payload []byte
	flush := func() {
		frame, sum := appendFrame(nil, pos.seq+1, pos.sum, payload)
		buf.Write(frame)
		pos.seq, pos.sum, payload = pos.seq+1, sum, nil
	}
	for _, key := range slices.Sorted(maps.Keys(j.live)) {
		payload = appendRecord(payload, key, j.live[key])
		if len(payload) > 1<<20 {
			flush()
		}
	}
	if len(payload) > 0 {
		flush()
	}
	pos.offset = int64(buf.Len())
	_, err = f.Write(buf.Bytes())
	if err == nil {
		err = j.sync(f)
	}
	if err != nil {
		return nil, position{}, errors.Join(err, f.Close(), os.Remove(path))
	}
	return f, pos, nil
}

// MkdirAll makes a directory and what is missing above it, and makes all their names
// durable: without that, everything that is made durable in it can vanish with it. Also of
// those that were there, for a try before may have made them and broken off.
func MkdirAll(dir string, mode os.FileMode) error {
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for above := filepath.Dir(dir); above != dir; dir, above = above, filepath.Dir(above) {
		// What this process may not read, or some special file system shows, it has not made.
		if err := SyncDir(above); err != nil && !errors.Is(err, os.ErrPermission) && !errors.Is(err, syscall.EINVAL) {
			return err
		}
	}
	return nil
}

// SyncDir makes creations and renames in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening directory to make it durable: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("making directory %s durable: %w", dir, err)
	}
	return nil
}

// WriteFile writes a whole file so that, after a crash, path holds either the
// old content or the new one, and on return the new one.
func WriteFile(path string, data []byte, mode os.FileMode) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w", path, err)
			_ = os.Remove(tmp.Name()) // the first error is the one to report
		}
	}()
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}
