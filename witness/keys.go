package witness

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"filippo.io/age"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/journal"
)

// ErrPassphrase says that the keys are encrypted and no passphrase, or a wrong one, was given.
var ErrPassphrase = errors.New("the private keys are encrypted with a passphrase: give the right one")

// ErrNoWitness says that a directory is not that of a witness.
var ErrNoWitness = errors.New("no witness is there; make one with escortwitness init")

// notInit adds ErrNoWitness to the error about a file that init makes and that is missing.
func notInit(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%w: %w", ErrNoWitness, err)
	}
	return err
}

// ErrExists says that a directory is a witness's already.
var ErrExists = errors.New("there is a witness here already, or an init that did not finish; use another directory")

// keyFiles are the private keys in the order in which their vkeys are printed.
var keyFiles = []struct {
	name string
	alg  checkpoint.Algorithm
}{
	{"ed25519.skey", checkpoint.AlgCosignEd25519},
	{"mldsa44.skey", checkpoint.AlgMLDSA44},
}

// mirrorKeyFiles are the private keys of a mirror beside the witness, if there is one.
var mirrorKeyFiles = []struct {
	name string
	alg  checkpoint.Algorithm
}{
	{"mirror-ed25519.skey", checkpoint.AlgCosignEd25519},
	{"mirror-mldsa44.skey", checkpoint.AlgMLDSA44},
}

// paths of a witness directory.
func keysDir(dir string) string      { return filepath.Join(dir, "keys") }
func vkeysPath(dir string) string    { return filepath.Join(dir, "keys", "vkeys") }
func logsPath(dir string) string     { return filepath.Join(dir, "logs") }
func statePath(dir string) string    { return filepath.Join(dir, "state", "journal") }
func evidencePath(dir string) string { return filepath.Join(dir, "evidence") }

// InitConfig says what Init makes.
type InitConfig struct {
	Dir        string
	Name       string    // the cosigner's name, 1 to 255 bytes, best a URL without a scheme
	MirrorName string    // of a mirror beside the witness, another name; empty: no mirror
	Rand       io.Reader // crypto/rand.Reader
	Passphrase string    // encrypts the private keys if not empty
	// WorkFactor is the scrypt work factor of the encryption as a power of two; 0 is age's default.
	WorkFactor int
}

// Init makes a witness directory with new keys, no logs and an empty state, and
// returns the vkeys, Ed25519 first, the mirror's after the witness's. It refuses a directory
// that holds a witness already.
func Init(c InitConfig) ([]string, error) {
	if err := refuseExisting(c.Dir); err != nil {
		return nil, err
	}
	// "this witness service MUST be a distinct cosigner from the mirror cosigner, with a distinct name"
	if c.MirrorName == c.Name {
		return nil, fmt.Errorf("the mirror needs another name than the witness, %q", c.Name)
	}
	// Keys first: a name that no key can have leaves nothing behind.
	var vkeys []string
	var files [][]byte
	names := keyFiles
	if c.MirrorName != "" {
		names = slices.Concat(keyFiles, mirrorKeyFiles)
	}
	for i, k := range names {
		name := c.Name
		if i >= len(keyFiles) {
			name = c.MirrorName
		}
		s, err := checkpoint.GenerateSigner(name, k.alg, c.Rand)
		if err != nil {
			return nil, err
		}
		data := []byte(s.SKey() + "\n")
		if c.Passphrase != "" {
			if data, err = encrypt(data, c.Passphrase, c.WorkFactor); err != nil {
				return nil, err
			}
		}
		vkeys, files = append(vkeys, s.VKey()), append(files, data)
	}
	for _, d := range []string{c.Dir, keysDir(c.Dir), filepath.Dir(statePath(c.Dir)), evidencePath(c.Dir)} {
		if err := journal.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("making the witness directory: %w", err)
		}
	}
	if err := journal.Create(statePath(c.Dir)); err != nil {
		return nil, err
	}
	if err := journal.WriteFile(logsPath(c.Dir), []byte(emptyLogList), 0o644); err != nil {
		return nil, err
	}
	for i, k := range names {
		if err := journal.WriteFile(filepath.Join(keysDir(c.Dir), k.name), files[i], 0o600); err != nil {
			return nil, err
		}
	}
	if err := journal.WriteFile(vkeysPath(c.Dir), []byte(strings.Join(vkeys, "\n")+"\n"), 0o644); err != nil {
		return nil, err
	}
	return vkeys, journal.SyncDir(c.Dir)
}

func refuseExisting(dir string) error {
	for _, path := range []string{keysDir(dir), statePath(dir), logsPath(dir)} {
		_, err := os.Lstat(path)
		if err == nil {
			return fmt.Errorf("%s exists: %w", path, ErrExists)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("looking for an existing witness: %w", err)
		}
	}
	return nil
}

// VKeys returns the vkeys of the witness in dir, Ed25519 first, and those of its
// mirror after them, if there is one. It needs no private key.
func VKeys(dir string) ([]string, error) {
	data, err := os.ReadFile(vkeysPath(dir))
	if err != nil {
		return nil, fmt.Errorf("reading the witness's vkeys: %w", notInit(err))
	}
	vkeys := strings.Fields(string(data))
	if n := len(vkeys); n != len(keyFiles) && n != len(keyFiles)+len(mirrorKeyFiles) {
		return nil, fmt.Errorf("%s holds %d vkeys, not 2 or 4", vkeysPath(dir), n)
	}
	for _, v := range vkeys {
		if _, err := checkpoint.ParseVKey(v); err != nil {
			return nil, fmt.Errorf("reading %s: %w", vkeysPath(dir), err)
		}
	}
	return vkeys, nil
}

// loadSigners reads the private keys of the witness and of its mirror, if there is
// one, and checks them against the published vkeys.
func loadSigners(dir string, passphrase func() (string, error)) (own, mirror []*checkpoint.Signer, err error) {
	vkeys, err := VKeys(dir)
	if err != nil {
		return nil, nil, err
	}
	if passphrase != nil {
		passphrase = sync.OnceValues(passphrase) // nobody types it twice
	}
	var signers []*checkpoint.Signer
	for i, k := range slices.Concat(keyFiles, mirrorKeyFiles)[:len(vkeys)] {
		path := filepath.Join(keysDir(dir), k.name)
		s, err := loadSigner(path, passphrase)
		if err != nil {
			return nil, nil, fmt.Errorf("reading private key %s: %w", path, err)
		}
		if s.VKey() != vkeys[i] || s.Algorithm() != k.alg {
			return nil, nil, fmt.Errorf("private key %s is not that of vkey %s: keys and vkeys were mixed up", path, vkeys[i])
		}
		signers = append(signers, s)
	}
	own, mirror = signers[:len(keyFiles)], signers[len(keyFiles):]
	if a, b := own[0].Verifier().Name(), own[1].Verifier().Name(); a != b {
		return nil, nil, fmt.Errorf("the witness's two keys have different names: %q and %q", a, b)
	}
	return own, mirror, nil
}

func loadSigner(path string, passphrase func() (string, error)) (*checkpoint.Signer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others may read it (mode %04o): run chmod 600 on it, and ask who did", info.Mode().Perm())
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(data, []byte("age-encryption.org/")) {
		if data, err = decrypt(data, passphrase); err != nil {
			return nil, err
		}
	}
	return checkpoint.ParseSKey(strings.TrimSuffix(string(data), "\n"))
}

// BastionKey returns the key by which a bastion knows the witness in dir, made
// when first asked for. It signs nothing but TLS handshakes.
func BastionKey(dir string, rand io.Reader) (ed25519.PrivateKey, error) {
	path := filepath.Join(keysDir(dir), "bastion.pem")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newBastionKey(path, rand)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the bastion key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("reading the bastion key: %s is not PEM", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the bastion key %s: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading the bastion key: %s is not an Ed25519 key", path)
	}
	return key, nil
}

func newBastionKey(path string, rand io.Reader) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand)
	if err != nil {
		return nil, fmt.Errorf("making the bastion key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("making the bastion key: %w", err)
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return key, journal.WriteFile(path, data, 0o600)
}

func encrypt(data []byte, passphrase string, workFactor int) ([]byte, error) {
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, fmt.Errorf("encrypting a private key: %w", err)
	}
	if workFactor != 0 {
		r.SetWorkFactor(workFactor)
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, r)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("encrypting a private key: %w", err)
	}
	return out.Bytes(), nil
}

func decrypt(data []byte, passphrase func() (string, error)) ([]byte, error) {
	if passphrase == nil {
		return nil, ErrPassphrase
	}
	p, err := passphrase()
	if err != nil {
		return nil, errors.Join(ErrPassphrase, err)
	}
	id, err := age.NewScryptIdentity(p)
	if err != nil {
		return nil, errors.Join(ErrPassphrase, err)
	}
	r, err := age.Decrypt(bytes.NewReader(data), id)
	if err != nil {
		return nil, errors.Join(ErrPassphrase, err)
	}
	return io.ReadAll(r)
}
