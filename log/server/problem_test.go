package server

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/event"
)

// TestEverySlugIsDocumented reads the slugs out of the source: those that this
// package refuses with, and those of log/event with the status written beside
// them.
func TestEverySlugIsDocumented(t *testing.T) {
	used := make(map[string]bool)
	for _, file := range parseDir(t, ".") {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			if name, ok := call.Fun.(*ast.Ident); ok && name.Name == "refuse" {
				used[literal(t, call.Args[0])] = true
			}
			return true
		})
	}
	if len(used) < 20 {
		t.Fatalf("found only %d slugs: the search must be broken", len(used))
	}
	for slug := range used {
		if _, ok := problemKinds[slug]; !ok {
			t.Errorf("slug %q has no row in the table", slug)
		}
	}

	events := eventSlugs(t)
	if len(events) < 10 {
		t.Fatalf("found only %d slugs of events: the search must be broken", len(events))
	}
	for slug, status := range events {
		used[slug] = true
		if k, ok := problemKinds[slug]; !ok || k.Status != status {
			t.Errorf("slug %q of log/event: status %d in the table, want %d", slug, k.Status, status)
		}
	}
	for slug, k := range problemKinds {
		if !used[slug] {
			t.Errorf("row %q is used by nobody", slug)
		}
		if k.Status < 400 || k.Title == "" || k.Doc == "" || k.Type != "" {
			t.Errorf("row %q: %+v", slug, k)
		}
	}
}

func parseDir(t *testing.T, dir string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

func literal(t *testing.T, e ast.Expr) string {
	t.Helper()
	lit, ok := e.(*ast.BasicLit)
	if !ok {
		t.Fatalf("a slug that is no literal: %v", e)
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// eventSlugs are the constants SlugX of log/event, with the status that the
// comment beside each begins with.
func eventSlugs(t *testing.T) map[string]int {
	t.Helper()
	slugs := make(map[string]int)
	for _, file := range parseDir(t, "../event") {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Names) != 1 || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Slug") {
				return true
			}
			status, err := strconv.Atoi(strings.Fields(spec.Comment.Text())[0])
			if err != nil {
				t.Fatalf("%s: no status beside it: %v", spec.Names[0].Name, err)
			}
			slugs[literal(t, spec.Values[0])] = status
			return true
		})
	}
	return slugs
}

func TestProblemsAreOrdered(t *testing.T) {
	kinds := Problems()
	if len(kinds) != len(problemKinds) || !slices.IsSortedFunc(kinds, func(a, b ProblemKind) int { return a.Status - b.Status }) {
		t.Error("Problems is not the table ordered by status")
	}
	for _, k := range kinds {
		if !strings.HasPrefix(k.Type, problemPrefix) {
			t.Errorf("type %q", k.Type)
		}
	}
}

// TestInsidesStayInside: an error nobody has thought of is told to the operator
// only.
func TestInsidesStayInside(t *testing.T) {
	secret := errors.New("open /data/keys/ed25519.skey: permission denied")
	w := httptest.NewRecorder()
	writeProblem(w, toRefusal(fmt.Errorf("reading: %w", secret)))
	if w.Code != 500 || strings.Contains(w.Body.String(), "skey") {
		t.Errorf("answer %d %s", w.Code, w.Body)
	}
	if r := toRefusal(secret); !errors.Is(r, secret) {
		t.Error("the cause is lost")
	}
	wrapped := toRefusal(fmt.Errorf("judging: %w", &event.Error{Kind: event.Invalid, Slug: event.SlugSchema, Detail: "d", Pointer: "/data"}))
	if d := wrapped.document(); d.Status != 422 || d.Pointer != "/data" || d.Detail != "d" {
		t.Errorf("document %+v", d)
	}
	if d := (&refusal{slug: "no-such-slug"}).document(); d.Status != 500 {
		t.Errorf("a slug without a row has status %d, want 500", d.Status)
	}
}

func TestRetrySeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "1", time.Nanosecond: "1", time.Second: "1", 1001 * time.Millisecond: "2", time.Minute: "60"} {
		if got := retrySeconds(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
