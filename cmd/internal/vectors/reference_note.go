package vectors

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"filippo.io/mldsa"
	"github.com/escortlog/escortlog/cmd/internal/samples"
	"github.com/escortlog/escortlog/log/checkpoint"
)

// The signature types of c2sp.org/signed-note and c2sp.org/tlog-cosignature.
const (
	typeEd25519       = 0x01
	typeCosignEd25519 = 0x04
	typeMLDSA44       = 0x06
)

// noteKey signs notes.
type noteKey struct {
	name   string
	kind   byte
	seed   []byte
	ed     ed25519.PrivateKey
	mldsa  *mldsa.PrivateKey
	public []byte
}

// newNoteKey returns the sample key of that name and signature type.
func newNoteKey(name string, kind byte) (*noteKey, error) {
	k := &noteKey{name: name, kind: kind, seed: samples.NoteSeed(name, checkpoint.Algorithm(kind))}
	if kind != typeMLDSA44 {
		k.ed = ed25519.NewKeyFromSeed(k.seed)
		k.public = k.ed.Public().(ed25519.PublicKey)
		return k, nil
	}
	var err error
	if k.mldsa, err = mldsa.NewPrivateKey(mldsa.MLDSA44(), k.seed); err != nil {
		return nil, err
	}
	k.public = k.mldsa.PublicKey().Bytes()
	return k, nil
}

// id is "SHA-256(key name || 0x0A || signature type || public key)[:4]".
func (k *noteKey) id() []byte {
	sum := sha256.Sum256(append(append([]byte(k.name), '\n', k.kind), k.public...))
	return sum[:4]
}

func (k *noteKey) vkey() string {
	return fmt.Sprintf("%s+%x+%s", k.name, k.id(), base64.StdEncoding.EncodeToString(append([]byte{k.kind}, k.public...)))
}

// skey is the private key as golang.org/x/mod/sumdb/note writes it.
func (k *noteKey) skey() string {
	return fmt.Sprintf("PRIVATE+KEY+%s+%x+%s", k.name, k.id(), base64.StdEncoding.EncodeToString(append([]byte{k.kind}, k.seed...)))
}

// head is a checkpoint (c2sp.org/tlog-checkpoint).
type head struct {
	origin string
	size   uint64
	root   hash
}

func (h head) text() string { return fmt.Sprintf("%s\n%d\n%s\n", h.origin, h.size, h.root) }

// line is the signature line of a note.
func (k *noteKey) line(sig []byte) string {
	return fmt.Sprintf("— %s %s\n", k.name, base64.StdEncoding.EncodeToString(append(k.id(), sig...)))
}

// sign returns the key's signature line on a checkpoint; the time, in seconds, is
// that of a cosignature.
func (k *noteKey) sign(h head, unix uint64) (string, error) {
	sig, err := k.signature(h, h.text(), unix)
	return k.line(sig), err
}

// signature signs the checkpoint, or, with a key that signs text, the text.
func (k *noteKey) signature(h head, text string, unix uint64) ([]byte, error) {
	stamp := binary.BigEndian.AppendUint64(nil, unix)
	switch k.kind {
	case typeEd25519:
		return ed25519.Sign(k.ed, []byte(text)), nil
	case typeCosignEd25519:
		return append(stamp, ed25519.Sign(k.ed, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", unix, text))...), nil
	}
	// The cosigned_message of c2sp.org/tlog-cosignature, for the range [0, size).
	m := append([]byte("subtree/v1\n\x00"), opaque8([]byte(k.name))...)
	m = append(m, stamp...)
	m = append(m, opaque8([]byte(h.origin))...)
	m = binary.BigEndian.AppendUint64(m, 0)
	m = binary.BigEndian.AppendUint64(m, h.size)
	m = append(m, h.root[:]...)
	sig, err := k.mldsa.SignDeterministic(m, nil)
	return append(stamp, sig...), err
}

// note puts a text and signature lines together.
func note(text string, lines ...string) string { return text + "\n" + strings.Join(lines, "") }

// proofFile is a tlog-proof (c2sp.org/tlog-proof) with a leaf time as its extra
// data.
func proofFile(ms uint64, index int, hashes []hash, note string) string {
	extra := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, ms))
	return fmt.Sprintf("c2sp.org/tlog-proof@v1\nextra %s\nindex %d\n%s\n%s", extra, index, lines(hashes), note)
}

func lines(hashes []hash) string {
	var b strings.Builder
	for _, h := range hashes {
		b.WriteString(h.String() + "\n")
	}
	return b.String()
}
