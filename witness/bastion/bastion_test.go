package bastion

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const patience = 30 * time.Second

// front is a bastion: it hands the backend connections it gets to the test.
type front struct {
	net.Listener
	roots *x509.CertPool
	conns chan *tls.Conn
}

func newFront(t *testing.T, change ...func(*tls.Config)) *front {
	t.Helper()
	// httptest has a certificate for 127.0.0.1.
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	f := &front{roots: x509.NewCertPool(), conns: make(chan *tls.Conn, 10)}
	f.roots.AddCert(s.Certificate())
	config := &tls.Config{
		Certificates: s.TLS.Certificates, MinVersion: tls.VersionTLS13,
		NextProtos: []string{protocol}, ClientAuth: tls.RequireAnyClientCert,
	}
	for _, c := range change {
		c(config)
	}
	var err error
	if f.Listener, err = tls.Listen("tcp", "127.0.0.1:0", config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	go func() {
		for {
			c, err := f.Accept()
			if err != nil {
				return
			}
			if c.(*tls.Conn).Handshake() == nil {
				f.conns <- c.(*tls.Conn)
			} else {
				_ = c.Close()
			}
		}
	}()
	return f
}

func (f *front) next(t *testing.T) *tls.Conn {
	t.Helper()
	select {
	case c := <-f.conns:
		return c
	case <-time.After(patience):
		t.Fatal("the backend does not connect")
		return nil
	}
}

// over returns a client whose requests go over a backend's connection as HTTP/2.
func over(c net.Conn) *http.Client {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		Protocols:   p,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return struct{ net.Conn }{c}, nil },
	}}
}

func post(t *testing.T, c *http.Client, path, body string) (int, string) {
	t.Helper()
	resp, err := c.Post("http://backend"+path, "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		_, _ = io.WriteString(w, r.Method+" "+r.URL.Path+" "+r.Proto+" "+string(body))
	}
})

func TestServe(t *testing.T) {
	f, key := newFront(t), newKey(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, Config{Address: f.Addr().String(), Key: key, Roots: f.roots, Pause: time.Millisecond}, &http.Server{Handler: echo}, patience)
	}()
	c := f.next(t)
	state := c.ConnectionState()
	if state.Version != tls.VersionTLS13 || state.NegotiatedProtocol != protocol {
		t.Errorf("TLS %x, protocol %q", state.Version, state.NegotiatedProtocol)
	}
	public, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok || !bytes.Equal(public, key.Public().(ed25519.PublicKey)) || len(KeyHash(public)) != 64 {
		t.Error("the certificate is not of the backend's key")
	}
	client := over(c)
	for range 3 {
		if status, body := post(t, client, "/add-checkpoint", "hello"); status != 200 || body != "POST /add-checkpoint HTTP/2.0 hello" {
			t.Errorf("%d %q", status, body)
		}
	}

	// The connection is lost: there is another one.
	_ = c.Close()
	c = f.next(t)
	client = over(c)
	if status, body := post(t, client, "/x", ""); status != 200 || body != "POST /x HTTP/2.0 " {
		t.Errorf("%d %q", status, body)
	}

	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		// GOAWAY frames may still come; in the end the connection is closed.
		_, _ = io.Copy(io.Discard, c)
	}
}

// A request that is under way when the backend shuts down is answered.
func TestShutdownFinishesRequests(t *testing.T) {
	f, key := newFront(t), newKey(t)
	ctx, cancel := context.WithCancel(t.Context())
	entered, release := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "done")
	})
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, Config{Address: f.Addr().String(), Key: key, Roots: f.roots}, &http.Server{Handler: h}, patience)
	}()
	client := over(f.next(t))
	answered := make(chan string, 1)
	go func() {
		resp, err := client.Get("http://backend/")
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answered <- string(body)
	}()
	<-entered
	cancel()
	close(release)
	if got := <-answered; got != "done" {
		t.Errorf("answered %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Whoever is not a bastion that the roots vouch for gets nothing, and Close ends the attempts.
func TestRefuses(t *testing.T) {
	key := newKey(t)
	for name, tc := range map[string]struct {
		change func(*tls.Config)
		roots  bool
	}{
		"unknown authority": {func(*tls.Config) {}, false},
		"TLS 1.2":           {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, true},
		"other protocol":    {func(c *tls.Config) { c.NextProtos = []string{"h2"} }, true},
		"no protocol":       {func(c *tls.Config) { c.NextProtos = nil }, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFront(t, tc.change)
			c := Config{Address: f.Addr().String(), Key: key, Pause: time.Millisecond, Roots: x509.NewCertPool()}
			if tc.roots {
				c.Roots = f.roots
			}
			l := NewListener(c)
			if conn, err := l.dial(); err == nil {
				_ = conn.Close()
				t.Error("connected")
			}
			accepted := make(chan error, 1)
			go func() { _, err := l.Accept(); accepted <- err }()
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-accepted; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept: %v, want net.ErrClosed", err)
			}
		})
	}
}

// Serve ends when nobody is there to connect to, too.
func TestShutdownWithoutBastion(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Serve(ctx, Config{Address: l.Addr().String(), Key: newKey(t)}, &http.Server{}, patience); err != nil {
		t.Error(err)
	}
}
