package rules

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"github.com/escortlog/escortlog/log/event"
)

// ownRule is an organisation's own rule, compiled.
type ownRule struct {
	Own
	types           []string // full names
	where, failWhen cel.Program
}

var ownID = regexp.MustCompile(`^[A-Z][A-Z0-9_]{2,63}$`)

// compileOwn compiles the rules of a file. An error names the rule, the
// expression and the place in it.
func compileOwn(c *Config) ([]*ownRule, error) {
	if len(c.Rules) == 0 {
		return nil, nil
	}
	anyMap := cel.MapType(cel.StringType, cel.DynType)
	env, err := cel.NewEnv(
		cel.Variable("event", anyMap), cel.Variable("data", anyMap),
		cel.Variable("leaf", anyMap), cel.Variable("source", cel.StringType),
	)
	if err != nil {
		return nil, fmt.Errorf("preparing expressions: %w", err)
	}
	var list []*ownRule
	for _, o := range c.Rules {
		r := &ownRule{Own: o}
		if !ownID.MatchString(o.ID) {
			return nil, fmt.Errorf("rule %q: its id is not 3 to 64 of A-Z, 0-9 and _, a letter first", o.ID)
		}
		if r.Severity == "" {
			r.Severity = "medium"
		}
		if !slices.Contains(severities, r.Severity) {
			return nil, fmt.Errorf("rule %s: severity %q is none of %s", o.ID, o.Severity, strings.Join(severities, ", "))
		}
		for _, t := range o.Types {
			if _, known := event.Lookup(event.Prefix + t + ".v1"); known {
				t = event.Prefix + t + ".v1"
			} else if _, known := event.Lookup(t); !known && !strings.Contains(t, ".") {
				return nil, fmt.Errorf("rule %s: types: no type %q is known", o.ID, t)
			}
			r.types = append(r.types, t)
		}
		if o.FailWhen == "" {
			return nil, fmt.Errorf("rule %s: it has no fail_when", o.ID)
		}
		if r.failWhen, err = compile(env, c, o.ID, "fail_when", o.FailWhen); err != nil {
			return nil, err
		}
		if o.Where != "" {
			if r.where, err = compile(env, c, o.ID, "where", o.Where); err != nil {
				return nil, err
			}
		}
		list = append(list, r)
	}
	return list, nil
}

func compile(env *cel.Env, c *Config, id, member, expression string) (cel.Program, error) {
	ast, issues := env.Compile(expression)
	if err := issues.Err(); err != nil {
		return nil, fmt.Errorf("rule %s: %s: %w", id, member, err)
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("rule %s: %s gives %s, not true or false", id, member, t)
	}
	p, err := env.Program(ast, cel.CostLimit(c.CELCost))
	if err != nil {
		return nil, fmt.Errorf("rule %s: %s: %w", id, member, err)
	}
	return p, nil
}

// eval evaluates an expression that gives true or false.
func eval(p cel.Program, vars map[string]any) (bool, error) {
	v, _, err := p.Eval(vars)
	if err != nil {
		return false, err
	}
	b, ok := v.Value().(bool)
	if !ok {
		return false, fmt.Errorf("it gives %v, not true or false", v.Type())
	}
	return b, nil
}

// judgeOwn runs the organisation's own rules on one event.
func (e *Engine) judgeOwn(r *Record) {
	var vars map[string]any
	for i, rule := range e.cfg.compiled {
		number := firstOwn + i
		if len(rule.types) > 0 && !slices.Contains(rule.types, r.Event.Type) {
			continue
		}
		if vars == nil {
			vars = variables(r)
		}
		if rule.where != nil {
			applies, err := eval(rule.where, vars)
			if err != nil {
				e.board.skip(number, "where could not be evaluated: "+err.Error())
				continue
			}
			if !applies {
				continue
			}
		}
		fails, err := eval(rule.failWhen, vars)
		if err != nil {
			e.board.skip(number, "fail_when could not be evaluated: "+err.Error())
			continue
		}
		e.board.look(number)
		if fails {
			detail := rule.Description
			if detail == "" {
				detail = rule.FailWhen
			}
			e.board.find(number, r.Event.Subject, detail, &fact{ref: refOf(r), leaf: leafTime(r)})
		}
	}
}

func variables(r *Record) map[string]any {
	ev := r.Event
	attrs := map[string]any{
		"specversion": ev.SpecVersion, "id": ev.ID, "source": ev.Source, "type": ev.Type, "subject": ev.Subject,
		"dataschema": ev.DataSchema, "time": ev.Time, "recordedtime": ev.RecordedTime,
	}
	for name, value := range map[string]string{"sequence": ev.Sequence, "prevhash": ev.PrevHash} {
		if value != "" {
			attrs[name] = value
		}
	}
	for name, value := range ev.Extensions {
		attrs[name] = value
	}
	data := map[string]any{}
	_ = json.Unmarshal(ev.Data, &data) // an object, as Parse saw, fits
	keyIDs := []string{}
	for _, s := range r.Entry.Signatures {
		keyIDs = append(keyIDs, s.KeyID)
	}
	return map[string]any{
		"event": attrs, "data": data, "source": ev.Source,
		"leaf": map[string]any{"index": r.Index, "time": leafTime(r), "hash": hex.EncodeToString(r.LeafHash[:]), "keyids": keyIDs},
	}
}
