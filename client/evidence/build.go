package evidence

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// Config is what a pack is made from. All but Previous, All and Progress is required.
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
	// Progress is told of each leaf that was written or verified; may be nil.
	Progress func(n int64)
}

var (
	// ErrNothing: no leaf answers the question.
	ErrNothing = errors.New("no leaf answers the question")
	// ErrHistory: the log does not extend the checkpoint that was verified before.
	ErrHistory = errors.New("the log does not extend the checkpoint that was verified before")
)

// Pack is where a pack is written and then read: an empty *os.File is one.
type Pack interface {
	io.Writer
	io.ReaderAt
}

// Built is a pack that was made.
type Built struct {
	Manifest *Manifest
	Size     int64  // bytes
	SHA256   string // hex
}

// Build makes a pack and verifies it as its reader will. Leaves are read, written
// and verified one after another. Errors wrap ErrNothing, ErrTooLarge or
// ErrHistory, or are those of Config.Log or of the pack's file.
func Build(ctx context.Context, cfg Config, out Pack) (*Built, error) {
	b := &build{cfg: cfg, why: map[int64][]string{}, reasons: reasons{}, bundles: map[int64][][]byte{}, tiles: map[tile.Tile]*tile.Nodes{}, directory: event.NewDirectory(), archive: newArchiveWriter(out)}
	if err := b.choose(); err != nil {
		return nil, err
	}
	// In the order of the names of what they write.
	for _, step := range []func(context.Context) error{b.widen, b.authority, b.previous, b.findings, b.leaves, b.rest} {
		if err := step(ctx); err != nil {
			return nil, err
		}
		if b.archive.err != nil {
			return nil, b.archive.err
		}
	}
	size, err := b.archive.close()
	if err != nil {
		return nil, err
	}
	r, err := VerifyProgress(ctx, out, size, cfg.Policy, cfg.Progress)
	if err != nil {
		return nil, err
	}
	if len(r.Problems) > 0 {
		return nil, fmt.Errorf("the pack that was made does not verify: %s", r.Problems[0])
	}
	return &Built{Manifest: &b.manifest, Size: size, SHA256: r.SHA256}, nil
}

// build is one pack in the making.
type build struct {
	cfg       Config
	archive   *archiveWriter
	manifest  Manifest
	timeline  *view.Timeline     // nil for a rule
	why       map[int64][]string // leaves and what for
	reasons   reasons
	report    audit.Report       // with the findings that are about the leaves
	directory *event.Directory   // of the authority leaves
	proof     []byte             // that the log extends Config.Previous
	bundles   map[int64][][]byte // what was read last
	tiles     map[tile.Tile]*tile.Nodes
}

func (b *build) want(index int64, what string) {
	if !slices.Contains(b.why[index], what) {
		b.why[index] = b.reasons.one(append(slices.Clip(b.why[index]), what))
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

// widen adds what was said later about the records on which a rule's findings rest.
func (b *build) widen(ctx context.Context) error {
	if b.cfg.Selector.query.Kind != Rule {
		return nil
	}
	for _, index := range slices.Sorted(maps.Keys(b.why)) {
		if !slices.Contains(b.why[index], ForQuery) {
			continue
		}
		raw, err := b.leaf(ctx, index)
		if err != nil {
			return err
		}
		_, ev, err := parseLeaf(raw)
		if err != nil {
			continue // no event speaks about what is none
		}
		for _, about := range b.cfg.Selector.about(index, entry.Identity(ev.Source, ev.ID)) {
			if !slices.Contains(b.why[about], ForQuery) {
				b.want(about, ForContext)
			}
		}
	}
	return nil
}

// authority builds the key directory.
func (b *build) authority(ctx context.Context) error {
	for _, index := range b.cfg.Selector.authority {
		raw, err := b.leaf(ctx, index)
		if err != nil {
			return err
		}
		e, ev, err := parseLeaf(raw)
		if err == nil {
			err = b.directory.Apply(index, entry.LeafHash(raw), e, ev)
		}
		if err != nil {
			return fmt.Errorf("leaf %d: %w", index, err)
		}
	}
	return nil
}

// findings writes what stands before the leaves.
func (b *build) findings(context.Context) error {
	b.archive.add(nameCheckpoint, []byte(b.cfg.Report.Checkpoint))
	text, err := marshalReport(&b.report)
	if err != nil {
		return err
	}
	if len(text) > maxInMemory || len(b.cfg.Rules) > maxInMemory {
		return fmt.Errorf("%w: its findings have %d bytes", ErrTooLarge, len(text))
	}
	b.archive.add(nameFindings, text)
	keys := keysFile(b.directory)
	b.archive.stream(keys.name, keys.write)
	return nil
}

// leaves writes the leaves and their proofs, and makes the timeline of them.
func (b *build) leaves(ctx context.Context) error {
	m, note := &b.manifest, []byte(b.cfg.Report.Checkpoint)
	for _, index := range slices.Sorted(maps.Keys(b.why)) {
		m.Leaves = append(m.Leaves, Leaf{Index: index, For: b.why[index]})
	}
	m.count()
	answer := newBuilder(m.Query, m.chosen())
	for i := range m.Leaves {
		l := &m.Leaves[i]
		raw, err := b.leaf(ctx, l.Index)
		if err != nil {
			return err
		}
		hash := entry.LeafHash(raw)
		l.Hash = Digest(hash)
		hashes, err := tile.InclusionFromNodes(ctx, b.nodes, l.Index, m.Head.Size)
		if err != nil {
			return err
		}
		if err := checkpoint.VerifyInclusion(hash, l.Index, m.Head.Size, hashes, m.Head.Root); err != nil {
			return fmt.Errorf("the log serves another leaf %d now than when it was audited: %w", l.Index, err)
		}
		if err := answer.Add(l.Index, raw); err != nil {
			return err
		}
		p := checkpoint.Proof{Extra: checkpoint.LeafTimeExtra(entry.TimeOf(raw)), Index: l.Index, Hashes: hashes, Checkpoint: note}
		b.archive.add(nameLeaf(l.Index), raw)
		b.archive.add(nameProof(l.Index), p.Marshal())
		if b.cfg.Progress != nil {
			b.cfg.Progress(1)
		}
		if b.archive.err != nil {
			return b.archive.err
		}
	}
	t, err := timelineOf(answer, m.Query)
	if err != nil {
		return err
	}
	// From the pack alone must come what came from the whole log.
	if b.timeline != nil && !reflect.DeepEqual(b.timeline, t) {
		return errors.New("the pack's leaves give another timeline than the log; this is a defect of this program")
	}
	b.timeline = t
	return nil
}

// rest writes the manifest, which names every file, and what stands after it.
func (b *build) rest(context.Context) error {
	m := &b.manifest
	m.Claims = claimsOf(b.cfg.Report, m.Whole)
	after := []derived{{nameRules, func(w io.Writer) error {
		_, err := w.Write(b.cfg.Rules)
		return err
	}}}
	if b.cfg.Previous != nil {
		for name, content := range map[string][]byte{namePrevious: b.cfg.Previous, nameConsistency: b.proof} {
			after = append(after, derived{name, func(w io.Writer) error {
				_, err := w.Write(content)
				return err
			}})
		}
	}
	m.Counts.Files = int64(len(b.archive.members) + len(after) + 2)
	// The report shows the manifest without the list of files, which comes after it.
	shown := *m
	after = append(after, peopleFiles(&shown, &b.report, b.timeline, b.directory)...)
	slices.SortFunc(after, func(x, y derived) int { return cmp.Compare(x.name, y.name) })
	m.Files = slices.Clone(b.archive.members)
	for _, f := range after {
		measured, err := measure(f.name, f.write)
		if err != nil {
			return err
		}
		m.Files = append(m.Files, measured)
	}
	b.archive.stream(nameManifest, m.write)
	for _, f := range after {
		b.archive.stream(f.name, f.write)
	}
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

// maxKept bounds the bundles and tiles at hand. Leaves are asked for in order.
const maxKept = 64

// leaf fetches a leaf, with its bundle's others at hand for the next call.
func (b *build) leaf(ctx context.Context, index int64) ([]byte, error) {
	n := index / tile.Width
	entries, ok := b.bundles[n]
	if !ok {
		var err error
		entries, err = b.cfg.Log.Bundle(ctx, tile.Tile{Level: tile.Entries, N: n, W: tile.WidthAt(tile.Entries, n, b.manifest.Head.Size)})
		if err != nil {
			return nil, err
		}
		if len(b.bundles) > 1 {
			clear(b.bundles)
		}
		b.bundles[n] = entries
	}
	return entries[index%tile.Width], nil
}

func (b *build) nodes(ctx context.Context, t tile.Tile) (*tile.Nodes, error) {
	if nodes, ok := b.tiles[t]; ok {
		return nodes, nil
	}
	data, err := b.cfg.Log.Tile(ctx, t)
	if err != nil {
		return nil, err
	}
	nodes, err := tile.NewNodes(data)
	if err != nil {
		return nil, err
	}
	if len(b.tiles) >= maxKept {
		clear(b.tiles)
	}
	b.tiles[t] = nodes
	return nodes, nil
}

// previous proves how the log came from the auditor's last checkpoint.
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
	proof, err := tile.Consistency(ctx, b.cfg.Log.Tile, c.Size, head.Size)
	if err != nil {
		return err
	}
	if err := checkpoint.VerifyConsistency(c.Size, head.Size, c.Root, head.Root, proof); err != nil {
		return fmt.Errorf("%w, of size %d with root %s: %w", ErrHistory, c.Size, c.Root, err)
	}
	b.manifest.Previous = &Head{Size: c.Size, Root: c.Root}
	b.proof = marshalConsistency(proof)
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
