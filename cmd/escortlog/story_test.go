package main

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"github.com/escortlog/escortlog/cmd/internal/samples"
	"github.com/escortlog/escortlog/log/event"
	"github.com/rogpeppe/go-internal/testscript"
)

// scriptStory writes the two sample sessions and what was said about them
// later, but for the registry's words, which take a key: story FILE
func scriptStory(ts *testscript.TestScript, _ bool, args []string) {
	sessions, err := samples.NewSessions()
	ts.Check(err)
	var out bytes.Buffer
	var command, denied, ended *event.Event
	for _, e := range append(sessions.Good, sessions.Unattested...) {
		ev, err := event.Parse(e.Payload)
		ts.Check(err)
		kind, _ := event.Lookup(ev.Type)
		if kind.Named {
			continue
		}
		switch {
		case kind.Short() == "command.executed" && command == nil:
			command = ev
		case kind.Short() == "instruction.reviewed" && bytes.Contains(ev.Data, []byte(`"rejected"`)):
			denied = ev
		case kind.Short() == "session.ended":
			ended = ev
		}
		out.Write(e.Payload)
		out.WriteByte('\n')
	}
	later := func(n byte, source, typ string, about *event.Event, data map[string]any) {
		at := time.Date(2025, time.June, 20, 12, 0, int(n), 0, time.UTC)
		person := func(ref string) map[string]any { return map[string]any{"ref": ref, "role": "records officer"} }
		data["target"] = map[string]any{"source": about.Source, "id": about.ID}
		data["reason"] = "=HYPERLINK(\"http://evil.example\")\x1b[2J"
		switch typ {
		case "record.redacted":
			data["authorised_by"], data["legal_ref"] = []any{person("p-9b40"), person("p-0d11")}, "order-12"
		case "record.retracted":
			data["retracted_by"], data["approved_by"] = person("p-c21d"), person("p-9b40")
		default:
			data["corrected_by"], data["approved_by"] = person("p-c21d"), person("p-9b40")
		}
		payload, err := event.Build(event.Attributes{
			ID: event.NewUUIDv7(at.UnixMilli(), [10]byte{n}), Source: source, Type: samples.FullType(typ), Subject: "record/" + about.ID, Time: at,
		}, data)
		ts.Check(err)
		fmt.Fprintf(&out, "%s\n", payload)
	}
	replace := func(path string, value any) map[string]any {
		return map[string]any{"patch": []any{map[string]any{"op": "replace", "path": path, "value": value}}}
	}
	later(1, command.Source, "record.corrected", command, replace("/data/exit_code", 3))
	later(2, "urn:example:somebody", "record.corrected", command, replace("/data/exit_code", 0))
	later(3, "urn:example:officer", "record.redacted", command, map[string]any{"paths": []any{"/data/command"}})
	later(4, denied.Source, "record.retracted", denied, map[string]any{})
	later(5, ended.Source, "record.corrected", ended, replace("/data/reason", "error"))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), out.Bytes(), 0o644))
}
