package rules

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"golang.org/x/mod/sumdb/tlog"
)

// Record is one verified leaf. Entry and Event are not changed, and Event.Data
// is not kept.
type Record struct {
	Index    int64 // of the leaf
	LeafTime int64 // ms since the epoch
	LeafHash tlog.Hash
	Entry    *entry.Entry
	Event    *event.Event // nil where the payload is no event
}

// fact is an event that rules remember.
type fact struct {
	ref  Ref
	typ  string // short
	t    time.Time
	leaf time.Time // L
	seq  int64     // in its source; 0: not numbered
	data payload
	// signers are the people whose own keys signed it.
	signers []string
}

func refOf(r *Record) Ref { return Ref{Index: r.Index, Source: r.Event.Source, ID: r.Event.ID} }

func leafTime(r *Record) time.Time { return time.UnixMilli(r.LeafTime).UTC() }

// is reports whether a reference names the fact.
func (f *fact) is(r *eventRef) bool { return r != nil && r.Source == f.ref.Source && r.ID == f.ref.ID }

// Engine judges a log leaf by leaf. It must be used by one goroutine at a time.
type Engine struct {
	cfg   *Config
	board *board
	now   time.Time // L of the newest leaf
	size  int64     // leaves

	directory *event.Directory
	registry  *registry
	sources   map[string]*source
	keys      map[string]*keyUses
	sessions  map[string]*session
	changes   map[string]*change
	due       dueHeap // sessions and changes, by when they are settled
	work      *pastWork
	drifts    []*fact
	inPlace   map[string]*newest // by system, digests that changes brought
	shopping  *shopping
	scripts   map[string]*script
	swept     time.Time // when scripts were last forgotten
}

// New returns an engine that has seen nothing; nil takes the rules built in.
func New(cfg *Config) *Engine {
	if cfg == nil {
		cfg = Default()
	}
	return &Engine{
		cfg: cfg, board: newBoard(cfg), directory: event.NewDirectory(), registry: newRegistry(),
		sources: map[string]*source{}, keys: map[string]*keyUses{}, sessions: map[string]*session{},
		changes: map[string]*change{}, work: newPastWork(), inPlace: map[string]*newest{},
		shopping: newShopping(), scripts: map[string]*script{},
	}
}

// Add judges the next leaf. Leaves come in the order of the log from 0, without
// gaps, and have been verified: what is wrong with them by the log's own rules
// is not said again here, and an event that does not fit its schema is counted as
// one of its source and otherwise ignored.
func (e *Engine) Add(r Record) {
	e.size = r.Index + 1
	if l := leafTime(&r); l.After(e.now) {
		e.now = l
	}
	e.settle()
	if r.Event == nil || r.Entry == nil {
		return
	}
	f := &fact{ref: refOf(&r), typ: shortType(r.Event.Type), t: r.Event.Time, leaf: leafTime(&r), seq: r.Event.SequenceNumber()}
	f.signers = e.signers(&r)
	kind, known := kinds[f.typ]
	if known {
		f.data = kind.make()
		if json.Unmarshal(r.Event.Data, f.data) != nil || !sound(f.data) {
			known = false // the verifier has said that it breaks its schema
			f.data = nobody{}
		}
	}
	if event.IsAuthority(r.Event.Type) {
		e.authority(&r, f.typ)
	} else {
		e.useKeys(&r, f)
		e.source(&r, f)
	}
	if known {
		for _, n := range f.data.people() {
			e.registry.meet(e, f, n)
		}
		e.route(&r, f, kind.belongs)
	}
	e.judgeOwn(&r)
}

// sound reports whether the people whom rules take for given are there.
func sound(data payload) bool {
	switch d := data.(type) {
	case *presence:
		return d.Escort != nil
	case *handedOff:
		return d.From != nil && d.To != nil
	case *reviewed:
		return d.Reviewer != nil
	case *attested:
		return d.Attester != nil
	case *sessionReviewed:
		return d.Reviewer != nil
	}
	return true
}

// route gives a fact to whom it concerns, which the subject names: event.Validate
// has seen to it that it is session/ and the session_id, or change/ and the
// change_id.
func (e *Engine) route(r *Record, f *fact, to belongs) {
	kind, id, _ := strings.Cut(r.Event.Subject, "/")
	switch {
	case to == toSession && kind == "session" && id != "":
		e.addToSession(id, f)
	case to == toChange && kind == "change" && id != "":
		e.addToChange(id, f)
	case to == toLog:
		e.addToLog(f)
	}
}

// addToLog takes what belongs to neither a session nor a change.
func (e *Engine) addToLog(f *fact) {
	switch f.data.(type) {
	case *drifted:
		e.drifts = append(e.drifts, f)
	case *corrected, *retracted, *redacted:
		e.correction(f)
	case *heartbeat, *periodClosed, *gap:
		// taken with the source
	default:
		e.registry.take(e, f)
	}
}

// authority takes an authority event into the directory.
func (e *Engine) authority(r *Record, typ string) {
	// The verifier has judged it; what it refused changes nothing here either.
	if e.directory.Apply(r.Index, r.LeafHash, r.Entry, r.Event) != nil {
		return
	}
	e.board.origin = e.directory.Origin()
	if typ == "source.registered" || typ == "source.retired" {
		e.sourceChanged(r)
	}
}

// signers returns the people whose own keys signed the leaf.
func (e *Engine) signers(r *Record) (refs []string) {
	for _, s := range r.Entry.Signatures {
		if k, ok := e.directory.Key(s.KeyID); ok && k.PersonRef != "" && !slices.Contains(refs, k.PersonRef) {
			refs = append(refs, k.PersonRef)
		}
	}
	return refs
}

// settle judges for good what cannot change any more.
func (e *Engine) settle() {
	e.settleDrifts(e.board, e.now)
	if e.now.Sub(e.swept) > 24*time.Hour {
		e.swept = e.now
		e.forgetScripts()
	}
	for {
		d, ok := e.due.pop(e.now)
		if !ok {
			return
		}
		if d.session {
			e.settleSession(d)
		} else {
			e.settleChange(d)
		}
	}
}

// Report judges what was added, as of a time: usually that of the newest
// cosignature of the checkpoint that was audited, in any case none before the
// newest leaf (it does not lead back to what was known earlier: that is the
// report of an engine that was given fewer leaves). What happened less than late,
// of the rules file, before is not judged yet. A report changes nothing.
func (e *Engine) Report(at time.Time) []Verdict { return e.reportBoard(at).verdicts() }

func (e *Engine) reportBoard(at time.Time) *board {
	b := e.board.fork()
	for _, id := range sortedKeys(e.sessions) {
		e.judgeSession(b, e.sessions[id], at)
	}
	e.judgeOverload(b, at)
	for _, id := range sortedKeys(e.changes) {
		e.judgeChange(b, e.changes[id], at)
	}
	e.reportDrifts(b, at)
	e.reportSources(b, at)
	e.reportKeys(b)
	return b
}

// old reports whether everything about that moment has had its time to come in.
func (e *Engine) old(t, at time.Time) bool { return !t.Add(e.cfg.Late.of()).After(at) }
