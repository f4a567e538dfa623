package witness

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/witness/conformance"
)

func TestHTTP(t *testing.T) {
	w, l := newWitness(t)
	s := serve(t, w)
	v := l.Honest()

	resp, body := post(t, s.URL+"/add-checkpoint", v.Request(0, 5))
	if resp.StatusCode != 200 || !strings.HasPrefix(body, "— "+testName+" ") || !strings.HasSuffix(body, "\n") {
		t.Errorf("success: %d %q", resp.StatusCode, body)
	}
	resp, body = post(t, s.URL+"/add-checkpoint", v.Request(0, 6))
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != 409 || body != "5\n" || ct != "text/x.tlog.size" {
		t.Errorf("conflict: %d %q %q", resp.StatusCode, body, ct)
	}
	hash := originHash(l.Origin)
	resp, body = get(t, s.URL+"/"+hash+"/checkpoint")
	if resp.StatusCode != 200 || !strings.HasPrefix(body, l.Origin+"\n5\n") || strings.Count(body, "\n— ") != 3 {
		t.Errorf("monitoring: %d %q", resp.StatusCode, body)
	}
	if cc := resp.Header.Get("Cache-Control"); !strings.Contains(cc, "public") || !strings.Contains(cc, "max-age") {
		t.Errorf("monitoring endpoint is not cacheable: %q", cc)
	}
	for _, path := range []string{"/" + strings.ToUpper(hash) + "/checkpoint", "/" + originHash("other") + "/checkpoint", "/checkpoint", "/" + hash} {
		if resp, _ := get(t, s.URL+path); resp.StatusCode != 404 {
			t.Errorf("%s: %d, want 404", path, resp.StatusCode)
		}
	}
	for _, path := range []string{"/add-checkpoint", "/sign-subtree"} {
		if resp, _ := get(t, s.URL+path); resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
			t.Errorf("GET %s: %d", path, resp.StatusCode)
		}
		if resp, _ := post(t, s.URL+path, strings.Repeat("x", MaxBody+1)); resp.StatusCode != 413 {
			t.Errorf("oversized %s: %d, want 413", path, resp.StatusCode)
		}
		if resp, _ := post(t, s.URL+path, strings.Repeat("x", MaxBody)); resp.StatusCode != 400 {
			t.Errorf("largest %s: %d, want 400", path, resp.StatusCode)
		}
	}
	resp, body = get(t, s.URL+"/metrics")
	for _, want := range []string{
		`escortwitness_requests_total{endpoint="add-checkpoint",status="200"} 1`,
		`escortwitness_requests_total{endpoint="add-checkpoint",status="409"} 1`,
		`escortwitness_log_size{origin="log.example/one"} 5`,
		`escortwitness_evidence_total{kind="fork"} 0`,
		"escortwitness_logs 1",
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("metrics (%d) lack %s", resp.StatusCode, want)
		}
	}
}

// The page shows the keys and the logs, and what a log calls itself is text.
func TestHomePage(t *testing.T) {
	dir := initDir(t)
	nasty, plain := newLog(t, "<script>alert(1)</script>"), newLog(t, "log.example/plain")
	addLog(t, dir, nasty)
	addLog(t, dir, plain)
	w := openDir(t, dir)
	mustAdd(t, w, nasty.Honest().Request(0, 5))
	resp, body := get(t, serve(t, w).URL+"/")
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	for _, want := range []string{testName, "log.example/plain", "none yet", "size 5", originHash(nasty.Origin) + "/checkpoint"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, vkey := range w.VKeys() {
		if !strings.Contains(body, strings.ReplaceAll(vkey, "+", "&#43;")) {
			t.Errorf("the page lacks %.40s…", vkey)
		}
	}
	if strings.Contains(body, "<script>") {
		t.Error("an origin became markup")
	}
}

func TestHealth(t *testing.T) {
	w, l := newWitness(t)
	s := serve(t, w)
	if resp, body := get(t, s.URL+"/healthz"); resp.StatusCode != 200 || body != "ok\n" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if resp, _ := post(t, s.URL+"/add-checkpoint", l.Honest().Request(0, 5)); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("closed: %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
}

func TestRateOverHTTP(t *testing.T) {
	c := newClock()
	w, l := newWitness(t, func(cfg *Config) { cfg.Rate, cfg.Now = 1, c.Now })
	s := serve(t, w)
	mustAdd(t, w, l.Honest().Request(0, 1))
	for range 11 {
		resp, _ := post(t, s.URL+"/add-checkpoint", l.Honest().Request(1, 1))
		if resp.StatusCode == 429 {
			if resp.Header.Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
			return
		}
	}
	t.Error("never 429")
}

// A client that promises more than it sends gets 400 or nothing, never 500.
func TestBrokenOffBody(t *testing.T) {
	w, _ := newWitness(t)
	s := serve(t, w)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nold 0\n")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1000)
	n, _ := conn.Read(buf)
	if n > 0 && !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 400 ") {
		t.Errorf("%q", buf[:n])
	}
}

func TestSignSubtree(t *testing.T) {
	w, l := newWitness(t)
	s := serve(t, w)
	v := l.Honest()
	lines := mustAdd(t, w, v.Request(0, 20))
	note := v.Checkpoint(20).Text() + "\n" + string(lines)
	body := conformance.SubtreeBody(8, 13, v.Hash(8, 13), v.SubtreeProof(8, 13, 20), note)
	resp, answer := post(t, s.URL+"/sign-subtree", body)
	if resp.StatusCode != 200 || strings.Count(answer, "\n") != 1 {
		t.Fatalf("%d %q", resp.StatusCode, answer)
	}
	if ts := timesOf(t, []byte(answer)); ts != 0 {
		t.Errorf("time %d, want 0", ts)
	}
	// An older checkpoint of the same history is as good a reference as the newest.
	mustAdd(t, w, v.Request(20, 40))
	if resp, answer := post(t, s.URL+"/sign-subtree", body); resp.StatusCode != http.StatusOK {
		t.Errorf("older reference: %d %q", resp.StatusCode, answer)
	}
	// A subtree signature from zero is a checkpoint's cosignature, so it is a reference too.
	resp, answer = post(t, s.URL+"/sign-subtree", conformance.SubtreeBody(0, 13, v.Hash(0, 13), v.SubtreeProof(0, 13, 20), note))
	if resp.StatusCode != 200 {
		t.Fatalf("%d %q", resp.StatusCode, answer)
	}
	chained := conformance.SubtreeBody(8, 12, v.Hash(8, 12), v.SubtreeProof(8, 12, 13), v.Checkpoint(13).Text()+"\n"+answer)
	if resp, answer := post(t, s.URL+"/sign-subtree", chained); resp.StatusCode != 200 {
		t.Errorf("reference with time zero: %d %q", resp.StatusCode, answer)
	}
	// Unknown origin before the signature, the signature before the proof.
	if err := writeLogs(w.dir); err != nil {
		t.Fatal(err)
	}
	if resp, _ := post(t, s.URL+"/sign-subtree", body); resp.StatusCode != 404 {
		t.Errorf("removed log: %d, want 404", resp.StatusCode)
	}
}

func TestSubtreeOrder(t *testing.T) {
	w, l := newWitness(t)
	v := l.Honest()
	unsigned := conformance.SubtreeBody(8, 13, v.Hash(8, 12), nil, v.Note(20))
	if _, err := w.SignSubtree([]byte(unsigned)); status(t, err) != 403 {
		t.Errorf("unsigned with a bad proof: %v, want 403", err)
	}
	if _, err := w.SignSubtree([]byte(strings.Replace(unsigned, "8 13", "7 13", 1))); status(t, err) != 400 {
		t.Errorf("unsigned with a bad range: %v, want 400", err)
	}
}

func TestSubtreeRate(t *testing.T) {
	c := newClock()
	w, l := newWitness(t, func(cfg *Config) { cfg.Rate, cfg.Now = 1, c.Now })
	v := l.Honest()
	note := v.Checkpoint(20).Text() + "\n" + string(mustAdd(t, w, v.Request(0, 20)))
	body := []byte(conformance.SubtreeBody(8, 13, v.Hash(8, 13), v.SubtreeProof(8, 13, 20), note))
	for range 10 {
		if _, err := w.SignSubtree(body); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.SignSubtree(body); status(t, err) != 429 {
		t.Errorf("11th: %v, want 429", err)
	}
	mustAdd(t, w, v.Request(20, 21)) // growth has its own budget
}
