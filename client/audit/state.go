package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/escortlog/escortlog/client/internal/durable"
	"github.com/escortlog/escortlog/client/internal/lockfile"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"golang.org/x/mod/sumdb/tlog"
)

// errState: a file of the state directory is not what was written there.
var errState = errors.New("the state directory is damaged")

// Files of a state directory. The first says how much of the others counts.
const (
	fileState     = "state.json"
	fileAuthority = "authority.leaves"
	fileUses      = "uses"
	fileLock      = "lock"
)

const (
	stateHeader  = "escortlog audit state v1 "
	maxState     = 16 << 20
	maxOpaque    = 1000 // types listed by name
	authorityLen = 8 + 2
)

// state is everything verified about leaves [0, tree.size). It only ever holds
// what passed every check.
type state struct {
	note       []byte // newest checkpoint that passed, nil before the first
	head       Head
	origin     string
	tree       *tree
	genesis    tlog.Hash
	lastTime   int64
	directory  *event.Directory
	authority  *journal       // authority leaves behind their indexes
	founding   []rules.Record // those of earlier runs
	identities *identities
	lost       error // why the identities are to be read again; nil: they are not
	uses       *uses
	totals     totals
}

// totals count what was looked at.
type totals struct {
	Signatures int64            `json:"signatures"`
	Unsigned   int64            `json:"unsigned"` // leaves without signatures, leaf 0 not counted
	Authority  int64            `json:"authority"`
	Opaque     map[string]count `json:"opaque,omitempty"` // by type
}

// count counts leaves.
type count struct {
	Count int64 `json:"count"`
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

func newState(dir string) *state {
	return &state{tree: &tree{}, directory: event.NewDirectory(), identities: newIdentities(dir), uses: newUses(), totals: totals{Opaque: map[string]count{}}}
}

func (s *state) close() error {
	return errors.Join(s.authority.close(), s.uses.file.close(), s.identities.close())
}

// stateFile is state.json.
type stateFile struct {
	Checkpoint string        `json:"checkpoint"`
	Tree       [][]tlog.Hash `json:"tree"`
	Genesis    tlog.Hash     `json:"genesis"`
	LastTime   int64         `json:"last_time"`
	Keys       []string      `json:"keys"`
	Totals     totals        `json:"totals"`
	Authority  prefix        `json:"authority"`
	Uses       prefix        `json:"uses"`
	Runs       []runFile     `json:"identity_runs"`
}

// stateDir is an open state directory, locked against other audits.
type stateDir struct {
	path string
	lock *os.File
}

// openState opens or makes a state directory and loads what was verified. An
// empty path gives a state that is kept nowhere, and a nil directory.
func openState(path string) (*state, *stateDir, error) {
	s := newState(path)
	if path == "" {
		s.authority, s.uses.file = &journal{state: sha256.New()}, &journal{state: sha256.New()}
		return s, nil, nil
	}
	if err := durable.MakeDir(path, 0o755); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrStateDir, err)
	}
	lock, err := lockfile.Take(filepath.Join(path, fileLock), ErrLocked)
	if err != nil {
		return nil, nil, fmt.Errorf("locking the state directory %s: %w", path, err)
	}
	d := &stateDir{path: path, lock: lock}
	if err := d.load(s); err != nil {
		if errors.Is(err, errState) {
			err = fmt.Errorf("%w; keep it, and audit into a new directory", err)
		}
		return nil, nil, errors.Join(fmt.Errorf("loading the state directory: %w", err), s.close(), d.close())
	}
	return s, d, nil
}

func (d *stateDir) close() error {
	if d == nil {
		return nil
	}
	return d.lock.Close()
}

func (d *stateDir) file(name string) string { return filepath.Join(d.path, name) }

func (d *stateDir) load(s *state) error {
	var f stateFile
	content, err := os.ReadFile(d.file(fileState))
	switch {
	case errors.Is(err, os.ErrNotExist):
		// Nothing counts yet, whatever a first run that broke off left behind.
	case err != nil:
		return err
	default:
		if err := decodeState(content, &f); err != nil {
			return fmt.Errorf("%w: %s: %w", errState, d.file(fileState), err)
		}
		if err := s.restore(&f); err != nil {
			return fmt.Errorf("%w: %s: %w", errState, d.file(fileState), err)
		}
	}
	if s.authority, err = openJournal(d.file(fileAuthority), f.Authority, s.loadAuthority); err != nil {
		return err
	}
	if s.uses.file, err = openJournal(d.file(fileUses), f.Uses, func(io.Reader) error { return nil }); err != nil {
		return err
	}
	return s.openIdentities(f.Runs)
}

// openIdentities opens the set of identities. One that is missing, changed, or of
// more or fewer leaves than were verified is made anew from the log.
func (s *state) openIdentities(runs []runFile) error {
	err := s.identities.open(runs)
	if err == nil && s.identities.len() == s.tree.size {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("they are of %d leaves, and %d were verified", s.identities.len(), s.tree.size)
	}
	s.lost = err
	return s.identities.clear()
}

// seal writes a checksum in the first line, then the rest.
func seal(header string, body []byte) []byte {
	sum := sha256.Sum256(body)
	return append([]byte(header+hex.EncodeToString(sum[:])+"\n"), body...)
}

// unseal checks the checksum in the first line, and returns the rest.
func unseal(header string, content []byte) ([]byte, error) {
	head, body, ok := bytes.Cut(content, []byte("\n"))
	sum, known := bytes.CutPrefix(head, []byte(header))
	if !ok || !known {
		return nil, fmt.Errorf("does not begin with %q", header)
	}
	if want := sha256.Sum256(body); hex.EncodeToString(want[:]) != string(sum) {
		return nil, errors.New("was changed")
	}
	return body, nil
}

func encodeState(f *stateFile) ([]byte, error) {
	body, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return nil, err
	}
	return seal(stateHeader, append(body, '\n')), nil
}

func decodeState(content []byte, f *stateFile) error {
	if len(content) > maxState {
		return fmt.Errorf("longer than %d bytes", maxState)
	}
	body, err := unseal(stateHeader, content)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, f)
}

// restore takes over state.json and holds its parts against each other.
func (s *state) restore(f *stateFile) error {
	text, _, err := checkpoint.ParseNote([]byte(f.Checkpoint))
	if err != nil {
		return err
	}
	c, err := checkpoint.Parse(text)
	if err != nil {
		return err
	}
	if len(f.Tree) != levels {
		return fmt.Errorf("%d levels of tiles, not %d", len(f.Tree), levels)
	}
	s.tree.size = c.Size
	copy(s.tree.partial[:], f.Tree)
	if err := s.tree.check(); err != nil {
		return err
	}
	if s.tree.root() != c.Root {
		return errors.New("its tree is not that of its checkpoint")
	}
	s.note, s.head, s.origin = []byte(f.Checkpoint), Head{Size: c.Size, Root: c.Root}, c.Origin
	s.genesis, s.lastTime, s.totals = f.Genesis, f.LastTime, f.Totals
	if s.totals.Opaque == nil {
		s.totals.Opaque = map[string]count{}
	}
	s.uses.loadKeys(f.Keys)
	return nil
}

// loadAuthority builds the directory again from the authority leaves, with all
// their signatures.
func (s *state) loadAuthority(r io.Reader) error {
	in := bufio.NewReader(r)
	for {
		head := make([]byte, authorityLen)
		if _, err := io.ReadFull(in, head); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		leaf := make([]byte, binary.BigEndian.Uint16(head[8:]))
		if _, err := io.ReadFull(in, leaf); err != nil {
			return err
		}
		e, err := entry.Parse(leaf)
		if err != nil {
			return err
		}
		index := int64(binary.BigEndian.Uint64(head))
		ev, err := s.directory.CheckLeaf(index, e, nil)
		if err != nil {
			return err
		}
		s.founding = append(s.founding, rules.Record{Index: index, LeafTime: e.Time, LeafHash: entry.LeafHash(leaf), Entry: e, Event: ev})
	}
}

// keepAuthority remembers an authority leaf for the next run.
func (s *state) keepAuthority(index int64, leaf []byte) error {
	b := binary.BigEndian.AppendUint64(nil, uint64(index))
	b = binary.BigEndian.AppendUint16(b, uint16(len(leaf)))
	return s.authority.write(append(b, leaf...))
}

// save makes s durable. What counts changes in one atomic step, when state.json
// is replaced; a crash before that leaves the state of the last run.
func (d *stateDir) save(s *state) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("keeping what was verified: %w", err)
		}
	}()
	f := stateFile{
		Checkpoint: string(s.note), Tree: s.tree.partial[:], Genesis: s.genesis, LastTime: s.lastTime,
		Keys: s.uses.keyIDs, Totals: s.totals,
	}
	if f.Authority, err = s.authority.commit(); err != nil {
		return err
	}
	if f.Uses, err = s.uses.file.commit(); err != nil {
		return err
	}
	if f.Runs, err = s.identities.sync(); err != nil {
		return err
	}
	if err := durable.SyncDir(d.path); err != nil { // the names of the files that state.json names
		return err
	}
	content, err := encodeState(&f)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(d.file(fileState), content); err != nil {
		return err
	}
	return s.identities.named()
}
