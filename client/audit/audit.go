package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

var (
	// ErrLocked: another audit is using the state directory.
	ErrLocked = errors.New("another audit is using the state directory")
	// ErrStateDir: the state directory cannot be made or opened.
	ErrStateDir = errors.New("opening the state directory")
	// ErrOtherLog: the state directory is that of another log.
	ErrOtherLog = errors.New("the state directory belongs to another log")
)

// Log is what an audit reads; *client.Fetcher is one. Its methods return
// exactly what was asked for, unverified. Errors are an *client.IntegrityError,
// a context's error, or wrap client.ErrUnavailable.
type Log interface {
	Checkpoint(ctx context.Context) ([]byte, error)
	Tile(ctx context.Context, t tile.Tile) ([]byte, error)
	Bundle(ctx context.Context, t tile.Tile) ([][]byte, error)
}

// Config is what an audit needs. Log and Policy are required.
type Config struct {
	Log    Log
	Policy *checkpoint.Policy
	// StateDir is where to keep what was verified. Empty: nothing is kept, and
	// everything is read.
	StateDir string
	// EvidenceDir is where evidence is written. Empty: into StateDir, or
	// nowhere where there is none.
	EvidenceDir string
	// Genesis is the leaf hash that leaf 0 must have; nil: any.
	Genesis *tlog.Hash
	// Workers verify signatures and schemas; 0: one for each processor.
	Workers int
	// Fetches are made at once; 0 means 8.
	Fetches int
	// Progress is told how many leaves have been checked; may be nil. It is
	// called by one goroutine at a time.
	Progress func(done, total int64)
	// MaxAge is how old the checkpoint may be, as its cosignatures tell, at the time At
	// or, where that is zero, at Now; 0: its age is not looked at.
	MaxAge time.Duration
	Now    func() time.Time // nil: time.Now
	// Notice is told, in words, where something that was kept cannot be used and is
	// made anew; may be nil.
	Notice func(string)
	// Rules are judged too; nil: none are.
	Rules *rules.Config
	// At is the time as of which rules judge; zero: that of the newest cosignature
	// of the checkpoint, or where there is none that of the newest leaf.
	At time.Time
	// Since leaves out of the report what rules found before it; they look at the
	// whole log all the same.
	Since time.Time

	verify func(event.SigJob) error // nil: its own method
}

// Run audits a log. The report says everything about the log, also that it was
// not available. The error is about the audit's own surroundings: the state
// directory (ErrLocked, ErrOtherLog, a damaged or unwritable one), an evidence
// file that cannot be written, or the end of the context. There is a report beside
// it where the verdicts were reached, so that they are not lost with a file.
func Run(ctx context.Context, cfg Config) (r *Report, err error) {
	f, err := Follow(cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Audit(ctx)
}

// auditor is one run.
type auditor struct {
	cfg      Config
	state    *state // verified before; grows with what is read
	from     int64  // size of the tree verified before
	report   *Report
	evidence Evidence

	verified *checkpoint.Verified
	head     Head
	quorum   error // why the quorum is not met
	extends  bool  // the checkpoint was held against the one seen before
	complete bool  // every leaf was read and hashed
	judged   int64 // leaves whose events were judged, in earlier runs too
	changed  int64 // index of the first leaf that is not what was signed; -1: none
	tiles    int64 // hash tiles compared
	expected []expectedTile

	failed   map[string]int64 // failures by verdict
	broken   bool             // the log contradicts itself, and nothing more is read
	reached  bool             // the report has its verdicts
	leafZero []byte           // where this run read it
	unkept   error            // what is verified cannot be written to its file

	rules   *judged // nil: none are judged
	touched bool    // state and rules may hold more than what passed
	saved   bool    // all passed, and state holds it
}

// maxFailures bounds how many failures are listed.
const maxFailures = 100

func (a *auditor) fail(f Failure) {
	a.failed[f.Verdict]++
	if len(a.report.Failures) < maxFailures {
		a.report.Failures = append(a.report.Failures, f)
		return
	}
	a.report.Omitted++
}

func (a *auditor) failf(verdict, format string, args ...any) {
	a.fail(Failure{Verdict: verdict, Detail: fmt.Sprintf(format, args...)})
}

func (a *auditor) run(ctx context.Context, dir *stateDir) error {
	err := a.audit(ctx)
	var bad *client.IntegrityError
	switch {
	case errors.As(err, &bad):
		a.evidence.resource(bad.Path, bad.Body)
		a.failf(VerdictReplay, "%v", bad)
	case errors.Is(err, client.ErrUnavailable):
		a.report.Unavailable = err.Error()
	case err != nil:
		return err
	}
	if err := a.findings(); err != nil {
		return err
	}
	if err := a.conclude(ctx); err != nil {
		return err
	}
	// Only what passed is built upon. Findings are about what is proven.
	if code := a.report.Exit; dir != nil && a.complete && (code == ExitProven || code == ExitFindings) {
		a.state.note, a.state.head, a.state.origin = a.verified.Note, a.head, a.verified.Origin
		if err := dir.save(a.state); err != nil {
			return err
		}
		a.saved = true
	}
	return nil
}

// audit reads and checks everything. It returns an error where it cannot go on.
func (a *auditor) audit(ctx context.Context) error {
	note, err := a.cfg.Log.Checkpoint(ctx)
	var bad *client.IntegrityError
	if errors.As(err, &bad) {
		a.evidence.resource(bad.Path, bad.Body)
		a.failf(VerdictCheckpoint, "%v", bad)
		return nil
	}
	if err != nil {
		return err
	}
	a.evidence.Offered = string(note)
	v, err := a.cfg.Policy.Verify(note)
	if v == nil {
		a.failf(VerdictCheckpoint, "%v", err)
		return nil
	}
	if err != nil {
		a.quorum = err
		a.failf(VerdictQuorum, "%v", err)
	}
	if a.state.note != nil && a.state.origin != v.Origin {
		return fmt.Errorf("%w: to %q, and this is %q; use one directory for each log", ErrOtherLog, a.state.origin, v.Origin)
	}
	a.accept(v)
	if err := a.consistent(ctx); err != nil || a.broken {
		return err
	}
	a.touched = true
	if err := a.reread(ctx); err != nil {
		return err
	}
	err = a.replay(ctx)
	if ctx.Err() == nil && a.unkept == nil {
		err = errors.Join(err, a.repeated(ctx))
	}
	if err != nil {
		return err
	}
	a.complete = true
	a.checkGenesis()
	return nil
}

// accept takes over a checkpoint that a log of the policy signed.
func (a *auditor) accept(v *checkpoint.Verified) {
	a.verified, a.head = v, Head{Size: v.Size, Root: v.Root}
	head := a.head
	r := a.report
	r.Origin, r.Checkpoint, r.Head = v.Origin, string(v.Note), &head
	a.evidence.Origin = v.Origin
	for _, c := range v.Cosignatures {
		r.Cosigners = append(r.Cosigners, Cosigner{Witness: c.Witness, Time: c.Time})
	}
}

// consistent holds the checkpoint against the one seen before. On a failure it
// sets broken: what a log serves that shows two histories proves nothing more.
func (a *auditor) consistent(ctx context.Context) error {
	seen := a.state.head
	fail := func(format string, args ...any) {
		a.broken = true
		a.failf(VerdictConsistency, format, args...)
	}
	switch {
	case a.state.note == nil:
		return nil
	case a.head.Size < seen.Size:
		fail("the log has gone back: size %d was verified before, and now it shows %d", seen.Size, a.head.Size)
		return nil
	case a.head.Size == seen.Size && a.head.Root != seen.Root:
		fail("two roots for size %d: %s was verified before, and now it shows %s", seen.Size, seen.Root, a.head.Root)
		return nil
	case a.head.Size == seen.Size:
		a.extends = true
		return nil
	}
	// The replay would notice too, after reading every entry; the proof tells at
	// once, and tells a rewritten log from one whose entries were spoiled.
	var fetched []Resource
	read := tile.Reader(func(ctx context.Context, t tile.Tile) ([]byte, error) {
		b, err := a.cfg.Log.Tile(ctx, t)
		if err == nil {
			fetched = append(fetched, Resource{Path: t.Path(), Body: b})
		}
		return b, err
	})
	proof, err := tile.Consistency(ctx, read, seen.Size, a.head.Size)
	if err != nil {
		return err
	}
	err = checkpoint.VerifyConsistency(seen.Size, a.head.Size, seen.Root, a.head.Root, proof)
	if err == nil {
		a.extends = true
		return nil
	}
	root, rootErr := tile.Root(ctx, read, a.head.Size)
	if rootErr != nil {
		return rootErr
	}
	a.evidence.Consistency = proof
	for _, r := range fetched {
		a.evidence.resource(r.Path, r.Body)
	}
	if root == a.head.Root {
		fail("history was rewritten: the tree of size %d does not extend the tree of size %d, root %s, that was verified before", a.head.Size, seen.Size, seen.Root)
		return nil
	}
	a.broken = true
	a.failf(VerdictReplay, "the hash tiles give the root %s, the checkpoint says %s", root, a.head.Root)
	return nil
}

// checkGenesis: leaf 0 is the one pinned, and names this log.
func (a *auditor) checkGenesis() {
	if a.head.Size == 0 {
		return
	}
	if a.changed == 0 {
		return // it is not what was signed
	}
	genesis := a.state.genesis
	a.report.Genesis = &genesis
	if a.cfg.Genesis != nil && genesis != *a.cfg.Genesis {
		a.failf(VerdictGenesis, "leaf 0 has the hash %s, and not the pinned %s", genesis, *a.cfg.Genesis)
	}
	// Where leaf 0 is no log.created at all, that was said already.
	if origin := a.state.directory.Origin(); origin != "" && origin != a.verified.Origin {
		a.failf(VerdictGenesis, "leaf 0 founds the log %q, the checkpoint is of %q", origin, a.verified.Origin)
	}
	if a.failed[VerdictGenesis] > 0 && a.leafZero != nil {
		a.evidence.leaf(0, a.leafZero)
	}
}
