package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/escortlog/escortlog/cmd/internal/listenfile"
	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/server"
	"github.com/escortlog/escortlog/witness/cosign"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
)

type serveOptions struct {
	data dataDir

	listen, listenFile        string
	tlsCert, tlsKey, clientCA string
	trustedProxies            []string

	policy                      string
	publishEvery, recosignEvery time.Duration

	readAuth, readTokenFile string

	pool, maxInFlight, maxConnections, maxFailures int
	wait                                           time.Duration

	logLevel, logFormat string
}

func newServeCommand() *cobra.Command {
	o := new(serveOptions)
	cmd := &cobra.Command{
		Use:   "serve --data DIR [--listen ADDRESS] [--policy FILE]",
		Short: "Take events and serve the log over HTTP",
		Long: `Opens the log and serves it until it is interrupted. Writes what happens to
standard error.

The policy is a c2sp.org/tlog-policy with this log's key, the witnesses and where
they are reached: a checkpoint is published once its quorum has cosigned it.
Without a policy nobody but this operator vouches for the log.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.policy == "" && cmd.Flags().Changed("policy") {
				// A shell variable that is not set must not make a log without witnesses.
				return usageErrorf("--policy is empty: leave it out for a log without witnesses, or name the file")
			}
			return o.run(cmd.Context(), cmd.ErrOrStderr())
		},
	}
	o.addFlags(cmd)
	return cmd
}

func (o *serveOptions) addFlags(cmd *cobra.Command) {
	o.data.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:8080", "`address` to listen on; port 0 takes a free one")
	f.StringVar(&o.listenFile, "listen-file", "", "`file` into which the address is written once it is open")
	f.StringVar(&o.tlsCert, "tls-cert", "", "PEM `file` with the TLS certificate chain")
	f.StringVar(&o.tlsKey, "tls-key", "", "PEM `file` with the key of --tls-cert")
	f.StringVar(&o.clientCA, "client-ca", "", "PEM `file` with the authorities of clients' certificates")
	f.StringSliceVar(&o.trustedProxies, "trusted-proxy", nil, "address or CIDR `prefix` of a proxy whose X-Forwarded-For is believed")
	f.StringVar(&o.policy, "policy", "", "tlog-policy `file` that every published checkpoint meets")
	f.DurationVar(&o.publishEvery, "publish-every", 100*time.Millisecond, "least time between two rounds of asking the witnesses")
	f.DurationVar(&o.recosignEvery, "recosign-every", 10*time.Minute, "when an unchanged checkpoint is cosigned again")
	f.StringVar(&o.readAuth, "read-auth", "none", "who reads bundles and entries: none (anybody), token or mtls")
	f.StringVar(&o.readTokenFile, "read-token-file", "", "`file` with the bearer tokens that may read, one a line")
	f.IntVar(&o.pool, "pool", 16384, "submissions that wait for a commit at most")
	f.IntVar(&o.maxInFlight, "max-in-flight", 8192, "submissions under way at most")
	f.IntVar(&o.maxConnections, "max-connections", 16384, "connections open at most")
	f.IntVar(&o.maxFailures, "max-failures", 100, "refused events a second that one address may send for long")
	f.DurationVar(&o.wait, "wait", 10*time.Second, "how long a submission waits for its proof unless the client says")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", "text", "text or json")
}

func (o *serveOptions) run(ctx context.Context, stderr io.Writer) (err error) {
	logger, err := newLogger(stderr, o.logLevel, o.logFormat)
	if err != nil {
		return err
	}
	s, err := o.open(ctx, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return o.serve(ctx, s.server, s.tls, logger)
}

// served is an open log with the server in front of it.
type served struct {
	server *server.Server
	tls    *tls.Config // nil: plain HTTP
	log    *log.Log
	opened *opened
}

func (s *served) close() error { return errors.Join(s.log.Close(), s.opened.close()) }

// open reads all that serve is given and opens the log. An error leaves nothing
// open.
func (o *serveOptions) open(ctx context.Context, logger *slog.Logger) (_ *served, err error) {
	signers, err := o.data.signers()
	if err != nil {
		return nil, err
	}
	policy, policyText, err := o.readPolicy(signers, logger)
	if err != nil {
		return nil, err
	}
	s := &served{}
	if s.tls, err = o.tlsConfig(logger); err != nil {
		return nil, err
	}
	config, err := o.serverConfig()
	if err != nil {
		return nil, err
	}
	origin := signers[0].Verifier().Name()
	if s.opened, err = o.data.open(origin, logger); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.log, err = log.Open(ctx, log.Config{
		Origin: origin, Store: s.opened.store, Guard: s.opened.guard, Signers: signers,
		Policy: policy, Cosigner: cosigner(policy, signers, logger, registry),
		PoolEntries: o.pool, PublishEvery: o.publishEvery, RecosignEvery: o.recosignEvery,
		Logger: logger, Registerer: registry,
	})
	if err != nil {
		return nil, errors.Join(err, s.opened.close())
	}
	if reason := s.log.Ready(); reason != nil {
		logger.Error("the log serves readers and takes no events", "reason", reason)
	}
	config.Log, config.VKeys, config.Policy, config.PolicyText = s.log, vkeys(signers), policy, policyText
	config.Space = s.opened.store.Space
	config.Logger, config.Registerer, config.Gatherer = logger, registry, registry
	if s.server, err = server.New(ctx, config); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// serve listens and answers until ctx ends.
func (o *serveOptions) serve(ctx context.Context, s *server.Server, tlsConfig *tls.Config, logger *slog.Logger) error {
	if o.listenFile != "" {
		if err := listenfile.Check(o.listenFile); err != nil {
			return usageErrorf("--listen-file: %w", err)
		}
	}
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	address, scheme := listener.Addr().String(), "http"
	if tlsConfig != nil {
		scheme = "https"
	}
	if o.listenFile != "" {
		if err := writeListenFile(o.listenFile, address); err != nil {
			return errors.Join(err, listener.Close())
		}
		defer func() { _ = os.Remove(o.listenFile) }() // a stale one misleads, no more
	}
	logger.Info("listening", "address", address, "url", scheme+"://"+address)
	err = s.Serve(ctx, listener, tlsConfig)
	logger.Info("stopped")
	return err
}

// writeListenFile writes the address so that whoever waits for the file never
// reads half of it.
func writeListenFile(path, address string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".listen-*")
	if err != nil {
		return fmt.Errorf("--listen-file: %w", err)
	}
	_, err = f.WriteString(address + "\n")
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("--listen-file: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// readPolicy reads the policy, which must name this log: a policy made for
// another one would publish nothing, or what nobody can verify.
func (o *serveOptions) readPolicy(signers []*checkpoint.Signer, logger *slog.Logger) (*checkpoint.Policy, string, error) {
	text := fmt.Sprintf("log %s\nquorum none\n", signers[0].VKey())
	if o.policy == "" {
		logger.Warn("there is no policy, so no witness: nobody but this operator vouches for the log")
	} else {
		b, err := os.ReadFile(o.policy)
		if err != nil {
			return nil, "", usageErrorf("--policy: %w", err)
		}
		text = string(b)
	}
	policy, err := checkpoint.ParsePolicy([]byte(text))
	if err != nil {
		return nil, "", usageErrorf("--policy %s: %w", o.policy, err)
	}
	if !namesLog(policy, signers) {
		return nil, "", usageErrorf("--policy %s does not name this log: it needs the line\nlog %s", o.policy, signers[0].VKey())
	}
	for _, w := range policy.Warnings() {
		logger.Warn("policy", "warning", w)
	}
	return policy, text, nil
}

func namesLog(policy *checkpoint.Policy, signers []*checkpoint.Signer) bool {
	for _, l := range policy.Logs {
		for _, s := range signers {
			if l.Key.VKey() == s.VKey() {
				return true
			}
		}
	}
	return false
}

// cosigner asks the policy's witnesses; nil when it names none.
func cosigner(policy *checkpoint.Policy, signers []*checkpoint.Signer, logger *slog.Logger, registerer prometheus.Registerer) log.Cosigner {
	if len(policy.Witnesses) == 0 {
		return nil
	}
	keys := make([]*checkpoint.Verifier, len(signers))
	for i, s := range signers {
		keys[i] = s.Verifier()
	}
	return cosign.New(cosign.Config{Policy: policy, LogKeys: keys, Logger: logger, Registerer: registerer})
}

// serverConfig gathers what the server itself is told.
func (o *serveOptions) serverConfig() (server.Config, error) {
	config := server.Config{Limits: server.Limits{
		InFlight: o.maxInFlight, Connections: o.maxConnections,
		FailuresPerSecond: float64(o.maxFailures), FailureBurst: 10 * o.maxFailures,
		Wait: o.wait, MaxWait: max(o.wait, time.Minute),
	}}
	for name, n := range map[string]int{"pool": o.pool, "max-in-flight": o.maxInFlight, "max-connections": o.maxConnections} {
		if n < 1 {
			return config, usageErrorf("--%s %d: must be at least 1", name, n)
		}
	}
	for name, d := range map[string]time.Duration{"wait": o.wait, "publish-every": o.publishEvery, "recosign-every": o.recosignEvery} {
		if d < 0 {
			return config, usageErrorf("--%s %v is below zero", name, d)
		}
	}
	if o.maxFailures < 26 {
		return config, usageErrorf("--max-failures %d: must be at least 26, or a client could not even fail with one batch", o.maxFailures)
	}
	for _, p := range o.trustedProxies {
		prefix, err := parsePrefix(p)
		if err != nil {
			return config, usageErrorf("--trusted-proxy %q: %w", p, err)
		}
		config.TrustedProxies = append(config.TrustedProxies, prefix)
	}
	var err error
	config.ReadAuth, err = o.readAuthorization()
	return config, err
}

func parsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

func (o *serveOptions) readAuthorization() (server.ReadAuth, error) {
	if o.readTokenFile != "" && o.readAuth != "token" {
		return server.ReadAuth{}, usageErrorf("--read-token-file needs --read-auth token")
	}
	switch o.readAuth {
	case "none":
		return server.ReadAuth{}, nil
	case "mtls":
		if o.clientCA == "" {
			return server.ReadAuth{}, usageErrorf("--read-auth mtls needs --client-ca, --tls-cert and --tls-key")
		}
		return server.ReadAuth{ClientCert: true}, nil
	case "token":
		if o.readTokenFile == "" {
			return server.ReadAuth{}, usageErrorf("--read-auth token needs --read-token-file")
		}
		text, err := os.ReadFile(o.readTokenFile)
		if err != nil {
			return server.ReadAuth{}, usageErrorf("--read-token-file: %w", err)
		}
		tokens := strings.Fields(string(text))
		for _, t := range tokens {
			if len(t) < 16 {
				return server.ReadAuth{}, usageErrorf("--read-token-file %s: a token of %d characters can be guessed; use at least 16, random", o.readTokenFile, len(t))
			}
		}
		if len(tokens) == 0 {
			return server.ReadAuth{}, usageErrorf("--read-token-file %s holds no token", o.readTokenFile)
		}
		return server.ReadAuth{Tokens: tokens}, nil
	}
	return server.ReadAuth{}, usageErrorf("--read-auth %q: want none, token or mtls", o.readAuth)
}

func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usageErrorf("--log-level %q: want debug, info, warn or error", level)
	}
	options := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, usageErrorf("--log-format %q: want text or json", format)
}
