package evidence

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/view"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// Problem is something in a pack that is not as it has to be.
type Problem struct {
	Place  string `json:"place"` // a file of the pack, or a part of the pack itself
	Detail string `json:"detail"`
}

func (p Problem) String() string { return p.Place + ": " + p.Detail }

// Result is what a verification of a pack has found.
type Result struct {
	SHA256   string    `json:"sha256"`   // of the pack, hex
	Problems []Problem `json:"problems"` // none: everything below is proven
	// Manifest is what the pack says of itself; nil where that cannot be read.
	Manifest *Manifest `json:"-"`
	// Verified is the checkpoint and who signed it; nil where nobody's word counts.
	Verified   *checkpoint.Verified `json:"-"`
	Signatures int64                `json:"signatures"` // that verified
	// Claims are those that this verification has proven, or has not.
	Claims []view.Claim `json:"claims"`
	// Notes are about what is proven and should be known.
	Notes []string `json:"notes"`

	archive *archive
}

// Verify verifies a pack of size bytes offline: nothing in it is believed but what
// signatures and hashes prove, under the reader's own policy, the text of a policy
// file. What is kept in memory grows with the number of leaves and with the answer
// that report.html shows, not with the bytes of the pack. The error is about that
// policy file, or the end of the context.
func Verify(ctx context.Context, pack io.ReaderAt, size int64, policyFile []byte) (*Result, error) {
	return VerifyProgress(ctx, pack, size, policyFile, nil)
}

// VerifyProgress is Verify, and tells of each leaf whose proof was verified.
func VerifyProgress(ctx context.Context, pack io.ReaderAt, size int64, policyFile []byte, progress func(n int64)) (*Result, error) {
	if progress == nil {
		progress = func(int64) {}
	}
	policy, err := checkpoint.ParsePolicy(policyFile)
	if err != nil {
		return nil, fmt.Errorf("the policy: %w", err)
	}
	v := &verifier{ctx: ctx, policy: policy, progress: progress, policyDigest: digest(policyFile), Result: &Result{Problems: []Problem{}, Claims: []view.Claim{}, Notes: []string{}}}
	v.run(pack, size)
	return v.Result, ctx.Err()
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// run looks at everything, as far as what it rests on is right.
func (v *verifier) run(pack io.ReaderAt, size int64) {
	var problems []Problem
	v.archive, problems = readArchive(pack, size)
	v.Problems = append(v.Problems, problems...)
	v.SHA256 = v.archive.sha256
	v.manifest()
	// What follows looks for files by name; where one is missing that was said.
	if v.Manifest == nil {
		return
	}
	v.checkpoint()
	v.proofs()
	if len(v.Problems) > 0 || v.Verified == nil {
		return // what follows would only say it again in other words
	}
	v.previous()
	v.leaves()
	if v.ctx.Err() != nil {
		return
	}
	v.derived()
	if len(v.Problems) == 0 {
		v.conclude()
	}
}

// Find returns the leaf of that hash in a verified pack.
func (r *Result) Find(leafHash string) (*entry.Entry, tlog.Hash, bool) {
	if r.Manifest == nil {
		return nil, tlog.Hash{}, false
	}
	var wanted Digest
	if wanted.UnmarshalText([]byte(leafHash)) != nil {
		return nil, tlog.Hash{}, false
	}
	for _, l := range r.Manifest.Leaves {
		if l.Hash != wanted {
			continue
		}
		raw, err := r.leaf(l.Index)
		if err != nil {
			return nil, tlog.Hash{}, false
		}
		hash := entry.LeafHash(raw)
		e, err := entry.Parse(raw)
		return e, hash, err == nil && Digest(hash) == wanted
	}
	return nil, tlog.Hash{}, false
}

// leaf reads a leaf.
func (r *Result) leaf(index int64) ([]byte, error) {
	m := r.archive.find(nameLeaf(index))
	if m == nil {
		return nil, fmt.Errorf("leaf %d is not in the pack", index)
	}
	return r.archive.read(m, tile.MaxEntry, nil)
}

type verifier struct {
	*Result
	ctx      context.Context
	policy   *checkpoint.Policy
	progress func(n int64)
	// policyDigest is that of the reader's policy file.
	policyDigest string
	directory    *event.Directory
	timeline     *view.Timeline
	report       audit.Report
}

// content returns a file of at most most bytes, nil where it is not there or
// cannot be used; then that was said.
func (v *verifier) content(name string, most int64) []byte { return v.contentIn(nil, name, most) }

// contentIn is content, in buf where that is large enough.
func (v *verifier) contentIn(buf []byte, name string, most int64) []byte {
	m := v.archive.find(name)
	if m == nil {
		return nil
	}
	content, err := v.archive.read(m, most, buf)
	if err != nil {
		v.bad(name, "%v", err)
	}
	return content
}

func (v *verifier) bad(place, format string, args ...any) {
	v.Problems = append(v.Problems, Problem{Place: place, Detail: fmt.Sprintf(format, args...)})
}

// maxListed bounds what a manifest says of one file, and maxSaid the rest, in bytes.
const (
	maxListed = 1 << 10
	maxSaid   = 1 << 20
)

// manifest holds every file against the manifest.
func (v *verifier) manifest() {
	at, found := slices.BinarySearchFunc(v.archive.members, nameManifest, byName)
	if !found {
		v.bad(nameManifest, "is missing, so nothing says what should be here")
		return
	}
	file := v.archive.members[at]
	if file.Size > maxSaid+maxListed*int64(len(v.archive.members)) {
		v.bad(nameManifest, "has %d bytes, too many for a pack of %d files", file.Size, len(v.archive.members))
		return
	}
	v.archive.members = slices.Delete(v.archive.members, at, at+1) // it does not list itself
	there := inventory{rest: v.archive.members}
	m, err := parseManifest(v.archive.open(&file), v.archive.open(&file), there.listed)
	if err != nil {
		v.bad(nameManifest, "%v", err)
		return
	}
	v.Manifest = m
	there.end(unlisted)
	v.Problems = append(v.Problems, there.problems...)
	if len(there.problems) > 0 {
		return
	}
	m.Files = v.archive.members // what it lists is what is there
	v.leafFiles()
}

// inventory holds the files that a manifest lists, in the order of their names,
// against those that are there.
type inventory struct {
	rest     []File // that are there and not yet listed
	last     string // name that was listed last
	problems []Problem
}

func (n *inventory) bad(place, format string, args ...any) {
	n.problems = append(n.problems, Problem{Place: place, Detail: fmt.Sprintf(format, args...)})
}

// listed takes the next file of the list.
func (n *inventory) listed(said *File) {
	if said.Name <= n.last {
		n.bad(nameManifest, "lists %s after %s, twice or not in the order of their names", said.Name, n.last)
		return
	}
	n.last = said.Name
	file := n.take(said.Name, unlisted)
	switch {
	case file == nil:
		n.bad(said.Name, "is missing: the manifest lists it")
	case file.Size != said.Size || file.SHA256 != said.SHA256:
		n.bad(said.Name, "was changed: it has %d bytes and the SHA-256 %s, the manifest says %d and %s", file.Size, file.SHA256, said.Size, said.SHA256)
	}
}

const unlisted = "was added: the manifest does not list it"

// take returns the file of a name, nil where there is none, and says why those that
// stand before it should not.
func (n *inventory) take(name, why string) *File {
	for len(n.rest) > 0 && n.rest[0].Name <= name {
		file := &n.rest[0]
		n.rest = n.rest[1:]
		if file.Name == name {
			return file
		}
		n.bad(file.Name, "%s", why)
	}
	return nil
}

// end: nothing else should be there.
func (n *inventory) end(why string) {
	for i := range n.rest {
		n.bad(n.rest[i].Name, "%s", why)
	}
}

// leafFiles: the leaves that the manifest lists and the files are the same.
func (v *verifier) leafFiles() {
	m := v.Manifest
	for i, l := range m.Leaves {
		if l.Index < 0 || l.Index >= m.Head.Size || i > 0 && l.Index <= m.Leaves[i-1].Index {
			v.bad(nameManifest, "lists leaf %d, which is not in the order of a log of %d leaves", l.Index, m.Head.Size)
			return
		}
	}
	const aboutNothing = "was added: it is about no leaf that the manifest lists"
	there := inventory{rest: m.Files}
	for name := range m.expected() {
		if there.take(name, aboutNothing) == nil {
			there.bad(name, "is missing: every pack has it, or the manifest lists its leaf")
		}
	}
	there.end(aboutNothing)
	v.Problems = append(v.Problems, there.problems...)
	counted, said := *m, m.Counts
	counted.count()
	counted.Counts.Findings, counted.Counts.Files = said.Findings, int64(len(m.Files))
	if counted.Counts != said || counted.Whole != m.Whole {
		v.bad(nameManifest, "counts %+v where there are %+v", said, counted.Counts)
	}
}

// checkpoint holds the checkpoint against the policy and the manifest.
func (v *verifier) checkpoint() {
	note := v.content(nameCheckpoint, checkpoint.MaxNote)
	if note == nil {
		return
	}
	verified, err := v.policy.Verify(note)
	if err != nil {
		v.bad(nameCheckpoint, "%v", err)
		return
	}
	v.Verified = verified
	if h := v.Manifest.Head; verified.Origin != v.Manifest.Origin || verified.Size != h.Size || verified.Root != h.Root {
		v.bad(nameManifest, "names size %d and root %s of %q, the checkpoint has size %d and root %s of %q",
			h.Size, h.Root, v.Manifest.Origin, verified.Size, verified.Root, verified.Origin)
	}
}

// proofs proves that every leaf is in the log.
func (v *verifier) proofs() {
	var proofs checkpoint.ProofParser
	var leafBuf, proofBuf []byte
	for _, l := range v.Manifest.Leaves {
		if v.Verified == nil || v.ctx.Err() != nil {
			return
		}
		leaf := v.contentIn(leafBuf, nameLeaf(l.Index), tile.MaxEntry)
		text := v.contentIn(proofBuf, nameProof(l.Index), checkpoint.MaxProof)
		if leaf == nil || text == nil {
			continue // that was said
		}
		leafBuf, proofBuf = leaf, text
		hash := entry.LeafHash(leaf)
		if l.Hash != Digest(hash) {
			v.bad(nameLeaf(l.Index), "hashes to %x, the manifest says %s", hash[:], l.Hash)
			continue
		}
		p, err := proofs.Parse(text)
		switch {
		case err != nil:
			v.bad(nameProof(l.Index), "%v", err)
		case p.Index != l.Index:
			v.bad(nameProof(l.Index), "is about leaf %d", p.Index)
		case !bytes.Equal(p.Checkpoint, v.Verified.Note):
			v.bad(nameProof(l.Index), "bears another checkpoint than the pack")
		case !bytes.Equal(p.Extra, checkpoint.LeafTimeExtra(entry.TimeOf(leaf))):
			v.bad(nameProof(l.Index), "names another time than its leaf")
		default:
			if err := checkpoint.VerifyInclusion(hash, l.Index, v.Verified.Size, p.Hashes, v.Verified.Root); err != nil {
				v.bad(nameLeaf(l.Index), "is not proven to be in the log: %v", err)
			}
			v.progress(1)
		}
	}
}

// previous proves that the log extends what was verified before.
func (v *verifier) previous() {
	m := v.Manifest
	if m.Previous == nil {
		return
	}
	old, err := v.policy.Verify(v.content(namePrevious, checkpoint.MaxNote))
	if err != nil {
		v.bad(namePrevious, "%v", err)
		return
	}
	if old.Origin != m.Origin || old.Size != m.Previous.Size || old.Root != m.Previous.Root {
		v.bad(namePrevious, "is not the one that the manifest names")
		return
	}
	proof, err := parseConsistency(v.content(nameConsistency, maxConsistency))
	if err == nil {
		err = checkpoint.VerifyConsistency(old.Size, v.Verified.Size, old.Root, v.Verified.Root, proof)
	}
	if err != nil {
		v.bad(nameConsistency, "does not lead from size %d to size %d: %v", old.Size, v.Verified.Size, err)
	}
}

// maxConsistency bounds a consistency proof, in bytes: at most 64 hashes or so.
const maxConsistency = 8 << 10

// leaves verifies every leaf by the keys that the authority leaves before it
// registered, and makes the timeline.
func (v *verifier) leaves() {
	m := v.Manifest
	v.directory = event.NewDirectory()
	answer := newBuilder(m.Query, m.chosen())
	var before int64 // time of the leaf before, ms
	for _, l := range m.Leaves {
		if v.ctx.Err() != nil {
			return
		}
		raw, err := v.leaf(l.Index)
		if err == nil {
			before, err = v.judge(&l, raw, before)
		}
		if err == nil {
			err = answer.Add(l.Index, raw)
		}
		if err != nil {
			v.bad(nameLeaf(l.Index), "%v", err)
		}
	}
	if v.directory.Origin() != m.Origin || len(m.Leaves) == 0 || m.Leaves[0].Index != 0 || m.Leaves[0].Hash.String() != m.Genesis {
		v.genesis()
	}
	v.compromised()
	var err error
	if v.timeline, err = timelineOf(answer, m.Query); err != nil {
		v.bad(nameManifest, "its question: %v", err)
	}
}

// genesis says what is wrong about leaf 0.
func (v *verifier) genesis() {
	if len(v.Manifest.Leaves) == 0 || v.Manifest.Leaves[0].Index != 0 {
		v.bad(nameLeaf(0), "is missing: it founds the log and names its administrators")
		return
	}
	v.bad(nameManifest, "names another leaf 0 than the one in the pack, or another log than it founds")
}

// judge verifies one leaf and returns the newest time so far, in ms.
func (v *verifier) judge(l *Leaf, raw []byte, before int64) (int64, error) {
	e, ev, err := parseLeaf(raw)
	if err != nil {
		return before, err
	}
	if e.Time < before {
		v.bad(nameLeaf(l.Index), "its time %d ms is before that of a leaf before it, %d ms", e.Time, before)
	}
	before = max(before, e.Time)
	authority := event.IsAuthority(ev.Type)
	if authority != slices.Contains(l.For, ForAuthority) {
		v.bad(nameManifest, "says of leaf %d, which is %s, that it is in the pack for %v", l.Index, ev.Type, l.For)
	}
	jobs, err := v.directory.Decide(l.Index, e, ev)
	if err != nil {
		return before, err
	}
	if authority { // Decide has verified and applied it
		v.Signatures += int64(len(e.Signatures))
		return before, nil
	}
	for _, j := range jobs {
		if err := j.Verify(); err != nil {
			return before, err
		}
		v.Signatures++
	}
	return before, event.Validate(ev, v.directory.AllowOpaque())
}

// compromised says which leaves bear signatures that prove nothing any more.
func (v *verifier) compromised() {
	since := v.directory.Compromised()
	if len(since) == 0 {
		return
	}
	for _, l := range v.Manifest.Leaves {
		raw, err := v.leaf(l.Index)
		if err != nil {
			continue // that was said
		}
		e, err := entry.Parse(raw)
		if err != nil {
			continue // that was said
		}
		for _, s := range e.Signatures {
			if t, ok := since[s.KeyID]; ok && e.Time >= t.UnixMilli() {
				v.Notes = append(v.Notes, fmt.Sprintf("leaf %d was signed by %s after that key was compromised: it does not prove who wrote it", l.Index, s.KeyID))
			}
		}
	}
}

// derived makes again what was made from the leaves.
func (v *verifier) derived() {
	m := v.Manifest
	findings, rulesFile := v.content(nameFindings, maxInMemory), v.content(nameRules, maxInMemory)
	if m.Rules != digest(rulesFile) {
		v.bad(nameRules, "is not the file whose digest the manifest names")
	}
	if err := json.Unmarshal(findings, &v.report); err != nil || v.report.Rules == nil {
		v.bad(nameFindings, "is no report of an audit with rules (%v)", err)
		return
	}
	again, err := marshalReport(&v.report)
	switch {
	case err != nil || !bytes.Equal(again, findings):
		v.bad(nameFindings, "is not spelled as a report is")
	case v.report.Checkpoint != string(v.Verified.Note):
		v.bad(nameFindings, "is about another checkpoint")
	case v.report.Rules.Digest != m.Rules || v.report.Rules.At != m.At:
		v.bad(nameFindings, "is about other rules or another time than the manifest")
	}
	if len(v.Problems) > 0 {
		return
	}
	answer := map[int64]bool{}
	for _, l := range m.Leaves {
		if slices.Contains(l.For, ForQuery) || slices.Contains(l.For, ForContext) {
			answer[l.Index] = true
		}
	}
	_, on, count := relevant(m.Query, v.report.Rules.Verdicts, answer)
	if count != m.Counts.Findings {
		v.bad(nameFindings, "has %d findings about leaves here, the manifest says %d", count, m.Counts.Findings)
	}
	for _, i := range on {
		if v.archive.find(nameLeaf(i)) == nil {
			v.bad(nameLeaf(i), "is missing: a finding rests on it")
		}
	}
	bare := *m
	bare.Files = nil
	for _, f := range append(peopleFiles(&bare, &v.report, v.timeline, v.directory), keysFile(v.directory)) {
		c := &comparer{in: bufio.NewReader(v.archive.open(v.archive.find(f.name)))}
		err := f.write(c)
		if err == nil {
			err = c.end()
		}
		if err != nil {
			v.bad(f.name, "does not say what the leaves and the manifest say: %v", err)
		}
	}
	v.chosen(v.timeline)
}

// chosen: the manifest says of each leaf what it answers, as the leaves do.
func (v *verifier) chosen(t *view.Timeline) {
	lines := map[int64]string{}
	for _, l := range t.Lines {
		lines[l.Index] = map[bool]string{false: ForQuery, true: ForContext}[l.Context]
	}
	for _, l := range v.Manifest.Leaves {
		said := ""
		for _, what := range l.For {
			if what == ForQuery || what == ForContext {
				said = what
			}
		}
		if said != lines[l.Index] {
			v.bad(nameManifest, "says that leaf %d is here for %q, by the question it is for %q", l.Index, said, lines[l.Index])
		}
	}
}

// conclude says which claims were proven here.
func (v *verifier) conclude() {
	m := v.Manifest
	n := int64(len(m.Leaves))
	if m.Policy != v.policyDigest {
		v.Notes = append(v.Notes, fmt.Sprintf("it was verified by the policy %s; its maker audited by another, %s", v.policyDigest, m.Policy))
	}
	if !m.Whole {
		unproven := func(name string, population int64, unit, detail string) {
			v.Claims = append(v.Claims, view.Claim{Name: name, Result: view.NotEvaluable, Population: population, Unit: unit, Detail: detail})
		}
		said := fmt.Sprintf("proven to the maker of the pack by a full scan; not provable again from this pack, which holds %d of %d leaves", n, m.Head.Size)
		unproven("A log", n, "leaves", said)
		unproven("B query", n, "leaves", said)
		unproven("C source", 0, "sources", "as the maker of the pack found it: see findings.json")
		unproven("D world", 0, "records", "not checked here: whether everything that happened was logged")
		v.Notes = append(v.Notes,
			"findings.json and the verdicts in it are the maker's word: rules look at the whole log, which is not here",
			"that no authority event (a revoked key, say) came after those in the pack is the maker's word too")
		return
	}
	v.repeat()
}

// repeat audits the whole log again, out of the pack.
func (v *verifier) repeat() {
	m := v.Manifest
	again, answer, err := v.reaudit()
	if err != nil {
		v.bad("the pack", "the audit cannot be repeated: %v", err)
		return
	}
	for _, f := range again.Failures {
		v.bad("the pack", "its leaves fail the audit: %s: %s", f.Verdict, f.Detail)
	}
	same := reflect.DeepEqual(again.Rules.Verdicts, v.report.Rules.Verdicts)
	if m.Policy == v.policyDigest {
		// Under the maker's policy nothing at all may differ.
		text, err := marshalReport(again)
		said, saidErr := marshalReport(&v.report)
		same = err == nil && saidErr == nil && bytes.Equal(text, said)
	}
	if !same {
		v.bad(nameFindings, "is not what the audit of the pack's leaves says")
	}
	for _, l := range m.Leaves {
		if in := slices.Contains(l.For, ForQuery) || slices.Contains(l.For, ForContext); in != answer[l.Index] {
			v.bad(nameManifest, "is wrong about whether leaf %d answers the question", l.Index)
		}
	}
	for _, c := range again.Claims {
		out := view.Claim{Name: c.Name, Result: string(c.Result), Population: c.Population, Unit: c.Unit, Detail: c.Detail}
		if c.Name[:1] == "B" {
			out = view.Claim{Name: c.Name, Result: view.Pass, Population: m.Head.Size, Unit: "leaves", Detail: "complete by full scan: the pack holds every leaf of the checkpoint, and each was asked"}
		}
		v.Claims = append(v.Claims, out)
	}
}

// CheckDisclosures holds disclosures against the leaves of a verified pack. Each
// has to name its leaf. Errors wrap client.ErrDisclosure.
func (r *Result) CheckDisclosures(list []client.Disclosure) (map[string][]client.Committed, error) {
	byLeaf := map[string][]client.Disclosure{}
	for _, d := range list {
		if d.LeafHash == "" {
			return nil, fmt.Errorf("%w: that of %s names no leaf of the pack", client.ErrDisclosure, d.Commitment.Digest)
		}
		byLeaf[d.LeafHash] = append(byLeaf[d.LeafHash], d)
	}
	out := map[string][]client.Committed{}
	for name, ds := range byLeaf {
		e, hash, ok := r.Find(name)
		if !ok {
			return nil, fmt.Errorf("%w: the leaf %s is not in the pack", client.ErrDisclosure, name)
		}
		committed, err := client.CheckDisclosures(e, hash, ds)
		if err != nil {
			return nil, fmt.Errorf("leaf %s: %w", name, err)
		}
		out[name] = committed
	}
	return out, nil
}
