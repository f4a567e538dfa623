//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// litewitness is a running witness of somebody else's making.
type litewitness struct {
	url, vkey string
	db        string
}

// startLitewitness starts litewitness under the given name, with an ssh-agent that holds its key.
func startLitewitness(t *testing.T, name string) *litewitness {
	t.Helper()
	dir := t.TempDir()
	// A name relative to the program's folder: the path of a unix socket may be no longer than about a hundred bytes.
	agent := start(t, dir, "litehost", "agent", "--socket", "agent")
	var fingerprint string
	agent.await(t, "a key's fingerprint", func() bool {
		line, _, whole := strings.Cut(agent.out.String(), "\n")
		fingerprint = line
		return whole
	})
	w := &litewitness{db: filepath.Join(dir, "witness.db")}
	vkey := regexp.MustCompile(`vkey="?([^" \n]+)"?`)
	var err error
	// litewitness cannot say which port it got, and a free one may be taken before it listens: then another is tried.
	for range 5 {
		addr := freePort(t)
		p := start(t, dir, "litewitness", "-name", name, "-db", w.db, "-ssh-agent", "agent", "-key", fingerprint, "-listen", addr)
		err = p.wait("an answer on "+addr, func() bool {
			resp, err := http.Get("http://" + addr + "/")
			if err != nil {
				return false
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			return err == nil && strings.Contains(string(body), name)
		})
		if m := vkey.FindStringSubmatch(p.out.String()); err == nil && m != nil {
			w.url, w.vkey = "http://"+addr, m[1]
			return w
		}
	}
	t.Fatalf("litewitness does not start: %v", err)
	return nil
}

// addLog lets the witness cosign the log with that verifier key.
func (w *litewitness) addLog(t *testing.T, vkey string) {
	t.Helper()
	must(t, "litehost", "add-log", "--db", w.db, "--vkey", vkey)
}

// tesseraLog is a log of somebody else's making, in a folder and served from there.
type tesseraLog struct {
	dir, keys, vkey, url string
}

// newTesseraLog makes the key and the web server of a log that has no checkpoint yet.
func newTesseraLog(t *testing.T, origin string) *tesseraLog {
	t.Helper()
	l := &tesseraLog{dir: filepath.Join(t.TempDir(), "log"), keys: t.TempDir()}
	must(t, "tessera", "keygen", "--name", origin, "--out", l.keys)
	l.vkey = read(t, filepath.Join(l.keys, "vkey"))
	srv := httptest.NewServer(http.FileServer(http.Dir(l.dir)))
	t.Cleanup(srv.Close)
	l.url = srv.URL
	return l
}

// append adds entries and returns once a checkpoint that meets the policy covers them.
func (l *tesseraLog) append(t *testing.T, policyFile string, entries int) {
	t.Helper()
	must(t, "tessera", "append", "--dir", l.dir, "--skey", filepath.Join(l.keys, "skey"), "--policy", policyFile, "--entries", fmt.Sprint(entries))
}

// fsck runs Tessera's fsck over a log. Its exit code says nothing; only its last words do.
func fsck(t testing.TB, logURL, vkey string) (success bool, size int64, all string) {
	t.Helper()
	key := write(t, t.TempDir(), "vkey", vkey)
	_, all, _ = try(t, "", "fsck", "--storage_url", logURL+"/", "--public_key", key, "--ui=false", "-N", "8")
	m := regexp.MustCompile(`Successfully fsck'd log with size (\d+) and root`).FindStringSubmatch(all)
	if m == nil {
		return false, 0, all
	}
	_, err := fmt.Sscan(m[1], &size)
	return err == nil, size, all
}

// readers runs the three foreign readers over a log and demands that each accepts it at the given size. The
// cosigners must all be found on the checkpoint by the reader on x/mod, which also knows ML-DSA keys; policy is for
// torchwood, which knows Ed25519 only.
func readers(t *testing.T, logURL, vkey string, cosigners []string, policyFile string, size int64) {
	t.Helper()
	if ok, got, all := fsck(t, logURL, vkey); !ok || got != size {
		t.Errorf("Tessera's fsck did not accept the log at size %d:\n%s", size, all)
	}
	args := []string{"--log", logURL, "--vkey", vkey}
	for _, c := range cosigners {
		args = append(args, "--cosigner", c)
	}
	for name, args := range map[string][]string{"xmod": args, "torchwood": {"--log", logURL, "--policy", policyFile}} {
		out := must(t, name, args...)
		if !strings.HasPrefix(out, fmt.Sprintf("%s: verified %d entries,", name, size)) {
			t.Errorf("%s did not read %d entries: %s", name, size, out)
		}
		t.Log(strings.TrimSpace(out))
	}
}

// lyingProxy serves a log with one byte changed in every answer whose path begins with prefix.
func lyingProxy(t *testing.T, logURL, prefix string) string {
	t.Helper()
	target, err := url.Parse(logURL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			// Asks for plain bytes: a changed byte in compressed ones would be caught by the wrong check.
			r.Out.Header.Set("Accept-Encoding", "identity")
		},
		ModifyResponse: func(resp *http.Response) error {
			if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Request.URL.Path, prefix) {
				return nil
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || len(body) == 0 {
				return fmt.Errorf("nothing to change: %w", err)
			}
			_ = resp.Body.Close()
			if strings.HasSuffix(resp.Request.URL.Path, "/checkpoint") {
				changeRoot(body)
			} else {
				body[len(body)/2] ^= 0x10
			}
			resp.Body = io.NopCloser(strings.NewReader(string(body)))
			return nil
		},
	}
	srv := httptest.NewServer(proxy)
	t.Cleanup(srv.Close)
	return srv.URL
}

// changeRoot changes the first byte of a checkpoint's root: whatever a reader knows of its signatures, it knows that
// line. A flipped byte in a signature by a key that it does not know would rightly leave it cold.
func changeRoot(note []byte) {
	root := bytes.SplitN(note, []byte("\n"), 4)[2]
	if root[0] == 'A' {
		root[0] = 'B'
	} else {
		root[0] = 'A'
	}
}

// lies are the answers in which a changed byte has to be noticed by whoever reads the whole log.
var lies = map[string]string{
	"an entry":           "/tile/entries/000",
	"the newest entries": "/tile/entries/001",
	"a hash":             "/tile/0/000",
	"the checkpoint":     "/checkpoint",
}

// readersRefuse runs the three foreign readers over the log with each lie told and demands that each notices.
func readersRefuse(t *testing.T, logURL, vkey, policyFile string) {
	t.Helper()
	honest := lyingProxy(t, logURL, "/nothing")
	if ok, _, all := fsck(t, honest, vkey); !ok {
		t.Fatalf("Tessera's fsck refuses the log through a proxy that changes nothing:\n%s", all)
	}
	must(t, "xmod", "--log", honest, "--vkey", vkey)
	must(t, "torchwood", "--log", honest, "--policy", policyFile)
	for what, prefix := range lies {
		t.Run("a changed byte in "+what, func(t *testing.T) {
			liar := lyingProxy(t, logURL, prefix)
			if ok, _, all := fsck(t, liar, vkey); ok {
				t.Errorf("Tessera's fsck accepted it:\n%s", all)
			}
			if _, all, code := try(t, "", "xmod", "--log", liar, "--vkey", vkey); code == 0 {
				t.Errorf("xmod accepted it:\n%s", all)
			}
			if _, all, code := try(t, "", "torchwood", "--log", liar, "--policy", policyFile); code == 0 {
				t.Errorf("torchwood accepted it:\n%s", all)
			}
		})
	}
}

// witnessLine is one witness of a policy: its name there, a verifier key and, where the policy is for somebody who
// asks it, a URL.
type witnessLine struct{ name, vkey, url string }

// policy writes a tlog-policy in which every one of the witnesses has to cosign.
func policy(t testing.TB, logLine string, witnesses ...witnessLine) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "log %s\n", logLine)
	var names []string
	for _, w := range witnesses {
		b.WriteString(strings.TrimSpace("witness "+w.name+" "+w.vkey+" "+w.url) + "\n")
		names = append(names, w.name)
	}
	fmt.Fprintf(&b, "group everyone all %s\nquorum everyone\n", strings.Join(names, " "))
	return write(t, t.TempDir(), "policy", b.String())
}

// TestE2EForeignReadersOnSamples lets the readers judge the log and a proof that lie in testdata, where our own
// programs are tested against them.
func TestE2EForeignReadersOnSamples(t *testing.T) {
	built(t, buildForeign)
	samples := filepath.Join(root, "testdata")
	keys := func(name string) []string {
		return strings.Fields(read(t, filepath.Join(samples, "keys", name+".vkeys")))
	}
	log, agency, assessor, university := keys("log"), keys("witness-agency"), keys("witness-assessor"), keys("witness-university")
	srv := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(samples, "log"))))
	t.Cleanup(srv.Close)
	signed := strings.Split(read(t, filepath.Join(samples, "log/checkpoint")), "\n")
	size, err := strconv.ParseInt(signed[1], 10, 64)
	if err != nil || size == 0 {
		t.Fatalf("the sample log's checkpoint has size %q", signed[1])
	}
	classic := policy(t, log[0], witnessLine{"agency", agency[0], ""}, witnessLine{"assessor", assessor[0], ""})
	readers(t, srv.URL, log[0], slices.Concat(log[1:], agency, assessor, university), classic, size)

	proofs := filepath.Join(samples, "vectors/tlog-proof")
	good, bad := filepath.Join(proofs, "good/ed25519.tlog-proof"), filepath.Join(proofs, "not-included/hash-flipped.tlog-proof")
	verifiers := map[string][]string{
		"xmod":      {"--vkey", log[0], "--cosigner", agency[0], "--cosigner", assessor[0]},
		"torchwood": {"--policy", classic},
	}
	for name, args := range verifiers {
		args = append(args, "--leaf", filepath.Join(proofs, "leaf"), "--proof")
		must(t, name, append(args, good)...)
		if _, all, code := try(t, "", name, append(args, bad)...); code == 0 {
			t.Errorf("%s accepts a proof with a flipped bit:\n%s", name, all)
		}
	}
}

// TestE2EForeignProgramsAmongThemselves lets Tessera's log be cosigned by litewitness and read by all readers, with
// nothing of ours between: what fails here is not our log's fault. It also shows that the readers notice lies.
func TestE2EForeignProgramsAmongThemselves(t *testing.T) {
	built(t, buildForeign)
	w := startLitewitness(t, "lite.example/witness")
	l := newTesseraLog(t, "tessera.example/log")
	p := policy(t, l.vkey, witnessLine{"lite", w.vkey, w.url})

	if _, all, code := try(t, "", "tessera", "append", "--dir", filepath.Join(t.TempDir(), "log"), "--skey", filepath.Join(l.keys, "skey"),
		"--policy", p); code == 0 || !strings.Contains(all, "checkpoint origin is unknown") {
		t.Fatalf("a log that the witness does not know was not refused as such (exit code %d):\n%s", code, all)
	}
	w.addLog(t, l.vkey)
	l.append(t, p, 256)
	l.append(t, p, 100)
	readers(t, l.url, l.vkey, []string{w.vkey}, p, 356)
	readersRefuse(t, l.url, l.vkey, p)
}
