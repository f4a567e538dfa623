package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/escortlog/escortlog/cmd/internal/listenfile"
	"github.com/escortlog/escortlog/witness"
	"github.com/escortlog/escortlog/witness/bastion"
	"github.com/escortlog/escortlog/witness/clients"
	"github.com/escortlog/escortlog/witness/journal"
	"github.com/escortlog/escortlog/witness/mirror"
)

// shutdownTime is how long requests under way may take after an interrupt.
const shutdownTime = 10 * time.Second

type serveOptions struct {
	dir, listen, listenFile string
	noListen                bool
	tlsCert, tlsKey         string
	bastion, bastionCA      string
	rate, clientRate        float64
	trustedProxies          []string
	pullEvery               time.Duration
	passphraseFile          string
	logLevel, logFormat     string
}

func newServeCommand() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve --data DIR [--listen ADDRESS]",
		Short: "Cosign checkpoints over HTTP",
		Long: `Runs the witness until it is interrupted. Writes what happens to standard error.
A change of the log list takes effect at the next request; SIGHUP reads the list and the TLS
certificate again at once.

When the disk fails, the witness cannot know what it remembers: it stops with exit
code 5. Let the service manager start it again.

A mirror beside the witness (init --mirror-name) serves its copies below /mirror. It takes
uploads at /add-entries, and by itself reads the logs that were added with --mirror and --url.

With --bastion the witness is reached through an HTTPS bastion
(c2sp.org/https-bastion) to which it connects by itself, with a key of its own made for that in
DIR/keys/bastion.pem; with --no-listen it then needs no open port at all. The
hash that the bastion's operator must let in, and the path, are said at the start.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd.ErrOrStderr()) },
	}
	dataFlag(cmd, &o.dir)
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:8081", "`address` to listen on; port 0 takes a free one")
	f.StringVar(&o.listenFile, "listen-file", "", "`file` into which the address is written once it is open")
	f.BoolVar(&o.noListen, "no-listen", false, "open no port; --bastion is the only way in")
	f.StringVar(&o.bastion, "bastion", "", "`host:port` of an HTTPS bastion through which the witness is reached too")
	f.StringVar(&o.bastionCA, "bastion-ca", "", "PEM `file` with the authorities that vouch for the bastion, instead of the system's")
	f.StringVar(&o.tlsCert, "tls-cert", "", "PEM `file` with the TLS certificate chain")
	f.StringVar(&o.tlsKey, "tls-key", "", "PEM `file` with the key of --tls-cert")
	f.Float64Var(&o.rate, "rate", witness.DefaultRate, "cosignatures a second for one log; negative: no limit")
	f.Float64Var(&o.clientRate, "client-rate", clients.DefaultRate, "refused requests a second of one address before it is turned away; negative: no limit")
	f.StringSliceVar(&o.trustedProxies, "trusted-proxy", nil, "address or CIDR `prefix` of a proxy whose X-Forwarded-For is believed, beside this host")
	f.DurationVar(&o.pullEvery, "pull-every", 10*time.Second, "how often the mirror looks for new entries of logs with a URL; 0: it waits for uploads")
	f.StringVar(&o.passphraseFile, "passphrase-file", "", "`file` whose first line is the private keys' passphrase; without it, asked at the terminal")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", "text", "text or json")
	return cmd
}

func (o *serveOptions) run(ctx context.Context, stderr io.Writer) (err error) {
	if err := needData(o.dir); err != nil {
		return err
	}
	if o.rate == 0 {
		return usageErrorf("--rate 0 would cosign nothing; a negative rate is no limit")
	}
	if o.noListen && o.bastion == "" {
		return usageErrorf("--no-listen without --bastion: nobody could reach the witness")
	}
	if _, _, err := net.SplitHostPort(o.bastion); o.bastion != "" && err != nil {
		return usageErrorf("--bastion: want host:port: %w", err)
	}
	logger, err := newLogger(stderr, o.logLevel, o.logFormat)
	if err != nil {
		return err
	}
	certs := &certificates{certFile: o.tlsCert, keyFile: o.tlsKey}
	if err := certs.load(); err != nil {
		return err
	}
	budget, err := o.clients()
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	w, err := witness.Open(witness.Config{
		Dir: o.dir, Rate: o.rate, Clients: budget, Passphrase: passphraseFrom(o.passphraseFile), Logger: logger, Registry: registry,
	})
	if errors.Is(err, witness.ErrPassphrase) {
		return usageErrorf("%w", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()

	for _, v := range w.VKeys() {
		logger.Info("vkey", "vkey", v)
	}
	handler, m, err := withMirror(w, budget, logger)
	if err != nil {
		return err
	}
	if m != nil {
		defer func() { err = errors.Join(err, m.Close()) }()
	}
	// Before anybody can know the address: an unhandled SIGHUP would end the process.
	defer watchHangup(w, certs, logger)()
	var through *bastion.Config
	if o.bastion != "" {
		if through, err = o.bastionConfig(logger); err != nil {
			return err
		}
	}
	var listener net.Listener
	if !o.noListen {
		if listener, err = o.open(w, certs, logger); err != nil {
			return err
		}
		if o.listenFile != "" {
			defer func() { err = errors.Join(err, os.Remove(o.listenFile)) }()
		}
	}
	err = o.serve(ctx, w, m, handler, listener, through, certs, logger)
	logger.Info("stopped")
	return err
}

// serve answers at the listener and through the bastion, where they are not nil, until
// ctx ends, one of them fails, or the witness's memory does.
func (o *serveOptions) serve(ctx context.Context, w *witness.Witness, m *mirror.Mirror, h http.Handler, l net.Listener, through *bastion.Config, certs *certificates, logger *slog.Logger) error {
	var mirrorFailed <-chan struct{} // of no mirror never happens
	if m != nil {
		mirrorFailed = m.Failed()
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		select {
		case <-w.Failed():
			return fmt.Errorf("stopped, because what the witness remembers is unknown until it starts again: %w", w.Err())
		case <-mirrorFailed:
			return errors.New("stopped, because what the mirror remembers is unknown until it starts again")
		case <-ctx.Done():
			return nil
		}
	})
	if m != nil && o.pullEvery > 0 {
		g.Go(func() error {
			m.Pull(ctx, w, nil, o.pullEvery)
			return nil
		})
	}
	if through != nil {
		g.Go(func() error { return bastion.Serve(ctx, *through, newServer(fromBastion(h), logger), shutdownTime) })
	}
	if l != nil {
		server := newServer(h, logger)
		if certs.given() {
			server.TLSConfig = certs.config()
		}
		g.Go(func() error { return serveUntil(ctx, server, l) })
	}
	return g.Wait()
}

// mirrorPrefix is the mirror's monitoring prefix, which must not be the witness's.
const mirrorPrefix = "/mirror"

// withMirror returns the handler of the witness and of the mirror beside it, if there is one.
func withMirror(w *witness.Witness, budget *clients.Budget, logger *slog.Logger) (http.Handler, *mirror.Mirror, error) {
	if len(w.MirrorSigners()) == 0 {
		return w.Handler(), nil, nil
	}
	m, err := mirror.Open(mirror.Config{Dir: w.MirrorDir(), Signers: w.MirrorSigners(), Source: w, Clients: budget, Logger: logger})
	if err != nil {
		return nil, nil, err
	}
	for _, s := range w.MirrorSigners() {
		logger.Info("mirror vkey", "vkey", s.VKey(), "monitoring", mirrorPrefix)
	}
	copies := m.Handler(mirrorPrefix)
	mux := http.NewServeMux()
	mux.Handle("/", w.Handler())
	mux.Handle("/add-entries", copies)
	mux.Handle(mirrorPrefix+"/", copies)
	return mux, m, nil
}

// clients is what each address may cost.
func (o *serveOptions) clients() (*clients.Budget, error) {
	if o.clientRate == 0 {
		return nil, usageErrorf("--client-rate 0 would turn everybody away who errs once; a negative rate is no limit")
	}
	c := clients.Config{Rate: o.clientRate}
	for _, s := range o.trustedProxies {
		p, err := clients.ParsePrefix(s)
		if err != nil {
			return nil, usageErrorf("--trusted-proxy %q: %w", s, err)
		}
		c.Trusted = append(c.Trusted, p)
	}
	return clients.New(c), nil
}

// fromBastion lets each request come from where the bastion says: "the bastion MUST remove all
// X-Forwarded-For headers from the request, add a single X-Forwarded-For header with the IP address of
// the client".
func fromBastion(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.RemoteAddr = r.Header.Get("X-Forwarded-For")
		r.Header.Del("X-Forwarded-For")
		h.ServeHTTP(w, r)
	})
}

// open listens and says where.
func (o *serveOptions) open(w *witness.Witness, certs *certificates, logger *slog.Logger) (net.Listener, error) {
	if o.listenFile != "" {
		if err := listenfile.Check(o.listenFile); err != nil {
			return nil, usageErrorf("--listen-file: %w", err)
		}
	}
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		return nil, err
	}
	address, scheme := l.Addr().String(), "http"
	if certs.given() {
		scheme = "https"
	}
	logger.Info("listening", "address", address, "url", scheme+"://"+address, "name", w.Name(), "logs", len(w.Logs()))
	if o.listenFile != "" {
		if err := journal.WriteFile(o.listenFile, []byte(address+"\n"), 0o644); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

func (o *serveOptions) bastionConfig(logger *slog.Logger) (*bastion.Config, error) {
	key, err := witness.BastionKey(o.dir, rand.Reader)
	if err != nil {
		return nil, err
	}
	logger.Info("connecting to the bastion", "bastion", o.bastion, "keyHash", bastion.KeyHash(key.Public().(ed25519.PublicKey)))
	c := &bastion.Config{Address: o.bastion, Key: key, Logger: logger}
	if o.bastionCA != "" {
		data, err := os.ReadFile(o.bastionCA)
		if err != nil {
			return nil, usageErrorf("--bastion-ca: %w", err)
		}
		c.Roots = x509.NewCertPool()
		if !c.Roots.AppendCertsFromPEM(data) {
			return nil, usageErrorf("--bastion-ca %s: no certificate in PEM found", o.bastionCA)
		}
	}
	return c, nil
}

// newServer bounds everything a client can draw out.
func newServer(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       15 * time.Minute, // logs keep their connections
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

// serveUntil serves until ctx ends, and then lets the requests under way finish.
func serveUntil(ctx context.Context, s *http.Server, l net.Listener) error {
	ended := make(chan error, 1)
	go func() {
		if s.TLSConfig != nil {
			ended <- s.ServeTLS(l, "", "")
			return
		}
		ended <- s.Serve(l)
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
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

// watchHangup reloads on SIGHUP until the returned function is called.
func watchHangup(w *witness.Witness, certs *certificates, logger *slog.Logger) (stop func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range hangup {
			// Reload reports its own errors; what was in force before stays.
			if w.Reload() == nil {
				logger.Info("reloaded the log list")
			}
			if err := certs.load(); err != nil {
				logger.Error("the TLS certificate cannot be read again; the one before stays in use", "error", err)
			}
		}
	}()
	return func() {
		signal.Stop(hangup)
		close(hangup)
		<-done
	}
}

// certificates is the TLS certificate, if there is one.
type certificates struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

func (c *certificates) given() bool { return c.certFile != "" }

func (c *certificates) load() error {
	if (c.certFile == "") != (c.keyFile == "") {
		return usageErrorf("--tls-cert and --tls-key go together")
	}
	if !c.given() {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return usageErrorf("--tls-cert and --tls-key: %w", err)
	}
	c.current.Store(&pair)
	return nil
}

func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usageErrorf("--log-level: %w", err)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, usageErrorf("--log-format %q: it is text or json", format)
}
