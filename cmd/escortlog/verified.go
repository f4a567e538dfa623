package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/view"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/spf13/cobra"
)

// viewOptions are the flags of every command that shows what a log holds.
type viewOptions struct {
	connection connection
	policy     string
	evidence   string
	genesis    hashFlag
	timeout    time.Duration
	format     string
}

// viewHelp ends the help of those commands.
const viewHelp = `

Everything is read and verified first, as "escortlog audit" does: the checkpoint
under --policy, every entry against the hash tiles and the root, every signature
against the keys registered before it. Nothing is shown of a log that fails
(exit code 2). The output says which of the four claims it makes: A, the log was
read whole, and B, this answer is complete, by full scan; and that C (the sources'
sequences) and D (the world) were not checked.

Where a later record corrects, retracts or redacts one, both are shown. In CSV,
cells that a spreadsheet would take for formulas begin with an apostrophe.`

func (o *viewOptions) addFlags(cmd *cobra.Command) {
	o.connection.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.policy, "policy", "", "tlog-policy `file`: the log's keys, the witnesses, the quorum")
	f.StringVar(&o.evidence, "evidence", ".", "`directory` for evidence against a log that fails")
	f.Var(&o.genesis, "genesis", "leaf `hash` that leaf 0 must have, in base64 or hex")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long to wait for a busy log")
	f.StringVar(&o.format, "format", string(view.Table), "`form` of the output: table, json or csv")
}

// folder is what leaves are folded into.
type folder interface {
	Add(index int64, leaf []byte) error
	Leaves() int64
}

// read folds a whole, verified log and tells where the leaves come from. Where
// the log is not proven it says why on standard error and returns the error
// with the exit code. The code beside an Origin is 0, or that of findings or of
// incompleteness.
func (o *viewOptions) read(cmd *cobra.Command, into folder) (*view.Origin, int, error) {
	switch view.Format(o.format) {
	case view.Table, view.JSON, view.CSV:
	default:
		return nil, 0, usageErrorf("--format %q: want table, json or csv", o.format)
	}
	// Without a state directory every leaf is read, and so every leaf is asked.
	a := auditOptions{connection: o.connection, policy: o.policy, evidence: o.evidence, genesis: o.genesis, timeout: o.timeout}
	cfg, err := a.config()
	if err != nil {
		return nil, 0, err
	}
	r, code, err := readWhole(cmd, cfg, into)
	if err != nil {
		return nil, 0, err
	}
	return origin(r, into.Leaves()), code, nil
}

// readWhole audits a log and folds every leaf. Where the log is not proven it
// says why on standard error and returns the error with the exit code. The code
// beside a report is 0, or that of findings or of incompleteness. cfg has no state
// directory, with which not every leaf would be read.
func readWhole(cmd *cobra.Command, cfg audit.Config, into folder) (*audit.Report, int, error) {
	shown := newProgress(cmd.ErrOrStderr(), "verified")
	defer shown.done()
	cfg.Progress = func(done, _ int64) { shown.add(done - shown.count) }
	tee := &teeLog{Log: cfg.Log, into: into, waiting: map[int64][][]byte{}}
	cfg.Log = tee
	r, err := audit.Run(cmd.Context(), cfg)
	shown.hide()
	if err != nil {
		if r != nil && r.ExitCode() == audit.ExitIntegrity {
			_ = refused(cmd.ErrOrStderr(), r) // the failures are not lost with their evidence
		}
		return nil, 0, err
	}
	code := r.ExitCode()
	if code == audit.ExitIntegrity || code == audit.ExitUnavailable {
		return nil, 0, refused(cmd.ErrOrStderr(), r)
	}
	if tee.err != nil {
		return nil, 0, withCode(exitIntegrity, tee.err)
	}
	return r, code, nil
}

// refused says why nothing is shown.
func refused(w io.Writer, r *audit.Report) error {
	for _, f := range r.Failures {
		place := ""
		if f.Index != nil {
			place = fmt.Sprintf("leaf %d: ", *f.Index)
		}
		fmt.Fprintf(w, "%s: %s%s\n", f.Verdict, place, f.Detail)
	}
	if r.Evidence != "" {
		fmt.Fprintf(w, "Evidence written to %s\n", r.Evidence)
	}
	if r.Unavailable != "" {
		return &exitError{code: exitUnavailable, err: fmt.Errorf("nothing is shown, since the log could not be read to the end: %s", r.Unavailable)}
	}
	return &exitError{code: exitIntegrity, err: errors.New(`nothing is shown, since the log is not proven; "escortlog audit" tells more`)}
}

// origin says what an audit has proven about the leaves of a view.
func origin(r *audit.Report, leaves int64) *view.Origin {
	o := &view.Origin{Log: r.Origin, Cosigners: []string{}, Findings: []string{}}
	if r.Head != nil {
		o.Size, o.Root = r.Head.Size, r.Head.Root
	}
	if r.Genesis != nil {
		o.Genesis = r.Genesis.String()
	}
	for _, c := range r.Cosigners {
		o.Cosigners = append(o.Cosigners, c.Witness)
	}
	for _, f := range r.Findings {
		o.Findings = append(o.Findings, f.Kind+": "+f.Detail)
	}
	log := view.Claim{Name: "A log", Result: view.NotEvaluable}
	for _, c := range r.Claims {
		if c.Name == log.Name {
			log = view.Claim{Name: c.Name, Result: string(c.Result), Population: c.Population, Unit: c.Unit, Detail: c.Detail}
		}
	}
	o.Claim(log, leaves)
	return o
}

// teeLog gives the entries that an audit reads, the very bytes that it hashes,
// to a folder, in the order of the log. Whether they are what the checkpoint
// commits to is known when the audit has ended; until then nobody relies on them.
type teeLog struct {
	audit.Log
	into folder

	mu      sync.Mutex         // guards all below
	next    int64              // the bundle whose turn it is
	waiting map[int64][][]byte // bundles that came too early; never more than are fetched at once
	err     error              // the first that into returned
}

func (t *teeLog) Bundle(ctx context.Context, b tile.Tile) ([][]byte, error) {
	entries, err := t.Log.Bundle(ctx, b)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting[b.N] = entries
	for {
		ready, ok := t.waiting[t.next]
		if !ok {
			return entries, nil
		}
		delete(t.waiting, t.next)
		for i, raw := range ready {
			if err := t.into.Add(t.next*tile.Width+int64(i), raw); err != nil && t.err == nil {
				t.err = err
			}
		}
		t.next++
	}
}

// showTimeline is the work of every command that shows one thing.
func (o *viewOptions) showTimeline(cmd *cobra.Command, kind view.Kind, id string) error {
	if id == "" || strings.ContainsAny(id, " \t\r\n") {
		return usageErrorf("%q is not the id of a %s", id, kind)
	}
	b := view.NewBuilder(kind, id)
	from, code, err := o.read(cmd, b)
	if err != nil {
		return err
	}
	t := b.Timeline()
	if err := t.Write(cmd.OutOrStdout(), view.Format(o.format), from); err != nil {
		return err
	}
	if len(t.Lines) == 0 {
		// An answer about nothing must not look like a good one to a script.
		return &exitError{code: exitFindings, err: fmt.Errorf("none of the %d leaves is about %s %s", from.Size, kind, id)}
	}
	if code != 0 {
		return &exitError{code: code} // the output says why
	}
	return nil
}
