package audit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
)

// snapshot reads the files that count.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range []string{fileState, fileAuthority, fileUses} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(b)
	}
	return out
}

// restore writes those files.
func restore(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDamagedState(t *testing.T) {
	l, dir := newLog(t), t.TempDir()
	l.grow(5)
	expect(t, mustAudit(t, l, inState(dir)), ExitProven)
	whole := snapshot(t, dir)
	r := rand.New(rand.NewPCG(1, 2))
	for name, content := range whole {
		damage := map[string]string{"empty": "", "half": content[:len(content)/2], "a byte less": content[:len(content)-1]}
		for range 5 {
			b, at := []byte(content), r.IntN(len(content))
			b[at] ^= 1 << r.IntN(8)
			damage[fmt.Sprintf("a bit flipped in byte %d", at)] = string(b)
		}
		for what, bad := range damage {
			restore(t, dir, whole)
			if err := os.WriteFile(filepath.Join(dir, name), []byte(bad), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := l.audit(t, inState(dir)); !errors.Is(err, errState) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		if name == fileState {
			continue
		}
		restore(t, dir, whole)
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := l.audit(t, inState(dir)); !errors.Is(err, errState) {
			t.Errorf("%s is missing: %v", name, err)
		}
	}
	restore(t, dir, whole)
	// What a crash left behind what counts is cut off.
	for name, content := range whole {
		if name == fileState {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content+"left behind"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l.grow(3)
	l.note = nil
	expect(t, mustAudit(t, l, inState(dir)), ExitProven)
	expect(t, mustAudit(t, l, inState(dir)), ExitProven)
	for name, content := range snapshot(t, dir) {
		if strings.Contains(content, "left") {
			t.Errorf("%s still holds what a crash left", name)
		}
	}
}

// A state whose checksum was made again after a change still has to be of its
// checkpoint.
func TestForgedState(t *testing.T) {
	l, dir := newLog(t), t.TempDir()
	expect(t, mustAudit(t, l, inState(dir)), ExitProven)
	name := filepath.Join(dir, fileState)
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*stateFile){
		"another hash":     func(f *stateFile) { f.Tree[0][1][0] ^= 1 },
		"a hash less":      func(f *stateFile) { f.Tree[0] = f.Tree[0][1:] },
		"a level less":     func(f *stateFile) { f.Tree = f.Tree[1:] },
		"no checkpoint":    func(f *stateFile) { f.Checkpoint = "" },
		"not a checkpoint": func(f *stateFile) { f.Checkpoint = "text\n\n— k AAAAAAA=\n" },
	} {
		var f stateFile
		if err := decodeState(content, &f); err != nil {
			t.Fatal(err)
		}
		change(&f)
		forged, err := encodeState(&f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, forged, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := l.audit(t, inState(dir)); !errors.Is(err, errState) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A first run that broke off before its end leaves nothing that counts.
func TestStateOfBrokenFirstRun(t *testing.T) {
	l, dir := newLog(t), t.TempDir()
	for _, name := range []string{fileAuthority, fileUses} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, mustAudit(t, l, inState(dir)), ExitProven)
	expect(t, mustAudit(t, l, inState(dir)), ExitProven)
}

func TestStateOfAnotherLog(t *testing.T) {
	l, dir := newLog(t), t.TempDir()
	expect(t, mustAudit(t, l, inState(dir)), ExitProven)
	other := noteSigner(t, "other.example/log", checkpoint.AlgEd25519)
	text := strings.Replace(l.checkpoint(len(l.leaves)), testOrigin, "other.example/log", 1)
	l.note = l.sign(text, other)
	policy := parsePolicy(t, "log "+other.VKey()+"\nquorum none\n")
	if _, err := l.audit(t, inState(dir), func(c *Config) { c.Policy = policy }); !errors.Is(err, ErrOtherLog) {
		t.Error(err)
	}
}

func TestStateIsLocked(t *testing.T) {
	dir := t.TempDir()
	_, held, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	l := newLog(t)
	if _, err := l.audit(t, inState(dir)); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	if err := held.close(); err != nil {
		t.Fatal(err)
	}
	expect(t, mustAudit(t, l, inState(dir)), ExitProven)
}

func TestStateUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := newLog(t).audit(t, inState(filepath.Join(file, "dir"))); err == nil {
		t.Error("a state directory under a file")
	}
}
