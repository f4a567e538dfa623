package evidence

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/client/view"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
)

// diskLog is the sample log, as files.
type diskLog string

func (d diskLog) Checkpoint(context.Context) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(d), "checkpoint"))
}

func (d diskLog) Tile(_ context.Context, t tile.Tile) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(d), filepath.FromSlash(t.Path())))
}

func (d diskLog) Bundle(ctx context.Context, t tile.Tile) ([][]byte, error) {
	data, err := d.Tile(ctx, t)
	if err != nil {
		return nil, err
	}
	return tile.SplitBundle(data, t.W)
}

const sample = diskLog("../../testdata/log")

func policyFile(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile("../../testdata/policies/good/two-of-three.policy")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// audited audits the sample log once.
var audited = sync.OnceValues(func() (*audit.Report, error) {
	text, err := os.ReadFile("../../testdata/policies/good/two-of-three.policy")
	if err != nil {
		return nil, err
	}
	policy, err := checkpoint.ParsePolicy(text)
	if err != nil {
		return nil, err
	}
	return audit.Run(context.Background(), audit.Config{Log: sample, Policy: policy, Rules: rules.Default(),
		At: time.Date(2025, time.July, 1, 0, 0, 0, 0, time.UTC)})
})

// ask makes a pack of the sample log.
func ask(t testing.TB, q Query, change ...func(*Config)) ([]byte, *Manifest, error) {
	t.Helper()
	r, err := audited()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSelector(q)
	if err != nil {
		t.Fatal(err)
	}
	for n := int64(0); n*tile.Width < r.Head.Size; n++ {
		entries, err := sample.Bundle(context.Background(), tile.Tile{Level: tile.Entries, N: n, W: tile.WidthAt(tile.Entries, n, r.Head.Size)})
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range entries {
			if err := s.Add(n*tile.Width+int64(i), e); err != nil {
				t.Fatal(err)
			}
		}
	}
	cfg := Config{Log: sample, Report: r, Selector: s, Policy: policyFile(t), Rules: rules.DefaultFile(), Tool: "test"}
	for _, c := range change {
		c(&cfg)
	}
	var pack memory
	built, err := Build(context.Background(), cfg, &pack)
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(pack)
	if built.Size != int64(len(pack)) || built.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("%+v of %d bytes", built, len(pack))
	}
	return pack, built.Manifest, nil
}

// memory is where packs are made in tests.
type memory []byte

func (m *memory) Write(p []byte) (int, error) {
	*m = append(*m, p...)
	return len(p), nil
}

func (m *memory) ReadAt(p []byte, at int64) (int, error) { return bytes.NewReader(*m).ReadAt(p, at) }

// file is a file in a pack.
type file struct {
	name    string
	content []byte
}

// pack packs files as a forger would: in any order, any of them twice.
func pack(files []file) []byte {
	var out bytes.Buffer
	var members []File
	for _, f := range files {
		s := newSums()
		s.Write(f.content)
		m := s.file(f.name)
		m.at = int64(out.Len())
		members = append(members, m)
		out.Write(m.header(nil))
		out.Write(f.content)
	}
	_ = writeDirectory(&out, members, int64(out.Len())) // to memory
	return out.Bytes()
}

// unpack reads the files of a pack.
func unpack(pack []byte) (files []file, problems []Problem) {
	a, problems := readArchive(bytes.NewReader(pack), int64(len(pack)))
	for i := range a.members {
		content, err := a.read(&a.members[i], MaxPack, nil)
		if err != nil {
			problems = append(problems, Problem{Place: a.members[i].Name, Detail: err.Error()})
		}
		files = append(files, file{a.members[i].Name, content})
	}
	return files, problems
}

func mustAsk(t testing.TB, q Query, change ...func(*Config)) ([]byte, *Manifest) {
	t.Helper()
	pack, m, err := ask(t, q, change...)
	if err != nil {
		t.Fatal(err)
	}
	return pack, m
}

func verify(t testing.TB, pack []byte) *Result {
	t.Helper()
	r, err := Verify(context.Background(), bytes.NewReader(pack), int64(len(pack)), policyFile(t))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var session = Query{Kind: view.Session, ID: "s-2025-0611-01"}

func TestPack(t *testing.T) {
	for name, c := range map[string]struct {
		query Query
		all   bool
	}{
		"session": {session, false},
		"change":  {Query{Kind: view.Change, ID: "chg-77"}, false},
		"person":  {Query{Kind: view.Person, ID: "p-c21d"}, false},
		"system":  {Query{Kind: view.System, ID: "sys-storage-7", From: "2025-06-11T00:00:00Z", To: "2025-06-12T00:00:00Z"}, false},
		"rule":    {Query{Kind: Rule, ID: "NO_ATTESTATION"}, false},
		"whole":   {session, true},
		"found":   {Query{Kind: Rule, ID: "NO_ATTESTATION"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			pack, m := mustAsk(t, c.query, func(cfg *Config) { cfg.All = c.all })
			r := verify(t, pack)
			if len(r.Problems) > 0 || r.Signatures == 0 || r.Verified == nil {
				t.Fatalf("%+v", r)
			}
			if m.Counts.Query == 0 || m.Counts.Authority == 0 || m.Whole != c.all {
				t.Errorf("%+v", m.Counts)
			}
			want := view.NotEvaluable
			if c.all {
				want = view.Pass
			}
			if len(r.Claims) != 4 || r.Claims[0].Result != want || r.Claims[1].Result != want || r.Claims[3].Result == view.Pass {
				t.Errorf("claims: %+v", r.Claims)
			}
			again, _ := mustAsk(t, c.query, func(cfg *Config) { cfg.All = c.all })
			if !bytes.Equal(again, pack) {
				t.Error("other bytes the second time")
			}
			checkZip(t, pack, m)
		})
	}
}

// checkZip reads a pack as other programs do.
func checkZip(t *testing.T, pack []byte, m *Manifest) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(pack), int64(len(pack)))
	if err != nil {
		t.Fatal(err)
	}
	if len(z.File) != len(m.Files)+1 {
		t.Errorf("%d files, and %d in the manifest", len(z.File), len(m.Files))
	}
	for _, f := range z.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in) // compares the checksum
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		if f.Name == nameReport && (!bytes.Contains(content, []byte("</html>")) || bytes.Contains(content, []byte("src="))) {
			t.Error("the report is not whole, or not self-contained")
		}
	}
}

func TestTimeIsBounded(t *testing.T) {
	_, all := mustAsk(t, Query{Kind: view.System, ID: "sys-storage-7"})
	_, day := mustAsk(t, Query{Kind: view.System, ID: "sys-storage-7", From: "2025-06-11T00:00:00Z", To: "2025-06-12T00:00:00Z"})
	if day.Counts.Query == 0 || day.Counts.Query >= all.Counts.Query {
		t.Errorf("%d of %d leaves", day.Counts.Query, all.Counts.Query)
	}
	for _, q := range []Query{{Kind: view.System}, {Kind: "nobody", ID: "x"}, {Kind: view.System, ID: "x", From: "noon"},
		{Kind: view.System, ID: "x", From: "2025-06-11T00:00:00Z", To: "2025-06-11T00:00:00Z"}, {Kind: Rule, ID: "TIME", From: "2025-06-11T00:00:00Z"}} {
		if _, err := NewSelector(q); err == nil {
			t.Errorf("%+v is taken for a question", q)
		}
	}
}

func TestNothingToPack(t *testing.T) {
	for _, q := range []Query{{Kind: view.Session, ID: "s-nobody"}, {Kind: Rule, ID: "NO_RULE"}, {Kind: Rule, ID: "SESSION_NO_APPROVAL"}} {
		if _, _, err := ask(t, q); err == nil || !strings.Contains(err.Error(), ErrNothing.Error()) {
			t.Errorf("%v: %v", q, err)
		}
	}
}

// repack changes the files of a pack and packs them again, as a forger would.
func repack(t *testing.T, old []byte, change func(files map[string][]byte)) []byte {
	t.Helper()
	list, problems := unpack(old)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	files := map[string][]byte{}
	for _, f := range list {
		files[f.name] = f.content
	}
	change(files)
	list = nil
	for _, name := range slices.Sorted(maps.Keys(files)) {
		list = append(list, file{name, files[name]})
	}
	return pack(list)
}

// manifestOf reads the manifest of a pack.
func manifestOf(t *testing.T, files map[string][]byte) *Manifest {
	t.Helper()
	m, err := parseManifest(bytes.NewReader(files[nameManifest]), bytes.NewReader(files[nameManifest]), func(*File) {})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// remanifest changes the manifest and makes its list of files fit.
func remanifest(t *testing.T, files map[string][]byte, change func(m *Manifest)) {
	t.Helper()
	m := manifestOf(t, files)
	change(m)
	m.Files = nil
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if name != nameManifest {
			s := newSums()
			s.Write(files[name])
			m.Files = append(m.Files, s.file(name))
		}
	}
	m.count()
	m.Counts.Files = int64(len(m.Files))
	var text bytes.Buffer
	if err := m.write(&text); err != nil {
		t.Fatal(err)
	}
	files[nameManifest] = text.Bytes()
}

// relist changes the list of files in the manifest.
func relist(t *testing.T, files map[string][]byte, change func([]File) []File) {
	t.Helper()
	var list []File
	text := files[nameManifest]
	m, err := parseManifest(bytes.NewReader(text), bytes.NewReader(text), func(f *File) { list = append(list, *f) })
	if err != nil {
		t.Fatal(err)
	}
	m.Files = change(list)
	var out bytes.Buffer
	if err := m.write(&out); err != nil {
		t.Fatal(err)
	}
	files[nameManifest] = out.Bytes()
}

// reprove changes the proof of a leaf.
func reprove(t *testing.T, files map[string][]byte, index int64, change func(*checkpoint.Proof)) {
	t.Helper()
	p, err := checkpoint.ParseProof(files[nameProof(index)])
	if err != nil {
		t.Fatal(err)
	}
	change(p)
	files[nameProof(index)] = p.Marshal()
	remanifest(t, files, func(*Manifest) {})
}

func TestForgedPack(t *testing.T) {
	pack, m := mustAsk(t, session)
	other, _ := mustAsk(t, Query{Kind: view.Session, ID: "s-2025-0610-01"})
	otherFiles := map[string][]byte{}
	list, _ := unpack(other)
	for _, f := range list {
		otherFiles[f.name] = f.content
	}
	var victim, authority int64 = -1, -1
	for _, l := range m.Leaves {
		if slices.Contains(l.For, ForQuery) && victim < 0 {
			victim = l.Index
		}
		if slices.Contains(l.For, ForAuthority) && l.Index > 0 && authority < 0 {
			authority = l.Index
		}
	}
	without := func(files map[string][]byte, index int64) {
		delete(files, nameLeaf(index))
		delete(files, nameProof(index))
	}
	drop := func(m *Manifest, index int64) {
		m.Leaves = slices.DeleteFunc(m.Leaves, func(l Leaf) bool { return l.Index == index })
	}
	for name, c := range map[string]struct {
		change func(files map[string][]byte)
		place  string
	}{
		"a record removed":                      {func(f map[string][]byte) { without(f, victim) }, nameLeaf(victim)},
		"a record and its file lines removed":   {func(f map[string][]byte) { without(f, victim); remanifest(t, f, func(*Manifest) {}) }, nameLeaf(victim)},
		"a record removed from everything said": {func(f map[string][]byte) { without(f, victim); remanifest(t, f, func(m *Manifest) { drop(m, victim) }) }, nameTimeline},
		"a key's registration removed": {func(f map[string][]byte) {
			without(f, authority)
			remanifest(t, f, func(m *Manifest) { drop(m, authority) })
		}, "leaves/"},
		"leaf 0 removed": {func(f map[string][]byte) { without(f, 0); remanifest(t, f, func(m *Manifest) { drop(m, 0) }) }, "leaves/"},
		"a file added":   {func(f map[string][]byte) { f["readme"] = []byte("hello") }, "readme"},
		"a file added and listed": {func(f map[string][]byte) {
			f["readme"] = []byte("hello")
			remanifest(t, f, func(*Manifest) {})
		}, "readme"},
		"a leaf changed":   {func(f map[string][]byte) { f[nameLeaf(victim)] = append(bytes.Clone(f[nameLeaf(victim)]), 0) }, nameLeaf(victim)},
		"a leaf exchanged": {func(f map[string][]byte) { f[nameLeaf(victim)] = f[nameLeaf(0)]; remanifest(t, f, func(*Manifest) {}) }, nameLeaf(victim)},
		"a proof exchanged": {func(f map[string][]byte) {
			f[nameProof(victim)] = f[nameProof(0)]
			remanifest(t, f, func(*Manifest) {})
		}, nameProof(victim)},
		"the timeline rewritten": {func(f map[string][]byte) {
			f[nameTimeline] = otherFiles[nameTimeline]
			remanifest(t, f, func(*Manifest) {})
		}, nameTimeline},
		"the report rewritten": {func(f map[string][]byte) {
			f[nameReport] = otherFiles[nameReport]
			remanifest(t, f, func(*Manifest) {})
		}, nameReport},
		"the keys rewritten":  {func(f map[string][]byte) { f[nameKeys] = []byte("[]\n"); remanifest(t, f, func(*Manifest) {}) }, nameKeys},
		"the rules exchanged": {func(f map[string][]byte) { f[nameRules] = []byte("version: 1\n"); remanifest(t, f, func(*Manifest) {}) }, nameRules},
		"the findings exchanged": {func(f map[string][]byte) {
			f[nameFindings] = otherFiles[nameFindings]
			remanifest(t, f, func(*Manifest) {})
		}, nameFindings},
		"a file listed twice": {func(f map[string][]byte) {
			relist(t, f, func(list []File) []File { return slices.Insert(list, 1, list[0]) })
		}, nameManifest},
		"files listed in another order": {func(f map[string][]byte) {
			relist(t, f, func(list []File) []File { list[0], list[1] = list[1], list[0]; return list })
		}, nameManifest},
		"the last file not listed": {func(f map[string][]byte) {
			relist(t, f, func(list []File) []File { return list[:len(list)-1] })
		}, nameTimeline},
		"a file listed that is not there": {func(f map[string][]byte) {
			relist(t, f, func(list []File) []File { return append(list, File{Name: "zoo"}) })
		}, "zoo"},
		"a last file added and listed": {func(f map[string][]byte) {
			f["zoo"] = []byte("hello")
			remanifest(t, f, func(*Manifest) {})
		}, "zoo"},
		"a proof with other cosignatures": {func(f map[string][]byte) {
			reprove(t, f, victim, func(p *checkpoint.Proof) { p.Checkpoint = unsigned(p.Checkpoint) })
		}, nameProof(victim)},
		"a proof of another time": {func(f map[string][]byte) {
			reprove(t, f, victim, func(p *checkpoint.Proof) { p.Extra = checkpoint.LeafTimeExtra(1) })
		}, nameProof(victim)},
		"a proof of another leaf": {func(f map[string][]byte) {
			reprove(t, f, victim, func(p *checkpoint.Proof) { p.Index ^= 1 })
		}, nameProof(victim)},
		"a proof with another hash": {func(f map[string][]byte) {
			reprove(t, f, victim, func(p *checkpoint.Proof) { p.Hashes[0][0] ^= 1 })
		}, nameLeaf(victim)},
		"a leaf listed twice": {func(f map[string][]byte) {
			remanifest(t, f, func(m *Manifest) { m.Leaves = slices.Insert(m.Leaves, 1, m.Leaves[0]) })
		}, nameManifest},
		"a reason given twice": {func(f map[string][]byte) {
			f[nameManifest] = bytes.Replace(f[nameManifest], []byte("\"for\": [\n    \"query\"\n"), []byte("\"for\": [\n    \"query\",\n    \"query\"\n"), 1)
		}, nameManifest},
		"reasons run together": {func(f map[string][]byte) {
			f[nameManifest] = bytes.Replace(f[nameManifest], []byte("\"query\",\n    \"finding\""), []byte("\"query finding\""), 1)
		}, nameManifest},
		"nothing after the leaves": {func(f map[string][]byte) {
			head, _, _ := bytes.Cut(f[nameManifest], []byte("\"files\""))
			f[nameManifest] = append(head, "\"more\": []\n}\n"...)
		}, nameManifest},
		"no leaves at all":        {func(f map[string][]byte) { f[nameManifest] = []byte("{\n \"version\": 1\n}\n") }, nameManifest},
		"the size changed":        {func(f map[string][]byte) { remanifest(t, f, func(m *Manifest) { m.Head.Size++ }) }, nameManifest},
		"the question changed":    {func(f map[string][]byte) { remanifest(t, f, func(m *Manifest) { m.Query.ID = "s-other" }) }, nameTimeline},
		"a claim changed":         {func(f map[string][]byte) { remanifest(t, f, func(m *Manifest) { m.Claims[3].Result = view.Pass }) }, nameTimeline},
		"no manifest":             {func(f map[string][]byte) { delete(f, nameManifest) }, nameManifest},
		"a manifest spelled anew": {func(f map[string][]byte) { f[nameManifest] = append(f[nameManifest], ' ') }, nameManifest},
		"the checkpoint unsigned": {func(f map[string][]byte) {
			f[nameCheckpoint] = unsigned(f[nameCheckpoint])
			remanifest(t, f, func(*Manifest) {})
		}, nameCheckpoint},
		"a record of another added": {func(f map[string][]byte) { addLeaf(t, f, otherFiles, m) }, nameManifest},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			r := verify(t, repack(t, pack, c.change))
			if !slices.ContainsFunc(r.Problems, func(p Problem) bool { return strings.HasPrefix(p.Place, c.place) }) {
				t.Errorf("no problem of %s: %v", c.place, r.Problems)
			}
			if len(r.Claims) > 0 {
				t.Errorf("and yet it claims %+v", r.Claims)
			}
		})
	}
}

// unsigned keeps the log's own signature of a note, and no cosignature.
func unsigned(note []byte) []byte {
	text, rest, _ := bytes.Cut(note, []byte("\n\n"))
	first, _, _ := bytes.Cut(rest, []byte("\n"))
	return slices.Concat(text, []byte("\n\n"), first, []byte("\n"))
}

// addLeaf puts a true leaf of another session into a pack, as if it answered.
func addLeaf(t *testing.T, files, other map[string][]byte, m *Manifest) {
	t.Helper()
	for _, l := range manifestOf(t, other).Leaves {
		if files[nameLeaf(l.Index)] != nil {
			continue
		}
		files[nameLeaf(l.Index)], files[nameProof(l.Index)] = other[nameLeaf(l.Index)], other[nameProof(l.Index)]
		remanifest(t, files, func(m *Manifest) {
			m.Leaves = append(m.Leaves, l)
			slices.SortFunc(m.Leaves, func(a, b Leaf) int { return int(a.Index - b.Index) })
		})
		return
	}
	t.Fatal("no other leaf")
}

// TestWholePackIsAudited: a pack with all leaves cannot leave out what was found.
func TestWholePackIsAudited(t *testing.T) {
	pack, _ := mustAsk(t, session, func(c *Config) { c.All = true })
	r := verify(t, repack(t, pack, func(f map[string][]byte) {
		f[nameFindings] = bytes.Replace(f[nameFindings], []byte(`"count": 1`), []byte(`"count": 2`), 1)
		remanifest(t, f, func(*Manifest) {})
	}))
	if !slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Place == nameFindings || p.Place == nameReport }) {
		t.Errorf("%v", r.Problems)
	}
	// Another policy of the same log, and the pack is as good.
	text := append(policyFile(t), "# my own\n"...)
	if r, err := Verify(context.Background(), bytes.NewReader(pack), int64(len(pack)), text); err != nil || len(r.Problems) > 0 || len(r.Notes) == 0 || r.Claims[0].Result != view.Pass {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestRefusedArchives(t *testing.T) {
	one := []file{{"checkpoint", []byte("hello")}}
	good := pack(one)
	patch := func(at int, v uint16) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint16(b[at:], v)
		return b
	}
	huge := bytes.Clone(good)
	binary.LittleEndian.PutUint32(huge[18:], maxFile+1)
	binary.LittleEndian.PutUint32(huge[22:], maxFile+1)
	var deflated bytes.Buffer
	z := zip.NewWriter(&deflated)
	w, err := z.Create("checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	named := func(name string) []byte { return pack([]file{{name, []byte("x")}}) }
	twice := pack([]file{one[0], one[0]})
	for name, c := range map[string]struct {
		from []byte
		says string
	}{
		"encrypted":     {patch(6, 1), "encrypted"},
		"out of order":  {pack([]file{{"keys.json", nil}, one[0]}), "order of their names"},
		"another flag":  {patch(6, 8), "not stored"},
		"compressed":    {patch(8, 8), "not stored"},
		"by a program":  {deflated.Bytes(), "not stored"},
		"oversized":     {huge, "more than"},
		"duplicate":     {twice, "twice"},
		"upwards":       {named("../checkpoint"), "has the name"},
		"inside":        {named("a/../../checkpoint"), "has the name"},
		"absolute":      {named("/etc/passwd"), "has the name"},
		"a drive":       {named("c:checkpoint"), "has the name"},
		"backwards":     {named(`a\checkpoint`), "has the name"},
		"upper case":    {named("CHECKPOINT"), "has the name"},
		"hidden":        {named(".checkpoint"), "has the name"},
		"a folder":      {named("leaves/"), "has the name"},
		"long":          {named(strings.Repeat("a", maxName+1)), "has the name"},
		"nameless":      {named(""), "has the name"},
		"cut off":       {good[:lenLocal+12], "cut off"},
		"a comment":     {append(bytes.Clone(good[:len(good)-2]), 1, 0, 'x'), "was changed"},
		"prepended":     {append([]byte("#!"), good...), "was changed"},
		"nothing":       {nil, "was changed"},
		"wrong content": {bytes.Replace(good, []byte("hello"), []byte("hullo"), 1), "checksum"},
	} {
		_, problems := unpack(c.from)
		if len(problems) == 0 || !strings.Contains(problems[0].Detail, c.says) {
			t.Errorf("%s: %v", name, problems)
		}
	}
	if _, problems := unpack(good); len(problems) > 0 {
		t.Error(problems)
	}
}

func FuzzArchive(f *testing.F) {
	f.Add(pack([]file{{"checkpoint", []byte("hello")}, {"leaves/1.leaf", nil}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		files, problems := unpack(b)
		if len(problems) > 0 {
			return
		}
		if again := pack(files); !bytes.Equal(again, b) {
			t.Error("two packs of the same files")
		}
	})
}
