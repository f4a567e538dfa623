//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mirroredLog is our log whose policy demands two witnesses and a mirror, all of ours.
type mirroredLog struct {
	dir, data, policy string
	serving           *process
	url               string
	copy              string // where the mirror serves the log
	events            []string
	sent              int
}

// newMirroredLog makes all of them, and everything but the log itself runs.
func newMirroredLog(t *testing.T) *mirroredLog {
	t.Helper()
	const origin = "log.example/mirrored"
	dir := t.TempDir()
	l := &mirroredLog{dir: dir, data: filepath.Join(dir, "log")}
	vkeys := strings.Fields(must(t, "escortlogd", "init", "--data", l.data, "--origin", origin))
	plain := newWitness(t, "one.example/witness", strings.Join(vkeys, " "))

	data, listen := filepath.Join(dir, "agency"), filepath.Join(dir, "agency.address")
	four := strings.Fields(must(t, "escortwitness", "init", "--data", data, "--name", "two.example/witness", "--mirror-name", "two.example/mirror"))
	if len(four) != 4 {
		t.Fatalf("escortwitness init printed %q, want the witness's and the mirror's keys", four)
	}
	must(t, "escortwitness", append([]string{"add-log", "--data", data, "--mirror"}, vkeys...)...)
	p := start(t, dir, "escortwitness", "serve", "--data", data, "--listen", "127.0.0.1:0", "--listen-file", listen)
	agency := serving(t, p, listen)
	hash := sha256.Sum256([]byte(origin))
	l.copy = agency + "/mirror/" + hex.EncodeToString(hash[:])

	lines := append(plain.lines("one"), witnessLine{"two", four[0], agency}, witnessLine{"two-pq", four[1], agency},
		witnessLine{"mirror", four[2], agency}, witnessLine{"mirror-pq", four[3], agency})
	l.policy = policy(t, vkeys[0], lines...)

	const source = "https://trail.example/account/1"
	l.start(t)
	key := filepath.Join(dir, "source.key")
	must(t, "escortlog", "keygen", "-o", key)
	must(t, "escortlog", "register-key", "--log", l.url, "--admin", filepath.Join(l.data, "admin.key"), "--key", key+".pub", "--source", source)
	files, _ := trail(t)
	events := must(t, "escortlog", append([]string{"import", "--from", "cloudtrail", "--source", source}, files...)...)
	l.events = strings.Split(strings.TrimSpace(events), "\n")
	return l
}

func (l *mirroredLog) start(t *testing.T) {
	t.Helper()
	listen := filepath.Join(l.dir, "log.address")
	l.serving = start(t, l.dir, "escortlogd", "serve", "--data", l.data, "--listen", "127.0.0.1:0", "--listen-file", listen, "--policy", l.policy)
	l.url = serving(t, l.serving, listen)
}

// submit sends a share of the events; each is proven against the policy, so the mirror has cosigned.
func (l *mirroredLog) submit(t *testing.T, share int) {
	t.Helper()
	events := l.events[l.sent:min(l.sent+len(l.events)/share, len(l.events))]
	l.sent += len(events)
	mustWith(t, strings.Join(events, "\n")+"\n", "escortlog", "submit", "--log", l.url, "--key", filepath.Join(l.dir, "source.key"),
		"--policy", l.policy, "--receipts", filepath.Join(l.dir, "receipts"), "-")
	if len(events) == 0 {
		t.Fatal("there are no events left to send")
	}
}

// whole audits the log, which must extend what was audited before, and verifies all receipts there are.
func (l *mirroredLog) whole(t *testing.T) {
	t.Helper()
	// What was healed knows what it signed, not what was published: that is cosigned again first.
	l.serving.await(t, "a checkpoint", func() bool {
		resp, err := http.Get(l.url + "/checkpoint")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	must(t, "escortlog", "audit", "--no-rules", "--policy", l.policy, "--log", l.url, "--state", filepath.Join(l.dir, "auditor"))
	proofs, err := filepath.Glob(filepath.Join(l.dir, "receipts", "*.tlog-proof"))
	if err != nil || len(proofs) < l.sent {
		t.Fatalf("%d receipts for %d events, %v", len(proofs), l.sent, err)
	}
	for _, proof := range []string{proofs[0], proofs[len(proofs)/2], proofs[len(proofs)-1]} {
		must(t, "escortlog", "verify", "--policy", l.policy, "--leaf", strings.TrimSuffix(proof, ".tlog-proof")+".leaf", proof)
	}
}

func (l *mirroredLog) recover(t *testing.T) {
	t.Helper()
	must(t, "escortlogd", "recover", "--data", l.data, "--from", l.copy)
}

// ready is the answer of /readyz.
func (l *mirroredLog) ready(t *testing.T) (status int, why string) {
	t.Helper()
	resp, err := http.Get(l.url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// TestE2EMirrorHealsLog: a log whose quorum holds a mirror is healed from it after its store was put back, after
// it was lost, and after everything but the keys was; and goes on, cosigned by the same witnesses.
func TestE2EMirrorHealsLog(t *testing.T) {
	built(t, buildOurs)
	l := newMirroredLog(t)
	l.submit(t, 5)
	l.whole(t)
	l.serving.stop()
	db, saved := filepath.Join(l.data, "db"), filepath.Join(l.dir, "saved")
	if err := os.CopyFS(saved, os.DirFS(db)); err != nil {
		t.Fatal(err)
	}
	l.start(t)
	l.submit(t, 5)
	l.serving.stop()

	// Put back: it serves what it has, takes nothing, and says why.
	if err := os.RemoveAll(db); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(db, os.DirFS(saved)); err != nil {
		t.Fatal(err)
	}
	l.start(t)
	l.serving.await(t, "that it is not ready", func() bool {
		status, _ := l.ready(t)
		return status == http.StatusServiceUnavailable
	})
	if _, why := l.ready(t); !strings.Contains(why, "recover") {
		t.Errorf("it does not say what to do: %s", why)
	}
	l.serving.stop()
	l.recover(t)
	l.start(t)
	l.whole(t)
	l.submit(t, 5)

	// The store is lost.
	l.serving.stop()
	if err := os.RemoveAll(db); err != nil {
		t.Fatal(err)
	}
	if _, all, code := try(t, "", "escortlogd", "serve", "--data", l.data, "--listen", "127.0.0.1:0", "--policy", l.policy); code == 0 {
		t.Errorf("a log without a store is served:\n%s", all)
	}
	l.recover(t)
	l.start(t)
	l.whole(t)
	l.submit(t, 5)

	// Everything is lost but the keys; the administrator's lies among the log's only because this is a trial.
	l.serving.stop()
	entries, err := os.ReadDir(l.data)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "keys" && e.Name() != "admin.key" {
			if err := os.RemoveAll(filepath.Join(l.data, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.recover(t)
	l.start(t)
	l.whole(t)
	l.submit(t, 5)
	l.whole(t)
}

// TestE2EMirrorPullsWithToken: a mirror that the log knows nothing of reads it by itself, with the token that the log asks
// its readers for.
func TestE2EMirrorPullsWithToken(t *testing.T) {
	built(t, buildOurs)
	const origin = "log.example/pulled"
	dir := t.TempDir()
	data := filepath.Join(dir, "log")
	vkeys := strings.Fields(must(t, "escortlogd", "init", "--data", data, "--origin", origin))
	token := write(t, dir, "token", "token-0123456789abcdef\n")
	listen := filepath.Join(dir, "log.address")
	log := start(t, dir, "escortlogd", "serve", "--data", data, "--listen", "127.0.0.1:0", "--listen-file", listen,
		"--read-auth", "token", "--read-token-file", token)
	logURL := serving(t, log, listen)
	key := filepath.Join(dir, "source.key")
	must(t, "escortlog", "keygen", "-o", key)
	must(t, "escortlog", "register-key", "--log", logURL, "--admin", filepath.Join(data, "admin.key"), "--key", key+".pub", "--source", "urn:example:x")

	hash := sha256.Sum256([]byte(origin))
	// Without the token nothing is copied; with it, everything.
	for _, access := range [][]string{nil, {"--token-file", token}} {
		archive := filepath.Join(t.TempDir(), "archive")
		must(t, "escortwitness", "init", "--data", archive, "--name", "w.example/1", "--mirror-name", "m.example/1")
		must(t, "escortwitness", append(append([]string{"add-log", "--data", archive, "--mirror", "--url", logURL}, access...), vkeys...)...)
		listen := filepath.Join(archive, "address")
		p := start(t, dir, "escortwitness", "serve", "--data", archive, "--listen", "127.0.0.1:0", "--listen-file", listen, "--pull-every", "100ms")
		mirror := serving(t, p, listen) + "/mirror/" + hex.EncodeToString(hash[:])
		if access == nil {
			p.await(t, "a refusal", func() bool { return strings.Contains(p.out.String(), "pulling a log failed") })
			continue
		}
		p.await(t, "a copy", func() bool {
			resp, err := http.Get(mirror + "/checkpoint")
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			note, err := io.ReadAll(resp.Body)
			return err == nil && strings.HasPrefix(string(note), origin+"\n2\n")
		})
		log.stop()
		must(t, "escortlogd", "recover", "--data", data, "--from", mirror)
	}
}
