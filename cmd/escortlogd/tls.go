package main

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

// tlsConfig returns nil when the log is served in the clear.
func (o *serveOptions) tlsConfig(logger *slog.Logger) (*tls.Config, error) {
	if (o.tlsCert == "") != (o.tlsKey == "") {
		return nil, usageErrorf("--tls-cert and --tls-key go together")
	}
	if o.tlsCert == "" {
		if o.clientCA != "" {
			return nil, usageErrorf("--client-ca needs --tls-cert and --tls-key")
		}
		if o.readAuth == "token" && !loopback(o.listen) {
			logger.Warn("tokens cross the network in the clear: serve with --tls-cert and --tls-key, or behind a proxy that does")
		}
		return nil, nil
	}
	certificate := &certificateFile{cert: o.tlsCert, key: o.tlsKey, logger: logger}
	if _, err := certificate.get(nil); err != nil {
		return nil, usageErrorf("--tls-cert and --tls-key: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate.get}
	if o.clientCA != "" {
		text, err := os.ReadFile(o.clientCA)
		if err != nil {
			return nil, usageErrorf("--client-ca: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(text) {
			return nil, usageErrorf("--client-ca %s: no certificate in PEM found", o.clientCA)
		}
		// Asked of everybody, demanded where it is needed: witnesses read
		// checkpoint and hash tiles without one.
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return config, nil
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// certificateFile is a certificate that is read again when its file changes, so
// that a renewed one needs no restart. A file that cannot be read, as in the
// middle of being replaced, leaves the last good one in use.
type certificateFile struct {
	cert, key string
	logger    *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	changed time.Time // of the certificate's file, when current was read
	looked  time.Time
}

func (c *certificateFile) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil && time.Since(c.looked) < time.Second {
		return c.current, nil
	}
	c.looked = time.Now()
	info, err := os.Stat(c.cert)
	if err == nil && (c.current == nil || !info.ModTime().Equal(c.changed)) {
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(c.cert, c.key); err == nil {
			c.current, c.changed = &pair, info.ModTime()
		}
	}
	if err != nil && c.current != nil {
		c.logger.Warn("the TLS certificate cannot be read again; the one read before stays in use", "error", err)
		return c.current, nil
	}
	return c.current, err
}
