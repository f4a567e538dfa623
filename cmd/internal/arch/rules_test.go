package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// module is the path that all rooms' import paths begin with.
const module = "github.com/escortlog/escortlog"

// room is the import path of a folder of this repository.
func room(folder string) string { return module + "/" + folder }

// listed is what the rules need of one package in the output of `go list -deps -json`.
type listed struct {
	ImportPath   string
	Dir          string
	Doc          string
	Standard     bool
	GoFiles      []string
	CgoFiles     []string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string // everything reachable through Imports
}

// pureRooms take bytes and return bytes: no I/O, no clock, no logging.
var pureRooms = []string{"log/tile", "log/checkpoint", "log/entry", "log/lanes", "log/strict", "log/event", "log/event/fixedbase", "log/index/trie", "client/rules"}

// impure are the standard packages (and what lies below them) that a pure room does not import. Secure randomness is
// not among them: a key has to come from somewhere, and nothing that is verified depends on it.
var impure = []string{"os", "net", "log", "syscall", "database", "testing", "plugin", "expvar", "math/rand"}

// unreachable says for a room, and where it ends in /... for all below it too, what it must not reach, however far.
var unreachable = []struct {
	from string
	to   []string
	why  string
}{
	{"client/...", []string{room("log"), room("log/server"), room("storage/..."), badger}, "believes nothing and links no storage engine"},
	{"cmd/escortlog", []string{room("log"), room("log/server"), room("storage/..."), badger}, "believes nothing and links no storage engine"},
	{"log", []string{room("log/event"), room("log/server"), room("client/..."), room("witness/..."), room("cmd/...")}, "takes bytes and gives checkpoints"},
	{"storage/...", []string{room("log/..."), room("client/..."), room("witness/..."), room("cmd/...")}, "stores keys and values of which it knows nothing"},
	{"witness/...", []string{room("log"), room("log/server"), room("log/event"), room("client/...")}, "sees only checkpoints and proofs"},
}

// badger is the storage engine of storage/badger.
const badger = "github.com/dgraph-io/badger/..."

// topLevel is everything that may stand beside .git and the other dot files; bin is what make build makes.
var topLevel = []string{
	"cmd", "log", "storage", "client", "witness", "testdata",
	"go.mod", "go.sum", "Makefile", "README.md", "LICENSE", "bin",
}

// within reports whether an import path is the one that a pattern names, or below it where the pattern ends in /...
func within(path, pattern string) bool {
	parent, deep := strings.CutSuffix(pattern, "/...")
	return path == parent || deep && strings.HasPrefix(path, parent+"/")
}

// violations judges the packages of one `go list -deps` and returns a sentence for each broken rule.
func violations(pkgs []listed) []string {
	var out []string
	for _, p := range pkgs {
		if len(p.CgoFiles) > 0 && !p.Standard {
			out = append(out, fmt.Sprintf("%s uses cgo (%s)", p.ImportPath, strings.Join(p.CgoFiles, ", ")))
		}
		folder, ours := strings.CutPrefix(p.ImportPath, module+"/")
		if !ours {
			continue
		}
		if p.Doc == "" && len(p.GoFiles) > 0 {
			out = append(out, p.ImportPath+" has no package comment")
		}
		for _, i := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if within(i, room("testdata/...")) {
				out = append(out, fmt.Sprintf("%s imports %s: testdata is read, never linked", p.ImportPath, i))
			}
		}
		if slices.Contains(pureRooms, folder) {
			out = append(out, impureImports(p)...)
		}
		for _, r := range unreachable {
			if !within(p.ImportPath, room(r.from)) {
				continue
			}
			for _, d := range p.Deps {
				if slices.ContainsFunc(r.to, func(pattern string) bool { return within(d, pattern) }) {
					out = append(out, fmt.Sprintf("%s reaches %s, but %s %s", p.ImportPath, d, r.from, r.why))
				}
			}
		}
	}
	return out
}

// impureImports judges what a pure room imports directly. What its libraries link is their business; what it could
// call is ours.
func impureImports(p listed) []string {
	var out []string
	for _, i := range p.Imports {
		if slices.ContainsFunc(impure, func(bad string) bool { return within(i, bad+"/...") }) {
			out = append(out, fmt.Sprintf("%s imports %s: a pure room does no I/O, has no clock and no chance", p.ImportPath, i))
		}
		folder, ours := strings.CutPrefix(i, module+"/")
		if ours && !slices.Contains(pureRooms, folder) {
			out = append(out, fmt.Sprintf("%s imports %s: a pure room rests on pure rooms only", p.ImportPath, i))
		}
	}
	return out
}

// clockFuncs are the functions of package time that look at the clock or wait for it.
var clockFuncs = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// clockUses parses one Go file and returns where it mentions such a function, under whatever name time is imported.
func clockUses(name string, src any) ([]string, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	local := ""
	for _, i := range file.Imports {
		if path, _ := strconv.Unquote(i.Path.Value); path == "time" {
			local = "time"
			if i.Name != nil {
				local = i.Name.Name
			}
		}
	}
	if local == "." {
		return []string{name + ": imports time with a dot"}, nil
	}
	var out []string
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && local != "" && x.Name == local && slices.Contains(clockFuncs, sel.Sel.Name) {
			out = append(out, fmt.Sprintf("%s: time.%s: a pure room is told the time", fset.Position(sel.Pos()), sel.Sel.Name))
		}
		return true
	})
	return out, nil
}

// strays returns the names that have no place at the top level.
func strays(names []string) []string {
	var out []string
	for _, n := range names {
		if !strings.HasPrefix(n, ".") && !slices.Contains(topLevel, n) {
			out = append(out, n)
		}
	}
	return out
}
