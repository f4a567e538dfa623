package rules_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// FuzzEngine gives the engine events that no schema has seen: two of any data
// behind a session in which all is well. It must neither panic nor say green over
// nothing.
func FuzzEngine(f *testing.F) {
	files, err := filepath.Glob("../../log/event/testdata/samples/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no samples", err)
	}
	for i, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		var sample struct{ Data json.RawMessage }
		if err := json.Unmarshal(b, &sample); err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), "session/s-1", int64(i), []byte(sample.Data), []byte("{}"))
	}
	f.Add(uint8(0), "change/c-1", int64(-1), []byte(`{"session_id":"s-1","targets":[{}]}`), []byte(`{"patch":[{"path":"x","from":""}]}`))
	records := newTeller(f).tell(base()).records
	types := event.Types()
	f.Fuzz(func(t *testing.T, typ uint8, subject string, ms int64, one, two []byte) {
		e := rules.New(nil)
		for _, r := range records {
			e.Add(r)
		}
		at := noon.Add(time.Duration(ms) * time.Millisecond)
		for i, data := range [][]byte{one, two} {
			name := types[int(typ)%len(types)].Name
			e.Add(rules.Record{Index: int64(len(records) + i), LeafTime: noon.UnixMilli(), Entry: &entry.Entry{}, Event: &event.Event{
				ID: id(subject), Source: "urn:example:gateway", Type: name, Subject: subject, Time: at, RecordedTime: at, Data: data}})
		}
		for _, v := range e.Report(at.Add(100 * day)) {
			if v.Status == rules.Pass && v.Population == 0 || v.Status == rules.Fail && v.Count == 0 || v.Status == rules.NotEvaluable && v.Reason == "" {
				t.Errorf("%+v", v)
			}
		}
	})
}
