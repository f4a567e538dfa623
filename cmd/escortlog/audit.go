package main

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"
)

type auditOptions struct {
	connection connection
	policy     string
	state      string
	evidence   string
	genesis    hashFlag
	timeout    time.Duration
	json       bool
	rules      string
	noRules    bool
	at         string
	since      string
	maxAge     time.Duration
	printRules bool
	explain    bool
}

func newAuditCommand() *cobra.Command {
	var o auditOptions
	cmd := &cobra.Command{
		Use:   "audit --policy FILE [--log URL] [--state DIR] [--genesis HASH]",
		Short: "Replay a whole log, believing nothing the server says",
		Long: `Reads every entry of the log up to its checkpoint, hashes each, compares every
hash tile and the root, verifies every signature against the keys that the log's
own authority events registered, and checks that times never decrease, that no
event is logged twice, and that every event was allowed and is well-formed. The
checkpoint must be signed by a log of the policy and cosigned by its quorum.

With --state, DIR keeps what was verified: the next audit goes on from there, and
demands that the log has only grown. A log that shows a smaller tree, or another
one, is caught, and both checkpoints are written to a file as evidence. Keep one
directory for each log, and keep it safe: it is what you know.

--genesis pins the leaf hash of leaf 0 (base64 or hex), got from somewhere else
than the log; it says which log this is, with which administrators.

When the log is proven to be intact, the rules an auditor runs judge what happened
in it: 25 that are built in, and your own from --rules. What they find makes exit
code 1. They judge as of the newest cosignature of the checkpoint, or as of --at,
so that the same log, policy, rules and --at give the same report. They always look
at the whole history (with --state they go on from what they remember of it, and with
other rules or another version of this program all leaves are read again, and held
against the root that was kept); --since only leaves out findings whose newest
leaf is older. --print-rules prints the rules built in, a file to begin with;
--explain-rules says what each looks at and does not see.

A checkpoint that its quorum of witnesses cosigned longer than --max-age ago is a
finding (freshness): the log may have gone on since without showing it. Its age
counts to --at, or to this computer's clock.

The log is the one at --log, else the one URL in the policy's log lines.`,
		Example: `  escortlog audit --policy policy.txt --log https://log.example.org --state ~/audits/example
  escortlog audit --policy policy.txt --json | jq .verdicts
  escortlog audit --print-rules > rules.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.connection.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.policy, "policy", "", "tlog-policy `file`: the log's keys, the witnesses, the quorum")
	f.StringVar(&o.state, "state", "", "`directory` that keeps what was verified")
	f.StringVar(&o.evidence, "evidence", "", "`directory` for evidence (default: that of --state, else the working directory)")
	f.Var(&o.genesis, "genesis", "leaf `hash` that leaf 0 must have, in base64 or hex")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long to wait for a busy log")
	f.BoolVar(&o.json, "json", false, "print the report as one JSON object")
	f.StringVar(&o.rules, "rules", "", "rules `file` (YAML), in place of what is built in")
	f.BoolVar(&o.noRules, "no-rules", false, "judge the protocol only")
	f.StringVar(&o.at, "at", "", "`time` as of which rules judge (default: the newest cosignature) and the checkpoint's age counts (default: now), RFC 3339")
	f.DurationVar(&o.maxAge, "max-age", 24*time.Hour, "how old the checkpoint may be, by its quorum's cosignatures; 0: it is not looked at")
	f.StringVar(&o.since, "since", "", "`time` from which on findings of rules are listed, RFC 3339; verdicts are about all")
	f.BoolVar(&o.printRules, "print-rules", false, "print the rules file that is built in, and do nothing else")
	f.BoolVar(&o.explain, "explain-rules", false, "print what each rule finds and does not see, and do nothing else")
	config.CommandLineOnly(cmd, "print-rules", "explain-rules")
	return cmd
}

func (o *auditOptions) run(cmd *cobra.Command) error {
	if o.printRules {
		_, err := cmd.OutOrStdout().Write(rules.DefaultFile())
		return err
	}
	if o.explain {
		return explainRules(cmd.OutOrStdout())
	}
	cfg, err := o.config()
	if err != nil {
		return err
	}
	if err := o.addTimes(&cfg); err != nil {
		return err
	}
	if err := o.addRules(&cfg); err != nil {
		return err
	}
	shown := newProgress(cmd.ErrOrStderr(), "audited")
	defer shown.done()
	cfg.Progress = func(done, _ int64) { shown.add(done - shown.count) }
	cfg.Notice = func(s string) { fmt.Fprintln(cmd.ErrOrStderr(), s) }
	r, err := audit.Run(cmd.Context(), cfg)
	shown.hide()
	if errors.Is(err, audit.ErrOtherLog) || errors.Is(err, audit.ErrStateDir) {
		return withCode(exitUsage, err)
	}
	if r == nil {
		return err
	}
	if o.json {
		err = errors.Join(err, printJSON(cmd.OutOrStdout(), r))
	} else {
		err = errors.Join(err, r.WriteText(cmd.OutOrStdout()))
	}
	if err != nil {
		return err
	}
	if code := r.ExitCode(); code != 0 {
		return &exitError{code: code} // the report says why
	}
	return nil
}

func (o *auditOptions) config() (cfg audit.Config, err error) {
	if o.policy == "" {
		return cfg, usageErrorf("no policy: give --policy FILE or set ESCORTLOG_POLICY; it says whose signatures count")
	}
	if cfg.Policy, err = readPolicy(o.policy); err != nil {
		return cfg, err
	}
	cfg.Genesis = o.genesis.hash
	if o.connection.log == "" {
		if o.connection.log, err = logOf(cfg.Policy); err != nil {
			return cfg, err
		}
	}
	if cfg.Log, err = newFetcher(&o.connection, o.timeout); err != nil {
		return cfg, err
	}
	cfg.StateDir, cfg.EvidenceDir = o.state, o.evidence
	if cfg.EvidenceDir == "" && cfg.StateDir == "" {
		cfg.EvidenceDir = "."
	}
	return cfg, nil
}

// addTimes says as of when the audit judges, and how old the checkpoint may be then.
func (o *auditOptions) addTimes(cfg *audit.Config) (err error) {
	if o.maxAge < 0 {
		return usageErrorf("--max-age %s is below zero", o.maxAge)
	}
	cfg.MaxAge = o.maxAge
	cfg.At, err = parseInstant("--at", o.at)
	return err
}

// addRules reads the rules, and from when on their findings are listed.
func (o *auditOptions) addRules(cfg *audit.Config) (err error) {
	if o.noRules {
		if o.rules != "" || o.since != "" {
			return usageErrorf("--no-rules with --rules or --since: those are about rules; leave one of them out")
		}
		return nil
	}
	if cfg.Rules, err = readRules(o.rules); err != nil {
		return err
	}
	cfg.Since, err = parseInstant("--since", o.since)
	return err
}

// readRules reads a rules file; no path takes what is built in.
func readRules(path string) (*rules.Config, error) {
	if path == "" {
		return rules.Default(), nil
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, usageErrorf("reading the rules: %w", err)
	}
	c, err := rules.Parse(file)
	if err != nil {
		return nil, usageErrorf("%s: %w", path, err)
	}
	return c, nil
}

// parseInstant reads an RFC 3339 time; "" is the zero time.
func parseInstant(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return t, usageErrorf("%s %q: want a time such as 2025-06-10T14:00:00Z", flag, s)
	}
	return t, nil
}

func explainRules(w io.Writer) error {
	var b strings.Builder
	for _, r := range rules.Catalogue() {
		fmt.Fprintf(&b, "%d %s (%s)\n  finds:    %s\n  looks at: %s\n  not seen: %s\n  keeps:    %s\n  closes:   %s\n", r.Number, r.Name, r.Severity, r.Sentence, r.Unit, r.Blind, r.Memory, r.Closes)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// logOf returns the one URL in the policy's log lines.
func logOf(policy *checkpoint.Policy) (string, error) {
	var urls []string
	for _, l := range policy.Logs {
		if url := strings.TrimRight(l.URL, "/"); url != "" && !slices.Contains(urls, url) {
			urls = append(urls, url)
		}
	}
	switch len(urls) {
	case 0:
		return "", usageErrorf("no log: give --log URL, or write the URL behind the key in the policy's log line")
	case 1:
		return urls[0], nil
	}
	return "", usageErrorf("the policy names several logs (%s): give one of them as --log URL", strings.Join(urls, ", "))
}

// hashFlag is a leaf hash in base64, as this program prints it, or in hex, as it
// stands in data.prev of authority events. An empty one is refused: a shell
// variable that is not set must not unpin what it was to pin.
type hashFlag struct{ hash *tlog.Hash }

func (f *hashFlag) Set(s string) error {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != tlog.HashSize {
		b, err = hex.DecodeString(s)
	}
	if err != nil || len(b) != tlog.HashSize {
		return errors.New("want a hash of 32 bytes in base64 or hex")
	}
	f.hash = (*tlog.Hash)(b)
	return nil
}

func (f *hashFlag) String() string {
	if f.hash == nil {
		return ""
	}
	return f.hash.String()
}

func (f *hashFlag) Type() string { return "hash" }
