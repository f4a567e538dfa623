package conformance

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/subtree"
)

// Log is a log with a tree that is the same every time, and with a fork of it.
// It may be used concurrently as long as the trees are long enough (see Grow).
type Log struct {
	Origin  string
	Signers []*checkpoint.Signer

	trees [2][]tlog.Hash // leaf hashes of the tree and of its fork
}

// NewLog returns the log of these signers. Its origin is the name of the first.
func NewLog(signers ...*checkpoint.Signer) *Log {
	l := &Log{Origin: signers[0].Verifier().Name(), Signers: signers}
	l.Grow(64)
	return l
}

// Grow makes sure that both trees have at least size leaves. The fork differs from leaf 0 on.
func (l *Log) Grow(size int64) {
	for i := int64(len(l.trees[0])); i < size; i++ {
		l.trees[0] = append(l.trees[0], tlog.RecordHash(fmt.Appendf(nil, "leaf %d", i)))
		l.trees[1] = append(l.trees[1], tlog.RecordHash(fmt.Appendf(nil, "forked leaf %d", i)))
	}
}

// View is one history of a log.
type View struct {
	log  *Log
	tree int
}

// Honest returns the log's tree.
func (l *Log) Honest() View { return View{l, 0} }

// Forked returns another tree that the log signs.
func (l *Log) Forked() View { return View{l, 1} }

// Hash returns the hash of the leaves [lo, hi) as a tree of their own.
func (v View) Hash(lo, hi int64) tlog.Hash { return subtree.Hash(v.log.trees[v.tree][lo:hi]) }

// Checkpoint returns the checkpoint of this size.
func (v View) Checkpoint(size int64) checkpoint.Checkpoint {
	return checkpoint.Checkpoint{Origin: v.log.Origin, Size: size, Root: v.Hash(0, size)}
}

// Proof returns the consistency proof between two sizes (RFC 6962 section 2.1.2).
func (v View) Proof(from, to int64) []tlog.Hash {
	if from == 0 || from == to {
		return nil
	}
	return v.SubtreeProof(0, from, to)
}

// SubtreeProof returns the subtree consistency proof of [start, end) in the tree of this size.
func (v View) SubtreeProof(start, end, size int64) []tlog.Hash {
	p, err := subtree.Prove(start, end, size, func(lo, hi int64) (tlog.Hash, error) { return v.Hash(lo, hi), nil })
	if err != nil {
		panic(err) // a check asked for what is not a subtree: a mistake in this package
	}
	return p
}

// Note returns the checkpoint of this size with the signatures of all keys.
func (v View) Note(size int64) string { return v.log.Sign(v.Checkpoint(size).Text()) }

// Request returns the body of an honest add-checkpoint request.
func (v View) Request(from, to int64) string {
	return AddBody(from, v.Proof(from, to), v.Note(to))
}

// Sign returns the text as a note with the signatures of all keys.
func (l *Log) Sign(text string) string {
	var lines [][]byte
	for _, s := range l.Signers {
		lines = append(lines, sign(s, text))
	}
	return string(checkpoint.Join(text, lines...))
}

func sign(s *checkpoint.Signer, text string) []byte {
	line, err := s.Sign(text, time.Now().Unix())
	if err != nil {
		panic(err) // a check asked for a signature on what is not a checkpoint: a mistake in this package
	}
	return line
}

// AddBody returns the body of an add-checkpoint request.
func AddBody(old int64, proof []tlog.Hash, note string) string {
	return fmt.Sprintf("old %d\n%s\n%s", old, hashLines(proof), note)
}

// SubtreeBody returns the body of a sign-subtree request.
func SubtreeBody(start, end int64, hash tlog.Hash, proof []tlog.Hash, note string) string {
	return fmt.Sprintf("subtree %d %d\n%s\n%s\n%s", start, end, encode(hash), hashLines(proof), note)
}

func hashLines(hashes []tlog.Hash) string {
	var b strings.Builder
	for _, h := range hashes {
		b.WriteString(encode(h) + "\n")
	}
	return b.String()
}

func encode(h tlog.Hash) string { return base64.StdEncoding.EncodeToString(h[:]) }
