package view

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// operation is one member of a JSON Patch (RFC 6902).
type operation struct {
	op, path, from string
	value          any
	hasValue       bool
}

// patchOf reads data.patch of a correction.
func patchOf(data map[string]any) ([]operation, error) {
	list, ok := data["patch"].([]any)
	if !ok {
		return nil, errors.New("it has no patch")
	}
	var ops []operation
	for i, v := range list {
		o, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("operation %d of its patch is not an object", i)
		}
		op := operation{op: text(o["op"]), path: text(o["path"]), from: text(o["from"])}
		op.value, op.hasValue = o["value"]
		ops = append(ops, op)
	}
	return ops, nil
}

// applyPatch returns a copy of doc after the operations. "Evaluation … continues
// until all operations are successfully applied or until an error condition is
// encountered", and then nothing of the patch counts (RFC 6902, sections 3 and 5).
func applyPatch(doc any, ops []operation) (any, error) {
	doc = deepCopy(doc)
	for i, op := range ops {
		var err error
		if doc, err = op.apply(doc); err != nil {
			return nil, fmt.Errorf("operation %d (%s %s): %w", i, op.op, op.path, err)
		}
	}
	return doc, nil
}

func (op operation) apply(doc any) (any, error) {
	path, err := pointer(op.path)
	if err != nil {
		return nil, err
	}
	switch op.op {
	case "add", "replace", "test":
		if !op.hasValue {
			return nil, errors.New("it has no value")
		}
	case "move", "copy":
		return op.transfer(doc, path)
	}
	switch op.op {
	case "add":
		return add(doc, path, deepCopy(op.value))
	case "remove":
		return remove(doc, path)
	case "replace":
		if _, err := lookup(doc, path); err != nil {
			return nil, err
		}
		return set(doc, path, deepCopy(op.value))
	case "test":
		found, err := lookup(doc, path)
		if err != nil {
			return nil, err
		}
		if !equal(found, op.value) {
			return nil, errors.New("the value there is another one")
		}
		return doc, nil
	}
	return nil, errors.New("no such operation")
}

// transfer moves or copies.
func (op operation) transfer(doc any, path []string) (any, error) {
	from, err := pointer(op.from)
	if err != nil {
		return nil, err
	}
	value, err := lookup(doc, from)
	if err != nil {
		return nil, err
	}
	if op.op == "copy" {
		return add(doc, path, deepCopy(value))
	}
	// "The 'from' location MUST NOT be a proper prefix of the 'path' location."
	if len(from) < len(path) && slices.Equal(from, path[:len(from)]) {
		return nil, errors.New("it moves a value into itself")
	}
	if doc, err = remove(doc, from); err != nil {
		return nil, err
	}
	return add(doc, path, value)
}

// pointer splits a JSON Pointer (RFC 6901).
func pointer(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	if s[0] != '/' {
		return nil, fmt.Errorf("%q is no JSON Pointer", s)
	}
	parts := strings.Split(s[1:], "/")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(p, "~1", "/"), "~0", "~")
	}
	return parts, nil
}

var errNoPlace = errors.New("there is no such place")

// position reads an array index of at most most: digits without leading zeros.
func position(s string, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(n) != s || n < 0 || n > most {
		return 0, errNoPlace
	}
	return n, nil
}

func lookup(doc any, path []string) (any, error) {
	for _, p := range path {
		switch v := doc.(type) {
		case map[string]any:
			inner, ok := v[p]
			if !ok {
				return nil, errNoPlace
			}
			doc = inner
		case []any:
			i, err := position(p, len(v)-1)
			if err != nil {
				return nil, err
			}
			doc = v[i]
		default:
			return nil, errNoPlace
		}
	}
	return doc, nil
}

// at calls change with the container at the parent of path and the last part of
// it, and puts what it returns in the container's place.
func at(doc any, path []string, change func(container any, last string) (any, error)) (any, error) {
	if len(path) == 1 {
		return change(doc, path[0])
	}
	inner, err := lookup(doc, path[:1])
	if err != nil {
		return nil, err
	}
	if inner, err = at(inner, path[1:], change); err != nil {
		return nil, err
	}
	return set(doc, path[:1], inner)
}

// set puts a value where there is one.
func set(doc any, path []string, value any) (any, error) {
	if len(path) == 0 {
		return value, nil
	}
	return at(doc, path, func(container any, last string) (any, error) {
		switch v := container.(type) {
		case map[string]any:
			v[last] = value
			return v, nil
		case []any:
			i, err := position(last, len(v)-1)
			if err != nil {
				return nil, err
			}
			v[i] = value
			return v, nil
		}
		return nil, errNoPlace
	})
}

func add(doc any, path []string, value any) (any, error) {
	if len(path) == 0 {
		return value, nil
	}
	return at(doc, path, func(container any, last string) (any, error) {
		switch v := container.(type) {
		case map[string]any:
			v[last] = value
			return v, nil
		case []any:
			if last == "-" {
				return append(v, value), nil
			}
			i, err := position(last, len(v))
			if err != nil {
				return nil, err
			}
			return slices.Insert(v, i, value), nil
		}
		return nil, errNoPlace
	})
}

func remove(doc any, path []string) (any, error) {
	if len(path) == 0 {
		return nil, nil
	}
	return at(doc, path, func(container any, last string) (any, error) {
		switch v := container.(type) {
		case map[string]any:
			if _, ok := v[last]; !ok {
				return nil, errNoPlace
			}
			delete(v, last)
			return v, nil
		case []any:
			i, err := position(last, len(v)-1)
			if err != nil {
				return nil, err
			}
			return slices.Delete(v, i, i+1), nil
		}
		return nil, errNoPlace
	})
}

func deepCopy(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := maps.Clone(v)
		for name, inner := range c {
			c[name] = deepCopy(inner)
		}
		return c
	case []any:
		c := slices.Clone(v)
		for i, inner := range c {
			c[i] = deepCopy(inner)
		}
		return c
	}
	return v
}

// equal compares as RFC 6902 section 4.6 says: "numbers: are considered equal if
// their values are numerically equal".
func equal(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		return ok && maps.EqualFunc(x, y, equal)
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, equal)
	}
	return a == b || sameNumber(a, b)
}

func sameNumber(a, b any) bool {
	x, ok := number(a)
	if !ok {
		return false
	}
	y, ok := number(b)
	return ok && x.Cmp(y) == 0
}

// number reads a JSON number exactly. Parse lets only numbers of sane size into
// a log, so that this stays small.
func number(v any) (*big.Rat, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return nil, false
	}
	return new(big.Rat).SetString(n.String())
}
