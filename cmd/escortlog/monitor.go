package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/monitor"
	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
)

type monitorOptions struct {
	connection connection
	policy     string
	state      string
	interval   time.Duration
	maxAge     time.Duration
	timeout    time.Duration
	webhook    string
	listen     string
	key        string
	source     string
	rules      string
	noRules    bool
	once       bool
}

func newMonitorCommand() *cobra.Command {
	var o monitorOptions
	cmd := &cobra.Command{
		Use:   "monitor --policy FILE --state DIR [--log URL] [--once]",
		Short: "Follow logs and their witnesses, and say what is wrong as it happens",
		Long: `Follows the log at --log, or every log that the policy gives a URL for, until it
is stopped. Each new checkpoint must extend the last one seen, be signed by the
log, cosigned to the policy's quorum, and fresh: its newest cosignature not older
than --max-age. Every witness of the policy is asked which checkpoint of the log
it holds. One that contradicts what the log shows proves that the log keeps two
histories, and both notes are written to DIR/evidence. New leaves are verified as
"escortlog audit" does, and judged by the same rules.

What is wrong is printed as one JSON object a line, and kept in DIR: an id, the
kind, severity, log, rule, summary, the leaves it rests on. The same finding has
the same id and comes once, also after a restart. What holds for a while (a log or
a witness that is away, a stale checkpoint, a missing quorum) is raised when it
begins and cleared when it ends. What a rule found and finds no more, since a leaf
that came later explains it, is closed, once (audit --explain-rules says when). --webhook gets each line with POST, until it
answers 2xx; --key and --source raise the findings about a log into that log, as
events of type finding.raised and finding.closed, but for those about the monitor's own events. What
could not be delivered waits in DIR, and a kill loses none of it. The last line
before a kill may come twice.

With --once each log is looked at once and the exit code tells: 5 a log or the
webhook could not be reached, 2 an integrity failure or missing quorum, 1 findings.
Without it, an interrupt ends the command with 0.`,
		Example: `  escortlog monitor --policy policy.txt --state ~/monitor --webhook https://alerts.example.org/escortlog
  escortlog monitor --policy policy.txt --state ~/monitor --once | jq 'select(.severity=="critical")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.connection.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.policy, "policy", "", "tlog-policy `file`: the logs' keys and URLs, the witnesses, the quorum")
	f.StringVar(&o.state, "state", "", "`directory` that keeps what was verified and found")
	f.DurationVar(&o.interval, "interval", 10*time.Second, "how long to wait between two looks at a log")
	f.DurationVar(&o.maxAge, "max-age", 15*time.Minute, "how old the newest cosignature may be")
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long to wait for a busy log or witness")
	f.StringVar(&o.webhook, "webhook", "", "`URL` that gets every finding")
	f.StringVar(&o.listen, "listen", "", "`address` for Prometheus, as 127.0.0.1:9100, at /metrics")
	f.StringVar(&o.key, "key", "", "private key `file` with which findings are raised into the log")
	f.StringVar(&o.source, "source", "", "`URI` for which --key is registered, this monitor")
	f.StringVar(&o.rules, "rules", "", "rules `file` (YAML), in place of what is built in")
	f.BoolVar(&o.noRules, "no-rules", false, "judge the protocol only")
	f.BoolVar(&o.once, "once", false, "look once and end")
	config.CommandLineOnly(cmd, "once")
	return cmd
}

func (o *monitorOptions) run(cmd *cobra.Command) (err error) {
	registry := prometheus.NewRegistry()
	cfg, err := o.config(cmd, registry)
	if err != nil {
		return err
	}
	m, err := monitor.Open(cfg)
	if errors.Is(err, monitor.ErrStateDir) {
		return withCode(exitUsage, err)
	}
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := m.Close(); err == nil {
			err = closeErr
		}
	}()
	if o.once {
		outcome, err := m.Once(cmd.Context())
		if err != nil {
			return err
		}
		if code := outcome.ExitCode(); code != 0 {
			return &exitError{code: code} // the findings say why
		}
		return nil
	}
	if o.listen == "" {
		return m.Run(cmd.Context())
	}
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen %s: %w", o.listen, err)
	}
	return serveMetrics(cmd.Context(), listener, registry, m.Run)
}

func (o *monitorOptions) config(cmd *cobra.Command, registry *prometheus.Registry) (cfg monitor.Config, err error) {
	switch {
	case o.policy == "":
		return cfg, usageErrorf("no policy: give --policy FILE or set ESCORTLOG_POLICY; it says whose signatures count")
	case o.state == "":
		return cfg, usageErrorf("no state: give --state DIR; what a monitor has seen is all that it can hold against a log")
	case (o.key == "") != (o.source == ""):
		return cfg, usageErrorf("--key and --source go together: the key signs events of the source")
	case o.interval <= 0 || o.maxAge <= 0 || o.timeout <= 0:
		return cfg, usageErrorf("--interval, --max-age and --timeout must be more than nothing")
	case o.noRules && o.rules != "":
		return cfg, usageErrorf("--no-rules with --rules: leave one of them out")
	}
	if _, _, err := net.SplitHostPort(o.listen); err != nil && o.listen != "" {
		return cfg, usageErrorf("--listen %s: %w", o.listen, err)
	}
	if o.webhook != "" {
		if u, err := url.Parse(o.webhook); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return cfg, usageErrorf("--webhook %q: want a URL like https://alerts.example.org/escortlog", o.webhook)
		}
	}
	if cfg.Policy, err = readPolicy(o.policy); err != nil {
		return cfg, err
	}
	if !o.noRules {
		if cfg.Rules, err = readRules(o.rules); err != nil {
			return cfg, err
		}
	}
	if o.key != "" {
		if cfg.Key, err = readPrivateKey(o.key); err != nil {
			return cfg, err
		}
	}
	// Witnesses and the webhook are not to see what is meant for the log.
	others := connection{caFile: o.connection.caFile}
	if cfg.HTTP, err = others.client(); err != nil {
		return cfg, err
	}
	cfg.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	for _, w := range cfg.Policy.Witnesses {
		if w.URL == "" {
			cfg.Logger.Warn("the policy gives no URL for a witness, so it is not asked what it holds", "witness", w.Name)
		}
	}
	cfg.StateDir, cfg.Interval, cfg.MaxAge, cfg.GiveUp = o.state, o.interval, o.maxAge, o.timeout
	cfg.Webhook, cfg.Source, cfg.Output, cfg.Registerer = o.webhook, o.source, cmd.OutOrStdout(), registry
	return cfg, o.addTargets(&cfg)
}

// addTargets adds the logs to follow, and how findings get there.
func (o *monitorOptions) addTargets(cfg *monitor.Config) error {
	targets, err := targetsOf(cfg.Policy, o.connection.log)
	if err != nil {
		return err
	}
	if len(targets) > 1 && o.connection.tokenFile != "" {
		return usageErrorf("--token-file with several logs: one would see the token of another; monitor that log by itself with --log")
	}
	for _, t := range targets {
		c := o.connection
		c.log = t.URL
		if t.Log, err = newFetcher(&c, o.timeout); err != nil {
			return err
		}
		if cfg.Key != nil {
			s := &client.Submitter{URL: t.URL, Policy: cfg.Policy, Wait: 30 * time.Second, GiveUp: o.timeout}
			if s.HTTP, err = c.client(); err != nil {
				return err
			}
			t.Submitter = s
		}
		cfg.Targets = append(cfg.Targets, t)
	}
	return nil
}

// targetsOf lists the logs of a policy, or the one at log.
func targetsOf(policy *checkpoint.Policy, log string) (list []monitor.Target, err error) {
	log = strings.TrimRight(log, "/")
	var origins []string
	known := map[monitor.Target]bool{}
	add := func(t monitor.Target) {
		if !known[t] {
			known[t] = true
			list = append(list, t)
		}
	}
	for _, l := range policy.Logs {
		if len(origins) == 0 || origins[len(origins)-1] != l.Key.Name() {
			origins = append(origins, l.Key.Name())
		}
		if u := strings.TrimRight(l.URL, "/"); u != "" && (log == "" || log == u) {
			add(monitor.Target{Origin: l.Key.Name(), URL: u})
		}
	}
	switch {
	case len(list) > 0:
		return list, nil
	case log == "":
		return nil, usageErrorf("no log: give --log URL, or write the URL behind the key in the policy's log line")
	case len(origins) != 1:
		return nil, usageErrorf("the policy does not say which log is at %s: write that URL behind the key in its log line", log)
	}
	return []monitor.Target{{Origin: origins[0], URL: log}}, nil
}

// serveMetrics does work, and serves Prometheus as long.
func serveMetrics(ctx context.Context, listener net.Listener, registry *prometheus.Registry, work func(context.Context) error) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(listener)
		cancel()
	}()
	err := errors.Join(work(ctx), server.Close())
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serving metrics: %w", serveErr))
	}
	return err
}
