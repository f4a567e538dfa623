package event

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// schemaBase begins the $id of every schema.
const schemaBase = "https://github.com/escortlog/escortlog/schema/"

// commonSchema holds the objects that many types share (Person, System ...).
const commonSchema = "common.json"

//go:embed schemas/*.json
var schemaFiles embed.FS

// SchemaID returns the $id of the schema of a type, which the attribute
// dataschema of its events must be.
func SchemaID(typ string) string { return schemaBase + typ + ".json" }

// SchemaInfo describes one schema of [Schemas].
type SchemaInfo struct {
	Type        Type
	ID          string // the $id
	Title       string
	Description string
}

// Schemas lists the schemas of all known types, in the order of the table.
func Schemas() []SchemaInfo {
	var list []SchemaInfo
	for _, t := range Types() {
		var head struct{ Title, Description string }
		// A schema that cannot be read would fail every Validate, and the tests.
		_ = json.Unmarshal(Schema(t.Name), &head)
		list = append(list, SchemaInfo{Type: t, ID: SchemaID(t.Name), Title: head.Title, Description: head.Description})
	}
	return list
}

// Schema returns the JSON Schema (draft 2020-12) that data of this type must
// satisfy, or nil for an unknown type.
func Schema(typ string) []byte {
	if _, ok := Lookup(typ); !ok {
		return nil
	}
	b, err := schemaFiles.ReadFile("schemas/" + strings.TrimPrefix(typ, Prefix) + ".json")
	if err != nil {
		return nil
	}
	return b
}

// CommonSchema returns the schema with the shared definitions that the others
// refer to, and its $id.
func CommonSchema() (id string, schema []byte) {
	b, _ := schemaFiles.ReadFile("schemas/" + commonSchema) // embedded, so present
	return schemaBase + commonSchema, b
}

// full holds every schema as the JSON Schema library has it, compiled when an
// event first needs it; see quick.go for those that do not.
var full = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(noLoader{})
	c.RegisterFormat(&jsonschema.Format{Name: "date-time", Validate: utcFormat})
	c.RegisterFormat(&jsonschema.Format{Name: "uri", Validate: uriFormat})
	id, common := CommonSchema()
	if err := addSchema(c, id, common); err != nil {
		return nil, err
	}
	for _, t := range Types() {
		if err := addSchema(c, SchemaID(t.Name), Schema(t.Name)); err != nil {
			return nil, err
		}
	}
	m := make(map[string]*jsonschema.Schema, len(table))
	for _, t := range Types() {
		s, err := c.Compile(SchemaID(t.Name))
		if err != nil {
			return nil, fmt.Errorf("event: compiling the schema of %s: %w", t.Name, err)
		}
		m[t.Name] = s
	}
	return m, nil
})

func addSchema(c *jsonschema.Compiler, id string, schema []byte) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return fmt.Errorf("event: reading the schema %s: %w", id, err)
	}
	return c.AddResource(id, doc)
}

// noLoader fetches nothing: a schema names only schemas embedded beside it.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("the schema %s is not embedded", url)
}

// utcFormat and uriFormat hold times and URIs in data to the same rules as in
// attributes.
func utcFormat(v any) error {
	if s, ok := v.(string); ok {
		if _, problem := parseTime(s); problem != "" {
			return errors.New(problem)
		}
	}
	return nil
}

func uriFormat(v any) error {
	if s, ok := v.(string); ok && !isAbsoluteURI(s) {
		return errors.New("must be an absolute URI without a fragment")
	}
	return nil
}

// Validate holds an event against its type: dataschema is the type's
// [SchemaID], data satisfies that schema with formats asserted, and subject
// names what data is about. The data of an unknown type is not looked at: the
// event is accepted as opaque when allowOpaque is set and its family is none
// that carries authority, and refused otherwise. The error is an *Error of
// kind Invalid (or Forbidden, for a reserved type).
func Validate(ev *Event, allowOpaque bool) error {
	row, known := Lookup(ev.Type)
	if !known {
		if isReserved(ev.Type) {
			return reservedType(ev.Type)
		}
		if !allowOpaque {
			return invalid(SlugUnknownType, "/type", "no type %s is known, and this log takes no opaque types", ev.Type)
		}
		return nil
	}
	if ev.DataSchema != SchemaID(ev.Type) {
		return invalid(SlugSchema, "/dataschema", "the dataschema of %s is %s", ev.Type, SchemaID(ev.Type))
	}
	t := newTape(ev.Data)
	if t == nil {
		return invalid(SlugSchema, "/data", "data is not the JSON object that Parse found")
	}
	defer t.free()
	if q := quickSchema(ev.Type); q == nil || q.check(t, 0) != yes {
		if err := validateFully(ev); err != nil {
			return err
		}
	}
	return checkSubject(row, ev, t)
}

// validateFully is the slow and authoritative way.
func validateFully(ev *Event) error {
	schemas, err := full()
	if err != nil {
		return invalid(SlugSchema, "", "this build cannot judge any event: %v", err)
	}
	data, err := jsonschema.UnmarshalJSON(bytes.NewReader(ev.Data))
	if err != nil {
		return invalid(SlugSchema, "/data", "%v", err)
	}
	if err := schemas[ev.Type].Validate(data); err != nil {
		return schemaError(ev.Type, err)
	}
	return nil
}

func reservedType(typ string) *Error {
	return forbidden(SlugReservedType, "the type %s is unknown and in a family that carries authority, so it is never taken as opaque", typ)
}

// checkSubject keeps an event from being filed under one thing while its data
// speaks of another.
func checkSubject(row Type, ev *Event, t *tape) error {
	want := ev.Source
	if row.SubjectField != selfSource {
		want = t.stringAt(row.SubjectField) // the schema requires it to be there
	}
	kind, is, ok := strings.Cut(ev.Subject, "/")
	if !ok || kind != row.SubjectKind || is != want {
		return invalid(SlugSchema, "/subject", "the subject is %q, but by its data it should be %q", ev.Subject, row.SubjectKind+"/"+want)
	}
	return nil
}

// schemaError turns the first failure, in the order of the pointers, into an
// Error that names the place.
func schemaError(typ string, err error) error {
	var v *jsonschema.ValidationError
	if !errors.As(err, &v) {
		return invalid(SlugSchema, "/data", "%v", err)
	}
	var first *Error
	for _, leaf := range leaves(v, nil) {
		pointer := "/data"
		for _, token := range leaf.InstanceLocation {
			pointer += "/" + escapePointer(token)
		}
		names, phrase := missingOrExtra(leaf.ErrorKind)
		for _, name := range names {
			first = least(first, invalid(SlugSchema, pointer+"/"+escapePointer(name), "%s in %s", phrase, typ))
		}
		if len(names) == 0 {
			first = least(first, invalid(SlugSchema, pointer, "%s", wrongValue(leaf.ErrorKind)))
		}
	}
	return first
}

func least(a, b *Error) *Error {
	if a == nil || b.Pointer < a.Pointer || b.Pointer == a.Pointer && b.Detail < a.Detail {
		return b
	}
	return a
}

func missingOrExtra(k jsonschema.ErrorKind) (names []string, phrase string) {
	switch k := k.(type) {
	case *kind.Required:
		return k.Missing, "this member is required"
	case *kind.DependentRequired:
		return k.Missing, "this member is required beside " + k.Prop
	case *kind.AdditionalProperties:
		return k.Properties, "no such member is defined"
	}
	return nil, ""
}

// wrongValue says what is wrong with a value, in the words of jsonschema but for
// those that would not tell a submitter what to change.
func wrongValue(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.FalseSchema:
		return "this member must be left out, given the values of the others"
	case *kind.Minimum:
		return fmt.Sprintf("got %s, want at least %s", k.Got.RatString(), k.Want.RatString())
	case *kind.Maximum:
		return fmt.Sprintf("got %s, want at most %s", k.Got.RatString(), k.Want.RatString())
	}
	return k.LocalizedString(message.NewPrinter(language.English))
}

// leaves collects the causes that have no causes of their own. Where a value
// may be one of several things (a null or a Person), the alternatives whose
// failure is only a wrong JSON type say less than the others and are left out.
func leaves(v *jsonschema.ValidationError, out []*jsonschema.ValidationError) []*jsonschema.ValidationError {
	if len(v.Causes) == 0 {
		return append(out, v)
	}
	causes := v.Causes
	switch v.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
		causes = slices.DeleteFunc(slices.Clone(causes), func(c *jsonschema.ValidationError) bool {
			_, wrongType := c.ErrorKind.(*kind.Type)
			return wrongType && len(c.InstanceLocation) == len(v.InstanceLocation)
		})
		if len(causes) == 0 {
			causes = v.Causes
		}
	}
	for _, c := range causes {
		out = leaves(c, out)
	}
	return out
}
