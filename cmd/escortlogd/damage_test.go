package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
)

// TestDamageToEveryFile damages one file after the other of everything that a
// log has on its disk, each in one way drawn at random, and opens it as serve
// and fsck do. See damagedLog.judge.
func TestDamageToEveryFile(t *testing.T) {
	d := newDamagedLog(t, 1)
	for _, name := range d.names() {
		all := d.damages(name, 1, 1)
		d.judge(all[d.random.IntN(len(all))])
	}
	d.report()
}

// command runs a command as from the command line, in this process.
func command(args ...string) (stdout, stderr string, err error) {
	var out, errOut bytes.Buffer
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&errOut)
	err = root.Execute()
	return out.String(), errOut.String(), err
}

// fileImage is what a file holds: data, and zeros after it up to size.
type fileImage struct {
	data []byte
	size int64
}

// readImage reads a file of which the end may never have been written.
func readImage(t *testing.T, path string) fileImage {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	end := int64(0)
	for {
		start, err := f.Seek(end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err == nil {
			end, err = f.Seek(start, unix.SEEK_HOLE)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	data := make([]byte, end)
	if _, err := f.ReadAt(data, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return fileImage{bytes.TrimRight(data, "\x00"), info.Size()}
}

// write puts the image into a file, in place: the guard knows its own inode.
func (i fileImage) write(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(i.data)
	if err = errors.Join(err, f.Truncate(i.size), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// damagedLog is the image of a log, with all it answered when it was whole.
type damagedLog struct {
	*testing.T
	random *rand.Rand
	dir    string // the data directory
	parked string // where the guard lies while it is missing
	image  map[string]fileImage
	older  []map[string]fileImage

	answers    map[string]string // by path, whatever a reader can ask for
	hashes     []tlog.Hash       // of the leaves
	keys       []*checkpoint.Verifier
	outcomes   map[string]int
	eventsMade int
}

const damageSource = "https://unsigned.example.org"

// newDamagedLog makes a log with all kinds of files, and of most of them an
// older state: stopped twice, and then as a kill leaves it.
func newDamagedLog(t *testing.T, seed uint64) *damagedLog {
	t.Helper()
	top := fastTemp(t)
	d := &damagedLog{
		T: t, random: rand.New(rand.NewPCG(seed, 0)), dir: filepath.Join(top, "data"), parked: filepath.Join(top, "guard"),
		answers: make(map[string]string), outcomes: make(map[string]int),
	}
	stdout, _, err := command("init", "--data", d.dir, "--origin", "log.example.org", "--allow-unsigned")
	d.must(err)
	for _, vkey := range strings.Fields(stdout) {
		key, err := checkpoint.ParseVKey(vkey)
		d.must(err)
		d.keys = append(d.keys, key)
	}
	d.writeServerFiles()

	for stage, batches := range [][]int{{1, 3, 1, 250, 1}, {256, 1, 2}, {100, 1, 7, 1, 1}} {
		s, err := d.open(io.Discard)
		d.must(err)
		if stage == 0 {
			d.registerKey(s)
		}
		for _, n := range batches {
			d.add(s, n)
		}
		if stage < 2 {
			d.must(s.close())
			d.older = append(d.older, d.snapshot())
			continue
		}
		d.read(s)
		d.image = d.snapshot()
		d.must(s.close())
	}
	return d
}

// fastTemp is a directory on a file system in memory, where there is one.
func fastTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "escortlogd-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (d *damagedLog) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

// writeServerFiles writes the files that serveArgs names.
func (d *damagedLog) writeServerFiles() {
	d.Helper()
	signers, err := (&dataDir{dir: d.dir}).signers()
	d.must(err)
	keys := vkeys(signers)
	d.must(os.WriteFile(filepath.Join(d.dir, "policy"), []byte("log "+keys[0]+"\nlog "+keys[1]+"\nquorum none\n"), 0o600))
	d.must(os.WriteFile(filepath.Join(d.dir, "token"), []byte("token-0123456789abcdef\n"), 0o600))
}

// serveArgs are those that have a file behind them, and no witness to ask.
func (d *damagedLog) serveArgs() []string {
	return []string{"--data", d.dir, "--policy", filepath.Join(d.dir, "policy"), "--read-auth", "token",
		"--read-token-file", filepath.Join(d.dir, "token")}
}

// open opens the log as serve does; what it says goes to out.
func (d *damagedLog) open(out io.Writer) (*served, error) {
	o, cmd := new(serveOptions), &cobra.Command{}
	o.addFlags(cmd)
	if err := cmd.ParseFlags(d.serveArgs()); err != nil {
		return nil, err
	}
	return o.open(d.Context(), slog.New(slog.NewTextHandler(out, nil)))
}

// ask sends one request to the surface of the log.
func (d *damagedLog) ask(s *served, method, path string, body []byte, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.Header.Set("Authorization", "Bearer token-0123456789abcdef")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.server.Handler().ServeHTTP(w, r)
	return w
}

func (d *damagedLog) registerKey(s *served) {
	d.Helper()
	l := s.log
	leaf, err := l.Entry(d.Context(), 0)
	d.must(err)
	public, err := event.NewPublicKey(sourceKey("gateway").Public())
	d.must(err)
	payload, err := event.NewKeyRegistered(
		event.Header{ID: randomID(), Time: time.Now(), Origin: "log.example.org", Prev: entry.LeafHash(leaf)},
		event.KeyRegistration{Key: public, Source: "https://gateway.example.org"})
	d.must(err)
	text, err := os.ReadFile(filepath.Join(d.dir, "admin.key"))
	d.must(err)
	admin, err := event.ParsePrivateKeyPEM(text)
	d.must(err)
	sig, err := event.Sign(admin, entry.PayloadType, payload)
	d.must(err)
	envelope := (&entry.Envelope{PayloadType: entry.PayloadType, Payload: payload, Signatures: []entry.Signature{sig}}).Marshal()
	if w := d.ask(s, http.MethodPost, "/v1/events", envelope, "Content-Type", "application/vnd.dsse+json"); w.Code != http.StatusCreated {
		d.Fatalf("registering a key: %d %s", w.Code, w.Body)
	}
}

// event is the n-th event of a source that needs no key.
func (d *damagedLog) event(n int) []byte {
	d.Helper()
	payload, err := event.Build(event.Attributes{
		ID: event.NewUUIDv7(1_700_000_000_000, [10]byte{8: byte(n >> 8), 9: byte(n)}), Source: damageSource,
		Type: event.Prefix + "session.paused.v1", Subject: "session/s-1", Time: time.UnixMilli(1_700_000_000_000),
	}, map[string]any{"session_id": "s-1", "reason": fmt.Sprint("reason ", n), "paused_by": nil})
	d.must(err)
	return payload
}

// add adds n events in one commit, mostly, which all must be taken.
func (d *damagedLog) add(s *served, n int) {
	d.Helper()
	var events [][]byte
	for range n {
		events = append(events, d.event(d.eventsMade))
		d.eventsMade++
	}
	body := append(append([]byte{'['}, bytes.Join(events, []byte{','})...), ']')
	w := d.ask(s, http.MethodPost, "/v1/events", body, "Content-Type", "application/cloudevents-batch+json")
	if w.Code != http.StatusOK || strings.Count(w.Body.String(), `"status":201`) != n {
		d.Fatalf("adding %d events: %d %.500s", n, w.Code, w.Body)
	}
}

// read asks for everything that the log answers, and keeps it.
func (d *damagedLog) read(s *served) {
	d.Helper()
	size := d.published(s)
	// Complete bundles are sealed, so that nothing is written any more.
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		oldest := size
		d.must(s.opened.store.Scan(d.Context(), []byte{'r'}, []byte{'s'}, func(key, _ []byte) error {
			oldest = min(oldest, int64(binary.BigEndian.Uint64(key[1:])))
			return nil
		}))
		if oldest/tile.Width == size/tile.Width {
			break
		}
		if time.Now().After(deadline) {
			d.Fatalf("the bundle of leaf %d is not sealed", oldest)
		}
	}
	for index := range size {
		d.answers[fmt.Sprintf("/v1/entries/%d", index)] = ""
	}
	for n := range d.eventsMade {
		var ev struct{ ID string }
		d.must(json.Unmarshal(d.event(n), &ev))
		d.answers["/v1/events?"+url.Values{"source": {damageSource}, "id": {ev.ID}}.Encode()] = ""
	}
	for level := -1; level < 3; level++ {
		for n := int64(0); ; n++ {
			w := tile.WidthAt(level, n, size)
			if w == 0 {
				break
			}
			d.answers["/"+tile.Tile{Level: level, N: n, W: w}.Path()] = ""
		}
	}
	d.answers[fmt.Sprintf("/v1/consistency?from=3&to=%d", size)] = ""
	for path := range d.answers {
		w := d.ask(s, http.MethodGet, path, nil, "Accept", "application/octet-stream, */*;q=0.1")
		if w.Code != http.StatusOK {
			d.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
		d.answers[path] = w.Body.String()
	}
	for index := range size {
		d.hashes = append(d.hashes, entry.LeafHash([]byte(d.answers[fmt.Sprintf("/v1/entries/%d", index)])))
	}
}

// published waits until all that is committed is published, and returns its size.
func (d *damagedLog) published(s *served) int64 {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), patience)
	defer cancel()
	p, err := s.log.WaitPublished(ctx, s.log.Head().Size)
	d.must(err)
	return p.Size
}

// snapshot reads all files of the data directory.
func (d *damagedLog) snapshot() map[string]fileImage {
	d.Helper()
	files := make(map[string]fileImage)
	d.must(filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			name, _ := filepath.Rel(d.dir, path)
			files[name] = readImage(d.T, path)
		}
		return err
	}))
	return files
}

// restore puts all files back as they were.
func (d *damagedLog) restore() {
	d.Helper()
	if err := os.Rename(d.parked, filepath.Join(d.dir, "guard")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.Fatal(err)
	}
	d.must(os.RemoveAll(filepath.Join(d.dir, "db")))
	for name, image := range d.image {
		image.write(d.T, filepath.Join(d.dir, name))
	}
}

// names are the files of the image.
func (d *damagedLog) names() []string { return slices.Sorted(maps.Keys(d.image)) }

// damage is one way to damage a file.
type damage struct {
	name, how string
	image     fileImage
	missing   bool
}

func (d damage) String() string { return d.name + ", " + d.how }

// damages are the ways to damage a file: cut at several places, pages of zeros,
// bits flipped, an older state, and no file at all.
func (d *damagedLog) damages(name string, pages, flips int) []damage {
	whole := d.image[name]
	n := len(whole.data)
	all := []damage{{name: name, how: "missing", missing: true}}
	put := func(how string, data []byte, size int64) {
		if !bytes.Equal(data, whole.data) || size != whole.size {
			all = append(all, damage{name: name, how: how, image: fileImage{data, size}})
		}
	}
	for how, length := range map[string]int{"empty": 0, "cut in its header": min(16, n/3), "cut in the middle": n / 2, "without its last byte": n - 1} {
		if length >= 0 {
			put(how, whole.data[:length], int64(length))
		}
	}
	last := max(0, n-1) / 4096
	for i, page := range append([]int{last}, d.random.Perm(last)...) {
		if i == pages {
			break
		}
		data := bytes.Clone(whole.data)
		clear(data[page*4096 : min(n, (page+1)*4096)])
		put(fmt.Sprintf("page %d of %d zero", page, last), bytes.TrimRight(data, "\x00"), whole.size)
	}
	for range flips {
		if n > 0 {
			data, at := bytes.Clone(whole.data), d.random.IntN(n)
			data[at] ^= 1 << d.random.IntN(8)
			put(fmt.Sprintf("a bit of byte %d of %d flipped", at, n), data, whole.size)
		}
	}
	for i, older := range d.older {
		if old, ok := older[name]; ok {
			put(fmt.Sprintf("an older state, %d", i), old.data, old.size)
		}
	}
	slices.SortFunc(all, func(a, b damage) int { return cmp.Compare(a.how, b.how) })
	return all
}

func (d *damagedLog) apply(x damage) {
	d.Helper()
	d.restore()
	path := filepath.Join(d.dir, x.name)
	switch {
	case !x.missing:
		x.image.write(d.T, path)
	case x.name == "guard": // the file that comes back must be the same
		d.must(os.Rename(path, d.parked))
	default:
		d.must(os.Remove(path))
	}
}

// judge opens the damaged log twice, with fsck and as serve does. Either all
// that serve answers is as before the damage, and it goes on, or it refuses and
// says which file or which key. It never answers otherwise, nor shows less as if
// that were all. What fsck lets pass, serve serves whole.
func (d *damagedLog) judge(x damage) {
	d.Helper()
	d.apply(x)
	stdout, stderr, err := command("fsck", "--data", d.dir)
	checked := fmt.Sprintf("%s%s%v", stdout, stderr, err)
	if err != nil && !names(checked, x.name) {
		d.Errorf("%v: fsck names neither a file nor a key: %s", x, checked)
	}
	sound := err == nil
	d.apply(x)
	outcome := d.serve(x)
	if sound && outcome != "served" && strings.HasPrefix(x.name, "db/") {
		d.Errorf("%v: fsck finds nothing, and serve: %s", x, outcome)
	}
	if !sound && outcome == "served" && strings.HasPrefix(x.name, "db/") {
		outcome = "served, fsck finds it"
	}
	d.outcomes[outcome]++
	if testing.Verbose() {
		d.Logf("%v: %s; fsck: %v", x, outcome, err)
	}
}

// namesKey matches what an error says of a key, or of the file outside the store.
var namesKey = regexp.MustCompile(`(leaf|bundle|hash tile|tile|entries from index|identit(y|ies) of (leaf|bundle)|authority lea(f|ves)|evidence slot|key) "?\d|` +
	`guard|head|published checkpoint|key \\?"`)

func names(text, file string) bool {
	return strings.Contains(text, filepath.Base(file)) || namesKey.MatchString(text)
}

// serve returns what became of the damaged log when it was served: "refused" to
// open, "halted", "served" whole and appended to, or "unreadable" where some
// answers were errors.
func (d *damagedLog) serve(x damage) string {
	d.Helper()
	var said bytes.Buffer
	s, err := d.open(&said)
	if err != nil {
		if !names(err.Error(), x.name) {
			d.Errorf("%v: the error of opening names neither a file nor a key: %v", x, err)
		}
		return "refused"
	}
	defer func() {
		// A store that failed may not close in good order; it must not panic.
		if err := s.close(); err != nil && !names(err.Error()+said.String(), x.name) {
			d.Errorf("%v: closing: %v", x, err)
		}
	}()
	halted := s.log.Ready()
	if halted != nil && !names(halted.Error(), x.name) {
		d.Errorf("%v: halted, and the reason names neither a file nor a key: %v", x, halted)
	}
	outcome := "served"
	if halted != nil {
		outcome = "halted"
	} else {
		d.published(s)
	}
	for path, want := range d.answers {
		w := d.ask(s, http.MethodGet, path, nil, "Accept", "application/octet-stream, */*;q=0.1")
		switch {
		case w.Code == http.StatusOK && w.Body.String() == want:
		case w.Code == http.StatusInternalServerError:
			if !names(said.String(), x.name) {
				d.Errorf("%v: %s fails, and what is said names neither a file nor a key: %s", x, path, &said)
			}
			if halted == nil {
				outcome = "unreadable"
			}
		case x.name == "token" && w.Code == http.StatusUnauthorized: // another token than this reader's
			outcome = "refused"
		case halted != nil && w.Code == http.StatusNotFound: // beyond what it signed and still has
		case w.Code == http.StatusNotFound:
			d.Fatalf("%v: %s is not there, and nothing says why", x, path)
		default:
			d.Fatalf("%v: %s is answered %d %.300q, and was %.300q", x, path, w.Code, w.Body, want)
		}
	}
	d.goOn(x, s, halted, outcome, &said)
	return outcome
}

// goOn looks at the checkpoint before and after one more event.
func (d *damagedLog) goOn(x damage, s *served, halted error, outcome string, said *bytes.Buffer) {
	d.Helper()
	before := d.checkpoint(x, s)
	if before.Size < int64(len(d.hashes)) && halted == nil {
		d.Fatalf("%v: it shows size %d of %d, and says nothing", x, before.Size, len(d.hashes))
	}
	w := d.ask(s, http.MethodPost, "/v1/events", d.event(d.eventsMade), "Content-Type", "application/cloudevents+json")
	if w.Code != http.StatusCreated {
		if halted == nil && outcome == "served" || !names(w.Body.String()+said.String(), x.name) {
			d.Fatalf("%v: it was served whole, and takes no event: %d %s\n%s", x, w.Code, w.Body, said)
		}
		return
	}
	if halted != nil {
		d.Fatalf("%v: it is halted, and takes an event", x)
	}
	leaf, err := s.log.Entry(d.Context(), int64(len(d.hashes)))
	d.must(err)
	after := d.checkpoint(x, s)
	d.hashes = append(d.hashes, entry.LeafHash(leaf))
	if after.Size != int64(len(d.hashes)) || after.Root != tile.TileRoot(d.hashes) {
		d.Errorf("%v: after one more event it signs %v, not what was there and that", x, after)
	}
	d.hashes = d.hashes[:len(d.hashes)-1]
}

// checkpoint is the published one, which must be of the log as it was.
func (d *damagedLog) checkpoint(x damage, s *served) checkpoint.Checkpoint {
	d.Helper()
	w := d.ask(s, http.MethodGet, "/checkpoint", nil)
	if w.Code != http.StatusOK {
		return checkpoint.Checkpoint{}
	}
	text, sigs, err := checkpoint.ParseNote(w.Body.Bytes())
	d.must(err)
	_, err = checkpoint.Verify(text, sigs, d.keys...)
	d.must(err)
	cp, err := checkpoint.Parse(text)
	d.must(err)
	if n := len(d.hashes); cp.Size <= int64(n) && cp.Root != tile.TileRoot(d.hashes[:cp.Size]) {
		d.Fatalf("%v: a checkpoint of another history: %v", x, cp)
	}
	return cp
}

func (d *damagedLog) report() {
	d.Logf("%v", d.outcomes)
	if d.outcomes["refused"] == 0 || d.outcomes["served"] == 0 {
		d.Errorf("the damages are of too few kinds: %v", d.outcomes)
	}
}
