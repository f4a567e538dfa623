//go:build e2e

package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
)

// putBack makes a directory what it was, in place: directories and the guard keep their inodes, as after a restore
// of a snapshot, so that only the content tells.
func putBack(t *testing.T, dir, saved string) {
	t.Helper()
	db := filepath.Join(dir, "db")
	check(t, os.RemoveAll(db))
	check(t, os.CopyFS(db, os.DirFS(filepath.Join(saved, "db"))))
	guard, err := os.ReadFile(filepath.Join(saved, "guard"))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "guard"), guard, 0o600))
}

// copyAll copies a directory with the modes of its files, as backup programs do.
func copyAll(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestE2ERollbackAndForks does to a log's directory what an operator, a restore or a snapshot may do to it. Each time
// the log refuses to start, or serves readers and takes nothing, and says what is to be done, or nothing was wrong;
// where that can heal it, doing so does; and what was acknowledged is there afterwards. The table is walked in order,
// with one log.
func TestE2ERollbackAndForks(t *testing.T) {
	built(t, buildOurs)
	l := newMirroredLog(t)
	l.submit(t, 12)
	l.whole(t)
	l.serving.stop()
	saved, db, guard := filepath.Join(l.dir, "saved"), filepath.Join(l.data, "db"), filepath.Join(l.data, "guard")
	check(t, os.CopyFS(saved, os.DirFS(l.data)))
	l.start(t)
	l.submit(t, 12)
	l.serving.stop()

	for _, s := range []struct {
		name string
		do   func()
		// One of these, or neither where nothing is wrong: what a start says that fails, or /readyz of one that succeeds.
		refused, halted []string
		heal            func() // nil: there is nothing to be done
	}{
		{name: "the database put back",
			do:     func() { check(t, os.RemoveAll(db)); check(t, os.CopyFS(db, os.DirFS(filepath.Join(saved, "db")))) },
			halted: []string{"the guard remembers otherwise", "was signed, the store holds", "Delete nothing", "escortlogd recover --data DIR --from URL", "--successor-of"},
			heal:   func() { l.recover(t) }},
		{name: "the whole directory put back",
			do:     func() { putBack(t, l.data, saved) },
			halted: []string{"witness", "remembers otherwise", "escortlogd recover --data DIR --from URL"},
			heal:   func() { l.recover(t) }},
		{name: "the guard alone put back",
			do: func() {
				old, err := os.ReadFile(filepath.Join(saved, "guard"))
				check(t, err)
				check(t, os.WriteFile(guard, old, 0o600))
			}},
		{name: "the guard deleted",
			do:      func() { check(t, os.Remove(guard)) },
			refused: []string{"guard file is missing", guard, "escortlogd restore --adopt --data"},
			heal:    func() { must(t, "escortlogd", "restore", "--adopt", "--data", l.data) }},
		{name: "the guard overwritten",
			do:      func() { check(t, os.WriteFile(guard, make([]byte, 8192), 0o600)) },
			refused: []string{"guard file is corrupt", guard, "move this file aside", "escortlogd restore --adopt --data"},
			heal: func() {
				check(t, os.Rename(guard, guard+".aside"))
				must(t, "escortlogd", "restore", "--adopt", "--data", l.data)
			}},
		{name: "a copy of the directory in its place",
			do: func() {
				check(t, os.Rename(l.data, l.data+".old"))
				copyAll(t, l.data+".old", l.data)
				check(t, os.RemoveAll(l.data+".old"))
			},
			refused: []string{"guard belongs to another place", "inode", "stop", "escortlogd restore --adopt --data"},
			heal:    func() { must(t, "escortlogd", "restore", "--adopt", "--data", l.data) }},
	} {
		t.Logf("%s", s.name)
		s.do()
		if s.refused != nil {
			_, all, code := try(t, "", "escortlogd", "serve", "--data", l.data, "--listen", "127.0.0.1:0", "--policy", l.policy)
			if code != 2 {
				t.Fatalf("%s: serve ends with %d, want 2\n%s", s.name, code, all)
			}
			says(t, s.name, all, s.refused)
		}
		if s.halted != nil {
			l.start(t)
			l.serving.await(t, "that it is not ready", func() bool { status, _ := l.ready(t); return status == http.StatusServiceUnavailable })
			_, why := l.ready(t)
			says(t, s.name, why, s.halted)
			event := l.events[len(l.events)-1]
			if _, all, code := try(t, event+"\n", "escortlog", "submit", "--log", l.url, "--key", filepath.Join(l.dir, "source.key"), "--wait", "1s", "-"); code == 0 {
				t.Errorf("%s: it takes an event\n%s", s.name, all)
			}
			l.serving.stop()
		}
		if s.heal != nil {
			s.heal()
		}
		l.start(t)
		l.submit(t, 12)
		l.whole(t)
		l.serving.stop()
		must(t, "escortlogd", "fsck", "--data", l.data)
	}

	t.Logf("two processes on one directory, and a copy started elsewhere")
	l.start(t)
	for _, command := range [][]string{{"serve", "--listen", "127.0.0.1:0"}, {"fsck"}, {"restore", "--adopt"}, {"migrate", "--to", filepath.Join(l.dir, "other")}} {
		_, all, code := try(t, "", "escortlogd", append(command, "--data", l.data)...)
		if code != 5 {
			t.Errorf("%s beside the running log ends with %d, want 5", command[0], code)
		}
		says(t, command[0], all, []string{"in use by another process"})
	}
	elsewhere := filepath.Join(l.dir, "elsewhere")
	copyAll(t, l.data, elsewhere)
	_, all, code := try(t, "", "escortlogd", "serve", "--data", elsewhere, "--listen", "127.0.0.1:0", "--policy", l.policy)
	if code != 2 {
		t.Errorf("a copy elsewhere ends with %d, want 2", code)
	}
	says(t, "a copy elsewhere", all, []string{"guard belongs to another place", "two logs under one name are a fork"})

	// Adopted although the original lives on: the witnesses know more than the copy holds.
	l.submit(t, 12)
	must(t, "escortlogd", "restore", "--adopt", "--data", elsewhere)
	listen := filepath.Join(l.dir, "elsewhere.address")
	copied := start(t, l.dir, "escortlogd", "serve", "--data", elsewhere, "--listen", "127.0.0.1:0", "--listen-file", listen, "--policy", l.policy)
	url := serving(t, copied, listen)
	copied.await(t, "that the copy is not ready", func() bool { status, _ := readiness(t, url); return status == http.StatusServiceUnavailable })
	_, why := readiness(t, url)
	says(t, "an adopted copy", why, []string{"witness", "remembers otherwise"})
	l.whole(t)
}

func says(t *testing.T, what, text string, want []string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s: it does not say %q:\n%s", what, w, text)
		}
	}
}

func readiness(t *testing.T, url string) (status int, why string) {
	t.Helper()
	resp, err := http.Get(url + "/readyz")
	check(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	check(t, err)
	return resp.StatusCode, string(body)
}

// TestE2ELyingWitness: a witness that says it remembers a larger log, without the log's signature to show for it,
// neither stops the log nor delays its quorum.
func TestE2ELyingWitness(t *testing.T) {
	built(t, buildOurs)
	const origin = "log.example/lied-about"
	dir := t.TempDir()
	data := filepath.Join(dir, "log")
	vkeys := strings.Fields(must(t, "escortlogd", "init", "--data", data, "--origin", origin))
	honest := newWitness(t, "one.example/witness", strings.Join(vkeys, " "))
	signer, err := checkpoint.GenerateSigner("liar.example/witness", checkpoint.AlgCosignEd25519, rand.Reader)
	check(t, err)
	// It shows a checkpoint of its own making: its signature, and one in the log's name that is none.
	text := checkpoint.Checkpoint{Origin: origin, Size: 1 << 40}.Text()
	line, err := signer.Sign(text, 1_800_000_000)
	check(t, err)
	forged, err := checkpoint.GenerateSigner(origin, checkpoint.AlgEd25519, rand.Reader)
	check(t, err)
	forgedLine, err := forged.Sign(text, 0)
	check(t, err)
	var asked atomic.Int64
	sum := sha256.Sum256([]byte(origin))
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, hex.EncodeToString(sum[:])) {
			_, _ = w.Write(checkpoint.Join(text, forgedLine, line))
			return
		}
		w.Header().Set("Content-Type", "text/x.tlog.size")
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintf(w, "%d\n", int64(1)<<40)
	}))
	defer liar.Close()
	lines := []string{"log " + vkeys[0], "witness one " + honest.vkeys[0] + " " + honest.url,
		"witness liar " + signer.VKey() + " " + liar.URL, "group any any one liar", "quorum any", ""}
	path := write(t, dir, "lied.policy", strings.Join(lines, "\n"))
	listen := filepath.Join(dir, "address")
	p := start(t, dir, "escortlogd", "serve", "--data", data, "--listen", "127.0.0.1:0", "--listen-file", listen, "--policy", path)
	url := serving(t, p, listen)
	key := filepath.Join(dir, "source.key")
	must(t, "escortlog", "keygen", "-o", key)
	must(t, "escortlog", "register-key", "--log", url, "--admin", filepath.Join(data, "admin.key"), "--key", key+".pub", "--source", "urn:example:s")
	p.await(t, "that the liar is asked", func() bool { return asked.Load() > 1 })
	if status, why := readiness(t, url); status != http.StatusOK {
		t.Errorf("the log lets a lie stop it: %s", why)
	}
	must(t, "escortlog", "audit", "--no-rules", "--policy", path, "--log", url, "--state", filepath.Join(dir, "auditor"))
	if _, err := os.Stat(filepath.Join(data, "guard")); errors.Is(err, fs.ErrNotExist) {
		t.Error("there is no guard")
	}
}
