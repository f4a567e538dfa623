package main

import (
	"archive/zip"
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/mod/sumdb/tlog"
)

// servedLog is what a log's operator serves: leaves, and a checkpoint that the log
// and, where they collude, two witnesses signed.
type servedLog struct {
	ts     *testscript.TestScript
	leaves [][]byte
	note   []byte
	hidden map[string]bool // paths that are not served
	alter  func(path string, body []byte) []byte
}

const testdata = "../../testdata"

// sampleLog reads the sample log.
func sampleLog(ts *testscript.TestScript) *servedLog {
	l := &servedLog{ts: ts, hidden: map[string]bool{}}
	var err error
	l.note, err = os.ReadFile(testdata + "/log/checkpoint")
	ts.Check(err)
	text, _, err := checkpoint.ParseNote(l.note)
	ts.Check(err)
	c, err := checkpoint.Parse(text)
	ts.Check(err)
	t := tile.Tile{Level: tile.Entries, N: 0, W: int(c.Size)}
	bundle, err := os.ReadFile(filepath.Join(testdata, "log", filepath.FromSlash(t.Path())))
	ts.Check(err)
	l.leaves, err = tile.SplitBundle(bundle, t.W)
	ts.Check(err)
	return l
}

// sign makes the checkpoint of the leaves as they are now.
func (l *servedLog) sign(signers ...string) {
	var hashes []tlog.Hash
	for _, leaf := range l.leaves {
		hashes = append(hashes, entry.LeafHash(leaf))
	}
	c := checkpoint.Checkpoint{Origin: "log.example/escort-sample", Size: int64(len(l.leaves)), Root: tile.TileRoot(hashes)}
	var lines [][]byte
	for _, name := range signers {
		text, err := os.ReadFile(testdata + "/keys/" + name + ".ed25519.skey")
		l.ts.Check(err)
		signer, err := checkpoint.ParseSKey(strings.TrimSpace(string(text)))
		l.ts.Check(err)
		line, err := signer.Sign(c.Text(), 1_750_000_000)
		l.ts.Check(err)
		lines = append(lines, line)
	}
	l.note = checkpoint.Join(c.Text(), lines...)
}

// ServeHTTP serves what an honest log of these leaves would, but for what the test wants.
func (l *servedLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	body, ok := l.body(path)
	if !ok || l.hidden[path] {
		http.NotFound(w, r)
		return
	}
	if l.alter != nil {
		body = l.alter(path, body)
	}
	_, _ = w.Write(body)
}

func (l *servedLog) body(path string) (body []byte, ok bool) {
	if path == "checkpoint" {
		return l.note, true
	}
	t, err := tile.ParsePath(path)
	if err != nil || t.N != 0 || t.Level > 0 || t.W > len(l.leaves) {
		return nil, false
	}
	for _, leaf := range l.leaves[:t.W] {
		if t.Level == tile.Entries {
			body = tile.AppendEntry(body, leaf)
		} else {
			hash := entry.LeafHash(leaf)
			body = append(body, hash[:]...)
		}
	}
	return body, true
}

// signed makes a leaf of a payload, signed with a sample key.
func signed(ts *testscript.TestScript, ms int64, payload []byte, keyName string) []byte {
	key, err := readPrivateKey(testdata + "/keys/" + keyName + ".key")
	ts.Check(err)
	e := &entry.Entry{Time: ms, PayloadType: entry.PayloadType, Payload: payload}
	s, err := event.Sign(key, e.PayloadType, payload)
	ts.Check(err)
	e.Signatures = append(e.Signatures, s)
	leaf, err := e.Marshal()
	ts.Check(err)
	return leaf
}

// scriptOperator starts a log whose operator does something: operator WHAT. It
// serves the sample log, whose policy is $TWO_OF_THREE, and sets LOG.
func scriptOperator(ts *testscript.TestScript, _ bool, args []string) {
	l := sampleLog(ts)
	switch last := len(l.leaves) - 1; args[0] {
	case "honest":
	case "withholds": // does not answer for the leaves
		l.hidden[tile.Tile{Level: tile.Entries, N: 0, W: len(l.leaves)}.Path()] = true
	case "skips": // leaves one leaf out of the answer
		l.alter = func(path string, body []byte) []byte {
			if strings.HasPrefix(path, "tile/entries") {
				return body[:len(body)-len(l.leaves[last])-2]
			}
			return body
		}
	case "replaces": // answers with another leaf in the place of one
		l.alter = func(path string, body []byte) []byte {
			if strings.HasPrefix(path, "tile/entries") {
				return bytes.Replace(body, []byte(`"exit_code":0`), []byte(`"exit_code":1`), 1)
			}
			return body
		}
	case "old": // goes back to an old checkpoint, which witnesses had cosigned
		l.leaves = l.leaves[:last-5]
		l.sign("log", "witness-agency", "witness-assessor")
	case "drops": // makes a tree without a leaf, and signs it alone
		l.leaves = append(l.leaves[:last-1:last-1], l.leaves[last])
		l.sign("log")
	case "forks": // makes another tree of the same size, and witnesses collude
		l.leaves[last] = later(ts, l.leaves[last])
		l.sign("log", "witness-agency", "witness-university")
	case "early": // takes an event before its key is registered
		l.leaves = early(ts, l)
		l.sign("log", "witness-agency", "witness-assessor")
	default:
		ts.Fatalf("operator: what is %q?", args[0])
	}
	server := httptest.NewServer(l)
	ts.Defer(server.Close)
	ts.Setenv("LOG", server.URL)
}

// later is a leaf as it would be had the log taken it a moment later.
func later(ts *testscript.TestScript, leaf []byte) []byte {
	e, err := entry.Parse(leaf)
	ts.Check(err)
	e.Time++
	leaf, err = e.Marshal()
	ts.Check(err)
	return leaf
}

// early is a log that has an event by a key, and only then the key's registration.
func early(ts *testscript.TestScript, l *servedLog) [][]byte {
	genesis := l.leaves[0]
	first, err := entry.Parse(genesis)
	ts.Check(err)
	at := time.UnixMilli(first.Time + 1000)
	var random [10]byte
	payload, err := event.Build(event.Attributes{
		ID: event.NewUUIDv7(at.UnixMilli(), random), Source: "urn:example:early", Type: event.Prefix + "session.paused.v1", Subject: "session/s-1", Time: at,
	}, map[string]any{"session_id": "s-1", "paused_by": nil, "reason": "too early"})
	ts.Check(err)
	private, err := readPrivateKey(testdata + "/keys/gateway.key")
	ts.Check(err)
	public, err := event.NewPublicKey(private.Public())
	ts.Check(err)
	random[0] = 1
	header := event.Header{ID: event.NewUUIDv7(at.UnixMilli(), random), Time: at, Origin: "log.example/escort-sample", Prev: entry.LeafHash(genesis)}
	registration, err := event.NewKeyRegistered(header, event.KeyRegistration{Key: public, Source: "urn:example:early"})
	ts.Check(err)
	e := &entry.Entry{Time: at.UnixMilli() + 1, PayloadType: entry.PayloadType, Payload: registration}
	for _, name := range []string{"admin-agency", "admin-assessor", "admin-operator"} {
		key, err := readPrivateKey(testdata + "/keys/" + name + ".key")
		ts.Check(err)
		s, err := event.Sign(key, e.PayloadType, e.Payload)
		ts.Check(err)
		e.Signatures = append(e.Signatures, s)
	}
	leaf, err := e.Marshal()
	ts.Check(err)
	return [][]byte{genesis, signed(ts, at.UnixMilli(), payload, "gateway"), leaf}
}

// scriptWithout packs a pack again without one of its files: without IN OUT NAME
func scriptWithout(ts *testscript.TestScript, _ bool, args []string) {
	in, err := zip.OpenReader(ts.MkAbs(args[0]))
	ts.Check(err)
	defer in.Close()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, f := range in.File {
		if f.Name != args[2] {
			ts.Check(z.Copy(f))
		}
	}
	ts.Check(z.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), out.Bytes(), 0o644))
}

// TestTruncation does what an auditor would try: each is caught, with the right
// exit code.
func TestTruncation(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/truncation",
		UpdateScripts:       *updateScripts,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			folder, err := filepath.Abs(testdata)
			env.Setenv("TESTDATA", folder)
			env.Setenv("ESCORTLOG_POLICY", filepath.Join(folder, "policies", "good", "two-of-three.policy"))
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": scriptCode, "operator": scriptOperator, "without": scriptWithout},
	})
}
