package conformance

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"

	"github.com/escortlog/escortlog/log/checkpoint"
)

// rawSign signs bytes that are not a checkpoint, which a Signer refuses to do.
func rawSign(s *checkpoint.Signer, text string) []byte {
	fields := strings.Split(s.SKey(), "+")
	raw, err := base64.StdEncoding.DecodeString(strings.Join(fields[4:], "+"))
	if err != nil || s.Algorithm() != checkpoint.AlgEd25519 {
		panic("rawSign needs an Ed25519 signer") // all callers pass one
	}
	v := s.Verifier()
	sig := ed25519.Sign(ed25519.NewKeyFromSeed(raw[1:]), []byte(text))
	return checkpoint.SignatureLine{Name: v.Name(), KeyHash: v.KeyHash(), Sig: sig}.Line()
}
