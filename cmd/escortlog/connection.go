package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/spf13/cobra"
)

// connection is how a command reaches a log: its URL, and what TLS and the
// log's read protection ask for.
type connection struct {
	log       string
	caFile    string
	tlsCert   string
	tlsKey    string
	tokenFile string
}

// addFlags gives cmd the flags of a connection.
func (c *connection) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.log, "log", "", "`URL` of the log, as https://log.example.org")
	f.StringVar(&c.caFile, "ca-file", "", "PEM `file` of certificate authorities to trust in place of the system's")
	f.StringVar(&c.tlsCert, "tls-cert", "", "PEM `file` of this client's certificate, where the log asks for one")
	f.StringVar(&c.tlsKey, "tls-key", "", "PEM `file` of the key of --tls-cert")
	f.StringVar(&c.tokenFile, "token-file", "", "`file` with the bearer token, where the log asks for one")
}

// baseURL is --log checked, without a trailing slash.
func (c *connection) baseURL() (string, error) {
	if c.log == "" {
		return "", usageErrorf("no log: give --log URL or set ESCORTLOG_LOG")
	}
	u, err := url.Parse(c.log)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", usageErrorf("--log %q: want a URL like https://log.example.org", c.log)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// client is an HTTP client as the flags ask.
func (c *connection) client() (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.caFile != "" {
		text, err := os.ReadFile(c.caFile)
		if err != nil {
			return nil, usageErrorf("--ca-file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, usageErrorf("--ca-file %s: no certificate in PEM found", c.caFile)
		}
	}
	if (c.tlsCert == "") != (c.tlsKey == "") {
		return nil, usageErrorf("--tls-cert and --tls-key go together")
	}
	if c.tlsCert != "" {
		pair, err := tls.LoadX509KeyPair(c.tlsCert, c.tlsKey)
		if err != nil {
			return nil, usageErrorf("--tls-cert and --tls-key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	transport := client.NewTransport()
	transport.TLSClientConfig = config
	transport.ResponseHeaderTimeout = 2 * time.Minute
	if c.tokenFile == "" {
		return &http.Client{Transport: transport, CheckRedirect: noRedirect}, nil
	}
	token, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return nil, usageErrorf("--token-file: %w", err)
	}
	value := strings.TrimSpace(string(token))
	if value == "" || strings.ContainsAny(value, " \r\n\t") {
		return nil, usageErrorf("--token-file %s: want one token on one line", c.tokenFile)
	}
	return &http.Client{Transport: &bearer{token: value, next: transport}, CheckRedirect: noRedirect}, nil
}

// noRedirect: a log answers where it is asked. A redirect would carry signed
// events, or a token, to a host that nobody named.
func noRedirect(req *http.Request, _ []*http.Request) error {
	return fmt.Errorf("the server redirects to %s; give that URL as --log if it is right", req.URL.Redacted())
}

// bearer adds the token to every request.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(req)
}
