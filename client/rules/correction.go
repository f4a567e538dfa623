package rules

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// correction is rule 23: no second approver, or identity, place, time, digest or
// decision patched; also a correction by another source than the original's, and
// a redaction without two authorisers. It does not see whether a reason is true.
func (e *Engine) correction(f *fact) {
	e.board.look(CorrectionAbuse)
	var says []string
	target := ""
	switch d := f.data.(type) {
	case *corrected:
		target = d.Target.ID
		says = e.corrections(d)
		says = append(says, second(f, d.Target, d.CorrectedBy, d.ApprovedBy)...)
	case *retracted:
		target = d.Target.ID
		says = second(f, d.Target, d.RetractedBy, d.ApprovedBy)
	case *redacted:
		refs := map[string]bool{}
		for _, p := range d.AuthorisedBy {
			refs[p.Ref] = true
		}
		if len(refs) < 2 {
			says = append(says, "a redaction without two authorisers")
		}
	}
	if len(says) > 0 {
		subject := "source/" + f.ref.Source
		if target != "" {
			subject = "record/" + target
		}
		e.board.find(CorrectionAbuse, subject, strings.Join(says, ", and "), f)
	}
}

// second demands another approver, and the original source.
func second(f *fact, target eventRef, by, approver *person) (says []string) {
	if by == nil || approver == nil || by.Ref == approver.Ref {
		says = append(says, "approved by nobody else than whoever asked for it")
	}
	if target.Source != f.ref.Source {
		says = append(says, "a record of "+target.Source+" changed by another source")
	}
	return says
}

// corrections says what a patch changes that no correction may.
func (e *Engine) corrections(d *corrected) (says []string) {
	touched := map[string]bool{}
	for _, op := range d.Patch {
		if op.Op == "test" {
			continue
		}
		e.touches(touched, op.Path, op.Value)
		if op.From != nil {
			e.touches(touched, *op.From, nil)
		}
	}
	if len(touched) > 0 {
		says = append(says, "it patches "+strings.Join(slices.Sorted(maps.Keys(touched)), ", "))
	}
	return says
}

// touches notes what kinds of things a path (RFC 6901) and the members of a new
// value name. The whole payload, or all of data, holds everything.
func (e *Engine) touches(kinds map[string]bool, path string, value json.RawMessage) {
	tokens := strings.Split(path, "/")[1:]
	if path == "" || path == "/data" {
		kinds["everything ("+fmt.Sprintf("%q", path)+")"] = true
		return
	}
	names := append(slices.Clone(tokens), members(value)...)
	for _, name := range names {
		name = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
		for kind, patterns := range e.cfg.CorrectionForbidden {
			if matchesAny(patterns, name) {
				kinds[kind+" ("+path+")"] = true
			}
		}
	}
}

// members returns the names of all members in a JSON value.
func members(value json.RawMessage) (names []string) {
	var v any
	if json.Unmarshal(value, &v) != nil {
		return nil
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				names = append(names, name)
				walk(v[name])
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(v)
	return names
}
