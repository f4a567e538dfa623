package view

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// summary renders data in one line: its members by name, without the ids that
// have columns of their own and what is the source's own business.
func summary(data map[string]any) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(data)) {
		switch name {
		case "session_id", "change_id", "ext", "imported":
			continue
		}
		if data[name] != nil {
			parts = append(parts, name+"="+brief(data[name]))
		}
	}
	return strings.Join(parts, "; ")
}

// brief renders one value.
func brief(value any) string {
	switch v := value.(type) {
	case map[string]any:
		return briefObject(v)
	case []any:
		parts := make([]string, len(v))
		for i, inner := range v {
			parts[i] = brief(inner)
		}
		return strings.Join(parts, ", ")
	case string:
		return shortDigest(v)
	}
	return fmt.Sprint(value)
}

func briefObject(o map[string]any) string {
	has := func(names ...string) bool {
		for _, n := range names {
			if o[n] == nil {
				return false
			}
		}
		return true
	}
	switch {
	case has("$commit"):
		return fmt.Sprintf("withheld (%v bytes)", o["size"])
	case has("ref", "role"):
		parts := []string{text(o["role"])}
		for _, name := range []string{"org", "citizenship_class", "location_country"} {
			if s := text(o[name]); s != "" {
				parts = append(parts, s)
			}
		}
		return fmt.Sprintf("%s (%s)", text(o["ref"]), strings.Join(parts, ", "))
	case has("source", "id"):
		return text(o["id"])
	case has("not_before", "not_after"):
		return text(o["not_before"]) + ".." + text(o["not_after"])
	case has("start", "end"):
		return text(o["start"]) + ".." + text(o["end"])
	case has("digest"):
		return shortDigest(text(o["digest"]))
	case has("id", "impact_level"):
		return fmt.Sprintf("%s (%s)", text(o["id"]), text(o["impact_level"]))
	case len(o) == 1 && has("id"):
		return text(o["id"])
	}
	// What was decoded from JSON encodes again.
	b, _ := json.Marshal(o)
	return string(b)
}

// shortDigest keeps the first digits of a digest, enough to compare by eye.
func shortDigest(s string) string {
	for _, prefix := range []string{"sha256:", "hmac-sha256:"} {
		if rest, ok := strings.CutPrefix(s, prefix); ok && len(rest) == 64 {
			return prefix + rest[:12] + "…"
		}
	}
	return s
}
