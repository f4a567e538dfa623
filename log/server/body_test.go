package server

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzElements: what is split is a JSON array, each element is a value of it
// exactly as it was written, and joined again they are the same array.
func FuzzElements(f *testing.F) {
	for _, seed := range []string{"[]", " [1, {\"a\":1,\"a\":2} ,\n\"x\"] ", "[[],[{}]]", "[1,]", "[", "[]]", "{}", "", "null", "[\"\\ud800\"]", "[\xff]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := elements(body, 10)
		if err != nil {
			if status := toRefusal(err).status(); status != 400 && status != 413 {
				t.Fatalf("status %d: %v", status, err)
			}
			return
		}
		var want []json.RawMessage
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("accepted what is no array: %v", err)
		}
		if len(want) != len(list) {
			t.Fatalf("%d elements, want %d", len(list), len(want))
		}
		for i := range list {
			if !bytes.Equal(list[i], want[i]) {
				t.Fatalf("element %d is %s, want %s", i, list[i], want[i])
			}
		}
	})
}

// FuzzBinaryMode: whatever stands in headers and body makes an event or a
// refusal that is the client's fault.
func FuzzBinaryMode(f *testing.F) {
	f.Add("1.0", "session/s%2D1", "application/json", []byte("{}"))
	f.Add("", "%zz", "", []byte("{},\"x\":1"))
	f.Fuzz(func(t *testing.T, version, subject, contentType string, body []byte) {
		header := map[string][]string{"Ce-Specversion": {version}, "Ce-Subject": {subject}, "Content-Type": {contentType}}
		payload, err := binaryPayload(header, body)
		if err == nil {
			t.Fatalf("an event without an id: %s", payload)
		}
		if status := toRefusal(err).status(); status != 400 && status != 413 {
			t.Fatalf("status %d: %v", status, err)
		}
	})
}
