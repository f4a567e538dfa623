package event

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// quickSchema returns the quick form of a type's schema, or nil where the schema
// uses what quick does not know, or the type is unknown.
func quickSchema(typ string) *quick {
	if compile := quickSchemas()[typ]; compile != nil {
		return compile()
	}
	return nil
}

// quickSchemas compiles each schema on first use, so that a command that reads
// one event does not wait for all of them.
var quickSchemas = sync.OnceValue(func() map[string]func() *quick {
	c := newQuickCompiler()
	m := make(map[string]func() *quick, len(table))
	for _, t := range Types() {
		m[t.Name] = sync.OnceValue(func() *quick {
			q, err := c.compile(Schema(t.Name))
			if err != nil {
				return nil
			}
			return q
		})
	}
	return m
})

// quickCompiler compiles schemas into quicks. A keyword that it does not know
// makes it give up on the schema, which then always goes to the library.
type quickCompiler struct {
	done map[string]*quick // the $defs of common.json, but those given up on
}

func newQuickCompiler() *quickCompiler {
	c := &quickCompiler{done: map[string]*quick{}}
	_, b := CommonSchema()
	var doc struct {
		Defs map[string]json.RawMessage `json:"$defs"`
	}
	_ = json.Unmarshal(b, &doc) // without definitions all schemas would go to the library
	// A definition that refers to others can be compiled once they are.
	for len(doc.Defs) > 0 {
		before := len(doc.Defs)
		for name, schema := range doc.Defs {
			if q, err := c.compile(schema); err == nil {
				c.done[name] = q
				delete(doc.Defs, name)
			}
		}
		if len(doc.Defs) == before {
			break
		}
	}
	return c
}

// ref returns the definition that a $ref names: "common.json#/$defs/X", or
// "#/$defs/X" within common.json.
func (c *quickCompiler) ref(ref string) (*quick, error) {
	_, name, _ := strings.Cut(ref, "#/$defs/")
	if q := c.done[name]; q != nil {
		return q, nil
	}
	return nil, fmt.Errorf("event: no $ref %s", ref)
}

func (c *quickCompiler) compile(schema json.RawMessage) (*quick, error) {
	q := &quick{maxLen: -1, maxMembers: -1, maxItems: -1}
	switch string(schema) {
	case "true":
		return q, nil
	case "false":
		q.never = true
		return q, nil
	}
	var keywords map[string]json.RawMessage
	if err := json.Unmarshal(schema, &keywords); err != nil {
		return nil, fmt.Errorf("event: reading a schema: %w", err)
	}
	for keyword, value := range keywords {
		if err := c.keyword(q, keyword, value); err != nil {
			return nil, err
		}
	}
	return q, nil
}

func (c *quickCompiler) keyword(q *quick, keyword string, value json.RawMessage) (err error) {
	switch keyword {
	case "$schema", "$id", "title", "description":
		return nil
	case "$ref":
		var ref string
		if err := json.Unmarshal(value, &ref); err != nil {
			return err
		}
		sub, err := c.ref(ref)
		q.allOf = append(q.allOf, sub)
		return err
	case "type":
		return q.setTypes(value)
	case "const":
		q.constant = string(value)
		return nil
	case "enum":
		return q.setEnum(value)
	case "pattern":
		q.pattern, err = compilePattern(value)
		return err
	case "format":
		q.format = map[string]func(string) bool{
			`"date-time"`: func(s string) bool { _, problem := parseTime(s); return problem == "" },
			`"uri"`:       isAbsoluteURI,
		}[string(value)]
		if q.format == nil {
			return fmt.Errorf("event: format %s", value)
		}
		return nil
	case "minimum":
		return json.Unmarshal(value, &q.min)
	case "maximum":
		return json.Unmarshal(value, &q.max)
	case "minLength":
		return json.Unmarshal(value, &q.minLen)
	case "maxLength":
		return json.Unmarshal(value, &q.maxLen)
	case "minItems":
		return json.Unmarshal(value, &q.minItems)
	case "maxItems":
		return json.Unmarshal(value, &q.maxItems)
	case "uniqueItems":
		return json.Unmarshal(value, &q.unique)
	case "minProperties":
		return json.Unmarshal(value, &q.minMembers)
	case "maxProperties":
		return json.Unmarshal(value, &q.maxMembers)
	case "required":
		return json.Unmarshal(value, &q.required)
	case "dependentRequired":
		return json.Unmarshal(value, &q.dependent)
	case "additionalProperties":
		q.closed = string(value) == "false"
		if !q.closed {
			return fmt.Errorf("event: additionalProperties %s", value)
		}
		return nil
	default:
		return c.applicator(q, keyword, value)
	}
}

// applicator is a keyword whose value holds schemas.
func (c *quickCompiler) applicator(q *quick, keyword string, value json.RawMessage) (err error) {
	switch keyword {
	case "properties":
		q.properties, err = c.compileMap(value)
	case "patternProperties":
		var m map[string]*quick
		if m, err = c.compileMap(value); err != nil || len(m) != 1 {
			return fmt.Errorf("event: %d patternProperties: %w", len(m), err)
		}
		for pattern, sub := range m {
			quoted, _ := json.Marshal(pattern) // a string
			q.patterned, err = compilePattern(quoted)
			q.patternedNode = sub
		}
	case "items":
		q.items, err = c.compile(value)
	case "if":
		q.cond, err = c.compile(value)
	case "then":
		q.then, err = c.compile(value)
	case "else":
		q.other, err = c.compile(value)
	case "allOf":
		var subs []*quick
		subs, err = c.compileList(value)
		q.allOf = append(q.allOf, subs...)
	case "anyOf":
		q.anyOf, err = c.compileList(value)
	case "oneOf":
		q.oneOf, err = c.compileList(value)
	default:
		return fmt.Errorf("event: keyword %s", keyword)
	}
	return err
}

func (c *quickCompiler) compileList(value json.RawMessage) (list []*quick, err error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(value, &raw); err != nil {
		return nil, err
	}
	for _, schema := range raw {
		q, err := c.compile(schema)
		if err != nil {
			return nil, err
		}
		list = append(list, q)
	}
	return list, nil
}

func (c *quickCompiler) compileMap(value json.RawMessage) (map[string]*quick, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(value, &raw); err != nil {
		return nil, err
	}
	m := make(map[string]*quick, len(raw))
	for name, schema := range raw {
		q, err := c.compile(schema)
		if err != nil {
			return nil, err
		}
		m[name] = q
	}
	return m, nil
}

func (q *quick) setTypes(value json.RawMessage) error {
	var name string
	if err := json.Unmarshal(value, &name); err != nil {
		return fmt.Errorf("event: type %s", value)
	}
	kinds := map[string]string{"object": "{", "array": "[", "string": `"`, "boolean": "tf", "null": "n", "integer": "i", "number": "0"}[name]
	if kinds == "" {
		return fmt.Errorf("event: type %s", name)
	}
	q.types = []byte(kinds)
	return nil
}

func (q *quick) setEnum(value json.RawMessage) error {
	var list []any
	if err := json.Unmarshal(value, &list); err != nil {
		return err
	}
	q.enum = [][]byte{}
	for _, v := range list {
		switch v := v.(type) {
		case string:
			q.enum = append(q.enum, []byte(v))
		case nil:
			q.enumNull = true
		default:
			return fmt.Errorf("event: enum %s", value)
		}
	}
	return nil
}
