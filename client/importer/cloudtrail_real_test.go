package importer

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// realRecords finds ../shared/data/cloudtrail beside the checkout.
func realRecords(t *testing.T) []string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		files, err := filepath.Glob(filepath.Join(dir, "shared", "data", "cloudtrail", "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) > 0 {
			return files
		}
		if dir == filepath.Dir(dir) {
			t.Skip("no shared/data/cloudtrail above this folder")
		}
	}
}

// TestRealRecords imports records that AWS wrote: one valid event for each, with
// the record inside, and the same bytes again.
func TestRealRecords(t *testing.T) {
	total := 0
	for _, name := range realRecords(t) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want := countedRecords(t, text)
		events, counts, err := importAll(t, Options{}, string(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(events) != len(want) || counts.Apart != 0 || counts.Malformed != 0 {
			t.Errorf("%s: %d records, %d events, %+v", name, len(want), len(events), counts)
		}
		for i, e := range events {
			if got := anyValue(t, original(t, valid(t, e))); !reflect.DeepEqual(got, want[i]) {
				t.Errorf("%s record %d: the event holds another record", name, i+1)
			}
		}
		again, _, err := importAll(t, Options{}, string(text))
		if err != nil || lines(again) != lines(events) {
			t.Errorf("%s: other bytes on the second import (%v)", name, err)
		}
		total += len(events)
	}
	t.Logf("%d records", total)
	if total != 1269 {
		t.Errorf("%d records, and there should be 1269", total)
	}
}

// countedRecords reads a file in another way than the importer.
func countedRecords(t *testing.T, text []byte) []any {
	t.Helper()
	switch v := anyValue(t, text).(type) {
	case []any:
		return v
	case map[string]any:
		return v["Records"].([]any)
	}
	t.Fatal("neither an object nor an array")
	return nil
}

func anyValue(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}
