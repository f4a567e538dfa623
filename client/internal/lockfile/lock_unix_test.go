//go:build unix

package lockfile

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestTake(t *testing.T) {
	path, taken := filepath.Join(t.TempDir(), "lock"), errors.New("somebody is there")
	f, err := Take(path, taken)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(path, taken); !errors.Is(err, taken) || !strings.Contains(err.Error(), path) {
		t.Errorf("a second one: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if f, err = Take(path, taken); err != nil {
		t.Fatalf("after it was given back: %v", err)
	}
	f.Close()
	if _, err := Take(filepath.Join(path, "below a file"), taken); err == nil || errors.Is(err, taken) {
		t.Errorf("where no file can be made: %v", err)
	}
}
