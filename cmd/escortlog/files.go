package main

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/event"
)

// createFile writes a new durable file. An existing one is a usage error: what
// these commands write (keys, envelopes) is never replaced by accident.
func createFile(name string, content []byte, mode fs.FileMode) (err error) {
	if err := needFileName(name); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return usageErrorf("%s exists already and is not overwritten; name another file", name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return usageErrorf("%s cannot be written, since there is no such directory: %w", name, err)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			// A file with half of its content is worse than none.
			err = errors.Join(err, os.Remove(name))
		}
	}()
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// replaceFile writes a file so that a reader, or a crash, finds the old content
// or the new one and nothing between.
func replaceFile(name string, content []byte, mode fs.FileMode) error {
	return writeAside(name, content, mode, (*os.File).Sync)
}

// replaceFileSoon is replaceFile without waiting for the disk, for what running
// the command again writes again: there can be thousands of receipts a second.
func replaceFileSoon(name string, content []byte, mode fs.FileMode) error {
	return writeAside(name, content, mode, func(*os.File) error { return nil })
}

func writeAside(name string, content []byte, mode fs.FileMode, sync func(*os.File) error) error {
	f, err := createAside(name, mode)
	if err != nil {
		return err
	}
	defer f.discard()
	if _, err = f.Write(content); err == nil {
		err = f.place(sync)
	}
	return err
}

// aside is a file that is being written beside the one whose place it takes.
type aside struct {
	*os.File
	name string // whose place
}

func createAside(name string, mode fs.FileMode) (*aside, error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".escortlog-*")
	if err != nil {
		return nil, err
	}
	a := &aside{f, name}
	if err := f.Chmod(mode); err != nil {
		a.discard()
		return nil, err
	}
	return a, nil
}

// place makes the file durable, as sync does, and puts it in its place.
func (a *aside) place(sync func(*os.File) error) error {
	if err := errors.Join(sync(a.File), a.Close()); err != nil {
		return err
	}
	return os.Rename(a.Name(), a.name)
}

// discard removes the file where it was not placed.
func (a *aside) discard() {
	// After place both fail, since neither the file nor that name is there any more.
	_ = a.Close()
	_ = os.Remove(a.Name())
}

// needFileName refuses what other commands and options take for standard output,
// and the name that a variable which is not set gives.
func needFileName(name string) error {
	if name == "" || name == "-" {
		return usageErrorf("%q names no file: give -o FILE", name)
	}
	return nil
}

// mayReplace refuses to replace what this program did not write there: a file
// that does not begin like what comes, a directory, a device. One that is empty
// or not there may be written.
func mayReplace(name, beginning string) error {
	refuse := func() error {
		return usageErrorf("%s exists already, is something else and is not overwritten; name another file", name)
	}
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return &exitError{code: exitUsage, err: err}
	case !info.Mode().IsRegular():
		return refuse()
	case info.Size() == 0:
		return nil
	}
	f, err := os.Open(name)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	defer f.Close()
	head := make([]byte, len(beginning))
	if _, err := io.ReadFull(f, head); err != nil || string(head) != beginning {
		return refuse()
	}
	return nil
}

// openFile opens a file that the command line names.
func openFile(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, usageErrorf("%s is a directory; name a file", name)
	}
	return f, nil
}

// readFile returns the content of a file, or of standard input for "-" where
// there is one to be read.
func readFile(stdin io.Reader, name string, most int64) ([]byte, error) {
	r := stdin
	if name == "-" && stdin == nil {
		return nil, usageErrorf("- is standard input, which is not read for this: name a file")
	}
	if name != "-" {
		f, err := openFile(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	content, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if int64(len(content)) > most {
		return nil, usageErrorf("%s is larger than %d bytes", name, most)
	}
	return content, nil
}

// maxKeyFile bounds a key file, in bytes.
const maxKeyFile = 64 << 10

func readPrivateKey(name string) (crypto.Signer, error) {
	text, err := readFile(nil, name, maxKeyFile)
	if err != nil {
		return nil, err
	}
	key, err := event.ParsePrivateKeyPEM(text)
	if err != nil {
		return nil, usageErrorf("%s: %w (want PKCS #8, not encrypted, as keygen writes; openssl pkcs8 -topk8 -nocrypt makes it of others)", name, err)
	}
	return key, nil
}

func readPublicKey(name string) (*event.PublicKey, error) {
	text, err := readFile(nil, name, maxKeyFile)
	if err != nil {
		return nil, err
	}
	key, err := event.ParsePublicKeyPEM(text)
	if err != nil {
		return nil, usageErrorf("%s: %w (want the .pub file that keygen writes)", name, err)
	}
	return key, nil
}

// readPolicy reads a tlog-policy, or returns nil for no name.
func readPolicy(name string) (*checkpoint.Policy, error) {
	if name == "" {
		return nil, nil
	}
	text, err := readFile(nil, name, 1<<20)
	if err != nil {
		return nil, usageErrorf("--policy: %w", err)
	}
	policy, err := checkpoint.ParsePolicy(text)
	if err != nil {
		return nil, usageErrorf("--policy %s: %w", name, err)
	}
	return policy, nil
}
