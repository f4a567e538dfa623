package main

import (
	"bytes"
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"time"

	"github.com/escortlog/escortlog/client/evidence"
	"github.com/escortlog/escortlog/client/view"
	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/spf13/cobra"
)

type sampleOptions struct {
	viewOptions
	query queryOptions
	n     int
	seed  string
	types []string
}

func newSampleCommand() *cobra.Command {
	var o sampleOptions
	cmd := &cobra.Command{
		Use:   "sample --n N --seed SEED [--session ID | --change ID | --person REF | --system ID] [--type TYPE]... --policy FILE",
		Short: "Draw a reproducible sample of verified leaves",
		Long: `Draws N leaves at random from those that answer a question (without one: from all
leaves), and shows them in the order of the log. Whoever has the log, the question
and the seed draws the same: each leaf has the rank

  SHA-256("escortlog sample v1\n" || uint64(len(seed)) || seed || uint64(index))

with both numbers big-endian, and the N smallest ranks are drawn. Leaves of context
are not drawn. Agree on the seed when the checkpoint is there: who knows it before
could know which leaves will be looked at. Seed and population are in the output.
What later records say about those drawn is shown where a question was asked.` + viewHelp,
		Example: `  escortlog sample --n 25 --seed 2025-07-01/dice-4-2-6 --type command.executed --policy policy.txt --format csv`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.addFlags(cmd)
	o.query.addFlags(cmd)
	// What a rule found is not a population to draw from: export holds all of it.
	if err := cmd.Flags().MarkHidden("rule"); err != nil {
		panic(err) // there is no such flag
	}
	f := cmd.Flags()
	f.IntVar(&o.n, "n", 25, "how many leaves to draw")
	f.StringVar(&o.seed, "seed", "", "any `text`; the same text draws the same leaves")
	f.StringArrayVar(&o.types, "type", nil, "only events of this `type`, as command.executed; may be repeated")
	config.CommandLineOnly(cmd, "n", "seed", "type")
	return cmd
}

func (o *sampleOptions) run(cmd *cobra.Command) error {
	switch {
	case o.seed == "":
		return usageErrorf("no seed: give --seed TEXT, so that others can draw the same")
	case o.n < 1 || o.n > 100_000:
		return usageErrorf("--n %d: want from 1 to 100000", o.n)
	case o.query.rule != "":
		return usageErrorf("--rule: draw from a session, a change, a person, a system, or the whole log")
	}
	q, err := o.query.query(true)
	if err != nil {
		return err
	}
	d, err := newDrawing(q, o)
	if err != nil {
		return err
	}
	from, code, err := o.read(cmd, d)
	if err != nil {
		return err
	}
	t, population, err := d.timeline()
	if err != nil {
		return withCode(exitIntegrity, err)
	}
	t.ID = q.String()
	from.Sample = &view.Sample{Seed: o.seed, Population: population, Drawn: int64(len(t.Lines)), Method: "smallest SHA-256 ranks, escortlog sample v1"}
	if err := t.Write(cmd.OutOrStdout(), view.Format(o.format), from); err != nil {
		return err
	}
	if len(t.Lines) == 0 {
		return &exitError{code: exitFindings, err: fmt.Errorf("none of the %d leaves is of that kind, so nothing was drawn", from.Size)}
	}
	if code != 0 {
		return &exitError{code: code} // the output says why
	}
	return nil
}

// drawing is fed with every leaf. Of the whole log it keeps the leaves of the
// smallest ranks only.
type drawing struct {
	options    *sampleOptions
	from, to   time.Time
	selector   *evidence.Selector // nil: the whole log
	leaves     int64
	population int64
	drawn      drawn
}

func newDrawing(q evidence.Query, o *sampleOptions) (*drawing, error) {
	d := &drawing{options: o}
	var err error
	if q.Kind != evidence.Log {
		if d.selector, err = evidence.NewSelector(q); err != nil {
			return nil, withCode(exitUsage, err)
		}
		return d, nil
	}
	if d.from, err = parseMoment("from", q.From); err == nil {
		d.to, err = parseMoment("to", q.To)
	}
	return d, err
}

// Add takes the next leaf.
func (d *drawing) Add(index int64, leaf []byte) error {
	d.leaves++
	if d.selector != nil {
		return d.selector.Add(index, leaf)
	}
	e, err := entry.Parse(leaf)
	if err != nil {
		return fmt.Errorf("leaf %d: %w", index, err)
	}
	ev, err := event.Parse(e.Payload)
	if err != nil {
		return fmt.Errorf("leaf %d: %w", index, err)
	}
	kind := ev.Type
	if t, known := event.Lookup(kind); known {
		kind = t.Short()
	}
	if !d.ofType(kind) || ev.Time.Before(d.from) || !d.to.IsZero() && !ev.Time.Before(d.to) {
		return nil
	}
	d.population++
	heap.Push(&d.drawn, drawnLeaf{index, evidence.Rank(d.options.seed, index), leaf})
	if len(d.drawn) > d.options.n {
		heap.Pop(&d.drawn)
	}
	return nil
}

// Leaves returns how many leaves were added.
func (d *drawing) Leaves() int64 { return d.leaves }

func (d *drawing) ofType(short string) bool {
	for _, t := range d.options.types {
		if t == short || t == event.Prefix+short+".v1" {
			return true
		}
	}
	return len(d.options.types) == 0
}

// timeline shows what was drawn, in the order of the log, and tells from how many.
func (d *drawing) timeline() (*view.Timeline, int64, error) {
	if d.selector == nil {
		b := view.NewPick("", d.drawn.indexes())
		for _, l := range d.drawn.inOrder() {
			if err := b.Add(l.index, l.leaf); err != nil {
				return nil, 0, err
			}
		}
		return b.Timeline(), d.population, nil
	}
	t := d.selector.Timeline()
	var population []int64
	lines := map[int64]view.Line{}
	for _, l := range t.Lines {
		if !l.Context && d.ofType(l.Type) {
			population = append(population, l.Index)
			lines[l.Index] = l
		}
	}
	out := &view.Timeline{Kind: view.Picked, Sessions: []string{}, Changes: []string{}, Lines: []view.Line{}}
	chosen := map[int64]bool{}
	for _, index := range evidence.Draw(d.options.seed, population, d.options.n) {
		chosen[index] = true
	}
	for _, index := range population {
		if chosen[index] {
			out.Lines = append(out.Lines, lines[index])
		}
	}
	return out, int64(len(population)), nil
}

// drawn is a heap whose top has the largest rank.
type drawn []drawnLeaf

type drawnLeaf struct {
	index int64
	rank  [32]byte
	leaf  []byte
}

func (d drawn) Len() int           { return len(d) }
func (d drawn) Less(i, j int) bool { return bytes.Compare(d[i].rank[:], d[j].rank[:]) > 0 }
func (d drawn) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *drawn) Push(x any)        { *d = append(*d, x.(drawnLeaf)) }
func (d *drawn) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}

func (d drawn) inOrder() []drawnLeaf {
	list := slices.Clone(d)
	slices.SortFunc(list, func(a, b drawnLeaf) int { return cmp.Compare(a.index, b.index) })
	return list
}

func (d drawn) indexes() (list []int64) {
	for _, l := range d {
		list = append(list, l.index)
	}
	return list
}
