package checkpoint_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"golang.org/x/mod/sumdb/tlog"
)

const unix = 1_750_000_000

// seeded is a reproducible source of key material.
func seeded(name string, alg checkpoint.Algorithm) io.Reader {
	return rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%s %d", name, alg)))
}

func newSigner(t testing.TB, name string, alg checkpoint.Algorithm) *checkpoint.Signer {
	t.Helper()
	s, err := checkpoint.GenerateSigner(name, alg, seeded(name, alg))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sign(t testing.TB, text string, signers ...*checkpoint.Signer) []byte {
	t.Helper()
	var lines [][]byte
	for _, s := range signers {
		l, err := s.Sign(text, unix)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	return checkpoint.Join(text, lines...)
}

var sample = checkpoint.Checkpoint{Origin: "log.example/one", Size: 20852163, Root: tlog.RecordHash([]byte("x"))}

// keyID is written here once more, from signed-note's sentence.
func keyID(name string, typeAndKey []byte) uint32 {
	sum := sha256.Sum256([]byte(name + "\n" + string(typeAndKey)))
	return binary.BigEndian.Uint32(sum[:4])
}
