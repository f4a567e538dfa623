package mirror

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
)

// Remote is where a log is read and what it asks of its readers. All but URL may be empty.
type Remote struct {
	URL       string // of the log's checkpoint and tiles
	TokenFile string // holds the bearer token; read for each pull, so that it may change
	CAFile    string // PEM of the authorities that vouch for the log, instead of the system's
	TLSCert   string // PEM of the certificate that names the mirror to the log; read for each connection
	TLSKey    string // PEM of its key
}

// remotes keeps one HTTP client, with its connections, for each Remote.
type remotes struct {
	given *http.Client // for all, if not nil

	mu      sync.Mutex
	clients map[Remote]*http.Client
}

// reader returns how to read the log now.
func (rs *remotes) reader(r Remote) (*reader, error) {
	client, err := rs.client(r)
	if err != nil {
		return nil, err
	}
	out := &reader{client: client, url: strings.TrimSuffix(r.URL, "/")}
	if r.TokenFile != "" {
		token, err := os.ReadFile(r.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("the token to read the log with: %w", err)
		}
		out.token = strings.TrimSpace(string(token))
	}
	return out, nil
}

func (rs *remotes) client(r Remote) (*http.Client, error) {
	if rs.given != nil {
		return rs.given, nil
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if c := rs.clients[r]; c != nil {
		return c, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.CAFile != "" {
		pem, err := os.ReadFile(r.CAFile)
		if err != nil {
			return nil, fmt.Errorf("the authorities that vouch for the log: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the authorities that vouch for the log: %s holds no certificate in PEM", r.CAFile)
		}
	}
	if r.TLSCert != "" {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(r.TLSCert, r.TLSKey)
			if err != nil {
				return nil, fmt.Errorf("the certificate to read the log with: %w", err)
			}
			return &pair, nil
		}
	}
	c := &http.Client{Timeout: pullTimeout, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 2,
	}, CheckRedirect: sameHost}
	if rs.clients == nil {
		rs.clients = map[Remote]*http.Client{}
	}
	rs.clients[r] = c
	return c, nil
}

// sameHost refuses a redirect to a host that the operator did not name: a log must
// not make its mirrors ask others, nor show them the mirror's token or certificate.
func sameHost(req *http.Request, via []*http.Request) error {
	if first := via[0].URL; req.URL.Scheme != first.Scheme || req.URL.Host != first.Host || len(via) >= 10 {
		return fmt.Errorf("it redirects to %s", req.URL.Redacted())
	}
	return nil
}
