package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the repository, seen from this package's folder, where its tests run.
const root = "../../.."

// goList runs the go command that belongs to this test and decodes what it lists. Cgo is on, so that a package's
// cgo files are listed as such and not left out.
func goList(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-deps", "-json=ImportPath,Dir,Doc,Standard,GoFiles,CgoFiles,Imports,TestImports,XTestImports,Deps"}, args...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1", "GOFLAGS=-buildvcs=false")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func TestRoomsAreApart(t *testing.T) {
	pkgs := goList(t, "./...")
	ours := 0
	for _, p := range pkgs {
		folder, ok := strings.CutPrefix(p.ImportPath, module+"/")
		if !ok {
			continue
		}
		ours++
		for _, f := range p.GoFiles {
			// Also asks for the files that the go command alone has read, so that a change in one makes a cached
			// result of this test stale.
			if _, err := os.Stat(filepath.Join(p.Dir, f)); err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(pureRooms, folder) {
				continue
			}
			uses, err := clockUses(filepath.Join(p.Dir, f), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range uses {
				t.Error(u)
			}
		}
	}
	if ours < 5 {
		t.Fatalf("go list named only %d packages of this repository: these rules would hold over nothing", ours)
	}
	for _, v := range violations(pkgs) {
		t.Error(v)
	}
}

func TestTopLevelHoldsTheRoomsOnly(t *testing.T) {
	files, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	for _, stray := range strays(names) {
		// What git is told to ignore is the machine's, not the repository's. Where git is not to be had, nothing is.
		check := exec.Command("git", "check-ignore", "-q", stray)
		check.Dir = root
		if check.Run() == nil {
			continue
		}
		t.Errorf("%s stands at the top level: put it into one of the rooms", stray)
	}
	for _, needed := range topLevel {
		if needed != "bin" && needed != "README.md" && !slices.Contains(names, needed) {
			t.Errorf("%s is missing at the top level", needed)
		}
	}
}

// TestRulesCatchBreaches breaks every rule once: a checker that finds nothing anywhere proves nothing.
func TestRulesCatchBreaches(t *testing.T) {
	doc := "Package x is described."
	files := []string{"x.go"}
	tests := []struct {
		name string
		pkg  listed
		want string
	}{
		{"pure room imports os", listed{ImportPath: room("log/tile"), Imports: []string{"bytes", "os"}}, "imports os"},
		{"pure room imports net/http", listed{ImportPath: room("log/event"), Imports: []string{"net/http"}}, "imports net/http"},
		{"pure room logs", listed{ImportPath: room("log/entry"), Imports: []string{"log/slog"}}, "imports log/slog"},
		{"pure room throws dice", listed{ImportPath: room("log/strict"), Imports: []string{"math/rand/v2"}}, "imports math/rand/v2"},
		{"pure room rests on storage", listed{ImportPath: room("log/checkpoint"), Imports: []string{room("storage")}}, "rests on pure rooms"},
		{"client reaches the log", listed{ImportPath: room("client/audit"), Deps: []string{room("log/tile"), room("log")}}, "reaches " + room("log") + ","},
		{"client reaches a storage driver", listed{ImportPath: room("client"), Deps: []string{room("storage/badger")}}, "reaches " + room("storage/badger")},
		{"escortlog links badger", listed{ImportPath: room("cmd/escortlog"), Deps: []string{"github.com/dgraph-io/badger/v4/y"}}, "reaches github.com/dgraph-io/badger/v4/y"},
		{"log reaches events", listed{ImportPath: room("log"), Deps: []string{room("log/event")}}, "reaches " + room("log/event")},
		{"storage reaches the leaf", listed{ImportPath: room("storage/memory"), Deps: []string{room("log/entry")}}, "reaches " + room("log/entry")},
		{"witness reads events", listed{ImportPath: room("witness/cosign"), Deps: []string{room("log/event")}}, "reaches " + room("log/event")},
		{"testdata is linked", listed{ImportPath: room("log/server"), XTestImports: []string{room("testdata/foreign")}}, "testdata is read"},
		{"a dependency uses cgo", listed{ImportPath: "example.com/zstd", CgoFiles: []string{"zstd.go"}}, "uses cgo"},
		{"a package without a comment", listed{ImportPath: room("witness"), GoFiles: files}, "no package comment"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.pkg.GoFiles == nil {
				tt.pkg.GoFiles, tt.pkg.Doc = files, doc
			}
			got := violations([]listed{tt.pkg})
			if len(got) != 1 || !strings.Contains(got[0], tt.want) {
				t.Errorf("violations = %q, want one that says %q", got, tt.want)
			}
		})
	}
	fine := []listed{
		{ImportPath: room("log/server"), GoFiles: files, Doc: doc, Imports: []string{"net/http"}, Deps: []string{room("log"), room("log/event"), room("storage/badger")}},
		{ImportPath: room("client"), GoFiles: files, Doc: doc, Imports: []string{"net/http"}, Deps: []string{room("log/tile"), room("log/event"), "net/http"}},
		{ImportPath: room("log/tile"), GoFiles: files, Doc: doc, Imports: []string{"context", room("log/entry")}, Deps: []string{"os"}},
		{ImportPath: "runtime/cgo", Standard: true, CgoFiles: []string{"cgo.go"}},
	}
	if got := violations(fine); len(got) != 0 {
		t.Errorf("violations of packages that break no rule: %q", got)
	}
}

func TestClockUsesAreFound(t *testing.T) {
	for name, body := range map[string]string{
		"plain":   "import \"time\"\nvar t = time.Now()",
		"renamed": "import clock \"time\"\nfunc f() { clock.Sleep(1) }",
		"value":   "import \"time\"\nvar now = time.Now",
		"dot":     "import . \"time\"\nvar t = Now()",
	} {
		if got, err := clockUses("x.go", "package x\n"+body); err != nil || len(got) != 1 {
			t.Errorf("%s: clockUses = %q, %v; want one use", name, got, err)
		}
	}
	fine := "package x\nimport \"time\"\ntype c struct{ Now int }\nvar t = time.UnixMilli(1).Add(time.Second)\nvar u = c{}.Now\n"
	if got, err := clockUses("x.go", fine); err != nil || len(got) != 0 {
		t.Errorf("clockUses of a file that is told the time = %q, %v", got, err)
	}
}

func TestStraysAreFound(t *testing.T) {
	got := strays([]string{"cmd", ".ci", "go.mod", "docs", "util", "bin"})
	if !slices.Equal(got, []string{"docs", "util"}) {
		t.Errorf("strays = %q, want docs and util", got)
	}
}
