package witness

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
)

// maxProof is the longest consistency proof: "The client MUST NOT send more
// than 63 consistency proof lines."
const maxProof = 63

// addRequest is a parsed body of add-checkpoint. Nothing in it is verified.
type addRequest struct {
	old   int64
	proof []tlog.Hash
	signed
}

// subtreeRequest is a parsed body of sign-subtree. Nothing in it is verified.
type subtreeRequest struct {
	start, end int64
	hash       tlog.Hash
	proof      []tlog.Hash
	signed
}

// signed is a checkpoint with the signature lines below it.
type signed struct {
	cp   checkpoint.Checkpoint
	text string // what is signed: a new encoding of cp
	sigs []checkpoint.SignatureLine
}

// parseAddRequest reads a request body of add-checkpoint
// (https://c2sp.org/tlog-witness#add-checkpoint):
//
//	old <size>
//	<base64 hash>, zero to 63 times
//	<empty line>
//	<checkpoint>
func parseAddRequest(body []byte) (*addRequest, error) {
	lines, note, err := cutRequest(body)
	if err != nil {
		return nil, err
	}
	r := &addRequest{}
	size, ok := strings.CutPrefix(lines[0], "old ")
	if !ok {
		return nil, fmt.Errorf("the first line must be \"old\", a space and a size")
	}
	if r.old, err = parseSize(size); err != nil {
		return nil, fmt.Errorf("old size: %w", err)
	}
	if r.proof, err = parseProof(lines[1:]); err != nil {
		return nil, err
	}
	r.signed, err = parseSigned(note)
	return r, err
}

// parseSubtreeRequest reads a request body of sign-subtree
// (https://c2sp.org/tlog-witness#sign-subtree):
//
//	subtree <start> <end>
//	<base64 hash of the subtree>
//	<base64 hash>, zero to 63 times
//	<empty line>
//	<reference checkpoint>
func parseSubtreeRequest(body []byte) (*subtreeRequest, error) {
	lines, note, err := cutRequest(body)
	if err != nil {
		return nil, err
	}
	if len(lines) < 2 {
		return nil, fmt.Errorf("the subtree hash line is missing")
	}
	r := &subtreeRequest{}
	bounds, ok := strings.CutPrefix(lines[0], "subtree ")
	start, end, ok2 := strings.Cut(bounds, " ")
	if !ok || !ok2 {
		return nil, fmt.Errorf("the first line must be \"subtree\", a space, the start, a space and the end")
	}
	if r.start, err = parseSize(start); err != nil {
		return nil, fmt.Errorf("subtree start: %w", err)
	}
	if r.end, err = parseSize(end); err != nil {
		return nil, fmt.Errorf("subtree end: %w", err)
	}
	if r.hash, err = parseHash(lines[1]); err != nil {
		return nil, fmt.Errorf("subtree hash: %w", err)
	}
	if r.proof, err = parseProof(lines[2:]); err != nil {
		return nil, err
	}
	r.signed, err = parseSigned(note)
	return r, err
}

// cutRequest separates the lines before the first empty line from the
// checkpoint after it. There is at least one line.
func cutRequest(body []byte) (lines []string, note string, err error) {
	head, note, ok := strings.Cut(string(body), "\n\n")
	if !ok {
		return nil, "", fmt.Errorf("no empty line before the checkpoint")
	}
	return strings.Split(head, "\n"), note, nil
}

// parseSize reads "an ASCII decimal with no leading zeroes (unless the size is
// zero, in which case the encoding MUST be 0)", up to 2^63 - 1.
func parseSize(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63) // takes no sign
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%.40q is not a decimal number without leading zeros below 2^63", s)
	}
	return int64(n), nil
}

func parseProof(lines []string) ([]tlog.Hash, error) {
	if len(lines) > maxProof {
		return nil, fmt.Errorf("%d consistency proof lines, at most %d are allowed", len(lines), maxProof)
	}
	var proof []tlog.Hash
	for i, line := range lines {
		h, err := parseHash(line)
		if err != nil {
			return nil, fmt.Errorf("consistency proof line %d: %w", i+1, err)
		}
		proof = append(proof, h)
	}
	return proof, nil
}

// parseHash reads 32 bytes in the one standard base64 encoding they have.
func parseHash(s string) (tlog.Hash, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	// The decoder skips carriage returns; the length does not.
	if err != nil || len(b) != tlog.HashSize || len(s) != base64.StdEncoding.EncodedLen(tlog.HashSize) {
		return tlog.Hash{}, fmt.Errorf("%.60q is not the base64 of a SHA-256 hash", s)
	}
	return tlog.Hash(b), nil
}

// parseSigned reads a checkpoint with its signature lines. A checkpoint with no
// signature line at all is not a note, but that question is answered better by
// 404 and 403 ("if … no signature from a trusted key for the origin is
// present"), so it is accepted here.
func parseSigned(note string) (signed, error) {
	var s signed
	var err error
	if text, ok := strings.CutSuffix(note, "\n\n"); ok {
		s.text = text + "\n"
	} else if s.text, s.sigs, err = checkpoint.ParseNote([]byte(note)); err != nil {
		return s, fmt.Errorf("checkpoint: %w", err)
	}
	s.sigs = once(s.sigs)
	if s.cp, err = checkpoint.Parse(s.text); err != nil {
		return s, fmt.Errorf("checkpoint: %w", err)
	}
	// Sign a new encoding of what was parsed. There is only one, so a difference is a bug, not a request.
	if again := s.cp.Text(); again != s.text {
		return s, fmt.Errorf("checkpoint: %q is encoded as %q", s.text, again)
	}
	return s, nil
}

// once drops repetitions of a line, each of which would cost the check of a signature.
func once(sigs []checkpoint.SignatureLine) []checkpoint.SignatureLine {
	seen := map[string]bool{}
	return slices.DeleteFunc(sigs, func(l checkpoint.SignatureLine) bool {
		line := string(l.Line())
		repeated := seen[line]
		seen[line] = true
		return repeated
	})
}
