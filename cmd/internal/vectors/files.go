package vectors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// folders of testdata are made here, and nothing else lies in them.
var folders = []string{"sessions", "keys", "policies", "log", "vectors"}

// Write makes the folders anew below dir.
func Write(dir string) error {
	made, err := Files()
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := os.RemoveAll(filepath.Join(dir, folder)); err != nil {
			return err
		}
	}
	for name, content := range made {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Files returns every file by its path below testdata.
func Files() (map[string][]byte, error) {
	s, err := newSampleLog()
	if err != nil {
		return nil, fmt.Errorf("making the sample log: %w", err)
	}
	f := &files{made: map[string][]byte{}}
	f.sessions(s)
	f.keys(s)
	f.policies(s)
	f.tiles(s)
	f.envelopes(s)
	f.leaves(s)
	f.trees()
	f.checkpoints(s)
	f.proofs(s)
	return f.made, f.err
}

// files gathers what is made. Every error is kept.
type files struct {
	made map[string][]byte
	err  error
}

func (f *files) fail(err error) { f.err = errors.Join(f.err, err) }

func (f *files) bytes(name string, content []byte) {
	if _, ok := f.made[name]; ok {
		f.fail(fmt.Errorf("%s is made twice", name))
	}
	f.made[name] = content
}

func (f *files) text(name, content string) { f.bytes(name, []byte(content)) }

// json writes a value for people and programs.
func (f *files) json(name string, value any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	f.fail(enc.Encode(value))
	f.bytes(name, b.Bytes())
}

// jsonLine is one line of a JSONL file.
func (f *files) jsonLine(value any) []byte {
	b, err := json.Marshal(value)
	f.fail(err)
	return append(b, '\n')
}
