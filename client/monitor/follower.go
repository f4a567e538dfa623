package monitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/internal/durable"
	"github.com/escortlog/escortlog/log/checkpoint"
)

// fileLast is the newest checkpoint that the log showed, with or without its
// quorum: what a log signed binds it.
const fileLast = "last.note"

// follower follows one log.
type follower struct {
	m         *Monitor
	t         Target
	dir       string
	last      *signed // nil before the first
	log       *pinned
	audits    *audit.Follower
	witnesses []*witness
	report    *audit.Report // of the newest audit
	judged    []byte        // the note that it is of
}

// signed is a checkpoint that the log signed.
type signed struct {
	checkpoint.Checkpoint
	note []byte
}

// pinned is a log whose checkpoint has been fetched already, so that the audit
// is about the one that was held against what came before.
type pinned struct {
	audit.Log
	note []byte
}

func (p *pinned) Checkpoint(context.Context) ([]byte, error) { return p.note, nil }

func (m *Monitor) follow(t Target) (*follower, error) {
	dir := m.file(identify(t.Origin, t.URL)[:16])
	if err := durable.MakeDir(dir, 0o755); err != nil {
		return nil, err
	}
	f := &follower{m: m, t: t, dir: dir, log: &pinned{Log: t.Log}, witnesses: witnessesOf(m.cfg.Policy)}
	note, err := os.ReadFile(filepath.Join(dir, fileLast))
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		v, _ := m.cfg.Policy.Verify(note) // its quorum was another question
		if v == nil || v.Origin != t.Origin {
			return nil, fmt.Errorf("%w: %s is no checkpoint that the log signed with a key of the policy", errState, filepath.Join(dir, fileLast))
		}
		f.last = &signed{v.Checkpoint, v.Note}
	}
	f.audits, err = audit.Follow(audit.Config{
		Log: f.log, Policy: m.cfg.Policy, StateDir: filepath.Join(dir, "audit"), EvidenceDir: m.file(dirEvidence), Rules: m.cfg.Rules,
		Notice: func(s string) { m.cfg.Logger.Warn(s, "log", t.Origin) },
	})
	return f, err
}

// run makes rounds until ctx ends.
func (f *follower) run(ctx context.Context) error {
	for {
		if _, err := f.round(ctx); err != nil {
			return err
		}
		if err := f.m.cfg.Sleep(ctx, f.m.cfg.Interval); err != nil {
			return err
		}
	}
}

// round looks at the log once. The error is about the monitor's surroundings.
func (f *follower) round(ctx context.Context) (o Outcome, err error) {
	o, err = f.look(ctx)
	if err != nil {
		return o, err
	}
	f.m.metrics.rounds.WithLabelValues(f.t.Origin, o.word()).Inc()
	f.m.metrics.round.WithLabelValues(f.t.Origin).Set(float64(f.m.cfg.Now().Unix()))
	return o, nil
}

func (f *follower) look(ctx context.Context) (o Outcome, err error) {
	note, err := f.t.Log.Checkpoint(ctx)
	if err != nil {
		return f.trouble(ctx, err)
	}
	v, quorum := f.m.cfg.Policy.Verify(note)
	if v == nil {
		return Outcome{Integrity: true}, f.broken(ctx, audit.VerdictCheckpoint, &Evidence{Shown: string(note)}, fmt.Sprintf("the log shows a checkpoint that proves nothing: %v", quorum))
	}
	if v.Origin != f.t.Origin {
		return Outcome{Integrity: true}, f.broken(ctx, audit.VerdictCheckpoint, &Evidence{Shown: string(note)}, fmt.Sprintf("the log shows a checkpoint of %q", v.Origin))
	}
	shown := &signed{v.Checkpoint, v.Note}
	if f.last != nil {
		wrong, err := f.contradiction(ctx, f.last, shown)
		if err != nil {
			return f.trouble(ctx, err)
		}
		if wrong != nil {
			wrong.Held, wrong.Shown = string(f.last.note), string(shown.note)
			g := f.finding(KindIntegrity, wrong.Detail)
			g.Rule = audit.VerdictConsistency
			// Once, however the other history goes on.
			g.ID = identify(g.Kind, g.Log, g.URL, g.Rule, fmt.Sprint(f.last.Size), f.last.Root.String())
			return Outcome{Integrity: true}, f.prove(ctx, g, wrong)
		}
	}
	if err := f.remember(shown); err != nil {
		return o, err
	}
	if o, err = f.leaves(ctx, v, quorum); err != nil {
		return o, err
	}
	if !o.Unavailable {
		err = f.set(ctx, condition{kind: KindUnavailable}, "")
	}
	heard, heardErr := f.askWitnesses(ctx, shown)
	o.add(heard)
	return o, errors.Join(err, heardErr)
}

// remember keeps what the log showed, before anything is built on it.
func (f *follower) remember(shown *signed) error {
	if f.last != nil && bytes.Equal(f.last.note, shown.note) {
		return nil
	}
	if err := durable.WriteFile(filepath.Join(f.dir, fileLast), shown.note); err != nil {
		return fmt.Errorf("keeping the checkpoint: %w", err)
	}
	f.last = shown
	return nil
}

// leaves judges quorum and age, and reads what is new.
func (f *follower) leaves(ctx context.Context, v *checkpoint.Verified, quorum error) (o Outcome, err error) {
	f.m.metrics.size.WithLabelValues(f.t.Origin).Set(float64(v.Size))
	stale := f.stale(v)
	o.Findings = stale != ""
	if err := f.set(ctx, condition{kind: KindStale}, stale); err != nil {
		return o, err
	}
	if quorum != nil {
		o.Integrity = true
		return o, f.set(ctx, condition{kind: KindQuorum}, fmt.Sprintf("the checkpoint of size %d lacks its quorum, and nothing is read under it: %v", v.Size, quorum))
	}
	if err := f.set(ctx, condition{kind: KindQuorum}, ""); err != nil {
		return o, err
	}
	if f.report == nil || !bytes.Equal(f.judged, v.Note) {
		f.log.note = v.Note
		if f.report, err = f.audits.Audit(ctx); err != nil {
			f.report = nil // the next look audits again, whatever the log shows
			return o, err
		}
		f.judged = v.Note
		if f.report.Unavailable != "" {
			f.judged = nil // what is missing may come
		}
		err = f.tell(ctx, f.report)
	}
	switch f.report.Exit {
	case audit.ExitUnavailable:
		o.Unavailable = true
		err = errors.Join(err, f.set(ctx, condition{kind: KindUnavailable}, "the log cannot be read: "+f.report.Unavailable))
	case audit.ExitIntegrity:
		o.Integrity = true
	case audit.ExitFindings:
		o.Findings = true
	case audit.ExitIncomplete:
		o.Incomplete = true
	}
	return o, err
}

// stale says how old the newest cosignature is, where it is too old. A policy
// without witnesses gives nothing to tell the age by.
func (f *follower) stale(v *checkpoint.Verified) string {
	if len(f.m.cfg.Policy.Witnesses) == 0 {
		return ""
	}
	newest := newestCosignature(v)
	f.m.metrics.cosigned.WithLabelValues(f.t.Origin).Set(float64(newest))
	if newest == 0 {
		return "no witness vouches for the age of the checkpoint"
	}
	if at := time.Unix(newest, 0); f.m.cfg.Now().Sub(at) > f.m.cfg.MaxAge {
		return fmt.Sprintf("the newest cosignature of the checkpoint is of %s, more than %s ago", at.UTC().Format(time.RFC3339), f.m.cfg.MaxAge)
	}
	return ""
}

func newestCosignature(v *checkpoint.Verified) (unix int64) {
	for _, c := range v.Cosignatures {
		unix = max(unix, c.Time)
	}
	return unix
}

// trouble deals with a log that did not give what was asked for.
func (f *follower) trouble(ctx context.Context, err error) (Outcome, error) {
	var bad *client.IntegrityError
	switch {
	case errors.As(err, &bad):
		e := &Evidence{Resources: []audit.Resource{{Path: bad.Path, Body: bad.Body}}}
		return Outcome{Integrity: true}, f.broken(ctx, audit.VerdictReplay, e, bad.Error())
	case errors.Is(err, client.ErrUnavailable):
		return Outcome{Unavailable: true}, f.set(ctx, condition{kind: KindUnavailable}, fmt.Sprintf("the log cannot be read: %v", err))
	}
	return Outcome{}, err
}

// finding begins one about the log.
func (f *follower) finding(kind, summary string) *Finding {
	now := f.m.cfg.Now().UTC().Truncate(time.Millisecond)
	g := &Finding{Version: 1, Status: Raised, Kind: kind, Severity: severities[kind], Log: f.t.Origin, URL: f.t.URL, Summary: summary, Refs: noRefs, Time: now, At: now.UnixMilli()}
	if f.last != nil {
		g.Head = &Head{Size: f.last.Size, Root: f.last.Root}
	}
	return g
}

// broken raises an integrity failure that is known by its detail.
func (f *follower) broken(ctx context.Context, verdict string, e *Evidence, detail string) error {
	g := f.finding(KindIntegrity, detail)
	g.Rule = verdict
	g.ID = identify(g.Kind, g.Log, verdict, detail)
	e.Detail = detail
	return f.prove(ctx, g, e)
}

// prove raises a finding with its evidence, which is written before.
func (f *follower) prove(ctx context.Context, g *Finding, e *Evidence) (err error) {
	if f.m.journal.knows(g.ID) {
		return nil // and there is no end to what a log can show
	}
	e.Origin = f.t.Origin
	if g.Evidence, err = e.write(f.m.file(dirEvidence)); err != nil {
		return err
	}
	return f.m.raise(ctx, g)
}

// set says whether a condition holds, and why; empty: it does not.
func (f *follower) set(ctx context.Context, c condition, why string) error {
	c.log, c.url = f.t.Origin, f.t.URL
	begun := f.m.journal.holds(c)
	switch {
	case (begun == nil) == (why == ""):
		return nil
	case begun != nil:
		g := *begun
		now := f.finding(c.kind, "")
		g.Status, g.Clears, g.RaisedAt, g.ID, g.Head, g.Time, g.At = Cleared, begun.ID, begun.At, identify(Cleared, begun.ID), now.Head, now.Time, now.At
		return f.m.raise(ctx, &g)
	}
	g := f.finding(c.kind, why)
	g.Witness, g.Rule = c.witness, c.rule
	g.ID = identify(c.kind, c.log, c.url, c.witness, c.rule, fmt.Sprint(g.At))
	return f.m.raise(ctx, g)
}

// contradiction holds two checkpoints of the log against each other, whichever is
// larger. It returns nil where one extends the other.
func (f *follower) contradiction(ctx context.Context, earlier, shown *signed) (*Evidence, error) {
	switch {
	case shown.Size < earlier.Size:
		return &Evidence{Detail: fmt.Sprintf("the log has gone back: it showed size %d, and now shows %d", earlier.Size, shown.Size)}, nil
	default:
		return f.fork(ctx, earlier, shown)
	}
}

// fork reports whether the larger tree does not extend the smaller one.
func (f *follower) fork(ctx context.Context, small, large *signed) (*Evidence, error) {
	if small.Size == large.Size {
		if small.Root == large.Root {
			return nil, nil
		}
		return &Evidence{Detail: fmt.Sprintf("two roots for size %d: %s and %s", small.Size, small.Root, large.Root)}, nil
	}
	if small.Size == 0 {
		if small.Root == checkpoint.EmptyRoot {
			return nil, nil
		}
		return &Evidence{Detail: fmt.Sprintf("the root %s of size 0 is not that of an empty tree", small.Root)}, nil
	}
	e := &Evidence{Detail: fmt.Sprintf("the tree of size %d, root %s, does not extend the tree of size %d, root %s, by the hash tiles that the log serves", large.Size, large.Root, small.Size, small.Root)}
	var err error
	if e.Consistency, err = e.consistency(ctx, f.t.Log, small.Size, large.Size); err != nil {
		return nil, err
	}
	if checkpoint.VerifyConsistency(small.Size, large.Size, small.Root, large.Root, e.Consistency) == nil {
		return nil, nil
	}
	return e, nil
}
