package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
	"golang.org/x/mod/sumdb/tlog"
)

// errUnproven is wrapped when a proof this server made does not verify.
var errUnproven = errors.New("a proof of this log's own does not verify")

// prover makes tlog-proofs and verifies each before anybody sees it: "valid" is
// never said of what was not checked.
type prover struct {
	log    Log
	policy *checkpoint.Policy
	own    []*checkpoint.Verifier // the log's keys that the policy does not name; it verifies those that it names

	// verified is the newest note that was looked at. One note proves many
	// leaves, and its signatures are the same for all of them.
	verified  atomic.Pointer[verifiedNote]
	verifying sync.Mutex // all who wait for a new note wait for one verification
}

// verifiedNote is a published checkpoint whose signatures were verified.
type verifiedNote struct {
	pub  *log.Published // nobody changes it
	cp   checkpoint.Checkpoint
	json []byte // the note as a JSON string: it is the larger part of a receipt
	err  error  // why nothing can be proven by it; then there is only the note

	proving sync.Mutex // over path
	path    provenPath
}

// proves reports whether the proof leads from a leaf to the root of the note.
func (v *verifiedNote) proves(pos log.Position, proof []tlog.Hash) bool {
	v.proving.Lock()
	defer v.proving.Unlock()
	return v.path.proves(pos.LeafHash, pos.Index, proof)
}

// note verifies the signatures of a published checkpoint under the policy, unless
// that has been done, and returns it, or a larger one that was verified meanwhile:
// who comes late for a checkpoint is as well served by its successor. Its error
// wraps checkpoint.ErrQuorum when the note is good but the policy asks for more,
// as after a change of policy.
func (p *prover) note(pub *log.Published) *verifiedNote {
	if v := p.verified.Load().serves(pub); v != nil {
		return v
	}
	p.verifying.Lock()
	defer p.verifying.Unlock()
	if v := p.verified.Load().serves(pub); v != nil {
		return v
	}
	v := p.verify(pub)
	p.verified.Store(v)
	return v
}

// serves returns v if what was published is it, or smaller.
func (v *verifiedNote) serves(pub *log.Published) *verifiedNote {
	if v == nil || v.pub != pub && (v.err != nil || v.cp.Size <= pub.Size) {
		return nil
	}
	return v
}

func (p *prover) verify(pub *log.Published) *verifiedNote {
	fail := func(err error) *verifiedNote {
		return &verifiedNote{pub: pub, err: fmt.Errorf("published checkpoint of size %d: %w", pub.Size, err)}
	}
	v, err := p.policy.Verify(pub.Note)
	switch {
	case errors.Is(err, checkpoint.ErrQuorum):
		return fail(err)
	case err != nil:
		return fail(fmt.Errorf("%w: %w", errUnproven, err))
	}
	if len(p.own) > 0 {
		text, sigs, err := checkpoint.ParseNote(pub.Note)
		if err == nil {
			_, err = checkpoint.Verify(text, sigs, p.own...)
		}
		if err != nil && !errors.Is(err, checkpoint.ErrUnsigned) {
			return fail(fmt.Errorf("%w: %w", errUnproven, err))
		}
	}
	quoted, err := json.Marshal(string(pub.Note))
	if err != nil { // strings always marshal
		return fail(err)
	}
	return &verifiedNote{pub: pub, cp: v.Checkpoint, json: quoted, path: provenPath{size: v.Size, root: v.Root}}
}

// inclusion is the way from one leaf to a verified checkpoint, verified.
type inclusion struct {
	hashes []tlog.Hash // from leaf to root
	note   *verifiedNote
}

// prove returns the proof of the leaf at pos to the checkpoint in note, verified.
func (p *prover) prove(ctx context.Context, pos log.Position, note *verifiedNote) (*inclusion, error) {
	if note.err != nil {
		return nil, note.err
	}
	hashes, err := p.log.Inclusion(ctx, pos.Index, note.cp.Size)
	if err != nil {
		return nil, fmt.Errorf("proving leaf %d in the tree of size %d: %w", pos.Index, note.cp.Size, err)
	}
	if !note.proves(pos, hashes) { // what verifiers use has the last word, and says why
		if err := checkpoint.VerifyInclusion(pos.LeafHash, pos.Index, note.cp.Size, hashes, note.cp.Root); err != nil {
			return nil, fmt.Errorf("%w: leaf %d in the tree of size %d: %w", errUnproven, pos.Index, note.cp.Size, err)
		}
	}
	return &inclusion{hashes: hashes, note: note}, nil
}

// tlogProof returns the proof as a c2sp.org/tlog-proof.
func (i *inclusion) tlogProof(pos log.Position) []byte {
	proof := checkpoint.Proof{Extra: checkpoint.LeafTimeExtra(pos.Time), Index: pos.Index, Hashes: i.hashes, Checkpoint: i.note.pub.Note}
	return proof.Marshal()
}

// Receipts are written by hand: no other JSON is written as often, and all but
// the checkpoint is numbers and base64.

// appendReceipt appends what a submitter gets, a JSON object; proof is nil for
// what is not yet proven:
//
//	index       number
//	leafHash    base64
//	time        number, ms since the epoch, as in the leaf
//	checkpoint  string, the note
//	proof       array of base64, from leaf to root; empty for a log of one leaf
func appendReceipt(b []byte, pos log.Position, proof *inclusion) []byte {
	b = appendPosition(append(b, '{'), pos)
	if proof != nil {
		b = append(append(b, `,"checkpoint":`...), proof.note.json...)
		b = appendHashes(b, proof.hashes)
	}
	return append(b, '}')
}

// appendBatchReceipt is appendReceipt for an event of a batch, which has its own
// status; the checkpoint stands beside all of them.
func appendBatchReceipt(b []byte, status int, pos log.Position, proof *inclusion) []byte {
	b = strconv.AppendInt(append(b, `{"status":`...), int64(status), 10)
	b = appendPosition(append(b, ','), pos)
	if proof != nil {
		b = appendHashes(b, proof.hashes)
	}
	return append(b, '}')
}

func appendPosition(b []byte, pos log.Position) []byte {
	b = strconv.AppendInt(append(b, `"index":`...), pos.Index, 10)
	b = appendHash(append(b, `,"leafHash":`...), &pos.LeafHash)
	return strconv.AppendInt(append(b, `,"time":`...), pos.Time, 10)
}

func appendHashes(b []byte, hashes []tlog.Hash) []byte {
	b = append(b, `,"proof":[`...)
	for i := range hashes {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendHash(b, &hashes[i])
	}
	return append(b, ']')
}

func appendHash(b []byte, h *tlog.Hash) []byte {
	return append(base64.StdEncoding.AppendEncode(append(b, '"'), h[:]), '"')
}
