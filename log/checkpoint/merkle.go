package checkpoint

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

// ErrProof is the error of an inclusion or consistency proof that does not hold.
var ErrProof = errors.New("the proof does not hold")

// VerifyInclusion checks that the leaf with this leaf hash is at index in the
// tree of this size and root (RFC 6962 section 2.1.1). The error is ErrProof.
func VerifyInclusion(leaf tlog.Hash, index, size int64, p []tlog.Hash, root tlog.Hash) error {
	if index < 0 || index >= size {
		return fmt.Errorf("%w: no leaf %d in a tree of size %d", ErrProof, index, size)
	}
	// This allocates nothing; what it refuses the other one explains. It does not
	// end for sizes beyond 2^62.
	if size <= 1<<62 && tlog.CheckRecord(p, size, root, index, leaf) == nil {
		return nil
	}
	err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(index), uint64(size), leaf[:], byteSlices(p), root[:])
	if err != nil {
		return fmt.Errorf("%w: leaf %d in a tree of size %d: %s", ErrProof, index, size, oneLine(err))
	}
	return nil
}

// oneLine says why a proof does not hold, with hashes as everybody else writes
// them; the library's own text takes four lines of decimal bytes.
func oneLine(err error) string {
	var mismatch proof.RootMismatchError
	if !errors.As(err, &mismatch) {
		return err.Error()
	}
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("it leads to the root %s, and the checkpoint says %s", b64(mismatch.CalculatedRoot), b64(mismatch.ExpectedRoot))
}

// VerifyConsistency checks that the tree of size to is an extension of the
// tree of size from (RFC 6962 section 2.1.2). For equal sizes the roots must
// be equal and the proof empty. From size zero the proof must be empty and
// fromRoot is not looked at: there is only one empty tree. The error is ErrProof.
func VerifyConsistency(from, to int64, fromRoot, toRoot tlog.Hash, p []tlog.Hash) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w: from size %d to %d: %s", ErrProof, from, to, fmt.Sprintf(format, args...))
	}
	switch {
	case from < 0 || to < from:
		return fail("sizes must not decrease")
	case (from == 0 || from == to) && len(p) != 0:
		return fail("%d hashes where the proof must be empty", len(p))
	case to == 0 && toRoot != EmptyRoot:
		return fail("not the root of the empty tree")
	case from == 0:
		return nil
	case from == to && fromRoot != toRoot:
		return fail("two different roots for one size: %v and %v", fromRoot, toRoot)
	case from == to:
		return nil
	}
	err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(from), uint64(to), byteSlices(p), fromRoot[:], toRoot[:])
	if err != nil {
		return fail("%s", oneLine(err))
	}
	return nil
}

func byteSlices(p []tlog.Hash) [][]byte {
	out := make([][]byte, len(p))
	for i := range p {
		out[i] = p[i][:]
	}
	return out
}
