package reconcile

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client/importer"
	"github.com/escortlog/escortlog/client/view"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// input is a file of records.
type input struct {
	name string
	text []byte
}

// logged imports records into leaves.
func logged(t *testing.T, inputs ...input) (leaves [][]byte) {
	t.Helper()
	im, err := importer.New("cloudtrail", importer.Options{Source: "urn:example:aws"})
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range inputs {
		if err := im.Import(context.Background(), in.name, bytes.NewReader(in.text), func(e importer.Event) error {
			leaves = append(leaves, leaf(t, e.Payload))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return leaves
}

func leaf(t *testing.T, payload []byte) []byte {
	t.Helper()
	b, err := (&entry.Entry{Time: 1, PayloadType: entry.PayloadType, Payload: payload}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// native is an event of a gateway.
func native(t *testing.T, typ, member, id string) []byte {
	t.Helper()
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	payload, err := event.Build(event.Attributes{
		ID: event.NewUUIDv7(at.UnixMilli(), [10]byte([]byte(fmt.Sprintf("%-10.10s", id)))), Source: "urn:example:gateway", Type: event.Prefix + typ + ".v1",
		Subject: "session/s", Time: at,
	}, map[string]any{member: id})
	if err != nil {
		t.Fatal(err)
	}
	return leaf(t, payload)
}

func reconcile(t *testing.T, cfg Config, leaves [][]byte, inputs ...input) *Report {
	t.Helper()
	cfg.System = "cloudtrail"
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range inputs {
		if err := r.Vantage(context.Background(), in.name, bytes.NewReader(in.text)); err != nil {
			t.Fatal(err)
		}
	}
	for i, l := range leaves {
		if err := r.Add(int64(i), l); err != nil {
			t.Fatal(err)
		}
	}
	return r.Report()
}

func rec(id, service, name, more string) string {
	return fmt.Sprintf(`{"eventID":%q,"eventTime":"2026-03-01T09:00:00Z","eventSource":"%s.amazonaws.com","eventName":%q%s}`, id, service, name, more)
}

func file(name string, records ...string) input {
	return input{name, []byte(`{"Records":[` + strings.Join(records, ",") + `]}`)}
}

var (
	first = file("first.json",
		rec("e-1", "ssm", "StartSession", `,"requestParameters":{"target":"i-1"},"responseElements":{"sessionId":"ses-1"}`),
		rec("e-2", "ssm", "SendCommand", `,"responseElements":{"command":{"commandId":"cmd-1"}}`),
		rec("e-3", "s3", "GetObject", `,"readOnly":true`))
	second = file("second.json", rec("e-4", "iam", "CreateUser", ""), rec("e-5", "iam", "DeleteUser", ""))
)

func TestAgainstItself(t *testing.T) {
	r := reconcile(t, Config{}, logged(t, first, second), first, second)
	if r.Vantage.Percent != "100.00" || r.Log.Percent != "100.00" || r.Sessions.Percent != "100.00" || r.Commands.Percent != "100.00" ||
		r.Vantage.Population != 5 || r.Claim.Result != view.Pass || r.Independent != 0 {
		t.Errorf("%+v", r)
	}
	// Delivered twice is not happened twice.
	r = reconcile(t, Config{}, logged(t, first, second), first, second, second)
	if r.Claim.Result != view.Pass || r.RepeatedThere != 2 || r.Vantage.Population != 5 {
		t.Errorf("%+v", r)
	}
}

func TestMisses(t *testing.T) {
	r := reconcile(t, Config{}, logged(t, first), first, second)
	if r.Vantage.Percent != "60.00" || len(r.Vantage.Misses) != 2 || r.Vantage.Misses[0].Record != "e-4" || r.Vantage.Misses[1].Input != "second.json" ||
		r.Vantage.Misses[1].Number != 2 || r.Log.Percent != "100.00" || r.Claim.Result != view.Fail {
		t.Errorf("not logged: %+v", r)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "not logged   2026-03-01T09:00:00Z CreateUser e-4 (second.json record 1)") {
		t.Errorf("%s", &text)
	}
	r = reconcile(t, Config{}, logged(t, first, second), second)
	if r.Vantage.Percent != "100.00" || r.Log.Percent != "40.00" || len(r.Log.Misses) != 3 || *r.Log.Misses[2].Index != 2 || r.Claim.Result != view.Fail {
		t.Errorf("only logged: %+v", r)
	}
	changed := input{"first.json", bytes.Replace(first.text, []byte("GetObject"), []byte("PutObject"), 1)}
	r = reconcile(t, Config{}, logged(t, first), changed)
	if len(r.Differs) != 1 || r.Differs[0].Record != "e-3" || r.Vantage.Percent != "66.66" || r.Claim.Result != view.Fail {
		t.Errorf("changed: %+v", r)
	}
}

// TestIndependent: what the log saw by itself is matched by session and command.
func TestIndependent(t *testing.T) {
	leaves := [][]byte{
		native(t, "session.started", "session_id", "ses-1"), native(t, "command.executed", "command_id", "cmd-1"),
		native(t, "session.started", "session_id", "ses-2"), native(t, "session.ended", "session_id", "ses-3"),
	}
	r := reconcile(t, Config{}, leaves, first)
	if r.Independent != 2 || r.Vantage.Matched != 2 || r.Sessions.Percent != "100.00" || r.Commands.Percent != "100.00" || r.Log.Population != 0 {
		t.Errorf("%+v", r)
	}
	// A gateway whose sessions all go through there.
	r = reconcile(t, Config{Sources: []string{"urn:example:gateway"}}, leaves, first)
	if r.Log.Population != 3 || len(r.Log.Misses) != 1 || r.Log.Misses[0].Record != "ses-2" || r.Claim.Result != view.Fail {
		t.Errorf("%+v", r)
	}
}

func TestNothingIsNoCoverage(t *testing.T) {
	r := reconcile(t, Config{}, logged(t, first), file("empty.json"))
	if r.Claim.Result != view.NotEvaluable || r.Vantage.Percent != "" || len(r.Log.Misses) != 3 {
		t.Errorf("%+v", r)
	}
	r = reconcile(t, Config{From: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}, logged(t, first), first)
	if r.Claim.Result != view.NotEvaluable || r.Log.Population != 0 {
		t.Errorf("%+v", r)
	}
	if _, err := New(Config{System: "nothing"}); err == nil {
		t.Error("an unknown system")
	}
	broken, err := New(Config{System: "cloudtrail"})
	if err != nil {
		t.Fatal(err)
	}
	if err := broken.Vantage(context.Background(), "broken", strings.NewReader(`{"Records":[{"eventID":"x"}]}`)); err == nil {
		t.Error("a record that cannot be read is passed over")
	}
}

// TestRealRecords reconciles records that AWS wrote with themselves, and with one
// file left out.
func TestRealRecords(t *testing.T) {
	var inputs []input
	for _, name := range realFiles(t) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, input{filepath.Base(name), text})
	}
	r := reconcile(t, Config{}, logged(t, inputs...), inputs...)
	if r.Vantage.Percent != "100.00" || r.Log.Percent != "100.00" || r.Claim.Result != view.Pass {
		t.Errorf("%+v", r.Claim)
	}
	left := inputs[len(inputs)/2]
	rest := append(append([]input{}, inputs[:len(inputs)/2]...), inputs[len(inputs)/2+1:]...)
	r = reconcile(t, Config{}, logged(t, rest...), inputs...)
	if n := len(logged(t, left)); len(r.Vantage.Misses) != n || n == 0 || len(r.Log.Misses) != 0 {
		t.Errorf("%d misses, %d records were left out", len(r.Vantage.Misses), n)
	}
	for _, m := range r.Vantage.Misses {
		if m.Input != left.name {
			t.Errorf("a miss that was logged: %s", m)
		}
	}
	r = reconcile(t, Config{}, logged(t, inputs...), rest...)
	if n := len(logged(t, left)); len(r.Log.Misses) != n || len(r.Vantage.Misses) != 0 {
		t.Errorf("%d only logged, %d records were left out", len(r.Log.Misses), n)
	}
}

// realFiles finds ../shared/data/cloudtrail beside the checkout.
func realFiles(t *testing.T) []string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if files, err := filepath.Glob(filepath.Join(dir, "shared", "data", "cloudtrail", "*.json")); err == nil && len(files) > 0 {
			return files
		}
		if dir == filepath.Dir(dir) {
			t.Skip("no shared/data/cloudtrail above this folder")
		}
	}
}

// TestReportIsPrintable: what stands in a record, or in its file's name, commands no
// terminal and turns no writing around.
func TestReportIsPrintable(t *testing.T) {
	const evil, harmless = "\x1b[2J\u202e", "\ufffd[2J\ufffd"
	miss := Miss{Kind: evil, Time: evil, Record: evil, Input: evil}
	index := int64(7)
	here := Miss{Kind: evil, Time: evil, Record: evil, Index: &index, Source: evil}
	r := Report{
		Inputs: []Input{{Name: evil, SHA256: evil}}, Vantage: Coverage{Misses: []Miss{miss}}, Log: Coverage{Misses: []Miss{here}}, Differs: []Miss{miss},
		Claim: view.Claim{Name: "D world", Result: view.Fail, Detail: evil},
	}
	var out bytes.Buffer
	if err := r.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.ContainsAny(text, "\x1b\u202e") || strings.Count(text, harmless) != 15 {
		t.Errorf("%d of them are there: %q", strings.Count(text, harmless), text)
	}
}
