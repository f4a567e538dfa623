//go:build e2e

package main

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestE2EBastion: a witness without an open port cosigns through a bastion.
func TestE2EBastion(t *testing.T) {
	bin, dir := binary(t), filepath.Join(t.TempDir(), "w")
	if out, err := exec.Command(bin, "init", "--data", dir, "--name", "witness.example/1").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// httptest lends a certificate for 127.0.0.1.
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	front, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: s.TLS.Certificates, MinVersion: tls.VersionTLS13, NextProtos: []string{"bastion/0"}, ClientAuth: tls.RequireAnyClientCert,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	cmd := exec.Command(bin, "serve", "--data", dir, "--no-listen", "--bastion", front.Addr().String(), "--bastion-ca", ca)
	var out strings.Builder
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A backend that never comes must not hang the test.
	timer := time.AfterFunc(patience, func() { _ = front.Close() })
	conn, err := front.Accept()
	timer.Stop()
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("it does not connect:\n%s", out.String())
	}
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		Protocols: p, DialContext: func(context.Context, string, string) (net.Conn, error) { return struct{ net.Conn }{conn}, nil },
	}}
	resp, err := client.Post("http://witness/add-checkpoint", "text/plain", strings.NewReader("nonsense"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("answered %s", resp.Status)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if strings.Contains(out.String(), "msg=listening") {
		t.Errorf("it opened a port:\n%s", out.String())
	}
}
