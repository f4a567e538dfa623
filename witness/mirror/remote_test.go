package mirror

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// A log that is read with a token over TLS that asks for a certificate is mirrored with those of its Remote, and with
// nothing less.
func TestPullWithCredentials(t *testing.T) {
	w := &web{world: newWorld(t, 300), total: 299}
	w.set(299, "")
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sesame" {
			http.Error(rw, "token", http.StatusUnauthorized)
			return
		}
		w.ServeHTTP(rw, r)
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	defer s.Close()
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := file("cert", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	whole := Remote{
		URL: s.URL + "/log/", CAFile: cert, TLSCert: cert,
		TLSKey:    file("key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		TokenFile: file("token", []byte("sesame\n")),
	}
	m := w.open(t, filepath.Join(dir, "mirror"))
	pull := func(remote Remote) error {
		r, err := (&remotes{}).reader(remote)
		if err != nil {
			return err
		}
		return m.pullLog(t.Context(), w, r, "log.example/one")
	}
	for name, change := range map[string]func(r *Remote){
		"no token":        func(r *Remote) { r.TokenFile = "" },
		"wrong token":     func(r *Remote) { r.TokenFile = file("wrong", []byte("simsalabim")) },
		"no such token":   func(r *Remote) { r.TokenFile = filepath.Join(dir, "missing") },
		"no certificate":  func(r *Remote) { r.TLSCert = "" },
		"no authority":    func(r *Remote) { r.CAFile = "" },
		"empty authority": func(r *Remote) { r.CAFile = file("empty", nil) },
	} {
		less := whole
		change(&less)
		if err := pull(less); err == nil {
			t.Errorf("%s: the log was read", name)
		}
	}
	if err := pull(whole); err != nil {
		t.Fatal(err)
	}
	w.verify(t, m, 299)
}
