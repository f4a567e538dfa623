package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/spf13/cobra"
)

// dataDir is the data directory of one log, with its guard.
type dataDir struct {
	dir   string
	guard string // empty: guard in dir
}

func (d *dataDir) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.dir, "data", "", "data `directory` of the log")
	cmd.Flags().StringVar(&d.guard, "guard", "", "guard `file`, best on another disk (default guard in the data directory)")
}

func (d *dataDir) check() error {
	if d.dir == "" {
		return usageErrorf("no data directory: give --data DIR or set ESCORTLOG_DATA")
	}
	return nil
}

func (d *dataDir) db() string       { return filepath.Join(d.dir, "db") }
func (d *dataDir) keys() string     { return filepath.Join(d.dir, "keys") }
func (d *dataDir) adminKey() string { return filepath.Join(d.dir, "admin.key") }

func (d *dataDir) guardFile() string {
	if d.guard != "" {
		return d.guard
	}
	return filepath.Join(d.dir, "guard")
}

// holds reports whether a path is that of the data directory, or lies in it.
func (d *dataDir) holds(path string) (bool, error) {
	dir, err := filepath.Abs(d.dir)
	if err != nil {
		return false, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return false, err
	}
	return path == dir || strings.HasPrefix(path, dir+string(filepath.Separator)), nil
}

// signerFiles are the log's keys in the order in which they sign: Ed25519
// first, so that any client of the field can read a checkpoint.
var signerFiles = []struct {
	name string
	alg  checkpoint.Algorithm
}{
	{"ed25519.skey", checkpoint.AlgEd25519},
	{"mldsa44.skey", checkpoint.AlgMLDSA44},
}

// signers reads the log's keys.
func (d *dataDir) signers() ([]*checkpoint.Signer, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	var signers []*checkpoint.Signer
	for _, f := range signerFiles {
		path := filepath.Join(d.keys(), f.name)
		info, err := os.Stat(path)
		if (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) && len(signers) == 0 {
			return nil, usageErrorf("%s is not the data directory of a log: %w. Make one with escortlogd init", d.dir, err)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the log's keys: %w", err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			return nil, usageErrorf("%s is open to others (%v): chmod 600 it, and if others could log in here, close this log and start a successor", path, info.Mode().Perm())
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading the log's keys: %w", err)
		}
		s, err := checkpoint.ParseSKey(strings.TrimSpace(string(text)))
		if err != nil {
			return nil, usageErrorf("%s: %w", path, err)
		}
		if s.Algorithm() != f.alg {
			return nil, usageErrorf("%s holds a key of type %v, want %v", path, s.Algorithm(), f.alg)
		}
		if len(signers) > 0 && s.Verifier().Name() != signers[0].Verifier().Name() {
			return nil, usageErrorf("%s is named %q, and the other key of this log %q", path, s.Verifier().Name(), signers[0].Verifier().Name())
		}
		signers = append(signers, s)
	}
	return signers, nil
}

// makeSigners makes the log's keys and writes them.
func (d *dataDir) makeSigners(origin string) ([]*checkpoint.Signer, error) {
	if err := os.Mkdir(d.keys(), 0o700); err != nil {
		return nil, err
	}
	var signers []*checkpoint.Signer
	for _, f := range signerFiles {
		s, err := checkpoint.GenerateSigner(origin, f.alg, rand.Reader)
		if err != nil {
			return nil, usageErrorf("--origin %q: %w", origin, err)
		}
		if err := createFile(filepath.Join(d.keys(), f.name), []byte(s.SKey()+"\n")); err != nil {
			return nil, err
		}
		signers = append(signers, s)
	}
	return signers, syncDirs(d.keys(), d.dir)
}

// createFile writes a new durable file that only its owner reads.
func createFile(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDirs makes the names in the directories durable.
func syncDirs(dirs ...string) error {
	for _, dir := range dirs {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("syncing %s: %w", dir, err)
		}
	}
	return nil
}

// vkeys returns the verifier keys in the order of the signers.
func vkeys(signers []*checkpoint.Signer) []string {
	keys := make([]string, len(signers))
	for i, s := range signers {
		keys[i] = s.VKey()
	}
	return keys
}
