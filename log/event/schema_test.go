package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
)

// edited returns the sample payload with its data passed through edit.
func edited(t testing.TB, payload []byte, edit func(data map[string]any)) *Event {
	t.Helper()
	ev, err := Parse(payload)
	if err != nil {
		t.Fatal(err)
	}
	var data map[string]any
	d := json.NewDecoder(bytes.NewReader(ev.Data))
	d.UseNumber()
	if err := d.Decode(&data); err != nil {
		t.Fatal(err)
	}
	edit(data)
	if ev.Data, err = json.Marshal(data); err != nil {
		t.Fatal(err)
	}
	return ev
}

// object is as much of a schema as the tests look at.
type schemaDoc struct {
	Schema               string `json:"$schema"`
	ID                   string `json:"$id"`
	Ref                  string `json:"$ref"`
	Title, Description   string
	Type                 any
	Properties           map[string]*schemaDoc
	Required             []string
	AdditionalProperties any
	Items                *schemaDoc
	AnyOf, AllOf         []*schemaDoc
	Defs                 map[string]*schemaDoc `json:"$defs"`
}

func readSchema(t testing.TB, b []byte) *schemaDoc {
	t.Helper()
	var s schemaDoc
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// TestEveryType: each row has a schema, each schema a row, each a sample; the
// sample is valid and has every member the schema defines, so that the other
// tests reach all of it.
func TestEveryType(t *testing.T) {
	all := samples(t)
	for _, typ := range Types() {
		short := strings.TrimPrefix(typ.Name, Prefix)
		payload, ok := all[short]
		if !ok {
			t.Errorf("%s has no sample", short)
			continue
		}
		delete(all, short)
		ev, err := Parse(payload)
		if err != nil {
			t.Errorf("%s: %v", short, err)
			continue
		}
		if ev.Type != typ.Name {
			t.Errorf("the sample of %s is of type %s", short, ev.Type)
		}
		if err := Validate(ev, false); err != nil {
			t.Errorf("%s: %v", short, err)
		}
		schema := readSchema(t, Schema(typ.Name))
		if schema.ID != SchemaID(typ.Name) || schema.Schema != "https://json-schema.org/draft/2020-12/schema" || schema.Title == "" || schema.Description == "" {
			t.Errorf("%s: $id %q, $schema %q, title %q, description %q", short, schema.ID, schema.Schema, schema.Title, schema.Description)
		}
		var data map[string]json.RawMessage
		if err := json.Unmarshal(ev.Data, &data); err != nil {
			t.Fatal(err)
		}
		for name := range schema.Properties {
			if _, ok := data[name]; !ok {
				t.Errorf("the sample of %s leaves %s out", short, name)
			}
		}
	}
	for name := range all {
		t.Errorf("the sample %s is of no type", name)
	}
	files, err := fs.ReadDir(schemaFiles, "schemas")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, ok := Lookup(Prefix + strings.TrimSuffix(f.Name(), ".json")); !ok && f.Name() != commonSchema {
			t.Errorf("the schema %s is of no type", f.Name())
		}
	}
	if len(Schemas()) != len(table) || Schema(Prefix+"no.such.v1") != nil {
		t.Errorf("Schemas lists %d of %d types", len(Schemas()), len(table))
	}
	for _, s := range Schemas() {
		if s.Title == "" || s.ID != SchemaID(s.Type.Name) {
			t.Errorf("Schemas: %+v", s)
		}
	}
}

// TestSchemasAreDocumented: every member of every object says what it is, in
// itself or where it refers to, and every object refuses members that nobody
// defined.
func TestSchemasAreDocumented(t *testing.T) {
	_, b := CommonSchema()
	common := readSchema(t, b)
	var visit func(where string, s *schemaDoc)
	visit = func(where string, s *schemaDoc) {
		if len(s.Properties) > 0 && s.AdditionalProperties != false {
			t.Errorf("%s takes undefined members", where)
		}
		for name, p := range s.Properties {
			def := common.Defs[p.Ref[strings.LastIndex(p.Ref, "/")+1:]]
			if p.Description == "" && (def == nil || def.Description == "") {
				t.Errorf("%s/%s has no description", where, name)
			}
			visit(where+"/"+name, p)
		}
		for i, sub := range slices.Concat(s.AnyOf, s.AllOf) {
			visit(fmt.Sprintf("%s/%d", where, i), sub)
		}
		if s.Items != nil {
			visit(where+"/items", s.Items)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(common.Defs)) {
		if common.Defs[name].Description == "" {
			t.Errorf("common.json: %s has no description", name)
		}
		visit(name, common.Defs[name])
	}
	for _, typ := range Types() {
		s := readSchema(t, Schema(typ.Name))
		visit(typ.Name, s)
		for _, name := range s.Required {
			if s.Properties[name] == nil {
				t.Errorf("%s requires %s, which it does not define", typ.Name, name)
			}
		}
	}
}

// TestRequiredMembers: without any one member that the schema requires, the
// sample is refused, and the error points to the member.
func TestRequiredMembers(t *testing.T) {
	all, dropped := samples(t), 0
	for _, typ := range Types() {
		short := strings.TrimPrefix(typ.Name, Prefix)
		for _, name := range readSchema(t, Schema(typ.Name)).Required {
			ev := edited(t, all[short], func(data map[string]any) { delete(data, name) })
			wantError(t, short+" without "+name, Validate(ev, false), Invalid, SlugSchema, "/data/"+name)
			dropped++
		}
	}
	if dropped < 300 {
		t.Errorf("only %d members are required in all types together", dropped)
	}
}

// TestOptionalMembers: every other member can be left out.
func TestOptionalMembers(t *testing.T) {
	all := samples(t)
	// Leaving these out of the sample breaks a rule about two members together.
	together := map[string]bool{"key.revoked.v1/since": true}
	for _, typ := range Types() {
		short := strings.TrimPrefix(typ.Name, Prefix)
		schema := readSchema(t, Schema(typ.Name))
		for name := range schema.Properties {
			if slices.Contains(schema.Required, name) || together[short+"/"+name] {
				continue
			}
			ev := edited(t, all[short], func(data map[string]any) { delete(data, name) })
			if err := Validate(ev, false); err != nil {
				t.Errorf("%s without %s: %v", short, name, err)
			}
		}
	}
}

// TestMembersAreTyped: no member takes a value of another JSON type, and no
// object in the sample takes a member that the schema does not define.
func TestMembersAreTyped(t *testing.T) {
	for short, payload := range samples(t) {
		ev := edited(t, payload, func(data map[string]any) { data["undefined_member"] = 1 })
		wantError(t, short, Validate(ev, false), Invalid, SlugSchema, "/data/undefined_member")
		var names []string
		edited(t, payload, func(data map[string]any) { names = slices.Sorted(maps.Keys(data)) })
		for _, name := range names {
			ev := edited(t, payload, func(data map[string]any) { data[name] = wrongType(data[name]) })
			err := Validate(ev, false)
			e, ok := err.(*Error)
			if !ok || e.Kind != Invalid || e.Slug != SlugSchema || !strings.HasPrefix(e.Pointer, "/data/"+name) {
				t.Errorf("%s with another type of %s: %v", short, name, err)
			}
			if name == "ext" {
				continue
			}
			for _, path := range objectsIn(nil, name, dataOf(t, payload)[name]) {
				ev := edited(t, payload, func(data map[string]any) { at(data, path)["undefined_member"] = 1 })
				if err := Validate(ev, false); err == nil {
					t.Errorf("%s takes an undefined member at %v", short, path)
				}
			}
		}
	}
}

func dataOf(t testing.TB, payload []byte) (data map[string]any) {
	edited(t, payload, func(d map[string]any) { data = d })
	return data
}

func wrongType(v any) any {
	if _, isBool := v.(bool); isBool {
		return "true"
	}
	return false
}

// objectsIn lists the paths of all objects in v, but for the free ones.
func objectsIn(prefix []any, step any, v any) (paths [][]any) {
	path := append(slices.Clone(prefix), step)
	if step == "original" || step == "counts" || step == "totals" {
		return nil
	}
	switch v := v.(type) {
	case map[string]any:
		paths = append(paths, path)
		for name, sub := range v {
			paths = append(paths, objectsIn(path, name, sub)...)
		}
	case []any:
		for i, sub := range v {
			paths = append(paths, objectsIn(path, i, sub)...)
		}
	}
	return paths
}

func at(v any, path []any) map[string]any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			v = v.(map[string]any)[step]
		case int:
			v = v.([]any)[step]
		}
	}
	return v.(map[string]any)
}

// set returns an edit that writes value at a path of member names.
func set(value any, path ...string) func(map[string]any) {
	return func(data map[string]any) {
		for _, name := range path[:len(path)-1] {
			data = data[name].(map[string]any)
		}
		data[path[len(path)-1]] = value
	}
}

func TestValidateValues(t *testing.T) {
	all := samples(t)
	for name, c := range map[string]struct {
		typ     string
		edit    func(map[string]any)
		pointer string // empty: valid
	}{
		"null where not known":       {"session.started.v1", set(nil, "escort"), ""},
		"null in an enumeration":     {"session.started.v1", set(nil, "recording_mode"), ""},
		"null where required":        {"session.started.v1", set(nil, "target"), "/data/target"},
		"person without role":        {"session.started.v1", func(d map[string]any) { delete(d["escort"].(map[string]any), "role") }, "/data/escort/role"},
		"country in lower case":      {"session.started.v1", set("us", "escort", "location_country"), "/data/escort/location_country"},
		"country without its source": {"session.started.v1", func(d map[string]any) { delete(d["escort"].(map[string]any), "location_source") }, "/data/escort/location_source"},
		"unknown citizenship":        {"session.started.v1", set("german", "engineer", "citizenship_class"), "/data/engineer/citizenship_class"},
		"unknown impact level":       {"session.started.v1", set("IL3", "target", "impact_level"), "/data/target/impact_level"},
		"unknown mode":               {"session.started.v1", set("watch", "engineer_mode"), "/data/engineer_mode"},
		"id with a space":            {"session.started.v1", set("s 1", "session_id"), "/data/session_id"},
		"empty id":                   {"session.started.v1", set("", "session_id"), "/data/session_id"},
		"long id":                    {"session.started.v1", set(strings.Repeat("x", 257), "session_id"), "/data/session_id"},
		"window with offset":         {"session.approved.v1", set("2026-06-01T12:00:00+01:00", "window", "not_after"), "/data/window/not_after"},
		"window of 31 June":          {"session.approved.v1", set("2026-06-31T12:00:00Z", "window", "not_after"), "/data/window/not_after"},
		"no targets":                 {"session.approved.v1", set([]any{}, "targets"), "/data/targets"},
		"privilege twice":            {"session.approved.v1", set([]any{"a", "a"}, "privileges"), "/data/privileges"},
		"nobody approved":            {"session.approved.v1", set(nil, "approver"), "/data/approver"},
		"a machine approved":         {"session.approved.v1", func(d map[string]any) { d["approver"], d["auto"] = nil, true }, ""},
		"nobody approved a change":   {"change.approved.v1", set(nil, "approver"), "/data/approver"},
		"commit without size":        {"command.executed.v1", func(d map[string]any) { delete(d["command"].(map[string]any), "size") }, "/data/command/size"},
		"commit in the clear":        {"command.executed.v1", set("rm -rf /", "command"), "/data/command"},
		"commit short":               {"command.executed.v1", set("sha256:00", "command", "$commit"), "/data/command/$commit"},
		"match digest not keyed":     {"command.executed.v1", set("sha256:"+hash64, "match_digest"), "/data/match_digest"},
		"exit code a fraction":       {"command.executed.v1", set(json.Number("1.5"), "exit_code"), "/data/exit_code"},
		"exit code too large":        {"command.executed.v1", set(json.Number("4294967296"), "exit_code"), "/data/exit_code"},
		"negative exit code":         {"command.executed.v1", set(json.Number("-1"), "exit_code"), ""},
		"negative bytes":             {"command.executed.v1", set(json.Number("-1"), "bytes"), "/data/bytes"},
		"bytes beyond 2^53":          {"command.executed.v1", set(json.Number("9007199254740992"), "bytes"), "/data/bytes"},
		"bytes as far as it goes":    {"command.executed.v1", set(json.Number("9007199254740991"), "bytes"), ""},
		"bytes a string":             {"command.executed.v1", set("12", "bytes"), "/data/bytes"},
		"dataref relative":           {"script.staged.v1", set("objects/1", "artifact", "dataref"), "/data/artifact/dataref"},
		"segment zero":               {"recording.segment_sealed.v1", set(json.Number("0"), "segment"), "/data/segment"},
		"counts of no type":          {"session.ended.v1", set(map[string]any{"Commands": 1}, "counts"), "/data/counts/Commands"},
		"negative count":             {"session.ended.v1", set(map[string]any{"command.executed": -1}, "counts"), "/data/counts/command.executed"},
		"by hand, in a session":      {"change.applied.v1", func(d map[string]any) { delete(d, "pipeline_ref") }, ""},
		"through a pipeline":         {"change.applied.v1", func(d map[string]any) { delete(d, "session_id") }, ""},
		"neither":                    {"change.applied.v1", func(d map[string]any) { delete(d, "session_id"); delete(d, "pipeline_ref") }, "/data/pipeline_ref"},
		"one authoriser":             {"record.redacted.v1", func(d map[string]any) { d["authorised_by"] = d["authorised_by"].([]any)[:1] }, "/data/authorised_by"},
		"one authoriser twice":       {"record.redacted.v1", func(d map[string]any) { a := d["authorised_by"].([]any); a[1] = a[0] }, "/data/authorised_by"},
		"patch path no pointer":      {"record.corrected.v1", set([]any{map[string]any{"op": "remove", "path": "reason"}}, "patch"), "/data/patch/0/path"},
		"patch of no operation":      {"record.corrected.v1", set([]any{map[string]any{"op": "edit", "path": "/x"}}, "patch"), "/data/patch/0/op"},
		"hold of nothing":            {"hold.placed.v1", set(map[string]any{}, "scope"), "/data/scope"},
		"sequence too short":         {"source.gap.v1", set("7", "first_sequence"), "/data/first_sequence"},
		"compromised since never":    {"key.revoked.v1", func(d map[string]any) { delete(d, "since") }, "/data/since"},
		"superseded since":           {"key.revoked.v1", set("superseded", "reason"), "/data/since"},
		"heartbeat of no time":       {"source.registered.v1", set(json.Number("0"), "heartbeat_s"), "/data/heartbeat_s"},
		"unknown role":               {"source.registered.v1", set([]any{"king"}, "roles"), "/data/roles/0"},
		"fourteen administrators":    {"admins.changed.v1", func(d map[string]any) { d["administrators"] = slices.Repeat(d["administrators"].([]any), 14) }, "/data/administrators"},
		"threshold zero":             {"admins.changed.v1", set(json.Number("0"), "threshold"), "/data/threshold"},
		"threshold of eight":         {"admins.changed.v1", set(json.Number("8"), "threshold"), "/data/threshold"},
		"record and its digest":      {"record.observed.v1", set(map[string]any{"digest": "sha256:" + hash64, "size": 1, "media_type": "application/json"}, "imported", "artifact"), "/data/imported"},
		"neither record nor digest":  {"record.observed.v1", func(d map[string]any) { delete(d["imported"].(map[string]any), "original") }, "/data/imported/artifact"},
		"member with a slash":        {"record.observed.v1", set(1, "a/b~c"), "/data/a~1b~0c"},
		"person not fully known":     {"person.enrolled.v1", func(d map[string]any) { delete(d["person"].(map[string]any), "clearance") }, "/data/person/clearance"},
		"system not fully known":     {"system.registered.v1", func(d map[string]any) { delete(d["system"].(map[string]any), "boundary") }, "/data/system/boundary"},
	} {
		err := Validate(edited(t, all[c.typ], c.edit), false)
		if c.pointer == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		wantError(t, name, err, Invalid, SlugSchema, c.pointer)
	}
}

// TestSubjectIsWhatDataIsAbout: an event cannot be filed under another thing.
// TestWrongValuesAreSaidPlainly: a submitter can tell from the detail what to change.
func TestWrongValuesAreSaidPlainly(t *testing.T) {
	all := samples(t)
	for typ, c := range map[string]struct {
		edit   func(map[string]any)
		detail string
	}{
		"key.revoked.v1":              {func(d map[string]any) { d["reason"] = "superseded" }, "must be left out"},
		"command.executed.v1":         {func(d map[string]any) { d["bytes"] = json.Number("9007199254740992") }, "got 9007199254740992, want at most 9007199254740991"},
		"recording.segment_sealed.v1": {func(d map[string]any) { d["segment"] = json.Number("0") }, "got 0, want at least 1"},
	} {
		if err := Validate(edited(t, all[typ], c.edit), false); err == nil || !strings.Contains(err.Error(), c.detail) {
			t.Errorf("%s: %v, want %q", typ, err, c.detail)
		}
	}
}

func TestSubjectIsWhatDataIsAbout(t *testing.T) {
	for short, payload := range samples(t) {
		ev, err := Parse(payload)
		if err != nil {
			t.Fatal(err)
		}
		kind, id, _ := strings.Cut(ev.Subject, "/")
		for _, subject := range []string{kind + "/another", kind, id, "other/" + id, ev.Subject + " "} {
			moved := *ev
			moved.Subject = subject
			wantError(t, short+" under "+subject, Validate(&moved, false), Invalid, SlugSchema, "/subject")
		}
		moved := *ev
		moved.DataSchema = SchemaID(TypeRecordObserved + "x")
		wantError(t, short, Validate(&moved, true), Invalid, SlugSchema, "/dataschema")
	}
}

func TestUnknownTypes(t *testing.T) {
	ev, err := Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	ev.DataSchema, ev.Data = "https://example.com/schema", json.RawMessage(`{"anything":[true]}`)
	for typ, reserved := range map[string]bool{
		"com.example.thing_happened":                 false,
		"dev.escortlog.session.paused.v2":            false,
		"dev.escortlog.unheard.of.v1":                false,
		"dev.escortlog.key.registered.v2":            true,
		"dev.escortlog.key.lent.v1":                  true,
		"dev.escortlog.log.reopened.v1":              true,
		"dev.escortlog.source.renamed.v1":            true,
		"dev.escortlog.person.merged.v1":             true,
		"dev.escortlog.admins.removed.v1":            true,
		"dev.escortlog.authorization.delegated.v1":   true,
		"dev.escortlog.index.published.v2":           true,
		"org.example.dev.escortlog.key.registers.v1": false,
	} {
		ev.Type = typ
		if reserved {
			wantError(t, typ, Validate(ev, true), Forbidden, SlugReservedType, "")
			wantError(t, typ, Validate(ev, false), Forbidden, SlugReservedType, "")
			continue
		}
		if err := Validate(ev, true); err != nil {
			t.Errorf("%s, opaque types allowed: %v", typ, err)
		}
		wantError(t, typ, Validate(ev, false), Invalid, SlugUnknownType, "/type")
	}
}

// TestTable holds what the rest of the system reads from the rows.
func TestTable(t *testing.T) {
	if len(table) != len(typesByName()) {
		t.Error("a type stands in the table twice")
	}
	roles := []string{RoleBroker, RoleConsole, RoleGateway, RoleRecorder, RoleEscort, RoleReviewer, RolePipeline, RoleMonitor,
		RoleRegistry, RoleAgency, RoleAdministrator, RoleLogService, RoleAuditor, RoleImporter, RoleAny, RoleAuthoriser}
	authority := []string{TypeLogCreated, TypeAdminsChanged, TypeKeyRegistered, TypeKeyRevoked, TypeSourceRegistered, TypeSourceRetired}
	for _, typ := range Types() {
		if !isTypeName(typ.Name) || typ.Family == "" || typ.Version() != "v1" || typ.Short()+".v1" != strings.TrimPrefix(typ.Name, Prefix) {
			t.Errorf("%+v", typ)
		}
		if len(typ.Emitters) == 0 {
			t.Errorf("%s has no emitter", typ.Name)
		}
		for _, e := range typ.Emitters {
			if !slices.Contains(roles, e) {
				t.Errorf("%s: no role %s", typ.Name, e)
			}
		}
		if IsAuthority(typ.Name) != slices.Contains(authority, typ.Name) {
			t.Errorf("IsAuthority(%s) = %v", typ.Name, IsAuthority(typ.Name))
		}
		named := slices.Contains([]string{"person", "authorization", "index", "system", "ssp"}, typ.Family) || strings.HasSuffix(typ.Short(), "qualified")
		if typ.Named != named {
			t.Errorf("%s: Named = %v", typ.Name, typ.Named)
		}
	}
	for _, typ := range []string{"dev.escortlog.command.executed.v1", "dev.escortlog.command.blocked.v1"} {
		if row, _ := Lookup(typ); slices.Contains(row.Emitters, RoleConsole) {
			t.Errorf("a console could send %s", typ)
		}
	}
}

// FuzzValidate: no data makes validation panic, and errors point into data.
func FuzzValidate(f *testing.F) {
	names := make([]string, 0, len(table))
	for _, typ := range Types() {
		names = append(names, typ.Name)
	}
	for i, name := range names {
		ev, err := Parse(samples(f)[strings.TrimPrefix(name, Prefix)])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i, ev.Subject, []byte(ev.Data))
	}
	f.Add(0, "session/x", []byte(`{"session_id":1e300,"auto":1e-300}`))
	f.Fuzz(func(t *testing.T, i int, subject string, data []byte) {
		payload, err := Canonical(map[string]string{
			"specversion": "1.0", "id": "0197b2c4-7c00-7000-8000-000000000001", "source": "urn:example:s",
			"type": names[uint(i)%uint(len(names))], "subject": subject, "time": "2026-06-01T12:00:00Z",
			"recordedtime": "2026-06-01T12:00:00Z", "dataschema": SchemaID(names[uint(i)%uint(len(names))]),
		}, data)
		if err != nil {
			return
		}
		ev, err := Parse(payload)
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := Validate(ev, false).(*Error); ok && !strings.HasPrefix(e.Pointer, "/data") && e.Pointer != "/subject" {
			t.Fatalf("%v", e)
		}
	})
}
