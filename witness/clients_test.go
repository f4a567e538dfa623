package witness

import (
	"crypto/rand"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/clients"
	"github.com/escortlog/escortlog/witness/conformance"
)

// postAs posts a body through a proxy on this host that says for whom.
func postAs(t *testing.T, url, client string, body io.Reader) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", client)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp
}

// An address whose requests keep being refused is turned away, and nobody else is.
func TestClientsAreBounded(t *testing.T) {
	c := newClock()
	w, l := newWitness(t, func(cfg *Config) {
		cfg.Now, cfg.Clients = c.Now, clients.New(clients.Config{Rate: 1, Now: c.Now})
	})
	s := serve(t, w)
	honest := func(old, size int64) io.Reader { return strings.NewReader(l.Honest().Request(old, size)) }
	if resp := postAs(t, s.URL+"/add-checkpoint", "192.0.2.1", honest(0, 10)); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	for i := range 20 {
		if resp := postAs(t, s.URL+"/add-checkpoint", "192.0.2.1", honest(0, 10)); resp.StatusCode != 409 {
			t.Fatalf("%d: %s", i, resp.Status)
		}
	}
	for _, path := range []string{"/add-checkpoint", "/sign-subtree"} {
		resp := postAs(t, s.URL+path, "192.0.2.1", honest(10, 11))
		if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s after 20 refusals: %s %v", path, resp.Status, resp.Header)
		}
	}
	if resp := postAs(t, s.URL+"/add-checkpoint", "192.0.2.2", honest(10, 11)); resp.StatusCode != 200 {
		t.Errorf("somebody else: %s", resp.Status)
	}
	c.add(2e9)
	if resp := postAs(t, s.URL+"/add-checkpoint", "192.0.2.1", honest(11, 12)); resp.StatusCode != 200 {
		t.Errorf("after a while: %s", resp.Status)
	}
}

// Success costs no budget of the address: hundreds of logs may share one.
func TestSuccessIsFree(t *testing.T) {
	w, l := newWitness(t, func(cfg *Config) { cfg.Clients = clients.New(clients.Config{Rate: 0.05}) })
	s := serve(t, w)
	for i := range int64(30) {
		if resp := postAs(t, s.URL+"/add-checkpoint", "192.0.2.1", strings.NewReader(l.Honest().Request(max(0, i-1), i))); resp.StatusCode != 200 {
			t.Fatalf("%d: %s", i, resp.Status)
		}
	}
}

// A line that is repeated a thousand times is checked once, and is no other note for that.
func TestRepeatedLines(t *testing.T) {
	w, l := newWitness(t)
	body := l.Honest().Request(0, 10)
	line := body[strings.LastIndex(body, "— "):]
	repeated := body + strings.Repeat(line, 500)
	r, err := parseAddRequest([]byte(repeated))
	if err != nil || len(r.sigs) != 1 {
		t.Errorf("%d signature lines, %v", len(r.sigs), err)
	}
	mustAdd(t, w, repeated)
}

// Who cosigned the reference checkpoint, the witness or the mirror beside it, signs the subtree.
func TestSubtreeIdentity(t *testing.T) {
	dir := t.TempDir() + "/w"
	if _, err := Init(InitConfig{Dir: dir, Name: testName, MirrorName: "mirror.example/m1", Rand: rand.Reader}); err != nil {
		t.Fatal(err)
	}
	l := newLog(t, "log.example/one")
	addLog(t, dir, l)
	w := openDir(t, dir)
	v := l.Honest()
	lines := func(signers []*checkpoint.Signer) (text string) {
		for _, s := range signers {
			line, err := s.Sign(v.Checkpoint(20).Text(), 1_800_000_000)
			if err != nil {
				t.Fatal(err)
			}
			text += string(line)
		}
		return text
	}
	own, mirror := lines(w.signers), lines(w.mirror)
	for name, tc := range map[string]struct{ reference, want string }{
		"witness":           {own, testName},
		"mirror":            {mirror, "mirror.example/m1"},
		"both":              {own + mirror, testName + " mirror.example/m1"},
		"mirror's Ed25519":  {lines(w.mirror[:1]), "mirror.example/m1"},
		"neither":           {lines(newLog(t, "x.example").Signers), ""},
		"both, one broken":  {own + strings.Replace(mirror, "mirror", "mirrOr", 1) + broken(mirror), ""},
		"the log's and own": {lines(l.Signers) + own, testName},
	} {
		got, err := w.SignSubtree([]byte(conformance.SubtreeBody(8, 13, v.Hash(8, 13), v.SubtreeProof(8, 13, 20), v.Checkpoint(20).Text()+"\n"+tc.reference)))
		if tc.want == "" {
			if status(t, err) != 403 {
				t.Errorf("%s: %v, want 403", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		sigs, err := checkpoint.ParseSignatureLines(got)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, sig := range sigs {
			names = append(names, sig.Name)
			if sig.Timestamp() != 0 {
				t.Errorf("%s: time %d", name, sig.Timestamp())
			}
		}
		if strings.Join(names, " ") != tc.want {
			t.Errorf("%s: signed by %q, want %q", name, names, tc.want)
		}
	}
}

// broken changes the last signature of lines.
func broken(lines string) string {
	at := len(lines) - 10
	c := "A"
	if lines[at] == 'A' {
		c = "B"
	}
	return lines[:at] + c + lines[at+1:]
}
