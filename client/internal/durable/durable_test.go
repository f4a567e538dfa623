package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	for _, content := range []string{"old and long", "new"} {
		if err := WriteFile(name, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != content {
			t.Errorf("%q, %v, want %q", got, err, content)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{filepath.Join(dir, "taken"), filepath.Join(dir, "missing", "file")} {
		if err := WriteFile(bad, []byte("x")); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("%v lie there, %v: a file that could not be written was left", entries, err)
	}
}

func TestMakeDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	for range 2 { // also where it is there
		if err := MakeDir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Fatalf("%v, %v", info, err)
		}
	}
	t.Chdir(dir)
	if err := MakeDir("d/e", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("f", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := MakeDir("f/g", 0o755); err == nil {
		t.Error("a directory below a file was made")
	}
	if err := SyncDir("missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("syncing what is not there: %v", err)
	}
}
