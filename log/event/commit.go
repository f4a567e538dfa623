package event

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Commitment stands in an event for content that must not be in the log: a
// command, a justification, the name of a host. Salt and content stay with the
// submitter and are shown to whoever may see them; see [Commit].
type Commitment struct {
	Digest string `json:"$commit"` // "sha256:" and 64 hex digits
	Size   int64  `json:"size"`    // bytes of the content
}

// MinSalt is the least number of random bytes in a salt. Without a salt the
// hash of a short command is guessable.
const MinSalt = 16

// commitDomain keeps commitments apart from every other use of SHA-256.
const commitDomain = "escortlog commitment v1\n"

// Commit returns the commitment to content under salt:
//
//	SHA-256("escortlog commitment v1\n" || uint64(len(salt)) || salt || content)
//
// with the length big-endian. The salt is random, at least [MinSalt] bytes,
// and fresh for each content.
func Commit(salt, content []byte) (Commitment, error) {
	if len(salt) < MinSalt {
		return Commitment{}, fmt.Errorf("event: a salt of %d bytes is guessable, use at least %d random ones", len(salt), MinSalt)
	}
	h := sha256.New()
	h.Write([]byte(commitDomain))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(salt))))
	h.Write(salt)
	h.Write(content)
	return Commitment{Digest: "sha256:" + hex.EncodeToString(h.Sum(nil)), Size: int64(len(content))}, nil
}

// Opens reports whether salt and content are those of the commitment.
func (c Commitment) Opens(salt, content []byte) bool {
	got, err := Commit(salt, content)
	return err == nil && got == c
}
