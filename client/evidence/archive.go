package evidence

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
)

// Bounds of a pack. What is larger is asked for in parts.
const (
	MaxPack  = 1 << 30 // bytes of a pack
	maxFile  = 256 << 20
	maxFiles = 65_000 // zip counts to 65535
	maxName  = 64
)

// ErrTooLarge: the answer does not fit into one pack.
var ErrTooLarge = errors.New("the answer does not fit into one pack; ask for a shorter time with --from and --to")

// file is a file in a pack.
type file struct {
	name    string
	content []byte
}

// Signatures and fixed values of PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12
// and 4.3.16. Everything is stored, so that the bytes do not depend on a
// compressor, and dated 1980-01-01, the first day a zip file knows.
const (
	sigLocal   = 0x04034b50
	sigCentral = 0x02014b50
	sigEnd     = 0x06054b50
	zipVersion = 10
	zipDate    = 1<<5 | 1
	lenLocal   = 30
)

// writeArchive writes the one zip file of these files, in the order of their
// names, and beside it where each of its parts begins.
func writeArchive(files []file) (pack []byte, parts []part) {
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b file) int { return cmp.Compare(a.name, b.name) })
	le := binary.LittleEndian
	var directory []byte
	for _, f := range files {
		at := uint32(len(pack))
		common := le.AppendUint16(nil, zipVersion)
		common = le.AppendUint16(common, 0) // flags
		common = le.AppendUint16(common, 0) // stored
		common = le.AppendUint16(common, 0) // time
		common = le.AppendUint16(common, zipDate)
		common = le.AppendUint32(common, crc32.ChecksumIEEE(f.content))
		common = le.AppendUint32(common, uint32(len(f.content)))
		common = le.AppendUint32(common, uint32(len(f.content)))
		common = le.AppendUint16(common, uint16(len(f.name)))
		common = le.AppendUint16(common, 0) // extra
		parts = append(parts, part{len(pack), "the zip header of " + f.name})
		pack = append(le.AppendUint32(pack, sigLocal), common...)
		pack = append(pack, f.name...)
		parts = append(parts, part{len(pack), f.name})
		pack = append(pack, f.content...)

		directory = le.AppendUint32(directory, sigCentral)
		directory = le.AppendUint16(directory, zipVersion) // made by
		directory = append(directory, common...)
		directory = append(directory, make([]byte, 10)...) // comment, disk, attributes
		directory = le.AppendUint32(directory, at)
		directory = append(directory, f.name...)
	}
	at := uint32(len(pack))
	parts = append(parts, part{len(pack), "the zip directory"})
	pack = append(pack, directory...)
	pack = le.AppendUint32(pack, sigEnd)
	pack = le.AppendUint32(pack, 0) // disks
	pack = le.AppendUint16(pack, uint16(len(files)))
	pack = le.AppendUint16(pack, uint16(len(files)))
	pack = le.AppendUint32(pack, uint32(len(directory)))
	pack = le.AppendUint32(pack, at)
	return le.AppendUint16(pack, 0), parts // comment
}

// part is where something begins in a pack.
type part struct {
	offset int
	name   string
}

// readArchive reads a zip file of the form that writeArchive gives, and no other.
// It returns what can be read, and says of everything else what is wrong.
func readArchive(pack []byte) (files []file, problems []Problem) {
	bad := func(place, format string, args ...any) {
		problems = append(problems, Problem{Place: place, Detail: fmt.Sprintf(format, args...)})
	}
	if len(pack) > MaxPack {
		bad("the pack", "larger than %d bytes", MaxPack)
		return nil, problems
	}
	seen := map[string]bool{}
	rest, place := pack, "the first file"
	for len(rest) >= 4 && binary.LittleEndian.Uint32(rest) == sigLocal {
		f, crc, after, err := readMember(rest)
		if err != nil {
			bad(place, "%v", err)
			return files, problems
		}
		switch {
		case len(files) == maxFiles:
			bad("the pack", "more than %d files", maxFiles)
			return files, problems
		case seen[f.name]:
			bad(f.name, "is in the pack twice")
		case crc32.ChecksumIEEE(f.content) != crc:
			bad(f.name, "its content or its zip checksum was changed")
		}
		if !seen[f.name] {
			files = append(files, f)
		}
		seen[f.name], rest, place = true, after, "the file after "+f.name
	}
	if len(problems) > 0 {
		return files, problems
	}
	// One form only: what the files give when they are packed again.
	again, parts := writeArchive(files)
	if !bytes.Equal(again, pack) {
		i := 0
		for i < len(again) && i < len(pack) && again[i] == pack[i] {
			i++
		}
		name := "the end of the pack"
		for _, p := range parts {
			if p.offset <= i {
				name = p.name
			}
		}
		bad(name, "was changed: byte %d is not as a pack has it", i)
	}
	return files, problems
}

// readMember reads a local header and its content.
func readMember(b []byte) (f file, crc uint32, rest []byte, err error) {
	if len(b) < lenLocal {
		return f, 0, nil, errors.New("cut off in its zip header")
	}
	le := binary.LittleEndian
	flags, method := le.Uint16(b[6:]), le.Uint16(b[8:])
	size, stored := le.Uint32(b[22:]), le.Uint32(b[18:])
	nameLen, extraLen := int(le.Uint16(b[26:])), int(le.Uint16(b[28:]))
	switch {
	case flags&1 != 0:
		return f, 0, nil, errors.New("is encrypted, which no file of a pack is")
	case flags != 0 || method != 0 || size != stored || extraLen != 0:
		return f, 0, nil, errors.New("is not stored as a pack stores it; was the pack packed again by another program?")
	case size > maxFile:
		return f, 0, nil, fmt.Errorf("says it has %d bytes, more than the %d a file of a pack may have", size, maxFile)
	case len(b) < lenLocal+nameLen || len(b)-lenLocal-nameLen < int(size):
		return f, 0, nil, errors.New("is cut off")
	}
	f.name = string(b[lenLocal:][:nameLen])
	if !safeName(f.name) {
		return f, 0, nil, fmt.Errorf("has the name %q, which no file of a pack has", f.name)
	}
	rest = b[lenLocal+nameLen:]
	f.content = rest[:size:size]
	return f, le.Uint32(b[14:]), rest[size:], nil
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
