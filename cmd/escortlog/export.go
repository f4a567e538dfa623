package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/evidence"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/client/view"
	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/spf13/cobra"
)

// queryOptions are the flags that say what is asked of a log.
type queryOptions struct {
	session, change, person, system, rule string
	from, to                              string
}

func (o *queryOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.session, "session", "", "the session of this `id`")
	f.StringVar(&o.change, "change", "", "the change of this `id`")
	f.StringVar(&o.person, "person", "", "the person of this `pseudonym`")
	f.StringVar(&o.system, "system", "", "the system of this `id`")
	f.StringVar(&o.rule, "rule", "", "what the rule of this `name` found")
	f.StringVar(&o.from, "from", "", "only what happened at or after this `time` (RFC 3339, or a day in UTC)")
	f.StringVar(&o.to, "to", "", "only what happened before this `time`")
	config.CommandLineOnly(cmd, "session", "change", "person", "system", "rule", "from", "to")
}

// query is the question asked. whole: none is one, about every leaf.
func (o *queryOptions) query(whole bool) (q evidence.Query, err error) {
	asked := 0
	for kind, id := range map[view.Kind]string{view.Session: o.session, view.Change: o.change, view.Person: o.person, view.System: o.system, evidence.Rule: o.rule} {
		if id != "" {
			q.Kind, q.ID = kind, id
			asked++
		}
	}
	switch {
	case asked == 0 && whole:
		q.Kind = evidence.Log
	case asked != 1:
		return q, usageErrorf("give one of --session, --change, --person, --system and --rule: what to ask")
	}
	for _, bound := range []struct {
		flag, given string
		into        *string
	}{{"from", o.from, &q.From}, {"to", o.to, &q.To}} {
		at, err := parseMoment(bound.flag, bound.given)
		if err != nil {
			return q, err
		}
		if !at.IsZero() {
			*bound.into = at.UTC().Format(time.RFC3339Nano)
		}
	}
	return q, nil
}

type exportOptions struct {
	query  queryOptions
	audit  auditOptions
	record recordOptions
	all    bool
	output string
}

func newExportCommand() *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export (--session ID | --change ID | --person REF | --system ID | --rule NAME) [--from TIME] [--to TIME] --policy FILE -o PACK.zip",
		Short: "Make an evidence pack that verifies offline",
		Long: `Audits the whole log, with rules, and writes what answers the question into one zip
file: the exact leaves with a tlog-proof each, the checkpoint with its cosignatures,
all authority leaves and the keys they registered, the findings about these leaves,
a timeline as CSV, and report.html for people, which prints well. manifest.json
lists everything with its SHA-256.

The same log, question, policy, rules and --at give the same bytes. The SHA-256 of
the pack is printed: keep it elsewhere, since whoever makes a pack could make another
one, with less in it.

--record KEY keeps it in the log itself: an audit.exported event, signed with that key,
names the question, the counts, the checkpoint, the SHA-256, and what the pack is for.
It continues the numbers of --source, which nothing else may use meanwhile. The pack is
put in its place only when the event is proven to be in the log, under the policy: no
pack leaves unrecorded. An event without its pack can be left behind, where the disk or
the network fails between the two.

That nothing is missing from the answer (claim B) is proven to you now, by a full
scan. A reader of the pack can prove that again only when all leaves are in it:
--all. With --state, the checkpoint that "escortlog audit" verified last with that
directory is added, and the proof that the log has only grown since.

"escortlog verify PACK.zip --policy FILE" verifies a pack. The exit code is that of
the audit of the log, but for findings, which are in the pack; nothing is written of
a log that fails.`,
		Example: `  escortlog export --system sys-storage-7 --from 2025-04-01 --to 2025-07-01 --policy policy.txt -o q2.zip
  escortlog verify --policy policy.txt q2.zip
  escortlog export --session s-17 --policy policy.txt -o s-17.zip \
      --record auditor.key --source urn:example:auditor --exported-by p-77 --purpose "quarterly review"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.query.addFlags(cmd)
	o.audit.addQueryFlags(cmd)
	o.record.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.audit.state, "state", "", "`directory` of earlier audits; it is not changed")
	f.BoolVar(&o.all, "all", false, "put all leaves into the pack, so that its reader can repeat the audit")
	f.StringVarP(&o.output, "output", "o", "", "`file` to write the pack to; an older pack is replaced")
	config.CommandLineOnly(cmd, "all", "output")
	return cmd
}

// addQueryFlags adds the flags of an audit that a question needs.
func (o *auditOptions) addQueryFlags(cmd *cobra.Command) {
	o.connection.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.policy, "policy", "", "tlog-policy `file`: the log's keys, the witnesses, the quorum")
	f.StringVar(&o.evidence, "evidence", ".", "`directory` for evidence against a log that fails")
	f.Var(&o.genesis, "genesis", "leaf `hash` that leaf 0 must have, in base64 or hex")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long to wait for a busy log")
	f.StringVar(&o.rules, "rules", "", "rules `file` (YAML), in place of what is built in")
	f.StringVar(&o.at, "at", "", "`time` as of which rules judge, RFC 3339 (default: the newest cosignature)")
}

func (o *exportOptions) run(cmd *cobra.Command) error {
	if o.output == "" {
		return usageErrorf("no file to write the pack to: give -o PACK.zip")
	}
	q, err := o.query.query(false)
	if err != nil {
		return err
	}
	selector, err := evidence.NewSelector(q)
	if err != nil {
		return withCode(exitUsage, err)
	}
	if q.Kind == evidence.Rule {
		if err := isRule(q.ID, o.audit.rules); err != nil {
			return err
		}
	}
	pack := evidence.Config{Selector: selector, Tool: toolVersion(), All: o.all, Rules: rules.DefaultFile()}
	if o.audit.state != "" {
		if pack.Previous, err = audit.Last(o.audit.state); err != nil {
			return withCode(exitUsage, fmt.Errorf("--state: no checkpoint of an earlier audit can be read: %w", err))
		}
	}
	// The whole log is read, whatever was read before.
	whole := o.audit
	whole.state = ""
	cfg, err := whole.config()
	if err != nil {
		return err
	}
	if err := whole.addRules(&cfg); err != nil {
		return err
	}
	if pack.Policy, err = os.ReadFile(whole.policy); err != nil {
		return withCode(exitUsage, err)
	}
	if whole.rules != "" {
		if pack.Rules, err = os.ReadFile(whole.rules); err != nil {
			return withCode(exitUsage, err)
		}
	}
	pack.Log = cfg.Log
	record, err := newRecorder(o.record, func() (*client.Submitter, error) {
		return newSubmitter(&whole.connection, whole.policy, whole.timeout, cmd.ErrOrStderr())
	})
	if err != nil {
		return err
	}
	into := folders{selector}
	if record != nil {
		into = append(into, record)
	}
	// Before the long work: whether the pack can be written.
	if err := errors.Join(needFileName(o.output), mayReplace(o.output, packBeginning)); err != nil {
		return err
	}
	out, err := createAside(o.output, 0o600)
	if err != nil {
		return withCode(exitUsage, fmt.Errorf("-o %s: nothing can be written there: %w", o.output, err))
	}
	var keep bool // what was recorded and is in no other place
	defer func() {
		if !keep {
			out.discard()
		}
	}()
	var code int
	if pack.Report, code, err = readWhole(cmd, cfg, into); err != nil {
		return err
	}
	shown := newProgress(cmd.ErrOrStderr(), "packed or verified")
	pack.Progress = shown.add
	built, err := evidence.Build(cmd.Context(), pack, out)
	shown.done()
	if err != nil {
		return exportError(cmd.Context(), err)
	}
	var receipt *client.Receipt
	if record == nil {
		notRecorded(cmd.ErrOrStderr())
	} else if receipt, err = record.record(cmd.Context(), built); err != nil {
		return err
	}
	if err := out.place((*os.File).Sync); err != nil {
		if receipt == nil {
			return fmt.Errorf("no pack was written, and nothing was to be recorded: %w", err)
		}
		keep = true
		return recordedOnly(receipt, built, out, err)
	}
	return o.report(cmd.OutOrStdout(), built, receipt, code)
}

// isRule: there is a rule of that name, and it is judged.
func isRule(name, file string) error {
	c, err := readRules(file)
	if err != nil {
		return err
	}
	var judged []string
	for _, r := range rules.Catalogue() {
		judged = append(judged, r.Name)
	}
	for _, r := range c.Rules {
		judged = append(judged, r.ID)
	}
	judged = slices.DeleteFunc(judged, func(name string) bool { return slices.Contains(c.Disable, name) })
	switch {
	case slices.Contains(judged, name):
		return nil
	case slices.Contains(c.Disable, name):
		return usageErrorf("--rule %s: %s disables that rule, so nothing is found by it", name, file)
	}
	return usageErrorf("--rule %s: there is no such rule; there are %s", name, strings.Join(judged, ", "))
}

// exportError gives an error of a pack its exit code.
func exportError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return err
	case errors.Is(err, evidence.ErrNothing):
		return withCode(exitFindings, err)
	case errors.Is(err, evidence.ErrTooLarge):
		return withCode(exitUsage, err)
	case errors.Is(err, evidence.ErrHistory):
		return withCode(exitIntegrity, err)
	}
	return withCode(proofCode(err), err)
}

func (o *exportOptions) report(w io.Writer, built *evidence.Built, receipt *client.Receipt, code int) error {
	m := built.Manifest
	p := &printer{w: w}
	p.line("pack", "%s, %d bytes", o.output, built.Size)
	p.line("sha256", "%s", built.SHA256)
	if receipt != nil {
		p.line("recorded", "audit.exported, leaf %d, hash %s, proven under the policy", receipt.Index, receipt.LeafHash)
	}
	p.line("question", "%s", m.Query)
	p.line("log", "%s, size %d, root %s", m.Origin, m.Head.Size, m.Head.Root)
	printCounts(p, m)
	for _, c := range m.Claims {
		printClaim(p, c)
	}
	if p.err == nil && code != 0 && code != exitFindings {
		return &exitError{code: code} // the claims say why
	}
	return p.err
}

func printCounts(p *printer, m *evidence.Manifest) {
	c := m.Counts
	p.line("leaves", "%d: %d that answer, %d of context, %d on which findings rest, %d about keys", c.Leaves, c.Query, c.Context, c.Finding, c.Authority)
	p.line("findings", "%d about these leaves", c.Findings)
}

func printClaim(p *printer, c view.Claim) {
	result := map[string]string{view.Pass: "pass", view.Fail: "FAIL", view.NotEvaluable: "not evaluable"}[c.Result]
	p.line("claim "+c.Name, "%s, %d %s: %s", result, c.Population, c.Unit, c.Detail)
}

// toolVersion names this program and its version.
func toolVersion() string {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	return "escortlog " + version
}
