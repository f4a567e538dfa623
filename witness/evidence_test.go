package witness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/conformance"
)

func kinds(t *testing.T, dir string) string {
	t.Helper()
	all, err := ReadEvidence(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range all {
		out = append(out, string(e.Kind))
	}
	return strings.Join(out, " ")
}

func TestEvidence(t *testing.T) {
	w, l := newWitness(t)
	honest, fork := l.Honest(), l.Forked()
	mustAdd(t, w, honest.Request(0, 10))
	empty := honest.Checkpoint(0)
	empty.Root[0] ^= 1
	for _, step := range []struct {
		name, body string
		want       int
		kinds      string
	}{
		{"an older checkpoint is no contradiction", honest.Request(0, 5), 409, ""},
		{"a rollback without times cannot be told from that", fork.Request(0, 5), 409, ""},
		{"a conflict with an honest checkpoint is none", honest.Request(5, 12), 409, ""},
		{"a fork, found on the way to another answer", fork.Request(5, 10), 409, "fork"},
		{"the same fork again, asked properly", fork.Request(10, 10), 422, "fork"},
		{"a fork signed by a stranger is nobody's", strings.Replace(fork.Request(10, 10), "— log", "— xog", 1), 403, "fork"},
		{"growth that does not fit", fork.Request(10, 20), 422, "fork inconsistent"},
		{"a proof for equal sizes is only a mistake", conformance.AddBody(10, []tlog.Hash{{}}, honest.Note(10)), 422, "fork inconsistent"},
		{"an empty tree that is not empty", conformance.AddBody(0, nil, l.Sign(empty.Text())), 409, "fork inconsistent empty-root"},
	} {
		_, err := w.AddCheckpoint([]byte(step.body))
		if got := status(t, err); got != step.want {
			t.Fatalf("%s: %d (%v), want %d", step.name, got, err, step.want)
		}
		if got := kinds(t, w.dir); got != step.kinds {
			t.Fatalf("%s: kept %q, want %q", step.name, got, step.kinds)
		}
	}

	// The fork proves itself: both notes bear the log's signature.
	all, err := ReadEvidence(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	e := all[0]
	var cps []checkpoint.Checkpoint
	for _, note := range []string{e.Known, e.Shown} {
		text, sigs, err := checkpoint.ParseNote([]byte(note))
		if err == nil {
			_, err = checkpoint.Verify(text, sigs, l.Signers[0].Verifier())
		}
		if err != nil {
			t.Fatal(err)
		}
		cp, err := checkpoint.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		cps = append(cps, cp)
	}
	if cps[0].Size != cps[1].Size || cps[0].Root == cps[1].Root || !e.Proof || e.Origin != l.Origin || e.Request != fork.Request(5, 10) {
		t.Errorf("%+v", e)
	}
	if all[1].Proof {
		t.Error("a proof that does not hold is called proof of misbehaviour: anybody can send one")
	}
	// The state has not moved.
	if _, err := w.AddCheckpoint([]byte(honest.Request(10, 12))); err != nil {
		t.Error(err)
	}
}

// With a timestamped key of the log, a smaller tree at a later time is a proven rollback.
func TestRollbackEvidence(t *testing.T) {
	dir := initDir(t)
	l := newLog(t, "log.example/one", checkpoint.AlgEd25519, checkpoint.AlgMLDSA44)
	addLog(t, dir, l)
	w := openDir(t, dir)
	signAt := func(v conformance.View, size, unix int64) string {
		text := v.Checkpoint(size).Text()
		var lines [][]byte
		for _, s := range l.Signers {
			line, err := s.Sign(text, unix)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line)
		}
		return string(checkpoint.Join(text, lines...))
	}
	v := l.Honest()
	mustAdd(t, w, conformance.AddBody(0, nil, signAt(v, 10, 1000)))
	for _, step := range []struct {
		name  string
		note  string
		want  int
		kinds string
	}{
		{"older and smaller", signAt(v, 5, 900), 400, ""},
		{"as old and smaller", signAt(v, 5, 1000), 400, ""},
		{"later and smaller", signAt(v, 5, 1001), 400, "rollback"},
	} {
		_, err := w.AddCheckpoint([]byte(conformance.AddBody(10, nil, step.note)))
		if got := status(t, err); got != step.want {
			t.Fatalf("%s: %d (%v), want %d", step.name, got, err, step.want)
		}
		if got := kinds(t, dir); got != step.kinds {
			t.Fatalf("%s: kept %q, want %q", step.name, got, step.kinds)
		}
	}
}

// Only so much is kept of each log and kind, the first, also over a restart.
func TestEvidenceIsBounded(t *testing.T) {
	dir := initDir(t)
	l := newLog(t, "log.example/one")
	addLog(t, dir, l)
	w := openDir(t, dir)
	mustAdd(t, w, l.Honest().Request(0, 3))
	for size := int64(4); size < 4+2*maxEvidence; size++ {
		if size == 4+maxEvidence/2 {
			_ = w.Close()
			w = openDir(t, dir)
		}
		if _, err := w.AddCheckpoint([]byte(l.Forked().Request(3, size))); status(t, err) != 422 {
			t.Fatal(err)
		}
	}
	all, err := ReadEvidence(dir)
	if err != nil || len(all) != maxEvidence {
		t.Errorf("%d kept, %v, want %d", len(all), err, maxEvidence)
	}
	// Another kind, and another log, have their own room.
	if _, err := w.AddCheckpoint([]byte(l.Forked().Request(3, 3))); status(t, err) != 422 {
		t.Fatal(err)
	}
	if got := kinds(t, dir); !strings.Contains(got, "fork") {
		t.Errorf("kept %q", got)
	}
}

// Evidence that cannot be kept changes no answer.
func TestEvidenceFails(t *testing.T) {
	w, l := newWitness(t)
	mustAdd(t, w, l.Honest().Request(0, 3))
	if err := os.RemoveAll(evidencePath(w.dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddCheckpoint([]byte(l.Forked().Request(3, 3))); status(t, err) != 422 {
		t.Error(err)
	}
	mustAdd(t, w, l.Honest().Request(3, 4))
}

func TestReadEvidenceErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadEvidence(dir); err == nil {
		t.Error("no error without a directory")
	}
	if err := os.MkdirAll(evidencePath(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(evidencePath(dir), "x.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadEvidence(dir); err == nil || !strings.Contains(err.Error(), "x.json") {
		t.Errorf("damaged evidence: %v", err)
	}
}

func TestEvidenceIsSortedByTime(t *testing.T) {
	s, err := openEvidence(filepath.Join(t.TempDir(), "evidence"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		e := &Evidence{Kind: Fork, Origin: fmt.Sprint(i), Time: time.Unix(int64(100-i), 0), Shown: "x"}
		if fresh, err := s.keep(e); err != nil || !fresh {
			t.Fatal(fresh, err)
		}
		if fresh, err := s.keep(e); err != nil || fresh {
			t.Fatal("kept twice", err)
		}
	}
	all, err := ReadEvidence(filepath.Dir(s.dir))
	if err != nil || len(all) != 3 || all[0].Origin != "2" {
		t.Errorf("%v %v", all, err)
	}
}
