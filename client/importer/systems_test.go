package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/event"
)

// importFrom imports one text of a system.
func importFrom(t *testing.T, system, text string) ([]Event, Counts, error) {
	t.Helper()
	im, err := New(system, Options{Source: testSource})
	if err != nil {
		t.Fatal(err)
	}
	var events []Event
	err = im.Import(t.Context(), "0", strings.NewReader(text), func(e Event) error {
		events = append(events, e)
		return nil
	})
	return events, im.Counts(), err
}

func sampleOf(t *testing.T, system string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + system + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tables hold the tables above the code of each system against its sample, which
// has a record for each row.
var tables = map[string][]string{
	"kubernetes": {
		"create pods/exec record.observed command.send asked",
		"create pods/exec session.started session.start succeeded",
		"create pods/exec session.ended session.end succeeded",
		"get pods/attach session.started session.start succeeded",
		"create pods/exec record.observed command.send failed",
		"create pods/portforward record.observed access.open succeeded",
		"get nodes/proxy record.observed access.open succeeded",
		"create serviceaccounts/token record.observed role.assume succeeded",
		"list pods record.observed role.assume succeeded",
		"create selfsubjectaccessreviews record.observed read succeeded",
		"get secrets record.observed read succeeded",
		"watch configmaps record.observed read succeeded",
		"patch deployments record.observed configuration.change succeeded",
		"delete clusterroles record.observed configuration.change failed",
		"update pods record.observed configuration.change failed",
		"get /healthz record.observed read succeeded",
		"teleport /somewhere record.observed other succeeded",
	},
	"teleport": {
		"session.start session.started session.start succeeded",
		"session.join record.observed participant.join succeeded",
		"session.command record.observed command.run succeeded",
		"session.leave record.observed participant.leave succeeded",
		"session.end session.ended session.end succeeded",
		"session.start session.started session.start succeeded",
		"db.session.start session.started session.start succeeded",
		"db.session.query record.observed command.run succeeded",
		"db.session.start record.observed session.start failed",
		"db.session.end session.ended session.end succeeded",
		"windows.desktop.session.start session.started session.start succeeded",
		"app.session.start session.started session.start succeeded",
		"session.start record.observed session.start succeeded",
		"exec record.observed command.run succeeded",
		"exec record.observed command.run failed",
		"sftp record.observed file.transfer succeeded",
		"scp record.observed file.transfer succeeded",
		"access_request.create record.observed access.request succeeded",
		"access_request.review record.observed access.review succeeded",
		"user.login record.observed login succeeded",
		"user.login record.observed login failed",
		"session_recording_config.update record.observed audit.change succeeded",
		"role.created record.observed configuration.change succeeded",
		"lock.deleted record.observed configuration.change succeeded",
		"session.rejected record.observed other unknown",
		"something.new record.observed other succeeded",
	},
	"ocsf": {
		"SSH Activity: Open session.started session.start unknown",
		"SSH Activity: Close session.ended session.end unknown",
		"SSH Activity: Open record.observed session.start failed",
		"SSH Activity: Open record.observed session.start succeeded",
		"Process Activity: Launch record.observed command.run succeeded",
		"Process Activity: Terminate record.observed other succeeded",
		"Account Change: Create record.observed account.change succeeded",
		"Authentication: Logon record.observed login succeeded",
		"Authentication: Logon record.observed login failed",
		"Authentication: Logoff record.observed logout succeeded",
		"Authorize Session: Assign Privileges record.observed role.assume succeeded",
		"Entity Management: Update record.observed configuration.change succeeded",
		"User Access Management: Assign Privileges record.observed access.change succeeded",
		"Group Management: Add User record.observed access.change succeeded",
		"600302 record.observed read succeeded",
		"API Activity: Delete record.observed configuration.change failed",
		"API Activity: Other record.observed other unknown",
		"Detection Finding: Create record.observed other succeeded",
	},
}

func TestTables(t *testing.T) {
	for system, table := range tables {
		t.Run(system, func(t *testing.T) {
			text := sampleOf(t, system)
			events, counts, err := importFrom(t, system, text)
			if err != nil || counts.Apart != 0 {
				t.Fatal(err, counts)
			}
			golden := "testdata/" + system + ".events.jsonl"
			if *update {
				if err := os.WriteFile(golden, []byte(lines(events)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if lines(events) != string(want) {
				t.Errorf("the events differ from %s; see the difference after go test -update", golden)
			}
			records := strings.Split(strings.TrimSpace(text), "\n")
			if len(events) != len(records) {
				t.Fatalf("%d records, %d events", len(records), len(events))
			}
			seen := make(map[string]bool)
			var got []string
			for i, e := range events {
				ev := valid(t, e)
				if string(original(t, ev)) != records[i] {
					t.Errorf("record %d\n%s\nbecame\n%s", i+1, records[i], original(t, ev))
				}
				if seen[ev.ID] {
					t.Errorf("record %d has the id of another", i+1)
				}
				seen[ev.ID] = true
				got = append(got, row(t, ev))
			}
			if !reflect.DeepEqual(got, table) {
				t.Errorf("mapped to\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(table, "\n"))
			}
			// The same bytes from an array, and when imported again.
			again, _, err := importFrom(t, system, "["+strings.Join(records, " , ")+"]")
			if err != nil || lines(again) != lines(events) {
				t.Errorf("an array gives other events (%v)", err)
			}
		})
	}
}

func row(t *testing.T, ev *event.Event) string {
	t.Helper()
	var data struct {
		Ext      struct{ Category, Outcome string }
		Imported struct{ Kind string }
	}
	if err := json.Unmarshal(ev.Data, &data); err != nil {
		t.Fatal(err)
	}
	typ, _ := event.Lookup(ev.Type)
	return strings.Join([]string{data.Imported.Kind, typ.Short(), data.Ext.Category, data.Ext.Outcome}, " ")
}

// TestStated: what an event says besides its record.
func TestStated(t *testing.T) {
	for _, c := range []struct {
		system string
		record int // from 1
		want   []string
	}{
		{"kubernetes", 2, []string{`"session_id":"00000000-0000-4000-8000-000000000001"`, `"target":{"id":"prod/pods/web-0"}`, `"protocol":"kubernetes"`, `"record_id":"00000000-0000-4000-8000-000000000001/ResponseStarted"`}},
		{"kubernetes", 3, []string{`"session_id":"00000000-0000-4000-8000-000000000001"`, `"reason":"other"`}},
		{"kubernetes", 5, []string{`"actor":{"ref":"mallory@example.org","role":"principal"}`}},
		{"kubernetes", 14, []string{`"target":{"id":"clusterroles/viewer"}`}},
		{"teleport", 1, []string{`"target":{"id":"22222222-3333-4444-8555-666666666666"}`, `"account":"root"`, `"protocol":"ssh"`, `"recording_mode":null`}},
		{"teleport", 3, []string{`"session_id":"11111111-2222-4333-8444-555555555555"`, `"actor":{"ref":"alice","role":"principal"}`}},
		{"teleport", 5, []string{`"duration_ms":4500`}},
		{"teleport", 6, []string{`"target":{"id":"prod"}`, `"protocol":"kubernetes"`, `"recording_mode":"off"`}},
		{"teleport", 7, []string{`"target":{"id":"orders"}`, `"account":"reader"`, `"protocol":"database"`}},
		{"teleport", 11, []string{`"target":{"id":"ws-7"}`, `"account":"Administrator"`, `"protocol":"rdp"`}},
		{"teleport", 12, []string{`"target":{"id":"grafana"}`, `"protocol":"https"`}},
		{"ocsf", 1, []string{`"session_id":"ssh-1"`, `"target":{"id":"i-0123456789abcdef0"}`, `"protocol":"ssh"`}},
		{"ocsf", 5, []string{`"session_id":"ssh-1"`, `"target":{"id":"web-1.example.org"}`, `"actor":{"ref":"u-alice","role":"principal"}`}},
		{"ocsf", 9, []string{`"actor":{"ref":"mallory","role":"principal"}`}},
		{"ocsf", 13, []string{`"target":{"id":"db-1"}`}},
		{"ocsf", 17, []string{`"actor":null`}},
	} {
		events, _, err := importFrom(t, c.system, sampleOf(t, c.system))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if payload := events[c.record-1].Payload; !bytes.Contains(payload, []byte(want)) {
				t.Errorf("%s record %d does not say %s:\n%s", c.system, c.record, want, payload)
			}
		}
	}
}

// TestMalformedRecords: what is no record of the system is named, never guessed at.
func TestMalformedRecords(t *testing.T) {
	first := func(system string) string {
		line, _, _ := strings.Cut(sampleOf(t, system), "\n")
		return line
	}
	k8s, teleport, ocsf := first("kubernetes"), first("teleport"), first("ocsf")
	change := func(s, old, new string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("no %s in %s", old, s)
		}
		return strings.Replace(s, old, new, 1)
	}
	for _, c := range []struct{ system, name, record string }{
		{"kubernetes", "empty", `{}`},
		{"kubernetes", "another kind", change(k8s, `"kind":"Event"`, `"kind":"Pod"`)},
		{"kubernetes", "another version", change(k8s, `audit.k8s.io/v1`, `audit.k8s.io/v1beta1`)},
		{"kubernetes", "no auditID", change(k8s, `"auditID"`, `"audit"`)},
		{"kubernetes", "no stage", change(k8s, `"stage"`, `"step"`)},
		{"kubernetes", "no time", strings.ReplaceAll(k8s, `Timestamp"`, `Time"`)},
		{"kubernetes", "a wrong time", change(k8s, `"stageTimestamp":"2026`, `"stageTimestamp":"yesterday 2026`)},
		{"kubernetes", "a user that is a text", change(k8s, `"user":{`, `"user":"alice","then":{`)},
		{"kubernetes", "no object", `7`},
		{"teleport", "empty", `{}`},
		{"teleport", "no event", change(teleport, `"event"`, `"evnt"`)},
		{"teleport", "no code", change(teleport, `"code"`, `"cod"`)},
		{"teleport", "no time", change(teleport, `"time"`, `"when"`)},
		{"teleport", "before the epoch", change(teleport, `"time":"2026`, `"time":"1969`)},
		{"teleport", "a sid that is a number", change(teleport, `"sid":"`, `"sid":7,"x":"`)},
		{"ocsf", "empty", `{}`},
		{"ocsf", "no version", change(ocsf, `"version"`, `"verse"`)},
		{"ocsf", "a later version", change(ocsf, `"version":"1.5.0"`, `"version":"2.0.0"`)},
		{"ocsf", "an earlier version", change(ocsf, `"version":"1.5.0"`, `"version":"0.9"`)},
		{"ocsf", "no class", change(ocsf, `"class_uid"`, `"class"`)},
		{"ocsf", "no time", change(ocsf, `"time"`, `"times"`)},
		{"ocsf", "nanoseconds", change(ocsf, `"time":1770116401000`, `"time":1770116401000000000`)},
		{"ocsf", "a negative time", change(ocsf, `"time":1`, `"time":-1`)},
		{"ocsf", "a time with a fraction", change(ocsf, `"time":1770116401000`, `"time":1770116401000.5`)},
		{"ocsf", "a cloudtrail record", `{"eventTime":"2026-01-01T00:00:00Z","eventName":"X","eventSource":"y"}`},
	} {
		t.Run(c.system+" "+c.name, func(t *testing.T) {
			good := first(c.system)
			events, counts, err := importFrom(t, c.system, "["+good+","+c.record+"]")
			var malformed *RecordError
			if !errors.As(err, &malformed) || malformed.Record != 2 || malformed.Broken || counts.Events != 1 || len(events) != 1 {
				t.Errorf("error %v, counts %+v", err, counts)
			}
		})
	}
}

// TestEventList: what the API server posts to a webhook gives the same events;
// what its envelope says besides would be lost, and is not passed over.
func TestEventList(t *testing.T) {
	text := sampleOf(t, "kubernetes")
	want, _, err := importFrom(t, "kubernetes", text)
	if err != nil {
		t.Fatal(err)
	}
	items := strings.Join(strings.Split(strings.TrimSpace(text), "\n"), ",")
	const head = `"kind":"EventList","apiVersion":"audit.k8s.io/v1"`
	for _, list := range []string{
		`{` + head + `,"metadata":{},"items":[` + items + `]}`,
		`{"items":[` + items + `],"metadata": { },` + head + `}`,
		`{"items":[` + items + `]}`,
	} {
		got, _, err := importFrom(t, "kubernetes", list)
		if err != nil || lines(got) != lines(want) {
			t.Errorf("%.60s gives other events (%v)", list, err)
		}
	}
	// What it really posts: items without kind and apiVersion, list after list. They
	// are the same records under the same ids.
	bare := strings.ReplaceAll(items, `"kind":"Event","apiVersion":"audit.k8s.io/v1",`, "")
	got, _, err := importFrom(t, "kubernetes", `{`+head+`,"metadata":{},"items":[`+bare+`]}`+"\n"+`{`+head+`,"metadata":{},"items":[]}`)
	if err != nil || len(got) != len(want) || strings.Contains(bare, "EventList") || bare == items {
		t.Fatalf("%d of %d events, %v", len(got), len(want), err)
	}
	for i := range got {
		a, b := valid(t, got[i]), valid(t, want[i])
		if a.ID != b.ID || a.Type != b.Type || a.Subject != b.Subject || !a.Time.Equal(b.Time) {
			t.Errorf("%s %s is %s %s in a list", b.ID, b.Type, a.ID, a.Type)
		}
	}
	for _, list := range []string{
		`{` + head + `,"metadata":{"continue":"x"},"items":[` + items + `]}`,
		`{"kind":"EventList","apiVersion":"audit.k8s.io/v2","items":[` + items + `]}`,
		`{"items":[` + items + `],"more":1}`,
		`{"items":[` + items + `],"kind":"EventList"`,
	} {
		var malformed *RecordError
		if _, _, err := importFrom(t, "kubernetes", list); !errors.As(err, &malformed) || !malformed.Broken {
			t.Errorf("%.60s: %v", list, err)
		}
	}
	// Elsewhere, items is a member like any other.
	if _, counts, err := importFrom(t, "teleport", `{"event":"x.y","code":"T0000I","time":"2026-02-03T11:00:00Z","items":[1,2]}`); err != nil || counts.Events != 1 {
		t.Errorf("%+v, %v", counts, err)
	}
}

// TestFoundInTheWild: shapes that real systems write beside what their
// documentation says.
func TestFoundInTheWild(t *testing.T) {
	for name, c := range map[string]struct {
		system, record string
		want           string // type, category, outcome, time
		target         string
	}{
		"time in microseconds": {"ocsf", `{"metadata":{"version":"1.2.0"},"class_uid":6003,"activity_id":1,"time":1770116400123456,"time_dt":"2026-02-03T11:00:00.123456Z","resources":[{"name":"node-1","uid":null}]}`,
			"record.observed configuration.change unknown 2026-02-03T11:00:00.123456Z", "node-1"},
		"time as a string": {"ocsf", `{"metadata":{"version":"1.0.0"},"class_uid":4003,"activity_id":6,"time":"2026-02-03T11:00:00Z"}`,
			"record.observed other unknown 2026-02-03T11:00:00Z", ""},
		"nulls where there is nothing": {"ocsf", `{"metadata":{"version":"1.1.0","uid":null},"class_uid":6003,"activity_id":2,"time":1770116400000,"actor":{"session":{"issuer":null},"user":{"name":null}},"dst_endpoint":null,"resources":null}`,
			"record.observed read unknown 2026-02-03T11:00:00Z", ""},
		"a desktop without a name": {"teleport", `{"event":"windows.desktop.session.start","code":"TDP00I","time":"2026-02-03T11:00:00.5Z","sid":"4a0e","success":true,"desktop_addr":"192.0.2.7:3389","windows_user":"administrator","user":"alice"}`,
			"session.started session.start succeeded 2026-02-03T11:00:00.5Z", "192.0.2.7:3389"},
		"an empty sid": {"teleport", `{"event":"sftp","code":"TS001I","time":"2026-02-03T11:00:00Z","sid":"","server_id":"node-1","user":"root"}`,
			"record.observed file.transfer succeeded 2026-02-03T11:00:00Z", "node-1"},
		"a warning": {"teleport", `{"event":"agent-forward","code":"T3013W","time":"2026-02-03T11:00:00Z","uid":"68a8"}`,
			"record.observed other unknown 2026-02-03T11:00:00Z", ""},
		"an exec by get": {"kubernetes", `{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"34b7","stage":"ResponseStarted","verb":"get","requestURI":"/api/v1/namespaces/default/pods/p/exec?stdin=true","objectRef":{"resource":"pods","namespace":"default","name":"p","subresource":"exec"},"responseStatus":{"code":101},"requestReceivedTimestamp":"2026-02-03T11:00:00.000001Z"}`,
			"session.started session.start succeeded 2026-02-03T11:00:00.000001Z", "default/pods/p"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			events, counts, err := importFrom(t, c.system, c.record)
			if err != nil || counts.Events != 1 || counts.Apart != 0 {
				t.Fatal(err, counts)
			}
			ev := valid(t, events[0])
			var data struct {
				Target struct{ ID string }
				Ext    struct{ Category, Outcome string }
			}
			if err := json.Unmarshal(ev.Data, &data); err != nil {
				t.Fatal(err)
			}
			short := strings.TrimSuffix(strings.TrimPrefix(ev.Type, event.Prefix), ".v1")
			got := strings.Join([]string{short, data.Ext.Category, data.Ext.Outcome, ev.Time.Format(time.RFC3339Nano)}, " ")
			if got != c.want || data.Target.ID != c.target {
				t.Errorf("%s on %q, want %s on %q", got, data.Target.ID, c.want, c.target)
			}
			if again, _, _ := importFrom(t, c.system, c.record); lines(again) != lines(events) {
				t.Error("other bytes the second time")
			}
		})
	}
	// Without a time that can be read nothing is invented.
	if _, _, err := importFrom(t, "ocsf", `{"metadata":{"version":"1.2.0"},"class_uid":6003,"activity_id":1,"time":1770116400123456}`); err == nil {
		t.Error("a time in microseconds is taken for one")
	}
}

// TestLongKinds: a kind that no event could hold is shortened, and the record
// still holds the whole.
func TestLongKinds(t *testing.T) {
	for _, kind := range []string{strings.Repeat("x", 500), strings.Repeat("ü", 200), "a\tb\u007f"} {
		quoted, err := json.Marshal(kind)
		if err != nil {
			t.Fatal(err)
		}
		record := fmt.Sprintf(`{"event":%s,"code":"T0000I","time":"2026-02-03T11:00:00Z"}`, quoted)
		events, counts, err := importFrom(t, "teleport", record)
		if err != nil || counts.Apart != 0 {
			t.Errorf("%.20q: %+v, %v", kind, counts, err)
			continue
		}
		if got := original(t, valid(t, events[0])); string(got) != record {
			t.Errorf("%.20q: kept %s", kind, got)
		}
	}
}

// FuzzSystems: whatever comes in, what goes out is an event.
func FuzzSystems(f *testing.F) {
	names := []string{"kubernetes", "ocsf", "teleport"}
	for i, name := range names {
		text, err := os.ReadFile("testdata/" + name + ".jsonl")
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			f.Add(byte(i), line)
		}
	}
	f.Fuzz(func(t *testing.T, system byte, text string) {
		im, err := New(names[int(system)%len(names)], Options{Source: testSource, Malformed: func(*RecordError) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := im.Import(t.Context(), "0", strings.NewReader(text), func(e Event) error {
			n++
			valid(t, e)
			return nil
		}); err != nil || n != im.Counts().Events {
			t.Fatalf("%v, %d events, counts %+v", err, n, im.Counts())
		}
	})
}
