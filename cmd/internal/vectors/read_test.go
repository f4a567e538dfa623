package vectors

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/event"
	"golang.org/x/mod/sumdb/tlog"
)

const testdata = "../../../testdata"

// read returns a file of testdata.
func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testdata, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// each runs a test for every file of a folder of testdata, of which there must
// be at least so many: a loop over nothing proves nothing.
func each(t *testing.T, folder string, atLeast int, do func(t *testing.T, content []byte)) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(testdata, folder))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) < atLeast {
		t.Errorf("%s holds %d files, at least %d were made", folder, len(entries), atLeast)
	}
	for _, e := range entries {
		t.Run(folder+"/"+strings.TrimSuffix(e.Name(), filepath.Ext(e.Name())), func(t *testing.T) {
			do(t, read(t, filepath.Join(folder, e.Name())))
		})
	}
}

// decode reads JSON with no member that T does not have.
func decode[T any](t *testing.T, content []byte) T {
	t.Helper()
	var v T
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// UnmarshalText is for the tests alone, which read through this module's hash.
func (h *hash) UnmarshalText(text []byte) error {
	parsed, err := tlog.ParseHash(string(text))
	*h = hash(parsed)
	return err
}

func tlogHashes(hashes []hash) []tlog.Hash {
	out := make([]tlog.Hash, len(hashes))
	for i, h := range hashes {
		out[i] = tlog.Hash(h)
	}
	return out
}

func twoOfThree(t *testing.T) *checkpoint.Policy {
	t.Helper()
	p, err := checkpoint.ParsePolicy(read(t, "policies/good/two-of-three.policy"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// publicKeys are the event keys of testdata by keyid.
func publicKeys(t *testing.T) map[string]*event.PublicKey {
	t.Helper()
	keys := map[string]*event.PublicKey{}
	names, err := filepath.Glob(filepath.Join(testdata, "keys/*.key.pub"))
	if err != nil || len(names) < 11 {
		t.Fatalf("found %d public keys: %v", len(names), err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		key, err := event.ParsePublicKeyPEM(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		keys[key.KeyID()] = key
	}
	return keys
}

// TestTestdataIsAsMade compares every file of the folders made here with what
// this package makes, in both directions.
func TestTestdataIsAsMade(t *testing.T) {
	made, err := Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range made {
		if got, err := os.ReadFile(filepath.Join(testdata, name)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s is not what make generate makes (%v)", name, err)
		}
	}
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(testdata, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name, err := filepath.Rel(testdata, path)
			if _, ok := made[filepath.ToSlash(name)]; !ok {
				t.Errorf("%s lies in testdata and nothing makes it", name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
