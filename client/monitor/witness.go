package monitor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/log/checkpoint"
)

// witness is one monitoring endpoint and the names of the keys, one or several,
// that the policy expects there.
type witness struct {
	url   string
	names []string
}

func (w *witness) name() string { return strings.Join(w.names, ",") }

// witnessesOf lists the endpoints of a policy, each once.
func witnessesOf(p *checkpoint.Policy) (list []*witness) {
	for _, w := range p.Witnesses {
		url := strings.TrimRight(w.URL, "/")
		if url == "" {
			continue
		}
		i := slices.IndexFunc(list, func(o *witness) bool { return o.url == url })
		if i < 0 {
			i = len(list)
			list = append(list, &witness{url: url})
		}
		list[i].names = append(list[i].names, w.Name)
	}
	return list
}

// answer is what a witness said.
type answer struct {
	verified *checkpoint.Verified
	problem  string // why there is none
}

// askWitnesses asks every witness what it holds of the log, all at once, and
// holds each answer against what the log shows.
func (f *follower) askWitnesses(ctx context.Context, shown *signed) (o Outcome, err error) {
	answers := make([]answer, len(f.witnesses))
	var asking sync.WaitGroup
	for i, w := range f.witnesses {
		asking.Go(func() { answers[i] = f.ask(ctx, w) })
	}
	asking.Wait()
	if ctx.Err() != nil {
		return o, ctx.Err()
	}
	for i, w := range f.witnesses {
		p, err := f.judge(ctx, w, shown, answers[i])
		if o.add(p); err != nil {
			return o, err
		}
	}
	return o, nil
}

// ask fetches the checkpoint that a witness holds: "GET <monitoring
// prefix>/<origin hash>/checkpoint".
func (f *follower) ask(ctx context.Context, w *witness) answer {
	sum := sha256.Sum256([]byte(f.t.Origin))
	fetcher := &client.Fetcher{URL: w.url + "/" + hex.EncodeToString(sum[:]), HTTP: f.m.cfg.HTTP, GiveUp: f.m.cfg.GiveUp, Timeout: 30 * time.Second}
	note, err := fetcher.Checkpoint(ctx)
	if errors.Is(err, client.ErrMissing) {
		return answer{problem: "it holds no checkpoint of the log"}
	}
	if err != nil {
		return answer{problem: fmt.Sprintf("it does not answer: %v", err)}
	}
	// A witness's own note bears the log's signature and the witness's, and no
	// quorum.
	v, err := f.m.cfg.Policy.Verify(note)
	switch {
	case v == nil:
		return answer{problem: fmt.Sprintf("what it shows proves nothing: %v", err)}
	case v.Origin != f.t.Origin:
		return answer{problem: fmt.Sprintf("it shows a checkpoint of %q", v.Origin)}
	}
	return answer{verified: v}
}

// judge takes the answer of one witness.
func (f *follower) judge(ctx context.Context, w *witness, shown *signed, a answer) (o Outcome, err error) {
	about := func(kind string) condition { return condition{kind: kind, witness: w.name()} }
	if a.verified == nil {
		return Outcome{Findings: true}, f.set(ctx, about(KindUnheard), fmt.Sprintf("witness %s: %s", w.name(), a.problem))
	}
	if err := f.set(ctx, about(KindUnheard), ""); err != nil {
		return o, err
	}
	stale := f.staleWitness(w, a.verified)
	o.Findings = stale != ""
	if err := f.set(ctx, about(KindWitnessStale), stale); err != nil {
		return o, err
	}
	held := &signed{a.verified.Checkpoint, a.verified.Note}
	small, large := held, shown
	if held.Size > shown.Size {
		small, large = shown, held
	}
	wrong, err := f.fork(ctx, small, large)
	switch {
	case errors.Is(err, client.ErrUnavailable) && held.Size > shown.Size:
		// It is new, or the log hides it: the log signed it in any case.
		o.Findings = true
		return o, f.set(ctx, about(KindWitnessAhead), fmt.Sprintf("witness %s holds a checkpoint of size %d, which the log signed and does not show: it shows size %d, and no proof between the two", w.name(), held.Size, shown.Size))
	case err != nil:
		p, err := f.trouble(ctx, err)
		o.add(p)
		return o, err
	case wrong != nil:
		o.Integrity = true
		return o, f.split(ctx, w, shown, held, wrong)
	}
	return o, f.set(ctx, about(KindWitnessAhead), "")
}

func (f *follower) staleWitness(w *witness, v *checkpoint.Verified) string {
	var newest int64
	for _, c := range v.Cosignatures {
		if slices.Contains(w.names, c.Witness) {
			newest = max(newest, c.Time)
		}
	}
	if newest == 0 {
		return fmt.Sprintf("witness %s shows a checkpoint that it has not cosigned", w.name())
	}
	if at := time.Unix(newest, 0); f.m.cfg.Now().Sub(at) > f.m.cfg.MaxAge {
		return fmt.Sprintf("what witness %s holds was cosigned at %s, more than %s ago", w.name(), at.UTC().Format(time.RFC3339), f.m.cfg.MaxAge)
	}
	return ""
}

// split raises that the log has shown a witness another history.
func (f *follower) split(ctx context.Context, w *witness, shown, held *signed, e *Evidence) error {
	g := f.finding(KindSplitView, fmt.Sprintf("the log signed another history for witness %s: %s", w.name(), e.Detail))
	g.Witness = w.name()
	// Once for what the witness holds, however much the log shows by now.
	g.ID = identify(g.Kind, g.Log, g.Witness, fmt.Sprint(held.Size), held.Root.String())
	e.Witness, e.Held, e.Shown = w.name(), string(held.note), string(shown.note)
	return f.prove(ctx, g, e)
}
