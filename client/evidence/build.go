package evidence

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/client/view"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
)

// Config is what a pack is made from. All but Previous and All is required.
type Config struct {
	// Log serves the leaves and tiles again. It is not trusted.
	Log audit.Log
	// Report is that of an audit with rules which failed in nothing and read every
	// leaf; Selector was fed with each of them.
	Report   *audit.Report
	Selector *Selector
	// Policy and Rules are the files by which was audited.
	Policy, Rules []byte
	// Tool names the program and its version.
	Tool string
	// Previous is the note that the auditor had verified before; nil: none.
	Previous []byte
	// All puts all leaves into the pack, so that a reader can repeat the audit.
	All bool
}

var (
	// ErrNothing: no leaf answers the question.
	ErrNothing = errors.New("no leaf answers the question")
	// ErrHistory: the log does not extend the checkpoint that was verified before.
	ErrHistory = errors.New("the log does not extend the checkpoint that was verified before")
)

// Build makes a pack and verifies it as its reader will. Errors wrap ErrNothing,
// ErrTooLarge or ErrHistory, or are those of Config.Log.
func Build(ctx context.Context, cfg Config) ([]byte, *Manifest, error) {
	b := &build{cfg: cfg, why: map[int64][]string{}, tiles: map[tile.Tile][]byte{}}
	if err := b.choose(); err != nil {
		return nil, nil, err
	}
	for _, step := range []func(context.Context) error{b.fetch, b.previous, b.derive} {
		if err := step(ctx); err != nil {
			return nil, nil, err
		}
	}
	slices.SortFunc(b.files, func(x, y file) int { return bytes.Compare([]byte(x.name), []byte(y.name)) })
	b.manifest.Counts.Files = int64(len(b.files))
	b.manifest.Files = describe(b.files)
	size := 0
	for _, f := range b.files {
		if len(f.content) > maxFile {
			return nil, nil, fmt.Errorf("%w: %s has %d bytes", ErrTooLarge, f.name, len(f.content))
		}
		size += len(f.content) + 2*(lenLocal+46+maxName)
	}
	if size > MaxPack/2 || len(b.files) >= maxFiles {
		return nil, nil, fmt.Errorf("%w: %d leaves in %d files", ErrTooLarge, len(b.leaves), len(b.files))
	}
	pack, _ := writeArchive(append(b.files, file{nameManifest, b.manifest.marshal()}))
	r, err := Verify(ctx, pack, cfg.Policy)
	if err != nil {
		return nil, nil, err
	}
	if len(r.Problems) > 0 {
		return nil, nil, fmt.Errorf("the pack that was made does not verify: %s", r.Problems[0])
	}
	return pack, &b.manifest, nil
}

// build is one pack in the making.
type build struct {
	cfg      Config
	manifest Manifest
	timeline *view.Timeline     // nil for a rule
	why      map[int64][]string // leaves and what for
	leaves   []numbered         // in order
	files    []file
	report   audit.Report // with the findings that are about the leaves
	tiles    map[tile.Tile][]byte
}

func (b *build) add(name string, content []byte) { b.files = append(b.files, file{name, content}) }

func (b *build) want(index int64, what string) {
	if !slices.Contains(b.why[index], what) {
		b.why[index] = append(b.why[index], what)
	}
}

// choose decides which leaves are in the pack.
func (b *build) choose() error {
	r, s := b.cfg.Report, b.cfg.Selector
	if r.Head == nil || r.Genesis == nil || r.Rules == nil || s.leaves != r.Head.Size {
		return errors.New("a pack is made from an audit that read every leaf and asked the rules")
	}
	answer := map[int64]bool{}
	if s.query.Kind != Rule {
		b.timeline = s.Timeline()
		for _, l := range b.timeline.Lines {
			answer[l.Index] = true
			b.want(l.Index, map[bool]string{false: ForQuery, true: ForContext}[l.Context])
		}
	}
	b.report = *r
	judged := *r.Rules
	b.report.Rules, b.report.Evidence = &judged, ""
	verdicts, on, count := relevant(s.query, judged.Verdicts, answer)
	judged.Verdicts = verdicts
	if s.query.Kind == Rule {
		known := slices.ContainsFunc(verdicts, func(v rules.Verdict) bool { return v.Name == s.query.ID })
		if !known {
			return fmt.Errorf("%w: there is no rule %q", ErrNothing, s.query.ID)
		}
	}
	for _, i := range on {
		b.want(i, map[bool]string{true: ForQuery, false: ForFinding}[s.query.Kind == Rule])
	}
	if len(b.why) == 0 {
		return fmt.Errorf("%w: %s", ErrNothing, s.query)
	}
	for _, i := range s.authority {
		b.want(i, ForAuthority)
	}
	if b.cfg.All {
		for i := range r.Head.Size {
			if len(b.why[i]) == 0 {
				b.want(i, ForWhole)
			}
		}
	}
	b.manifest = Manifest{
		Version: Version, Tool: b.cfg.Tool, Query: s.query, Filters: filters(s.query), Origin: r.Origin, Genesis: hex.EncodeToString(r.Genesis[:]),
		Head: Head{Size: r.Head.Size, Root: r.Head.Root}, Policy: digest(b.cfg.Policy),
		Rules: digest(b.cfg.Rules), At: judged.At, Counts: Counts{Findings: count},
	}
	return nil
}

// filters say in words how the leaves were chosen.
func filters(q Query) []string {
	list := []string{
		map[view.Kind]string{
			view.Session: "query: every leaf that names the session",
			view.Change:  "query: every leaf that names the change",
			view.Person:  "query: every leaf that names the person",
			view.System:  "query: every leaf that names the system",
			Rule:         "query: every leaf on which a listed finding of the rule rests",
		}[q.Kind],
	}
	if q.From != "" || q.To != "" {
		list = append(list, "of those, the ones whose event happened in the time asked for (the event's own time)")
	}
	return append(list,
		"context: milestones of the sessions in which that happened, and every leaf that speaks about a leaf here",
		"finding: every leaf on which a finding about a leaf of query or context rests (at most 20 of one finding)",
		"authority: every leaf that says who may sign what, up to the checkpoint",
	)
}

// fetch gets the leaves and their proofs.
func (b *build) fetch(ctx context.Context) error {
	size, note := b.manifest.Head.Size, []byte(b.cfg.Report.Checkpoint)
	b.add(nameCheckpoint, note)
	wanted := slices.Sorted(maps.Keys(b.why))
	for i := 0; i < len(wanted); i++ {
		index := wanted[i]
		raw, err := b.leaf(ctx, index)
		if err != nil {
			return err
		}
		// Of a rule's findings, also what was said about those records later.
		if b.cfg.Selector.query.Kind == Rule && slices.Contains(b.why[index], ForQuery) {
			if _, ev, err := parseLeaf(raw); err == nil {
				for _, about := range b.cfg.Selector.about(index, entry.Identity(ev.Source, ev.ID)) {
					if slices.Contains(b.why[about], ForQuery) {
						continue
					}
					if len(b.why[about]) == 0 {
						wanted = append(wanted, about)
						slices.Sort(wanted)
					}
					b.want(about, ForContext)
				}
			}
		}
		hashes, err := tile.Inclusion(ctx, b.tile, index, size)
		if err != nil {
			return err
		}
		hash := entry.LeafHash(raw)
		if err := checkpoint.VerifyInclusion(hash, index, size, hashes, b.manifest.Head.Root); err != nil {
			return fmt.Errorf("the log serves another leaf %d now than when it was audited: %w", index, err)
		}
		p := checkpoint.Proof{Extra: checkpoint.LeafTimeExtra(entry.TimeOf(raw)), Index: index, Hashes: hashes, Checkpoint: note}
		b.add(nameLeaf(index), raw)
		b.add(nameProof(index), p.Marshal())
		b.leaves = append(b.leaves, numbered{index, raw})
		if len(b.files) > maxFiles {
			return fmt.Errorf("%w: %d leaves and more", ErrTooLarge, len(b.leaves))
		}
	}
	for _, l := range b.leaves {
		hash := entry.LeafHash(l.leaf)
		b.manifest.Leaves = append(b.manifest.Leaves, Leaf{Index: l.index, Hash: hex.EncodeToString(hash[:]), For: b.why[l.index]})
	}
	b.manifest.count()
	return nil
}

// count counts the leaves by what they are for.
func (m *Manifest) count() {
	c := &m.Counts
	c.Query, c.Context, c.Finding, c.Authority, c.Leaves = 0, 0, 0, 0, int64(len(m.Leaves))
	for _, l := range m.Leaves {
		for _, what := range l.For {
			switch what {
			case ForQuery:
				c.Query++
			case ForContext:
				c.Context++
			case ForFinding:
				c.Finding++
			case ForAuthority:
				c.Authority++
			}
		}
	}
	m.Whole = c.Leaves == m.Head.Size
}

// leaf fetches a leaf, with its bundle's others at hand for the next call.
func (b *build) leaf(ctx context.Context, index int64) ([]byte, error) {
	t := tile.Tile{Level: tile.Entries, N: index / tile.Width}
	t.W = tile.WidthAt(t.Level, t.N, b.manifest.Head.Size)
	packed, ok := b.tiles[t]
	if !ok {
		entries, err := b.cfg.Log.Bundle(ctx, t)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			packed = tile.AppendEntry(packed, e)
		}
		b.keep(t, packed)
	}
	entries, err := tile.SplitBundle(packed, t.W)
	if err != nil {
		return nil, err
	}
	return entries[index%tile.Width], nil
}

func (b *build) tile(ctx context.Context, t tile.Tile) ([]byte, error) {
	if data, ok := b.tiles[t]; ok {
		return data, nil
	}
	data, err := b.cfg.Log.Tile(ctx, t)
	if err == nil {
		b.keep(t, data)
	}
	return data, err
}

// maxTiles bounds the tiles and bundles at hand. Leaves are asked for in order.
const maxTiles = 64

func (b *build) keep(t tile.Tile, data []byte) {
	if len(b.tiles) >= maxTiles {
		clear(b.tiles)
	}
	b.tiles[t] = data
}

// previous adds the auditor's last checkpoint and how the log came from it.
func (b *build) previous(ctx context.Context) error {
	if b.cfg.Previous == nil {
		return nil
	}
	c, err := headOf(b.cfg.Previous)
	if err != nil {
		return fmt.Errorf("the checkpoint verified before: %w", err)
	}
	head := b.manifest.Head
	if c.Origin != b.manifest.Origin || c.Size > head.Size {
		return fmt.Errorf("%w: that was size %d of %q, this is size %d of %q", ErrHistory, c.Size, c.Origin, head.Size, b.manifest.Origin)
	}
	proof, err := tile.Consistency(ctx, b.tile, c.Size, head.Size)
	if err != nil {
		return err
	}
	if err := checkpoint.VerifyConsistency(c.Size, head.Size, c.Root, head.Root, proof); err != nil {
		return fmt.Errorf("%w, of size %d with root %s: %w", ErrHistory, c.Size, c.Root, err)
	}
	b.manifest.Previous = &Head{Size: c.Size, Root: c.Root}
	b.add(namePrevious, b.cfg.Previous)
	b.add(nameConsistency, marshalConsistency(proof))
	return nil
}

// derive adds what is made from the leaves.
func (b *build) derive(context.Context) error {
	b.manifest.Claims = claimsOf(b.cfg.Report, b.manifest.Whole)
	findings, err := marshalReport(&b.report)
	if err != nil {
		return err
	}
	b.add(nameFindings, findings)
	b.add(nameRules, b.cfg.Rules)
	d, err := directoryOf(b.leaves)
	if err != nil {
		return err
	}
	derived, t, err := render(&b.manifest, &b.report, b.leaves, d)
	if err != nil {
		return err
	}
	// From the pack alone must come what came from the whole log.
	if b.timeline != nil && !reflect.DeepEqual(b.timeline, t) {
		return errors.New("the pack's leaves give another timeline than the log; this is a defect of this program")
	}
	b.files = append(b.files, derived...)
	return nil
}

// claimsOf says what was proven to the maker of the pack.
func claimsOf(r *audit.Report, whole bool) []view.Claim {
	var list []view.Claim
	for _, c := range r.Claims {
		claim := view.Claim{Name: c.Name, Result: string(c.Result), Population: c.Population, Unit: c.Unit, Detail: c.Detail}
		if c.Name[:1] == "B" {
			claim = view.Claim{Name: c.Name, Result: view.Pass, Population: r.Head.Size, Unit: "leaves", Detail: "complete by full scan when the pack was made: every leaf of the checkpoint was asked; "}
			if whole {
				claim.Detail += "all leaves are in the pack, so its reader can prove it again"
			} else {
				claim.Detail += "not all leaves are in the pack, so its reader cannot prove that again offline"
			}
		}
		list = append(list, claim)
	}
	return list
}

func marshalReport(r *audit.Report) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(r)
	return b.Bytes(), err
}

func parseLeaf(raw []byte) (*entry.Entry, *event.Event, error) {
	e, err := entry.Parse(raw)
	if err != nil {
		return nil, nil, err
	}
	ev, err := event.Parse(e.Payload)
	return e, ev, err
}
