package conformance

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/escortlog/escortlog/log/checkpoint"
)

// Keys are the logs that the suite signs for.
type Keys struct {
	Main  *Log // an Ed25519 key
	Two   *Log // two Ed25519 keys, each of which is enough
	Fresh *Log // an Ed25519 key; never shown to the witness before the first run
	MLDSA *Log // an ML-DSA-44 key; a witness that takes none may leave it out
	Long  *Log // an Ed25519 key whose name, the origin, has 255 bytes
}

func (k *Keys) logs() []*Log { return []*Log{k.Main, k.Two, k.Fresh, k.MLDSA, k.Long} }

// GenerateKeys makes keys under a new random name.
func GenerateKeys() (*Keys, error) {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, fmt.Errorf("making a name for the logs: %w", err)
	}
	base := "conformance.example/" + hex.EncodeToString(id[:])
	k := &Keys{}
	for _, l := range []struct {
		log  **Log
		name string
		algs []checkpoint.Algorithm
	}{
		{&k.Main, base + "/main", []checkpoint.Algorithm{checkpoint.AlgEd25519}},
		{&k.Two, base + "/two", []checkpoint.Algorithm{checkpoint.AlgEd25519, checkpoint.AlgEd25519}},
		{&k.Fresh, base + "/fresh", []checkpoint.Algorithm{checkpoint.AlgEd25519}},
		{&k.MLDSA, base + "/mldsa", []checkpoint.Algorithm{checkpoint.AlgMLDSA44}},
		{&k.Long, base + "/" + strings.Repeat("x", checkpoint.MaxName-len(base)-1), []checkpoint.Algorithm{checkpoint.AlgEd25519}},
	} {
		var signers []*checkpoint.Signer
		for _, alg := range l.algs {
			s, err := checkpoint.GenerateSigner(l.name, alg, rand.Reader)
			if err != nil {
				return nil, err
			}
			signers = append(signers, s)
		}
		*l.log = NewLog(signers...)
	}
	return k, nil
}

// Marshal returns the private keys, one a line. They are worth nothing but to
// a witness that was configured for a test.
func (k *Keys) Marshal() []byte {
	var b strings.Builder
	for _, l := range k.logs() {
		for _, s := range l.Signers {
			b.WriteString(s.SKey() + "\n")
		}
	}
	return []byte(b.String())
}

// ParseKeys reads what Marshal wrote.
func ParseKeys(data []byte) (*Keys, error) {
	var signers []*checkpoint.Signer
	for line := range strings.Lines(string(data)) {
		s, err := checkpoint.ParseSKey(strings.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf("reading the suite's log keys: %w", err)
		}
		signers = append(signers, s)
	}
	if len(signers) != 6 {
		return nil, errors.New("reading the suite's log keys: the file must hold 6 keys, as the conformance command writes them")
	}
	return &Keys{
		Main: NewLog(signers[0]), Two: NewLog(signers[1], signers[2]), Fresh: NewLog(signers[3]),
		MLDSA: NewLog(signers[4]), Long: NewLog(signers[5]),
	}, nil
}

// LogList returns the logs in the log list format of the witness network, with
// their vkeys; the origin of each is the name of its keys.
func (k *Keys) LogList() string {
	var b strings.Builder
	b.WriteString("logs/v0\n")
	for _, l := range k.logs() {
		for _, s := range l.Signers {
			fmt.Fprintf(&b, "\nvkey %s\n", s.VKey())
		}
	}
	return b.String()
}
