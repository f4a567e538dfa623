package mirror

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/tile"
)

// maxHashes is how many hashes a package's proof has at most.
const maxHashes = 63

// errMalformed says that a request is not written as the specification demands.
var errMalformed = errors.New("malformed request")

// header is what an add-entries request begins with:
//
//	uint16 log_origin_size, log_origin, uint64 upload_start, uint64 upload_end,
//	uint16 ticket_size, ticket
type header struct {
	origin     string
	start, end int64
	ticket     []byte
}

func readHeader(r io.Reader) (*header, error) {
	origin, err := readString(r)
	if err != nil {
		return nil, fmt.Errorf("%w: log origin: %w", errMalformed, err)
	}
	var bounds [16]byte
	if _, err := io.ReadFull(r, bounds[:]); err != nil {
		return nil, fmt.Errorf("%w: upload range: %w", errMalformed, err)
	}
	start, end := binary.BigEndian.Uint64(bounds[:8]), binary.BigEndian.Uint64(bounds[8:])
	// "upload_start MUST be less or equal to upload_end."
	if start > end || int64(end) < 0 {
		return nil, fmt.Errorf("%w: upload range [%d, %d)", errMalformed, start, end)
	}
	ticket, err := readString(r)
	if err != nil {
		return nil, fmt.Errorf("%w: ticket: %w", errMalformed, err)
	}
	return &header{string(origin), int64(start), int64(end), ticket}, nil
}

// readString reads what a uint16 says the length of.
func readString(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	data := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, data)
	return data, err
}

// entryPackage is up to 256 entries of one bundle with the proof of the bundle up to the last of them.
type entryPackage struct {
	start, end int64 // indexes of the entries
	entries    [][]byte
	proof      []tlog.Hash
}

// aligned is the index of the bundle's first entry.
func (p *entryPackage) aligned() int64 { return p.start / tile.Width * tile.Width }

// readPackage reads the package that begins at start of an upload that ends at end:
//
//	entries, each behind a uint16 length; uint8 num_hashes; hashes of 32 bytes
func readPackage(r io.Reader, start, end int64) (*entryPackage, error) {
	p := &entryPackage{start: start}
	p.end = min(end, p.aligned()+tile.Width)
	for range p.end - p.start {
		e, err := readString(r)
		if err != nil {
			return nil, fmt.Errorf("entry package at %d: %w", start, err)
		}
		p.entries = append(p.entries, e)
	}
	var n [1]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, fmt.Errorf("entry package at %d: number of hashes: %w", start, err)
	}
	if n[0] > maxHashes {
		return nil, fmt.Errorf("%w: entry package at %d: %d hashes, at most %d are allowed", errMalformed, start, n[0], maxHashes)
	}
	for range n[0] {
		var h tlog.Hash
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return nil, fmt.Errorf("entry package at %d: proof: %w", start, err)
		}
		p.proof = append(p.proof, h)
	}
	return p, nil
}

// AppendHeader appends the beginning of an add-entries request to b.
func AppendHeader(b []byte, origin string, start, end int64, ticket []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(origin)))
	b = append(b, origin...)
	b = binary.BigEndian.AppendUint64(b, uint64(start))
	b = binary.BigEndian.AppendUint64(b, uint64(end))
	b = binary.BigEndian.AppendUint16(b, uint16(len(ticket)))
	return append(b, ticket...)
}

// AppendPackage appends one entry package to b.
func AppendPackage(b []byte, entries [][]byte, proof []tlog.Hash) []byte {
	for _, e := range entries {
		b = tile.AppendEntry(b, e)
	}
	b = append(b, byte(len(proof)))
	for _, h := range proof {
		b = append(b, h[:]...)
	}
	return b
}
