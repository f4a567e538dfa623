package samples

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/event"
)

// Origin is the name of the sample log.
const Origin = "log.example/escort-sample"

// Warning stands in front of every sample key in testdata.
const Warning = "SAMPLE KEY: anybody can make it again from its name. Never use it for anything.\n"

// seed is where every sample key comes from. Longer ones are for P-384.
func seed(name string, size int) []byte {
	sum := sha512.Sum512([]byte("escortlog sample key, public, never use: " + name))
	return sum[:size]
}

// Key returns the sample key of that name and type (event.Ed25519 and so on).
func Key(name, keyType string) (crypto.Signer, error) {
	switch keyType {
	case event.Ed25519:
		return ed25519.NewKeyFromSeed(seed(name, ed25519.SeedSize)), nil
	case event.ECDSAP256:
		return ecdsa.ParseRawPrivateKey(elliptic.P256(), seed(name, 32))
	case event.ECDSAP384:
		return ecdsa.ParseRawPrivateKey(elliptic.P384(), seed(name, 48))
	}
	return nil, fmt.Errorf("sample key %s: no key type %q", name, keyType)
}

// NoteSigner returns the sample key of a log or witness. Keys of one name and
// different algorithms have different seeds.
func NoteSigner(name string, alg checkpoint.Algorithm) (*checkpoint.Signer, error) {
	return checkpoint.GenerateSigner(name, alg, bytes.NewReader(NoteSeed(name, alg)))
}

// NoteSeed returns the 32 bytes that the sample key of a log or witness is made
// from.
func NoteSeed(name string, alg checkpoint.Algorithm) []byte {
	return seed(fmt.Sprintf("%s, signature type 0x%02x", name, byte(alg)), 32)
}

// digest returns "sha256:" and the hex SHA-256 of text, which stands for the
// content of a file that does not exist.
func digest(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }
