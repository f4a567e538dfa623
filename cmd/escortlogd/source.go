package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/spf13/cobra"
)

// source is a copy of the log that somebody keeps: a server, a mirror, or a
// directory with the files of a tiled log. Nothing it says is believed.
type source struct {
	from      string
	tokenFile string
	caFile    string
	policy    string

	demanded *checkpoint.Policy // what the file policy says; nil where there is none
}

func (s *source) addFlags(cmd *cobra.Command, from, usage string) {
	f := cmd.Flags()
	f.StringVar(&s.from, from, "", usage)
	f.StringVar(&s.tokenFile, "token-file", "", "`file` with the bearer token, where the server asks for one")
	f.StringVar(&s.caFile, "ca-file", "", "PEM `file` of certificate authorities to trust in place of the system's")
	f.StringVar(&s.policy, "policy", "", "tlog-policy `file` that the checkpoint must meet; without it the log's own signature is enough")
	config.CommandLineOnly(cmd, from, "token-file", "ca-file")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if s.policy == "" && f.Changed("policy") {
			return usageErrorf("--policy is empty: name the file, or leave it out")
		}
		return nil
	}
}

// fetcher opens the source: a URL, or a path. Nobody is asked before the policy is
// read.
func (s *source) fetcher() (*client.Fetcher, error) {
	if err := s.readPolicy(); err != nil {
		return nil, err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 8}
	f := &client.Fetcher{URL: s.from, HTTP: &http.Client{Transport: transport, CheckRedirect: client.SameHost}}
	if !strings.Contains(s.from, "://") {
		dir, err := filepath.Abs(s.from)
		if err != nil {
			return nil, usageErrorf("%s: %w", s.from, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "checkpoint")); err != nil {
			return nil, usageErrorf("%s is no copy of a log: %w", s.from, err)
		}
		transport.RegisterProtocol("file", http.NewFileTransport(http.Dir("/")))
		f.URL = (&url.URL{Scheme: "file", Path: dir}).String()
	}
	if s.tokenFile != "" {
		token, err := os.ReadFile(s.tokenFile)
		if err != nil {
			return nil, usageErrorf("--token-file: %w", err)
		}
		f.Token = strings.TrimSpace(string(token))
	}
	if s.caFile != "" {
		pem, err := os.ReadFile(s.caFile)
		if err != nil {
			return nil, usageErrorf("--ca-file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, usageErrorf("--ca-file %s holds no certificate", s.caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return f, nil
}

// checkpoint reads the source's newest checkpoint, which must bear this log's
// signature and meet the policy, where there is one.
func (s *source) checkpoint(ctx context.Context, f *client.Fetcher, keys []*checkpoint.Verifier) (note []byte, cp checkpoint.Checkpoint, err error) {
	if note, err = f.Checkpoint(ctx); err != nil {
		return nil, cp, fmt.Errorf("reading the checkpoint of %s: %w", s.from, err)
	}
	text, sigs, err := checkpoint.ParseNote(note)
	if err == nil {
		_, err = checkpoint.Verify(text, sigs, keys...)
	}
	if err == nil {
		cp, err = checkpoint.Parse(text)
	}
	if err == nil && cp.Origin != keys[0].Name() {
		err = fmt.Errorf("it is of the log %q, and this one is %q", cp.Origin, keys[0].Name())
	}
	if err == nil && s.demanded != nil {
		_, err = s.demanded.Verify(note)
	}
	if err != nil {
		return nil, cp, &exitError{code: exitIntegrity, err: fmt.Errorf("the checkpoint of %s: %w", s.from, err)}
	}
	return note, cp, nil
}

func (s *source) readPolicy() error {
	if s.policy == "" {
		return nil
	}
	text, err := os.ReadFile(s.policy)
	if err != nil {
		return usageErrorf("--policy: %w", err)
	}
	if s.demanded, err = checkpoint.ParsePolicy(text); err != nil {
		return usageErrorf("--policy %s: %w", s.policy, err)
	}
	return nil
}

// bundles reads entry bundles of the source.
func bundles(f *client.Fetcher) func(ctx context.Context, n int64, width int) ([][]byte, error) {
	return func(ctx context.Context, n int64, width int) ([][]byte, error) {
		return f.Bundle(ctx, tile.Tile{Level: tile.Entries, N: n, W: width})
	}
}
