// Package bastion lets an HTTP server be reached through an HTTPS bastion
// (https://c2sp.org/https-bastion): the server opens a connection to the bastion and
// answers the requests that come back over it, so that it needs no open port.
//
// A [Listener] looks to an http.Server like any other listener; [Serve] does all of it.
// The bastion is named by its host and port and verified like any HTTPS server; the
// backend is known by its Ed25519 key, whose hash is the first segment of the public
// path. A bastion can hold back, read and change what passes: serve
// only what needs no trust in the channel, as a witness does.
package bastion

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// protocol is the ALPN protocol of the backend's connection.
const protocol = "bastion/0"

const (
	dialTimeout = 15 * time.Second
	// A bastion that refuses or drops is tried again after a pause that doubles from minPause to maxPause.
	minPause = time.Second
	maxPause = time.Minute
	// A connection that lived this long was a good one.
	longLife = 10 * time.Second
	// Liveness: a ping after pingAfter of silence, answered within pingWait, or the connection is made again.
	pingAfter = 30 * time.Second
	pingWait  = 15 * time.Second
)

// Config of a backend. Address and Key are required.
type Config struct {
	Address string             // host:port of the bastion's backend endpoint
	Key     ed25519.PrivateKey // of the backend; not the witness's own key
	Roots   *x509.CertPool     // that vouch for the bastion; nil: the system's
	Logger  *slog.Logger
	// Pause is the first pause after a failure; 0: a second.
	Pause time.Duration
}

// KeyHash returns the first segment of the public path of a backend's requests:
// "a lowercase hex-encoded SHA-256 hash of a 32-byte Ed25519 public key".
func KeyHash(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:])
}

// Serve answers the requests that come through the bastion with s until ctx ends,
// and then lets those under way finish for at most grace. s must not serve anything else; its
// protocols are set here.
func Serve(ctx context.Context, c Config, s *http.Server, grace time.Duration) error {
	// The listener hides that its connections are TLS, which negotiated bastion/0 and not h2:
	// what the bastion speaks on them is HTTP/2 from the first byte.
	s.Protocols = new(http.Protocols)
	s.Protocols.SetUnencryptedHTTP2(true)
	s.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWait}
	// The connection is the bastion's, not a client's: it is kept however quiet.
	s.IdleTimeout = 24 * time.Hour

	ended := make(chan error, 1)
	go func() { ended <- s.Serve(NewListener(c)) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving through bastion %s: %w", c.Address, err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := s.Shutdown(stop)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.Close()
	}
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// Listener has one connection to the bastion at a time, and opens the next when
// it is closed.
type Listener struct {
	Config
	ctx    context.Context
	cancel context.CancelFunc
	turn   chan struct{} // holds a token while there is no connection

	mu     sync.Mutex
	pause  time.Duration // before the next attempt
	opened time.Time     // when the last connection was
}

// NewListener returns a listener. It dials when Accept is called.
func NewListener(c Config) *Listener {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Pause == 0 {
		c.Pause = minPause
	}
	l := &Listener{Config: c, turn: make(chan struct{}, 1)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.turn <- struct{}{}
	return l
}

// Accept waits until there is no connection, and opens one, trying until it
// succeeds or Close is called; then the error is net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.turn:
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
	for {
		if !l.rest() {
			return nil, net.ErrClosed
		}
		c, err := l.dial()
		if err == nil {
			l.Logger.Info("connected to the bastion", "bastion", l.Address, "path", "/"+KeyHash(l.Key.Public().(ed25519.PublicKey))+"/")
			l.mu.Lock()
			l.opened = time.Now()
			l.mu.Unlock()
			return &conn{Conn: c, closed: l.closed}, nil
		}
		if l.ctx.Err() == nil {
			l.Logger.Warn("cannot connect to the bastion; trying again", "bastion", l.Address, "error", err)
		}
		l.mu.Lock()
		l.pause = min(max(2*l.pause, l.Pause), maxPause)
		l.mu.Unlock()
	}
}

// rest waits for the pause, and reports whether the listener is still open.
func (l *Listener) rest() bool {
	l.mu.Lock()
	pause := l.pause
	l.mu.Unlock()
	if pause > 0 {
		pause = pause/2 + mathrand.N(pause/2+1)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return l.ctx.Err() == nil
	case <-l.ctx.Done():
		return false
	}
}

// closed is called when a connection has ended.
func (l *Listener) closed() {
	l.mu.Lock()
	if time.Since(l.opened) > longLife {
		l.pause = 0
	} else {
		l.pause = min(max(2*l.pause, l.Pause), maxPause)
	}
	l.mu.Unlock()
	l.turn <- struct{}{}
}

// dial opens a connection: "A backend connects to the bastion's backend endpoint with
// TLS 1.3, specifying the ALPN protocol bastion/0. … The backend MUST present as its
// client certificate an Ed25519 certificate containing the backend public key."
func (l *Listener) dial() (net.Conn, error) {
	certificate, err := selfSigned(l.Key)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(l.ctx, dialTimeout)
	defer cancel()
	c, err := (&tls.Dialer{Config: &tls.Config{
		MinVersion:   tls.VersionTLS13,
		MaxVersion:   tls.VersionTLS13,
		NextProtos:   []string{protocol},
		RootCAs:      l.Roots,
		Certificates: []tls.Certificate{certificate},
	}}).DialContext(ctx, "tcp", l.Address)
	if err != nil {
		return nil, err
	}
	if got := c.(*tls.Conn).ConnectionState().NegotiatedProtocol; got != protocol {
		return nil, errors.Join(fmt.Errorf("it does not speak %s", protocol), c.Close())
	}
	return c, nil
}

// selfSigned wraps the key in a certificate. "The backend certificate MAY be self-signed."
func selfSigned(key ed25519.PrivateKey) (tls.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: "bastion backend"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(7 * 24 * time.Hour), // the handshake looks once
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Close stops dialing. A connection that is open stays so.
func (l *Listener) Close() error {
	l.cancel()
	return nil
}

// Addr names the bastion.
func (l *Listener) Addr() net.Addr { return address(l.Address) }

type address string

func (address) Network() string  { return "bastion" }
func (a address) String() string { return string(a) }

// conn says once when it is closed. It hides that it is TLS.
type conn struct {
	net.Conn
	once   sync.Once
	closed func()
}

func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.closed)
	return err
}
