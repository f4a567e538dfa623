package checkpoint

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	proofHeader = "c2sp.org/tlog-proof@v1"
	// MaxProof is the longest proof file accepted, in bytes.
	MaxProof = MaxNote + 64<<10
	// maxExtra bounds the opaque extra data, in bytes.
	maxExtra = 32 << 10
	// maxPath is the longest path in a tree whose size is an int64.
	maxPath = 63
)

// Proof is a tlog-proof (https://c2sp.org/tlog-proof): all that is needed,
// beside the entry and a policy, to verify offline that it was logged.
type Proof struct {
	Extra      []byte      // opaque and not authenticated by itself; empty: no extra line
	Index      int64       // of the entry, from zero
	Hashes     []tlog.Hash // from the leaf's sibling to the root's child
	Checkpoint []byte      // the signed checkpoint, verbatim
}

// Marshal returns the proof file. ParseProof accepts it if the fields are valid.
func (p *Proof) Marshal() []byte {
	const line = 4*((tlog.HashSize+2)/3) + 1 // bytes of a hash and its newline
	b := make([]byte, 0, len(proofHeader)+4*len(p.Extra)/3+line*len(p.Hashes)+len(p.Checkpoint)+64)
	b = append(b, proofHeader+"\n"...)
	// "If no extra data is present, this line is omitted."
	if len(p.Extra) > 0 {
		b = append(base64.StdEncoding.AppendEncode(append(b, "extra "...), p.Extra), '\n')
	}
	b = append(strconv.AppendInt(append(b, "index "...), p.Index, 10), '\n')
	for i := range p.Hashes {
		b = append(base64.StdEncoding.AppendEncode(b, p.Hashes[i][:]), '\n')
	}
	return append(append(b, '\n'), p.Checkpoint...)
}

// ParseProof reads a proof file. It accepts only what Marshal writes: the
// checkpoint in it is a well-formed note with a well-formed checkpoint text.
// Nothing is verified. The error is ErrMalformed.
func ParseProof(b []byte) (*Proof, error) { return new(ProofParser).Parse(b) }

// ProofParser reads many proof files as ParseProof does. A checkpoint that stands
// byte for byte in one after another is parsed once, and shared by their Proofs:
// nobody may change it. The zero value is ready; one goroutine at a time uses it.
type ProofParser struct {
	note []byte // the last well-formed checkpoint; nil: none yet
}

// Parse is ParseProof.
func (r *ProofParser) Parse(b []byte) (*Proof, error) {
	if len(b) > MaxProof {
		return nil, fmt.Errorf("%w proof: longer than %d bytes", ErrMalformed, MaxProof)
	}
	head, note, ok := bytes.Cut(b, []byte("\n\n"))
	if !ok {
		return nil, fmt.Errorf("%w proof: no empty line before the checkpoint", ErrMalformed)
	}
	p, err := parseProofHead(string(head))
	if err != nil {
		return nil, err
	}
	if r.note == nil || !bytes.Equal(note, r.note) {
		text, _, err := ParseNote(note)
		if err != nil {
			return nil, fmt.Errorf("proof: %w", err)
		}
		if _, err := Parse(text); err != nil {
			return nil, fmt.Errorf("proof: %w", err)
		}
		r.note = bytes.Clone(note)
	}
	p.Checkpoint = r.note
	return p, nil
}

// parseProofHead reads what stands before the empty line and the checkpoint.
func parseProofHead(head string) (*Proof, error) {
	lines := strings.Split(head, "\n")
	if lines[0] != proofHeader {
		return nil, fmt.Errorf("%w proof: the first line is not %s", ErrMalformed, proofHeader)
	}
	lines = lines[1:]
	p := &Proof{}
	var ok bool
	if len(lines) > 0 && strings.HasPrefix(lines[0], "extra ") {
		if p.Extra, ok = decodeBase64(lines[0][len("extra "):]); !ok || len(p.Extra) == 0 || len(p.Extra) > maxExtra {
			return nil, fmt.Errorf("%w proof: extra line", ErrMalformed)
		}
		lines = lines[1:]
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("%w proof: no index line", ErrMalformed)
	}
	index, named := strings.CutPrefix(lines[0], "index ")
	if p.Index, ok = parseDecimal(index); !named || !ok {
		return nil, fmt.Errorf("%w proof: index line %q", ErrMalformed, shorten(lines[0]))
	}
	if lines = lines[1:]; len(lines) > maxPath {
		return nil, fmt.Errorf("%w proof: %d hashes, more than %d", ErrMalformed, len(lines), maxPath)
	}
	p.Hashes = slices.Grow(p.Hashes, len(lines))
	for _, l := range lines {
		h, ok := decodeHash(l)
		if !ok {
			return nil, fmt.Errorf("%w proof: hash line %q", ErrMalformed, shorten(l))
		}
		p.Hashes = append(p.Hashes, h)
	}
	return p, nil
}

// LeafTimeExtra returns the extra data that this project's proofs carry: the
// leaf's time in milliseconds since the epoch, 8 bytes big-endian. With it the
// leaf can be rebuilt from the signed envelope; the root authenticates it.
func LeafTimeExtra(ms int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(ms)) }

// LeafTime returns the leaf's time from the extra data, in milliseconds since
// the epoch. It is not authenticated before the leaf rebuilt with it verifies.
func (p *Proof) LeafTime() (int64, error) {
	if len(p.Extra) != 8 {
		return 0, fmt.Errorf("%w proof: its extra data are %d bytes and not the 8 of a leaf time", ErrMalformed, len(p.Extra))
	}
	t := int64(binary.BigEndian.Uint64(p.Extra))
	if t < 0 {
		return 0, fmt.Errorf("%w proof: leaf time beyond 2^63", ErrMalformed)
	}
	return t, nil
}

// Verify checks that the policy accepts the proof's checkpoint and that the
// entry with this leaf hash is in it at p.Index. The errors are those of
// Policy.Verify and ErrProof. On ErrQuorum the Verified is returned beside the
// error, and then the inclusion does hold.
func (p *Proof) Verify(leafHash tlog.Hash, policy *Policy) (*Verified, error) {
	v, err := policy.Verify(p.Checkpoint)
	if v == nil {
		return nil, err
	}
	if err := VerifyInclusion(leafHash, p.Index, v.Size, p.Hashes, v.Root); err != nil {
		return nil, err
	}
	return v, err
}
