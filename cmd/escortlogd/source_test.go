package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// TestSourceKeepsToItsHost: what is recovered from comes from the host that was
// named, whatever that one says.
func TestSourceKeepsToItsHost(t *testing.T) {
	const note = "log.example/one\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— log.example/one AAAAAAAA\n"
	var asked atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write([]byte(note)) // a client that hangs up is no failure of this test
	}))
	defer other.Close()
	named := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/away/"):
			http.Redirect(w, r, other.URL+"/checkpoint", http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/round/"):
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/moved/"):
			http.Redirect(w, r, "/here"+strings.TrimPrefix(r.URL.Path, "/moved"), http.StatusPermanentRedirect)
		default:
			_, _ = w.Write([]byte(note))
		}
	}))
	defer named.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, works := range map[string]bool{"/here": true, "/moved": true, "/away": false, "/round": false} {
		f, err := (&source{from: named.URL + path, tokenFile: token}).fetcher()
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.Checkpoint(t.Context())
		switch {
		case works && (err != nil || string(got) != note):
			t.Errorf("%s: %q, %v", path, got, err)
		case !works && (err == nil || !strings.Contains(err.Error(), "redirects to")):
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("another host was asked %d times", n)
	}
}
