package evidence

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"strings"
)

// Bounds of a pack. What is larger is asked for in parts.
const (
	MaxPack     = 64 << 30 // bytes of a pack
	maxFile     = math.MaxUint32 - 1
	maxInMemory = 256 << 20 // bytes of a file that is read as one: findings, rules
	maxFiles    = 4 << 20
	maxName     = 64
)

// ErrTooLarge: the answer does not fit into one pack.
var ErrTooLarge = errors.New("the answer does not fit into one pack; ask for a shorter time with --from and --to")

// Signatures and fixed values of PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12
// and 4.3.14 to 4.3.16. Everything is stored, so that the bytes do not depend on
// a compressor, and dated 1980-01-01, the first day a zip file knows.
const (
	sigLocal   = 0x04034b50
	sigCentral = 0x02014b50
	sigEnd     = 0x06054b50
	sigEnd64   = 0x06064b50
	sigFind64  = 0x07064b50
	zipVersion = 10
	zip64      = 45 // the version that knows offsets above 4 GiB and more than 65,534 files
	zipDate    = 1<<5 | 1
	lenLocal   = 30
)

// content is the offset of its content.
func (m *File) content() int64 { return m.at + lenLocal + int64(len(m.Name)) }

// common are the fields that the header and the directory share.
func (m *File) common(b []byte, version, extra uint16) []byte {
	le := binary.LittleEndian
	b = le.AppendUint16(b, version)
	b = le.AppendUint16(b, 0) // flags
	b = le.AppendUint16(b, 0) // stored
	b = le.AppendUint16(b, 0) // time
	b = le.AppendUint16(b, zipDate)
	b = le.AppendUint32(b, m.crc)
	b = le.AppendUint32(b, uint32(m.Size))
	b = le.AppendUint32(b, uint32(m.Size))
	b = le.AppendUint16(b, uint16(len(m.Name)))
	return le.AppendUint16(b, extra)
}

// header is what stands before its content, appended to b.
func (m *File) header(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, sigLocal)
	return append(m.common(b, zipVersion, 0), m.Name...)
}

// listed is what the directory says of it.
func (m *File) listed() []byte {
	le := binary.LittleEndian
	offset, extra, version := uint32(math.MaxUint32), []byte(nil), uint16(zip64)
	if m.at < math.MaxUint32 {
		offset, version = uint32(m.at), zipVersion
	} else {
		// The zip64 extra field holds what did not fit: here, the offset.
		extra = le.AppendUint64([]byte{1, 0, 8, 0}, uint64(m.at))
	}
	b := le.AppendUint32(nil, sigCentral)
	b = le.AppendUint16(b, version) // made by
	b = m.common(b, version, uint16(len(extra)))
	b = append(b, make([]byte, 10)...) // comment, disk, attributes
	b = le.AppendUint32(b, offset)
	return append(append(b, m.Name...), extra...)
}

// writeDirectory writes what ends a pack whose directory begins at an offset.
func writeDirectory(w io.Writer, members []File, at int64) error {
	out := bufio.NewWriter(w)
	le := binary.LittleEndian
	var size int64
	for i := range members {
		b := members[i].listed()
		size += int64(len(b))
		if _, err := out.Write(b); err != nil {
			return err
		}
	}
	count := len(members)
	var b []byte
	if count >= math.MaxUint16 || size >= math.MaxUint32 || at >= math.MaxUint32 {
		b = le.AppendUint32(b, sigEnd64)
		b = le.AppendUint64(b, 44)    // bytes of this record that follow
		b = le.AppendUint16(b, zip64) // made by
		b = le.AppendUint16(b, zip64) // needed
		b = le.AppendUint64(b, 0)     // disks
		b = le.AppendUint64(b, uint64(count))
		b = le.AppendUint64(b, uint64(count))
		b = le.AppendUint64(b, uint64(size))
		b = le.AppendUint64(b, uint64(at))
		b = le.AppendUint32(b, sigFind64)
		b = le.AppendUint32(b, 0) // disk
		b = le.AppendUint64(b, uint64(at+size))
		b = le.AppendUint32(b, 1) // disks
	}
	b = le.AppendUint32(b, sigEnd)
	b = le.AppendUint32(b, 0) // disks
	b = le.AppendUint16(b, uint16(min(count, math.MaxUint16)))
	b = le.AppendUint16(b, uint16(min(count, math.MaxUint16)))
	b = le.AppendUint32(b, uint32(min(size, math.MaxUint32)))
	b = le.AppendUint32(b, uint32(min(at, math.MaxUint32)))
	b = le.AppendUint16(b, 0) // comment
	_, err := out.Write(b)
	return errors.Join(err, out.Flush())
}

// archiveWriter writes a pack as its files come: in the order of their names.
type archiveWriter struct {
	w       *bufio.Writer
	at      int64
	members []File
	err     error // the first; nothing is written after it
}

func newArchiveWriter(w io.Writer) *archiveWriter {
	return &archiveWriter{w: bufio.NewWriterSize(w, 64<<10)}
}

// add writes a file.
func (a *archiveWriter) add(name string, content []byte) {
	a.stream(name, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// measure returns a file as it will stand in a pack, without its place.
func measure(name string, write func(io.Writer) error) (File, error) {
	s := newSums()
	if err := write(s); err != nil {
		return File{}, err
	}
	return s.file(name), nil
}

// stream writes a file that is made twice, since its header says what it is.
func (a *archiveWriter) stream(name string, write func(io.Writer) error) {
	m, err := measure(name, write)
	if a.err = errors.Join(a.err, err); a.err != nil {
		return
	}
	m.at = a.at
	switch {
	case m.Size > maxFile || len(a.members) >= maxFiles || m.content()+m.Size > MaxPack:
		a.err = fmt.Errorf("%w: %s has %d bytes, after %d files of %d bytes", ErrTooLarge, name, m.Size, len(a.members), a.at)
		return
	case len(a.members) > 0 && a.members[len(a.members)-1].Name >= name:
		a.err = fmt.Errorf("%s does not come after %s; this is a defect of this program", name, a.members[len(a.members)-1].Name)
		return
	}
	a.members, a.at = append(a.members, m), m.content()+m.Size
	_, a.err = a.w.Write(m.header(nil))
	if a.err == nil {
		a.err = write(a.w)
	}
}

// close ends the pack and returns its length in bytes.
func (a *archiveWriter) close() (int64, error) {
	if a.err != nil {
		return 0, a.err
	}
	end := counter{w: a.w}
	err := writeDirectory(&end, a.members, a.at)
	return a.at + end.n, errors.Join(err, a.w.Flush())
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// sums is what a pack says of a file.
type sums struct {
	sha  hash.Hash
	crc  uint32
	size int64
}

func newSums() *sums { return &sums{sha: sha256.New()} }

func (s *sums) Write(p []byte) (int, error) {
	s.sha.Write(p)
	s.crc = crc32.Update(s.crc, crc32.IEEETable, p)
	s.size += int64(len(p))
	return len(p), nil
}

// file returns the file whose content was written, and begins anew.
func (s *sums) file(name string) File {
	f := File{Name: name, Size: s.size, crc: s.crc}
	s.sha.Sum(f.SHA256[:0])
	s.sha.Reset()
	s.size, s.crc = 0, 0
	return f
}

// archive is a pack that was read once: what its files are, and where.
type archive struct {
	pack    io.ReaderAt
	members []File // in the order of their names
	sha256  string // of the whole pack, hex
}

func (a *archive) find(name string) *File {
	if i, ok := slices.BinarySearchFunc(a.members, name, byName); ok {
		return &a.members[i]
	}
	return nil
}

func byName(f File, name string) int { return strings.Compare(f.Name, name) }

// open reads the content of a file again.
func (a *archive) open(m *File) io.Reader { return io.NewSectionReader(a.pack, m.content(), m.Size) }

// read returns the content of a file of at most most bytes, in buf where that is
// large enough. It is that which was there the first time, or an error.
func (a *archive) read(m *File, most int64, buf []byte) ([]byte, error) {
	if m.Size > most {
		return nil, fmt.Errorf("has %d bytes, more than the %d it may have", m.Size, most)
	}
	content := slices.Grow(buf[:0], int(m.Size))[:m.Size]
	if _, err := io.ReadFull(a.open(m), content); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if sha256.Sum256(content) != m.SHA256 {
		return nil, errors.New("was changed while the pack was verified")
	}
	return content, nil
}

// archiveReader reads a pack from its beginning to its end.
type archiveReader struct {
	*archive
	in       *bufio.Reader
	at       int64
	sums     *sums
	problems []Problem
}

// newArchiveReader returns a reader of the files in a pack from an offset on, after
// those that stand before it.
func newArchiveReader(pack io.ReaderAt, in io.Reader, before []File, at int64) *archiveReader {
	return &archiveReader{archive: &archive{pack: pack, members: before}, in: bufio.NewReaderSize(in, 64<<10), at: at, sums: newSums()}
}

func (r *archiveReader) bad(place, format string, args ...any) {
	r.problems = append(r.problems, Problem{Place: place, Detail: fmt.Sprintf(format, args...)})
}

// readArchive reads a zip file of the form that archiveWriter gives, and no other.
// It returns what can be read, and says of everything else what is wrong. What it
// keeps grows with the number of files, not with what is in them.
func readArchive(pack io.ReaderAt, size int64) (*archive, []Problem) {
	whole := sha256.New()
	r := newArchiveReader(pack, io.TeeReader(io.NewSectionReader(pack, 0, size), whole), nil, 0)
	if size > MaxPack {
		r.bad("the pack", "larger than %d bytes", int64(MaxPack))
		return r.archive, r.problems
	}
	r.read()
	// Whatever is wrong with it, this is its digest.
	if _, err := io.Copy(io.Discard, r.in); err != nil {
		r.bad("the pack", "cannot be read: %v", err)
	}
	r.sha256 = hex.EncodeToString(whole.Sum(nil))
	return r.archive, r.problems
}

// read reads the files and holds the directory against them.
func (r *archiveReader) read() {
	if r.files() {
		r.end()
	}
	if len(r.problems) > 0 { // perhaps of their order, on which find rests
		slices.SortStableFunc(r.members, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	}
}

// files reads all files. It returns false where it cannot tell what comes next.
func (r *archiveReader) files() bool {
	for {
		begin, _ := r.in.Peek(4)
		if len(begin) < 4 || binary.LittleEndian.Uint32(begin) != sigLocal {
			return true
		}
		if len(r.members) == maxFiles {
			r.bad("the pack", "more than %d files", maxFiles)
			return false
		}
		if err := r.file(); err != nil {
			place := "the first file"
			if n := len(r.members); n > 0 {
				place = "the file after " + r.members[n-1].Name
			}
			r.bad(place, "%v", err)
			return false
		}
	}
}

// file reads one file.
func (r *archiveReader) file() error {
	head := make([]byte, lenLocal)
	if _, err := io.ReadFull(r.in, head); err != nil {
		return errors.New("is cut off in its zip header")
	}
	le := binary.LittleEndian
	flags, method := le.Uint16(head[6:]), le.Uint16(head[8:])
	crc, stored, size := le.Uint32(head[14:]), le.Uint32(head[18:]), le.Uint32(head[22:])
	nameLen, extraLen := le.Uint16(head[26:]), le.Uint16(head[28:])
	switch {
	case flags&1 != 0:
		return errors.New("is encrypted, which no file of a pack is")
	case flags != 0 || method != 0 || size != stored || extraLen != 0:
		return errors.New("is not stored as a pack stores it; was the pack packed again by another program?")
	case size > maxFile:
		return fmt.Errorf("says it has %d bytes, more than the %d a file of a pack may have", size, uint32(maxFile))
	case nameLen > maxName:
		return fmt.Errorf("has the name of %d bytes, which no file of a pack has", nameLen)
	}
	name := make([]byte, nameLen)
	if _, err := io.ReadFull(r.in, name); err != nil {
		return errors.New("is cut off in its zip header")
	}
	if !safeName(string(name)) {
		return fmt.Errorf("has the name %q, which no file of a pack has", name)
	}
	for left := int64(size); left > 0; {
		if _, err := r.in.Peek(1); err != nil {
			return fmt.Errorf("%s is cut off", name)
		}
		n := int(min(left, int64(r.in.Buffered())))
		content, _ := r.in.Peek(n) // it is there
		_, _ = r.sums.Write(content)
		_, _ = r.in.Discard(n)
		left -= int64(n)
	}
	m := r.sums.file(string(name))
	m.at = r.at
	r.judge(&m, crc, append(head, name...))
	r.at = m.content() + m.Size
	return nil
}

// judge holds a file against its header and the file before it, and keeps it.
func (r *archiveReader) judge(m *File, crc uint32, head []byte) {
	last := ""
	if n := len(r.members); n > 0 {
		last = r.members[n-1].Name
	}
	want := m.header(nil)
	switch {
	case m.Name == last:
		r.bad(m.Name, "is in the pack twice: it was added, or one of the names was changed")
		return
	case m.crc != crc:
		r.bad(m.Name, "its content or its zip checksum was changed")
	case !bytes.Equal(want, head):
		r.bad("the zip header of "+m.Name, "was changed: byte %d is not as a pack has it", m.at+int64(mismatch(want, head)))
	case m.Name < last:
		r.bad(m.Name, "stands after %s, and the files of a pack stand in the order of their names: one of the names was changed", last)
	}
	r.members = append(r.members, *m)
}

// mismatch is where two texts differ first.
func mismatch(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// end holds what follows the files against the one directory of these files.
func (r *archiveReader) end() {
	c := &comparer{in: r.in}
	err := writeDirectory(c, r.members, r.at)
	if err == nil {
		err = c.end()
	}
	if err == nil || len(r.problems) > 0 {
		return // the directory of what was changed is another one
	}
	at := r.at + c.at
	if c.at < 4 && len(r.members) > 0 {
		r.bad("the zip header after "+r.members[len(r.members)-1].Name, "was changed: byte %d is not as a pack has it", at)
		return
	}
	end := int64(0)
	for i := range r.members {
		if end += int64(len(r.members[i].listed())); c.at < end {
			r.bad("the zip directory", "does not say of %s what its zip header says; one of the two was changed: byte %d is not as a pack has it", r.members[i].Name, at)
			return
		}
	}
	r.bad("the zip directory", "was changed: byte %d is not as a pack has it", at)
}

// comparer takes what should be there and compares it with what is.
type comparer struct {
	in *bufio.Reader
	at int64 // how much was the same
}

var errDiffers = errors.New("is something else")

func (c *comparer) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		have, err := c.in.Peek(min(len(p)-done, 4096))
		same := mismatch(p[done:done+len(have)], have)
		c.at += int64(same)
		if same < len(have) || len(have) == 0 {
			return done + same, errDiffers
		}
		if _, discarded := c.in.Discard(len(have)); discarded != nil {
			return done, discarded
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return done, err
		}
		done += len(have)
	}
	return len(p), nil
}

// end: nothing follows.
func (c *comparer) end() error {
	if _, err := c.in.Peek(1); !errors.Is(err, io.EOF) {
		return errDiffers
	}
	return nil
}

// safeName: names that mean the same file on every system, inside the folder in
// which a pack is unpacked.
func safeName(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	for _, element := range strings.Split(name, "/") {
		if element == "" || element[0] == '.' {
			return false
		}
	}
	return strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("./-", r)
	}) < 0
}
