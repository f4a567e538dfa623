package witness

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/journal"
)

// EvidenceKind says in which way a log contradicted itself.
type EvidenceKind string

const (
	// Fork: the log signed two roots for one size. Proof by itself.
	Fork EvidenceKind = "fork"
	// Rollback: a key of the log says in a timestamped cosignature that its largest
	// tree is smaller than the one it had cosigned at an earlier time. Proof by itself.
	Rollback EvidenceKind = "rollback"
	// EmptyRoot: the log signed size zero with a root that is not the empty tree's. Proof by itself.
	EmptyRoot EvidenceKind = "empty-root"
	// Inconsistent: a checkpoint of the log came with a consistency proof that does
	// not hold. Whoever sent it may have sent a wrong proof for an honest checkpoint, so this is a
	// reason to ask, not proof; an honest log can show a proof that holds.
	Inconsistent EvidenceKind = "inconsistent"
)

// maxEvidence bounds the records kept for each log and kind: the first ones are kept.
const maxEvidence = 16

// Evidence is one contradiction, with everything needed to check it without trusting the witness.
type Evidence struct {
	Kind    EvidenceKind `json:"kind"`
	Proof   bool         `json:"proof"` // the signatures alone prove it
	Origin  string       `json:"origin"`
	Time    time.Time    `json:"time"` // when the witness saw it
	Explain string       `json:"explanation"`
	Known   string       `json:"known,omitempty"` // the checkpoint cosigned before, with all signatures; empty before the first
	Shown   string       `json:"shown"`           // the checkpoint that contradicts it, with the log's verified signatures
	Request string       `json:"request"`         // the body of the request as it came
}

// Contradiction returns how the checkpoint cp with the log's verified signature lines
// contradicts the known note, as far as the signatures themselves prove it. keys
// are the log's.
func contradiction(known *head, cp checkpoint.Checkpoint, sigs []checkpoint.SignatureLine, keys []*checkpoint.Verifier) (EvidenceKind, string, bool) {
	if cp.Size == 0 && cp.Root != checkpoint.EmptyRoot {
		return EmptyRoot, "size zero has one root, the empty tree's, and this is another", true
	}
	if known == nil {
		return "", "", false
	}
	if cp.Size == known.cp.Size && cp.Root != known.cp.Root {
		return Fork, fmt.Sprintf("two roots for size %d: %v and %v", cp.Size, known.cp.Root, cp.Root), true
	}
	if cp.Size >= known.cp.Size {
		return "", "", false
	}
	// "If the timestamp is not zero, it is also a statement that, as of the specified
	// time, this is the largest consistent tree the cosigner has observed for the log."
	for _, k := range keys {
		if !k.Algorithm().Timestamped() {
			continue
		}
		before, after := timeOf(k, known.logSigs), timeOf(k, sigs)
		if before > 0 && after > before {
			return Rollback, fmt.Sprintf("key %s says that its largest tree had size %d at time %d and size %d at the later time %d",
				k, known.cp.Size, before, cp.Size, after), true
		}
	}
	return "", "", false
}

// timeOf returns the time of this key's cosignature, 0 if there is none.
func timeOf(k *checkpoint.Verifier, sigs []checkpoint.SignatureLine) int64 {
	for _, l := range sigs {
		if l.Name == k.Name() && l.KeyHash == k.KeyHash() {
			return l.Timestamp()
		}
	}
	return 0
}

// evidenceStore keeps evidence as one file each. The files are for people and
// for other programs; the witness itself never reads one back.
type evidenceStore struct {
	dir string

	mu    sync.Mutex
	count map[string]int // files by origin hash and kind
}

func openEvidence(dir string) (*evidenceStore, error) {
	if err := journal.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the evidence directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the evidence directory: %w", err)
	}
	s := &evidenceStore{dir: dir, count: map[string]int{}}
	for _, e := range entries {
		if group, _, ok := strings.Cut(e.Name(), "."); ok && group != "" {
			s.count[group]++
		}
	}
	return s, nil
}

// errEvidenceFull says that enough evidence of this kind is kept of this log.
var errEvidenceFull = errors.New("enough evidence of this kind is kept already")

// keep writes e durably, once for the same pair of checkpoints. new says whether it was not there before.
func (s *evidenceStore) keep(e *Evidence) (new bool, err error) {
	group := originHash(e.Origin)[:32] + "-" + string(e.Kind)
	sum := sha256.Sum256([]byte(checkpointText(e.Known) + "\n" + checkpointText(e.Shown)))
	path := filepath.Join(s.dir, group+"."+hex.EncodeToString(sum[:16])+".json")
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := os.Stat(path); err == nil {
		return false, nil
	}
	if s.count[group] >= maxEvidence {
		return false, errEvidenceFull
	}
	data, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return false, fmt.Errorf("encoding evidence: %w", err)
	}
	if err := journal.WriteFile(path, append(data, '\n'), 0o600); err != nil {
		return false, fmt.Errorf("keeping evidence: %w", err)
	}
	s.count[group]++
	return true, nil
}

// checkpointText returns a note's text without its signatures, so that
// signing the same head again is not another contradiction.
func checkpointText(note string) string {
	text, _, _ := strings.Cut(note, "\n\n")
	return text
}

// ReadEvidence returns the evidence a witness has kept in its directory, oldest
// first. It may be called while the witness runs.
func ReadEvidence(dir string) ([]Evidence, error) {
	entries, err := os.ReadDir(evidencePath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notInit(err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading evidence: %w", err)
	}
	var all []Evidence
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".json") || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(evidencePath(dir), entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading evidence: %w", err)
		}
		var e Evidence
		if err := json.Unmarshal(data, &e); err != nil {
			return nil, fmt.Errorf("reading evidence %s: %w", entry.Name(), err)
		}
		all = append(all, e)
	}
	slices.SortStableFunc(all, func(a, b Evidence) int { return a.Time.Compare(b.Time) })
	return all, nil
}
