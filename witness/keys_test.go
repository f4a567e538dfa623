package witness

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/journal"
)

func TestInit(t *testing.T) {
	dir := t.TempDir() + "/w"
	vkeys, err := Init(InitConfig{Dir: dir, Name: testName, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	for i, alg := range []checkpoint.Algorithm{checkpoint.AlgCosignEd25519, checkpoint.AlgMLDSA44} {
		v, err := checkpoint.ParseVKey(vkeys[i])
		if err != nil || v.Algorithm() != alg || v.Name() != testName {
			t.Errorf("vkey %d: %v, %v", i, v, err)
		}
	}
	again, err := VKeys(dir)
	if err != nil || strings.Join(again, " ") != strings.Join(vkeys, " ") {
		t.Errorf("%v, %v", again, err)
	}
	for _, name := range []string{"ed25519.skey", "mldsa44.skey"} {
		info, err := os.Stat(filepath.Join(dir, "keys", name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if _, err := Init(InitConfig{Dir: dir, Name: "other.example", Rand: rand.Reader}); err == nil {
		t.Error("a second init is no error")
	}
	if _, err := Init(InitConfig{Dir: t.TempDir() + "/x", Name: "a name", Rand: rand.Reader}); err == nil {
		t.Error("a name with a space is no error")
	}
	long := strings.Repeat("n", 255)
	if _, err := Init(InitConfig{Dir: t.TempDir() + "/x", Name: long, Rand: rand.Reader}); err != nil {
		t.Errorf("a name of 255 bytes: %v", err)
	}
	if _, err := Init(InitConfig{Dir: t.TempDir() + "/x", Name: long + "n", Rand: rand.Reader}); err == nil {
		t.Error("a name of 256 bytes is no error")
	}
}

// A witness that cannot know what it cosigned does not start.
func TestMemoryIsNeeded(t *testing.T) {
	dir := initDir(t)
	l := newLog(t, "log.example/one")
	addLog(t, dir, l)
	w := openDir(t, dir)
	mustAdd(t, w, l.Honest().Request(0, 5))
	mustAdd(t, w, l.Honest().Request(5, 6))
	_ = w.Close()
	data, err := os.ReadFile(statePath(dir))
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(statePath(dir), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, journal.ErrCorrupt) || !strings.Contains(err.Error(), statePath(dir)) {
		t.Errorf("damaged memory: %v, want ErrCorrupt and the file's name", err)
	}
	if err := os.Remove(statePath(dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing memory: %v, want ErrNotExist", err)
	}
}

func TestKeysMustBelongTogether(t *testing.T) {
	a, b := initDir(t), initDir(t)
	for _, name := range []string{"ed25519.skey", "mldsa44.skey"} {
		from, to := filepath.Join(a, "keys", name), filepath.Join(b, "keys", name)
		own, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		other, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		for what, data := range map[string][]byte{"another witness's": other, "an empty": nil, "a damaged": own[:len(own)-3]} {
			if err := os.WriteFile(to, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(Config{Dir: b}); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s %s: %v", what, name, err)
			}
		}
		if err := os.WriteFile(to, own, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(to, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Config{Dir: b}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("readable %s: %v", name, err)
		}
		if err := os.WriteFile(to, own, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(to, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	openDir(t, b)
}

func TestPassphrase(t *testing.T) {
	dir := t.TempDir() + "/w"
	if _, err := Init(InitConfig{Dir: dir, Name: testName, Rand: rand.Reader, Passphrase: "open sesame", WorkFactor: 4}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "keys", "ed25519.skey"))
	if err != nil || strings.Contains(string(data), "PRIVATE") {
		t.Errorf("not encrypted: %v", err)
	}
	for _, p := range []func() (string, error){
		nil,
		func() (string, error) { return "close sesame", nil },
		func() (string, error) { return "", nil },
		func() (string, error) { return "", errors.New("no terminal") },
	} {
		if _, err := Open(Config{Dir: dir, Passphrase: p}); !errors.Is(err, ErrPassphrase) {
			t.Errorf("%v, want ErrPassphrase", err)
		}
	}
	asked := 0
	openDir(t, dir, func(c *Config) { c.Passphrase = func() (string, error) { asked++; return "open sesame", nil } })
	if asked != 1 {
		t.Errorf("asked %d times for one passphrase", asked)
	}
}

func TestBastionKey(t *testing.T) {
	dir := initDir(t)
	a, err := BastionKey(dir, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := BastionKey(dir, rand.Reader)
	if err != nil || !a.Equal(b) {
		t.Errorf("another key the second time, %v", err)
	}
	path := filepath.Join(dir, "keys", "bastion.pem")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := BastionKey(dir, rand.Reader); err == nil {
		t.Error("a damaged key is no error")
	}
}
