package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/outbox"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/event"
	"github.com/rogpeppe/go-internal/testscript"
)

// scriptHTTP sends a request to the address that another command writes to a
// file, and keeps status and body: http ADDRESS METHOD PATH ANSWER [BODY]
func scriptHTTP(ts *testscript.TestScript, _ bool, args []string) {
	var base string
	for deadline := time.Now().Add(time.Minute); base == ""; time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && bytes.HasSuffix(text, []byte("\n")) {
			base = strings.TrimSpace(string(text))
		} else if time.Now().After(deadline) {
			ts.Fatalf("no address in %s", args[0])
		}
	}
	var body bytes.Buffer
	if len(args) > 4 {
		text, err := os.ReadFile(ts.MkAbs(args[4]))
		ts.Check(err)
		body.Write(text)
	}
	req, err := http.NewRequest(args[1], base+args[2], &body)
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	var out bytes.Buffer
	fmt.Fprintln(&out, resp.StatusCode)
	_, err = out.ReadFrom(resp.Body)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), out.Bytes(), 0o644))
}

// testBox is an outbox whose log is never asked.
func testBox(t *testing.T, maxBytes int64) *outbox.Outbox {
	t.Helper()
	key, err := event.GenerateKey(event.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	box, err := outbox.Open(outbox.Config{
		Dir: t.TempDir(), Source: "urn:example:gateway", Key: key, MaxBytes: maxBytes,
		Log: &client.Submitter{URL: "http://127.0.0.1:1", Policy: &checkpoint.Policy{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	return box
}

const agentSample = `{"id":"019ca8a0-3e80-7000-8000-000000000000","type":"session.paused","subject":"session/s-1","time":"2026-03-01T10:00:00+01:00",` +
	`"extensions":{"correlationid":"c-1"},"data":{"session_id":"s-1","paused_by":null,"reason":"lunch"}}`

func TestAgentHandler(t *testing.T) {
	handler := agentHandler(testBox(t, 4000))
	send := func(host, method, path, contentType, body string) *httptest.ResponseRecorder {
		req := httptest.NewRequest(method, path, strings.NewReader(body))
		req.Host = host
		req.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		return w
	}
	const local, json = "127.0.0.1:7070", "application/json"
	change := func(old, new string) string { return strings.Replace(agentSample, old, new, 1) }
	for _, c := range []struct {
		name, host, method, path, contentType, body string
		status                                      int
		says                                        string
	}{
		{"event", local, "POST", "/v1/events", json, agentSample, 202, `{"sequence":1,"id":"019ca8a0-3e80-7000-8000-000000000000"}`},
		{"again", "localhost", "POST", "/v1/events", "application/json; charset=utf-8", agentSample, 202, `"sequence":1`},
		{"another under its id", "[::1]:7070", "POST", "/v1/events", json, change("lunch", "dinner"), 409, "conflict"},
		{"schema", local, "POST", "/v1/events", json, change("000000000000", "000000000001")[:len(agentSample)-2] + `,"x":1}}`, 422, "schema-violation"},
		{"time", local, "POST", "/v1/events", json, change("2026-03", "2999-03"), 422, "time-in-future"},
		{"source", local, "POST", "/v1/events", json, change(`"type"`, `"source":"urn:example:other","type"`), 400, "malformed-request"},
		{"no type", local, "POST", "/v1/events", json, `{"subject":"session/s-1","data":{}}`, 400, "want a JSON object"},
		{"no object", local, "POST", "/v1/events", json, `[]`, 400, ": this is no object"},
		{"twice a name", local, "POST", "/v1/events", json, change(`"type"`, `"type":"x","type"`), 400, "duplicate"},
		{"a number for an id", local, "POST", "/v1/events", json, `{"id":7}`, 400, ": at /id: want a string"},
		{"no time", local, "POST", "/v1/events", json, `{"time":"soon"}`, 400, ": at /time: want a string with a time such as"},
		{"a number for an extension", local, "POST", "/v1/events", json, `{"extensions":{"a":1}}`, 400, ": at /extensions/a: want a string"},
		{"no extensions", local, "POST", "/v1/events", json, `{"extensions":[]}`, 400, ": at /extensions: want an object of strings"},
		{"unknown member", local, "POST", "/v1/events", json, `{"x":{}}`, 400, ": /x is none of these"},
		{"empty", local, "POST", "/v1/events", json, ``, 400, "want a JSON object"},
		{"a form", local, "POST", "/v1/events", "text/plain", agentSample, 415, "application/json"},
		{"too large", local, "POST", "/v1/events", json, change("lunch", strings.Repeat("x", maxItem)), 413, "too-large"},
		{"a page's name", "evil.example:7070", "POST", "/v1/events", json, agentSample, 403, "not-local"},
		{"status", local, "GET", "/v1/status", "", "", 200, `"pending":1`},
		{"no path", local, "GET", "/", "", "", 404, ""},
		{"method", local, "GET", "/v1/events", "", "", 405, ""},
	} {
		w := send(c.host, c.method, c.path, c.contentType, c.body)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
	anonymous := strings.Replace(agentSample, `"id":"019ca8a0-3e80-7000-8000-000000000000",`, "", 1)
	for range 10 {
		w := send(local, "POST", "/v1/events", json, anonymous)
		if w.Code == 503 {
			if w.Header().Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			return
		}
	}
	t.Error("never full")
}
