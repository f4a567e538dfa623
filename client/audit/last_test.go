package audit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestLast(t *testing.T) {
	dir := t.TempDir()
	if _, err := Last(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("before any audit: %v", err)
	}
	l := newLog(t)
	r := mustAudit(t, l, inState(dir))
	note, err := Last(dir)
	if err != nil || string(note) != r.Checkpoint {
		t.Fatalf("%q, %v", note, err)
	}
	name := filepath.Join(dir, fileState)
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, bytes.Replace(content, []byte(`"last_time": 1`), []byte(`"last_time": 2`), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Last(dir); !errors.Is(err, errState) {
		t.Errorf("a changed state: %v", err)
	}
}
